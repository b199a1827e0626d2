"""The seat of a car: the driver in it, and the spares that may take over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.agents.manifest import DriverDescription, ObservationSpec
from donkey_rl.errors import DriverError, UnknownNameError
from donkey_rl.race_server.garage.driver_thread import DriverThread
from donkey_rl.race_server.interface import Answer

_WARM_UP_S = 30.0
_WARM_UPS = 3


class DriverSeat:
    """Drivers that are loaded and warm, one of them in the seat; see `interface.Seat`.

    Attributes:
        name: Who drives.
        names: All that can, the first choice first.
        description: Where the one who drives comes from and what it was made for.
        observation: What it sees.
        hash: Its hash, 64 hexadecimal digits.
        warnings: What people should know about the drivers before the race.
    """

    def __init__(self, drivers: Mapping[str, LiteDriver], warnings: Sequence[str] = ()) -> None:
        """Puts the first driver into the seat and has each answer a few frames.

        Args:
            drivers: By name, the first choice first.
            warnings: What people should know about them.

        Raises:
            DriverError: There is none, or one does not answer.
        """
        if not drivers:
            raise DriverError(
                "A car is raced by a driver. Received: none. Give a run, a model with alias or a "
                "driver folder as `driver` in race.yaml, or with --run or --driver."
            )
        self.names = tuple(drivers)
        self.warnings = tuple(warnings)
        self._drivers = dict(drivers)
        self._sit(self.names[0])
        self._threads = {name: DriverThread(name, driver) for name, driver in drivers.items()}
        self._failed: set[str] = set()
        try:
            for name in self.names:
                self._warm_up(name)
        except DriverError:
            self.close()
            raise

    def act(self, observation: Mapping[str, npt.NDArray[Any]], within_s: float) -> Answer:
        """Asks the driver in the seat; see `interface.Seat`."""
        return self._threads[self.name].ask(observation, within_s)

    def change(self, name: str) -> None:
        """Puts another driver into the seat, also one that has failed before.

        Raises:
            UnknownNameError: There is none of that name.
        """
        if name not in self._threads:
            raise UnknownNameError("driver", name, self.names)
        self._failed.discard(name)
        self._sit(name)

    def change_to_spare(self) -> bool:
        """Puts the next driver into the seat that has not failed; False if there is none.

        One that was left because it was late may come back as soon as it has answered; one that
        failed, or whose actions were not finite, only by `change`.
        """
        if self._threads[self.name].last_fault:
            self._failed.add(self.name)
        for name in self.names:
            usable = name != self.name and name not in self._failed
            if usable and not self._threads[name].is_busy():
                self._sit(name)
                return True
        return False

    def close(self) -> None:
        """Lets all drivers go."""
        for thread in self._threads.values():
            thread.close()

    def _sit(self, name: str) -> None:
        """Puts a driver into the seat."""
        driver = self._drivers[name]
        self.name = name
        self.description: DriverDescription = driver.description
        self.observation: ObservationSpec = driver.observation
        self.hash = driver.hash

    def _warm_up(self, name: str) -> None:
        """Has a driver answer empty frames: the first answers take many times as long."""
        blank = {
            part: np.zeros(shape, np.uint8 if part == "image" else np.float32)
            for part, shape in self._drivers[name].observation.shapes.items()
        }
        for _ in range(_WARM_UPS):
            answer = self._threads[name].ask(blank, _WARM_UP_S)
            if answer.action is None:
                raise DriverError(
                    f"Expected an action from the driver '{name}' to an empty frame. Received: "
                    f"{answer.fault}. Choose another driver, or train this one again."
                )
