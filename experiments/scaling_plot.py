"""A score against what it took: environment steps, wall time, processor time."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.experiments import figures
from donkey_rl.experiments.check_history import CheckHistory
from donkey_rl.experiments.scaling import Trend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

_POINTS = 80
_DRAWN = 2.0
"""How far a curve is drawn, as a multiple of the steps measured: further hides those."""

_MOST_NAMED = 8
_MINUTE = 60.0


class Learner(NamedTuple):
    """A run in the picture."""

    label: str
    history: CheckHistory


def draw(
    learners: Sequence[Learner],
    figure: str,
    name: str,
    trend: Trend | None,
    path: str | pathlib.Path,
) -> pathlib.Path:
    """Draws a score of the checks of runs against what they took.

    Args:
        learners: The runs.
        figure: Which score, of `check_history.FIGURES`.
        name: What the axis says of it.
        trend: The curve through the scores against the steps, if there is one; beyond the
            measurements it is dashed, with its 95 % interval.
        path: The PNG file to write.

    Raises:
        StorageError: If the file cannot be written.
    """
    panels = {"environment steps": [each.history.steps for each in learners]}
    panels["wall time (min)"] = [each.history.wall_s / _MINUTE for each in learners]
    processor = [each.history.cpu_s / _MINUTE for each in learners]
    if any(np.isfinite(each).any() for each in processor):
        panels["processor time (min)"] = processor
    drawing = figures.new_figure(10.0, 2.6 * len(panels) + 1.0)
    rows = drawing.subplots(len(panels), 1, sharey=True, squeeze=False)[:, 0]
    for axes, (what, spent) in zip(rows, panels.items(), strict=True):
        for index, (each, way) in enumerate(zip(learners, spent, strict=True)):
            values = each.history.figures[figure]
            known = np.isfinite(values) & np.isfinite(way)
            label = each.label if len(learners) <= _MOST_NAMED else None
            axes.plot(
                way[known], values[known], "o-", color=figures.colour(index), markersize=4,
                linewidth=1.1, label=label,
            )  # fmt: skip
        axes.set(xlabel=what, ylabel=name)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.grid(alpha=0.3)
    if trend is not None:
        _draw_trend(rows[0], trend)
    for axes in rows:
        axes.set_xlim(0, None)
    if rows[0].get_legend_handles_labels()[1]:
        rows[0].legend(fontsize=9)
    return figures.save(drawing, path)


def _draw_trend(axes: Axes, trend: Trend) -> None:
    inside = np.linspace(trend.first, trend.last, _POINTS)
    beyond = np.linspace(trend.last, _DRAWN * trend.last, _POINTS)
    axes.plot(inside, [trend.at(x).value for x in inside], color=figures.BLACK, linewidth=1.4)
    estimates = np.array([trend.at(x) for x in beyond])
    axes.plot(
        beyond, estimates[:, 1], "--", color=figures.BLACK, linewidth=1.4, label="extrapolated"
    )
    axes.fill_between(
        beyond, estimates[:, 2], estimates[:, 3], color=figures.BLACK, alpha=0.15, linewidth=0,
        label="95 % interval",
    )  # fmt: skip
    axes.axvline(trend.last, color=figures.GREY, linestyle=":", linewidth=1.0)
