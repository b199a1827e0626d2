"""What a record begins with: who raced, where and by which settings, without secrets."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from donkey_rl.agents import manifest
from donkey_rl.configuration import Config
from donkey_rl.race_server.config import RaceConfig

FORMAT: Literal[1] = 1
"""Version of the record: a reader refuses a newer one."""


class RecordedDriver(Config):
    """A driver that can take the seat.

    Attributes:
        name: What it is called in the record's lines.
        hash: SHA-256 of its weights and specification.
        run_id: The training run that it comes from, empty where it is not known.
        agent: The algorithm that trained it.
    """

    name: str
    hash: str = ""
    run_id: str = ""
    agent: str = ""


class RecordHeader(Config):
    """The first line of a record.

    Attributes:
        format: Version of the record.
        id: What tells this record from any other.
        began: When it began, UTC.
        car: Name of the car, unique in its team.
        race: All of ``race.yaml`` but the guid and the page's token.
        vehicle: The car, which is its generation: what speeds and places are divided by.
        camera: Configuration of the camera.
        drivers: All that can take the seat, the first choice first.
        versions: Versions of the packages that a drive depends on.
    """

    format: Literal[1] = FORMAT
    id: str = pydantic.Field(
        default_factory=lambda: uuid.uuid4().hex, pattern="^[0-9a-f]{32}$", description="Random."
    )
    began: datetime.datetime = pydantic.Field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC)
    )
    car: str = pydantic.Field(max_length=200)
    race: dict[str, Any]
    vehicle: str = ""
    camera: dict[str, Any] = pydantic.Field(default_factory=dict)
    drivers: tuple[RecordedDriver, ...] = ()
    versions: dict[str, str] = pydantic.Field(default_factory=manifest.installed_versions)

    @classmethod
    def of(
        cls,
        config: RaceConfig,
        *,
        car: str,
        vehicle: str = "",
        camera: dict[str, Any] | None = None,
        drivers: Sequence[RecordedDriver] = (),
    ) -> RecordHeader:
        """Returns the header of a car's record.

        Args:
            config: Its ``race.yaml``.
            car: Its name in the team.
            vehicle: Its generation, as in the driver's manifest.
            camera: Configuration of its camera.
            drivers: All that can take the seat.
        """
        left_out: dict[str, Any] = {"guid": True, "page": {"token"}}
        race = config.model_dump(mode="json", exclude=left_out)
        return cls(
            car=car, race=race, vehicle=vehicle, camera=camera or {}, drivers=tuple(drivers)
        )


def secrets(config: RaceConfig) -> tuple[str, ...]:
    """Returns what must stand nowhere in a record: the guid and the page's token."""
    token = config.page.token if config.page is not None else ""
    return tuple(each for each in (config.guid, token) if each)
