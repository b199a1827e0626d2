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

from donkey_rl.envs.simulator import camera, ground, things
from donkey_rl.envs.simulator.physics import YAW, X, Z
from donkey_rl.envs.simulator.solids import Solids

_FRACTION = 12
"""Bits behind the point of texel coordinates."""

_MOST_SAMPLES = 4


class Scene(NamedTuple):
    """What is the same for all cars."""

    ground: ground.Ground
    panorama: npt.NDArray[np.uint8]
    solids: Solids


class Looks(NamedTuple):
    """How each car sees the world; axis 0 is the car.

    Attributes:
        ground: Packed colour of each ground byte, shape (n, 256).
        sky: Packed colour of each byte of the surroundings, shape (n, 256).
        sky_turn: Columns by which the panorama is turned, shape (n,).
        light: Factor on the colours of things, shape (n, 3).
        noise: Standard deviation of the sensor noise, 0 to 255, shape (n,).
        blur: Weight of the neighbours in a 3x3 blur, 0 to 1, shape (n,).
        body: Colour of the car itself, shape (n, 3).
    """

    ground: npt.NDArray[np.uint32]
    sky: npt.NDArray[np.uint32]
    sky_turn: npt.NDArray[np.int64]
    light: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    blur: npt.NDArray[np.float64]
    body: npt.NDArray[np.float64]


class Lens(NamedTuple):
    """What happens to a finished image.

    Attributes:
        source: Flat index each pixel is taken from (fish-eye), shape (h * w,) or (0,).
        gray: Whether the three channels are all set to the luminance.
    """

    source: npt.NDArray[np.int32]
    gray: bool


@njit(cache=True, inline="always")
def _store(row: Any, column: int, packed: int) -> None:
    row[column, 0] = np.uint8(packed & 255)
    row[column, 1] = np.uint8((packed >> 8) & 255)
    row[column, 2] = np.uint8((packed >> 16) & 255)


@njit(cache=True)
def _sky_row(row, sky, panorama, palette, turn):  # type: ignore[no-untyped-def]
    """Draws one row of surroundings.

    Args:
        row: Shape (w, 3).
        sky: The row of `camera.Views.sky`.
        panorama: The surroundings, flat.
        palette: Shape (256,).
        turn: Columns by which the panorama is turned.
    """
    mask = np.uint32(camera.PANORAMA_WIDTH - 1)
    shift = np.uint32(turn & (camera.PANORAMA_WIDTH - 1))
    for column in range(row.shape[0]):
        place = np.uint32((sky[column] & ~mask) | ((sky[column] + shift) & mask))
        _store(row, column, palette[panorama[place]])


@njit(cache=True)
def _span(row, line, texels, columns, rows, palette):  # type: ignore[no-untyped-def]
    """Draws one row of pixels along a line of texels.

    Args:
        row: Shape (w, 3).
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
            _store(row, column, palette[texels[place]])
    else:
        for column in range(width):
            inside_x, inside_z = min(top_x, max(0, x)), min(top_z, max(0, z))
            place = np.uint32((inside_z >> _FRACTION) * columns + (inside_x >> _FRACTION))
            _store(row, column, palette[texels[place]])
            x += step_x
            z += step_z


@njit(cache=True)
def _average(row: Any, lines: Any, count: int) -> None:
    """Sets a row to the mean of 2 or 4 lines."""
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
        row: Shape (w, 3).
        scratch: Shape (2, w, 3): a sampled line and sums, uint8 and uint16 in one.
        eye: Camera x, z, sine and cosine of its yaw.
        sight: Distance ahead, reach along the ground, width of a pixel (u).
        world: The ground.
        palette: Shape (256,).
    """
    ahead, reach, across = sight
    width = row.shape[0]
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
    left = (0.5 - 0.5 * width) * across
    step_x, step_z = int(across * cos_yaw * scale), int(-across * sin_yaw * scale)
    for k in range(samples):
        depth = ahead + reach * ((k + 0.5) / samples - 0.5)
        x = x0 + depth * sin_yaw + left * cos_yaw - world.origin_x
        z = z0 + depth * cos_yaw - left * sin_yaw - world.origin_z
        line = (int(x * scale), int(z * scale), step_x, step_z)
        if samples == 1:
            _span(row, line, texels, columns, rows, palette)
            return
        _span(scratch[k], line, texels, columns, rows, palette)
    _average(row.reshape(-1), scratch.reshape(_MOST_SAMPLES, -1), samples)


