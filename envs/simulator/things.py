"""Drawing what stands on the ground: cones, boxes, barriers and other cars."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from donkey_rl.envs.simulator import cones, plants, polygons
from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.physics import YAW, X, Z
from donkey_rl.envs.simulator.solids import BOX, CIRCLE, SIGHT

_MOST = 256


@njit(cache=True, inline="always")
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
        toward = _seen_from(eye, eye[0] + solids.sun[0], eye[1] + solids.sun[1])
        round_size = (solids.half_width[k], solids.height[k])
        packed = image.view(np.uint32)
        sun = (toward[0], toward[1], solids.sun[2])
        cones.draw(packed, pose, place, round_size, colour, sun)
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


@njit(cache=True, inline="always")
def _distance(eye: Any, things: Any, k: int) -> float:
    """Squared distance from the camera to the nearest point of a thing's core."""
    x, z = things.x[k] - eye[0], things.z[k] - eye[1]
    dx, dz = things.end_x[k] - things.x[k], things.end_z[k] - things.z[k]
    length = dx * dx + dz * dz
    if length > 0.0:
        share = min(1.0, max(0.0, -(x * dx + z * dz) / length))
        x, z = x + share * dx, z + share * dz
    return float(x * x + z * z)


@njit(cache=True, inline="always")
def _in_view(eye: Any, things: Any, k: int, reach: float, view: Any) -> bool:
    """Whether some of a thing may be in the picture.

    Args:
        eye: Camera x, z, sine and cosine of its yaw.
        things: `Solids` or `Plants`.
        k: Which one.
        reach: How far it reaches around its core (u).
        view: Half the picture's width by the distance ahead, and that width at distance 0 (u).
    """
    right, ahead = _seen_from(eye, things.x[k], things.z[k])
    end_right, end_ahead = _seen_from(eye, things.end_x[k], things.end_z[k])
    if max(ahead, end_ahead) + reach <= 0.0:
        return False
    half = view[0] * (max(ahead, end_ahead) + reach) + view[1] + reach
    return bool(min(right, end_right) <= half and max(right, end_right) >= -half)


@njit(cache=True, inline="always")
def _from_outside(eye: Any, growth: Any, k: int) -> bool:
    """Whether the camera stands on a side from which a hedge is seen."""
    way_x, way_z = growth.end_x[k] - growth.x[k], growth.end_z[k] - growth.z[k]
    left = way_x * (eye[1] - growth.z[k]) - way_z * (eye[0] - growth.x[k])
    return bool(growth.side[k] * left >= 0.0)


@njit(cache=True, inline="always")
def _cell(near: Any, eye: Any) -> tuple[int, int]:
    """First and last entry of `near.items` for the cell that the camera is in."""
    column = math.floor((eye[0] - near.origin_x) / near.cell)
    row = math.floor((eye[1] - near.origin_z) / near.cell)
    if not (0 <= column < near.columns and 0 <= row < near.rows):
        return 0, 0
    cell = row * near.columns + column
    return near.start[cell], near.start[cell + 1]


@njit(cache=True)
def _find(found, depth, eye, view, scenery, cars):  # type: ignore[no-untyped-def]
    """Lists what may be in the picture.

    Args:
        found: Filled in: index of a solid; of a plant behind the solids; or -1 - index of a car.
        depth: Filled in: squared distances.
        eye: Camera x, z, sine and cosine of its yaw.
        view: As for `_in_view`.
        scenery: As for `draw`.
        cars: Own index, the group of each car, motion of all, colour of all.

    Returns:
        How many.
    """
    solids, growth, posts = scenery
    count, most = 0, found.shape[0]
    first, last = _cell(solids.far, eye)
    for place in range(first, last):
        k = solids.far.items[place]
        if solids.bend[k] >= 0 and (posts >> solids.bend[k]) & 1 != solids.right[k]:
            continue
        distance = _distance(eye, solids, k)
        reach = 1.25 * solids.half_width[k] + solids.half_length[k]
        if distance < SIGHT * SIGHT and count < most and _in_view(eye, solids, k, reach, view):
            found[count], depth[count] = k, distance
            count += 1
    first, last = _cell(growth.far, eye)
    for place in range(first, last):
        k = growth.far.items[place]
        distance = _distance(eye, growth, k)
        if distance > growth.sight[k] * growth.sight[k] or count == most:
            continue
        reach = 0.0 if growth.hedge[k] else 0.5 * growth.height[k]
        if _from_outside(eye, growth, k) and _in_view(eye, growth, k, reach, view):
            found[count], depth[count] = solids.x.shape[0] + k, distance
            count += 1
    own, group, motion, _ = cars
    for j in range(motion.shape[0]):
        if j != own and group[j] == group[own] and group[j] >= 0 and count < most:
            right, ahead = _seen_from(eye, motion[j, X], motion[j, Z])
            distance = right * right + ahead * ahead
            if ahead > -1.0 and distance < SIGHT * SIGHT:
                found[count], depth[count] = -j - 1, distance
                count += 1
    return count


@njit(cache=True)
def _sort(found: Any, depth: Any, count: int) -> None:
    """Sorts by falling distance; the few things in sight need no better way."""
    for place in range(1, count):
        k, distance, before = found[place], depth[place], place - 1
        while before >= 0 and depth[before] < distance:
            found[before + 1], depth[before + 1] = found[before], depth[before]
            before -= 1
        found[before + 1], depth[before + 1] = k, distance


@njit(cache=True)
def _plant(image, pose, eye, growth, k, colours):  # type: ignore[no-untyped-def]
    palette, tones = colours
    a = _seen_from(eye, growth.x[k], growth.z[k])
    if growth.hedge[k]:
        b = _seen_from(eye, growth.end_x[k], growth.end_z[k])
        piece = (k, math.hypot(a[0] - b[0], a[1] - b[1]), growth.height[k])
        plants.draw_hedge(image, pose, (a[0], a[1], b[0], b[1]), piece, tones)
    else:
        number = growth.picture[k]
        picture, extent = growth.pictures[number], growth.extent[number]
        plants.draw_palm(image, pose, a, growth.height[k], picture, extent, palette)


@njit(cache=True)
def draw(image, pose, eye, scenery, cars, light, palette):  # type: ignore[no-untyped-def]
    """Draws all things in sight, the farthest first.

    Args:
        image: Packed pixels as bytes, shape (h, w, 4) uint8.
        pose: The camera's row of `camera.Views.pose`.
        eye: Camera x, z, sine and cosine of its yaw.
        scenery: What stands on the track, what grows beside it, and which posts are seen.
        cars: Own index, the group of each car, motion of all, colour of all.
        light: Factor on each colour channel, shape (3,).
        palette: Packed colours of the surroundings, shape (256,).
    """
    solids, growth, _ = scenery
    _, _, motion, colours = cars
    half = 0.5 * image.shape[1] / pose[5]
    view = (half * pose[4], half * abs(pose[1] * pose[3]))
    found, depth = np.empty(_MOST, np.int64), np.empty(_MOST)
    count = _find(found, depth, eye, view, scenery, cars)
    _sort(found, depth, count)
    standing, packed = solids.x.shape[0], image.view(np.uint32)
    tones = palette[growth.leaves]
    for place in range(count):
        k = found[place]
        if k < 0:
            _car(image, pose, eye, motion[-k - 1], colours[-k - 1] * light)
        elif k < standing:
            _solid(image, pose, eye, solids, k, light)
        else:
            _plant(packed, pose, eye, growth, k - standing, (palette, tones))
