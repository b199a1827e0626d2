"""The painted lines of a track in an image: where they must be, and where they are found."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import road_mesh
from donkey_rl.envs.simulator.track import Track
from donkey_rl.experiments.fidelity import projection
from donkey_rl.experiments.fidelity.poses import Poses
from donkey_rl.experiments.fidelity.projection import Mounting

FloatArray = npt.NDArray[np.float64]
ImageArray = npt.NDArray[np.uint8]

PAINT = ("centre_line", "edge_line")
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

_BEHIND = 4.0
_AHEAD = 70.0
"""Lines are followed from this far behind a car to this far ahead (u)."""

_NARROWEST = 0.7
_WIDEST = 40.0
"""A line is looked for in rows where it is this many pixels wide."""

_STEEPEST = 4.0
"""Nor in rows where it runs nearly along the row: columns per row."""

_STEP = 0.5
_LEAST = 0.12
"""Least contrast to what lies on both sides, as a share of the paint's own to the road."""

_OFF_COLOUR = 0.3
"""How much a difference in another colour than the paint's counts against a place."""

_FLANK = 1.5

_CENTRAL = 0.3
"""A line this near to the road's middle, in half widths, is a centre line."""


@dataclasses.dataclass(frozen=True, eq=False)
class PaintedLine:
    """One painted line along a road.

    Attributes:
        name: ``centre_line``, ``left_edge_line`` or ``right_edge_line``; a further one of the
            same kind has a number behind it.
        material: Of the track.
        start: Lateral offset of its left side in u; `end` of its right side.
        contrast: Its colour less the road's, shape (3,).
    """

    name: str
    material: str
    start: float
    end: float
    contrast: FloatArray

    @property
    def lateral(self) -> float:
        """Lateral offset of its middle in u."""
        return 0.5 * (self.start + self.end)


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Lines in k images of h rows; arrays of shape (lines, k, h), in pixels.

    Attributes:
        column: Of the line's middle, NaN where it is not seen.
        width: Columns that it covers.
        slope: Columns per row.
    """

    column: FloatArray
    width: FloatArray
    slope: FloatArray


def painted(track: Track) -> tuple[PaintedLine, ...]:
    """Returns the painted lines of a track, from left to right, named by their places."""
    middle = track.road_middle
    near = _CENTRAL * 0.5 * track.road_width
    road = np.array(track.look.colours["road"], dtype=np.float64)
    found: list[PaintedLine] = []
    for stripe in sorted(track.stripes, key=lambda each: each.start):
        if stripe.material not in PAINT:
            continue
        beside = 0.5 * (stripe.start + stripe.end) - middle
        name = "left_edge_line" if beside < 0.0 else "right_edge_line"
        name = "centre_line" if abs(beside) < near else name
        same = sum(each.name.rstrip("_0123456789") == name for each in found)
        colour = np.array(track.look.colours[stripe.material], dtype=np.float64)
        found.append(
            PaintedLine(
                name=f"{name}_{same + 1}" if same else name,
                material=stripe.material,
                start=stripe.start,
                end=stripe.end,
                contrast=colour - road,
            )
        )
    return tuple(found)


def corners(track: Track, lateral: float) -> FloatArray:
    """Returns the corners ``[x, z]`` (u) of a line along the road, as the road is drawn.

    Args:
        track: The track; with `quads` its lines are straight from node to node.
        lateral: Offset of the line in u.

    Returns:
        Shape (m, 2); behind the end of an open road lies a corner that is NaN.
    """
    if track.quads:
        mesh = road_mesh.build(track, np.zeros(2))
        share = (lateral - track.road_left) / track.road_width
        line = mesh.left + share * (mesh.right - mesh.left)
        # A closed mesh ends where it begins.
        line = line[:-1] if track.closed else line
    else:
        line = track.path.beside(np.arange(len(track.path.points)) * track.path.spacing, lateral)
    return line if track.closed else np.vstack([line, [[np.nan, np.nan]]])


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The painted lines of a track as corners on the ground.

    Attributes:
        track: The track.
        lines: Its lines.
        sides: Of each line the corners of its left and right side, each (m, 2).
        spacing: Arc length between corners in u.
    """

    track: Track
    lines: tuple[PaintedLine, ...]
    sides: tuple[tuple[FloatArray, FloatArray], ...]
    spacing: float

    def seen(self, poses: Poses, camera: Mounting, size: tuple[int, int]) -> Seen:
        """Returns where the lines are in the images of cars at k poses.

        Args:
            poses: The cars; what is not known gives NaN.
            camera: How the camera sits on each of them.
            size: Height and width of the image.
        """
        view = projection.sight(poses, camera, size)
        places = np.nan_to_num(np.column_stack([poses.x, poses.z]))
        arc = self.track.path.locate(places)[0]
        count = len(self.sides[0][0]) if self.sides else 1
        first = np.floor((arc - _BEHIND) / self.spacing).astype(np.int64)
        first = first % count if self.track.closed else np.clip(first, 0, count - 1)
        steps = min(count, math.ceil((_BEHIND + _AHEAD) / self.spacing))
        left, right = (
            np.array(
                [projection.columns(view, line[side], first, steps) for line in self.sides]
            ).reshape(len(self.lines), len(poses), size[0])
            for side in (0, 1)
        )
        column = 0.5 * (left + right)
        slope = np.gradient(column, axis=2)
        return Seen(column, np.abs(right - left), slope)


