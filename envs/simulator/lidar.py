"""The car's lidar: rays in all directions, level by level, and how far each one comes.

The first level looks down by `degAngDown`, each next one by `degAngDelta` more; in a level the
rays turn clockwise, seen from above. Rays meet the flat ground, cones (round, pointed), boxes,
barriers (without thickness) and the bodies of other cars (boxes from the ground up), solid or not.
The sensor does not lean with the body, and its own car is not seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.physics import YAW, X, Z
from donkey_rl.envs.simulator.sensors import LidarConfig
from donkey_rl.envs.simulator.solids import BOX, CIRCLE
from donkey_rl.envs.simulator.world import World

FloatArray = npt.NDArray[np.float64]

_LEVEL = 1e-9
"""Slopes and squares below this count as none."""


@njit(cache=True)
def _cone(x: float, z: float, eye: Any, ray: Any, radius: float, height: float) -> float:
    """How far a ray comes to a cone that stands at (x, z); infinite if it misses it.

    On the cone ``r = R - s y`` with ``s = R / H`` at the height `y` above the ground.
    """
    slope = radius / height
    dx, dz, r = eye[0] - x, eye[2] - z, radius - slope * eye[1]
    thinner = slope * ray[1]
    a = ray[0] * ray[0] + ray[2] * ray[2] - thinner * thinner
    half = dx * ray[0] + dz * ray[2] + r * thinner
    c = dx * dx + dz * dz - r * r
    root = half * half - a * c
    if root < 0.0:
        return math.inf
    best = math.inf
    if abs(a) < _LEVEL:
        if abs(half) > _LEVEL:
            best = _on_cone(-0.5 * c / half, eye, ray, height)
        return best
    for sign in (-1.0, 1.0):
        best = min(best, _on_cone((-half + sign * math.sqrt(root)) / a, eye, ray, height))
    return best


@njit(cache=True)
def _on_cone(t: float, eye: Any, ray: Any, height: float) -> float:
    """The distance `t`, if it lies ahead and between the ground and the tip, else infinite."""
    y = eye[1] + t * ray[1]
    return t if t > 0.0 and 0.0 <= y <= height else math.inf


@njit(cache=True)
def _box(place: Any, size: Any, eye: Any, ray: Any) -> float:
    """How far a ray comes to a box on the ground; infinite if it misses it.

    Args:
        place: Centre x, z, cosine and sine of the yaw.
        size: Half width, half length, height.
        eye: The sensor's x, height above the ground, z.
        ray: Its direction, of length 1: x, up, z.
    """
    dx, dz = eye[0] - place[0], eye[2] - place[1]
    start = (dx * place[2] - dz * place[3], eye[1] - 0.5 * size[2], dx * place[3] + dz * place[2])
    way = (
        ray[0] * place[2] - ray[2] * place[3], ray[1],
        ray[0] * place[3] + ray[2] * place[2],
    )  # fmt: skip
    half = (size[0], 0.5 * size[2], size[1])
    first, last = -math.inf, math.inf
    for k in range(3):
        if abs(way[k]) < _LEVEL:
            if abs(start[k]) > half[k]:
                return math.inf
            continue
        one, other = (-half[k] - start[k]) / way[k], (half[k] - start[k]) / way[k]
        first, last = max(first, min(one, other)), min(last, max(one, other))
    # A ray that starts inside does not meet a side from behind, as in Unity.
    return first if 0.0 < first <= last else math.inf


@njit(cache=True)
def _wall(ends: Any, height: float, eye: Any, ray: Any) -> float:
    """How far a ray comes to an upright wall between two places (x, z, x, z); else infinite."""
    way_x, way_z = ends[2] - ends[0], ends[3] - ends[1]
    across = ray[0] * way_z - ray[2] * way_x
    if abs(across) < _LEVEL:
        return math.inf
    dx, dz = ends[0] - eye[0], ends[1] - eye[2]
    t = (dx * way_z - dz * way_x) / across
    share = (dx * ray[2] - dz * ray[0]) / across
    y = eye[1] + t * ray[1]
    return t if t > 0.0 and 0.0 <= share <= 1.0 and 0.0 <= y <= height else math.inf


@njit(cache=True)
def _to_thing(things: Any, k: int, eye: Any, ray: Any) -> float:
    """How far a ray comes to thing `k`; infinite if it misses it."""
    x, z = things.x[k], things.z[k]
    if things.shape[k] != CIRCLE and things.shape[k] != BOX:
        ends = (x, z, things.end_x[k], things.end_z[k])
        return float(_wall(ends, things.height[k], eye, ray))
    reach = math.hypot(things.half_width[k], things.half_length[k])
    aside = (x - eye[0]) * ray[2] - (z - eye[2]) * ray[0]
    if abs(aside) > reach:
        return math.inf
    if things.shape[k] == CIRCLE:
        return float(_cone(x, z, eye, ray, things.half_width[k], things.height[k]))
    place = (x, z, things.cos_yaw[k], things.sin_yaw[k])
    size = (things.half_width[k], things.half_length[k], things.height[k])
    return float(_box(place, size, eye, ray))


@njit(cache=True)
def _within(things: Any, eye: Any, most: float) -> Any:
    """Lists the things of which some part may be within `most` of the sensor."""
    found, count = np.empty(things.x.shape[0], dtype=np.int64), 0
    for k in range(things.x.shape[0]):
        x, z = things.x[k] - eye[0], things.z[k] - eye[2]
        dx, dz = things.end_x[k] - things.x[k], things.end_z[k] - things.z[k]
        length = dx * dx + dz * dz
        if length > 0.0:
            share = min(1.0, max(0.0, -(x * dx + z * dz) / length))
            x, z = x + share * dx, z + share * dz
        reach = most + things.half_width[k] + things.half_length[k]
        if x * x + z * z < reach * reach:
            found[count] = k
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _sweep(out, eye, axes, angles, things, cars):  # type: ignore[no-untyped-def]
    """Casts all rays.

    Args:
        out: Shape (levels * rays, 3), filled in from its start: distance, rx, ry.
        eye: The sensor's x, height above the ground, z.
        axes: Sine and cosine of the car's yaw and of the sensor's pitch.
        angles: Between rays, of the first level, between levels (degrees); rays of a level;
            levels; range (u).
        things: What stands on the track.
        cars: Places of the other cars, shape (k, 4): x, z, cosine and sine of the yaw.

    Returns:
        How many rays met something.
    """
    sin_yaw, cos_yaw, sin_tilt, cos_tilt = axes
    between, down, further, rays, levels, most = angles
    near = _within(things, eye, most)
    body = (0.5 * v.BODY_WIDTH, 0.5 * v.BODY_LENGTH, v.BODY_HEIGHT)
    count = 0
    for level in range(levels):
        pitch = math.radians(down + level * further)
        for k in range(rays):
            turn = math.radians(k * between)
            right, up = math.cos(pitch) * math.sin(turn), -math.sin(pitch)
            ahead = math.cos(pitch) * math.cos(turn)
            up, ahead = up * cos_tilt - ahead * sin_tilt, ahead * cos_tilt + up * sin_tilt
            ray = (right * cos_yaw + ahead * sin_yaw, up, ahead * cos_yaw - right * sin_yaw)
            best = -eye[1] / up if up < -_LEVEL else math.inf
            for thing in near:
                best = min(best, _to_thing(things, thing, eye, ray))
            for car in cars:
                aside = (car[0] - eye[0]) * ray[2] - (car[1] - eye[2]) * ray[0]
                if abs(aside) < v.BODY_LENGTH:
                    best = min(best, _box(car, body, eye, ray))
            if best <= most:
                # Adding 0.0 keeps the first level from being reported as -0.
                out[count] = (best, k * between, level * further + 0.0)
                count += 1
    return count


def scan(world: World, i: int, config: LidarConfig) -> FloatArray:
    """Returns what the lidar of car `i` sees now.

    Args:
        world: The world; its `solids` and the present cars of the car's group are seen.
        i: The car.
        config: The lidar.

    Returns:
        One row for each ray that met something within the range, level by level: the distance (u,
        rounded to two decimals), the turn within the level `rx` and the level's angle from the
        first `ry` (degrees). Shape (k, 3).
    """
    motion, group = world.cars.motion, world.cars.group
    sin_yaw, cos_yaw = math.sin(motion[i, YAW]), math.cos(motion[i, YAW])
    tilt = math.radians(config.rot_x)
    eye = (
        float(motion[i, X] + config.offset_x * cos_yaw + config.offset_z * sin_yaw),
        v.RIDE_HEIGHT + config.offset_y,
        float(motion[i, Z] - config.offset_x * sin_yaw + config.offset_z * cos_yaw),
    )
    there = (group == group[i]) & (group >= 0) & (np.arange(len(group)) != i)
    gaps = np.hypot(motion[:, X] - eye[0], motion[:, Z] - eye[2])
    others = motion[there & (gaps < config.maxRange + v.BODY_LENGTH)]
    seen = np.column_stack([others[:, [X, Z]], np.cos(others[:, YAW]), np.sin(others[:, YAW])])
    # Of one layout whether there are cars or not: each has a kernel of its own to be compiled.
    cars = np.ascontiguousarray(seen)
    out = np.empty((config.beams, 3))
    angles = (
        *(config.degPerSweepInc, config.degAngDown, config.degAngDelta),
        *(config.rays, config.numSweepsLevels, config.maxRange),
    )
    axes = (sin_yaw, cos_yaw, math.sin(tilt), math.cos(tilt))
    count = _sweep(out, eye, axes, angles, world.solids, cars)
    found = out[:count]
    found[:, 0] = np.round(found[:, 0], 2)
    return found
