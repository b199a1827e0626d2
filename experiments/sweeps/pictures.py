"""Pictures of a study, as PNG files: its history, what mattered, and the settings one by one."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from optuna.trial import FrozenTrial, TrialState

from donkey_rl.experiments import figures
from donkey_rl.experiments.sweeps import results
from donkey_rl.experiments.sweeps.plan import SweepPlan
from donkey_rl.search_space import Choice, Parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4


def draw(
    trials: Sequence[FrozenTrial],
    plan: SweepPlan,
    shares: Mapping[str, float] | None,
    folder: pathlib.Path,
) -> dict[str, str]:
    """Draws what there is to see of a study.

    Args:
        trials: All of its trials.
        plan: What they vary.
        shares: Importance by setting, if it is known.
        folder: Where the pictures go.

    Returns:
        Names of the files, by what they show; none before the first trial is complete.

    Raises:
        StorageError: A file cannot be written.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return {}
    history(trials, folder / "history.png", plan)
    slices(complete, folder / "slices.png", plan)
    files = {"history": "history.png", "settings": "slices.png"}
    if shares is not None:
        bars(shares, folder / "importances.png", plan)
        files["importances"] = "importances.png"
    return files


def history(trials: Sequence[FrozenTrial], path: pathlib.Path, plan: SweepPlan) -> pathlib.Path:
    """Draws the scores in the order of the trials, the best so far, and the recipe's.

    Raises:
        StorageError: The file cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    figure = figures.new_figure(9.0, 5.0)
    axes = figure.subplots()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    fit = [trial for trial in complete if results.excess(trial) == 0.0]
    given_up = [
        trial for trial in trials if trial.state == TrialState.PRUNED and trial.intermediate_values
    ]
    figures.mark(axes, _points(fit), "o", figures.BLUE, "trial")
    unfit = [trial for trial in complete if trial not in fit]
    figures.mark(axes, _points(unfit), "o", figures.ORANGE, "disqualified too often")
    early = np.array(
        [(t.number, float(np.mean(list(t.intermediate_values.values())))) for t in given_up]
    )
    figures.mark(axes, early.reshape(-1, 2), "x", figures.GREY, "given up, score until then")
    if fit:
        numbers, values = _points(fit).T
        last = max(trial.number for trial in trials)
        axes.step(
            [*numbers, last],
            [*np.maximum.accumulate(values), values.max()],
            where="post",
            color=figures.BLUE,
            label="best so far",
        )
    recipe = results.recipe_score(trials)
    if recipe is not None:
        axes.axhline(
            recipe, color=figures.BLACK, linewidth=1.1, dashes=(5, 2), label="recipe (first trial)"
        )
    axes.set(xlabel="trial", ylabel="race score (mean over races)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    figure.suptitle(_title(plan))
    return figures.save(figure, path)


def slices(trials: Sequence[FrozenTrial], path: pathlib.Path, plan: SweepPlan) -> pathlib.Path:
    """Draws the scores of complete trials over each setting, later ones darker.

    Raises:
        StorageError: The file cannot be written.
    """
    columns = min(_COLUMNS, len(plan.space))
    rows = math.ceil(len(plan.space) / columns)
    figure = figures.new_figure(2.6 * columns + 0.8, 2.3 * rows + 0.6)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, (key, space) in zip(grid, plan.space.items(), strict=False):
        known = [trial for trial in trials if key in trial.params]
        axes.scatter(
            _places(axes, space, [trial.params[key] for trial in known]),
            [results.score(trial) for trial in known],
            c=[trial.number for trial in known],
            cmap="Blues",
            vmin=-0.5 * len(known),
            s=22,
        )
        axes.set_xlabel(key, fontsize=8)
        axes.grid(alpha=0.3)
    for axes in grid[len(plan.space) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel("race score")
    figure.suptitle(f"{_title(plan)}: complete trials, later ones darker")
    return figures.save(figure, path)


def _places(axes: Axes, space: Parameter, values: Sequence[Any]) -> Sequence[float]:
    """Marks an axis with what a setting may be; returns where its values are on it."""
    if isinstance(space, Choice):
        labels = [str(label) for label in space.labels]
        axes.set_xticks(range(len(labels)), labels, fontsize=7, rotation=20)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        return [labels.index(str(value)) for value in values]
    low, high = float(space.low), float(space.high)
    middle, margin = 0.5 * (low + high), 0.05 * (high - low)
    limits = (low - margin, high + margin)
    if space.log:
        axes.set_xscale("log")
        middle, margin = math.sqrt(low * high), (high / low) ** 0.05
        limits = (low / margin, high * margin)
    ticks = (low, middle, high)
    axes.set_xlim(*limits)
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks], fontsize=7)
    axes.set_xticks([], minor=True)
    return [float(value) for value in values]


def bars(shares: Mapping[str, float], path: pathlib.Path, plan: SweepPlan) -> pathlib.Path:
    """Draws how much each setting mattered.

    Raises:
        StorageError: The file cannot be written.
    """
    figure = figures.new_figure(8.0, 0.35 * len(shares) + 1.6)
    axes: Axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=figures.BLUE)
    axes.set(xlabel="share of the differences in score (PED-ANOVA)", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    figure.suptitle(_title(plan))
    return figures.save(figure, path)


def _points(trials: Sequence[FrozenTrial]) -> npt.NDArray[np.float64]:
    pairs = [(trial.number, results.score(trial)) for trial in trials]
    return np.array(pairs, np.float64).reshape(-1, 2)


def _title(plan: SweepPlan) -> str:
    tracks = ", ".join(pathlib.PurePath(name).stem for name in plan.tracks)
    return f"sweep {plan.study}: {plan.config.agent} on {tracks}"
