"""The painted ground of a track, baked once into bytes at several resolutions.

Each level halves the resolution of the one before and is computed from the road's geometry, not
from the finer level: a line narrower than a texel becomes a mixture of line and road, so lines
fade with distance in place of flickering. Grain comes from `texture`, whose tiles fade likewise.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import paint, parallel, road_mesh, shadows
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]

MARGIN = 40.0
LEVELS = 6
FINEST = 1.0 / 32.0
_MOST_TEXELS = 64e6
_MOST_CELLS = 3e6
_MOST_SPAN = 160
_FAR = 1e6
_BESIDE = 6.5
"""Width of the strip beside the road in which the distance to it matters (u)."""


class Ground(NamedTuple):
    """A baked ground.

    Attributes:
        texels: All levels behind each other.
        start: Where each level begins, shape (LEVELS,).
        columns: Texels along x of each level, shape (LEVELS,).
        rows: Texels along z of each level, shape (LEVELS,).
        size: Side of a texel of each level (u), shape (LEVELS,).
        origin_x: Lowest x (u); `origin_z` the lowest z.
    """

    texels: ByteArray
    start: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    size: FloatArray
    origin_x: float
    origin_z: float


class _Field(NamedTuple):
    """Lateral offset and arc length (u) on a coarse grid of cells; `_FAR` far from the road."""

    lateral: npt.NDArray[np.float32]
    along: npt.NDArray[np.float32]
    cell: float


def bake(track: Track) -> Ground:
    """Paints the ground of a track within `MARGIN` of its path."""
    low = track.path.points.min(axis=0) - MARGIN
    extent = track.path.points.max(axis=0) + MARGIN - low
    finest = max(FINEST, math.sqrt(float(np.prod(extent)) / _MOST_TEXELS))
    road = (_offsets(track, low, extent), road_mesh.build(track, low), track.quads)
    size = finest * np.exp2(np.arange(LEVELS), dtype=np.float64)
    columns = np.ceil(extent[0] / size).astype(np.int64)
    rows = np.ceil(extent[1] / size).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(columns * rows)]).astype(np.int64)
    texels = np.empty(int(start[-1]), dtype=np.uint8)
    for level in range(LEVELS):
        part = texels[start[level] : start[level + 1]].reshape(rows[level], columns[level])
        texel = float(size[level])
        work = functools.partial(_paint, part, texel, road, paint.plan(track, texel))
        parallel.over(len(part), work)
        shadows.cast(part, texel, low, track)
    return Ground(texels, start[:-1], columns, rows, size, float(low[0]), float(low[1]))


def _offsets(track: Track, low: FloatArray, extent: FloatArray) -> _Field:
    """Computes lateral offset and arc length around the road on a coarse grid."""
    middle = track.road_middle
    left = min(track.road_left, *(stripe.start for stripe in track.stripes))
    right = max(track.road_right, *(stripe.end for stripe in track.stripes))
    reach = max(right - middle, middle - left) + _BESIDE
    cell = max(0.25, reach / _MOST_SPAN, math.sqrt(float(np.prod(extent)) / _MOST_CELLS))
    shape = (int(extent[1] / cell) + 2, int(extent[0] / cell) + 2)
    lateral = np.full(shape, _FAR, dtype=np.float32)
    along = np.zeros(shape, dtype=np.float32)
    path = track.path
    _spread(lateral, along, path.points - low, path.yaw, (cell, middle, reach, path.spacing))
    return _Field(lateral, along, cell)


@njit(cache=True)
def _spread(lateral, along, points, yaw, sizes):  # type: ignore[no-untyped-def]
    """Gives each cell the offsets from the nearest piece of the road's middle."""
    cell, middle, reach, spacing = sizes
    rows, columns = lateral.shape
    nearest = np.full((rows, columns), np.float32(1e12))
    span = int(reach / cell) + 1
    for k in range(points.shape[0]):
        sin_yaw, cos_yaw = math.sin(yaw[k]), math.cos(yaw[k])
        x, z = points[k, 0] + middle * cos_yaw, points[k, 1] - middle * sin_yaw
        column, row = int(x / cell), int(z / cell)
        for r in range(max(0, row - span), min(rows, row + span + 1)):
            for c in range(max(0, column - span), min(columns, column + span + 1)):
                dx, dz = c * cell - x, r * cell - z
                distance = dx * dx + dz * dz
                if distance < nearest[r, c]:
                    nearest[r, c] = distance
                    lateral[r, c] = middle + dx * cos_yaw - dz * sin_yaw
                    along[r, c] = k * spacing + dx * sin_yaw + dz * cos_yaw


