"""Dark patches on the ground, as trees and houses cast them, that no track file knows.

The ground is cut into square cells. A cell's patch, if it has one, follows from the cell and the
car's key alone: patches lie still while a car drives, wherever it goes, and need no memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

CELL = 12.0
"""Side of a cell (u)."""

SIGHT = 25.0
"""How far ahead patches are drawn (u)."""

MOST = 16
WIDTH = 11
"""Columns of a found patch: four corners (right, ahead), nearest and farthest corner ahead (u),
and the factor on the light, of 256."""

CELLS_AHEAD = 0.5 * math.pi * SIGHT**2 / CELL**2
"""Cells in the half circle that a camera sees."""

_SMALLEST, _LARGEST = 1.0, 8.0
_FAINTEST, _DARKEST = 0.2, 0.6


@njit(cache=True)
def _random(key: Any, column: Any, row: Any, k: Any) -> float:
    """A number of [0, 1) that belongs to a cell."""
    state = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    state ^= np.uint64(column + 1000003) * np.uint64(0xC2B2AE3D27D4EB4F)
    state ^= np.uint64(row + 1000003) * np.uint64(0x165667B19E3779F9)
    state += np.uint64(k) * np.uint64(0xD6E8FEB86659FD93)
    for _ in range(2):
        state ^= state >> np.uint64(32)
        state *= np.uint64(0xD6E8FEB86659FD93)
    state ^= state >> np.uint64(32)
    return float(state >> np.uint64(11)) / 9007199254740992.0


@njit(cache=True)
def _lay(patch: Any, eye: Any, cell: Any) -> None:
    """Computes the patch of a cell as seen from the camera.

    Its corners lie on an ellipse, one in each quarter, so that it is convex.
    """
    key, column, row = cell
    x0, z0, sin_yaw, cos_yaw = eye
    x = (column + _random(key, column, row, 1)) * CELL - x0
    z = (row + _random(key, column, row, 2)) * CELL - z0
    turn = 2.0 * math.pi * _random(key, column, row, 3)
    sin_turn, cos_turn = math.sin(turn), math.cos(turn)
    long = 0.5 * (_SMALLEST + (_LARGEST - _SMALLEST) * _random(key, column, row, 4))
    wide = 0.5 * (_SMALLEST + (_LARGEST - _SMALLEST) * _random(key, column, row, 5))
    patch[8], patch[9] = 1e9, -1e9
    for k in range(4):
        angle = 0.5 * math.pi * (k + 0.15 + 0.7 * _random(key, column, row, 6 + k))
        along, across = long * math.cos(angle), wide * math.sin(angle)
        dx, dz = x + along * cos_turn - across * sin_turn, z + along * sin_turn + across * cos_turn
        patch[2 * k] = dx * cos_yaw - dz * sin_yaw
        patch[2 * k + 1] = dx * sin_yaw + dz * cos_yaw
        patch[8], patch[9] = min(patch[8], patch[2 * k + 1]), max(patch[9], patch[2 * k + 1])
    dark = _FAINTEST + (_DARKEST - _FAINTEST) * _random(key, column, row, 10)
    patch[10] = math.floor(256.0 * (1.0 - dark))


@njit(cache=True)
def find(found: Any, eye: Any, key: int, share: float) -> int:
    """Finds the patches ahead of a camera.

    Args:
        found: Shape (MOST, WIDTH), filled in.
        eye: Camera x, z, sine and cosine of its yaw.
        key: The car's own patches.
        share: Share of the cells that have one.

    Returns:
        How many there are.
    """
    count = 0
    reach = math.ceil((SIGHT + 0.5 * _LARGEST) / CELL)
    middle_column, middle_row = math.floor(eye[0] / CELL), math.floor(eye[1] / CELL)
    for column in range(middle_column - reach, middle_column + reach + 1):
        for row in range(middle_row - reach, middle_row + reach + 1):
            if count < MOST and _random(key, column, row, 0) < share:
                _lay(found[count], eye, (key, column, row))
                if found[count, 9] > 0.0 and found[count, 8] < SIGHT:
                    count += 1
    return count


@njit(cache=True)
def _dim(row: Any, factor: float) -> None:
    """Multiplies packed pixels by a factor, of 256."""
    share = np.uint32(factor)
    for k in range(row.shape[0]):
        pixel = row[k]
        outer = ((pixel & np.uint32(0xFF00FF)) * share >> np.uint32(8)) & np.uint32(0xFF00FF)
        inner = ((pixel & np.uint32(0x00FF00)) * share >> np.uint32(8)) & np.uint32(0x00FF00)
        row[k] = outer | inner


@njit(cache=True)
def darken(row: Any, found: Any, count: int, sight: Any) -> None:
    """Darkens one row of ground where patches lie.

    Args:
        row: Shape (w,) packed pixels, changed in place.
        found: See `find`.
        count: How many patches it holds.
        sight: Distance ahead, reach along the ground, width of a pixel (u), and the pixels from
            the middle of the view to the row's first one.
    """
    middle, reach, across, first = sight
    for n in range(count):
        near = max(middle - 0.5 * reach, found[n, 8])
        far = min(middle + 0.5 * reach, found[n, 9])
        if near >= far:
            continue
        # A far row may be deeper than the patch, which then darkens it in part.
        ahead, cover = 0.5 * (near + far), (far - near) / reach
        left, right = 1e9, -1e9
        for k in range(4):
            m = (k + 1) % 4
            x0, y0 = found[n, 2 * k], found[n, 2 * k + 1]
            x1, y1 = found[n, 2 * m], found[n, 2 * m + 1]
            if (y0 <= ahead) != (y1 <= ahead):
                x = x0 + (ahead - y0) / (y1 - y0) * (x1 - x0)
                left, right = min(left, x), max(right, x)
        start = min(max(left / across - first, 0.0), float(row.shape[0]))
        end = min(max(right / across - first + 1.0, start), float(row.shape[0]))
        _dim(row[math.ceil(start) : int(end)], 256.0 - cover * (256.0 - found[n, 10]))
