"""What happens to a drawn image on its way to the driver: bonnet, blur, lens, noise."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

_LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Shares of red, green and blue in what is gray."""

BONNET = 8
"""Columns of a bonnet: half its width as a share of the image's, its height and its centre's
offset likewise, colour (three), where the light comes from (-1 left to 1 right), gloss."""


class Lens(NamedTuple):
    """What the camera does to an image.

    Attributes:
        source: Flat index each pixel is taken from (fish-eye), shape (h * w,) or (0,).
        gray: Whether the three channels are all set to the luminance.
    """

    source: npt.NDArray[np.int32]
    gray: bool


@njit(cache=True)
def _mix(under: Any, colour: float, cover: float) -> Any:
    return np.uint8(under + cover * (min(255.0, max(0.0, colour)) - under))


@njit(cache=True)
def draw_bonnet(image: Any, bonnet: Any) -> None:
    """Draws the upper half of an ellipse over the lower edge of an image.

    Args:
        image: Shape (h, w, 3) uint8, changed in place.
        bonnet: Shape (8,), see `BONNET`; no width, no bonnet.
    """
    height, width = image.shape[:2]
    half_width, tall = bonnet[0] * width, bonnet[1] * height
    if half_width <= 0.0 or tall <= 0.0:
        return
    centre = width * (0.5 + bonnet[2])
    red, green, blue = bonnet[3], bonnet[4], bonnet[5]
    for r in range(max(0, math.floor(height - tall)), height):
        up = (height - r - 0.5) / tall
        reach = half_width * math.sqrt(max(0.0, 1.0 - up * up))
        for c in range(max(0, int(centre - reach)), min(width, int(centre + reach) + 1)):
            across = (c + 0.5 - centre) / half_width
            inside = 1.0 - across * across - up * up
            if inside <= 0.0:
                continue
            # A dome: it looks at the viewer in its middle and aside at its edge.
            facing = math.sqrt(inside)
            shade = 0.45 + 0.4 * facing + 0.15 * up + 0.2 * across * bonnet[6]
            shine = across - 0.5 * bonnet[6]
            spot = 1.0 + 12.0 * (shine * shine + (up - 0.5) * (up - 0.5))
            shade += bonnet[7] / (spot * spot)
            cover = min(1.0, 0.5 * inside * tall)
            image[r, c, 0] = _mix(image[r, c, 0], red * shade, cover)
            image[r, c, 1] = _mix(image[r, c, 1], green * shade, cover)
            image[r, c, 2] = _mix(image[r, c, 2], blue * shade, cover)


@njit(cache=True)
def _blur_once(image: Any, weight: float) -> None:
    """A 3x3 blur: each pixel gives `weight` to the mean of its four neighbours."""
    height, width = image.shape[:2]
    own = np.int32(256.0 * (1.0 - weight))
    side = np.int32(64.0 * weight)
    inner = 3 * (width - 2)
    low, high = np.int32(0), np.int32(255)
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
            value = (own * np.int32(middle[k]) + side * around) >> np.int32(8)
            row[k] = np.uint8(min(high, max(low, value)))
        above = here


@njit(cache=True)
def blur(image: Any, weight: float) -> None:
    """Blurs an image, or sharpens it.

    Args:
        image: Shape (h, w, 3) uint8, changed in place.
        weight: Of the four neighbours' mean; above 1 as two blurs of half of it; below 0 what
            differs from the neighbours stands out the more.
    """
    passes = max(1, math.ceil(weight))
    for _ in range(passes):
        _blur_once(image, weight / passes)


NOISE = np.random.default_rng(20).normal(0.0, 64.0, 1 << 16).clip(-127, 127).astype(np.int8)
"""Noise to draw from: standard deviation 64."""


@njit(cache=True)
def add_noise(image: Any, deviation: float, key: int, noise: Any) -> None:
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


def gray(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns images as a camera without colours gives them, see `through_lens`.

    Args:
        images: (..., H, W, 3).
    """
    weights = np.array(_LUMINANCE, np.float64)
    # What is gray already stays as it is, whatever the shares add up to in floating point.
    return np.repeat((images @ weights + 1e-6).astype(np.uint8)[..., None], 3, axis=-1)


@njit(cache=True)
def through_lens(image: Any, lens: Lens) -> None:
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
            pixels[k, :] = np.uint8(
                _LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue
            )
