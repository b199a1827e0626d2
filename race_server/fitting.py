"""How a connection is configured for a race and its driver, and whether the host fits it."""

from __future__ import annotations

from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.envs.link.config import CarLook, LinkConfig, Racer
from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.envs.simulator import vehicle
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.errors import DriverError
from donkey_rl.race_server.config import RaceConfig

_CONNECT_S = 1.5
"""So a car that seeks its host reports often enough not to count as silent, `orders.FRESH_S`."""

_ANSWER_S = 2.0
_SILENCE_S = 8.0
"""A host says something every 3.5 s at most, also where there is no telemetry."""


def link_config(config: RaceConfig, description: DriverDescription) -> LinkConfig:
    """Returns how the connection is kept, and what is mounted on the car.

    Args:
        config: Where to race, as whom.
        description: Of the driver, whose camera it is.
    """
    red, green, blue = config.body_rgb
    return LinkConfig(
        host=config.host,
        port=config.port,
        scene=config.scene or None,
        camera=CameraConfig(**description.camera),
        car=CarLook(
            body_style=config.body_style,
            body_r=red,
            body_g=green,
            body_b=blue,
            car_name=config.car_name,
            font_size=config.font_size,
        ),
        racer=Racer(
            name=config.racer_name, bio=config.bio, country=config.country, guid=config.guid
        ),
        connect_timeout_s=_CONNECT_S,
        answer_timeout_s=_ANSWER_S,
        silence_s=_SILENCE_S,
    )


def fits(description: DriverDescription, told: Telemetry) -> bool:
    """Whether a host's messages are of the generation that a driver was trained with."""
    return told.is_of_2022 != vehicle.load(description.vehicle).gyro_as_rotation


def misfit(config: RaceConfig, description: DriverDescription, told: Telemetry) -> DriverError:
    """Returns the error of a host whose messages are of another generation."""
    seen = "2022 or later" if told.is_of_2022 else "2020 or 2021"
    wanted = "donkey_2022" if told.is_of_2022 else "donkey_2021"
    return DriverError(
        "Expected a host that reports like the car that the driver was trained with, "
        f"{description.vehicle}. Received: messages of {seen} from {config.host}:{config.port}. "
        f"Race a driver that was trained with --set vehicle={wanted}."
    )
