"""What a race comes to in figures: latency, laps; in bounded memory however long it takes."""

from __future__ import annotations

import bisect
from collections.abc import Mapping

import numpy as np

from donkey_rl.race_server.status import LATENCY_EDGES_MS

_FINEST_MS = 0.1
_FINE_BINS = 10_000
_LONGEST_LAP_S = 36_000.0
LEAST_LAP_S = 10.0
"""Of a lap that nobody has told: what race hosts take by default."""

_MOST_LAPS = 1000
SHARES = (0.5, 0.95, 0.99)


class LatencyFigures:
    """Times from frame to command, to a tenth of a millisecond up to a second."""

    def __init__(self) -> None:
        """Starts with none."""
        self._fine = np.zeros(_FINE_BINS + 1, np.int64)
        self._bins = [0] * (len(LATENCY_EDGES_MS) + 1)

    def note(self, took_s: float) -> None:
        """Adds one."""
        took_ms = 1000.0 * took_s
        self._fine[min(_FINE_BINS, max(0, int(took_ms / _FINEST_MS)))] += 1
        self._bins[bisect.bisect_left(LATENCY_EDGES_MS, took_ms)] += 1

    def percentiles(self) -> tuple[float, float, float] | None:
        """Returns the 50th, 95th and 99th percentile (ms), None before the first time."""
        upto = np.cumsum(self._fine)
        if not upto[-1]:
            return None
        low, middle, high = (
            _FINEST_MS * float(np.searchsorted(upto, share * upto[-1]) + 1) for share in SHARES
        )
        return low, middle, high

    def histogram(self) -> tuple[int, ...]:
        """Returns the counts of the bins of `LATENCY_EDGES_MS`."""
        return tuple(self._bins)


def named(percentiles: tuple[float, float, float] | None) -> Mapping[str, float]:
    """Returns percentiles by their names in results, empty for none.

    >>> named((1.0, 2.0, 3.0))
    {'p50': 1.0, 'p95': 2.0, 'p99': 3.0}
    """
    if percentiles is None:
        return {}
    return {
        f"p{100 * share:.0f}": round(value, 1)
        for share, value in zip(SHARES, percentiles, strict=True)
    }


class LapFigures:
    """Laps as the host tells them; of one that holds no races, from its crossings of the line.

    Attributes:
        run: Lap times of this run (s).
        best_s: The best so far (s), None without one.
        count: Laps so far.
        crossed: Simulation time of the last crossing of the line (s), None before the first.
    """

    def __init__(self) -> None:
        """Starts with none."""
        self.run: tuple[float, ...] = ()
        self.best_s: float | None = None
        self.count = 0
        self.crossed: float | None = None
        self._ended = self._told = False
        self._touched: float | None = None
        self._line: int | None = None

    def end_run(self) -> None:
        """The run is over; its laps stay until the next one begins."""
        self._ended = True

    def begin_run(self) -> None:
        """A car stands on its start; after a lost connection its laps count on."""
        self.crossed = self._touched = self._line = None
        if self._ended:
            self.run = ()
        self._ended = False

    def cross(self, lap_s: float, time_s: float) -> None:
        """The line was crossed.

        Args:
            lap_s: Time of the lap before; 0 on the first crossing.
            time_s: Simulation time now.
        """
        self._told = True
        self._add(lap_s, time_s)

    def touch(self, stamp_s: float, time_s: float, line: int = 0) -> None:
        """A line was touched, which a host of races says as well and counts by its own rules.

        A scene may have several: the one that was touched first ends laps.

        Args:
            stamp_s: When, as the host says (s).
            time_s: Simulation time now.
            line: Its number in the scene.
        """
        self._line = line if self._line is None else self._line
        if self._told or line != self._line:
            return
        since = None if self._touched is None else stamp_s - self._touched
        if since is None or since >= LEAST_LAP_S:
            self._touched = stamp_s
            self._add(since or 0.0, time_s)

    def _add(self, lap_s: float, time_s: float) -> None:
        self.crossed = time_s
        if 0.0 < lap_s <= _LONGEST_LAP_S:
            self.run = (*self.run, lap_s)[-_MOST_LAPS:]
            self.count += 1
            self.best_s = lap_s if self.best_s is None else min(lap_s, self.best_s)
