"""What an evaluated driver is held against: no skill, an expert, and the best so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from donkey_rl.envs import simulators
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments import drivers
from donkey_rl.experiments import evaluation_folders as folders
from donkey_rl.experiments import evaluation_races as driving
from donkey_rl.experiments import evaluation_result as results
from donkey_rl.experiments.drivers import PURSUIT, UNTRAINED
from donkey_rl.experiments.evaluation_races import Driven, RacePlan
from donkey_rl.experiments.evaluation_result import Yardstick
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.stored_races import Course
from donkey_rl.metrics import registry
from donkey_rl.metrics.race import Race

MOST_RACES = 10
"""Races of a yardstick: the first ones of the evaluation."""

_MOST_CANDIDATES = 1_000


def measure(driven: Driven, run_id: str, progress: ProgressDisplay) -> tuple[Yardstick, ...]:
    """Returns the drivers that some races are held against: untrained, `pursuit`, previous best.

    The first two drive the same races, up to `MOST_RACES` of them, in the embedded simulator
    only: in another one it would take them as long as the driver itself. The expert's races stay
    in a run of its own and are driven again only where something has changed. The previous best
    is the run with the highest score of the same track, car, simulator, laps and version.

    Args:
        driven: The races.
        run_id: The run that they will be stored in.
        progress: Shows how far it is.

    Raises:
        StorageError: The store could not be read or written.
    """
    rows = []
    if driven.config.simulator == simulators.EMBEDDED:
        plan = dataclasses.replace(
            driven.plan,
            races=min(MOST_RACES, driven.plan.races),
            plots=False,
            frames=False,
            films=False,
            video=None,
        )
        if driven.entrant.kind != UNTRAINED:
            fresh = driven.entrant.before_training()
            raced = driving.drive(fresh, driven.config, plan, progress, "racing untrained")
            rows.append(_row(UNTRAINED, "its agent before it learned", raced.races, plan))
        if driven.entrant.kind != PURSUIT:
            races = _expert_races(driven.config, plan, progress)
            rows.append(_row(PURSUIT, "an expert that knows where it is", races, plan))
    best = _previous_best(driven, run_id)
    return (*rows, *([best] if best else []))


def _row(name: str, note: str, races: Sequence[Race], plan: RacePlan) -> Yardstick:
    table = registry.score_races(races, plan.metrics)
    return Yardstick(name=name, note=note, races=len(races), metrics=results.figures(table))


def _expert_races(
    config: EnvironmentConfig, plan: RacePlan, progress: ProgressDisplay
) -> Sequence[Race]:
    """Returns the races of `pursuit`, from the store where it has driven them before."""
    expert = drivers.pursuit(config)
    plan = dataclasses.replace(plan, folder=folders.name(expert, config, plan, marked=True))
    stored = folders.run_of(expert)
    if stored is not None:
        result, races = folders.read(stored, plan.folder)
        if result is not None and result.key == driving.key(expert, config, plan):
            return races
    driven = driving.drive(expert, config, plan, progress, f"racing {PURSUIT}")
    with folders.open_run(expert, driven.track.name) as run:
        driving.store(driving.report(driven, run.id), driven, run, progress)
    return driven.races


def _previous_best(driven: Driven, run_id: str) -> Yardstick | None:
    """Returns the best of the other runs, None where there is none."""
    course = dataclasses.replace(Course.of(driven.races[0].header), conditions="")
    for stored, folder in folders.best(course, _MOST_CANDIDATES):
        if stored.id == run_id:
            continue
        result, races = folders.read(stored, folder)
        if result is None or result.privileged or not races:
            continue
        if Course.of(races[0].header) == course:
            plain = ", without what was changed here" if driven.plan.changes else ""
            note = f"the best before, {stored.name}{plain}"
            return _row(f"run {stored.id[:8]}", note, races, driven.plan)
    return None
