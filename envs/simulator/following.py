"""Following a path: how far a car has come, how far beside it is, and the simulator's cte.

Progress is followed from where the car was, never looked up by the nearest point alone: where a
road crosses or passes itself, the car stays on the branch that it came along.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]

_WINDOW = 8
"""Pieces of path searched each way in one physics step: 4 u, where no car makes more than 1."""

_MOST_NODES = 8
"""Nodes that the path index may advance in one telemetry interval."""


class Route(NamedTuple):
    """A path as the kernels read it.

    Attributes:
        points: Shape (M, 2), every `spacing` u.
        sin_yaw: Direction at each point, shape (M,); `cos_yaw` likewise.
        nodes: The simulator's path nodes, shape (n, 2).
        length: In u.
        left: Lateral offset of the road's left edge (u), `right` of its right edge.
    """

    points: FloatArray
    sin_yaw: FloatArray
    cos_yaw: FloatArray
    yaw: FloatArray
    nodes: FloatArray
    spacing: float
    length: float
    closed: bool
    left: float
    right: float


def route(track: Track) -> Route:
    """Returns the route of a track."""
    path = track.path
    return Route(
        points=np.ascontiguousarray(path.points),
        sin_yaw=np.sin(path.yaw),
        cos_yaw=np.cos(path.yaw),
        yaw=np.ascontiguousarray(path.yaw),
        nodes=np.ascontiguousarray(track.nodes),
        spacing=path.spacing,
        length=path.length,
        closed=path.closed,
        left=track.road_left,
        right=track.road_right,
    )


@njit(cache=True)
def locate(route: Route, x: float, z: float, arc: float) -> tuple[float, float, float, int]:
    """Finds a car on the path near where it was.

    Args:
        route: The path.
        x: Place of the car (u).
        z: Place of the car (u).
        arc: Arc length where it was (u).

    Returns:
        Arc length, signed way made along the path, lateral offset (u, + right), index of the
        nearest point.
    """
    count = route.points.shape[0]
    start = round(arc / route.spacing)
    best, nearest = -1, 1e18
    for k in range(start - _WINDOW, start + _WINDOW + 1):
        place = k % count if route.closed else min(count - 1, max(0, k))
        dx, dz = x - route.points[place, 0], z - route.points[place, 1]
        distance = dx * dx + dz * dz
        if distance < nearest:
            nearest, best = distance, place
    dx, dz = x - route.points[best, 0], z - route.points[best, 1]
    along = dx * route.sin_yaw[best] + dz * route.cos_yaw[best]
    lateral = dx * route.cos_yaw[best] - dz * route.sin_yaw[best]
    # On the outside of a bend a point's tangent reaches past its neighbour's piece.
    along = min(0.5 * route.spacing, max(-0.5 * route.spacing, along))
    found = best * route.spacing + along
    way = found - arc
    if route.closed:
        found %= route.length
        # A tiny negative number gives the length itself.
        found = found if found < route.length else 0.0
        way -= route.length * round(way / route.length)
    return found, way, lateral, best


@njit(cache=True)
def cross_track_error(route: Route, x: float, z: float, node: int) -> tuple[float, int]:
    """The simulator's cte and the path index after it.

    The distance to the infinite line through node `i` and the next, positive to its right; then
    the index advances if the car is nearer to the next node (``CarPath.GetCrossTrackErr``). The
    simulator advances by one a call and falls behind where nodes are dense and cars fast; here
    the rule is applied until it settles.

    Args:
        route: The path.
        x: Place of the car (u).
        z: Place of the car (u).
        node: The car's path index.

    Returns:
        cte (u) and the new index.
    """
    count = route.nodes.shape[0]
    error = 0.0
    for k in range(_MOST_NODES):
        ahead = (node + 1) % count
        ax, az = route.nodes[node, 0], route.nodes[node, 1]
        bx, bz = route.nodes[ahead, 0], route.nodes[ahead, 1]
        nearer = (x - bx) ** 2 + (z - bz) ** 2 < (x - ax) ** 2 + (z - az) ** 2
        if k == 0 or nearer:
            span = max(math.sqrt((bx - ax) ** 2 + (bz - az) ** 2), 1e-9)
            error = ((x - ax) * (bz - az) - (z - az) * (bx - ax)) / span
        if not nearer:
            break
        node = ahead
    return error, node
