"""Grain: tiles of random values that repeat over the ground, with the statistics of a texture.

Each tile comes at several resolutions, each the average of the one before, so that the grain
weakens with distance as it does in the real picture.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TEXEL = 1.0 / 32.0
"""Side of the finest texel (u)."""


class Grain(NamedTuple):
    """A tile of values with mean 0 and, at its finest resolution, deviation 1.

    Attributes:
        values: All levels behind each other; each halves the resolution of the one before.
        start: Where each level begins.
        side: Texels along both sides of the finest level, a power of two.
    """

    values: npt.NDArray[np.float32]
    start: npt.NDArray[np.int64]
    side: int


def grain(
    seed: int, side: int, layers: tuple[tuple[float, float, float], ...], skew: float = 0.0
) -> Grain:
    """Draws a tile of smoothed noise.

    Args:
        seed: Of the random numbers.
        side: Texels along both sides, a power of two.
        layers: Of each layer of noise how far it is smoothed along the first and along the
            second axis (standard deviation in u), and its weight.
        skew: Above 0, high values become rarer and higher; below 0, low ones lower.
    """
    rng = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(side, TEXEL)
    total = np.zeros((side, side))
    for along, across, weight in layers:
        pass_along = np.exp(-2.0 * (math.pi * along * frequency) ** 2)
        pass_across = np.exp(-2.0 * (math.pi * across * frequency) ** 2)
        spectrum = np.fft.fft2(rng.standard_normal((side, side)))
        smooth = np.fft.ifft2(spectrum * pass_along[:, None] * pass_across[None, :]).real
        total += weight * smooth / smooth.std()
    total = (total - total.mean()) / total.std()
    if skew:
        total = np.exp(skew * total)
        total = np.sign(skew) * (total - total.mean()) / total.std()
    levels = [total]
    while len(levels[-1]) > 1:
        half = len(levels[-1]) // 2
        levels.append(levels[-1].reshape(half, 2, half, 2).mean(axis=(1, 3)))
    start = np.cumsum([0, *(level.size for level in levels)])
    values = np.concatenate([level.ravel() for level in levels]).astype(np.float32)
    return Grain(values, start.astype(np.int64), side)


def level(made: Grain, texel: float) -> npt.NDArray[np.float32]:
    """Returns the square tile at the resolution nearest to a texel's size (u)."""
    number = min(len(made.start) - 2, max(0, round(math.log2(texel / TEXEL))))
    side = made.side >> number
    return made.values[made.start[number] : made.start[number + 1]].reshape(side, side)
