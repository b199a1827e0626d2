"""Racing a stored driver by the fixed protocol, with everything that a person wants to see."""

from __future__ import annotations

import contextlib
import math
import pathlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl import configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.configuration import Config
from donkey_rl.envs import batch as batches
from donkey_rl.envs import simulators
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.errors import StorageError
from donkey_rl.experiments import plots, racing, track_plot, tracking, video
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.tracking import Run
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import registry, statistics
from donkey_rl.metrics.race import Race

FIRST_SEED = 1_000
"""Seed of the first race; `--seed` is added."""


class EvaluationRequest(Config):
    """What `donkey-rl evaluate` is asked."""

    run_id: str
    track: str | None = None
    simulator: str = simulators.EMBEDDED
    races: int = Field(default=5, ge=1, le=1000)
    laps: int = Field(default=3, ge=1, le=100)
    seed: int = Field(default=0, ge=0, lt=2**31)
    video: pathlib.Path | None = None


class RacePlan(Config):
    """Races to drive.

    Attributes:
        folder: Folder inside the run for records, plots and video.
    """

    races: int = 5
    laps: int = 3
    seed: int = 0
    video: pathlib.Path | None = None
    folder: str = "evaluation"


class EvaluationResult(Config):
    """What `donkey-rl evaluate` reports.

    Attributes:
        races_clean: Races of which all laps were clean.
        metrics: Mean and 95 % interval over the races by metric; None where undefined.
        files: What was written, by what it shows: folders and files inside the run, and the
            video file asked for.
        per_race: One row a race.
        laps: The laps of the first race.
        best_lap_s: The best clean lap of all races.
        missed_deadlines: Telemetry messages that came before the driver had answered the one
            before; 0 in the embedded simulator, which waits.
    """

    run_id: str
    track: str
    races: int
    races_clean: int
    missed_deadlines: int
    metrics: dict[str, dict[str, float | None]]
    files: dict[str, str]
    per_race: tuple[dict[str, Any], ...]
    laps: tuple[dict[str, Any], ...]
    best_lap_s: float | None


def evaluate(request: EvaluationRequest, progress: ProgressDisplay) -> EvaluationResult:
    """Races the driver of a stored run and adds the results to the run.

    Raises:
        InputError: Unknown run or track, or a run without a driver.
        StorageError: Results could not be written.
    """
    if request.track is not None:
        track.load(request.track)
    simulators.parse(request.simulator)
    stored = tracking.find(request.run_id)
    driver = Driver.load(tracking.download_driver(stored.id))
    config = environment_of(driver)
    config = config.model_copy(
        update={"simulator": request.simulator, "track": request.track or config.track}
    )
    run = tracking.attach(stored.id)
    plan = RacePlan(
        races=request.races,
        laps=request.laps,
        seed=request.seed,
        video=request.video,
        folder=_folder(config.track, request),
    )
    with run:
        return race_driver(driver, config, run, plan, progress)


def _folder(name: str, request: EvaluationRequest) -> str:
    """Returns the folder of an evaluation inside its run, in letters that MLflow allows."""
    place = re.sub(r"[^A-Za-z0-9_-]+", "-", name.replace(".json", "").rpartition("/")[2])
    where = "" if request.simulator == simulators.EMBEDDED else "-remote"
    return f"evaluation-{place}{where}-{request.races}x{request.laps}-seed{request.seed}"


def environment_of(driver: Driver) -> EnvironmentConfig:
    """Returns the environment that a driver was made for, by its own description."""
    about = driver.description
    low, high = about.throttle_limits
    return configuration.validate(
        EnvironmentConfig,
        {
            "track": about.tracks[0],
            "vehicle": about.vehicle,
            "camera": about.camera,
            "history": driver.observation.history,
            "throttle_min": low,
            "throttle_max": high,
            "steer_limit": about.steering_limits[1],
        },
    )


