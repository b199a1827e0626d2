"""Where evaluations lie: folders inside runs, and runs of drivers that no run has trained."""

from __future__ import annotations

import hashlib

from donkey_rl.envs import simulators
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track_names
from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments import evaluation_result as results
from donkey_rl.experiments import stored_runs, tracking
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.evaluation_races import RacePlan, key, place_name, score_name
from donkey_rl.experiments.evaluation_result import EvaluationResult
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.stored_races import Course
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics.race import Race

DRIVER_TAG = "donkey_rl.driver"
"""Tag of a run that only holds evaluations: a SHA-256 of what drove."""

_MARK = 6


def name(
    entrant: Entrant, config: EnvironmentConfig, plan: RacePlan, *, marked: bool = False
) -> str:
    """Returns the folder of an evaluation inside its run, in letters that MLflow allows.

    Args:
        entrant: Who drives.
        config: What is driven.
        plan: How.
        marked: Whether its name ends with the beginning of its key, where one driver may be
            raced with several settings; it does with several jitters or profiles, in other
            simulators, of which there may be several, and on tracks of files, which may change.
    """
    place = place_name(config.track)
    marked |= config.simulator != simulators.EMBEDDED
    marked |= track_names.is_file(config.track)
    where = "" if config.simulator == simulators.EMBEDDED else "-remote"
    folder = f"evaluation-{place}{where}-{plan.races}x{plan.laps}-seed{plan.seed}"
    if plan.latency.wanted:
        folder += f"-latency{plan.latency.range_ms[0]:g}"
        marked |= bool(plan.latency.jitter_ms) or plan.latency.profile is not None
    return f"{folder}-{key(entrant, config, plan)[:_MARK]}" if marked else folder


def run_of(entrant: Entrant) -> StoredRun | None:
    """Returns the run that holds the evaluations of a driver which no run has trained, if any.

    Raises:
        StorageError: If the store cannot be read.
    """
    return next(iter(stored_runs.search(f"tags.`{DRIVER_TAG}` = '{_identity(entrant)}'", 1)), None)


def open_run(entrant: Entrant, track: str) -> Run:
    """Returns the run that an evaluation is written into.

    That is the run that trained the driver, or else one that only holds its evaluations.

    Args:
        entrant: Who drove.
        track: Where; it becomes a tag of a new run.

    Raises:
        StorageError: If the store cannot be written.
    """
    stored = None if entrant.run_id else run_of(entrant)
    if entrant.run_id or stored is not None:
        return tracking.attach(entrant.run_id or (stored.id if stored else ""))
    tags = {"kind": "evaluation", "driver": entrant.name, "track": track}
    tags |= {"vehicle": entrant.environment.vehicle, DRIVER_TAG: _identity(entrant)}
    return tracking.start(entrant.name, tags=tags)


def _identity(entrant: Entrant) -> str:
    return hashlib.sha256(f"{entrant.kind} {entrant.hash}".encode()).hexdigest()


def read(stored: StoredRun, folder: str) -> tuple[EvaluationResult | None, tuple[Race, ...]]:
    """Returns an evaluation that was stored, None and no races where it is not there or damaged.

    Args:
        stored: The run.
        folder: The evaluation's folder in it.
    """
    try:
        place = stored_runs.download(stored, folder)
        result = results.load(place / results.FILE_NAME)
        records = sorted(place.glob("race_*.parquet"))[: result.races]
        return result, tuple(Race.load(each) for each in records)
    except DonkeyRLError:
        return None, ()


def best(course: Course, most: int) -> tuple[tuple[StoredRun, str], ...]:
    """Returns the runs with the highest scores on a course, the best first.

    Simulator, version and geometry of the track are not looked at.

    Args:
        course: Of the races.
        most: Runs at most.

    Returns:
        Each run with the folder of the evaluation that its score is of.

    Raises:
        StorageError: If the store cannot be read.
    """
    metric = score_name(course.track, course.vehicle, course.laps)
    found = stored_runs.search(f"metrics.`{metric}` > -1e300", most, by=metric)
    return tuple((run, run.tags[metric]) for run in found if metric in run.tags)
