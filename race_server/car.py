"""One car in a race: connects, waits, drives, brakes, and comes back."""

from __future__ import annotations

from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.interface import Board, Seat, Tape
from donkey_rl.race_server.orders import Order
from donkey_rl.race_server.status import CarStatus


class Car:
    """A competitor at a race host."""

    def __init__(
        self, config: RaceConfig, seat: Seat, tape: Tape, board: Board, *, name: str = ""
    ) -> None:
        """Prepares a car; `run` connects it.

        Args:
            config: Where to race, as whom.
            seat: Who drives.
            tape: Who records.
            board: Who shows.
            name: In its team; by default the car's.
        """
        self.name = name or config.car_name

    def run(self) -> None:
        """Races until `end`; whatever happens is counted, shown, and answered by braking."""
        raise NotImplementedError

    def order(self, order: Order) -> None:
        """Follows an order, at once as far as it brakes; any thread may give it."""
        raise NotImplementedError

    @property
    def status(self) -> CarStatus:
        """How the car is doing; any thread may ask."""
        raise NotImplementedError

    def end(self) -> None:
        """Has `run` brake the car and return; any thread may call it, also before `run`."""
        raise NotImplementedError
