"""Contacts: a car with what stands beside the road, and cars with each other.

The outline of a car is three circles along its length, which cover its body box to within its
rounded corners. A contact moves the car out of the other body and changes momentum by an
impulse along the normal, with friction along the surface.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.physics import FORWARD, RIGHTWARD, YAW, YAW_RATE, X, Z
from donkey_rl.envs.simulator.solids import BOX, CIRCLE, Solids

_CIRCLES = (-0.375, 0.0, 0.375)
_CIRCLE_RADIUS = 0.5
_WALL_RADIUS = 0.1
_RESTITUTION = 0.1
_SCRAPE = 0.3


@njit(cache=True)
def _speed_at(motion: Any, arm_x: float, arm_z: float) -> tuple:
    """World velocity (x, z) of the body's point at an arm from its centre."""
    sin_yaw, cos_yaw = math.sin(motion[YAW]), math.cos(motion[YAW])
    # Yaw turns clockwise: a point at (dx, dz) moves by rate * (dz, -dx).
    speed_x = motion[FORWARD] * sin_yaw + motion[RIGHTWARD] * cos_yaw + motion[YAW_RATE] * arm_z
    speed_z = motion[FORWARD] * cos_yaw - motion[RIGHTWARD] * sin_yaw - motion[YAW_RATE] * arm_x
    return speed_x, speed_z


@njit(cache=True)
def _kick(motion: Any, car: Any, impulse: tuple, arm: tuple) -> None:
    """Applies an impulse (x, z) at an arm (x, z) from the car's centre."""
    sin_yaw, cos_yaw = math.sin(motion[YAW]), math.cos(motion[YAW])
    motion[FORWARD] += (impulse[0] * sin_yaw + impulse[1] * cos_yaw) / car[v.MASS]
    motion[RIGHTWARD] += (impulse[0] * cos_yaw - impulse[1] * sin_yaw) / car[v.MASS]
    motion[YAW_RATE] += (impulse[0] * arm[1] - impulse[1] * arm[0]) / car[v.YAW_INERTIA]


@njit(cache=True)
def _mobility(car: Any, lever: float) -> float:
    """Speed that a unit impulse gives to a point of the body, along the impulse."""
    return 1.0 / car[v.MASS] + lever * lever / car[v.YAW_INERTIA]


@njit(cache=True)
def _impulse(approach: float, along: float, mobility: float, normal: tuple) -> tuple:
    """Impulse (x, z) that ends an approach (< 0), with friction against the sliding."""
    bounce = -(1.0 + _RESTITUTION) * approach / mobility
    scrape = min(abs(along) / mobility, _SCRAPE * bounce)
    scrape = -scrape if along > 0.0 else scrape
    return bounce * normal[0] - scrape * normal[1], bounce * normal[1] + scrape * normal[0]


@njit(cache=True)
def _nearest_point(x: float, z: float, solids: Solids, k: int) -> tuple:
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
def _push_out(motion: Any, car: Any, solids: Solids, k: int, offset: float) -> bool:
    """Moves one circle of the body out of solid `k`; returns whether it touched."""
    x = motion[X] + offset * math.sin(motion[YAW])
    z = motion[Z] + offset * math.cos(motion[YAW])
    near_x, near_z, radius = _nearest_point(x, z, solids, k)
    dx, dz = x - near_x, z - near_z
    distance = math.sqrt(dx * dx + dz * dz)
    depth = radius + _CIRCLE_RADIUS - distance
    if depth <= 0.0 or distance < 1e-9:
        return False
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
    return True


@njit(cache=True)
def with_solids(motion: Any, car: Any, solids: Solids) -> int:
    """Pushes a car out of the solids that it touches.

    Returns:
        The index of a touched solid, -1 for none.
    """
    touched = -1
    near = solids.near
    column = math.floor((motion[X] - near.origin_x) / near.cell)
    row = math.floor((motion[Z] - near.origin_z) / near.cell)
    if column < 0 or row < 0 or column >= near.columns or row >= near.rows:
        return touched
    cell = row * near.columns + column
    for place in range(near.start[cell], near.start[cell + 1]):
        k = near.items[place]
        if solids.solid[k]:
            for offset in _CIRCLES:
                if _push_out(motion, car, solids, k, offset):
                    touched = k
    return touched


@njit(cache=True)
def between_cars(motion: Any, car: Any, other: Any, other_car: Any) -> bool:
    """Pushes two cars apart and exchanges their momentum.

    Returns:
        Whether they touched.
    """
    touched = False
    share = other_car[v.MASS] / (car[v.MASS] + other_car[v.MASS])
    for offset in _CIRCLES:
        for other_offset in _CIRCLES:
            x = motion[X] + offset * math.sin(motion[YAW])
            z = motion[Z] + offset * math.cos(motion[YAW])
            dx = x - other[X] - other_offset * math.sin(other[YAW])
            dz = z - other[Z] - other_offset * math.cos(other[YAW])
            distance = math.sqrt(dx * dx + dz * dz)
            depth = 2.0 * _CIRCLE_RADIUS - distance
            if depth <= 0.0 or distance < 1e-9:
                continue
            touched = True
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
    return touched
