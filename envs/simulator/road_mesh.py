"""The road as the flat quads that the simulator builds it of.

Between two nodes the edges and all painted lines are straight, and they kink at the nodes: well
visible in tight bends. Each quad is two triangles, over which lateral offset and arc length are
linear, as texture coordinates are.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]

_MOST_MOVES = 4
"""Quads by which the search leaves the nearest one: more only where a road folds back."""

_LEAST_SPAN = 0.75
"""Nodes nearer to the first than this share of a span are left out."""

_FLAT = 1e-6
"""Twice the area (u^2) below which a triangle has no inside."""


class Mesh(NamedTuple):
    """The quads of a road; the last leads to the first if the road is closed.

    Attributes:
        left: Where each quad begins at the road's left edge, and the last one ends, shape
            (n + 1, 2).
        right: The same at the right edge.
        plane: Of both triangles of each quad: lateral offset and arc length at the origin and
            their change along x and z, shape (n, 2, 6).
        spacing: Mean arc length of a quad (u).
        closed: Whether the last quad leads to the first.
    """

    left: FloatArray
    right: FloatArray
    plane: FloatArray
    spacing: float
    closed: bool


def build(track: Track, low: FloatArray) -> Mesh:
    """Lays the quads between a track's nodes.

    Args:
        track: The track.
        low: Origin of the mesh's coordinates, ``[x, z]`` in u.
    """
    ends = track.nodes - low
    if track.closed:
        # The nodes of a script may end almost where they began, or beyond.
        span = math.dist(ends[0], ends[1])
        while len(ends) > 3 and math.dist(ends[-1], ends[0]) < _LEAST_SPAN * span:
            ends = ends[:-1]
        ends = np.vstack([ends, ends[:1]])
    # As the simulator does: an end stands across the quad that begins there.
    way = np.diff(ends, axis=0)
    yaw = np.arctan2(*np.vstack([way, way[0] if track.closed else way[-1]]).T)
    across = np.stack([np.cos(yaw), -np.sin(yaw)], axis=1)
    sides = (track.road_left, track.road_right)
    left, right = ends + sides[0] * across, ends + sides[1] * across
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*way.T))])
    along *= track.length / along[-1]
    plane = np.stack([_planes(left, right, sides, along, half) for half in (0, 1)], axis=1)
    spacing = track.length / len(plane)
    return Mesh(left, right, np.ascontiguousarray(plane), spacing, track.closed)


def _planes(
    left: FloatArray, right: FloatArray, sides: tuple[float, float], along: FloatArray, half: int
) -> FloatArray:
    """Returns how lateral offset and arc length change over one triangle of each quad.

    Args:
        left: Left ends, shape (n + 1, 2).
        right: Right ends, shape (n + 1, 2).
        sides: Lateral offset of both.
        along: Arc length of the ends (u), shape (n + 1,).
        half: 0: the triangle at the left edge's start, 1: the one at the right edge's end.

    Returns:
        Shape (n, 6).
    """
    count = len(left) - 1
    corner = left[:-1] if half == 0 else right[1:]
    first, second = left[1:] - corner, right[:-1] - corner
    lateral = (sides[0], sides[0], sides[1]) if half == 0 else (sides[1], sides[0], sides[1])
    ahead = (0, 1, 0) if half == 0 else (1, 1, 0)
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    inside = np.abs(area) > _FLAT
    inverse = np.where(inside, 1.0 / np.where(inside, area, 1.0), 0.0)
    columns = []
    for at, toward, beside in (
        tuple(np.full(count, value) for value in lateral),
        tuple(along[step : count + step] for step in ahead),
    ):
        rise, other = toward - at, beside - at
        by_x = (rise * second[:, 1] - other * first[:, 1]) * inverse
        by_z = (other * first[:, 0] - rise * second[:, 0]) * inverse
        at_origin = at - by_x * corner[:, 0] - by_z * corner[:, 1]
        columns += [at_origin, by_x, by_z]
    return np.stack(columns, axis=1)


@njit(cache=True, inline="always")
def _before(mesh: Any, k: int, x: float, z: float) -> Any:
    """Whether a point lies before the cross-line at the start of quad `k`."""
    across_x, across_z = mesh.right[k, 0] - mesh.left[k, 0], mesh.right[k, 1] - mesh.left[k, 1]
    return across_x * (z - mesh.left[k, 1]) - across_z * (x - mesh.left[k, 0]) < 0.0


@njit(cache=True, inline="always")
def place(mesh: Any, k: int, x: float, z: float) -> tuple[float, float]:
    """Returns lateral offset and arc length of a point on the road.

    Args:
        mesh: The quads.
        k: A quad near the point.
        x: In u from the mesh's origin.
        z: In u from the mesh's origin.
    """
    count = mesh.plane.shape[0]
    for _ in range(_MOST_MOVES):
        if _before(mesh, k, x, z):
            if k == 0 and not mesh.closed:
                break
            k = k - 1 if k > 0 else count - 1
        elif not _before(mesh, k + 1, x, z):
            if k == count - 1 and not mesh.closed:
                break
            k = k + 1 if k < count - 1 else 0
        else:
            break
    # The quad's diagonal leads from the right edge's start to the left edge's end.
    way_x, way_z = mesh.left[k + 1, 0] - mesh.right[k, 0], mesh.left[k + 1, 1] - mesh.right[k, 1]
    beyond = way_x * (z - mesh.right[k, 1]) - way_z * (x - mesh.right[k, 0]) < 0.0
    plane = mesh.plane[k, 1 if beyond else 0]
    lateral = plane[0] + plane[1] * x + plane[2] * z
    along = plane[3] + plane[4] * x + plane[5] * z
    return lateral, along
