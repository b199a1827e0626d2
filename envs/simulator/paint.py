"""What colour the ground has at a place: stripes, wear, grain, and the start line.

A texel is a mixture of two of eight materials (`materials`). Where more than two meet, as asphalt
of two shades under half a line, neighbouring texels take turns at random.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import materials, texture
from donkey_rl.envs.simulator.texture import Grain
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]

_STEP = 1.0 / 128.0
_SURFACES = (("road", "road_grain"), ("shoulder", "ground_grain"), ("ground", "ground_grain"))
"""The pair of materials of each surface; the second one's share is its grain."""

_LINES = ("edge_line", "centre_line")
_UNDER = ("road", "road_grain", "shoulder", "ground")
_ROAD, _SHOULDER, _GROUND = range(3)
_DEVIATIONS = (0.25, 0.5, 0.5)
"""Deviation of the share of grain in each surface where `Look.grain` is 1."""

_DARK_IN_SHOULDER, _DARK_IN_GROUND, _DARKER_BESIDE, _REACH = 0.38, 0.3, 0.1, 6.0
"""Mean share of grain; what the ground at a road's edge has more, and how far that reaches (u)."""

_WAVE, _SOFT = 0.035, 0.04
"""Deviation of a worn line's edges and width of their transition (u)."""

_EVEN = 0.4
"""Texels larger than this (u) show asphalt under paint as an even mixture."""

_STONES, _STONES_REACH, _STONES_DARK = 0.35, 3.5, 0.42
"""Share of gravel in the ground at the road's edge, how far it reaches (u), its darkness."""

_SQUARES, _DEEP = 20, 0.66
"""Squares of a start line across the road; their length along it by their width."""


class Plan(NamedTuple):
    """What one level of the ground is painted with; axis 0 of the first three is the dash.

    Attributes:
        line: Share of paint over the lateral offset, shape (2, bins).
        colour: Which line it is, shape (2, bins).
        surface: Surface under it, shape (2, bins).
        other: Another surface that takes part, shape (2, bins); `share` of it.
        wear: Mean share of grain of the road, shape (bins,).
        pair: Bytes of the surfaces by share of grain, shape (3, 9).
        mixed: Bytes of the lines by what is under them and by share of paint, shape (2, 4, 9).
        chequer: Bytes of white, dark and half of both.
        road: Grain of the road, with its deviation; likewise the next three, square tiles with
            the last axis across the road.
        shoulder: Grain of the shoulder.
        ground: Grain of the ground, over z and x.
        worn: Wear of the lines.
        figures: First bin's lateral offset; the road's edges; the outermost stripes; painted and
            whole length of a dash; arc length of the middle of the start line, side of its
            squares (0: none), length of the path; how worn lines are; side of a texel (u).
    """

    line: npt.NDArray[np.float32]
    colour: npt.NDArray[np.int64]
    surface: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64]
    share: npt.NDArray[np.float32]
    wear: npt.NDArray[np.float32]
    pair: ByteArray
    mixed: ByteArray
    chequer: ByteArray
    road: npt.NDArray[np.float32]
    shoulder: npt.NDArray[np.float32]
    ground: npt.NDArray[np.float32]
    worn: npt.NDArray[np.float32]
    figures: tuple[float, ...]


@functools.cache
def grains() -> tuple[Grain, Grain, Grain, Grain]:
    """Returns the grain of road, shoulder, ground, and of worn lines.

    Asphalt has fine grain and long streaks along the road; gravel is coarser; earth has spots,
    and patches as wide as a step.
    """
    return (
        texture.grain(1, 256, ((0.045, 0.04, 0.85), (0.9, 0.045, 0.5))),
        texture.grain(2, 256, ((0.05, 0.045, 0.8), (0.4, 0.1, 0.6)), skew=0.3),
        texture.grain(
            3, 512, ((0.045, 0.045, 0.55), (0.12, 0.12, 0.5), (0.5, 0.5, 0.45)), skew=0.5
        ),
        texture.grain(4, 256, ((0.22, 0.1, 1.0), (0.05, 0.05, 0.35))),
    )


