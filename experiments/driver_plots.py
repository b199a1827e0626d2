"""Pictures of several drivers beside each other, as PNG files."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError
from donkey_rl.experiments import figures, plots
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import statistics
from donkey_rl.metrics.laps import Lap
from donkey_rl.metrics.limits import OptimalLine
from donkey_rl.metrics.race import Race

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

_BIN_U = 0.25
_MOST_BINS = 400
_COLUMN_LETTERS = 18
_SPREAD = 0.22
"""Points of one driver are spread over this much of its column to both sides, so that all are
seen."""


@dataclasses.dataclass(frozen=True)
class Drives:
    """The races of one driver.

    Attributes:
        label: What it is called in the picture.
        races: Its races, all on one track.
    """

    label: str
    races: tuple[Race, ...]


def speed(
    drivers: Sequence[Drives], path: str | pathlib.Path, best: OptimalLine | None = None
) -> pathlib.Path:
    """Draws speed and steering over the distance of a lap, the best lap of each driver.

    Drivers are aligned by their progress along the path, so that one bend is at one place. The
    best lap is the quickest clean one, or the quickest of all where none is clean.

    Args:
        drivers: Drivers on one track.
        path: The PNG file to write.
        best: The time-optimal line, where it is known.

    Raises:
        InputError: If there is no driver, or they drove on different tracks.
        StorageError: If the file cannot be written.
    """
    _check(drivers)
    count = len(drivers)
    figure = figures.new_figure(10.0, 4.6 + 1.3 * count)
    # Commands that jump hide each other: steering has a panel for each driver.
    panels = figure.subplots(1 + count, 1, sharex=True, height_ratios=[3] + [1] * count)
    upper = panels[0]
    if best is not None:
        plots.draw_optimal_speed(upper, best)
    for index, (each, lower) in enumerate(zip(drivers, panels[1:], strict=True)):
        lower.set(ylabel="steering", ylim=(-1.1, 1.1), yticks=(-1, 0, 1))
        lower.grid(alpha=0.3)
        found = _best_lap(each.races)
        if found is None:
            upper.plot([], [], color=figures.colour(index), label=f"{each.label}: no lap")
            continue
        race, lap = found
        way, rows = plots.along(race, lap)
        note = "" if lap.clean else " (not clean)"
        style = {"color": figures.colour(index), "linestyle": "-" if lap.clean else "--"}
        text = f"{each.label}: {lap.time_s:.2f} s{note}"
        upper.plot(way, race["speed"][rows], linewidth=1.4, label=text, **style)
        lower.plot(way, race["steering"][rows], linewidth=1.0, **style)
    upper.set(ylabel="speed (u/s)", ylim=(0, None))
    panels[-1].set(xlabel="distance from the start line along the path (u); steering right +")
    panels[-1].set_xlim(0, drivers[0].races[0].header.lap_length)
    upper.grid(alpha=0.3)
    upper.legend(fontsize=9)
    figure.suptitle(_title(drivers, "best laps"))
    return figures.save(figure, path)


def cte(drivers: Sequence[Drives], path: str | pathlib.Path) -> pathlib.Path:
    """Draws how far beside the path drivers are, as the share of their time in bins of 0.25 u.

    Args:
        drivers: Drivers on one track; all rows of all their races count.
        path: The PNG file to write.

    Raises:
        InputError: If there is no driver, or they drove on different tracks.
        StorageError: If the file cannot be written.
    """
    _check(drivers)
    figure = figures.new_figure(9.0, 2.2 + 1.3 * len(drivers))
    panels = figure.subplots(len(drivers), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    header = drivers[0].races[0].header
    errors = [np.concatenate([race["cte"] for race in each.races]) for each in drivers]
    edges = _bins(np.concatenate([*errors, [header.road_left, header.road_right]]))
    for index, (axes, values) in enumerate(zip(panels, errors, strict=True)):
        shares = 100 * np.histogram(values, edges)[0] / max(len(values), 1)
        axes.stairs(shares, edges, fill=True, color=figures.colour(index))
        for edge in (header.road_left, header.road_right):
            axes.axvline(edge, color=figures.BLACK, linestyle="--", linewidth=1.0)
        axes.set_title(f"{drivers[index].label}{_spread(values)}", fontsize=9, loc="left")
        axes.grid(alpha=0.3)
    panels[0].set_ylim(0, None)
    panels[-1].set_xlabel("cross-track error (u), right of the path +; dashed: edges of the road")
    figure.supylabel("share of the time (%)")
    figure.suptitle(_title(drivers, "cross-track error"))
    return figures.save(figure, path)


def laps(
    drivers: Sequence[Drives], path: str | pathlib.Path, limit_s: float = math.nan
) -> pathlib.Path:
    """Draws every lap as a point, and the mean of the clean ones with its 95 % interval.

    Args:
        drivers: Drivers on one track.
        path: The PNG file to write.
        limit_s: Time of the optimal lap (s); not drawn if NaN.

    Raises:
        InputError: If there is no driver, or they drove on different tracks.
        StorageError: If the file cannot be written.
    """
    _check(drivers)
    figure = figures.new_figure(max(5.0, 1.6 * len(drivers) + 2.4), 5.4)
    axes = figure.subplots()
    for index, each in enumerate(drivers):
        _draw_laps(axes, index, [lap for race in each.races for lap in lap_times.laps(race)])
    axes.plot([], [], "o", color=figures.GREY, markersize=4, label="clean lap")
    axes.plot([], [], "x", color=figures.GREY, markersize=4, label="not clean")
    axes.errorbar([], [], [], fmt="D", color=figures.BLACK, capsize=4, label="mean, 95 % interval")
    if not math.isnan(limit_s):
        axes.axhline(limit_s, color=figures.BLACK, linestyle="--", linewidth=1.1, label="optimal")
    axes.set_xticks(range(len(drivers)), [_column(each) for each in drivers])
    axes.set(xlim=(-0.6, len(drivers) - 0.4), ylabel="lap time (s)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.suptitle(_title(drivers, "lap times"))
    return figures.save(figure, path)


def _best_lap(races: Sequence[Race]) -> tuple[Race, Lap] | None:
    driven = [(race, lap) for race in races for lap in lap_times.laps(race)]
    return min(driven, key=lambda pair: (not pair[1].clean, pair[1].time_s), default=None)


def _draw_laps(axes: Axes, index: int, driven: Sequence[Lap]) -> None:
    """Draws the laps of one driver in its column."""
    # The golden ratio spreads any number of points evenly, and the same way each time.
    beside = _SPREAD * (2.0 * (np.arange(len(driven)) * 0.618034 % 1.0) - 1.0)
    for clean, marker in ((True, "o"), (False, "x")):
        chosen = [k for k, lap in enumerate(driven) if lap.clean == clean]
        times = [driven[k].time_s for k in chosen]
        axes.plot(
            index + beside[chosen],
            times,
            marker,
            color=figures.colour(index),
            markersize=4,
            alpha=0.75,
        )
    mean = statistics.summarise([lap.time_s for lap in driven if lap.clean]).mean
    if not math.isnan(mean.value):
        # Of a single lap there is a mean, but no interval.
        reach = [[mean.value - mean.low], [mean.high - mean.value]]
        axes.errorbar(
            [index + 0.36],
            [mean.value],
            None if math.isnan(mean.low) else reach,
            fmt="D",
            color=figures.BLACK,
            markersize=5,
            capsize=4,
        )


def _column(each: Drives) -> str:
    driven = [lap for race in each.races for lap in lap_times.laps(race)]
    name = textwrap.fill(each.label, _COLUMN_LETTERS)
    return f"{name}\n{sum(lap.clean for lap in driven)} clean of {len(driven)}"


def _bins(values: FloatArray) -> FloatArray:
    """Returns edges of bins on whole multiples of their width, around all values."""
    width = max(_BIN_U, float(np.ptp(values)) / _MOST_BINS)
    first = math.floor(float(values.min()) / width)
    last = math.floor(float(values.max()) / width) + 1
    return np.asarray(width * np.arange(first, last + 1), np.float64)


def _spread(values: FloatArray) -> str:
    """Returns how far from the path cross-track errors are, in words."""
    if not len(values):
        return ": no row"
    rms = math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))
    return f": RMS {rms:.2f} u, 95 % within {np.percentile(np.abs(values), 95):.2f} u"


def _title(drivers: Sequence[Drives], what: str) -> str:
    cars = sorted({race.header.vehicle for each in drivers for race in each.races} - {""})
    return " · ".join([drivers[0].races[0].header.track, *cars, what])


def _check(drivers: Sequence[Drives]) -> None:
    tracks = {race.header.track for each in drivers for race in each.races}
    empty = [each.label for each in drivers if not each.races]
    if len(tracks) != 1 or empty:
        raise InputError(
            "A picture of drivers needs races of each, all on one track. "
            f"Received: {len(drivers)} drivers, tracks={sorted(tracks)}, without races={empty}."
        )
