"""Contacts: a car with what stands beside the road, and cars with each other.

The outline of a car is three circles along its length, which cover its body box to within its
rounded corners. A contact moves the car out of the other body and changes momentum by an
impulse along the normal, with friction along the surface. Nothing bounces.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.physics import FORWARD, RIGHTWARD, YAW, YAW_RATE, X, Z
from donkey_rl.envs.simulator.solids import BOX, CIRCLE, Solids

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Vector = tuple[float, float]

_CIRCLES = (-0.375, 0.0, 0.375)
_CIRCLE_RADIUS = 0.5
_WALL_RADIUS = 0.1
_SCRAPE = 0.3
_LONGEST_MOVE = 0.4
"""A faster car is looked at more than once a step (u), so that it cannot jump over a wall."""

SLACK = 0.05
"""A contact ends when the gap is wider than this (u): a car that shakes at a wall hits it once."""


@njit(cache=True)
def _speed_at(motion: Any, arm_x: float, arm_z: float) -> Vector:
    """World velocity (x, z) of the body's point at an arm from its centre."""
    sin_yaw, cos_yaw = math.sin(motion[YAW]), math.cos(motion[YAW])
    # Yaw turns clockwise: a point at (dx, dz) moves by rate * (dz, -dx).
    speed_x = motion[FORWARD] * sin_yaw + motion[RIGHTWARD] * cos_yaw + motion[YAW_RATE] * arm_z
    speed_z = motion[FORWARD] * cos_yaw - motion[RIGHTWARD] * sin_yaw - motion[YAW_RATE] * arm_x
    return speed_x, speed_z


@njit(cache=True)
def _kick(motion: Any, car: Any, impulse: Vector, arm: Vector) -> None:
    """Applies an impulse (x, z) at an arm (x, z) from the car's centre."""
    sin_yaw, cos_yaw = math.sin(motion[YAW]), math.cos(motion[YAW])
    motion[FORWARD] += (impulse[0] * sin_yaw + impulse[1] * cos_yaw) / car[v.MASS]
    motion[RIGHTWARD] += (impulse[0] * cos_yaw - impulse[1] * sin_yaw) / car[v.MASS]
    motion[YAW_RATE] += (impulse[0] * arm[1] - impulse[1] * arm[0]) / car[v.YAW_INERTIA]


@njit(cache=True)
def _mobility(car: FloatArray, lever: float) -> float:
    """Speed that a unit impulse gives to a point of the body, along the impulse."""
    return float(1.0 / car[v.MASS] + lever * lever / car[v.YAW_INERTIA])


@njit(cache=True)
def _impulse(approach: float, along: float, mobility: float, normal: Vector) -> Vector:
    """Impulse (x, z) that ends an approach (< 0), with friction against the sliding."""
    push = -approach / mobility
    scrape = min(abs(along) / mobility, _SCRAPE * push)
    scrape = -scrape if along > 0.0 else scrape
    return push * normal[0] - scrape * normal[1], push * normal[1] + scrape * normal[0]


@njit(cache=True)
def _nearest_point(x: float, z: float, solids: Solids, k: int) -> tuple[float, float, float]:
    """The point of solid `k`'s core nearest to (x, z), and the radius around that core."""
    if solids.shape[k] == CIRCLE:
        return solids.x[k], solids.z[k], solids.half_width[k]
    if solids.shape[k] == BOX:
        dx, dz = x - solids.x[k], z - solids.z[k]
        cos_yaw, sin_yaw = solids.cos_yaw[k], solids.sin_yaw[k]
        right = dx * cos_yaw - dz * sin_yaw
        ahead = dx * sin_yaw + dz * cos_yaw
        right = min(solids.half_width[k], max(-solids.half_width[k], right))
        ahead = min(solids.half_length[k], max(-solids.half_length[k], ahead))
        near_x = solids.x[k] + right * cos_yaw + ahead * sin_yaw
        near_z = solids.z[k] - right * sin_yaw + ahead * cos_yaw
        return near_x, near_z, 0.0
    span_x, span_z = solids.end_x[k] - solids.x[k], solids.end_z[k] - solids.z[k]
    share = (x - solids.x[k]) * span_x + (z - solids.z[k]) * span_z
    share = min(1.0, max(0.0, share / (span_x * span_x + span_z * span_z)))
    return solids.x[k] + share * span_x, solids.z[k] + share * span_z, _WALL_RADIUS


@njit(cache=True)
def _push_out(motion: Any, car: Any, solids: Solids, k: int, offset: float) -> float:
    """Moves one circle of the body out of solid `k`; returns how deep (u) it was in it."""
    x = motion[X] + offset * math.sin(motion[YAW])
    z = motion[Z] + offset * math.cos(motion[YAW])
    near_x, near_z, radius = _nearest_point(x, z, solids, k)
    dx, dz = x - near_x, z - near_z
    distance = math.sqrt(dx * dx + dz * dz)
    depth = radius + _CIRCLE_RADIUS - distance
    if depth <= 0.0 or distance < 1e-9:
        return float(min(depth, 0.0))
    normal = (dx / distance, dz / distance)
    motion[X] += normal[0] * depth
    motion[Z] += normal[1] * depth
    arm = (near_x - motion[X], near_z - motion[Z])
    speed_x, speed_z = _speed_at(motion, arm[0], arm[1])
    approach = speed_x * normal[0] + speed_z * normal[1]
    if approach < 0.0:
        along = speed_z * normal[0] - speed_x * normal[1]
        lever = arm[1] * normal[0] - arm[0] * normal[1]
        _kick(motion, car, _impulse(approach, along, _mobility(car, lever), normal), arm)
    return float(depth)


