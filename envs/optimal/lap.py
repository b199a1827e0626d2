"""A time-optimal lap: its motion, what a second method says of it, and how it is stored."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl import moving
from donkey_rl.envs import grip as grips
from donkey_rl.envs import racing_line
from donkey_rl.envs import reference as references
from donkey_rl.envs.grip import Limits
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import limits as shipped_limits

FloatArray = npt.NDArray[np.float64]

LATERAL, TURN, FORWARD, RIGHTWARD, RATE, WHEEL, DRIVE, FRONT_SHARE, REAR_SHARE = range(9)
COLUMNS = 9

_LEAST_PIECE = 0.2
"""Pieces of the line are taken as no shorter (u) where its curvature is worked out."""

_CHECKED_TICKS = 5


class OptimalLap(NamedTuple):
    """The motion of a flying lap, one row every `spacing` u of the path.

    Attributes:
        lap_s: Time of the lap (s).
        spacing: Arc length of the path between two rows (u); the last leads back to the first.
        rows: Offset to the right of the path (u), angle to it (rad), forward and rightward
            velocity (u/s), yaw rate (rad/s), wheel angle (rad), drive of engine and wheels
            (u/s^2), and the share of what the tyres would give that they do give where they are
            overtaxed, of front and rear axle; shape (M, 9).
    """

    lap_s: float
    spacing: float
    rows: FloatArray

    def resampled(self, count: int) -> FloatArray:
        """Returns the rows at `count` even places of the path, shape (count, 9)."""
        index = len(self.rows) / count * np.arange(count, dtype=np.float64)
        return racing_line.interpolate(self.rows, index, closed=True)


def _places(road: Track, lap: OptimalLap) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns the points, shape (M, 2), the headings (rad) and the times to the next rows (s)."""
    rows = lap.rows
    arcs = lap.spacing * np.arange(len(rows), dtype=np.float64)
    turn, forward, right = rows[:, TURN], rows[:, FORWARD], rows[:, RIGHTWARD]
    ahead = forward * np.cos(turn) - right * np.sin(turn)
    slowness = (1.0 - rows[:, LATERAL] * racing_line.bend_at(road, arcs)) / ahead
    time = 0.5 * lap.spacing * (slowness + np.roll(slowness, -1))
    return road.path.beside(arcs, rows[:, LATERAL]), road.path.at(arcs)[2] + turn, time


def quasi_steady_s(road: Track, car: Vehicle, lap: OptimalLap, limits: Limits) -> float:
    """Returns the time of the same line by a second method (s).

    A forward and a backward pass of steady bends, `grip.speeds`, over the line's curvature: it
    knows the tyres from a table and nothing of yaw, and no solver is in it.
    """
    points, heading, _ = _places(road, lap)
    course = heading + np.arctan2(lap.rows[:, RIGHTWARD], lap.rows[:, FORWARD])
    length = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
    turn = np.roll(course, -1) - course
    turn -= 2.0 * math.pi * np.rint(turn / (2.0 * math.pi))
    # Of the pieces before and after each point, the longer one says more.
    bend = turn * length / np.maximum(length, _LEAST_PIECE)
    curvature = (bend + np.roll(bend, 1)) / np.maximum(length + np.roll(length, 1), 1e-9)
    grip = grips.measure(road, car, limits.grip)
    speed = grips.speeds(curvature, length, True, grip, limits)
    return float((2.0 * length / (speed + np.roll(speed, -1))).sum())


