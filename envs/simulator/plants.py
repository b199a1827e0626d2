"""What grows beside a road: hedges and palms, drawn flat, with true places; nothing is solid.

A hedge is a line of blades with a jagged top. A palm is a small picture that always faces the
camera. Their bytes are those of the surroundings, so a car sees them in its own palette.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import materials, solids
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]

_SIDE, _PICTURES = 32, 3
_CLEAR = 255
"""Byte of a picture's transparent texels; no palette uses it."""

_BLADE = 0.14
"""Width of a blade (u)."""

_NEAR = 0.4
_LONGEST = 12.0
"""Hedges are cut into pieces no longer than this (u), which are sorted by distance."""

SIGHT_OF_HEDGES, SIGHT_OF_PALMS = 28.0, 42.0
"""Beyond this distance they are not drawn (u): a hedge is two or three pixels high there."""


class Plants(NamedTuple):
    """Hedges and palms, one entry each.

    Attributes:
        hedge: Whether it is a piece of a hedge, from (x, z) to (end_x, end_z).
        side: From where it is seen: 1 from its left alone, -1 from its right, 0 from both.
        sight: Distance from which it is seen (u).
        height: In u.
        picture: Which of `pictures` a palm has.
        pictures: Bytes of the surroundings' palette, row 0 at the top, shape (k, 32, 32).
        extent: First column with a texel in it and the one behind the last, shape (k, 32, 2).
        leaves: Bytes from bright to dark leaves, shape (9,).
        far: Cells for the camera.
    """

    hedge: npt.NDArray[np.bool_]
    side: npt.NDArray[np.int64]
    sight: FloatArray
    x: FloatArray
    z: FloatArray
    end_x: FloatArray
    end_z: FloatArray
    height: FloatArray
    picture: npt.NDArray[np.int64]
    pictures: ByteArray
    extent: npt.NDArray[np.int64]
    leaves: ByteArray
    far: solids.Cells


def build(track: Track) -> Plants:
    """Collects the plants of a track."""
    rows: list[tuple[float, ...]] = []
    for hedge in track.hedges:
        side = _outside(hedge.points)
        for a, b in zip(hedge.points, hedge.points[1:], strict=False):
            pieces = max(1, math.ceil(math.dist(a, b) / _LONGEST))
            ends = np.linspace(a, b, pieces + 1)
            rows += [(1.0, *ends[k], *ends[k + 1], hedge.height, side) for k in range(pieces)]
    for number, palm in enumerate(track.palms):
        rows.append((0.0, palm.x, palm.z, palm.x, palm.z, palm.height, number % _PICTURES))
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    hedge_rows = table[:, 0] > 0.0
    sight = np.where(hedge_rows, SIGHT_OF_HEDGES, SIGHT_OF_PALMS)
    pictures = _pictures()
    drawn = pictures != _CLEAR
    extent = np.stack([drawn.argmax(axis=2), _SIDE - drawn[:, :, ::-1].argmax(axis=2)], axis=2)
    extent[~drawn.any(axis=2)] = 0
    index = {name: k for k, name in enumerate(materials.SURROUNDINGS)}
    shares = np.arange(materials.LEVELS) / (materials.LEVELS - 1)
    leaves = [materials.byte(index["near"], index["near_dark"], float(x)) for x in shares]
    return Plants(
        hedge=hedge_rows,
        side=np.where(hedge_rows, table[:, 6], 0.0).astype(np.int64),
        sight=sight,
        x=table[:, 1].copy(),
        z=table[:, 2].copy(),
        end_x=table[:, 3].copy(),
        end_z=table[:, 4].copy(),
        height=table[:, 5].copy(),
        picture=np.where(hedge_rows, 0.0, table[:, 6]).astype(np.int64),
        pictures=pictures,
        extent=extent.astype(np.int64),
        leaves=np.array(leaves, dtype=np.uint8),
        far=solids.cells((table[:, 1:3], table[:, 3:5]), sight, 8.0),
    )


def _outside(points: FloatArray) -> int:
    """Returns from where a hedge is seen: a closed one from outside alone, as `Plants.side`."""
    if math.dist(points[0], points[-1]) > 1e-6:
        return 0
    x, z = points.T
    area = float((x[:-1] * z[1:] - x[1:] * z[:-1]).sum())
    return 1 if area < 0.0 else -1


