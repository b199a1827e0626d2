"""What can go wrong on an evening: drawn by chance, always the same from one seed."""

from __future__ import annotations

import dataclasses
import random
import sys
from typing import Literal, get_args

from donkey_rl.race_server.rehearsal.link_conditions import Way

FaultKind = Literal[
    "host killed",
    "connection reset",
    "connection closed",
    "silence",
    "glued messages",
    "broken messages",
    "NaN telemetry",
    "stalled inference",
    "full disk",
    "page hammered",
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

Stall = Literal["late", "not finite", "raises"]
"""What a driver does instead of answering in time."""

_WAYS: tuple[tuple[Way, ...], ...] = (("down",), ("up",), ("down", "up"))
_LONGEST_SILENCE_S = 30.0
_SECONDS: dict[FaultKind, tuple[float, float]] = {
    "host killed": (0.2, 5.0),
    "silence": (1.0, _LONGEST_SILENCE_S),
    "glued messages": (1.0, 6.0),
    "stalled inference": (0.1, 4.0),
    "full disk": (1.0, 10.0),
    "page hammered": (2.0, 6.0),
}
_COUNTS: dict[FaultKind, tuple[int, int]] = {
    "broken messages": (1, 12),
    "NaN telemetry": (1, 12),
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: What.
        seconds: How long it lasts, 0 for a moment.
        count: Of messages, where these are counted.
        ways: On the way of which messages.
        stall: What the driver does, where it is that.
    """

    kind: FaultKind
    seconds: float = 0.0
    count: int = 0
    ways: tuple[Way, ...] = ()
    stall: Stall = "late"

    def __str__(self) -> str:
        """What it is, for people: `silence (4.2 s, down)`."""
        parts = []
        if self.seconds:
            parts.append(f"{self.seconds:.1f} s")
        if self.count:
            parts.append(f"{self.count}")
        parts += self.ways
        if self.kind == "stalled inference":
            parts.append(self.stall)
        return self.kind + (f" ({', '.join(parts)})" if parts else "")


@dataclasses.dataclass(frozen=True)
class Injected:
    """A fault that was there.

    Attributes:
        fault: What.
        at: From when on (s, monotonic).
        until: Until when; of a host that was killed, when it could be reached again.
        problem: What it did that it should not have, beside what the link shows; empty if nothing.
    """

    fault: Fault
    at: float
    until: float
    problem: str = ""


def possible() -> tuple[FaultKind, ...]:
    """Returns what this system can inject: a full disk on Linux only."""
    return KINDS if sys.platform == "linux" else tuple(k for k in KINDS if k != "full disk")


def draw(count: int, seed: int, kinds: tuple[FaultKind, ...] = KINDS) -> tuple[Fault, ...]:
    """Returns faults: every kind equally often but for one, in an order by chance.

    >>> [str(each) for each in draw(2, 0, ("connection reset",))]
    ['connection reset', 'connection reset']
    """
    rng = random.Random(seed)
    wanted: list[FaultKind] = []
    while len(wanted) < count:
        wanted += rng.sample(kinds, len(kinds))
    return tuple(_drawn(kind, rng) for kind in wanted[:count])


def _drawn(kind: FaultKind, rng: random.Random) -> Fault:
    seconds = rng.uniform(*_SECONDS[kind]) if kind in _SECONDS else 0.0
    if kind == "silence":
        # Short ones are as likely as long ones, seen on a scale of ratios.
        seconds = _LONGEST_SILENCE_S ** rng.random()
    count = rng.randint(*_COUNTS[kind]) if kind in _COUNTS else 0
    ways: tuple[Way, ...] = ()
    if kind in ("silence", "broken messages"):
        ways = rng.choice(_WAYS)
    return Fault(kind, seconds, count, ways, rng.choice(get_args(Stall)))
