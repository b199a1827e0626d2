"""What drivers see: one rule for cars that are simulated here and for those of other programs.

Only what a race host sends: ``image``, ``speed`` as reported, ``imu`` (acceleration right, up,
forward as reported; angular velocity x, y, z in rad/s) and ``last_actions``, oldest first.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.envs.simulator.vehicle import TIME_STEP

FloatArray = npt.NDArray[np.float64]
Observation = dict[str, npt.NDArray[np.generic]]

SPEED_LIMIT = 100.0
IMU_LIMIT = 1000.0


def observed(
    image: npt.NDArray[np.uint8],
    speed: FloatArray,
    acceleration: tuple[FloatArray, FloatArray],
    yaw_rate: FloatArray,
    last_actions: npt.NDArray[np.float32],
) -> Observation:
    """Returns what N cars see; arrays have the car as axis 0.

    Args:
        image: Camera images, (N, h, w, 3).
        speed: As reported, (N,).
        acceleration: To the right and forward, as reported, (N,) each.
        yaw_rate: Around the vertical (rad/s), (N,).
        last_actions: Flat, oldest first, (N, 2 K); not copied.
    """
    imu = np.zeros((len(image), 6), dtype=np.float32)
    imu[:, 0], imu[:, 2], imu[:, 4] = *acceleration, yaw_rate
    return {
        "image": image,
        "speed": np.minimum(speed, SPEED_LIMIT).astype(np.float32)[:, None],
        "imu": np.clip(imu, -IMU_LIMIT, IMU_LIMIT),
        "last_actions": last_actions,
    }


def observed_by(
    told: Telemetry, image: npt.NDArray[np.uint8], last_actions: npt.NDArray[np.float32]
) -> Observation:
    """Returns what one car sees, from its telemetry alone and without an axis for the car.

    Args:
        told: What it senses; what it does not report is 0.
        image: Its camera's image, (h, w, 3).
        last_actions: Flat, oldest first, (2 K,).
    """
    right, _, forward = told.accel or (0.0, 0.0, 0.0)
    found = observed(
        image[None],
        np.array([abs(told.speed)]),
        (np.array([right]), np.array([forward])),
        np.array([yaw_rate(told)]),
        last_actions[None].copy(),
    )
    return {name: value[0] for name, value in found.items()}


def yaw_rate(told: Telemetry) -> float:
    """Returns the angular velocity about the vertical (rad/s), 0 where it is not reported."""
    if told.gyro is None:
        return 0.0
    if told.gyro_w is None:
        return told.gyro[1]
    # Before 2022: the quaternion of the rotation of one physics step.
    half = math.asin(min(1.0, max(-1.0, told.gyro[1])))
    return 2.0 * half / TIME_STEP
