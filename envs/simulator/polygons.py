"""Filling convex polygons in an image: the things that stand on the ground."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_NEAR = 0.3
"""Near plane of the simulator's camera (u)."""


@njit(cache=True)
def camera_point(pose: Any, right: float, up: float, ahead: float, out: Any) -> None:
    """Turns a point seen from the camera's place (u) into the pitched camera's axes."""
    out[0] = right
    out[1] = ahead * pose[3] + up * pose[4]
    out[2] = ahead * pose[4] - up * pose[3]


@njit(cache=True)
def _clip(corners: Any, clipped: Any) -> int:
    """Cuts a polygon at the near plane; returns how many corners are left."""
    count = 0
    for k in range(corners.shape[0]):
        here, then = corners[k], corners[(k + 1) % corners.shape[0]]
        if here[2] >= _NEAR:
            clipped[count] = here
            count += 1
        if (here[2] >= _NEAR) != (then[2] >= _NEAR):
            share = (_NEAR - here[2]) / (then[2] - here[2])
            for axis in range(3):
                clipped[count, axis] = here[axis] + share * (then[axis] - here[axis])
            count += 1
    return count


@njit(cache=True)
def _blend(pixel: Any, colour: Any, cover: float) -> None:
    for channel in range(3):
        mixed = pixel[channel] + cover * (colour[channel] - pixel[channel])
        pixel[channel] = np.uint8(mixed)


@njit(cache=True)
def _cover(row: Any, left: float, right: float, vertical: float, colour: Any) -> None:
    """Covers a row between two places by the share `vertical` of its height."""
    inner, end = math.ceil(left), math.floor(right)
    if inner > end:
        _blend(row[end], colour, (right - left) * vertical)
        return
    if inner > left:
        _blend(row[inner - 1], colour, (inner - left) * vertical)
    if vertical < 1.0:
        for column in range(inner, end):
            _blend(row[column], colour, vertical)
    else:
        red, green, blue = np.uint8(colour[0]), np.uint8(colour[1]), np.uint8(colour[2])
        for column in range(inner, end):
            row[column, 0], row[column, 1], row[column, 2] = red, green, blue
    if right > end:
        _blend(row[end], colour, (right - end) * vertical)


@njit(cache=True)
def _row_extent(points: Any, count: int, y: float) -> tuple[float, float]:
    """Left and right end of a convex polygon on the line at image height `y`."""
    left, right = 1e9, -1e9
    for k in range(count):
        x0, y0 = points[k, 0], points[k, 1]
        following = k + 1 if k + 1 < count else 0
        x1, y1 = points[following, 0], points[following, 1]
        if (y0 <= y) != (y1 <= y):
            x = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            left, right = min(left, x), max(right, x)
    return left, right


@njit(cache=True)
def _project(image: Any, pose: Any, corners: Any, points: Any) -> tuple[int, float, float]:
    """Cuts a polygon and turns it into image points; returns their count, top and bottom."""
    height, width = image.shape[:2]
    count = _clip(corners, points)
    low, high = 1e9, -1e9
    for k in range(count):
        scale = pose[5] / points[k, 2]
        points[k, 0] = 0.5 * width + points[k, 0] * scale
        points[k, 1] = 0.5 * height - points[k, 1] * scale
        low, high = min(low, points[k, 1]), max(high, points[k, 1])
    return count, low, high


@njit(cache=True)
def fill(image: Any, pose: Any, corners: Any, colour: Any) -> None:
    """Draws a convex polygon.

    Args:
        image: Shape (h, w, 3) uint8, changed in place.
        pose: The camera's row of `camera.Views.pose`.
        corners: Shape (k, 3), k <= 10, in the camera's axes (right, up, depth).
        colour: Shape (3,), 0 to 255.
    """
    height, width = image.shape[:2]
    points = np.empty((12, 3))
    count, low, high = _project(image, pose, corners, points)
    if count < 3:
        return
    for row in range(max(0, int(low)), min(height, math.ceil(high))):
        y = min(max(row + 0.5, low + 1e-6), high - 1e-6)
        vertical = min(row + 1.0, high) - max(float(row), low)
        left, right = _row_extent(points, count, y)
        left, right = max(left, 0.0), min(right, float(width))
        if left < right:
            _cover(image[row], left, right, vertical, colour)
