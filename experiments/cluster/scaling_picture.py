"""The picture of a simulated sweep: throughput against workers, and what is busy meanwhile."""

from __future__ import annotations

import pathlib

from donkey_rl.experiments import figures
from donkey_rl.experiments.cluster.scaling_study import ScalingResult

_STYLES = ("-", "--", ":", "-.")


def draw(result: ScalingResult, path: str | pathlib.Path) -> pathlib.Path:
    """Draws throughput relative to ideal against the number of workers, for each storage.

    Args:
        result: What was measured and simulated.
        path: The PNG file to write.

    Raises:
        StorageError: The file cannot be written.
    """
    drawing = figures.new_figure(10.0, 5.0)
    axes = drawing.subplots()
    kinds = tuple(result.costs)
    drawn = dict.fromkeys(kinds, 0)
    for curve in result.curves:
        style = _STYLES[drawn[curve.storage] % len(_STYLES)]
        drawn[curve.storage] += 1
        axes.plot(
            curve.workers,
            curve.efficiency,
            style,
            marker="o",
            markersize=4,
            color=figures.colour(kinds.index(curve.storage)),
            label=curve.name,
        )
    axes.set_xscale("log")
    axes.set(xlabel="workers", ylabel="trials, relative to workers that never wait")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.set_ylim(0.0, 1.05)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="lower left")
    return figures.save(drawing, path)
