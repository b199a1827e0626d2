"""The races of an evaluation: driven, scored, and stored in a run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import donkey_rl
from donkey_rl import source_code, user_paths
from donkey_rl.agents.folders import sha256
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track_names
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.tasks import STEP_S
from donkey_rl.errors import DriverError, StorageError
from donkey_rl.experiments import config as configs
from donkey_rl.experiments import evaluation_result as results
from donkey_rl.experiments import (
    foreign_driver,
    plots,
    race_latency,
    race_recording,
    rivals,
    track_plot,
    video,
)
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.evaluation_result import EvaluationResult
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.race_recording import RaceFiles
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import registry
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import Metric, Table

FOLDER = "evaluation"
"""Of the races in a run that end its training, or begin so."""

FRAME_LIMIT_MS = 1000.0 * STEP_S
"""What a stranger's driver may take for a frame, as at a race."""

FIRST_SEED = 1_000
"""Seed of the first race; `--seed` is added."""

_VIDEO, _TRAJECTORY, _SPEED = "race.mp4", "trajectory.png", "speed_profile.png"


@dataclasses.dataclass(frozen=True)
class RacePlan:
    """Races to drive, on one track.

    Attributes:
        races: Races, each from another start.
        laps: Laps of a race.
        seed: Added to the seed of each race.
        folder: Folder inside the run for records, plots and video.
        latency: How late commands are.
        disturbance: Changes that each race's seed draws.
        changes: What latency and disturbance are, for the records and for people.
        metrics: What the races are scored by; None for all that are registered.
        plots: Whether plots of the first race are made.
        films: Whether a video of the first race is made.
        video: Where a copy of it goes.
        frames: Whether the records keep what the camera saw.
        is_scored: Whether they are of the run's own driver, whose score the run then has.
    """

    races: int = 5
    laps: int = 3
    seed: int = 0
    folder: str = FOLDER
    latency: LatencyConfig = dataclasses.field(default_factory=LatencyConfig)
    disturbance: Randomisation | None = None
    changes: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)
    metrics: tuple[Metric, ...] | None = None
    plots: bool = True
    films: bool = False
    video: pathlib.Path | None = None
    frames: bool = False
    is_scored: bool = True


@dataclasses.dataclass(frozen=True)
class Driven:
    """Races that were driven.

    Attributes:
        entrant: Who drove.
        config: What was driven.
        plan: How.
        track: Where.
        races: Their records.
        table: Their scores.
        failures: Of a stranger's driver, one line for each reason.
        frames: Camera images of the first race, if they were to be kept.
        files: Where the races were written while they were driven, if they were.
    """

    entrant: Entrant
    config: EnvironmentConfig
    plan: RacePlan
    track: Track
    races: tuple[Race, ...]
    table: Table
    failures: tuple[str, ...]
    frames: Sequence[npt.NDArray[np.uint8]]
    files: RaceFiles | None


Drive = Callable[[Entrant, EnvironmentConfig, "RacePlan", ProgressDisplay, str], "Driven"]
"""Drives the races of a plan and scores them: `drive`, or what does the same elsewhere."""


_OPPONENTS = tuple(
    f"envs/{each}.py" for each in ("opponents", "opponent_drivers", "passing", "traffic")
)
"""The code of those that are on the road beside who is judged."""


def _opponents() -> list[str]:
    return [source_code.digest(*_OPPONENTS), Pursuit.digest()]


