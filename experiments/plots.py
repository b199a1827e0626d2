"""Pictures of a track and of one race on it, as PNG files."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError
from donkey_rl.experiments import figures
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import limits
from donkey_rl.metrics.laps import Lap
from donkey_rl.metrics.limits import OptimalLine
from donkey_rl.metrics.race import Race

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

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
        return _joined(line, self.closed)

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
    figure = figures.new_figure(6.5 * stretch + 0.6, 6.5 / stretch + 1.4)
    axes = figure.subplots()
    _draw_road(axes, lines)
    for wall in around.walls:
        axes.plot(*wall.T, color=figures.BLUE, linewidth=1.2)
    figures.mark(axes, around.things, "^", figures.VERMILION, f"things ({len(around.things)})")
    axes.plot(
        *around.start_line.T, color=figures.BLACK, linewidth=3, solid_capstyle="butt", label="line"
    )
    x, z, yaw = around.starts.T
    axes.quiver(
        x,
        z,
        np.sin(yaw),
        np.cos(yaw),
        color=figures.GREEN,
        pivot="mid",
        zorder=6,
        width=0.008,
        label="start",
    )
    ahead = np.linspace(0, len(lines.centre) - 2, 13).astype(int)[1:-1]
    step = lines.centre[ahead + 1] - lines.centre[ahead]
    step /= np.maximum(np.hypot(*step.T), 1e-9)[:, None]
    axes.quiver(*lines.centre[ahead].T, *step.T, color=figures.GREY, pivot="mid", width=0.004)
    axes.set(aspect="equal", xlabel="x (u)", ylabel="z (u)")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.09), ncols=4, frameon=False)
    figure.suptitle(title)
    return figures.save(figure, path)


def trajectory(
    race: Race, lines: TrackLines, path: str | pathlib.Path, best: OptimalLine | None = None
) -> pathlib.Path:
    """Draws the way driven, coloured by speed, on the road, with its faults and its laps.

    Args:
        race: The race.
        lines: The track's lines.
        path: The PNG file to write.
        best: The time-optimal line, where it is known.

    Raises:
        StorageError: If the file cannot be written.
    """
    from matplotlib.collections import LineCollection

    # A picture of the track's own proportions, with room for the colour bar and the legend.
    width, height = np.ptp(np.vstack([lines.left, lines.right]), axis=0)
    stretch = float(np.sqrt(np.clip(width / max(height, 1e-9), 0.5, 2.0)))
    figure = figures.new_figure(6.5 * stretch + 1.8, 6.5 / stretch + 1.8)
    axes = figure.subplots()
    _draw_road(axes, lines)
    start = lines.across(race.header.start_line)
    axes.plot(
        *start.T, color=figures.BLACK, linewidth=3, solid_capstyle="butt", label="start line"
    )
    points = np.stack([race["x"], race["z"]], axis=1)
    pieces = np.stack([points[:-1], points[1:]], axis=1)[~race["reset"][1:]]
    drawn = LineCollection(list(pieces), cmap="viridis", linewidths=1.8, zorder=3)
    drawn.set_array(race["speed"][1:][~race["reset"][1:]])
    axes.add_collection(drawn)
    figure.colorbar(drawn, ax=axes, label="speed (u/s)", shrink=0.9)
    if best is not None:
        x, z = (_joined(each, lines.closed) for each in (best.x, best.z))
        axes.plot(
            x, z, color=figures.BLACK, linewidth=0.9, dashes=(5, 2), zorder=3.5, label="optimal"
        )
    off, hit = race["off_track"], race["hit"] != ""
    figures.mark(
        axes, points[off], "x", figures.VERMILION, f"off track ({lap_times.off_track_count(race)})"
    )
    figures.mark(axes, points[hit], "D", figures.PURPLE, f"hit ({lap_times.hits(race)})")
    if len(points):
        axes.plot(
            *points[0], marker="o", color=figures.BLACK, linestyle="", zorder=5, label="spawn"
        )
        axes.plot(
            *points[-1], marker="s", color=figures.BLACK, linestyle="", zorder=5, label="end"
        )
    # Unity's frame seen from above: X to the right, Z up, as on a map.
    axes.set(aspect="equal", xlabel="x (u)", ylabel="z (u)")
    # Beside the road, since only a track's own shape knows where it leaves room.
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.09), ncols=3, frameon=False)
    figure.suptitle(figures.title(race))
    axes.set_title(_lap_text(lap_times.laps(race)), fontsize=9)
    return figures.save(figure, path)


def speed_profile(
    race: Race, path: str | pathlib.Path, best: OptimalLine | None = None
) -> pathlib.Path:
    """Draws speed and steering over the distance from the start line, one curve per lap.

    Args:
        race: The race.
        path: The PNG file to write.
        best: The time-optimal line, where it is known.

    Raises:
        StorageError: If the file cannot be written.
    """
    figure = figures.new_figure(10.0, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    header = race.header
    if best is not None:
        draw_optimal_speed(upper, best)
    driven = lap_times.laps(race)
    for lap, colour in zip(driven[:_MAX_LISTED], figures.CYCLE, strict=False):
        way, rows = along(race, lap)
        text = f"lap {lap.number}: {lap.time_s:.2f} s{'' if lap.clean else ' (not clean)'}"
        style = "-" if lap.clean else "--"
        upper.plot(way, race["speed"][rows], style, color=colour, linewidth=1.3, label=text)
        lower.plot(way, race["steering"][rows], style, color=colour, linewidth=1.0)
        off = race["off_track"][rows]
        points = np.stack([way[off], race["speed"][rows][off]], axis=1)
        figures.mark(upper, points, "x", figures.VERMILION)
    upper.set(ylabel="speed (u/s)", ylim=(0, None))
    lower.set(ylabel="steering (right +)", ylim=(-1.05, 1.05))
    lower.set(xlabel="distance from the start line along the path (u)")
    lower.set_xlim(0, header.lap_length)
    if driven or best is not None:
        upper.legend(loc="lower right", fontsize=9)
    if not driven:
        upper.set_title("no lap was driven", fontsize=9)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    figure.suptitle(figures.title(race))
    return figures.save(figure, path)


def optimal(race: Race) -> OptimalLine | None:
    """Returns the time-optimal line of the road and the car of a race, None if it is not known."""
    header = race.header
    # Races of before 2026-11 have no digest: then length and edges say which road it is.
    known = not math.isnan(limits.lap_s(header))
    return limits.line(header.track, header.vehicle, header.track_digest) if known else None


def draw_optimal_speed(axes: Axes, best: OptimalLine) -> None:
    """Draws the speed of the time-optimal line over the distance from the start line."""
    axes.plot(best.distance, best.speed, "--", color=figures.BLACK, linewidth=1.1, label="optimal")


def along(race: Race, lap: Lap) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Returns where in a lap its rows are (u from the start line), and which rows they are.

    Returns:
        Distances along the path, shape (k,), and a mask of k rows, shape (rows,).
    """
    rows = (race["time_s"] >= lap.start_s) & (race["time_s"] <= lap.end_s)
    header = race.header
    # A crossing that came too soon is no lap, so a lap's number does not say which line it is.
    turns = (race["progress"][rows] - header.start_line_progress) / header.lap_length
    first = round(float(turns[0])) if len(turns) else 0
    way = np.clip(turns - first, 0.0, 1.0) * header.lap_length
    return np.asarray(way, np.float64), rows


