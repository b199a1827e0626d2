"""Drawing traffic cones: a slim body with a rounded tip and a flared skirt, lit by the sun.

A cone is round, so its outline is two chains of points, left and right, and each image row
between them is one span whose brightness follows the body's curvature.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

RINGS = np.array(
    [
        [0.0, 1.25], [0.05, 1.22], [0.09, 1.0], [0.16, 0.82], [0.3, 0.7],
        [0.94, 0.27], [0.98, 0.2], [1.0, 0.08],
    ]
)  # fmt: skip
"""Outline from the foot to the tip: share of the height, share of the radius."""

_COARSE = np.array([[0.0, 1.25], [0.1, 0.95], [0.3, 0.7], [1.0, 0.2]])
"""An outline that is enough for a cone far away."""

_FAR = 18.0
"""Height in pixels below which a cone is drawn coarsely."""

_FRONT = np.array([[0.0, 1.0], [0.5, 0.866], [0.866, 0.5]])
"""Points of the foot's front edge: share of the radius to the side and towards the camera."""

_NEAR = 0.3
_AMBIENT, _DIRECT = 0.36, 1.05
_SHADES = 32


@njit(cache=True)
def _shade(shades, colour, toward, across, level):  # type: ignore[no-untyped-def]
    """Fills in the packed colours of an upright round body from its left to its right outline.

    Args:
        shades: Shape (k,), filled in.
        colour: Shape (3,), 0 to 255.
        toward: Share of the horizontal light that comes from behind the viewer.
        across: Share that comes from the right.
        level: Length of the light's horizontal part, 0 to 1.
    """
    for k in range(shades.shape[0]):
        side = (2.0 * k + 1.0) / shades.shape[0] - 1.0
        facing = side * across + math.sqrt(max(0.0, 1.0 - side * side)) * toward
        factor = _AMBIENT + _DIRECT * level * max(0.0, facing)
        red, green = min(255.0, colour[0] * factor), min(255.0, colour[1] * factor)
        blue = min(255.0, colour[2] * factor)
        shades[k] = np.uint32(int(red) | (int(green) << 8) | (int(blue) << 16))


@njit(cache=True, inline="always")
def _point(chain, count, frame, right, ahead, up):  # type: ignore[no-untyped-def]
    """Adds the image of a point to a chain, unless it lies below the last one."""
    pose, width, height = frame
    depth = ahead * pose[4] - up * pose[3]
    x = 0.5 * width + pose[5] * right / depth
    y = 0.5 * height - pose[5] * (ahead * pose[3] + up * pose[4]) / depth
    if count == 0 or y < chain[count - 1, 1]:
        chain[count, 0], chain[count, 1] = x, y
        count += 1
    return count


@njit(cache=True)
def _chain(chain, frame, place, size, sight, rings):  # type: ignore[no-untyped-def]
    """Fills in the outline of one side from the foot's front to the tip; returns its length.

    Args:
        chain: Image points, shape (12, 2), filled in.
        frame: The camera's pose, the picture's width and height.
        place: Right and ahead of the camera (u).
        size: Radius, negative on the left side, and height (u).
        sight: Direction of the line of sight: right and ahead.
        rings: `RINGS` or `_COARSE`.
    """
    count, up = 0, -frame[0][1]
    if rings.shape[0] == RINGS.shape[0]:
        foot = RINGS[0, 1] * size[0]
        for k in range(_FRONT.shape[0]):
            out, near = foot * _FRONT[k, 0], abs(foot) * _FRONT[k, 1]
            x = place[0] + out * sight[1] - near * sight[0]
            z = place[1] - out * sight[0] - near * sight[1]
            count = _point(chain, count, frame, x, z, up)
    for k in range(rings.shape[0]):
        out = rings[k, 1] * size[0]
        x, z = place[0] + out * sight[1], place[1] - out * sight[0]
        count = _point(chain, count, frame, x, z, rings[k, 0] * size[1] + up)
    return count


