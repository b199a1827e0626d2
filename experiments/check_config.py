"""How a policy is raced while it learns."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator import track
from donkey_rl.experiments import splits


class CheckConfig(Config):
    """How the policy is raced while it learns: deterministic, from the start grid.

    Attributes:
        every: Environment steps between two checks before the first clean lap.
        every_later: The same after it.
        races: Races of a check, from different starts, in the embedded simulator.
        rounds: Races that each car of another simulator drives in a check, one after another.
        laps: Laps of a race after the first clean lap; one before.
        tracks: Tracks to race on, as `TrainingConfig.track` names them; by default those of the
            training. The best policy is the one that is best there.
        keep: Which policy becomes the driver: the `best` in these races, or the `last`, where a
            reward of the user's own wants something else than laps.
        randomised: Whether looks and cars vary as in the training; they are nominal otherwise.
    """

    every: int = Field(default=2_000, ge=1)
    every_later: int = Field(default=25_000, ge=1)
    races: int = Field(default=8, ge=1, le=256)
    rounds: int = Field(default=1, ge=1, le=256)
    laps: int = Field(default=3, ge=1, le=100)
    tracks: str | None = None
    keep: Literal["best", "last"] = "best"
    randomised: bool = False

    @pydantic.field_validator("tracks")
    @classmethod
    def _known_tracks(cls, value: str | None) -> str | None:
        return value if value is None else loaded(value)


def loaded(tracks: str) -> str:
    """Returns a list of tracks when each of them could be loaded.

    Args:
        tracks: As `splits.tracks` reads them.

    Raises:
        UnknownNameError: A name is unknown; it carries the nearest.
        TrackError: A track cannot be driven.
    """
    for name in splits.tracks(tracks):
        track.load(name)
    return tracks
