"""Pixels packed into 32 bits: red in the lowest byte, then green and blue; the fourth is unused.

Palettes hold packed colours and the drawing works on them: one store a pixel instead of three.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def unpack(row: Any, packed: Any) -> None:
    """Sets a row of an image, shape (w, 3) uint8, to packed pixels, shape (w,) uint32."""
    channels = row.reshape(-1)
    for k in range(packed.shape[0]):
        pixel = packed[k]
        channels[3 * k] = np.uint8(pixel & np.uint32(255))
        channels[3 * k + 1] = np.uint8((pixel >> np.uint32(8)) & np.uint32(255))
        channels[3 * k + 2] = np.uint8((pixel >> np.uint32(16)) & np.uint32(255))