def layout(track: Track) -> Layout:
    """Lays out the painted lines of a track; see `corners`."""
    lines = painted(track)
    sides = tuple((corners(track, line.start), corners(track, line.end)) for line in lines)
    # An open road has a piece less than corners, and a corner that is NaN.
    pieces = len(sides[0][0]) - (0 if track.closed else 2) if sides else 1
    return Layout(track, lines, sides, track.length / max(pieces, 1))


def clear(seen: Seen, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Returns where a line can be looked for in an image of that size, shape (lines, k, h)."""
    known = np.isfinite(seen.column) & np.isfinite(seen.slope)
    wide = (seen.width >= _NARROWEST) & (seen.width <= _WIDEST)
    inside = (seen.column > -_WIDEST) & (seen.column < size[1] + _WIDEST)
    return np.asarray(known & wide & inside & (np.abs(seen.slope) <= _STEEPEST))


def inside(seen: Seen, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Returns where a line must show in an image of that size, shape (lines, k, h)."""
    within = (seen.column >= 0.0) & (seen.column <= size[1])
    return np.asarray(clear(seen, size) & within)


def find(
    images: ImageArray,
    lines: tuple[PaintedLine, ...],
    expected: Seen,
    *,
    window: float,
    every: int = 1,
) -> tuple[FloatArray, FloatArray]:
    """Finds the lines in images, by their colour's contrast to both sides.

    Args:
        images: Shape (k, h, w, 3).
        lines: What to look for.
        expected: Where it should be.
        window: How far beside that a line may be, in columns.
        every: Look at every so many rows only, from the last one up.

    Returns:
        Columns, and the contrast there as a share of the paint's, both of shape
        (lines, k, h); NaN where no line is found.
    """
    wanted = clear(expected, (images.shape[1], images.shape[2]))
    wanted &= (np.arange(images.shape[1])[::-1] % every) == 0
    column = np.full(expected.column.shape, np.nan)
    strength = np.full(expected.column.shape, np.nan)
    gray = bool(
        (images[..., 0] == images[..., 1]).all() and (images[..., 1] == images[..., 2]).all()
    )
    for k, line in enumerate(lines):
        contrast = line.contrast
        if gray:
            contrast = np.full(3, float(contrast @ LUMINANCE))
        size = float(np.linalg.norm(contrast))
        if size < 1.0:
            continue
        aim = (contrast / size, size, window)
        place = (expected.column[k], expected.width[k], wanted[k])
        _find(images, aim, place, column[k], strength[k])
    return column, strength


@njit(cache=True)
def _mean(total, low, high, out):  # type: ignore[no-untyped-def]
    """Sets `out` to the mean colour from column `low` to `high`; `total` sums up to a column."""
    a, b = int(low), int(high)
    part_a, part_b = low - a, high - b
    for channel in range(3):
        upper = total[b, channel]
        if part_b > 0.0:
            upper += part_b * (total[b + 1, channel] - upper)
        lower = total[a, channel] + part_a * (total[a + 1, channel] - total[a, channel])
        out[channel] = (upper - lower) / (high - low)


@njit(cache=True)
def _against(inner, outer, way):  # type: ignore[no-untyped-def]
    """Contrast of two colours along `way`, less a share of the contrast across it."""
    along, square = 0.0, 0.0
    for channel in range(3):
        change = inner[channel] - outer[channel]
        along += change * way[channel]
        square += change * change
    return along - _OFF_COLOUR * math.sqrt(max(square - along * along, 0.0))


@njit(cache=True)
def _contrast(total, middle, half, way, colours):  # type: ignore[no-untyped-def]
    """Contrast of a line around column `middle` to both its sides; very low outside."""
    width = total.shape[0] - 1.0
    flank = max(_FLANK, half)
    low, high = middle - half, middle + half
    left, right = max(low - 0.5 - flank, 0.0), min(high + 0.5 + flank, width)
    if low - 0.5 - left < 1.0 or right - high - 0.5 < 1.0:
        return -1e9
    _mean(total, low, high, colours[0])
    _mean(total, left, low - 0.5, colours[1])
    _mean(total, high + 0.5, right, colours[2])
    beside = min(_against(colours[0], colours[1], way), _against(colours[0], colours[2], way))
    return beside


@njit(cache=True)
def _middle(total, guess, half, way, colours):  # type: ignore[no-untyped-def]
    """Middle between the two edges of what is painted around column `guess`.

    An edge lies where a sharp step between the paint and what is beside it, on that side, would
    have the same sum.
    """
    reach = half + 1.5
    low, high = max(guess - reach, 0.0), min(guess + reach, total.shape[0] - 1.0)
    ends = ((low, guess, 1), (guess, high, 2))
    middle = 2.0 * guess
    _mean(total, guess - 0.5 * half, guess + 0.5 * half, colours[0])
    inner = 0.0
    for channel in range(3):
        inner += colours[0, channel] * way[channel]
    for side in range(2):
        first, last, beside = ends[side]
        outer, here = 0.0, 0.0
        _mean(total, first, last, colours[0])
        for channel in range(3):
            outer += colours[beside, channel] * way[channel]
            here += colours[0, channel] * way[channel]
        if inner - outer < 1.0:
            return guess
        share = min(max((here - outer) / (inner - outer), 0.0), 1.0)
        middle += share * (last - first) * (1.0 if side else -1.0)
    return 0.5 * middle


@njit(cache=True)
def _find(images, aim, place, column, strength):  # type: ignore[no-untyped-def]
    """Fills in `column` and `strength`, shapes (k, h); see `find`."""
    way, size, window = aim
    expected, width, wanted = place
    total = np.zeros((images.shape[2] + 1, 3))
    colours = np.zeros((3, 3))
    steps = int(window / _STEP)
    for k in range(images.shape[0]):
        for row in range(images.shape[1]):
            if not wanted[k, row]:
                continue
            for c in range(images.shape[2]):
                for channel in range(3):
                    total[c + 1, channel] = total[c, channel] + images[k, row, c, channel]
            half = 0.5 * max(width[k, row], 1.0)
            best, most = 0.0, _LEAST * size
            for step in range(-steps, steps + 1):
                middle = expected[k, row] + step * _STEP
                value = _contrast(total, middle, half, way, colours)
                if value > most:
                    best, most = middle, value
            if most > _LEAST * size:
                for _ in range(2):
                    _contrast(total, best, half, way, colours)
                    best = _middle(total, best, half, way, colours)
                column[k, row] = best
                strength[k, row] = most / size
