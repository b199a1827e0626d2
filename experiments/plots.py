"""Pictures of races and of learning, as PNG files. Matplotlib is imported on first use."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics.laps import Lap
from donkey_rl.metrics.race import Race

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

# Told apart with any colour vision: Okabe and Ito 2008, "Color universal design".
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, BLACK = "#e69f00", "#56b4e9", "#000000"
_CYCLE = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
_DPI = 110
_MAX_LISTED = 6


@dataclasses.dataclass(frozen=True, eq=False)
class TrackLines:
    """The lines of a track, each of shape (n, 2) as [x, z] in u, along the path.

    Attributes:
        centre: The path.
        left: The road's left edge, beside each point of the path.
        right: The road's right edge, beside each point of the path.
        closed: Whether the last point is joined to the first.
    """

    centre: FloatArray
    left: FloatArray
    right: FloatArray
    closed: bool = True

    def __post_init__(self) -> None:
        """Checks the shapes.

        Raises:
            InputError: If a line is not of shape (n, 2), or they differ in length.
        """
        shapes = {n: np.shape(getattr(self, n)) for n in ("centre", "left", "right")}
        first = shapes["centre"]
        if len(first) != 2 or first[1] != 2 or len(set(shapes.values())) > 1:
            raise InputError(f"Track lines must have one shape (n, 2). Received: {shapes}.")

    def joined(self, line: FloatArray) -> FloatArray:
        """Returns a line with its first point repeated where the track is closed."""
        return np.vstack([line, line[:1]]) if self.closed else line

    def across(self, arc: float) -> FloatArray:
        """Returns the points on the left and on the right edge at an arc length (u), (2, 2)."""
        path = self.joined(self.centre)
        way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        return np.array(
            [
                [np.interp(arc, way, self.joined(edge)[:, axis]) for axis in (0, 1)]
                for edge in (self.left, self.right)
            ]
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Surroundings:
    """What a track has beside its lines.

    Attributes:
        starts: x, z (u) and yaw (rad) of each start pose, shape (k, 3).
        start_line: Its two ends, shape (2, 2).
        things: Places of things beside the road, shape (m, 2).
        walls: Lines of shape (n, 2).
    """

    starts: FloatArray
    start_line: FloatArray
    things: FloatArray
    walls: tuple[FloatArray, ...] = ()


def track(
    lines: TrackLines, around: Surroundings, path: str | pathlib.Path, title: str
) -> pathlib.Path:
    """Draws a track from above: x to the right, z upwards, arrows in the direction of driving.

    Args:
        lines: The track's lines.
        around: Start, things and walls.
        path: The PNG file to write.
        title: Above the picture.

    Raises:
        StorageError: If the file cannot be written.
    """
    width, height = np.ptp(np.vstack([lines.left, lines.right]), axis=0)
    stretch = float(np.sqrt(np.clip(width / max(height, 1e-9), 0.5, 2.0)))
    figure = new_figure(6.5 * stretch + 0.6, 6.5 / stretch + 1.4)
    axes = figure.subplots()
    _draw_road(axes, lines)
    for wall in around.walls:
        axes.plot(*wall.T, color=BLUE, linewidth=1.2)
    _mark(axes, around.things, "^", VERMILION, f"things ({len(around.things)})")
    axes.plot(*around.start_line.T, color=BLACK, linewidth=3, solid_capstyle="butt", label="line")
    x, z, yaw = around.starts.T
    axes.quiver(
        x,
        z,
        np.sin(yaw),
        np.cos(yaw),
        color=GREEN,
        pivot="mid",
        zorder=6,
        width=0.008,
        label="start",
    )
    ahead = np.linspace(0, len(lines.centre) - 2, 13).astype(int)[1:-1]
    step = lines.centre[ahead + 1] - lines.centre[ahead]
    step /= np.maximum(np.hypot(*step.T), 1e-9)[:, None]
    axes.quiver(*lines.centre[ahead].T, *step.T, color="#8c8c8c", pivot="mid", width=0.004)
    axes.set(aspect="equal", xlabel="x (u)", ylabel="z (u)")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.09), ncols=4, frameon=False)
    figure.suptitle(title)
    return save(figure, path)


def trajectory(race: Race, lines: TrackLines, path: str | pathlib.Path) -> pathlib.Path:
    """Draws the way driven, coloured by speed, on the road, with its faults and its laps.

    Args:
        race: The race.
        lines: The track's lines.
        path: The PNG file to write.

    Raises:
        StorageError: If the file cannot be written.
    """
    from matplotlib.collections import LineCollection

    # A picture of the track's own proportions, with room for the colour bar and the legend.
    width, height = np.ptp(np.vstack([lines.left, lines.right]), axis=0)
    stretch = float(np.sqrt(np.clip(width / max(height, 1e-9), 0.5, 2.0)))
    figure = new_figure(6.5 * stretch + 1.8, 6.5 / stretch + 1.8)
    axes = figure.subplots()
    _draw_road(axes, lines)
    start = lines.across(race.header.start_line)
    axes.plot(*start.T, color=BLACK, linewidth=3, solid_capstyle="butt", label="start line")
    points = np.stack([race["x"], race["z"]], axis=1)
    pieces = np.stack([points[:-1], points[1:]], axis=1)[~race["reset"][1:]]
    drawn = LineCollection(list(pieces), cmap="viridis", linewidths=1.8, zorder=3)
    drawn.set_array(race["speed"][1:][~race["reset"][1:]])
    axes.add_collection(drawn)
    figure.colorbar(drawn, ax=axes, label="speed (u/s)", shrink=0.9)
    off, hit = race["off_track"], race["hit"] != ""
    _mark(axes, points[off], "x", VERMILION, f"off track ({lap_times.off_track_count(race)})")
    _mark(axes, points[hit], "D", PURPLE, f"hit ({lap_times.hits(race)})")
    if len(points):
        axes.plot(*points[0], marker="o", color=BLACK, linestyle="", zorder=5, label="spawn")
        axes.plot(*points[-1], marker="s", color=BLACK, linestyle="", zorder=5, label="end")
    # Unity's frame seen from above: X to the right, Z up, as on a map.
    axes.set(aspect="equal", xlabel="x (u)", ylabel="z (u)")
    # Beside the road, since only a track's own shape knows where it leaves room.
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.09), ncols=3, frameon=False)
    figure.suptitle(_title(race))
    axes.set_title(_lap_text(lap_times.laps(race)), fontsize=9)
    return save(figure, path)


def speed_profile(race: Race, path: str | pathlib.Path) -> pathlib.Path:
    """Draws speed and steering over the distance from the start line, one curve per lap.

    Args:
        race: The race.
        path: The PNG file to write.

    Raises:
        StorageError: If the file cannot be written.
    """
    figure = new_figure(10.0, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    header = race.header
    for lap, colour in zip(lap_times.laps(race)[:_MAX_LISTED], _CYCLE, strict=False):
        rows = (race["time_s"] >= lap.start_s) & (race["time_s"] <= lap.end_s)
        line = header.start_line_progress + (lap.number - 1) * header.lap_length
        way = np.clip(race["progress"][rows] - line, 0.0, header.lap_length)
        text = f"lap {lap.number}: {lap.time_s:.2f} s{'' if lap.clean else ' (not clean)'}"
        style = "-" if lap.clean else "--"
        upper.plot(way, race["speed"][rows], style, color=colour, linewidth=1.3, label=text)
        lower.plot(way, race["steering"][rows], style, color=colour, linewidth=1.0)
        off = race["off_track"][rows]
        _mark(upper, np.stack([way[off], race["speed"][rows][off]], axis=1), "x", VERMILION, "")
    upper.set(ylabel="speed (u/s)", ylim=(0, None))
    lower.set(ylabel="steering (right +)", ylim=(-1.05, 1.05))
    lower.set(xlabel="distance from the start line along the path (u)")
    lower.set_xlim(0, header.lap_length)
    if upper.get_legend_handles_labels()[1]:
        upper.legend(loc="lower right", fontsize=9)
    else:
        upper.set_title("no lap was driven", fontsize=9)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    figure.suptitle(_title(race))
    return save(figure, path)


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
    figure = new_figure(9.0, 1.2 + 2.4 * len(values))
    panels = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, curve), colour in zip(
        panels, values.items(), _cycled(len(values)), strict=True
    ):
        points = np.asarray(curve, np.float64)
        known = np.isfinite(points)
        axes.plot(np.asarray(steps)[known], points[known], "o-", color=colour, markersize=4)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        if not known.any():
            axes.text(0.5, 0.5, "none yet", transform=axes.transAxes, ha="center", va="center")
    panels[-1].set_xlabel("environment steps")
    panels[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if len(steps):
        panels[-1].set_xlim(0, max(max(steps) * 1.03, 1))
    figure.suptitle(title)
    return save(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """Returns a figure that belongs to no window and to no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | pathlib.Path) -> pathlib.Path:
    """Writes the picture; one of that name is replaced only once the new one is whole."""
    target = pathlib.Path(path)
    draft = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(draft, format="png")
        os.replace(draft, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        reason = error.strerror or error
        raise StorageError(f"The plot {target} could not be written: {reason}.") from error
    return target


def _draw_road(axes: Axes, lines: TrackLines) -> None:
    left, right = lines.joined(lines.left), lines.joined(lines.right)
    # One quadrilateral per piece: a polygon of the whole road would fill a figure of eight wrong.
    from matplotlib.collections import PolyCollection

    quads = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    axes.add_collection(PolyCollection(list(quads), facecolors="#e6e6e6", edgecolors="#e6e6e6"))
    for edge in (left, right):
        axes.plot(*edge.T, color="#8c8c8c", linewidth=0.9)
    centre = lines.joined(lines.centre)
    axes.plot(*centre.T, color="#8c8c8c", linewidth=0.7, linestyle=(0, (6, 6)), label="path")


def _mark(axes: Axes, points: npt.NDArray[Any], marker: str, colour: str, label: str) -> None:
    if len(points):
        x, y = points.T
        axes.scatter(x, y, s=26, marker=marker, c=colour, zorder=4, label=label or None)


def _cycled(count: int) -> list[str]:
    return [_CYCLE[index % len(_CYCLE)] for index in range(count)]


def _title(race: Race) -> str:
    header = race.header
    parts = (header.track, header.vehicle, f"seed {header.seed}", header.run_id[:8])
    return " · ".join(part for part in parts if part)


def _lap_text(laps: Sequence[Lap]) -> str:
    if not laps:
        return "no lap was driven"
    listed = [f"{lap.time_s:.2f} s{'' if lap.clean else '*'}" for lap in laps[:_MAX_LISTED]]
    more = f" and {len(laps) - _MAX_LISTED} more" if len(laps) > _MAX_LISTED else ""
    note = "" if all(lap.clean for lap in laps) else "   (* not clean)"
    return f"laps: {', '.join(listed)}{more}{note}"