@njit(cache=True)
def _push_from_all(motion: Any, car: Any, solids: Solids, touching: int) -> tuple[bool, int]:
    """Pushes a car out of all solids; returns whether any did, and the thing touched."""
    near = solids.near
    column = math.floor((motion[X] - near.origin_x) / near.cell)
    row = math.floor((motion[Z] - near.origin_z) / near.cell)
    if column < 0 or row < 0 or column >= near.columns or row >= near.rows:
        return False, -1
    pushed, stays, touched = False, False, -1
    cell = row * near.columns + column
    for place in range(near.start[cell], near.start[cell + 1]):
        k = near.items[place]
        if not solids.solid[k]:
            continue
        for offset in _CIRCLES:
            depth = _push_out(motion, car, solids, k, offset)
            if depth > 0.0:
                pushed, touched = True, solids.thing[k]
            stays |= solids.thing[k] == touching and depth > -SLACK
    return pushed, touching if stays else touched


@njit(cache=True)
def with_solids(motion: Any, car: Any, solids: Solids, start: Vector, touching: int) -> int:
    """Pushes a car out of the solids that it touches, or that it ran into on its way.

    Args:
        motion: Shape (6,), changed in place.
        car: The row of `vehicle.parameter_row`.
        solids: What stands on the track.
        start: Where the car was before its step: x, z (u).
        touching: The thing that it touched then, -1 for none.

    Returns:
        The thing that it touches now, by `Solids.thing`; -1 for none. An old contact goes before
        a new one, until it ends.
    """
    if solids.near.columns == 0:
        return -1
    end_x, end_z = motion[X], motion[Z]
    way_x, way_z = end_x - start[0], end_z - start[1]
    parts = 1 + int(math.sqrt(way_x * way_x + way_z * way_z) / _LONGEST_MOVE)
    for part in range(1, parts):
        motion[X] = start[0] + way_x * part / parts
        motion[Z] = start[1] + way_z * part / parts
        pushed, touched = _push_from_all(motion, car, solids, touching)
        if pushed:
            return touched
    motion[X], motion[Z] = end_x, end_z
    return _push_from_all(motion, car, solids, touching)[1]


def circles_touched(motion: FloatArray, places: FloatArray, radius: float) -> IntArray:
    """Returns which circles on the ground a car's body touches; it is not pushed.

    Args:
        motion: Shape (6,).
        places: x and z of the circles' centres (u), shape (k, 2).
        radius: Of each of them (u).

    Returns:
        Indices of those circles, in rising order.
    """
    along = np.array(_CIRCLES)[:, None] * (math.sin(motion[YAW]), math.cos(motion[YAW]))
    gaps = motion[[X, Z]] + along - places[:, None, :]
    near = (gaps**2).sum(axis=2) < (radius + _CIRCLE_RADIUS) ** 2
    return np.flatnonzero(near.any(axis=1))


@njit(cache=True)
def between_cars(motion: Any, car: Any, other: Any, other_car: Any) -> float:
    """Pushes two cars apart and exchanges their momentum.

    Returns:
        How deep they were in each other (u), negative for a gap between them.
    """
    deepest = -1.0
    share = other_car[v.MASS] / (car[v.MASS] + other_car[v.MASS])
    for offset in _CIRCLES:
        for other_offset in _CIRCLES:
            x = motion[X] + offset * math.sin(motion[YAW])
            z = motion[Z] + offset * math.cos(motion[YAW])
            dx = x - other[X] - other_offset * math.sin(other[YAW])
            dz = z - other[Z] - other_offset * math.cos(other[YAW])
            distance = math.sqrt(dx * dx + dz * dz)
            depth = 2.0 * _CIRCLE_RADIUS - distance
            deepest = max(deepest, depth)
            if depth <= 0.0 or distance < 1e-9:
                continue
            normal = (dx / distance, dz / distance)
            point_x, point_z = x - 0.5 * dx, z - 0.5 * dz
            motion[X] += normal[0] * depth * share
            motion[Z] += normal[1] * depth * share
            other[X] -= normal[0] * depth * (1.0 - share)
            other[Z] -= normal[1] * depth * (1.0 - share)
            arm = (point_x - motion[X], point_z - motion[Z])
            other_arm = (point_x - other[X], point_z - other[Z])
            speed_x, speed_z = _speed_at(motion, arm[0], arm[1])
            other_x, other_z = _speed_at(other, other_arm[0], other_arm[1])
            speed_x -= other_x
            speed_z -= other_z
            approach = speed_x * normal[0] + speed_z * normal[1]
            if approach >= 0.0:
                continue
            along = speed_z * normal[0] - speed_x * normal[1]
            mobility = _mobility(car, arm[1] * normal[0] - arm[0] * normal[1])
            mobility += _mobility(other_car, other_arm[1] * normal[0] - other_arm[0] * normal[1])
            kick = _impulse(approach, along, mobility, normal)
            _kick(motion, car, kick, arm)
            _kick(other, other_car, (-kick[0], -kick[1]), other_arm)
    return deepest
