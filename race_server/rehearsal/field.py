"""Who races: our car and its opponents, each with a configuration of its own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from donkey_rl import configuration
from donkey_rl.errors import InputError
from donkey_rl.race_server.config import LimitsConfig, RaceConfig


class _Rival(NamedTuple):
    name: str
    country: str
    bio: str
    colour: tuple[int, int, int]


_RIVALS = (
    _Rival("Apex Predator", "Nevada", "Bites every kerb once.", (200, 40, 40)),
    _Rival("Brake Dancer", "Jutland", "Two steps back, four forward.", (240, 160, 20)),
    _Rival("Turbo Turtle", "Galápagos", "Slow is smooth, smooth is slow.", (40, 160, 60)),
    _Rival("Donkey Hotey", "La Mancha", "Tilts at chicanes.", (150, 60, 200)),
    _Rival("Sir Skids-a-Lot", "Camelot", "Straight ahead is for the timid.", (90, 90, 90)),
    _Rival("Hairpin Hattie", "Stelvio", "Never met a bend she did not like.", (230, 90, 170)),
    _Rival("Lap Dog", "Le Mans", "Fetches the flag.", (20, 150, 150)),
)
MOST_OPPONENTS = len(_RIVALS)
_SLOWER = 0.06
"""So much less throttle than the one before, so that the evening has an order."""


def opponents(
    ours: RaceConfig, count: int, references: Sequence[str], throttle: float
) -> tuple[RaceConfig, ...]:
    """Returns the configurations of the opponents; address and records are set later.

    Args:
        ours: Our own car's; the same scene and generation.
        count: How many.
        references: Their drivers, in turn; without any they have ours, and less throttle each.
        throttle: Our driver's highest throttle command.

    Raises:
        InputError: There are not so many names.
    """
    if count > MOST_OPPONENTS:
        raise InputError(f"At most {MOST_OPPONENTS} opponents take part. Received: {count}.")
    found = []
    for k, rival in enumerate(_RIVALS[:count]):
        slower = 1.0 if references else 1.0 - _SLOWER * (k + 1)
        found.append(
            RaceConfig(
                racer_name=rival.name,
                car_name=rival.name,
                country=rival.country,
                bio=rival.bio,
                guid=str(uuid.uuid4()),
                body_rgb=rival.colour,
                driver=references[k % len(references)] if references else ours.driver,
                scene=ours.scene,
                generation=ours.generation,
                latency_ms=ours.latency_ms,
                limits=LimitsConfig(throttle_max=max(0.01, throttle * slower)),
                page=None,
            )
        )
    return tuple(found)


def known(config: RaceConfig) -> RaceConfig:
    """Returns a configuration with a guid: by it the host knows a car again."""
    return configuration.with_values(config, {"guid": config.guid or str(uuid.uuid4())})


def placed(config: RaceConfig, port: int, records: Path, *, ours: bool = False) -> RaceConfig:
    """Returns a configuration for the rehearsal's own host: on loopback.

    Args:
        config: Of a car.
        port: Where it reaches the host.
        records: Folder of its records.
        ours: Whether it has a page.
    """
    local = {"host": "127.0.0.1", "port": 0}
    page = local | {"token": ""} if ours else None
    return configuration.with_values(
        config,
        {
            "host": "127.0.0.1",
            "port": port,
            "records": records,
            "page": page,
            # By which practice is begun.
            "drive": local | {"allow": ()},
        },
    )