@njit(cache=True)
def draw(image, pose, place, size, colour, sun):  # type: ignore[no-untyped-def]
    """Draws a cone.

    Args:
        image: Packed pixels, shape (h, w, 1) uint32.
        pose: The camera's row of `camera.Views.pose`.
        place: Right and ahead of the camera (u).
        size: Radius and height (u).
        colour: Shape (3,), 0 to 255.
        sun: Direction towards the sun on the ground, right and ahead of the camera, and up.
    """
    right, ahead = place
    radius, tall = size
    distance = math.sqrt(right * right + ahead * ahead)
    if min(ahead * pose[4], (ahead - 1.25 * radius) * pose[4] + pose[1] * pose[3]) < _NEAR:
        return
    coarse = tall * pose[5] < _FAR * distance
    rings = _COARSE if coarse else RINGS
    chains, counts = np.empty((2, 12, 2)), np.zeros(2, np.int64)
    # The line of sight: its parts to the right and ahead.
    sight = (right / distance, ahead / distance)
    for side in range(2):
        frame = (pose, image.shape[1], image.shape[0])
        sign = 2.0 * side - 1.0
        counts[side] = _chain(chains[side], frame, place, (sign * radius, tall), sight, rings)
    if min(counts[0], counts[1]) < 2:
        return
    level = math.sqrt(sun[0] * sun[0] + sun[1] * sun[1])
    scale = 1.0 / max(level, 1e-6)
    toward = -(sun[0] * sight[0] + sun[1] * sight[1]) * scale
    across = (sun[0] * sight[1] - sun[1] * sight[0]) * scale
    shades = np.empty(_SHADES // 4 if coarse else _SHADES, np.uint32)
    _shade(shades, colour, toward, across, level)
    _fill(image, chains, counts, shades)


@njit(cache=True, inline="always")
def _mix(below, above, cover):  # type: ignore[no-untyped-def]
    """Blends packed colours, `cover` of 256 of the upper one."""
    rest = np.uint32(256) - cover
    odd = ((below & np.uint32(0xFF00FF)) * rest + (above & np.uint32(0xFF00FF)) * cover) >> 8
    even = ((below & np.uint32(0xFF00)) * rest + (above & np.uint32(0xFF00)) * cover) >> 8
    return np.uint32((odd & np.uint32(0xFF00FF)) | (even & np.uint32(0xFF00)))


@njit(cache=True)
def _fill(image, chains, counts, shades):  # type: ignore[no-untyped-def]
    """Fills between two chains of image points that rise from foot to tip.

    Args:
        image: Packed pixels, shape (h, w, 1) uint32.
        chains: Left and right chain, x and y, shape (2, k, 2).
        counts: How many points each has.
        shades: Packed colours from left to right.
    """
    height, width = image.shape[:2]
    low = max(chains[0, 0, 1], chains[1, 0, 1])
    top = min(chains[0, counts[0] - 1, 1], chains[1, counts[1] - 1, 1])
    spot = np.zeros(2, np.int64)
    ends = np.empty(2)
    for row in range(min(height, math.ceil(low)) - 1, max(0, int(top)) - 1, -1):
        y = min(max(row + 0.5, top), low)
        for side in range(2):
            chain = chains[side]
            while spot[side] < counts[side] - 2 and chain[spot[side] + 1, 1] > y:
                spot[side] += 1
            k = spot[side]
            share = (chain[k, 1] - y) / max(chain[k, 1] - chain[k + 1, 1], 1e-6)
            ends[side] = chain[k, 0] + min(max(share, 0.0), 1.0) * (chain[k + 1, 0] - chain[k, 0])
        vertical = min(row + 1.0, low) - max(float(row), top)
        begin, end = ends[0], ends[1]
        scale = shades.shape[0] / max(end - begin, 1e-3)
        last = shades.shape[0] - 1
        for column in range(max(0, int(begin)), min(width, math.ceil(end))):
            across = min(column + 1.0, end) - max(float(column), begin)
            shade = shades[min(last, max(0, int((column + 0.5 - begin) * scale)))]
            cover = np.uint32(256.0 * max(0.0, across * vertical))
            if cover >= 255:
                image[row, column, 0] = shade
            else:
                image[row, column, 0] = _mix(image[row, column, 0], shade, cover)