def plan(track: Track, texel: float) -> Plan:
    """Prepares the paint for one level.

    Args:
        track: The track.
        texel: Side of the level's texels (u).
    """
    look = track.look
    outside = (min(s.start for s in track.stripes), max(s.end for s in track.stripes))
    first = outside[0] - 2.0
    bins = int((outside[1] + 2.0 - first) / _STEP)
    centres = first + (np.arange(bins, dtype=np.float64) + 0.5) * _STEP
    width = texel + (_SOFT if look.worn_lines > 0.0 else 0.0)
    weights = np.stack([_shares(track, centres, width, dashes=on) for on in (False, True)])
    plain = dataclasses.replace(
        track, stripes=tuple(s for s in track.stripes if s.material not in _LINES)
    )
    bare = _shares(plain, centres, width, dashes=True)
    index = {name: k for k, name in enumerate(materials.GROUND)}
    painted = weights[..., [index[name] for name in _LINES]]
    areas = np.stack([bare, bare])[..., [index[name] for name, _ in _SURFACES]]
    areas[..., _ROAD] += bare[..., index["road_grain"]]
    areas[..., _GROUND] += bare[..., index["ground_grain"]]
    order = np.argsort(areas, axis=-1)
    ranked = np.sort(areas, axis=-1)
    wear = np.array(look.wear or ((0.0, 0.5),))
    dash = next((stripe.dash for stripe in track.stripes if stripe.dash), (1.0, 0.0))
    square = track.road_width / _SQUARES if track.start_line_drawn else 0.0
    deviations = (*(amount * look.grain for amount in _DEVIATIONS), 1.0)
    tiles = [
        np.asarray(texture.level(made, texel) * deviation, dtype=np.float32)
        for made, deviation in zip(grains(), deviations, strict=True)
    ]
    return Plan(
        painted.sum(axis=-1).astype(np.float32),
        painted.argmax(axis=-1),
        order[..., -1].copy(),
        order[..., -2].copy(),
        (ranked[..., -2] / np.maximum(ranked.sum(axis=-1), 1e-9)).astype(np.float32),
        np.interp(centres, wear[:, 0], wear[:, 1]).astype(np.float32),
        _bytes([[pair] for pair in _SURFACES])[:, 0].copy(),
        _bytes([[(under, line) for under in _UNDER] for line in _LINES]),
        _bytes([[("edge_line", "dark")]])[0, 0, [0, -1, 4]].copy(),
        tiles[0],
        tiles[1],
        tiles[2],
        tiles[3],
        (
            first, track.road_left, track.road_right, *outside,
            float(dash[0]), float(dash[0] + dash[1]),
            track.start_line, square, track.length, look.worn_lines, texel,
        ),
    )  # fmt: skip


def _bytes(pairs: list[list[tuple[str, str]]]) -> ByteArray:
    """Returns the bytes of pairs of materials by share of the second, shape (..., 9)."""
    index = {name: k for k, name in enumerate(materials.GROUND)}
    shares = np.arange(materials.LEVELS) / (materials.LEVELS - 1)
    table = [
        [[materials.byte(index[a], index[b], float(x)) for x in shares] for a, b in row]
        for row in pairs
    ]
    return np.array(table, dtype=np.uint8)


