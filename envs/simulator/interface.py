"""What environments need of a simulator, whoever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.stepping import Cars
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.envs.simulator.world import Start

IntArray = npt.NDArray[np.int64]


class Simulator(Protocol):
    """Knows physics, cameras, tracks and time of N cars; never reward.

    `simulator.world.World` is the embedded one, `remote.RemoteWorld` stands for others.

    Attributes:
        track: The track.
        vehicle: The car generation.
        camera: The camera.
        cars: State of all cars.
        missed: Telemetry messages that were passed over because they came before the command
            was sent, by car since it was opened, shape (N,).
        latency: Time from the arrival of a message to the departure of the command that answered
            it, in the last step (s), NaN where it is not known, shape (N,).
        restarted: Whether the connection to a car was lost in the last step and made anew: the
            car stands on its start, and its episode cannot go on, shape (N,).
    """

    track: Track
    vehicle: Vehicle
    camera: CameraConfig
    cars: Cars
    missed: IntArray
    latency: npt.NDArray[np.float64]
    restarted: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of cars."""

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts every car's random stream anew."""

    def reset(self, chosen: IntArray, start: Start | None = None) -> None:
        """Puts cars back on a start."""

    def step(self, commands: npt.ArrayLike) -> None:
        """Drives all cars to their next telemetry message."""

    def render(self, out: npt.NDArray[np.uint8], chosen: IntArray | None = None) -> None:
        """Fills in what the cameras see, shape (k, h, w, 3)."""

    def hit_names(self) -> list[str]:
        """Returns what each car touched since its last message, ``"none"`` for nothing."""

    def close(self) -> None:
        """Gives up everything that is held; may be called twice."""


@runtime_checkable
class PhysicsStepped(Protocol):
    """A simulator whose cars can be told something before each of its physics steps."""

    def command(self, chosen: IntArray, commands: npt.ArrayLike) -> None:
        """Sets what cars hold from the next physics step on, see `World.command`."""

    def step_arriving(self, commands: npt.NDArray[np.float64]) -> None:
        """Drives all cars to their next message, commands come on the way, see `World`."""
