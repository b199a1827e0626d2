"""What people and hosts can order of a car while it races."""

from __future__ import annotations

import dataclasses

FRESH_S = 2.0
"""A GO that cannot be followed for so long (s) is void: it would start a car by surprise."""


@dataclasses.dataclass(frozen=True)
class Go:
    """The car may move from now on.

    Attributes:
        by: Who says so, for the record: `page`, `drive`, `host`, `command`.
    """

    by: str


@dataclasses.dataclass(frozen=True)
class Stop:
    """The car brakes to rest and stays there until the next GO.

    Attributes:
        by: Who says so.
    """

    by: str


@dataclasses.dataclass(frozen=True)
class Brake:
    """The car brakes for as long as this is on; then it goes on as before.

    Attributes:
        by: Who says so.
        on: Whether to brake.
    """

    by: str
    on: bool


@dataclasses.dataclass(frozen=True)
class ChangeDriver:
    """Another driver takes the seat; while the car drives, at its next stop.

    Attributes:
        by: Who says so.
        name: As in `CarStatus.drivers`.
    """

    by: str
    name: str


Order = Go | Stop | Brake | ChangeDriver
