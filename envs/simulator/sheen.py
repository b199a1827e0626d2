"""How asphalt shines: brighter the flatter the view, and brighter towards the sun.

Measured on the simulator's road: between 2 and 18 u ahead it gains about 50 of 255, towards the
sun another 30 close to the car. Grass and earth do not change.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import materials
from donkey_rl.envs.simulator.track import Track

_FLAT_VIEW, _SUN = 156.0, 60.0
"""What the road gains at full sheen far away and towards the sun, of 255."""

_FADE = 7.6
"""Distance by height of the eye over which the gain by the flat view grows."""

_STEP = 8.0
"""Gains that differ by less than this share a palette."""


class Sheen(NamedTuple):
    """Which bytes shine and how much.

    Attributes:
        byte: The bytes with asphalt in them, shape (k,).
        eighths: Share of asphalt in each, in eighths, shape (k,).
        strength: `Look.sheen`.
        sun: Sine and cosine of the sun's azimuth, 0 and 0 without a sun.
    """

    byte: npt.NDArray[np.int64]
    eighths: npt.NDArray[np.int64]
    strength: float
    sun: tuple[float, float]


def build(track: Track) -> Sheen:
    """Collects the bytes that shine."""
    index = {name: k for k, name in enumerate(materials.GROUND)}
    asphalt = (index["road"], index["road_grain"])
    most = materials.LEVELS - 1
    eighths = {materials.byte(*asphalt, level / most): most for level in range(materials.LEVELS)}
    for first in asphalt:
        for line in (index["edge_line"], index["centre_line"]):
            for level in range(materials.LEVELS):
                eighths[materials.byte(first, line, level / most)] = most - level
    sun = track.look.sun
    azimuth = (math.sin(sun.azimuth), math.cos(sun.azimuth)) if sun else (0.0, 0.0)
    return Sheen(
        np.array(list(eighths), dtype=np.int64),
        np.array(list(eighths.values()), dtype=np.int64),
        track.look.sheen,
        azimuth,
    )


@njit(cache=True)
def gain(sheen: Any, height: float, ahead: float, sin_yaw: float, cos_yaw: float) -> Any:
    """What the road gains in a row, of 255, in whole steps.

    Args:
        sheen: The track's `Sheen`.
        height: Of the camera above the ground (u).
        ahead: Distance that the row sees (u).
        sin_yaw: Of the camera's direction.
        cos_yaw: Of the camera's direction.
    """
    x = ahead / (_FADE * max(height, 0.1))
    # exp(-x), as exactly as the eye needs it.
    near = 1.0 / (1.0 + x * (1.0 + x * (0.5 + 0.17 * x)))
    facing = max(0.0, sin_yaw * sheen.sun[0] + cos_yaw * sheen.sun[1])
    added = sheen.strength * (_FLAT_VIEW * (1.0 - near) + _SUN * near * facing * facing)
    return _STEP * math.floor(added / _STEP)


@njit(cache=True, inline="always")
def _brighter(first, second):  # type: ignore[no-untyped-def]
    """Adds packed colours, channel by channel, up to 255."""
    low, high = np.uint32(0x7F7F7F), np.uint32(0x808080)
    total = ((first & low) + (second & low)) ^ ((first ^ second) & high)
    over = ((first & second) | ((first | second) & ~total)) & high
    return total | ((over >> np.uint32(7)) * np.uint32(255))


@njit(cache=True)
def shine(palette: Any, base: Any, sheen: Any, gain: float, light: Any) -> None:
    """Brightens the asphalt of a palette.

    Args:
        palette: Packed colours, shape (256,), changed.
        base: The same without sheen.
        sheen: The track's `Sheen`.
        gain: What plain asphalt gains, of 255.
        light: Factor on each channel, shape (3,).
    """
    added = np.empty(materials.LEVELS, np.uint32)
    for k in range(materials.LEVELS):
        share = gain * k / (materials.LEVELS - 1)
        red, green = min(255, int(share * light[0])), min(255, int(share * light[1]))
        added[k] = np.uint32(red | (green << 8) | (min(255, int(share * light[2])) << 16))
    for k in range(sheen.byte.shape[0]):
        place = sheen.byte[k]
        palette[place] = _brighter(base[place], added[sheen.eighths[k]])
