"""Settings of what is mounted on a car, by the names of the simulator's protocol.

They stand apart from the sensors themselves, so that who drives in another simulator needs
nothing of this one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from donkey_rl.configuration import Config

OFFSETS = ("offset_x", "offset_y", "offset_z")

SET_TOGETHER = (
    ("fov",), ("img_d",), OFFSETS, ("rot_x", "rot_y", "rot_z"), ("fish_eye_x", "fish_eye_y"),
)  # fmt: skip
"""Of each of these, the simulator's `cam_config` sets all values, or none where all are 0; it sets
`img_w` and `img_h` where neither is."""


class CameraConfig(Config):
    """Camera settings, by the simulator's `cam_config` names.

    Attributes:
        offset_x: To the right of the car's origin (u); `offset_y` up, `offset_z` forward.
        rot_y: Turn to the right, then `rot_x` downwards, then `rot_z` with the right side up.
    """

    img_w: int = Field(default=160, ge=16, le=512, description="width, pixels")
    img_h: int = Field(default=120, ge=16, le=512, description="height, pixels")
    img_d: Literal[1, 3] = Field(default=3, description="1: gray in all three channels")
    fov: float = Field(default=90.0, ge=10.0, le=200.0, description="vertical, degrees")
    offset_x: float = Field(default=0.0, ge=-10.0, le=10.0, description="right, u")
    offset_y: float = Field(default=1.1203952, ge=0.0, le=20.0, description="up, u")
    offset_z: float = Field(default=0.5528488, ge=-10.0, le=10.0, description="forward, u")
    rot_x: float = Field(default=15.0, ge=-45.0, le=89.0, description="pitch down, degrees")
    rot_y: float = Field(default=0.0, ge=-180.0, le=180.0, description="yaw, degrees")
    rot_z: float = Field(default=0.0, ge=-20.0, le=20.0, description="roll, degrees")
    fish_eye_x: float = Field(default=0.0, ge=0.0, le=1.0)
    fish_eye_y: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return (self.img_h, self.img_w, 3)


class LidarConfig(Config):
    """Lidar settings, by the simulator's `lidar_config` names.

    Attributes:
        noise: Kept for the protocol: the newest simulator adds it to nothing that it sends.
        offset_x: To the right of the car's origin (u); `offset_y` up, `offset_z` forward.
    """

    degPerSweepInc: float = Field(default=2.0, ge=0.5, le=360.0, description="between rays")  # noqa: N815
    degAngDown: float = Field(default=25.0, ge=-90.0, le=90.0, description="of the first level")  # noqa: N815
    degAngDelta: float = Field(default=-1.0, ge=-90.0, le=90.0, description="between levels")  # noqa: N815
    numSweepsLevels: int = Field(default=25, ge=1, le=64, description="levels")  # noqa: N815
    maxRange: float = Field(default=50.0, gt=0.0, le=1000.0, description="u")  # noqa: N815
    noise: float = Field(default=0.2, ge=0.0, le=10.0)
    offset_x: float = Field(default=-0.016, ge=-10.0, le=10.0, description="right, u")
    offset_y: float = Field(default=0.372, ge=-0.5, le=20.0, description="up, u")
    offset_z: float = Field(default=0.737, ge=-10.0, le=10.0, description="forward, u")
    rot_x: float = Field(default=0.0, ge=-90.0, le=90.0, description="pitch down, degrees")

    @property
    def rays(self) -> int:
        """Rays of one level."""
        return int(360.0 / self.degPerSweepInc)

    @property
    def beams(self) -> int:
        """Rays of all levels."""
        return self.rays * self.numSweepsLevels
