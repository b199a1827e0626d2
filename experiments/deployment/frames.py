"""What an exported driver is held against the original on: observations of drives."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import InputError
from donkey_rl.experiments import drivers, racing, recorded_drives
from donkey_rl.experiments.progress import ProgressDisplay

FRAMES: Final = 400
"""Observations that an export is compared on, about."""

_CARS, _STEPS = 8, 25
"""Cars at least, and about how many steps of each."""

_MOST_TRACKS = 11


@dataclasses.dataclass(frozen=True, eq=False)
class Observations:
    """What drivers saw on some drives.

    Attributes:
        parts: Of n observations, by the parts' names.
        source: Where they are from, in words.
        speed_is_assumed: Whether the drives tell none, and one was taken for all.
    """

    parts: Mapping[str, npt.NDArray[Any]]
    source: str
    speed_is_assumed: bool = False

    def __len__(self) -> int:
        """Number of observations."""
        return len(self.parts["image"])

    def taken(self, rows: slice) -> Observations:
        """Returns some of them."""
        parts = {name: part[rows] for name, part in self.parts.items()}
        return dataclasses.replace(self, parts=parts)

    def single(self, index: int) -> dict[str, npt.NDArray[Any]]:
        """Returns one observation, without an axis for the car."""
        return {name: part[index] for name, part in self.parts.items()}


def rendered(
    driver: Driver | Ensemble, progress: ProgressDisplay, count: int = FRAMES, seed: int = 0
) -> Observations:
    """Lets the driver drive on its own tracks in the embedded simulator, from places anywhere.

    Args:
        driver: What drives.
        progress: Shows how far it is.
        count: Observations, about.
        seed: Of where the cars begin.

    Raises:
        InputError: One of its tracks is not there any more.
    """
    config = drivers.environment_of(driver)
    learned = driver.description.tracks
    evenly = np.linspace(0, len(learned) - 1, min(len(learned), _MOST_TRACKS))
    tracks = [learned[k] for k in np.rint(evenly).astype(int)]
    cars = max(_CARS, count // (_STEPS * len(tracks)))
    steps = max(1, count // (cars * len(tracks)))
    parts = []
    with progress.phase("driving for frames", len(tracks) * steps) as phase:
        for number, name in enumerate(tracks):
            found = []
            batch = _cars(config.model_copy(update={"track": name}), cars, seed)
            for step in range(steps):
                seen = batch.observation()
                found.append({part: np.array(values) for part, values in seen.items()})
                moved = batch.step(driver.act(seen))
                over = np.flatnonzero(moved.terminated | moved.truncated)
                if len(over):
                    batch.reset(over)
                phase.update(number * steps + step + 1)
            parts.append(_by_car(found))
    joined = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
    return Observations(joined, f"rendered on {', '.join(tracks)}")


def _by_car(steps: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Returns what cars saw in some steps, one car after another."""
    stacked = {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}
    return {name: part.reshape(-1, *part.shape[2:]) for name, part in stacked.items()}


def _cars(config: EnvironmentConfig, count: int, seed: int) -> Batch:
    """Returns cars that begin anywhere on a track, at any speed that is usual."""
    try:
        config = racing.race_environment(config)
        drawn = config.randomisation.model_copy(
            update={"start_anywhere": True, "start_lateral": 0.3, "start_speed": 10.0}
        )
        batch = Batch(config.model_copy(update={"randomisation": drawn}), count, seed=seed)
    except InputError as error:
        raise InputError(
            f"{error} The driver was trained on it, and an export is checked on frames: give "
            "recorded ones with --tub PATH."
        ) from error
    batch.reset(np.arange(count))
    return batch


def recorded(
    path: pathlib.Path, driver: Driver | Ensemble, speed: float | None, count: int = FRAMES
) -> Observations:
    """Takes observations evenly from recorded drives.

    Args:
        path: A tub, race records with pictures, or a folder of them.
        driver: What drives; it decides about image, history and limits.
        speed: Taken where a recording has none, as the driver's car reports it.
        count: Observations, about.

    Raises:
        InputError: There is no recording, or it lacks what the driver sees.
    """
    drives = recorded_drives.read(path, drivers.environment_of(driver), speed)
    total = sum(map(len, drives))
    found: list[Mapping[str, npt.NDArray[Any]]] = []
    for drive in drives:
        wanted = max(1, count * len(drive) // total)
        rows = np.unique(np.linspace(0, len(drive) - 1, wanted).astype(np.int64))
        seen, _ = drive.observations(rows)
        if len(seen["image"]):
            found.append(seen)
    if not found:
        raise InputError(
            f"{path}: expected camera images that can be read. Received: none. Check the path, or "
            "leave --tub out."
        )
    parts = {part: np.concatenate([each[part] for each in found]) for part in found[0]}
    assumed = recorded_drives.speed_is_assumed(drives, speed)
    return Observations(parts, f"recorded: {path}", speed_is_assumed=assumed)
