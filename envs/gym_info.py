"""What the `info` of a gym-donkeycar environment says, as the telemetry it was made of.

gym-donkeycar hands on what the simulator reports, in its units. What it leaves out cannot be had
back: the time, odometry, the angles of the lidar's beams, the encoded pictures. It says 0 for
what the simulator did not send.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from donkey_rl.envs.link.reports import Telemetry, Vector
from donkey_rl.errors import ConfigurationError

_NOWHERE = (0.0, 0.0, 0.0)
"""The place of a car that was not sent: the height of one that was is never 0."""


def read_hit(info: Mapping[str, Any]) -> str:
    """Returns what was touched, ``"none"`` for nothing."""
    return str(info.get("hit") or "none")


def read_telemetry(
    info: Mapping[str, Any], hit: str, *, time: float, command: Sequence[float], older: bool
) -> Telemetry:
    """Returns a message without its picture; what is not there is left out.

    Args:
        info: gym-donkeycar's `info`.
        hit: What was touched.
        time: Simulation time (s).
        command: Steering and throttle that were sent.
        older: Whether the car is one of before 2022, which reports no angles, and the rotation of
            one physics step as `gyro`.

    Raises:
        ConfigurationError: The angles of a car of 2022 are missing.
    """
    position, velocity = _vector(info, "pos"), _vector(info, "vel")
    gyro = _vector(info, "gyro")
    speed = _number(info.get("speed"))
    if speed is None:
        speed = math.hypot(*velocity) if velocity else 0.0
    return Telemetry(
        image="",
        time=time,
        speed=abs(speed),
        steering=float(command[0]),
        throttle=float(command[1]),
        hit=hit,
        accel=_vector(info, "accel"),
        gyro=gyro,
        gyro_w=_last_of_quaternion(gyro) if gyro and older else None,
        angles=None if older else _angles(info),
        cte=_number(info.get("cte")),
        position=None if position == _NOWHERE else position,
        velocity=velocity,
    )


def _number(value: Any) -> float | None:
    """Returns a finite number, None where it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _vector(info: Mapping[str, Any], key: str) -> Vector | None:
    """Returns three finite numbers, None where they are none."""
    value = info.get(key)
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 3:
        return None
    x, y, z = (_number(part) for part in value)
    return None if x is None or y is None or z is None else (x, y, z)


def _angles(info: Mapping[str, Any]) -> Vector:
    """Returns pitch, yaw and roll (degrees), which are roll, pitch and yaw in `info`."""
    found = _vector(info, "car")
    if found is None:
        raise ConfigurationError(
            "The environment's info must say roll, pitch and yaw as 'car'. "
            f"Received: {info.get('car')!r}. For a simulator of before 2022, which has none, set "
            f"vehicle=donkey_2021."
        )
    roll, pitch, yaw = found
    return pitch, yaw, roll


def _last_of_quaternion(part: Vector) -> float:
    """Returns the last number of a unit quaternion that turns by less than half a turn."""
    return math.sqrt(max(0.0, 1.0 - sum(each * each for each in part)))
