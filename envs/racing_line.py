"""The line of least curvature inside a road, and the speeds that a car can drive it at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import linalg as splinalg

from donkey_rl.envs import grip as grips
from donkey_rl.envs.grip import Limits
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle

FloatArray = npt.NDArray[np.float64]

_SPACING = 1.0
"""Between two points of the line, along the path (u)."""

_SHORTEST = 0.1
"""Pieces of the line are taken as no shorter (u): in a tight bend points come together."""

_LEAST_COSINE = 0.5
"""Of the angle between line and path: beside it, a line moves to the right as the path does."""

_ROUNDS = 20
_LONGEST_STEP = 1.0
"""Farthest that a round moves a point of the line (u)."""

_ITERATIONS = 200
_STIFFNESS = 1e-2
"""How strongly an iteration holds to the one before."""


class RacingLine(NamedTuple):
    """A line along a track's path, one entry every `spacing` u of the path.

    Attributes:
        points: x and z (u), shape (M, 2).
        direction: Sine and cosine of its direction, clockwise from +Z, shape (M, 2).
        curvature: In 1/u, positive where the line turns right, shape (M,).
        speed: What can be driven there (u/s), shape (M,).
        spacing: Arc length of the **path** between neighbours (u).
        closed: Whether the last point leads back to the first.
    """

    points: FloatArray
    direction: FloatArray
    curvature: FloatArray
    speed: FloatArray
    spacing: float
    closed: bool

    def at(self, values: FloatArray, arc: FloatArray) -> FloatArray:
        """Interpolates one of the line's arrays.

        Args:
            values: Shape (M,) or (M, 2).
            arc: Arc lengths of the path (u), shape (n,); a closed line repeats, an open one stops
                at its ends.

        Returns:
            Shape (n,) or (n, 2).
        """
        return interpolate(values, arc / self.spacing, self.closed)


def interpolate(values: FloatArray, index: FloatArray, closed: bool) -> FloatArray:
    """Interpolates between the rows of an array.

    Args:
        values: Shape (M, ...).
        index: Which row, with fractions, any shape; closed rows repeat, others stop at the ends.
        closed: Whether the last row leads back to the first.

    Returns:
        A row for each, shape (*index.shape, ...).
    """
    count = len(values)
    index = np.mod(index, count) if closed else np.clip(index, 0.0, count - 1.0)
    first = np.minimum(index.astype(np.int64), count - (1 if closed else 2))
    part = (index - first).reshape(*index.shape, *[1] * (values.ndim - 1))
    return np.asarray(values[first] * (1.0 - part) + values[(first + 1) % count] * part)


def bend_at(road: Track, arcs: FloatArray) -> FloatArray:
    """Returns the curvature of a track's path (1/u) at arc lengths, shape (n,)."""
    return interpolate(road.path.curvature, arcs / road.path.spacing, road.closed)


def racing_line(road: Track, car: Vehicle, limits: Limits, margin: float) -> RacingLine:
    """Lays the line of least curvature, and the speeds along it.

    The line is a bounded least-squares problem in its lateral offsets (after Heilmeier et al.
    2020, "Minimum curvature trajectory planning and control for an autonomous race car", Vehicle
    System Dynamics 58, section 3); speeds are a forward and a backward pass within the tyres'
    grip (the same, section 4).

    Args:
        road: The track.
        car: The car generation.
        limits: What the car may do.
        margin: Distance of the line from both edges (u); on a narrow road the line is its middle.
    """
    count = max(8, round(road.length / _SPACING)) + (0 if road.closed else 1)
    spacing = road.length / (count if road.closed else count - 1)
    arcs = spacing * np.arange(count, dtype=np.float64)
    points = road.path.beside(arcs, _least_curvature(road, arcs, margin))
    direction, curvature, length = _shape(points, road.closed)
    speed = grips.speeds(
        curvature, length, road.closed, grips.measure(road, car, limits.grip), limits
    )
    return RacingLine(points, direction, curvature, speed, spacing, road.closed)


def _least_curvature(road: Track, arcs: FloatArray, margin: float) -> FloatArray:
    """Returns the lateral offsets of least curvature at arc lengths, shape (M,).

    Rounds of Gauss and Newton: moved by `d` to the right, a line of curvature `k` has
    ``k + d'' + k^2 d`` nearly. Bounds by the alternating direction method of multipliers (Boyd et
    al. 2011, "Distributed Optimization and Statistical Learning via the Alternating Direction
    Method of Multipliers", section 5.2), which needs one factorisation a round.
    """
    count, middle = len(arcs), road.road_middle
    reach = max(0.05, 0.5 * road.road_width - margin)
    _, _, yaw = road.path.at(arcs)
    offset = np.zeros(count)
    for _ in range(_ROUNDS):
        direction, curvature, length = _shape(road.path.beside(arcs, middle + offset), road.closed)
        along = direction[:, 0] * np.sin(yaw) + direction[:, 1] * np.cos(yaw)
        weight = sparse.diags_array(np.sqrt(length))
        bend = _second_derivative(length, road.closed) + sparse.diags_array(0.5 * curvature**2)
        matrix = weight @ bend @ sparse.diags_array(np.maximum(along, _LEAST_COSINE))
        slope = matrix.T @ (weight @ curvature)
        solve = splinalg.splu(
            (matrix.T @ matrix + _STIFFNESS * sparse.eye_array(count)).tocsc()
        ).solve
        low = np.maximum(-reach - offset, -_LONGEST_STEP)
        high = np.minimum(reach - offset, _LONGEST_STEP)
        step, price = np.zeros(count), np.zeros(count)
        for _ in range(_ITERATIONS):
            free = solve(_STIFFNESS * (step - price) - slope)
            step = np.clip(free + price, low, high)
            price += free - step
        offset += step
    return np.asarray(middle + offset, np.float64)


def _second_derivative(length: FloatArray, closed: bool) -> sparse.csr_array:
    """Returns the matrix from values at the points of a line to their second derivative.

    Args:
        length: Of the piece that follows each point (u), shape (M,).
        closed: Whether the last piece leads back to the first point; else the ends have none.
    """
    count = len(length)
    ones = np.ones(count)
    ahead = sparse.diags_array([ones, ones[:1]], offsets=[1, 1 - count], shape=(count, count))
    slope = sparse.diags_array(1.0 / length) @ (ahead - sparse.eye_array(count))
    inner = 2.0 / (length + np.roll(length, 1))
    if not closed:
        inner[[0, -1]] = 0.0
    return (sparse.diags_array(inner) @ (slope - ahead.T @ slope)).tocsr()


def _shape(points: FloatArray, closed: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns direction, curvature (1/u) and the length of the next piece (u)."""
    after = np.roll(points, -1, axis=0) - points
    length, course = np.maximum(np.hypot(*after.T), _SHORTEST), np.arctan2(*after.T)
    if not closed:
        course[-1], length[-1] = course[-2], length[-2]
    turn = np.mod(course - np.roll(course, 1) + np.pi, 2.0 * np.pi) - np.pi
    if not closed:
        turn[[0, -1]] = 0.0
    curvature = 2.0 * turn / (length + np.roll(length, 1))
    yaw = course - 0.5 * turn
    return np.stack([np.sin(yaw), np.cos(yaw)], axis=1), curvature, length
