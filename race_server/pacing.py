"""The latency that a driver is driven with: measured, and padded to what it was trained for.

A command that is sent is shown by the first frame after its arrival. So the time until then (the
round trip) is the way there and back and what is left of the interval between two frames: the way
is longer than the round trip less one interval, and that is what counts as known of it. Commands
go out that much later, counted from their frame's arrival, that both together are not less than
the driver was trained for.
"""

from __future__ import annotations

_USUAL_INTERVAL_S = 0.05
_MARGIN = 1.0
"""A link that is slower than trained by more than so many frames is warned of."""


class Pacing:
    """How long commands wait.

    Attributes:
        hold_s: From a frame's arrival to the departure of its command, at least (s).
        link_s: The way there and back, in the middle of what it can be (s); None before it is
            known.
    """

    def __init__(self, trained_ms: tuple[float, float], wanted_ms: float | None) -> None:
        """Begins without knowing the link, which is then taken to be without latency.

        Args:
            trained_ms: What the driver was trained for, lowest and highest (ms).
            wanted_ms: What it is to be driven with instead (ms).
        """
        low, high = trained_ms if wanted_ms is None else (wanted_ms, wanted_ms)
        self._low_s, self._high_s = low / 1000.0, high / 1000.0
        self.hold_s = self._low_s
        self.link_s: float | None = None
        self._interval = _USUAL_INTERVAL_S

    def measure(self, round_trip_s: float | None, interval_s: float | None) -> None:
        """Takes in what is known of the link.

        Args:
            round_trip_s: From a command to the first frame that shows it, median.
            interval_s: Between two frames, median.
        """
        self._interval = interval_s or _USUAL_INTERVAL_S
        if round_trip_s is None:
            return
        self.link_s = max(0.0, round_trip_s - 0.5 * self._interval)
        self.hold_s = max(0.0, self._low_s - max(0.0, round_trip_s - self._interval))

    @property
    def warning(self) -> str:
        """What people should know of the link, empty for nothing."""
        if self.link_s is None or self.link_s <= self._high_s + _MARGIN * self._interval:
            return ""
        return (
            f"the link takes about {1000.0 * self.link_s:.0f} ms there and back, the driver was "
            f"trained for {1000.0 * self._high_s:.0f} ms at most: it will drive worse than it can"
        )