def _shares(track: Track, centres: FloatArray, width: float, *, dashes: bool) -> FloatArray:
    """Returns the share of every material over the lateral offset, averaged over a width (u).

    Returns:
        Shape (bins, 8).
    """
    index = {name: k for k, name in enumerate(materials.GROUND)}
    material = np.full(len(centres), index["ground"])
    for stripe in track.stripes:
        if stripe.dash is None or dashes:
            inside = (centres >= stripe.start) & (centres < stripe.end)
            material[inside] = index[stripe.material]
    window = max(1, round(width / _STEP)) | 1
    shares = np.eye(materials.COUNT)[np.pad(material, window // 2, mode="edge")]
    total = np.concatenate([np.zeros((1, materials.COUNT)), np.cumsum(shares, axis=0)])
    return np.asarray((total[window:] - total[:-window]) / window, dtype=np.float64)


@njit(cache=True, inline="always")
def _dice(column: int, row: int) -> Any:
    """24 fixed random bits for each pair of integers."""
    h = np.uint32(column) * np.uint32(0x9E3779B1) ^ np.uint32(row) * np.uint32(0x85EBCA77)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h = (h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
    return np.uint32(h ^ (h >> np.uint32(15)))


@njit(cache=True, inline="always")
def _part(bits: int, shift: int) -> Any:
    """A number in [0, 1) from ten of the bits."""
    return ((bits >> np.uint32(shift)) & np.uint32(1023)) * np.float32(1.0 / 1024.0)


@njit(cache=True, inline="always")
def _step(share: float, dice: float) -> int:
    """Rounds a share of grain or paint to a level, up or down at random."""
    return int(min(8.0, max(0.0, 8.0 * share + dice)))


@njit(cache=True)
def ground_texels(row, plan, columns, number):  # type: ignore[no-untyped-def]
    """Paints texels of plain ground, far from the road.

    Args:
        row: The row of texels, filled in.
        plan: The level's `Plan`.
        columns: First column, and the column behind the last one.
        number: Number of the row.
    """
    tile, pair = plan.ground, plan.pair[_GROUND]
    mask = tile.shape[0] - 1
    grain = tile[number & mask]
    even = min(1.0, plan.figures[11] / _EVEN)
    for c in range(columns[0], columns[1]):
        share = np.float32(_DARK_IN_GROUND) + grain[c & mask]
        chance = 0.5 + (_part(_dice(c, number), 0) - 0.5) * even
        row[c] = pair[_step(share, chance)]


@njit(cache=True, inline="always")
def _tile_value(tile: Any, along: float, across: float, texel: float) -> Any:
    mask = tile.shape[0] - 1
    # Offsets across may be negative; the tile's side divides 2^20.
    row = int(along / texel + 1048576.0) & mask
    return tile[row, int(across / texel + 1048576.0) & mask]


@njit(cache=True)
def _start_line(plan: Any, lateral: float, ahead: float) -> Any:
    """The byte of the chequered start line: two rows of squares."""
    square = plan.figures[8]
    if plan.figures[11] > 0.6 * square:
        return plan.chequer[2]
    odd = (int((lateral - plan.figures[1]) / square) + int(ahead > 0.0)) & 1
    return plan.chequer[odd]


@njit(cache=True, inline="always")
def road_texel(plan: Any, place: tuple[float, float], texel: tuple[int, int]) -> Any:
    """The byte of a texel on the road or beside it.

    Args:
        plan: The level's `Plan`.
        place: Lateral offset and arc length (u).
        texel: Column and row.
    """
    lateral, along = place
    first, road, end, left, right, painted, whole, start, square, length, wear, size = plan.figures
    bits = _dice(texel[0], texel[1])
    ahead = along - start
    if ahead > 0.5 * length:
        ahead -= length
    elif ahead < -0.5 * length:
        ahead += length
    if abs(ahead) < _DEEP * square and road <= lateral < end:
        return _start_line(plan, lateral, ahead)
    worn = 0.0
    moved = lateral
    if wear > 0.0:
        worn = _tile_value(plan.worn, along, lateral, size)
        moved += wear * _WAVE * worn
    bins = plan.line.shape[1]
    spot = min(max(0, int((moved - first) / _STEP)), bins - 1)
    dashed = int(along - whole * math.floor(along / whole) < painted)
    surface = plan.surface[dashed, spot]
    if _part(bits, 10) < plan.share[dashed, spot]:
        surface = plan.other[dashed, spot]
    if surface == _ROAD:
        share = plan.wear[spot] + _tile_value(plan.road, along, lateral, size)
    elif surface == _SHOULDER:
        share = _DARK_IN_SHOULDER + _tile_value(plan.shoulder, along, lateral, size)
    else:
        mask = plan.ground.shape[0] - 1
        share = _DARK_IN_GROUND + plan.ground[texel[1] & mask, texel[0] & mask]
        beside = max(0.0, max(left - lateral, lateral - right))
        share += _DARKER_BESIDE * max(0.0, 1.0 - beside / _REACH)
        if _part(bits, 22) < _STONES * (1.0 - beside / _STONES_REACH):
            surface, share = _SHOULDER, share + _STONES_DARK
    # Near the eye the grain itself decides; far away, where it fades, chance does.
    even = min(1.0, size / _EVEN)
    chance = 0.5 + (_part(bits, 0) - 0.5) * even
    paint = plan.line[dashed, spot]
    if paint < 0.02:
        return plan.pair[surface, _step(share, chance)]
    paint *= 1.0 - wear * max(0.0, abs(worn) - 0.9)
    under = surface + 1
    if surface == _ROAD and 0.5 + (_part(bits, 20) - 0.5) * even >= share:
        under = 0
    return plan.mixed[plan.colour[dashed, spot], under, _step(paint, chance)]
