"""Drawing what stands on the ground: cones, boxes, barriers and other cars."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from donkey_rl.envs.simulator import polygons
from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.physics import YAW, X, Z
from donkey_rl.envs.simulator.solids import BOX, CIRCLE, SIGHT, Solids

_MOST = 192


@njit(cache=True)
def _seen_from(eye: Any, x: float, z: float) -> tuple[float, float]:
    """A ground point as seen from the camera: to the right, ahead (u)."""
    dx, dz = x - eye[0], z - eye[1]
    return dx * eye[3] - dz * eye[2], dx * eye[2] + dz * eye[3]


@njit(cache=True)
def _quad(image, pose, bottom, top, heights, colour, shade):  # type: ignore[no-untyped-def]
    """Draws a quad between a lower and an upper edge.

    Args:
        image: Shape (h, w, 3).
        pose: The camera's row.
        bottom: Right and ahead of both ends of the lower edge.
        top: The same of the upper edge.
        heights: Height of both edges above the ground.
        colour: Shape (3,).
        shade: Factor on the colour.
    """
    corners = np.empty((4, 3))
    polygons.camera_point(pose, bottom[0], heights[0] - pose[1], bottom[1], corners[0])
    polygons.camera_point(pose, bottom[2], heights[0] - pose[1], bottom[3], corners[1])
    polygons.camera_point(pose, top[2], heights[1] - pose[1], top[3], corners[2])
    polygons.camera_point(pose, top[0], heights[1] - pose[1], top[1], corners[3])
    polygons.fill(image, pose, corners, np.minimum(colour * shade, 255.0))


@njit(cache=True)
def _cone(image, pose, place, size, colour):  # type: ignore[no-untyped-def]
    """Draws a cone with a foot, lit from the left."""
    right, ahead = place
    radius, height = size
    tip = 0.12 * radius
    shadow, lit = 0.72, 1.0
    _quad(
        image, pose,
        (right - 1.25 * radius, ahead, right + 1.25 * radius, ahead),
        (right - 1.25 * radius, ahead, right + 1.25 * radius, ahead),
        (0.0, 0.06 * height), colour, 0.6,
    )  # fmt: skip
    for side, shade in ((-1.0, lit), (1.0, shadow)):
        _quad(
            image, pose,
            (right, ahead, right + side * radius, ahead),
            (right, ahead, right + side * tip, ahead),
            (0.06 * height, height), colour, shade,
        )  # fmt: skip


@njit(cache=True)
def _box(image, pose, eye, place, size, colour):  # type: ignore[no-untyped-def]
    """Draws a box: the sides that face the camera, then its top.

    Args:
        image: Shape (h, w, 3).
        pose: The camera's row.
        eye: Camera place and direction.
        place: Centre x, z, cosine and sine of the yaw.
        size: Half width, half length, bottom and top height.
        colour: Shape (3,).
    """
    x, z, cos_yaw, sin_yaw = place
    half_width, half_length, low, high = size
    rights, aheads = np.empty(4), np.empty(4)
    for k in range(4):
        across = half_width if k in (1, 2) else -half_width
        along = half_length if k in (2, 3) else -half_length
        corner_x = x + across * cos_yaw + along * sin_yaw
        corner_z = z - across * sin_yaw + along * cos_yaw
        rights[k], aheads[k] = _seen_from(eye, corner_x, corner_z)
    for k in range(4):
        n = (k + 1) % 4
        # The camera is at the origin: a side faces it if the origin lies on its outer side.
        if rights[k] * aheads[n] - rights[n] * aheads[k] < 0.0:
            continue
        edge = (rights[k], aheads[k], rights[n], aheads[n])
        _quad(image, pose, edge, edge, (low, high), colour, 0.8 if k % 2 == 0 else 0.65)
    if pose[1] > high:
        _quad(
            image, pose,
            (rights[0], aheads[0], rights[1], aheads[1]),
            (rights[3], aheads[3], rights[2], aheads[2]),
            (high, high), colour, 1.0,
        )  # fmt: skip


@njit(cache=True)
def _solid(image, pose, eye, solids, k, light):  # type: ignore[no-untyped-def]
    colour = solids.colour[k] * light
    if solids.shape[k] == CIRCLE:
        place = _seen_from(eye, solids.x[k], solids.z[k])
        _cone(image, pose, place, (solids.half_width[k], solids.height[k]), colour)
    elif solids.shape[k] == BOX:
        place_box = (solids.x[k], solids.z[k], solids.cos_yaw[k], solids.sin_yaw[k])
        size = (solids.half_width[k], solids.half_length[k], 0.0, solids.height[k])
        _box(image, pose, eye, place_box, size, colour)
    else:
        a, b = (
            _seen_from(eye, solids.x[k], solids.z[k]),
            _seen_from(eye, solids.end_x[k], solids.end_z[k]),
        )
        edge = (a[0], a[1], b[0], b[1])
        _quad(image, pose, edge, edge, (0.0, 0.8 * solids.height[k]), colour, 0.85)
        _quad(image, pose, edge, edge, (0.8 * solids.height[k], solids.height[k]), colour, 1.0)


@njit(cache=True)
def _car(image, pose, eye, motion, colour):  # type: ignore[no-untyped-def]
    """Draws another car: wheels and floor, body, cabin."""
    place = (motion[X], motion[Z], math.cos(motion[YAW]), math.sin(motion[YAW]))
    half_width, half_length = 0.5 * v.BODY_WIDTH, 0.5 * v.BODY_LENGTH
    dark = np.full(3, 35.0)
    _box(image, pose, eye, place, (1.3 * half_width, half_length, 0.0, 0.28), dark)
    _box(image, pose, eye, place, (half_width, half_length, 0.28, 0.6), colour)
    cabin = (0.7 * half_width, 0.5 * half_length, 0.6, v.BODY_HEIGHT)
    _box(image, pose, eye, place, cabin, 0.6 * colour)


@njit(cache=True)
def _distance(eye: Any, solids: Solids, k: int) -> float:
    """Squared distance from the camera to the nearest point of a solid's core."""
    dx, dz = solids.end_x[k] - solids.x[k], solids.end_z[k] - solids.z[k]
    length = dx * dx + dz * dz
    share = 0.0
    if length > 0.0:
        share = ((eye[0] - solids.x[k]) * dx + (eye[1] - solids.z[k]) * dz) / length
        share = min(1.0, max(0.0, share))
    x, z = solids.x[k] + share * dx - eye[0], solids.z[k] + share * dz - eye[1]
    return float(x * x + z * z)


