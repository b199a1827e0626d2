"""Drivers that can be made to stall, to answer nonsense, or to fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.race_server.rehearsal.faults import Stall


class Stalls:
    """Stands between drivers and whoever asks them, for the time of a fault."""

    def __init__(self) -> None:
        """Begins with nothing wrong."""
        self._how: Stall = "late"
        self._until = 0.0

    def begin(self, how: Stall, seconds: float) -> None:
        """Stalls from now on, for a while; any thread may call it."""
        self._how, self._until = how, time.perf_counter() + seconds

    def answer(self, ask: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Asks a driver, or does what a stalled one does.

        Args:
            ask: Asks the driver.

        Raises:
            RuntimeError: That is what it does.
        """
        left = self._until - time.perf_counter()
        if left > 0.0:
            if self._how == "raises":
                raise RuntimeError("a rehearsed failure")
            if self._how == "not finite":
                return np.full(2, np.nan, np.float32)
            time.sleep(left)
        return ask()
