"""A camera that leans with the car's body, or is mounted askew.

The drawing goes row by row through an upright picture, since each of its rows sees the ground at
one distance. A leaning camera at the same place sees the same picture from another side: the
upright one is drawn with a margin, where the leaning one looks, and its pixels are fetched from
there by the homography of the rotation, the nearest one each. A turn to the side alone needs none
of this: it is part of the direction in which the upright camera looks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from donkey_rl.envs.simulator import pixels
from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.physics import PITCH, ROLL, YAW, X, Z

UPRIGHT = math.radians(0.1)
"""Roll and change of the pitch below this are not drawn (rad): they move no pixel by a third."""

_FRACTION = 16
"""Bits behind the point of pixel coordinates."""

_PIECE = 40
"""Pixels of a row between two exactly computed places."""

_WIDEST = 150.0
"""Beyond this field of view the margins grow no more (degrees)."""

_DEEPEST = 0.05
"""Least depth of a ray in the upright camera; what looks farther aside is not seen."""


@njit(cache=True)
def look(motion, lean, pose):  # type: ignore[no-untyped-def]
    """Returns where the camera of a leaning car is and looks.

    The body's rotation is Unity's: yaw, then pitch, then roll, around its centre of mass; the
    camera's own on the body in the same order.

    Args:
        motion: Shape (6,).
        lean: Shape (4,).
        pose: The camera's row of `camera.Views.pose`.

    Returns:
        The eye (x, z, sine and cosine of the yaw), its yaw (rad), its height (u), and the
        rotation against the upright camera: change of the pitch and roll (rad).
    """
    right, above, forward = pose[0], pose[1] - v.MASS_HEIGHT, pose[2]
    down, up = math.sin(lean[PITCH]), math.cos(lean[PITCH])
    sin_roll, cos_roll = math.sin(lean[ROLL]), math.cos(lean[ROLL])
    side = right * cos_roll - above * sin_roll
    above = right * sin_roll + above * cos_roll
    height = above * up - forward * down + v.MASS_HEIGHT
    ahead = above * down + forward * up

    # Axes of the camera on the body: its view, and the upward parts of its right and upper side.
    sin_turn, cos_turn = math.sin(pose[7]), math.cos(pose[7])
    sin_own, cos_own = math.sin(pose[8]), math.cos(pose[8])
    view = (sin_turn * pose[4], -pose[3], cos_turn * pose[4])
    sides = (cos_turn * cos_own + sin_turn * pose[3] * sin_own, pose[4] * sin_own,
             -sin_turn * cos_own + cos_turn * pose[3] * sin_own)  # fmt: skip
    tops = (-cos_turn * sin_own + sin_turn * pose[3] * cos_own, pose[4] * cos_own,
            sin_turn * sin_own + cos_turn * pose[3] * cos_own)  # fmt: skip
    view_side = view[0] * cos_roll - view[1] * sin_roll
    view_up = view[0] * sin_roll + view[1] * cos_roll
    view_rise = view_up * up - view[2] * down
    view_ahead = view_up * down + view[2] * up
    side_rise = (sides[0] * sin_roll + sides[1] * cos_roll) * up - sides[2] * down
    top_rise = (tops[0] * sin_roll + tops[1] * cos_roll) * up - tops[2] * down

    yaw = motion[YAW] + math.atan2(view_side, view_ahead)
    tilt = math.asin(min(1.0, max(-1.0, -view_rise))) - pose[6]
    sin_yaw, cos_yaw = math.sin(motion[YAW]), math.cos(motion[YAW])
    x = motion[X] + side * cos_yaw + ahead * sin_yaw
    z = motion[Z] - side * sin_yaw + ahead * cos_yaw
    roll = math.atan2(side_rise, top_rise)
    return (x, z, math.sin(yaw), math.cos(yaw)), yaw, height, (tilt, roll)


@njit(cache=True)
def _upright_place(x: float, y: float, turn: Any) -> tuple[float, float]:
    """Place on the upright image plane of a point on the leaning one: right, up."""
    sin_tilt, cos_tilt, sin_roll, cos_roll = turn
    across = x * cos_roll - y * sin_roll
    rise = x * sin_roll + y * cos_roll
    depth = max(_DEEPEST, rise * sin_tilt + cos_tilt)
    return across / depth, (rise * cos_tilt - sin_tilt) / depth


@njit(cache=True)
def rotation(tilt: float, roll: float) -> tuple[float, float, float, float]:
    """Returns sines and cosines of a change of the pitch and a roll."""
    return math.sin(tilt), math.cos(tilt), math.sin(roll), math.cos(roll)


def margins(size: tuple[int, int], fov: float, roll: float, tilt: float) -> tuple[int, int]:
    """Returns how far beyond the image a leaning camera looks.

    Args:
        size: Height and width of the image.
        fov: Widest vertical field of view (degrees).
        roll: Largest roll (rad).
        tilt: Largest change of the pitch (rad).

    Returns:
        Rows above and below, columns at each side; at most a third of the image's larger side.
    """
    high, wide = 0.5 * size[0], 0.5 * size[1]
    focal = high / math.tan(math.radians(min(fov, _WIDEST)) / 2.0)
    turns = [rotation(one, other) for one in (-tilt, tilt) for other in (-roll, roll)]
    right, up = wide / focal, high / focal
    ends = [(x, y) for x in (-right, right) for y in (-up, up)]
    corners = np.array([_upright_place(x, y, turn) for turn in turns for x, y in ends])
    columns, rows = np.ceil(focal * np.abs(corners).max(axis=0) - (wide, high))
    most = max(size) // 3
    return min(most, int(rows) + 1), min(most, int(columns) + 1)


@njit(cache=True)
def spans(size: Any, room: Any, focal: float, turn: Any, found: Any) -> tuple[int, int]:
    """Finds which pixels of the upright picture the leaning image needs.

    Args:
        size: Height and width of the image.
        room: Height H and width of the upright picture.
        focal: Focal length in pixels.
        turn: See `rotation`.
        found: Shape (H, 2), filled in: first column and the one behind the last, for each row.

    Returns:
        First row and the row behind the last.
    """
    height, width = size
    rows, columns = room
    corners = np.empty((4, 2))
    for k in range(4):
        x = 0.5 * (width - 1) * (1.0 if k in (1, 2) else -1.0)
        y = 0.5 * (height - 1) * (1.0 if k < 2 else -1.0)
        right, rise = _upright_place(x / focal, y / focal, turn)
        corners[k] = (0.5 * columns + focal * right, 0.5 * rows - focal * rise)
    top = max(0, math.floor(corners[:, 1].min()) - 1)
    bottom = min(rows, math.floor(corners[:, 1].max()) + 2)
    found[:, 0], found[:, 1] = columns, 0
    for k in range(4):
        here, then = corners[k], corners[(k + 1) % 4]
        if here[1] > then[1]:
            here, then = then, here
        slope = (then[0] - here[0]) / max(then[1] - here[1], 1e-6)
        for row in range(max(top, int(here[1]) - 1), min(bottom, int(then[1]) + 2)):
            for edge in (row - 0.01, row + 1.01):
                inside = min(max(edge, here[1]), then[1])
                column = here[0] + (inside - here[1]) * slope
                found[row, 0] = min(found[row, 0], max(0, math.floor(column) - 1))
                found[row, 1] = max(found[row, 1], min(columns, math.floor(column) + 2))
    return top, bottom


@njit(cache=True)
def _lay(places, start, step, columns):  # type: ignore[no-untyped-def]
    """Lays pixels along a straight line through the upright picture.

    Args:
        places: Shape (n,), filled in: index of the pixel in the flat picture.
        start: Column and row of the first pixel, in fixed point.
        step: The same of one pixel's way.
        columns: Width of the upright picture.
    """
    x, y, width = np.int32(start[0]), np.int32(start[1]), np.int32(columns)
    step_x, step_y = np.int32(step[0]), np.int32(step[1])
    for k in range(np.int32(places.shape[0])):
        right = (x + np.int32(k) * step_x) >> np.int32(_FRACTION)
        down = (y + np.int32(k) * step_y) >> np.int32(_FRACTION)
        places[k] = np.uint32(down * width + right)


@njit(cache=True)
def _fixed(x: float, y: float, focal: float, room: Any, turn: Any) -> tuple[float, float]:
    """Column and row in the upright picture, times `1 << _FRACTION`, of a leaning place."""
    right, up = _upright_place(x, y, turn)
    scale = float(1 << _FRACTION)
    column, row = 0.5 * room[1] + focal * right, 0.5 * room[0] - focal * up
    return (
        min(room[1] * scale - 1.0, max(0.0, column * scale)),
        min(room[0] * scale - 1.0, max(0.0, row * scale)),
    )


@njit(cache=True)
def fetch(image, upright, focal, turn):  # type: ignore[no-untyped-def]
    """Fills in a leaning image from the upright picture.

    Every few pixels the place is computed exactly, in between it is a straight line: a place is
    hardly off by a tenth of a pixel. What lies outside repeats the edge.

    Args:
        image: Shape (h, w, 3) uint8.
        upright: Shape (H, W) packed pixels.
        focal: Focal length in pixels.
        turn: See `rotation`.
    """
    height, width = image.shape[:2]
    flat, room = upright.reshape(-1), upright.shape
    places, line = np.empty(width, dtype=np.uint32), np.empty(width, dtype=np.uint32)
    for r in range(height):
        y = 0.5 * (height - 1 - 2 * r) / focal
        here = _fixed(0.5 * (1 - width) / focal, y, focal, room, turn)
        for first in range(0, width, _PIECE):
            last = min(first + _PIECE, width)
            then = _fixed((last - 0.5 * width + 0.5) / focal, y, focal, room, turn)
            count = last - first
            step = (int((then[0] - here[0]) / count), int((then[1] - here[1]) / count))
            _lay(places[first:last], here, step, room[1])
            here = then
        for k in range(width):
            line[k] = flat[places[k]]
        pixels.unpack(image[r], line)
