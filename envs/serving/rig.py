"""What a client has mounted on its car: cameras, lidar, name and colour."""

from __future__ import annotations

import dataclasses

from donkey_rl import configuration
from donkey_rl.envs.link import commands
from donkey_rl.envs.serving.pictures import ENCODINGS
from donkey_rl.envs.simulator.sensors import OFFSETS, SET_TOGETHER, CameraConfig, LidarConfig
from donkey_rl.errors import ConfigurationError

DEFAULT_NAME = "Donkey(Clone)"
"""What others touch as long as a car has no name."""

PLACEHOLDER = "Racer Name"
"""A `car_config` with this name is ignored, since somebody forgot to fill it in."""

CAMERA_B_RIGHT = 0.452
"""Where the second camera sits beside the first (u)."""

MOST_STRETCHED = 8
"""Sides of a picture may differ by this factor; slimmer ones cannot be drawn on a leaning car."""


@dataclasses.dataclass(frozen=True)
class Eye:
    """A camera and how its pictures are encoded."""

    camera: CameraConfig = dataclasses.field(default_factory=CameraConfig)
    encoding: str = ENCODINGS[0]


@dataclasses.dataclass
class Rig:
    """What is mounted on one car.

    Attributes:
        name: What others touch.
        colour: Of the body, red, green, blue of 255; None keeps the one of its place.
        eye: Camera A.
        eye_b: Camera B, None until it is switched on.
        lidar: None until it is switched on.
    """

    name: str = DEFAULT_NAME
    colour: tuple[int, int, int] | None = None
    eye: Eye = dataclasses.field(default_factory=Eye)
    eye_b: Eye | None = None
    lidar: LidarConfig | None = None

    def configure_body(self, command: commands.CarConfig) -> None:
        """Takes name and colour, unless the name is the placeholder."""
        if command.car_name == PLACEHOLDER:
            return
        self.colour = (command.body_r, command.body_g, command.body_b)
        if len(command.car_name) > 1:
            # JSON can hold halves of characters, which no message of ours could carry.
            self.name = command.car_name.encode("utf-8", "replace").decode("utf-8")

    def configure_camera(self, command: commands.CamConfig) -> None:
        """Sets camera A or B.

        Raises:
            ConfigurationError: The camera cannot be built; nothing has changed.
        """
        if isinstance(command, commands.CamConfigB):
            default = Eye(CameraConfig(offset_x=CAMERA_B_RIGHT))
            self.eye_b = changed(self.eye_b or default, command)
        else:
            self.eye = changed(self.eye, command)

    def configure_lidar(self, command: commands.LidarConfig) -> None:
        """Sets the lidar; all offsets 0 keep its place, a tilt of 0 keeps the tilt.

        Raises:
            ConfigurationError: The lidar cannot be built; nothing has changed.
        """
        values = dataclasses.asdict(command)
        old = (self.lidar or LidarConfig()).model_dump()
        kept = () if _any(values, OFFSETS) else OFFSETS
        if not values["rot_x"]:
            kept = (*kept, "rot_x")
        self.lidar = configuration.validate(LidarConfig, values | {key: old[key] for key in kept})


def changed(eye: Eye, command: commands.CamConfig) -> Eye:
    """Returns a camera after a `cam_config`, in which 0 means "leave as it is".

    Width and height count together, so do the offsets, and so do the angles, which replace the
    camera's pitch of 15 degrees. Fish-eye can be changed but not be switched off.

    Raises:
        ConfigurationError: The camera cannot be built.
    """
    given = dataclasses.asdict(command)
    values = eye.camera.model_dump()
    for keys in SET_TOGETHER:
        if _any(given, keys):
            values |= {key: given[key] for key in keys}
    if given["img_w"] and given["img_h"]:
        values |= {key: given[key] for key in ("img_w", "img_h")}
    encoding = eye.encoding
    if len(command.img_enc) == len(encoding):
        encoding = command.img_enc.upper()
    if encoding not in ENCODINGS:
        raise ConfigurationError(
            f"img_enc must be one of {', '.join(ENCODINGS)}. Received: '{command.img_enc}'."
        )
    camera = configuration.validate(CameraConfig, values)
    if max(camera.img_w, camera.img_h) > MOST_STRETCHED * min(camera.img_w, camera.img_h):
        raise ConfigurationError(
            f"Pictures may be {MOST_STRETCHED} times as long as wide at most. "
            f"Received: {camera.img_w}x{camera.img_h}."
        )
    return Eye(camera, encoding)


def _any(values: dict[str, float], keys: tuple[str, ...]) -> bool:
    return any(values[key] for key in keys)
