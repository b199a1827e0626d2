"""Where episodes start: the grid, around it, or anywhere on the road."""

from __future__ import annotations

import collections
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

_REMEMBERED = 128
"""Places of failures on one road that are kept, the newest."""

_BEFORE = (8.0, 40.0)
"""How far before such a place an episode starts (u)."""


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
    half_width = 0.5 * track.road_width
    last = max(0.0, track.length - (0.0 if track.closed else _OPEN_END))
    offsets = rng.uniform(-1.0, 1.0, size=2)
    arc = rng.uniform(0.0, last)
    lateral, turn = track.road_middle, 0.0
    if not setting.start_anywhere:
        arc, lateral, turn = grid_place(track, slot)
    lateral += offsets[0] * setting.start_lateral * half_width
    turn += offsets[1] * math.radians(setting.start_yaw)
    return arc, lateral, turn, rng.uniform(0.0, 1.0) * setting.start_speed


def draw_all(
    setting: Randomisation,
    track: Track,
    slots: IntArray,
    streams: list[np.random.Generator],
    failures: Failures | None = None,
) -> Start:
    """Draws a start for each of some cars, around its grid slot or anywhere on the road.

    Args:
        setting: What is randomised.
        track: The road.
        slots: Grid slot of each car.
        streams: Random stream of each car.
        failures: Places that `Randomisation.start_at_failures` of the starts lie before.
    """
    pairs = zip(slots, streams, strict=True)
    table = np.array([draw(setting, track, int(slot), rng) for slot, rng in pairs])
    start = Start(table[:, 0], table[:, 1], table[:, 2], table[:, 3])
    if failures is None or not (setting.start_anywhere and setting.start_at_failures):
        return start
    return failures.moved(start, setting.start_at_failures, streams)


class Failures:
    """Places where episodes ended badly, to be tried again from shortly before.

    A curriculum that needs no hand: what is driven well is seldom begun at (after Jiang et al.
    2021, "Prioritized Level Replay", arXiv:2010.03934, by places in place of levels).
    """

    def __init__(self, track: Track) -> None:
        """Begins with none.

        Args:
            track: The road.
        """
        self._track = track
        self._arcs: collections.deque[float] = collections.deque(maxlen=_REMEMBERED)

    def add(self, arcs: FloatArray) -> None:
        """Takes in where episodes have just been terminated: arc lengths (u), shape (k,)."""
        self._arcs.extend(float(arc) for arc in arcs)

    def forget(self) -> None:
        """Begins anew."""
        self._arcs.clear()

    def moved(self, start: Start, share: float, streams: list[np.random.Generator]) -> Start:
        """Returns starts of which a share is moved along the road to before such a place.

        Args:
            start: As drawn.
            share: Probability of each.
            streams: Random streams of the cars, which nothing is drawn from without a place.
        """
        if not self._arcs:
            return start
        arcs = start.arc.copy()
        for k, rng in enumerate(streams):
            if rng.random() < share:
                place = self._arcs[int(rng.integers(len(self._arcs)))] - rng.uniform(*_BEFORE)
                last = self._track.length - _OPEN_END
                arcs[k] = (
                    place % self._track.length
                    if self._track.closed
                    else max(0.0, min(place, last))
                )
        return start._replace(arc=arcs)


def motion(track: Track, start: Start) -> FloatArray:
    """Returns the rows of `physics` of cars on their start, shape (k, 6)."""
    x, z, yaw = track.path.at(start.arc)
    rows = np.zeros((len(x), 6))
    rows[:, physics.X] = x + start.lateral * np.cos(yaw)
    rows[:, physics.Z] = z - start.lateral * np.sin(yaw)
    rows[:, physics.YAW] = yaw + start.turn
    rows[:, physics.FORWARD] = start.speed
    return rows