@njit(cache=True, inline="always")
def _interpolate(field: Any, column: int, row: int, u: float, v: float) -> tuple[float, float]:
    """Lateral offset and arc length in a cell, without smearing from one branch to another."""
    a, b = field.lateral[row, column], field.lateral[row, column + 1]
    c, d = field.lateral[row + 1, column], field.lateral[row + 1, column + 1]
    e, f = field.along[row, column], field.along[row, column + 1]
    g, h = field.along[row + 1, column], field.along[row + 1, column + 1]
    near_row, near_column = row + int(v > 0.5), column + int(u > 0.5)
    lateral, along = field.lateral[near_row, near_column], field.along[near_row, near_column]
    if max(a, b, c, d) - min(a, b, c, d) < 2.0 * field.cell:
        lateral = (a * (1.0 - u) + b * u) * (1.0 - v) + (c * (1.0 - u) + d * u) * v
        if max(e, f, g, h) - min(e, f, g, h) < 4.0:
            along = (e * (1.0 - u) + f * u) * (1.0 - v) + (g * (1.0 - u) + h * u) * v
    return lateral, along


@njit(cache=True, inline="always")
def _on_quads(
    mesh: Any, edges: tuple[float, float], place: tuple[float, float], x: float, z: float
) -> tuple[float, float]:
    """Lateral offset and arc length at (x, z) by the quads, where that is on one of them."""
    lateral, along = place
    left, right = edges
    if left - 1.0 < lateral < right + 1.0:
        quad = min(max(0, int(along / mesh.spacing)), mesh.plane.shape[0] - 1)
        on_road, along = road_mesh.place(mesh, quad, x, z)
        # Beside the quads lies ground, even where the smooth road would reach.
        if on_road < left:
            lateral = min(lateral, left - 1e-3)
        elif on_road > right:
            lateral = max(lateral, right + 1e-3)
        else:
            lateral = on_road
    return lateral, along


@njit(cache=True, inline="always")
def _far(field: Any, column: int, row: int) -> Any:
    """Whether no road is near a cell."""
    pair, following = field.lateral[row], field.lateral[row + 1]
    nearest = min(pair[column], pair[column + 1], following[column], following[column + 1])
    return nearest >= _FAR


@njit(cache=True, nogil=True)
def _paint(texels, texel, road, plan, first, last):  # type: ignore[no-untyped-def]
    """Paints rows of one level.

    Args:
        texels: Shape (rows, columns), filled in.
        texel: Side of a texel (u).
        road: Field of offsets, mesh, and whether the mesh counts.
        plan: The `paint.Plan`.
        first: First row.
        last: Row behind the last one.
    """
    field, mesh, quads = road
    edges = (plan.figures[1], plan.figures[2])
    cells, width = field.lateral.shape[1] - 1, texels.shape[1]
    last_row = field.lateral.shape[0] - 2
    for r in range(first, last):
        z = (r + 0.5) * texel
        # The texels at the far ends of a level may reach beyond the last cell.
        row = min(last_row, int(z / field.cell))
        v = min(1.0, z / field.cell - row)
        column, done = 0, 0
        while done < width:
            far = _far(field, column, row)
            end = column + 1
            while end < cells and _far(field, end, row) == far:
                end += 1
            until = min(width, math.ceil(end * field.cell / texel - 0.5))
            if end == cells:
                until = width
            if far:
                paint.ground_texels(texels[r], plan, (done, until), r)
            else:
                for c in range(done, until):
                    x = (c + 0.5) * texel
                    cell = min(cells - 1, int(x / field.cell))
                    u = min(1.0, x / field.cell - cell)
                    place = _interpolate(field, cell, row, u, v)
                    if quads:
                        place = _on_quads(mesh, edges, place, x, z)
                    texels[r, c] = paint.road_texel(plan, place, (c, r))
            column, done = end, until
