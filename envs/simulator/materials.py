"""Materials and palettes: why a randomised world costs no time to draw.

Ground and surroundings are baked once a track as one byte a texel: a pair of materials and how
much of the second covers the first. The colour of every byte is a car's palette, so each car
may see other colours, light and grain in the same baked world.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import scenery

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

GROUND = (*scenery.MATERIALS, "dark")
"""The track's materials, and the dark squares of a start line."""

SURROUNDINGS = ("sky_top", "sky_horizon", "cloud", "far", "far_dark", "near", "near_dark", "trim")
"""Sky, what stands at the horizon (hills or walls), what stands before it (trees or shelves)."""

COUNT = 8
LEVELS = 9
_PAIRS = [(a, b) for a in range(COUNT) for b in range(a + 1, COUNT)]
_PAIR_OF = np.zeros((COUNT, COUNT), dtype=np.int64)
for _k, (_a, _b) in enumerate(_PAIRS):
    _PAIR_OF[_a, _b] = _PAIR_OF[_b, _a] = _k

SIZE = len(_PAIRS) * LEVELS
"""Entries of a palette that are used (252 of 256)."""


def encode(weights: FloatArray, dither: FloatArray | float = 0.5) -> ByteArray:
    """Returns the byte nearest to each mixture of materials.

    Only the two strongest materials of a mixture are kept.

    Args:
        weights: Shares of the eight materials, shape (..., 8), each >= 0.
        dither: What rounding adds, 0 to 1; random numbers of shape (...) turn the steps of a
            smooth transition into noise.
    """
    order = np.argsort(weights, axis=-1)
    first, second = order[..., -1], order[..., -2]
    low, high = np.minimum(first, second), np.maximum(first, second)
    share_low = np.take_along_axis(weights, low[..., None], axis=-1)[..., 0]
    share_high = np.take_along_axis(weights, high[..., None], axis=-1)[..., 0]
    share = share_high / np.maximum(share_low + share_high, 1e-9)
    level = np.floor(share * (LEVELS - 1) + dither).astype(np.int64).clip(0, LEVELS - 1)
    return np.asarray(_PAIR_OF[low, high] * LEVELS + level, dtype=np.uint8)


def byte(first: int, second: int, share: float) -> int:
    """Returns the byte of two materials, `share` of the second.

    >>> byte(0, 1, 0.0), byte(1, 0, 1.0), byte(0, 1, 1.0)
    (0, 0, 8)
    """
    weights = np.zeros(COUNT)
    weights[first], weights[second] = 1.0 - share, share
    low, high = min(first, second), max(first, second)
    return int(_PAIR_OF[low, high] * LEVELS + round(weights[high] * (LEVELS - 1)))


def palette(colours: FloatArray) -> npt.NDArray[np.uint32]:
    """Mixes the colour of every byte, packed as red + green * 256 + blue * 65536.

    Args:
        colours: Colours of the eight materials, shape (..., 8, 3), 0 to 255.

    Returns:
        Shape (..., 256).
    """
    share = (np.arange(LEVELS) / (LEVELS - 1))[:, None]
    first = colours[..., [a for a, _ in _PAIRS], None, :]
    second = colours[..., [b for _, b in _PAIRS], None, :]
    mixed = (1.0 - share) * first + share * second
    levels = np.clip(np.rint(mixed), 0, 255).astype(np.uint32)
    packed = levels[..., 0] | (levels[..., 1] << 8) | (levels[..., 2] << 16)
    table = np.zeros((*colours.shape[:-2], 256), dtype=np.uint32)
    table[..., :SIZE] = packed.reshape(*colours.shape[:-2], SIZE)
    return table
