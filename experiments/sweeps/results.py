"""What a study came to: its best trial, and which settings mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from donkey_rl.configuration import Config
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.sweeps.plan import SweepPlan
from donkey_rl.experiments.sweeps.queue import attempts
from donkey_rl.search_space import Choice

DISQUALIFIED = "disqualified"
"""Constraint of a trial: by how much its share of disqualified races is too high."""

RUN_NOTE, SCORE_NOTE = "run ", "score "
"""What a trial's notes of its runs and their mean scores begin with, before the training."""

LEAST_FOR_IMPORTANCES = 10
"""Complete trials below which nothing is said of what mattered."""


class Counts(Config):
    """Trials by how they ended.

    Attributes:
        complete: Trained and raced.
        pruned: Given up early.
        failed: Without a result, such as one that diverged.
        running: Being worked on.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0


class Best(Config):
    """The best trial: the highest score among those that are seldom disqualified.

    Attributes:
        number: Its number.
        value: Mean race score.
        disqualified: Share of its races that ended in a disqualification.
        feasible: Whether that is within the limit; if not, no trial's is, and this is the nearest.
        params: What it varied, by dotted key.
        run_id: The best of its runs.
        runs: All of its runs, by training.
    """

    number: int
    value: float
    disqualified: float
    feasible: bool
    params: dict[str, Any]
    run_id: str | None
    runs: dict[str, str]


def count(trials: Sequence[FrozenTrial]) -> Counts:
    """Counts the trials that were asked for by how they ended, each once however often begun."""
    ends = [jobs[-1].state for jobs in attempts(trials).values()]
    return Counts(
        complete=ends.count(TrialState.COMPLETE),
        pruned=ends.count(TrialState.PRUNED),
        failed=ends.count(TrialState.FAIL),
        running=ends.count(TrialState.RUNNING) + ends.count(TrialState.WAITING),
    )


def best_of(trials: Sequence[FrozenTrial], plan: SweepPlan) -> Best | None:
    """Returns the best complete trial, None where none is complete."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return None
    found = max(complete, key=lambda trial: (-excess(trial), score(trial), -trial.number))
    runs = runs_of(found)
    means = {run: found.user_attrs.get(SCORE_NOTE + cell, 0.0) for cell, run in runs.items()}
    return Best(
        number=found.number,
        value=score(found),
        disqualified=found.constraints.get(DISQUALIFIED, 0.0) + plan.most_disqualified,
        feasible=excess(found) == 0.0,
        params=values_of(found, plan),
        run_id=max(means, key=lambda run: means[run]) if means else None,
        runs=runs,
    )


def excess(trial: FrozenTrial) -> float:
    """Returns by how much a trial's constraints are exceeded, 0 where they are met."""
    return sum(max(0.0, value) for value in trial.constraints.values())


def score(trial: FrozenTrial) -> float:
    """Returns the score of a complete trial."""
    return float(trial.value) if trial.value is not None else math.nan


def recipe_score(trials: Sequence[FrozenTrial]) -> float | None:
    """Returns the score of the first trial, the recipe itself, None until it is complete."""
    first = attempts(trials).get(0, ())
    ends = [trial for trial in first if trial.state == TrialState.COMPLETE]
    return score(ends[0]) if ends else None


def values_of(trial: FrozenTrial, plan: SweepPlan) -> dict[str, Any]:
    """Returns what a trial varied, by dotted key, as settings take it."""
    return {
        key: space.value_of(trial.params[key]) if isinstance(space, Choice) else trial.params[key]
        for key, space in plan.space.items()
        if key in trial.params
    }


def runs_of(trial: FrozenTrial) -> dict[str, str]:
    """Returns the ids of a trial's runs, by training."""
    notes = trial.user_attrs.items()
    return {
        key.removeprefix(RUN_NOTE): str(value) for key, value in notes if key.startswith(RUN_NOTE)
    }


def drivers(trials: Sequence[FrozenTrial]) -> list[str]:
    """Returns the runs of the complete trials, those with the best races first."""
    scored = [
        (trial.user_attrs.get(SCORE_NOTE + cell, 0.0), run)
        for trial in trials
        if trial.state == TrialState.COMPLETE
        for cell, run in runs_of(trial).items()
    ]
    return [run for _, run in sorted(scored, reverse=True)]


def importances(study: optuna.Study) -> dict[str, float] | None:
    """Returns how much of the differences in score goes with each setting, the largest first.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023): how differently the better trials are spread
    over a setting from all of them.

    Returns:
        Shares that add up to 1; None with too few trials, or where all score alike.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST_FOR_IMPORTANCES or len({score(trial) for trial in complete}) == 1:
        return None
    return dict(optuna.importance.get_param_importances(study))


def recipe_of(plan: SweepPlan, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a trial as a recipe: what differs from the defaults.

    What the sweep itself has made short stays out, and the seed.
    """
    config = plan.training(plan.cells()[0], values)
    usual = configs.flat(TrainingConfig(agent=config.agent).model_dump(mode="json"))
    longer = {key: value for key, value in plan.budget.items() if value is not None}
    left_out = {"seed", *plan.budget.keys() - longer.keys()}
    recipe: dict[str, Any] = {"agent": config.agent}
    for key, value in {**configs.flat(config.model_dump(mode="json")), **longer}.items():
        if key not in left_out and (key not in usual or usual[key] != value):
            *groups, leaf = key.split(".")
            place = recipe
            for group in groups:
                place = place.setdefault(group, {})
            place[leaf] = value
    return recipe
