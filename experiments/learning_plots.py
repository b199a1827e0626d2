"""Pictures of learning, as PNG files: one run, or several with bands over their seeds."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError
from donkey_rl.experiments import figures
from donkey_rl.metrics import statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

_POINTS = 120
_RESAMPLES = 1000


class Curve(NamedTuple):
    """A figure of one run, as it learns.

    Attributes:
        steps: Environment steps, growing, shape (n,).
        values: The figure then, shape (n,); NaN where there was none.
    """

    steps: FloatArray
    values: FloatArray


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs that differ in their seed only.

    Attributes:
        label: What they are called in the picture.
        curves: Of each figure, one curve for each run that has it.
    """

    label: str
    curves: Mapping[str, Sequence[Curve]]


class Band(NamedTuple):
    """The middle of several curves, with its confidence interval; each of shape (n,)."""

    steps: FloatArray
    middle: FloatArray
    low: FloatArray
    high: FloatArray


def learning_curve(
    steps: Sequence[int],
    values: Mapping[str, Sequence[float]],
    path: str | pathlib.Path,
    title: str = "Learning",
) -> pathlib.Path:
    """Draws values against environment steps, one panel for each.

    Args:
        steps: Environment steps at each point.
        values: One value per point by its name with its unit, such as ``best lap (s)``; NaN
            where there was none.
        path: The PNG file to write.
        title: Title of the picture.

    Raises:
        InputError: If there are no values, or their number differs from that of the steps.
        StorageError: If the file cannot be written.
    """
    lengths = {name: len(curve) for name, curve in values.items()}
    if not values or set(lengths.values()) != {len(steps)}:
        raise InputError(
            f"Every curve must have one value per step. Received: {len(steps)} steps, {lengths}."
        )
    figure = figures.new_figure(9.0, 1.2 + 2.4 * len(values))
    panels = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    for index, (axes, (name, curve)) in enumerate(zip(panels, values.items(), strict=True)):
        points = np.asarray(curve, np.float64)
        known = np.isfinite(points)
        axes.plot(
            np.asarray(steps)[known],
            points[known],
            "o-",
            color=figures.colour(index),
            markersize=4,
        )
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        if not known.any():
            axes.text(0.5, 0.5, "none yet", transform=axes.transAxes, ha="center", va="center")
    _count_steps(panels[-1], max(steps, default=0))
    figure.suptitle(title)
    return figures.save(figure, path)


def learning_bands(
    groups: Sequence[Runs], path: str | pathlib.Path, title: str = "Learning"
) -> pathlib.Path:
    """Draws what runs of one configuration come to, with a band over their seeds.

    The line is the inter-quartile mean of the runs, the band its 95 % bootstrap interval (Agarwal
    et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section
    4); each run is a thin line beside it, and alone where there is only one.

    Args:
        groups: Runs by configuration. There is a panel for each figure that one of them has.
        path: The PNG file to write.
        title: Title of the picture.

    Raises:
        InputError: If no run has a curve.
        StorageError: If the file cannot be written.
    """
    names = list(dict.fromkeys(name for group in groups for name in group.curves))
    if not names:
        named = ", ".join(group.label for group in groups) or "no runs"
        raise InputError(
            "Learning needs curves to draw: a training logs one with each check. Received: "
            f"{named}, without any. Name runs of `donkey-rl train`."
        )
    figure = figures.new_figure(9.0, 1.4 + 2.6 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    last = 0.0
    for axes, name in zip(panels, names, strict=True):
        for index, group in enumerate(groups):
            curves = group.curves.get(name, ())
            _draw_group(axes, curves, figures.colour(index), group.label)
            last = max([last, *(float(curve.steps[-1]) for curve in curves if len(curve.steps))])
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=9)
    _count_steps(panels[-1], last)
    figure.suptitle(title)
    return figures.save(figure, path)


def band(curves: Sequence[Curve]) -> Band:
    """Returns the inter-quartile mean of curves and its 95 % interval, over their common steps.

    Curves are read between their points along straight lines. Where one of them has no value, as
    before its first lap, there is no band: the mean of those that happen to have one would be of
    the better runs.

    Args:
        curves: One for each run.
    """
    known = [_known(curve) for curve in curves]
    if not known or any(not len(curve.steps) for curve in known):
        return Band(*np.empty((4, 0)))
    first = max(float(curve.steps[0]) for curve in known)
    last = min(float(curve.steps[-1]) for curve in known)
    if first > last:
        return Band(*np.empty((4, 0)))
    steps = np.unique(np.linspace(first, last, _POINTS))
    values = np.stack([np.interp(steps, curve.steps, curve.values) for curve in known], axis=1)
    middle = np.array([statistics.summarise(row, resamples=_RESAMPLES).iqm for row in values])
    return Band(steps, *middle.T)


def _known(curve: Curve) -> Curve:
    known = np.isfinite(curve.values)
    return Curve(curve.steps[known], curve.values[known])


def _draw_group(axes: Axes, curves: Sequence[Curve], colour: str, label: str) -> None:
    """Draws the runs of one configuration."""
    text = f"{label} ({len(curves)} run{'' if len(curves) == 1 else 's'})"
    single = len(curves) < 2
    size, width, alpha = (4, 1.6, 1.0) if single else (2, 0.6, 0.55)
    for curve in curves:
        steps, values = _known(curve)
        axes.plot(steps, values, "o-", color=colour, markersize=size, linewidth=width, alpha=alpha)
    if not single:
        steps, middle, low, high = band(curves)
        axes.plot(steps, middle, color=colour, linewidth=1.8)
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot([], [], color=colour, label=text)


def _count_steps(axes: Axes, last: float) -> None:
    """Counts environment steps along the lowest axis."""
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if last:
        axes.set_xlim(0, max(last * 1.03, 1))
