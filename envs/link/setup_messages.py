"""The messages that set up a car: who drives, its look, cameras and lidar."""

from __future__ import annotations

from typing import Any

from donkey_rl.envs.link import commands
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.simulator.sensors import CameraConfig, LidarConfig

TINY = 1e-4
"""Stands for 0 where the simulator reads 0 as "leave as it is": u, or degrees."""

_OFFSETS = ("offset_x", "offset_y", "offset_z")
_ROTATIONS = ("rot_x", "rot_y", "rot_z")


def racer_info(config: LinkConfig, guid: str) -> commands.RacerInfo:
    """Returns who races."""
    racer = config.racer
    return commands.RacerInfo(racer.name, config.car.car_name, racer.bio, racer.country, guid)


def car_config(config: LinkConfig) -> commands.CarConfig:
    """Returns how the car looks."""
    return commands.CarConfig(**config.car.model_dump())


def cameras(config: LinkConfig) -> tuple[commands.CamConfig, ...]:
    """Returns the cameras and how their pictures are encoded."""
    found = [commands.CamConfig(**_camera(config.camera), img_enc=config.image_encoding)]
    if config.camera_b is not None:
        second = _camera(config.camera_b)
        found.append(commands.CamConfigB(**second, img_enc=config.image_encoding))
    return tuple(found)


def _camera(camera: CameraConfig) -> dict[str, Any]:
    """Returns the values that really bring a camera into its pose.

    The simulator sets an offset only if one of the three is not 0, and so with the rotations.
    """
    return _moved(_moved(camera.model_dump(), _OFFSETS), _ROTATIONS)


def lidar(config: LidarConfig) -> commands.LidarConfig:
    """Returns the lidar; its tilt stands alone, so 0 is written as a tiny one."""
    return commands.LidarConfig(**_moved(_moved(config.model_dump(), _OFFSETS), ("rot_x",)))


def _moved(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if any(values[name] for name in names):
        return values
    return values | {names[0]: TINY}


def sensors(config: LinkConfig) -> tuple[commands.Command, ...]:
    """Returns everything that is mounted on a car, in the order in which it is sent."""
    mounted: list[commands.Command] = [car_config(config), *cameras(config)]
    if config.lidar is not None:
        mounted.append(lidar(config.lidar))
    return tuple(mounted)
