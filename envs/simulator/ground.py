"""The painted ground of a track, baked once into bytes at several resolutions.

Each level halves the resolution of the one before and is computed from the road's geometry, not
from the finer level: a line narrower than a texel becomes a mixture of line and road, so lines
fade with distance in place of flickering.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import materials, parallel
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]

MARGIN = 40.0
LEVELS = 6
FINEST = 1.0 / 32.0
_MOST_TEXELS = 64e6
_MOST_CELLS = 3e6
_MOST_SPAN = 160
_PROFILE_STEP = 1.0 / 128.0
_ROAD, _GROUND, _SHOULDER = 253, 254, 255
_FAR = 1e6
_LINE_HALF_LENGTH = 0.9


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
    """Lateral offset and arc length on a coarse grid of cells."""

    lateral: npt.NDArray[np.float32]
    along: npt.NDArray[np.float32]
    cell: float


class _Paint(NamedTuple):
    """What the bake kernel paints.

    Attributes:
        profile: Byte over the lateral offset without and with dashes, shape (2, bins).
        first: Lateral offset of the first bin (u).
        grain: Bytes of road, ground and shoulder by share of grain, shape (3, 9).
        dash: Painted and whole length (u).
        line: Arc length of the start line, left and right edge of the road (u); drawn or not.
        length: Length of the path (u).
        roughness: How strong the grain is, 0 to 1.
    """

    profile: ByteArray
    first: float
    grain: ByteArray
    dash: tuple[float, float]
    line: tuple[float, float, float, bool]
    length: float
    roughness: float
    white: int
    dark: int
    chequer: int


def bake(track: Track) -> Ground:
    """Paints the ground of a track within `MARGIN` of its path."""
    low = track.path.points.min(axis=0) - MARGIN
    extent = track.path.points.max(axis=0) + MARGIN - low
    finest = max(FINEST, math.sqrt(float(np.prod(extent)) / _MOST_TEXELS))
    field = _offsets(track, low, extent)
    size = finest * np.exp2(np.arange(LEVELS), dtype=np.float64)
    columns = np.ceil(extent[0] / size).astype(np.int64)
    rows = np.ceil(extent[1] / size).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(columns * rows)]).astype(np.int64)
    texels = np.empty(int(start[-1]), dtype=np.uint8)
    for level in range(LEVELS):
        part = texels[start[level] : start[level + 1]].reshape(rows[level], columns[level])
        paint = functools.partial(
            _paint, part, (size[level], finest), field, _plan(track, float(size[level]))
        )
        parallel.over(len(part), paint)
    return Ground(texels, start[:-1], columns, rows, size, float(low[0]), float(low[1]))


def _plan(track: Track, texel: float) -> _Paint:
    """Prepares the paint for one level."""
    first = min(stripe.start for stripe in track.stripes) - 2.0
    last = max(stripe.end for stripe in track.stripes) + 2.0
    plain = _profile(track, first, last, texel, dashes=False)
    dashed = _profile(track, first, last, texel, dashes=True)
    index = {name: k for k, name in enumerate(materials.GROUND)}
    pairs = (("road", "road_grain"), ("ground", "ground_grain"), ("shoulder", "ground_grain"))
    shares = np.arange(materials.LEVELS) / (materials.LEVELS - 1)
    grain = np.array(
        [[materials.byte(index[a], index[b], x) for x in shares] for a, b in pairs],
        dtype=np.uint8,
    )
    dash = next((stripe.dash for stripe in track.stripes if stripe.dash), (1.0, 0.0))
    line = (track.start_line, track.road_left, track.road_right, track.start_line_drawn)
    return _Paint(
        profile=np.stack([plain, dashed]),
        first=first,
        grain=grain,
        dash=(float(dash[0]), float(dash[0] + dash[1])),
        line=line,
        length=track.length,
        roughness=track.look.grain,
        white=materials.byte(index["edge_line"], index["dark"], 0.0),
        dark=materials.byte(index["edge_line"], index["dark"], 1.0),
        chequer=materials.byte(index["edge_line"], index["dark"], 0.5),
    )


def _profile(track: Track, first: float, last: float, texel: float, *, dashes: bool) -> ByteArray:
    """Returns the byte of every lateral offset, averaged over the width of a texel."""
    bins = int((last - first) / _PROFILE_STEP)
    centres = first + (np.arange(bins) + 0.5) * _PROFILE_STEP
    index = {name: k for k, name in enumerate(materials.GROUND)}
    material = np.full(bins, index["ground"])
    for stripe in track.stripes:
        if stripe.dash is None or dashes:
            inside = (centres >= stripe.start) & (centres < stripe.end)
            material[inside] = index[stripe.material]
    window = max(1, round(texel / _PROFILE_STEP)) | 1
    shares = np.eye(materials.COUNT)[np.pad(material, window // 2, mode="edge")]
    total = np.concatenate([np.zeros((1, materials.COUNT)), np.cumsum(shares, axis=0)])
    weights = (total[window:] - total[:-window]) / window
    profile = materials.encode(weights)
    for name, code in (("road", _ROAD), ("ground", _GROUND), ("shoulder", _SHOULDER)):
        profile[weights[:, index[name]] > 0.97] = code
    return profile


def _offsets(track: Track, low: FloatArray, extent: FloatArray) -> _Field:
    """Computes lateral offset and arc length around the road on a coarse grid."""
    middle = 0.5 * (track.road_left + track.road_right)
    left = min(stripe.start for stripe in track.stripes)
    right = max(stripe.end for stripe in track.stripes)
    reach = max(right - middle, middle - left) + 3.0
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


@njit(cache=True)
def _noise(column: int, row: int) -> float:
    """A fixed random number in [0, 1) for each pair of integers."""
    h = (column * 0x9E3779B1) ^ (row * 0x85EBCA77)
    h = ((h ^ (h >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    h = ((h ^ (h >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


@njit(cache=True)
def _patches(x: float, z: float) -> float:
    """Smooth noise in [0, 1] over the plane, with a grid of 1."""
    column, row = math.floor(x), math.floor(z)
    u, v = x - column, z - row
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    low = _noise(int(column), int(row)) * (1.0 - u) + _noise(int(column) + 1, int(row)) * u
    high = (
        _noise(int(column), int(row) + 1) * (1.0 - u) + _noise(int(column) + 1, int(row) + 1) * u
    )
    return low * (1.0 - v) + high * v


@njit(cache=True)
def _interpolate(field: _Field, x: float, z: float) -> tuple[float, float]:
    """Lateral offset and arc length at (x, z), without smearing from one branch to another."""
    column, row = int(x / field.cell), int(z / field.cell)
    u, v = x / field.cell - column, z / field.cell - row
    d = field.lateral[row : row + 2, column : column + 2]
    s = field.along[row : row + 2, column : column + 2]
    near_row, near_column = int(v > 0.5), int(u > 0.5)
    if (
        max(d[0, 0], d[0, 1], d[1, 0], d[1, 1]) - min(d[0, 0], d[0, 1], d[1, 0], d[1, 1])
        > 2.0 * field.cell
    ):
        return d[near_row, near_column], s[near_row, near_column]
    low = d[0, 0] * (1.0 - u) + d[0, 1] * u
    high = d[1, 0] * (1.0 - u) + d[1, 1] * u
    return low * (1.0 - v) + high * v, s[near_row, near_column]


@njit(cache=True)
def _start_line_byte(lateral: float, ahead: float, texel: float, paint: _Paint) -> int:
    """The byte of the chequered start line."""
    square = (paint.line[2] - paint.line[1]) / 12.0
    if texel > 0.6 * square:
        return paint.chequer
    column = int((lateral - paint.line[1]) / square)
    row = int((ahead + _LINE_HALF_LENGTH) / _LINE_HALF_LENGTH)
    return paint.white if (column + row) % 2 == 0 else paint.dark


@njit(cache=True)
def _road_share(paint: _Paint, x: float, z: float) -> float:
    """Share of grain in asphalt before the finest noise."""
    return 0.5 + paint.roughness * 0.35 * (_patches(0.8 * x, 0.8 * z) - 0.5)


@njit(cache=True)
def _earth_share(x: float, z: float) -> float:
    """Share of grain in ground and shoulder before the finest noise."""
    rough = _patches(0.35 * x, 0.35 * z) + 0.6 * _patches(1.9 * x, 1.9 * z)
    return 0.5 + 1.1 * (rough - 0.8)


@njit(cache=True, nogil=True)
def _paint(texels, sizes, field, paint, first, last):  # type: ignore[no-untyped-def]
    """Paints rows of one level; the grain weakens with a texel's size, as an average would.

    Args:
        texels: Shape (rows, columns), filled in.
        sizes: Side of a texel of this level and of the finest (u).
        field: Lateral offset and arc length.
        paint: What to paint.
        first: First row.
        last: Row behind the last one.
    """
    texel, finest = sizes
    fade = math.sqrt(finest / texel)
    # Patches are smooth over 0.2 u: one value serves some neighbours in a row.
    hold = max(1, int(0.2 / texel))
    for r in range(first, last):
        z = (r + 0.5) * texel
        road_share, earth_share = 0.5, 0.5
        for c in range(texels.shape[1]):
            x = (c + 0.5) * texel
            lateral, along = _interpolate(field, x, z)
            ahead = along - paint.line[0]
            ahead -= paint.length * np.rint(ahead / paint.length)
            on_road = paint.line[1] <= lateral < paint.line[2]
            if c % hold == 0:
                earth_share = _earth_share(x, z)
                road_share = _road_share(paint, x, z) if lateral < _FAR / 2 else 0.5
            if paint.line[3] and on_road and abs(ahead) < _LINE_HALF_LENGTH:
                texels[r, c] = _start_line_byte(lateral, ahead, texel, paint)
                continue
            place = int((lateral - paint.first) / _PROFILE_STEP)
            code = _GROUND
            if 0 <= place < paint.profile.shape[1]:
                dashed = int(along % paint.dash[1] < paint.dash[0])
                code = paint.profile[dashed, place]
            if code < _ROAD:
                texels[r, c] = code
                continue
            fine = (_noise(c, r) - 0.5) * fade
            if code == _ROAD:
                share = road_share + paint.roughness * fine
            else:
                share = earth_share + 0.5 * fine
            level = int(min(8.0, max(0.0, 8.0 * share + 0.5)))
            texels[r, c] = paint.grain[code - _ROAD, level]
