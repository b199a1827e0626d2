"""How a connection to a simulator is kept, and what is asked of the simulator at its start."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator.sensors import CameraConfig, LidarConfig


class CarLook(Config):
    """Body, colour and name of the car, by the simulator's `car_config` names."""

    body_style: Literal["donkey", "bare", "car01", "f1", "cybertruck"] = "donkey"
    body_r: int = Field(default=30, ge=0, le=255)
    body_g: int = Field(default=110, ge=0, le=255)
    body_b: int = Field(default=220, ge=0, le=255)
    car_name: str = Field(default="donkey-rl", min_length=1, max_length=64)
    font_size: int = Field(default=100, ge=1, le=1000)


class Racer(Config):
    """Who races, by the simulator's `racer_info` names.

    Attributes:
        guid: The same after a lost connection; one is made up for each link if it is empty.
    """

    name: str = Field(default="donkey-rl", min_length=1, max_length=64)
    bio: str = Field(default="Learned by reinforcement.", max_length=2000)
    country: str = Field(default="", max_length=64)
    guid: str = Field(default="", max_length=128)


class LinkConfig(Config):
    """Address, deadlines and what is configured at the start.

    Attributes:
        scene: What to load where the simulator stands in its menu, beside a track file; else it is
            the track. None for whichever is loaded.
        config_spacing_s: Pause before and after a message that configures something: the oldest
            servers read whatever comes together as one message.
    """

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    port: int = Field(default=9091, ge=1, le=65535)
    scene: str | None = Field(default=None, min_length=1, max_length=256)
    camera: CameraConfig = Field(default_factory=CameraConfig)
    camera_b: CameraConfig | None = Field(default=None)
    image_encoding: Literal["JPG", "PNG"] = Field(default="JPG")
    lidar: LidarConfig | None = Field(default=None)
    car: CarLook = Field(default_factory=CarLook)
    racer: Racer = Field(default_factory=Racer)
    connect_timeout_s: float = Field(default=10.0, ge=0.1, le=3600.0)
    start_timeout_s: float = Field(
        default=60.0, ge=1.0, le=3600.0, description="until a started program listens"
    )
    answer_timeout_s: float = Field(
        default=10.0, ge=0.1, le=3600.0, description="for each answer and each frame"
    )
    load_timeout_s: float = Field(
        default=60.0, ge=0.1, le=3600.0, description="until a scene is loaded"
    )
    race_timeout_s: float = Field(
        default=600.0, ge=0.1, le=86400.0, description="until a race host gives a car"
    )
    silence_s: float = Field(
        default=15.0, ge=0.1, le=3600.0, description="without any byte: the peer is gone"
    )
    reset_timeout_s: float = Field(default=10.0, ge=0.1, le=600.0)
    reconnect_attempts: int = Field(
        default=0, ge=0, le=1000, description="of next_frame and reset by themselves"
    )
    config_spacing_s: float = Field(default=0.15, ge=0.0, le=5.0)
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="of the pauses between attempts")
