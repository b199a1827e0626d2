"""Where episodes start: the grid, around it, or anywhere on the road."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_OPEN_END = 30.0
"""No random start lies within this distance of an open road's end (u)."""


class Start(NamedTuple):
    """Where cars start, one entry a car.

    Attributes:
        arc: Arc length along the path (u).
        lateral: Offset to the right of the path (u).
        turn: Angle to the path, clockwise (rad).
        speed: Forward (u/s).
        roll: Of the body, right side up (rad); it swings back on its springs.
        pitch: Of the body, nose down (rad).
    """

    arc: FloatArray
    lateral: FloatArray
    turn: FloatArray
    speed: FloatArray
    roll: FloatArray | float = 0.0
    pitch: FloatArray | float = 0.0


def nearest_arc(track: Track, x: float, z: float) -> float:
    """Returns the arc length (u) of the path's point nearest to a place."""
    gaps = track.path.points - np.array([x, z])
    return float(np.argmin((gaps**2).sum(axis=1)) * track.path.spacing)


def nearest_nodes(track: Track, arcs: FloatArray, places: FloatArray) -> IntArray:
    """Returns the path node nearest to each car, out of those around its arc length.

    Args:
        track: The track.
        arcs: Arc lengths (u), shape (k,).
        places: x and z (u), shape (k, 2).

    Returns:
        Shape (k,).
    """
    nodes = track.nodes
    pieces = len(nodes) if track.closed else len(nodes) - 1
    near = np.rint(arcs / track.length * pieces).astype(np.int64)[:, None] + np.arange(-3, 4)
    near = near % len(nodes) if track.closed else np.clip(near, 0, len(nodes) - 1)
    gaps = ((nodes[near] - places[:, None, :]) ** 2).sum(axis=2)
    return np.take_along_axis(near, gaps.argmin(axis=1)[:, None], axis=1)[:, 0]


def grid_place(track: Track, slot: int) -> tuple[float, float, float]:
    """Returns arc length, lateral offset and angle to the path of a slot of the start grid."""
    pose = track.grid.slot(slot)
    arc = nearest_arc(track, pose.x, pose.z)
    x, z, yaw = (float(value) for value in track.path.at(arc))
    lateral = (pose.x - x) * math.cos(yaw) - (pose.z - z) * math.sin(yaw)
    return arc, lateral, pose.yaw - yaw


def draw(
    setting: Randomisation, track: Track, slot: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draws arc length, lateral offset (u), angle to the path (rad) and speed (u/s) of a start."""
    half_width = 0.5 * (track.road_right - track.road_left)
    last = track.length - (0.0 if track.closed else _OPEN_END)
    offsets = rng.uniform(-1.0, 1.0, size=2)
    arc = rng.uniform(0.0, last)
    lateral, turn = 0.5 * (track.road_left + track.road_right), 0.0
    if not setting.start_anywhere:
        arc, lateral, turn = grid_place(track, slot)
    lateral += offsets[0] * setting.start_lateral * half_width
    turn += offsets[1] * math.radians(setting.start_yaw)
    return arc, lateral, turn, rng.uniform(0.0, 1.0) * setting.start_speed


def draw_all(
    setting: Randomisation, track: Track, slots: IntArray, streams: list[np.random.Generator]
) -> Start:
    """Draws a start for each of some cars, around its grid slot or anywhere on the road."""
    pairs = zip(slots, streams, strict=True)
    table = np.array([draw(setting, track, int(slot), rng) for slot, rng in pairs])
    return Start(table[:, 0], table[:, 1], table[:, 2], table[:, 3])


def motion(track: Track, start: Start) -> FloatArray:
    """Returns the rows of `physics` of cars on their start, shape (k, 6)."""
    x, z, yaw = track.path.at(start.arc)
    rows = np.zeros((len(x), 6))
    rows[:, physics.X] = x + start.lateral * np.cos(yaw)
    rows[:, physics.Z] = z - start.lateral * np.sin(yaw)
    rows[:, physics.YAW] = yaw + start.turn
    rows[:, physics.FORWARD] = start.speed
    return rows
