"""Other cars on the road: who they are, where they begin, and how they drive.

The settings alone; `traffic` has the cars.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from donkey_rl.configuration import Config

PURSUIT = "pursuit"
PASSING = "passing"
PARKED = "parked"
ITSELF = "self"

DEFAULT_PACE = (0.4, 0.9)
"""Share of the pursuit's own speed, where none is given."""

MOST = 7
"""Opponents of one car at most."""

_PACED = re.compile(r"(pursuit|passing)(?::(\d*\.?\d+)(?:-(\d*\.?\d+))?)?")


class Opponent(NamedTuple):
    """Who drives an opponent.

    Attributes:
        name: `pursuit`, `passing`, `parked`, `self`, or the reference of a driver.
        pace: Lowest and highest share of the pursuit's own speed, drawn for each episode.
    """

    name: str
    pace: tuple[float, float] = DEFAULT_PACE

    @property
    def is_learned(self) -> bool:
        """Whether it sees by its camera alone, and whoever has drivers must seat one."""
        return self.name not in (PURSUIT, PASSING, PARKED)


def parse(text: str) -> Opponent:
    """Reads who drives an opponent.

    Args:
        text: `pursuit` or `passing`, with `:SHARE` or `:LOW-HIGH` behind it for the share of its
            own speed; `parked`; `self`; or the reference of a driver.

    Raises:
        ValueError: The share is not within 0 to 1, or nothing is said.

    >>> parse("pursuit:0.6"), parse("passing:0.4-0.7").pace, parse("3f2a").is_learned
    (Opponent(name='pursuit', pace=(0.6, 0.6)), (0.4, 0.7), True)
    """
    text = text.strip()
    if not text:
        raise ValueError("must say who drives: pursuit, passing, parked, self or a driver")
    found = _PACED.fullmatch(text)
    if found is None:
        if text.startswith((f"{PURSUIT}:", f"{PASSING}:")):
            raise ValueError(f"must be {PURSUIT}:SHARE or {PURSUIT}:LOW-HIGH, received {text}")
        return Opponent(text)
    if found[2] is None:
        return Opponent(found[1])
    low, high = float(found[2]), float(found[3] or found[2])
    if not 0.0 < low <= high <= 1.0:
        raise ValueError(f"must have shares above 0 and up to 1, low before high, received {text}")
    return Opponent(found[1], (low, high))


class OpponentConfig(Config):
    """Cars that share the road with each car that drives.

    Attributes:
        count: How many for each car; 0 for a road of its own.
        drivers: Who drives them, dealt out in turn: see `parse`.
        gap: Least and greatest way ahead at which one begins (u).
        behind: Share of those that begin as far behind instead.
        lateral: Share of half the road's width by which one that is not learned keeps beside its
            line at most, drawn for each episode.
        reach: One that is farther ahead or behind than this (u) is put back ahead; None for
            never.
    """

    count: int = Field(default=0, ge=0, le=MOST)
    drivers: tuple[str, ...] = Field(default=(PURSUIT,), min_length=1, max_length=64)
    gap: tuple[float, float] = (8.0, 25.0)
    behind: float = Field(default=0.0, ge=0.0, le=1.0)
    lateral: float = Field(default=0.3, ge=0.0, le=1.0)
    reach: float | None = Field(default=40.0, gt=0.0, le=10_000.0)

    @property
    def learned(self) -> tuple[str, ...]:
        """Who of those on the road is a learned driver."""
        names = self.drivers if self.count else ()
        return tuple(each for each in names if parse(each).is_learned)

    @field_validator("drivers", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("drivers")
    @classmethod
    def _can_be_read(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse(text)
        return value

    @model_validator(mode="after")
    def _gap_in_order(self) -> Self:
        low, high = self.gap
        if not 4.0 <= low <= high or not high <= (self.reach or math.inf):
            raise ValueError(
                "opponents.gap must be two ways (u), 4 at least, the lesser first and none beyond "
                f"opponents.reach, received {low:g} and {high:g}"
            )
        return self

    def opponent(self, number: int) -> Opponent:
        """Returns who drives an opponent, counted from 0 over those of all cars."""
        return parse(self.drivers[number % len(self.drivers)])