@njit(cache=True)
def _in_view(eye: Any, solids: Solids, k: int) -> bool:
    """Whether some of a solid lies before the camera."""
    reach = solids.half_width[k] + solids.half_length[k]
    _, ahead = _seen_from(eye, solids.x[k], solids.z[k])
    _, end_ahead = _seen_from(eye, solids.end_x[k], solids.end_z[k])
    return bool(max(ahead, end_ahead) + reach > 0.0)


@njit(cache=True)
def draw(image, pose, eye, solids, cars, light):  # type: ignore[no-untyped-def]
    """Draws all things in sight, the farthest first.

    Args:
        image: Shape (h, w, 3) uint8.
        pose: The camera's row of `camera.Views.pose`.
        eye: Camera x, z, sine and cosine of its yaw.
        solids: What stands on the track.
        cars: Own index, the group of each car, motion of all, colour of all.
        light: Factor on each colour channel, shape (3,).
    """
    own, group, motion, colours = cars
    found, depth, count = np.empty(_MOST, np.int64), np.empty(_MOST), 0
    near = solids.far
    column = math.floor((eye[0] - near.origin_x) / near.cell)
    row = math.floor((eye[1] - near.origin_z) / near.cell)
    if 0 <= column < near.columns and 0 <= row < near.rows:
        cell = row * near.columns + column
        for place in range(near.start[cell], near.start[cell + 1]):
            k = near.items[place]
            distance = _distance(eye, solids, k)
            if distance < SIGHT * SIGHT and count < _MOST and _in_view(eye, solids, k):
                found[count], depth[count] = k, distance
                count += 1
    for j in range(motion.shape[0]):
        if j != own and group[j] == group[own] and count < _MOST:
            right, ahead = _seen_from(eye, motion[j, X], motion[j, Z])
            distance = right * right + ahead * ahead
            if ahead > -1.0 and distance < SIGHT * SIGHT:
                found[count], depth[count] = -j - 1, distance
                count += 1
    for place in np.argsort(-depth[:count]):
        k = found[place]
        if k >= 0:
            _solid(image, pose, eye, solids, k, light)
        else:
            _car(image, pose, eye, motion[-k - 1], colours[-k - 1] * light)