def _joined(line: FloatArray, closed: bool) -> FloatArray:
    return np.concatenate([line, line[:1]]) if closed else line


def _draw_road(axes: Axes, lines: TrackLines) -> None:
    left, right = lines.joined(lines.left), lines.joined(lines.right)
    # One quadrilateral per piece: a polygon of the whole road would fill a figure of eight wrong.
    from matplotlib.collections import PolyCollection

    quads = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    axes.add_collection(PolyCollection(list(quads), facecolors="#e6e6e6", edgecolors="#e6e6e6"))
    for edge in (left, right):
        axes.plot(*edge.T, color=figures.GREY, linewidth=0.9)
    centre = lines.joined(lines.centre)
    axes.plot(*centre.T, color=figures.GREY, linewidth=0.7, linestyle=(0, (6, 6)), label="path")


def _lap_text(laps: Sequence[Lap]) -> str:
    if not laps:
        return "no lap was driven"
    listed = [f"{lap.time_s:.2f} s{'' if lap.clean else '*'}" for lap in laps[:_MAX_LISTED]]
    more = f" and {len(laps) - _MAX_LISTED} more" if len(laps) > _MAX_LISTED else ""
    note = "" if all(lap.clean for lap in laps) else "   (* not clean)"
    return f"laps: {', '.join(listed)}{more}{note}"
