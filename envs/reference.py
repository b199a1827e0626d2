"""How a track is driven: place, direction, speed and commands of a car all along the path.

Two kinds: the motion of a time-optimal lap with a little grip and road left (`envs.optimal`,
shipped in `optimal/lines`), and, where there is none, steady bends along a racing line.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import grip as grips
from donkey_rl.envs import racing_line
from donkey_rl.envs.grip import Grip, Limits
from donkey_rl.envs.racing_line import RacingLine
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle

FloatArray = npt.NDArray[np.float64]

FOLDER = pathlib.Path(__file__).with_name("optimal") / "lines"
UNITS = {"lateral": 1e-3, "turn": 1e-4, "forward": 1e-2, "wheel": 1e-3, "drive": 1e-2}
"""Columns of a shipped motion, whole numbers of these units (u, rad, u/s, rad, u/s^2)."""

(LATERAL, TURN, FORWARD, RIGHTWARD, RATE, WHEEL, DRIVE, ADVANCE) = range(8)
_MIRRORED = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
_SAME = 0.01
"""Lengths that differ by less (u) are the same."""


class Reference(NamedTuple):
    """A motion along a track's path, one row every `spacing` u of the path.

    Attributes:
        rows: Offset to the right of the path (u), angle to it (rad), forward and rightward
            velocity (u/s), yaw rate (rad/s), wheel angle (rad), drive of the engine and the wheels
            (u/s^2), arc length of the path gained for each u driven; shape (M, 8).
        spacing: Arc length of the path between two rows (u).
        closed: Whether the last row leads back to the first.
    """

    rows: FloatArray
    spacing: float
    closed: bool

    def at(self, arc: FloatArray) -> FloatArray:
        """Interpolates the rows at arc lengths of the path (u), any shape, with one axis more."""
        return racing_line.interpolate(self.rows, arc / self.spacing, self.closed)

    def resampled(self, count: int) -> FloatArray:
        """Returns the rows of a closed motion at `count` even places, shape (count, 8)."""
        return self.at(len(self.rows) * self.spacing / count * np.arange(count, dtype=np.float64))


def load(road: Track, car: Vehicle) -> Reference | None:
    """Returns the shipped motion for a track and a car, None where there is none.

    Mirror images of tracks have that of the track. A motion counts for the track it was computed
    for alone: a road of the same name with another length, other edges or friction has none.
    """
    name = road.name.removesuffix(tracks.MIRROR)
    mirrored = name != road.name
    content = _read(FOLDER / f"{name}.json").get(name, {}) if name in tracks.names() else {}
    stored = content.get("vehicles", {}).get(car.name)
    left, right = road.road_left, road.road_right
    edges = (-right, -left) if mirrored else (left, right)
    figures = [road.length, *edges, road.road_friction]
    if stored is None or not np.allclose(
        [content["length"], content["left"], content["right"], tracks.ROAD_FRICTION],
        figures,
        atol=_SAME,
    ):
        return None
    columns = {n: unit * np.array(stored[n], np.float64) for n, unit in UNITS.items()}
    rows = complete(road.mirrored() if mirrored else road, columns)
    return Reference(rows * _MIRRORED if mirrored else rows, road.length / len(rows), True)


@functools.lru_cache(maxsize=16)
def _read(file: pathlib.Path) -> dict[str, Any]:
    """Returns the motions of a file by tracks, nothing where none are shipped."""
    if not file.is_file():
        return {}
    return dict(json.loads(file.read_text(encoding="utf-8"))["tracks"])


def complete(road: Track, columns: dict[str, FloatArray]) -> FloatArray:
    """Returns the rows of a `Reference` from the columns that are stored, shape (M, 8).

    Sideways velocity and yaw rate follow from how offset and angle change along the closed path.
    """
    count = len(columns["lateral"])
    spacing = road.length / count
    arcs = spacing * np.arange(count, dtype=np.float64)
    bend = racing_line.bend_at(road, arcs)
    lateral, turn, forward = (columns[name] for name in ("lateral", "turn", "forward"))
    outwards, swing = (
        (np.roll(each, -1) - np.roll(each, 1)) / (2.0 * spacing) for each in (lateral, turn)
    )
    # Course of the line seen from the path, then from the car's heading.
    slip = np.arctan2(outwards, 1.0 - lateral * bend) - turn
    rightward = forward * np.tan(slip)
    speed = np.hypot(forward, rightward)
    advance = 1.0 / np.hypot(1.0 - lateral * bend, outwards)
    rate = (swing + bend) * advance * speed
    return np.stack(
        [lateral, turn, forward, rightward, rate, columns["wheel"], columns["drive"], advance],
        axis=1,
    )


def steady(road: Track, car: Vehicle, line: RacingLine, grip: Grip, limits: Limits) -> Reference:
    """Returns the motion along a racing line as if each of its bends went on for ever.

    Args:
        road: The track.
        car: The car generation.
        line: With its speeds.
        grip: What the tyres bear.
        limits: Throttle that the car may be given.
    """
    count = len(line.points)
    arcs = line.spacing * np.arange(count, dtype=np.float64)
    x, z, yaw = road.path.at(arcs)
    dx, dz = line.points[:, 0] - x, line.points[:, 1] - z
    course = np.arctan2(*line.direction.T) - yaw
    course -= 2.0 * np.pi * np.rint(course / (2.0 * np.pi))
    piece = np.hypot(*(np.roll(line.points, -1, axis=0) - line.points).T)
    squared = np.append(line.speed, line.speed[0] if line.closed else line.speed[-1]) ** 2
    gain = np.diff(squared) / (2.0 * np.maximum(piece, 0.1 * line.spacing))
    across = np.abs(line.curvature) * line.speed**2
    drive = grips.drive_for(grip, gain + grip.body_drag * line.speed, across)
    pull, rolling = grip.full_pull(line.speed), grip.wheel_drag * line.speed
    drive = np.clip(drive, limits.throttle_min * pull - rolling, limits.throttle_max * pull)
    side = np.sign(line.curvature)
    rear = side * grip.look_up(grip.rear, drive, across)
    front = side * grip.look_up(grip.front, drive, across)
    slip = car.rear_axle * line.curvature - rear
    wheel = np.arctan(car.wheelbase * line.curvature) + front - rear
    advance = line.spacing / np.maximum(piece, 0.1 * line.spacing)
    rows = [
        dx * np.cos(yaw) - dz * np.sin(yaw), course - slip, line.speed * np.cos(slip),
        line.speed * np.sin(slip), line.curvature * line.speed, wheel, drive, advance,
    ]  # fmt: skip
    return Reference(np.stack(rows, axis=1), line.spacing, line.closed)