@njit(cache=True)
def _blur(image: Any, weight: float) -> None:
    """A 3x3 blur: each pixel gives `weight` to the mean of its four neighbours."""
    height, width = image.shape[:2]
    own = np.int32(256.0 * (1.0 - weight))
    side = np.int32(64.0 * weight)
    inner = 3 * (width - 2)
    above = image[0].copy().reshape(-1)
    for r in range(1, height - 1):
        here = image[r].copy().reshape(-1)
        left, middle, right = here[:inner], here[3 : 3 + inner], here[6:]
        over, under = above[3 : 3 + inner], image[r + 1].reshape(-1)[3 : 3 + inner]
        row = image[r].reshape(-1)[3 : 3 + inner]
        for k in range(inner):
            around = (
                np.int32(left[k]) + np.int32(right[k]) + np.int32(over[k]) + np.int32(under[k])
            )
            row[k] = np.uint8((own * np.int32(middle[k]) + side * around) >> np.int32(8))
        above = here


_NOISE = np.random.default_rng(20).normal(0.0, 64.0, 1 << 16).clip(-127, 127).astype(np.int8)
"""Noise to draw from: standard deviation 64."""


@njit(cache=True)
def _add_noise(image: Any, deviation: float, key: int, noise: Any) -> None:
    """Adds noise that is fixed by `key`: each row a random part of the table."""
    scale = np.int32(deviation * 4.0)
    state = np.uint64(key) * np.uint64(2654435769) + np.uint64(88172645463325252)
    for r in range(image.shape[0]):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        row = image[r].reshape(-1)
        start = np.int64(state % np.uint64(noise.shape[0] - row.shape[0]))
        part = noise[start : start + row.shape[0]]
        for k in range(row.shape[0]):
            value = np.int32(row[k]) + ((np.int32(part[k]) * scale + np.int32(128)) >> 8)
            row[k] = np.uint8(min(np.int32(255), max(np.int32(0), value)))


@njit(cache=True)
def _through_lens(image: Any, lens: Lens) -> None:
    """Warps to the fish-eye image and to gray, as the simulator's camera does."""
    if lens.source.shape[0]:
        before = image.copy().reshape(-1, 3)
        flat = image.reshape(-1, 3)
        for k in range(lens.source.shape[0]):
            flat[k] = before[lens.source[k]]
    if lens.gray:
        pixels = image.reshape(-1, 3)
        for k in range(pixels.shape[0]):
            red, green, blue = pixels[k]
            pixels[k, :] = np.uint8(0.2126 * red + 0.7152 * green + 0.0722 * blue)


@njit(cache=True)
def _draw_car_view(image, i, k, cars, views, scene, looks):  # type: ignore[no-untyped-def]
    """Draws what car `i` sees through camera `k`."""
    motion, group = cars
    pose = views.pose[k]
    sin_yaw, cos_yaw = math.sin(motion[i, YAW]), math.cos(motion[i, YAW])
    x = motion[i, X] + pose[0] * cos_yaw + pose[2] * sin_yaw
    z = motion[i, Z] - pose[0] * sin_yaw + pose[2] * cos_yaw
    eye = (x, z, sin_yaw, cos_yaw)
    full = camera.PANORAMA_WIDTH
    turn = math.floor(motion[i, YAW] / (2.0 * math.pi) * full) + looks.sky_turn[i]
    panorama = scene.panorama.reshape(-1)
    scratch = np.empty((_MOST_SAMPLES, image.shape[1], 3), dtype=np.uint8)
    for r in range(image.shape[0]):
        if r < views.horizon[k]:
            _sky_row(image[r], views.sky[k, r], panorama, looks.sky[i], turn)
        else:
            sight = (views.ahead[k, r], views.ahead_span[k, r], views.across[k, r])
            _ground_row(image[r], scratch, eye, sight, scene.ground, looks.ground[i])
    things.draw(image, pose, eye, scene.solids, (i, group, motion, looks.body), looks.light[i])


@njit(cache=True, nogil=True)
def render(out, cars, state, fixed, looks, first, last):  # type: ignore[no-untyped-def]
    """Draws the camera images of some cars.

    Args:
        out: Shape (k, h, w, 3) uint8, filled in.
        cars: Indices of the cars to draw, shape (k,).
        state: Motion (n, 6), group (n,), camera index (n,), noise key (n,) of all cars.
        fixed: Tables of the cameras; ground, surroundings and things; fish-eye and gray.
        looks: How each car sees the world.
        first: First entry of `cars` to draw.
        last: Entry behind the last one to draw.
    """
    motion, group, view_of, key = state
    views, scene, lens = fixed
    for place in range(first, last):
        i = cars[place]
        _draw_car_view(out[place], i, view_of[i], (motion, group), views, scene, looks)
        if looks.blur[i] > 0.0:
            _blur(out[place], looks.blur[i])
        _through_lens(out[place], lens)
        if looks.noise[i] > 0.0:
            _add_noise(out[place], looks.noise[i], key[i], _NOISE)