def race_driver(
    driver: Driver,
    config: EnvironmentConfig,
    run: Run,
    plan: RacePlan,
    progress: ProgressDisplay,
) -> EvaluationResult:
    """Races a driver, and stores records, plots, video and scores in a run.

    Args:
        driver: The driver.
        config: Track, car and camera.
        run: Where the results go.
        plan: How many races of how many laps.
        progress: Shows how far it is.
    """
    driver.check_observation_space(batches.observation_space(config))
    frames: list[npt.NDArray[np.uint8]] = []
    with (
        contextlib.closing(racing.Field(config, plan.races, seed=FIRST_SEED + plan.seed)) as field,
        progress.phase("racing", 100, "%") as phase,
    ):
        races = field.race(
            driver.act,
            plan.laps,
            about={"run_id": run.id, "driver_hash": driver.hash},
            frames=frames,
            progress=lambda share: phase.update(round(100 * share)),
        )
    metrics = _intervals(races)
    with (
        tempfile.TemporaryDirectory(prefix="donkey-rl-") as name,
        progress.phase("writing video, plots and records", None, "files") as phase,
    ):
        folder = pathlib.Path(name) / plan.folder
        folder.mkdir()
        files = _write(folder, races, frames, field, plan)
        phase.update(len(list(folder.iterdir())))
        run.log_artifact(folder)
    run.log_metrics(
        {f"{plan.folder}/{k}": v["mean"] for k, v in metrics.items() if v["mean"] is not None}, 0
    )
    best = [lap.time_s for race in races if (lap := lap_times.best_clean_lap(race))]
    return EvaluationResult(
        run_id=run.id,
        track=field.batch.track.name,
        races=len(races),
        races_clean=sum(_is_clean(race) for race in races),
        missed_deadlines=int(field.batch.world.missed.sum()),
        metrics=metrics,
        files=files,
        per_race=tuple(_race_row(race) for race in races),
        laps=tuple(_lap_row(lap) for lap in lap_times.laps(races[0])),
        best_lap_s=min(best, default=None),
    )


def _is_clean(race: Race) -> bool:
    return sum(lap.clean for lap in lap_times.laps(race)) >= race.header.laps


def _intervals(races: Sequence[Race]) -> dict[str, dict[str, float | None]]:
    result = {}
    for name, each in registry.score_races(races).values.items():
        interval = statistics.summarise(each).mean
        values = {"mean": interval.value, "ci_low": interval.low, "ci_high": interval.high}
        result[name] = {k: None if math.isnan(v) else v for k, v in values.items()}
    return result


def _race_row(race: Race) -> dict[str, Any]:
    driven = lap_times.laps(race)
    return {
        "seed": race.header.seed,
        "laps": len(driven),
        "clean": sum(lap.clean for lap in driven),
        "lap_times_s": [round(lap.time_s, 2) for lap in driven],
        "off_tracks": lap_times.off_track_count(race),
        "hits": lap_times.hits(race),
        "distance_u": round(lap_times.distance(race), 1),
        "mean_speed": round(lap_times.mean_speed(race), 2),
    }


def _lap_row(lap: lap_times.Lap) -> dict[str, Any]:
    return {
        "number": lap.number,
        "time_s": round(lap.time_s, 3),
        "clean": lap.clean,
        "reasons": list(lap.reasons),
    }


def _write(
    folder: pathlib.Path,
    races: Sequence[Race],
    frames: Sequence[npt.NDArray[np.uint8]],
    field: racing.Field,
    plan: RacePlan,
) -> dict[str, str]:
    """Writes video, plots and records; returns where they lie inside the run."""
    names = {"video": "race.mp4", "trajectory": "trajectory.png", "speed": "speed_profile.png"}
    shown = races[0].cut(len(frames))
    video.write_race(folder / names["video"], frames, shown)
    plots.trajectory(races[0], track_plot.lines(field.batch.track), folder / names["trajectory"])
    plots.speed_profile(races[0], folder / names["speed"])
    for k, race in enumerate(races):
        race.save(folder / f"race_{k:02d}.parquet")
    files = {what: f"{plan.folder}/{name}" for what, name in names.items()}
    files["records"] = f"{plan.folder}/race_00.parquet .. race_{len(races) - 1:02d}.parquet"
    if plan.video is not None:
        try:
            plan.video.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / names["video"], plan.video)
        except OSError as error:
            raise StorageError(
                f"The video {plan.video} could not be written: {error.strerror or error}."
            ) from error
        files["video file"] = str(plan.video)
    return files
