"""Where the telemetry of a car comes from that this process does not simulate."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.link.reports import Telemetry


class Place(NamedTuple):
    """Where a car is wanted at a reset.

    Attributes:
        x: Unity units; `z` likewise.
        yaw: Clockwise from +Z (rad).
    """

    x: float
    z: float
    yaw: float


class Sight(NamedTuple):
    """One telemetry message with its picture.

    Attributes:
        telemetry: In the units of the simulator.
        image: Shape (h, w, 3), uint8; nobody changes it later.
        missed: Messages that came since the last one handed out and were passed over, because
            they had come before the command was sent.
        restarted: Whether the connection was lost meanwhile: the car stands on its start.
        image_b: The second camera's picture, None without one.
        latency_s: Time from the arrival of the message handed out before to the departure of the
            command that answered it (s), NaN where it is not known.
    """

    telemetry: Telemetry
    image: npt.NDArray[np.uint8]
    missed: int = 0
    restarted: bool = False
    image_b: npt.NDArray[np.uint8] | None = None
    latency_s: float = math.nan


class Source(Protocol):
    """One car somewhere else: it is reset, takes commands and gives telemetry.

    A step is `send`, then `receive`: a vector of cars sends to all before it waits for any.
    Failures are `LinkError`s.
    """

    def reset(self, place: Place | None = None) -> Sight:
        """Puts the car at rest on its own start, or at a place where the simulator allows that.

        Returns:
            A message that was sent after the reset.
        """

    def send(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        """Sends a command: steering and throttle in [-1, 1], brake in [0, 1]."""

    def receive(self) -> Sight:
        """Waits for the first message that follows the command."""

    def close(self) -> None:
        """Gives the car back; may be called twice."""
