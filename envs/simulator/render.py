"""Drawing what every car's camera sees, many cars in one call.

Ground: an image row lies at one distance, so its pixels step along a straight line over the
baked ground; the texel size follows the width of a pixel, and rows near the horizon, which
reach far along the road, average several such lines. Above the horizon: the panorama.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import (
    camera,
    effects,
    ground,
    jpeg,
    leaning,
    patches,
    pixels,
    plants,
    sheen,
    things,
)
from donkey_rl.envs.simulator.solids import Solids

_FRACTION = 12
"""Bits behind the point of texel coordinates."""

_MOST_SAMPLES = 4


class Scene(NamedTuple):
    """What is the same for all cars."""

    ground: ground.Ground
    panorama: npt.NDArray[np.uint8]
    solids: Solids
    sheen: sheen.Sheen
    plants: plants.Plants


@njit(cache=True)
def _sky_row(row, sky, panorama, palette, turn):  # type: ignore[no-untyped-def]
    """Draws one row of surroundings.

    Args:
        row: Shape (w,) packed pixels.
        sky: The row of `camera.Views.sky`.
        panorama: The surroundings, flat.
        palette: Shape (256,).
        turn: Columns by which the panorama is turned.
    """
    mask = np.uint32(camera.PANORAMA_WIDTH - 1)
    shift = np.uint32(turn & (camera.PANORAMA_WIDTH - 1))
    for column in range(row.shape[0]):
        place = np.uint32((sky[column] & ~mask) | ((sky[column] + shift) & mask))
        row[column] = palette[panorama[place]]


@njit(cache=True)
def _span(row, line, texels, columns, rows, palette):  # type: ignore[no-untyped-def]
    """Draws one row of pixels along a line of texels.

    Args:
        row: Shape (w,) packed pixels.
        line: First texel (column, row) and step, in fixed point.
        texels: One level of the ground, flat.
        columns: Texels along x of the level.
        rows: Texels along z of the level.
        palette: Shape (256,).
    """
    x, z, step_x, step_z = line
    width = row.shape[0]
    end_x, end_z = x + (width - 1) * step_x, z + (width - 1) * step_z
    top_x, top_z = (columns << _FRACTION) - 1, (rows << _FRACTION) - 1
    inside = min(x, end_x) >= 0 and min(z, end_z) >= 0
    # Unsigned indices spare the compiled loop its test for negative ones.
    if inside and max(x, end_x) <= top_x and max(z, end_z) <= top_z:
        for column in range(width):
            texel_x = np.uint32(x + column * step_x) >> np.uint32(_FRACTION)
            texel_z = np.uint32(z + column * step_z) >> np.uint32(_FRACTION)
            place = np.uint32(texel_z * np.uint32(columns) + texel_x)
            row[column] = palette[texels[place]]
    else:
        for column in range(width):
            inside_x, inside_z = min(top_x, max(0, x)), min(top_z, max(0, z))
            place = np.uint32((inside_z >> _FRACTION) * columns + (inside_x >> _FRACTION))
            row[column] = palette[texels[place]]
            x += step_x
            z += step_z


@njit(cache=True)
def _average(row: Any, lines: Any, count: int) -> None:
    """Sets the bytes of a row to the mean of 2 or 4 lines."""
    first, second, third, fourth = lines[0], lines[1], lines[2], lines[3]
    if count == 2:
        for k in range(row.shape[0]):
            row[k] = np.uint8((np.int32(first[k]) + np.int32(second[k])) >> 1)
        return
    for k in range(row.shape[0]):
        total = np.int32(first[k]) + np.int32(second[k])
        total += np.int32(third[k]) + np.int32(fourth[k])
        row[k] = np.uint8(total >> 2)


@njit(cache=True)
def _ground_row(row, scratch, eye, sight, world, palette):  # type: ignore[no-untyped-def]
    """Draws one row of ground.

    Args:
        row: Shape (w,) packed pixels.
        scratch: Shape (4, W), W >= w: sampled lines.
        eye: Camera x, z, sine and cosine of its yaw.
        sight: Distance ahead, reach along the ground, width of a pixel (u), and the pixels from
            the middle of the view to the row's first one.
        world: The ground.
        palette: Shape (256,).
    """
    ahead, reach, across, first = sight
    wanted = 0.5 * reach / across
    halvings = 0 if wanted < 2.0 else (1 if wanted < 4.0 else 2)
    samples = 1 << halvings
    texel = max(across, 0.35 * reach / samples)
    level = 0
    while level < ground.LEVELS - 1 and world.size[level + 1] <= 1.2 * texel:
        level += 1
    scale = (1 << _FRACTION) / world.size[level]
    columns, rows = world.columns[level], world.rows[level]
    texels = world.texels[world.start[level] : world.start[level] + columns * rows]
    x0, z0, sin_yaw, cos_yaw = eye
    left = first * across
    step_x, step_z = int(across * cos_yaw * scale), int(-across * sin_yaw * scale)
    for k in range(samples):
        depth = ahead + reach * ((k + 0.5) / samples - 0.5)
        x = x0 + depth * sin_yaw + left * cos_yaw - world.origin_x
        z = z0 + depth * cos_yaw - left * sin_yaw - world.origin_z
        line = (int(x * scale), int(z * scale), step_x, step_z)
        if samples == 1:
            _span(row, line, texels, columns, rows, palette)
            return
        _span(scratch[k, : row.shape[0]], line, texels, columns, rows, palette)
    _average(row.view(np.uint8), scratch.view(np.uint8), samples)


@njit(cache=True)
def _draw_upright(canvas, part, rows, gaze, views, scene, looks):  # type: ignore[no-untyped-def]
    """Draws ground and surroundings as an upright camera sees them.

    Args:
        canvas: Shape (H, W) packed pixels; (h, w) without the margin.
        part: First column to draw and the one behind the last, for each row, shape (H, 2).
        rows: First row to draw and the one behind the last.
        gaze: Index of the car, index of the camera, the eye, its height as a share of the
            tables', columns by which the panorama is turned.
        views: Tables of the cameras.
        scene: What is the same for all cars.
        looks: How each car sees the world.
    """
    i, k, eye, height, turn = gaze
    above = (views.sky.shape[1] - canvas.shape[0]) // 2
    beside = (views.sky.shape[2] - canvas.shape[1]) // 2
    middle = 0.5 * canvas.shape[1]
    panorama = scene.panorama.reshape(-1)
    lines = np.empty((_MOST_SAMPLES, canvas.shape[1]), dtype=np.uint32)
    found, dark = np.empty((patches.MOST, patches.WIDTH)), 0
    if looks.shadows[i] > 0.0:
        dark = patches.find(found, eye, looks.shadow_key[i], looks.shadows[i])
    palette, shine = looks.ground[i].copy(), 0.0
    for r in range(rows[0], rows[1]):
        left, right, of = part[r, 0], part[r, 1], r + above
        row = canvas[r, left:right]
        if of < views.horizon[k]:
            sky = views.sky[k, of, left + beside : right + beside]
            _sky_row(row, sky, panorama, looks.sky[i], turn)
        else:
            ahead, reach = height * views.ahead[k, of], height * views.ahead_span[k, of]
            sight = (ahead, reach, height * views.across[k, of], left + 0.5 - middle)
            gain = sheen.gain(scene.sheen, views.pose[k, 1] * height, ahead, eye[2], eye[3])
            if gain != shine:
                sheen.shine(palette, looks.ground[i], scene.sheen, gain, looks.light[i])
                shine = gain
            _ground_row(row, lines, eye, sight, scene.ground, palette)
            if dark > 0 and ahead < patches.SIGHT:
                patches.darken(row, found, dark, sight)


@njit(cache=True)
def _draw_car_view(image, room, i, k, cars, views, scene, looks):  # type: ignore[no-untyped-def]
    """Draws what car `i` sees through camera `k`.

    Args:
        image: Shape (h, w, 3), filled in.
        room: Shape (H, W) packed pixels: what an upright camera sees.
        i: Index of the car.
        k: Index of its camera.
        cars: Motion, lean and group of all cars.
        views: Tables of the cameras.
        scene: What is the same for all cars.
        looks: How each car sees the world.
    """
    motion, lean, group = cars
    height, width = image.shape[:2]
    pose = views.pose[k].copy()
    eye, yaw, pose[1], (tilt, roll) = leaning.look(motion[i], lean[i], views.pose[k])
    panorama_turn = math.floor(yaw / (2.0 * math.pi) * camera.PANORAMA_WIDTH) + looks.sky_turn[i]
    gaze = (i, k, eye, pose[1] / views.pose[k, 1], panorama_turn)
    leans = views.margin_rows > 0 and max(abs(tilt), abs(roll)) > leaning.UPRIGHT
    canvas = room if leans else room.reshape(-1)[: height * width].reshape(height, width)
    part, rows = np.empty((canvas.shape[0], 2), dtype=np.int64), (0, height)
    part[:, 0], part[:, 1] = 0, width
    turn = leaning.rotation(tilt, roll)
    if leans:
        # Far beyond the margins pixels are fetched that nothing draws: not another car's.
        canvas[:] = 0
        rows = leaning.spans((height, width), canvas.shape, pose[5], turn, part)
    _draw_upright(canvas, part, rows, gaze, views, scene, looks)
    channels = canvas.view(np.uint8).reshape(canvas.shape[0], canvas.shape[1], 4)
    others = (i, group, motion, looks.body)
    standing = (scene.solids, scene.plants, looks.posts[i])
    things.draw(channels, pose, eye, standing, others, looks.light[i], looks.sky[i])
    if leans:
        leaning.fetch(image, canvas, pose[5], turn)
    else:
        for r in range(height):
            pixels.unpack(image[r], canvas[r])


@njit(cache=True, nogil=True)
def render(out, cars, state, fixed, looks, first, last):  # type: ignore[no-untyped-def]
    """Draws the camera images of some cars.

    Args:
        out: Shape (k, h, w, 3) uint8, filled in.
        cars: Indices of the cars to draw, shape (k,).
        state: Motion (n, 6), lean (n, 4), group (n,), camera index (n,), noise key (n,) of all.
        fixed: Tables of the cameras; ground, surroundings and things; fish-eye and gray.
        looks: How each car sees the world.
        first: First entry of `cars` to draw.
        last: Entry behind the last one to draw.
    """
    motion, lean, group, view_of, key = state
    views, scene, lens = fixed
    room = np.zeros(views.sky.shape[1:], dtype=np.uint32)
    planes = jpeg.room(out.shape[1])
    drawn = (motion, lean, group)
    for place in range(first, last):
        i, image = cars[place], out[place]
        _draw_car_view(image, room, i, view_of[i], drawn, views, scene, looks)
        effects.draw_bonnet(image, looks.bonnet[i])
        if looks.blur[i] != 0.0:
            effects.blur(image, looks.blur[i])
        effects.through_lens(image, lens)
        if looks.noise[i] > 0.0:
            effects.add_noise(image, looks.noise[i], key[i], effects.NOISE)
        if looks.jpeg[i] > 0:
            jpeg.degrade(image, jpeg.ALL_FACTORS[looks.jpeg[i]], planes)
