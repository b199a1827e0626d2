"""The shadows of what stands on the ground, painted into it."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import materials
from donkey_rl.envs.simulator.scenery import Obstacle, Sun
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]

_DEPTH = 0.65
"""Share of light that a shadow takes away."""

_ROUND = 12


def cast(texels: ByteArray, texel: float, low: FloatArray, track: Track) -> None:
    """Darkens the ground in the shadow of a track's obstacles.

    Args:
        texels: One level of the ground, shape (rows, columns), changed in place.
        texel: Side of its texels (u).
        low: Place of its first corner, ``[x, z]`` in u.
        track: The track; without a sun nothing has a shadow.
    """
    if track.look.sun is None:
        return
    for obstacle in track.obstacles:
        corners = outline(obstacle, track.look.sun) - low
        _fill(texels, np.ascontiguousarray(corners / texel), _darker())


def outline(obstacle: Obstacle, sun: Sun) -> FloatArray:
    """Returns the convex outline of an obstacle's shadow with the obstacle's own foot.

    Returns:
        Corners ``[x, z]`` in u in order, shape (k, 2).
    """
    reach = obstacle.height / math.tan(sun.elevation)
    away = -reach * np.array([math.sin(sun.azimuth), math.cos(sun.azimuth)])
    if obstacle.shape == "cone":
        turn = 2.0 * math.pi * np.arange(_ROUND) / _ROUND
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        foot, top = 0.625 * obstacle.width * ring, 0.1 * obstacle.width * ring
    else:
        ahead = np.array([math.sin(obstacle.yaw), math.cos(obstacle.yaw)])
        right = np.array([ahead[1], -ahead[0]])
        foot = np.array(
            [
                0.5 * (a * obstacle.width * right + b * obstacle.length * ahead)
                for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))
            ]
        )
        top = foot
    middle = np.array([obstacle.x, obstacle.z])
    return middle + _hull(np.vstack([foot, top + away]))


def _hull(points: FloatArray) -> FloatArray:
    """Returns the corners of the convex hull, counter-clockwise."""
    ordered = sorted(map(tuple, points.tolist()))
    chains: list[list[tuple[float, ...]]] = []
    for row in (ordered, ordered[::-1]):
        chain: list[tuple[float, ...]] = []
        for point in row:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0.0:
                chain.pop()
            chain.append(point)
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1], dtype=np.float64)


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    """Above 0 if the way from a over b to c turns left."""
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])


@functools.cache
def _darker() -> ByteArray:
    """Returns the byte of every byte in shadow, shape (256,)."""
    dark = materials.GROUND.index("dark")
    table = np.arange(256, dtype=np.uint8)
    for first in range(materials.COUNT):
        for second in range(first + 1, materials.COUNT):
            for level in range(materials.LEVELS):
                share = level / (materials.LEVELS - 1)
                strongest = second if share > 0.5 else first
                if strongest != dark:
                    table[materials.byte(first, second, share)] = materials.byte(
                        strongest, dark, _DEPTH
                    )
    return table


@njit(cache=True)
def _fill(texels, corners, table):  # type: ignore[no-untyped-def]
    """Replaces the bytes inside a convex polygon.

    Args:
        texels: Shape (rows, columns).
        corners: In texels (column, row), shape (k, 2).
        table: Shape (256,).
    """
    count = corners.shape[0]
    low, high = corners[:, 1].min(), corners[:, 1].max()
    for row in range(max(0, int(low)), min(texels.shape[0], int(high) + 1)):
        y, left, right = row + 0.5, 1e9, -1e9
        for k in range(count):
            x0, y0 = corners[k]
            x1, y1 = corners[(k + 1) % count]
            if (y0 <= y) != (y1 <= y):
                x = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
                left, right = min(left, x), max(right, x)
        for column in range(max(0, round(left)), min(texels.shape[1], round(right))):
            texels[row, column] = table[texels[row, column]]
