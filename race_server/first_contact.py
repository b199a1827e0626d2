"""Which failures end a race: those that show, before the first frame, that something is wrong.

Once a frame has come, whatever fails may be well again a moment later: the car tries on. So may a
host's name that is not found once the host was reached.
"""

from __future__ import annotations

from donkey_rl.errors import (
    DonkeyRLError,
    InputError,
    LinkNameError,
    LinkProtocolError,
    LinkRefused,
)

NAME_S = 30.0
"""A host's name that was not found for so long, from the start on, is taken for mistyped."""

_FOREIGN = 3
"""So many times in a row no simulator: there is none."""


class FirstContact:
    """Judges the failures of one car's connections.

    Attributes:
        is_reached: Whether a connection was ever made.
        has_seen: Whether a frame has ever come: driver, host and scene fit.
        is_refused_again: Whether the last failure was a refusal, and of the same kind as the one
            before.
    """

    def __init__(self) -> None:
        """Begins before the first attempt."""
        self.is_reached = self.has_seen = self.is_refused_again = False
        self._last: type[Exception] | None = None
        self._foreign = 0
        self._nameless_since: float | None = None

    def judge(self, error: Exception, now: float) -> DonkeyRLError | None:
        """Returns what ends the race, None if the car is to try again.

        Args:
            error: Why the connection was lost, or not made.
            now: Monotonic time (s).
        """
        self.is_refused_again = isinstance(error, LinkRefused) and type(error) is self._last
        self._last = type(error)
        self._foreign = self._foreign + 1 if isinstance(error, LinkProtocolError) else 0
        if self.has_seen:
            return None
        if isinstance(error, LinkNameError):
            return None if self.is_reached else self._judge_name(error, now)
        self._nameless_since = None
        ends = isinstance(error, InputError) or self._foreign >= _FOREIGN
        return error if ends and isinstance(error, DonkeyRLError) else None

    def _judge_name(self, error: LinkNameError, now: float) -> InputError | None:
        if self._nameless_since is None:
            self._nameless_since = now
        if now - self._nameless_since < NAME_S:
            return None
        return InputError(
            f"Expected a race host whose name can be found. Received: '{error.host}', which was "
            f"not found for {NAME_S:g} s. Check host in race.yaml, or --host, and whether this "
            "machine is in the network."
        )
