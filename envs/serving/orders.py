"""What passes between a race's referee and the server that carries its decisions out.

A referee knows neither sockets nor physics: it is told of clients by their numbers and of cars
by their states, and it answers with orders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from donkey_rl.envs.link import commands, reports


class CarState(NamedTuple):
    """Where a car is.

    Attributes:
        arc: Along the path (u).
        progress: Way along the path since the car was placed (u).
        lateral: To the right of the path (u).
        off: Whether all wheels are outside the road.
        speed: In u/s, never negative.
    """

    arc: float
    progress: float
    lateral: float
    off: bool
    speed: float


@dataclasses.dataclass(frozen=True)
class Send:
    """Tell a client something."""

    client: int
    report: reports.Report


@dataclasses.dataclass(frozen=True)
class SpawnCar:
    """Give a client a car on a slot of the grid; it hears `car_loaded`."""

    client: int
    slot: int


@dataclasses.dataclass(frozen=True)
class RemoveCar:
    """Take a client's car away; the client stays."""

    client: int


@dataclasses.dataclass(frozen=True)
class PlaceCar:
    """Put a car at rest on a slot of the grid, which its own resets lead to from now on."""

    client: int
    slot: int


@dataclasses.dataclass(frozen=True)
class Block:
    """Hold steering and throttle of a car at 0; the brake stays its client's."""

    client: int


@dataclasses.dataclass(frozen=True)
class Release:
    """Give steering and throttle back."""

    client: int


@dataclasses.dataclass(frozen=True)
class HangUp:
    """End a client's connection, in whose place its competitor has another."""

    client: int


@dataclasses.dataclass(frozen=True)
class Announce:
    """Say something to the audience: it is written into the log."""

    text: str


Order = Send | SpawnCar | RemoveCar | PlaceCar | Block | Release | HangUp | Announce


class Referee(Protocol):
    """Decides on a race; see `donkey_rl.envs.serving.race` for the rules."""

    def connect(self, client: int) -> None:
        """A client has connected; numbers are never used twice."""

    def disconnect(self, client: int) -> None:
        """A client has gone, and its car with it."""

    def racer_info(
        self, client: int, info: commands.RacerInfo, is_silent: Callable[[int], bool], /
    ) -> None:
        """A client has said who it is; others may be dead without a sign, which one can ask."""

    def relieve(self, is_silent: Callable[[int], bool], /) -> None:
        """Clients that were refused take the places of those that have gone silent since."""

    def car_config(self, client: int) -> None:
        """A client has configured its car, whether or not it has one."""

    def client_reset(self, client: int) -> None:
        """A client has put its car back to its start."""

    def advance(self, now_s: float, cars: Mapping[int, CarState]) -> None:
        """Simulation time has gone on; `cars` holds those that are there, by their clients."""

    def close(self) -> None:
        """The server ends."""

    def take_orders(self) -> Sequence[Order]:
        """Returns what is to be done now, in order, once."""
