"""The metrics of a race among other cars: contacts, time held up, overtakes.

All are NaN where the car had the road to itself, see `RaceHeader.opponents`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import metric

Flags = npt.NDArray[np.bool_]

NEAR = 12.0
"""A car that follows another nearer than this (u) may be held up by it."""

_SAME, _SAME_SHARE = 0.5, 0.1
"""Speeds that differ by less (u/s, and share of the speed of the car ahead) are the same."""


@metric(unit="", direction="lower", low=0.0)
def contacts(race: Race) -> float:
    """How often the car and another one touched, whosever fault it was.

    Number of rows with another car's name in ``hit`` that the row before has not; NaN without
    other cars.

    >>> from donkey_rl.metrics.examples import drive
    >>> touched = ["", "red", "red", "cone", "red"]
    >>> contacts(drive([0.0, 0.1, 0.2, 0.3, 0.4], hit=touched, opponents=["red"]))
    2.0
    """
    return float(np.count_nonzero(_begun(race))) if race.header.opponents else math.nan


@metric(unit="", direction="lower", low=0.0)
def contacts_to_blame(race: Race) -> float:
    """How often the car touched another one and was to blame for it.

    As ``contacts``, of rows without ``blameless``. To blame is who comes from behind, and side by
    side, nearer along the path than half a car, who moves towards the other faster.

    >>> from donkey_rl.metrics.examples import drive
    >>> touched, free = ["", "red", "", "red"], [False, True, False, False]
    >>> contacts_to_blame(
    ...     drive([0.0, 0.1, 0.2, 0.3], hit=touched, blameless=free, opponents=["red"])
    ... )
    1.0
    """
    if not race.header.opponents:
        return math.nan
    return float(np.count_nonzero(_begun(race) & ~race["blameless"]))


@metric(unit="s", direction="lower", low=0.0)
def blocked_s(race: Race) -> float:
    """Time that the car followed another one at its speed.

    Time from each row to the next, summed over rows with ``gap <= 12`` u and ``abs(speed -
    gap_speed) <= 0.5 + 0.1 gap_speed`` u/s; NaN without other cars.

    Behind a slower car it is the time lost to it: who comes up to it or passes it is faster than
    that. A driver that is not faster is not held up, and yet counts as it follows.

    >>> from donkey_rl.metrics.examples import drive
    >>> behind = {"gap": [20.0, 10.0, 8.0, 6.0], "gap_speed": [5.0] * 4, "opponents": ["red"]}
    >>> way = [0.0, 0.5, 0.75, 1.0]
    >>> round(blocked_s(drive(way, speed=[10.0, 10.0, 5.0, 5.0], **behind)), 3)  # the third row
    0.05
    """
    if not race.header.opponents:
        return math.nan
    ahead = race["gap_speed"].astype(np.float64)
    alike = np.abs(race["speed"] - ahead) <= _SAME + _SAME_SHARE * ahead
    held = alike & (race["gap"] <= NEAR)
    return float(np.sum(np.diff(race["time_s"])[held[:-1]]))


@metric(unit="", direction="higher")
def overtakes(race: Race) -> float:
    """Cars that were passed, less those that passed this one.

    ``passed`` of the last row less that of the first, which counts a car once it is a whole
    length behind or ahead; a car that is lapped is passed again. NaN without other cars.

    >>> from donkey_rl.metrics.examples import drive
    >>> overtakes(drive([0.0, 0.1, 0.2], passed=[0, 1, 1], opponents=["red"]))
    1.0
    """
    if not race.header.opponents:
        return math.nan
    return float(race["passed"][-1] - race["passed"][0])


def _begun(race: Race) -> Flags:
    """Returns the rows in which a contact with another car began."""
    names = race["hit"]
    others = np.isin(names, list(race.header.opponents))
    same = np.concatenate([[False], names[1:] == names[:-1]])[: len(names)]
    return np.asarray(others & ~same)
