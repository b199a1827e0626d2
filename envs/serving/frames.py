"""Telemetry messages with their pictures."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import numpy as np

from donkey_rl.envs.serving import pictures
from donkey_rl.envs.serving.rig import Eye
from donkey_rl.envs.serving.scene import Scene
from donkey_rl.envs.simulator import lidar, telemetry
from donkey_rl.envs.simulator.mounting import Mount
from donkey_rl.envs.simulator.sensors import CameraConfig

Fields = dict[str, Any]

EXTENDED = frozenset(
    [
        "cte",
        "pos_x",
        "pos_y",
        "pos_z",
        "vel_x",
        "vel_y",
        "vel_z",
        "on_road",
        "progress_on_shortest_path",
    ]
)
"""What telemetry holds for training only."""

_EXTENDED_BEFORE_2022 = EXTENDED | {"activeNode", "totalNodes"}

_MOST_MOUNTS = 64
"""Cameras of different settings that are kept ready in a scene."""


class Frames:
    """Writes the telemetry of a scene's cars."""

    def __init__(self, scene: Scene, generation: int, extended: bool) -> None:
        """Prepares for a scene.

        Args:
            scene: The scene.
            generation: Whose fields are left out with `extended`.
            extended: Whether telemetry holds what is meant for training.
        """
        self._scene = scene
        hidden = EXTENDED if generation >= 2022 else _EXTENDED_BEFORE_2022
        self._hidden = frozenset() if extended else hidden
        self._mounts: collections.OrderedDict[CameraConfig, Mount] = collections.OrderedDict()

    def write(self, cars: Iterable[int]) -> dict[int, Fields]:
        """Returns the telemetry of cars as it is now, in the simulator's order of fields."""
        chosen = list(cars)
        seats = self._scene.seats
        images = self._draw({car: seats[car].rig.eye for car in chosen})
        second = {car: eye for car in chosen if (eye := seats[car].rig.eye_b) is not None}
        images_b = self._draw(second)
        return {car: self._fields(car, images[car], images_b.get(car)) for car in chosen}

    def _fields(self, car: int, image: str, image_b: str | None) -> Fields:
        found: Fields = {}
        for name, value in telemetry.fields(self._scene.world, car).items():
            if name == "lidar":
                found["image"] = image
                if image_b is not None:
                    found["imageb"] = image_b
                if self._scene.seats[car].rig.lidar is not None:
                    found["lidar"] = self._scan(car)
            elif name not in self._hidden:
                found[name] = value
        found["time"] = self._scene.time_of(car)
        return found

    def _scan(self, car: int) -> list[dict[str, float]] | None:
        """Returns what the lidar of a car sees, None if that is nothing."""
        config = self._scene.seats[car].rig.lidar
        if config is None:
            return None
        beams = lidar.scan(self._scene.world, car, config)
        names = ("d", "rx", "ry")
        return [dict(zip(names, map(float, beam), strict=True)) for beam in beams] or None

    def _draw(self, eyes: dict[int, Eye]) -> dict[int, str]:
        """Returns the encoded pictures of cars; equal cameras are drawn in one call."""
        alike: dict[CameraConfig, list[int]] = {}
        for car, eye in eyes.items():
            alike.setdefault(eye.camera, []).append(car)
        found = {}
        for camera, cars in alike.items():
            images = np.empty((len(cars), *camera.shape), dtype=np.uint8)
            self._scene.world.photograph(self._mount(camera), images, np.array(cars))
            for car, image in zip(cars, images, strict=True):
                found[car] = pictures.encode(image, eyes[car].encoding)
        return found

    def _mount(self, camera: CameraConfig) -> Mount:
        mount = self._mounts.pop(camera, None)
        if mount is None:
            world = self._scene.world
            mount = Mount(camera, world.vehicle, world.randomise, len(world))
            if len(self._mounts) >= _MOST_MOUNTS:
                self._mounts.popitem(last=False)
        self._mounts[camera] = mount
        return mount