def drift(road: Track, car: Vehicle, lap: OptimalLap) -> FloatArray:
    """Holds a motion against the simulator, piece by piece.

    From each row on the simulator's own physics drives 0.1 s with the motion's commands.

    Returns:
        Distance (u) and differences of forward and rightward velocity (u/s) from the motion
        afterwards, shape (M, 3).
    """
    points, heading, durations = _places(road, lap)
    rows, count = lap.rows, len(lap.rows)
    time = np.concatenate([[0.0], np.cumsum(durations)])
    parameters, torque = vehicles.parameter_row(car), vehicles.torque_table(car)
    ground = road.road_friction if car.friction_from_ground else 1.0
    grip = grips.measure(road, car, 1.0)

    def index_at(moment: float) -> FloatArray:
        wrapped = math.fmod(moment, float(time[-1]))
        return np.array([np.interp(wrapped, time, np.arange(count + 1, dtype=np.float64))])

    gaps = np.zeros((count, 3))
    for k in range(count):
        motion = np.array([*points[k], heading[k], *rows[k, FORWARD : RATE + 1]])
        for tick in range(_CHECKED_TICKS):
            moment = time[k] + (tick + 0.5) * physics.TIME_STEP
            now = racing_line.interpolate(rows, index_at(moment), closed=True)[0]
            pull = float(grip.full_pull(motion[physics.FORWARD]))
            throttle = (now[DRIVE] + grip.wheel_drag * motion[physics.FORWARD]) / pull
            command = np.array([now[WHEEL] / math.radians(car.steer_limit_deg), throttle, 0.0])
            physics.advance(motion, command, parameters, torque, ground)
        index = index_at(time[k] + _CHECKED_TICKS * physics.TIME_STEP)
        place = racing_line.interpolate(points, index, closed=True)[0]
        after = racing_line.interpolate(rows, index, closed=True)[0]
        gaps[k] = (
            math.hypot(motion[physics.X] - place[0], motion[physics.Z] - place[1]),
            motion[physics.FORWARD] - after[FORWARD],
            motion[physics.RIGHTWARD] - after[RIGHTWARD],
        )
    return gaps


def limit_entry(road: Track, lap: OptimalLap, second_s: float) -> dict[str, Any]:
    """Returns what `metrics/limits.json` holds of a lap: its time and its line.

    Args:
        road: The track.
        lap: The lap.
        second_s: Its time by `quasi_steady_s`.
    """
    count = max(8, round(road.length))
    shift = road.start_line / lap.spacing
    index = shift + len(lap.rows) / count * np.arange(count, dtype=np.float64)
    rows = racing_line.interpolate(lap.rows, index, closed=True)
    points = road.path.beside(index * lap.spacing, rows[:, LATERAL])
    columns = {
        "x": points[:, 0],
        "z": points[:, 1],
        "speed": np.hypot(rows[:, FORWARD], rows[:, RIGHTWARD]),
    }
    whole = {n: np.rint(v / shipped_limits.UNIT).astype(int).tolist() for n, v in columns.items()}
    return {"lap_s": round(lap.lap_s, 3), "quasi_steady_s": round(second_s, 3), **whole}


def motion_entry(road: Track, lap: OptimalLap) -> dict[str, Any]:
    """Returns what `optimal/lines` holds of a lap: the columns of `reference.UNITS`."""
    rows = lap.resampled(max(16, round(road.length)))
    columns = {
        "lateral": LATERAL,
        "turn": TURN,
        "forward": FORWARD,
        "wheel": WHEEL,
        "drive": DRIVE,
    }
    return {
        name: np.rint(rows[:, column] / references.UNITS[name]).astype(int).tolist()
        for name, column in columns.items()
    }


def contents(file: pathlib.Path) -> dict[str, Any]:
    """Returns what a file of laps holds; where there is none, what an empty one would.

    Raises:
        InputError: The file is there and holds something else.
    """
    if not file.exists():
        return {"format": 1, "tracks": {}}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content["tracks"], dict):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _foreign(file) from error
    return content


def _foreign(file: pathlib.Path) -> InputError:
    return InputError(
        f"Laps are added to a file of laps. Received: '{file}', which holds something else. "
        "Name another file."
    )


def store(file: pathlib.Path, road: Track, car: Vehicle, entry: dict[str, Any]) -> None:
    """Adds an entry to a file of laps, or makes the file.

    Raises:
        InputError: The file is there and holds something else.
        StorageError: It cannot be written.
    """
    content = contents(file)
    tracks = content["tracks"]
    try:
        facts: dict[str, Any] = {
            "length": round(road.length, 4), "left": road.road_left, "right": road.road_right,
            "digests": [road.digest, road.mirrored().digest],
        }  # fmt: skip
        # Motions were stored without digests at first.
        before = {"digests": facts["digests"]} | tracks.get(road.name, {})
        same = {name: before.get(name) for name in facts} == facts
        cars = before["vehicles"] if same else {}
        tracks[road.name] = facts | {"vehicles": dict(sorted({**cars, car.name: entry}.items()))}
        content["tracks"] = dict(sorted(tracks.items()))
    except (KeyError, TypeError, AttributeError) as error:
        raise _foreign(file) from error
    try:
        # A link to a file that is shared stays one.
        moving.write(file.resolve(), json.dumps(content, separators=(",", ":")) + "\n")
    except OSError as error:
        raise StorageError(f"The laps could not be written to '{file}': {error}.") from error