@functools.cache
def _pictures() -> ByteArray:
    """Draws palms: a bent trunk under a crown of drooping fronds."""
    index = {name: k for k, name in enumerate(materials.SURROUNDINGS)}
    light, dark = index["near"], index["near_dark"]
    trunk = materials.byte(index["trim"], dark, 0.3)
    pictures = np.full((_PICTURES, _SIDE, _SIDE), _CLEAR, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        rng = np.random.default_rng([7, number])
        lean, top = rng.uniform(-5.0, 5.0), 11
        for row in range(top, _SIDE):
            share = (_SIDE - row) / (_SIDE - top)
            column = round(_SIDE / 2 + lean * share * share)
            picture[row, column - 1 : column + 1] = trunk
        for frond in range(9):
            turn = math.pi * (frond + rng.uniform(-0.3, 0.3)) / 8.0
            reach = rng.uniform(10.0, 14.0)
            for step in np.linspace(0.0, 1.0, 40):
                # Out and up, then down: a parabola.
                x = _SIDE / 2 + lean + reach * math.cos(turn) * step
                y = top - reach * (1.1 * math.sin(turn) * step - 0.9 * step * step)
                for below in range(1 + int(3.0 * step * (1.2 - step) * 2.0)):
                    row, column = int(y) + below, int(x)
                    if 0 <= row < _SIDE and 0 <= column < _SIDE and rng.random() < 0.8:
                        share = min(1.0, 0.25 + 0.3 * below + rng.uniform(-0.25, 0.25))
                        picture[row, column] = materials.byte(light, dark, max(0.0, share))
    return pictures


@njit(cache=True)
def draw_palm(image, pose, place, size, picture, extent, palette):  # type: ignore[no-untyped-def]
    """Draws a palm.

    Args:
        image: Packed pixels, shape (h, w, 1).
        pose: The camera's row of `camera.Views.pose`.
        place: Right and ahead of the camera (u).
        size: Its height (u).
        picture: Shape (32, 32).
        extent: Shape (32, 2).
        palette: Packed colours of the surroundings, shape (256,).
    """
    right, ahead = place
    height, width, focal = image.shape[0], image.shape[1], pose[5]
    depth = ahead * pose[4] + pose[1] * pose[3]
    if depth < 2.0:
        return
    foot = 0.5 * height - focal * (ahead * pose[3] - pose[1] * pose[4]) / depth
    up_depth = depth - size * pose[3]
    if up_depth < 0.5:
        return
    top = 0.5 * height - focal * (ahead * pose[3] + (size - pose[1]) * pose[4]) / up_depth
    scale, texel = _SIDE / max(foot - top, 1e-6), (foot - top) / _SIDE
    left = 0.5 * width + focal * right / depth - 0.5 * (foot - top) - 0.5
    for row in range(max(0, math.ceil(top - 0.5)), min(height, math.ceil(foot - 0.5))):
        of = min(_SIDE - 1, int((row + 0.5 - top) * scale))
        first = max(0, math.ceil(left + extent[of, 0] * texel))
        last = min(width, math.ceil(left + extent[of, 1] * texel))
        for column in range(first, last):
            found = picture[of, min(_SIDE - 1, int((column - left) * scale))]
            if found != _CLEAR:
                image[row, column, 0] = palette[found]


@njit(cache=True, inline="always")
def _blade(number, cell):  # type: ignore[no-untyped-def]
    h = np.uint32(number) * np.uint32(0x9E3779B1) ^ np.uint32(cell) * np.uint32(0x85EBCA77)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    return np.uint32(h ^ (h >> np.uint32(13)))


@njit(cache=True)
def draw_hedge(image, pose, ends, piece, tones):  # type: ignore[no-untyped-def]
    """Draws a piece of a hedge, column by column.

    Args:
        image: Packed pixels, shape (h, w, 1).
        pose: The camera's row of `camera.Views.pose`.
        ends: Right and ahead of both ends (u).
        piece: Its number, and its length and height (u).
        tones: Packed colours from bright to dark leaves, shape (9,).
    """
    a, ahead_a, b, ahead_b = ends
    number, length, rise = piece
    height, width, focal = image.shape[0], image.shape[1], pose[5]
    start, end = 0.0, length
    if ahead_a < _NEAR or ahead_b < _NEAR:
        if ahead_a < _NEAR and ahead_b < _NEAR:
            return
        share = (_NEAR - ahead_a) / (ahead_b - ahead_a)
        cut = a + share * (b - a)
        if ahead_a < _NEAR:
            a, ahead_a, start = cut, _NEAR, share * length
        else:
            b, ahead_b, end = cut, _NEAR, share * length
    # A camera that looks up has the foot of a near hedge behind its image plane.
    depth_a, depth_b = ahead_a * pose[4] + pose[1] * pose[3], ahead_b * pose[4] + pose[1] * pose[3]
    if depth_a < _NEAR or depth_b < _NEAR:
        return
    near_a, near_b = 1.0 / depth_a, 1.0 / depth_b
    left, right = 0.5 * width + focal * a * near_a, 0.5 * width + focal * b * near_b
    if left > right:
        left, right, start, end = right, left, end, start
        ahead_a, ahead_b, near_a, near_b = ahead_b, ahead_a, near_b, near_a
    if right - left < 0.5 or right < 0.0 or left > width:
        return
    foot_a = 0.5 * height - focal * (ahead_a * pose[3] - pose[1] * pose[4]) * near_a
    foot_b = 0.5 * height - focal * (ahead_b * pose[3] - pose[1] * pose[4]) * near_b
    # Blades as wide as a pixel at least, in doubling steps, so that they do not flicker.
    cell = _BLADE
    while cell * focal * max(near_a, near_b) < 0.8:
        cell *= 2.0
    tall = focal * rise * (pose[4] + 0.25 * pose[3])
    step, per_blade = 1.0 / (right - left), 1.0 / cell
    for column in range(max(0, math.ceil(left - 0.5)), min(width, math.ceil(right - 0.5))):
        share = (column + 0.5 - left) * step
        near = near_a + share * (near_b - near_a)
        along = start + share * near_b / near * (end - start)
        bits = _blade(int(along * per_blade), number)
        foot = foot_a + share * (foot_b - foot_a)
        top = foot - tall * near * (0.72 + 0.0011 * (bits & np.uint32(255)))
        tone = 0.7 * ((bits >> np.uint32(8)) & np.uint32(3))
        darker = 5.0 / max(foot - top, 1.0)
        for row in range(max(0, math.ceil(top - 0.5)), min(height, math.ceil(foot - 0.5))):
            image[row, column, 0] = tones[int(tone)]
            tone = min(8.0, tone + darker)