def key(entrant: Entrant, config: EnvironmentConfig, plan: RacePlan) -> str:
    """Returns a SHA-256 of everything that the races of a plan depend on."""
    left_out = {"link", "task", "randomisation", "latency"}
    left_out |= set() if config.opponents.count else {"opponents"}
    file = user_paths.path_of(track_names.file_of(config.track) or "")
    late: object = race_latency.marking(plan.latency) if plan.latency.wanted else 0
    facts = {
        "driver": [entrant.kind, entrant.hash],
        "environment": config.model_dump(mode="json", exclude=left_out),
        "plan": [plan.races, plan.laps, plan.seed, late, dict(plan.changes)],
        "disturbance": plan.disturbance.model_dump() if plan.disturbance else None,
        # What is in a file may change under its name.
        **({"road": sha256(file)} if file.is_file() else {}),
        **({"opponents": _opponents()} if config.opponents.count else {}),
        "version": donkey_rl.__version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


_OTHER_LETTERS = re.compile(r"[^A-Za-z0-9_-]+")
_MARK = 6


def place_name(track: str) -> str:
    r"""Returns a track's name, or that of its file, in letters that MLflow allows.

    Of a file whose name has others it ends with the beginning of the name's SHA-256, as two such
    names may be alike in those letters.

    >>> place_name("warren:mirror"), place_name("/home/me/my track.json")
    ('warren-mirror', 'my-track-215095')
    >>> place_name("generated_road:7"), place_name(r"C:\Users\me\club.json:mirror")
    ('generated_road-7', 'club-mirror')
    """
    mark = ""
    if track_names.is_file(track):
        plain = track_names.plain(track)
        if _OTHER_LETTERS.search(plain):
            mark = f"-{hashlib.sha256(plain.encode()).hexdigest()[:_MARK]}"
    return _OTHER_LETTERS.sub("-", track_names.as_raced(track)) + mark


def score_name(track: str, vehicle: str, laps: int) -> str:
    """Returns the metric of a run that is its driver's mean score, and the tag of its folder."""
    return f"score/{place_name(track)}/{vehicle}/{laps}-laps"


def drive(
    entrant: Entrant,
    config: EnvironmentConfig,
    plan: RacePlan,
    progress: ProgressDisplay,
    doing: str = "racing",
) -> Driven:
    """Drives the races of a plan and scores them.

    Args:
        entrant: Who drives.
        config: Simulator, track, car and camera.
        plan: How; commands of a driver that was trained for latency wait up to its lowest.
        progress: Shows how far it is.
        doing: What it shows.

    Raises:
        DriverError: The driver does not fit, or failed at the start of every race.
        LinkError: A simulator cannot be reached.
    """
    frames: list[npt.NDArray[np.uint8]] = []
    files = race_recording.place(config.simulator, plan.folder, frames=plan.frames)
    config = config.model_copy(update={"latency": plan.latency})
    seed = FIRST_SEED + plan.seed
    field = rivals.field(entrant, config, plan.races, seed, plan.disturbance)
    with (
        contextlib.closing(field),
        entrant.pilot(field) as pilot,
        progress.phase(doing, 100, "%") as phase,
    ):
        races = field.race(
            pilot,
            plan.laps,
            about={
                "run_id": entrant.run_id,
                "driver": entrant.name,
                "driver_hash": entrant.hash,
                "conditions": dict(plan.changes),
            },
            frames=frames if plan.films else None,
            progress=lambda share: phase.update(round(100 * share)),
            files=files,
        )
    failed = pilot.failures if isinstance(pilot, foreign_driver.ForeignPilot) else []
    # Cars without a race of their own drive along in the last round.
    failures = [each for each in failed if each.race < len(races)]
    lines = _failure_lines(entrant.name, failures, races)
    if len(failures) == len(races) and all(each.step == 0 for each in failures):
        raise DriverError(f"No race was driven: {'; '.join(lines)}. Mend the driver.")
    return dataclasses.replace(
        scored(entrant, config, plan, field.batch.track, races),
        failures=lines,
        frames=frames,
        files=files,
    )


def scored(
    entrant: Entrant,
    config: EnvironmentConfig,
    plan: RacePlan,
    road: Track,
    races: tuple[Race, ...],
) -> Driven:
    """Scores races that were driven, wherever that was.

    Args:
        entrant: Who drove.
        config: What was driven.
        plan: How.
        road: Where.
        races: Their records.
    """
    table = registry.score_races(races, plan.metrics)
    return Driven(entrant, config, plan, road, races, table, (), (), None)


def _failure_lines(
    name: str, failures: Sequence[foreign_driver.Failure], races: Sequence[Race]
) -> tuple[str, ...]:
    """Returns one line for each reason for which races were lost."""
    by_reason: dict[str, list[foreign_driver.Failure]] = {}
    for each in failures:
        by_reason.setdefault(each.reason, []).append(each)
    return tuple(
        f"driver {name}: {reason}; {len(lost)} of {len(races)} races lost, first that of seed "
        f"{races[lost[0].race].header.seed} after {lost[0].step * STEP_S:.2f} s"
        for reason, lost in by_reason.items()
    )


def report(driven: Driven, run_id: str) -> EvaluationResult:
    """Returns what an evaluation reports of some races, before anything is written.

    Args:
        driven: The races.
        run_id: The run that they will be stored in.
    """
    races, entrant, plan = driven.races, driven.entrant, driven.plan
    best = [lap.time_s for race in races if (lap := lap_times.best_clean_lap(race))]
    return EvaluationResult(
        run_id=run_id,
        driver=entrant.name,
        driver_hash=entrant.hash,
        privileged=entrant.is_privileged,
        track=driven.track.name,
        held_out=bool(entrant.tracks)
        and configs.lasting(driven.config.track) not in entrant.tracks,
        vehicle=driven.config.vehicle,
        simulator=driven.config.simulator,
        version=donkey_rl.__version__,
        key=key(entrant, driven.config, plan),
        laps_wanted=races[0].header.laps,
        seed=races[0].header.seed,
        races=len(races),
        races_clean=sum(results.is_clean(race) for race in races),
        missed_deadlines=int(sum(np.count_nonzero(race["missed"]) for race in races)),
        conditions=dict(plan.changes),
        metrics=results.figures(driven.table),
        failures=(*driven.failures, *map(str, driven.table.failures)),
        per_race=results.race_rows(races, driven.table),
        laps=results.lap_rows(races[0]),
        best_lap_s=min(best, default=None),
    )


def store(
    result: EvaluationResult, driven: Driven, run: Run, progress: ProgressDisplay
) -> EvaluationResult:
    """Writes plots, records, video and `result.json` into a run, and its figures as metrics.

    Args:
        result: What is reported.
        driven: The races.
        run: Where to.
        progress: Shows how far it is.

    Returns:
        The result with the names of its files.

    Raises:
        StorageError: Something could not be written.
    """
    plan = driven.plan
    with (
        tempfile.TemporaryDirectory(prefix="donkey-rl-") as name,
        progress.phase("writing records and plots", None, "files") as phase,
    ):
        folder = pathlib.Path(name) / plan.folder
        folder.mkdir()
        files = _write(folder, driven)
        missing = _write_video(folder, driven, files)
        failures = (*result.failures, *missing)
        result = result.model_copy(update={"files": files, "failures": failures})
        text = result.model_dump_json(indent=2)
        (folder / results.FILE_NAME).write_text(text + "\n", encoding="utf-8")
        phase.update(len(list(folder.iterdir())))
        run.log_artifact(folder)
    if driven.files is not None:
        driven.files.remove()
    means = {name: each["mean"] for name, each in result.metrics.items()}
    kept = {f"kept/{name}": each.kept for name, each in result.robustness.items()}
    figures: dict[str, Any] = {**means, **kept, "robustness": result.kept}
    run.log_metrics(
        {f"{plan.folder}/{name}": v for name, v in figures.items() if v is not None}, 0
    )
    score = means.get(results.SCORE)
    if score is not None and plan.is_scored and not plan.changes:
        name = score_name(result.track, result.vehicle, result.laps_wanted)
        run.log_metrics({name: score}, 0)
        run.set_tags({name: plan.folder})
    return result


def _write(folder: pathlib.Path, driven: Driven) -> dict[str, str]:
    """Writes records and plots; returns where they lie inside the run."""
    plan, races = driven.plan, driven.races
    names = {"result": results.FILE_NAME}
    race_recording.store(races, driven.files, folder)
    if plan.plots:
        best = plots.optimal(races[0])
        lines = track_plot.lines(driven.track)
        plots.trajectory(races[0], lines, folder / _TRAJECTORY, best)
        plots.speed_profile(races[0], folder / _SPEED, best)
        names |= {"trajectory": _TRAJECTORY, "speed": _SPEED}
    files = {what: f"{plan.folder}/{name}" for what, name in names.items()}
    last = f" .. race_{len(races) - 1:02d}.parquet" if len(races) > 1 else ""
    files["records"] = f"{plan.folder}/race_00.parquet{last}"
    return files


def _write_video(folder: pathlib.Path, driven: Driven, files: dict[str, str]) -> tuple[str, ...]:
    """Writes the video, where one is wanted, and names it among the files.

    Returns:
        What went wrong: nothing that was raced is given up for want of a video.
    """
    plan = driven.plan
    if not driven.frames:
        return ()
    try:
        shown = driven.races[0].cut(len(driven.frames))
        video.write_race(folder / _VIDEO, driven.frames, shown)
    except StorageError as error:
        return (f"no video: {error}",)
    files["video"] = f"{plan.folder}/{_VIDEO}"
    if plan.video is not None:
        try:
            plan.video.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / _VIDEO, plan.video)
        except OSError as error:
            return (f"no {plan.video}: {error.strerror or error}; the run has the video",)
        files["video file"] = str(plan.video)
    return ()
