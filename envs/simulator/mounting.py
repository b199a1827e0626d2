"""Cameras on cars: the tables that the drawing reads, for one configuration of the camera."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import camera, effects, leaning, randomisation
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.errors import ConfigurationError


def _margins(config: CameraConfig, vehicle: Vehicle, setting: Randomisation) -> tuple[int, int]:
    """Returns how far beyond the image a camera may look, rows and columns."""
    roll, pitch = vehicle.lean_limits
    # A camera that looks to the side sees the body's roll as pitch, and the reverse.
    turn = math.radians(min(90.0, abs(config.rot_y) + setting.camera_yaw))
    roll, pitch = roll + pitch * math.sin(turn), pitch + roll * math.sin(turn)
    roll += math.radians(abs(config.rot_z) + setting.camera_roll)
    if max(roll, pitch) < leaning.UPRIGHT:
        return 0, 0
    return leaning.margins(config.shape[:2], config.fov + setting.fov, roll, pitch)


class Mount:
    """One kind of camera, mounted on any of the cars of a world.

    Cars share one set of tables unless the place or direction of the camera is randomised.
    Building one takes some milliseconds, more for large images.

    Attributes:
        config: The camera.
        count: Number of cars of the world that it is for.
        views: Tables of the cameras.
        view_of: Which of them each car has, shape (count,).
        lens: What happens to an image after it was drawn.
    """

    def __init__(
        self, config: CameraConfig, vehicle: Vehicle, randomise: Randomisation | None, count: int
    ) -> None:
        """Builds the tables; randomised cameras point as configured until they are aimed.

        Args:
            config: The camera.
            vehicle: The car, whose lean decides how far beyond the image a camera looks.
            randomise: Domain randomisation; the camera is the configured one by default.
            count: Number of cars of the world, at least 1.
        """
        self.config = config
        self.count = count
        self._setting = randomise or Randomisation()
        self._aims: dict[int, Mapping[str, Any]] = {}
        own = self._setting.moves_camera
        margins = _margins(config, vehicle, self._setting)
        self.views = camera.empty_views(count if own else 1, config, margins)
        self.view_of = np.arange(count) if own else np.zeros(count, dtype=np.int64)
        for k in range(len(self.views.pose)):
            camera.point(self.views, k, camera.pose_of(config))
        source = camera.fish_eye_source(config)
        self.lens = effects.Lens(
            np.zeros(0, dtype=np.int32) if source is None else source, config.img_d == 1
        )

    def aim(self, i: int, rng: np.random.Generator) -> None:
        """Draws place and direction of the camera of car `i`, where they are randomised."""
        if self._setting.moves_camera:
            pose = randomisation.draw_pose(self._setting, self.config, rng)
            camera.point(self.views, i, pose)

    def aim_as(self, i: int, state: Mapping[str, Any]) -> None:
        """Aims the camera of car `i` by the numbers that another mount's was aimed by.

        Args:
            i: The car.
            state: Of the car's bit generator, before that camera was aimed. The same object
                again changes nothing.
        """
        if self._aims.get(i) is not state:
            rng = np.random.default_rng()
            rng.bit_generator.state = dict(state)
            self.aim(i, rng)
            self._aims[i] = state

    def check(self, out: npt.NDArray[np.uint8], cars: int, images: int) -> None:
        """Refuses images that it cannot draw into.

        Args:
            out: What is to be filled in.
            cars: Number of cars of the world.
            images: How many are wanted.

        Raises:
            ConfigurationError: `out` has the wrong shape or type, or the cameras were built for
                another number of cars.
        """
        if self.count != cars:
            raise ConfigurationError(
                f"The mount must be built for this world's {cars} cars. "
                f"Received: one for {self.count}."
            )
        shape = (images, *self.config.shape)
        if out.shape != shape or out.dtype != np.uint8:
            raise ConfigurationError(
                f"Images must be uint8 of shape {shape}. Received: {out.dtype} of shape "
                f"{out.shape}."
            )
