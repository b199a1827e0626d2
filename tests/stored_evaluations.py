"""Runs whose evaluations are stored as `donkey-rl evaluate` stores them, without any driving."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterable, Mapping

from donkey_rl.experiments import stored_runs, tracking
from donkey_rl.metrics.examples import LENGTH, drive, steady
from donkey_rl.metrics.race import Race

MEAN_LAPS_S = (
    27.806, 27.713, 27.809, 27.762, 27.743, 27.767, 27.794, 27.820, 27.758, 27.724,
    27.888, 27.776, 27.773, 27.765, 27.899, 27.839, 27.741, 27.916, 27.849, 27.785,
    27.714, 27.797, 27.886, 27.886, 27.722, 27.768, 27.773, 27.810, 27.802, 27.751,
)  # fmt: skip
"""Mean laps of the 30 races of a driver that SAC had trained on generated_track."""

FIRST_SEED = 1_000


def race(lap_s: float, seed: int, **changes: object) -> Race:
    """Returns a race of one lap at an even speed; a lap of 0 s stands at the start for 6 s."""
    speed = LENGTH / lap_s if lap_s else 0.0
    seconds = (LENGTH + 4.0) / speed if speed else 6.0
    header = {"laps": 1, "vehicle": "donkey_2022", "version": "0.1.0", "driver_hash": "a"}
    return drive(steady(speed, seconds), **(header | {"seed": seed} | changes))


def races(laps_s: Iterable[float], **changes: object) -> list[Race]:
    """Returns a race for each lap time, with the seeds of an evaluation."""
    return [race(lap_s, FIRST_SEED + k, **changes) for k, lap_s in enumerate(laps_s)]


def store(
    name: str,
    evaluations: Mapping[str, Iterable[Race]],
    uri: str,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Stores a run with evaluations by the names of their folders; returns its id."""
    with tracking.start(name, uri=uri, tags=tags) as run:
        for folder, driven in evaluations.items():
            add(run, folder, driven)
    return run.id


def add(run: tracking.Run, folder: str, driven: Iterable[Race]) -> None:
    """Adds an evaluation to a run."""
    with tempfile.TemporaryDirectory() as temporary:
        place = pathlib.Path(temporary) / folder
        for k, each in enumerate(driven):
            each.save(place / f"race_{k:02d}.parquet")
        (place / "trajectory.png").write_bytes(b"no race")
        run.log_artifact(place)


def artifacts(run_id: str, uri: str) -> pathlib.Path:
    """Returns the folder of a run's files."""
    location = stored_runs.find(run_id, uri=uri).artifact_uri
    return pathlib.Path(location.removeprefix("file://"))
