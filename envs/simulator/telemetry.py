"""A car's telemetry: the fields, order and units of the `telemetry` message of its generation.

The car of 2022 divides speed, velocity, acceleration and position by 8; `cte` is never divided.
The older cars send the speed ahead of the image, and no odometry and no pitch, yaw and roll; in
their place come `gyro_w`, `on_road` and `progress_on_shortest_path`.

Three things are the same for every car here, though they were not in the simulator:

* Velocity and acceleration are in the car's axes (x right, y up, z forward). The build of August
  2020 sent the velocity in world axes, and the same velocity again as acceleration.
* `cte` and `activeNode` follow the rule of 2022.
* Messages come every 0.06 and 0.04 s in turn. Before 2022 they came with the drawn frames.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import physics, stepping, vehicle
from donkey_rl.envs.simulator.interface import Simulator

Fields = dict[str, Any]
FloatArray = npt.NDArray[np.float64]


def fields(world: Simulator, i: int) -> Fields:
    """Returns the telemetry of car `i`, without the image.

    Returns:
        The message's fields in the order of emission. `lidar` is None until a lidar is mounted.
    """
    cars, scale = world.cars, world.vehicle.report_scale
    motion, sensed = cars.motion[i], cars.sensed[i]
    forward, right = motion[physics.FORWARD], motion[physics.RIGHTWARD]
    speed = math.hypot(forward, right) / scale
    newest = not world.vehicle.gyro_as_rotation
    message: Fields = {
        "msg_type": "telemetry",
        "steering_angle": float(cars.command[i, physics.STEERING]),
        "throttle": float(cars.command[i, physics.THROTTLE]),
    }
    if not newest:
        # Ahead of the image; a dictionary keeps this place when the speed is set again below.
        message["speed"] = speed
    message["lidar"] = None
    if newest:
        message |= {
            "rear_right_odom": float(sensed[stepping.ODOMETRY_REAR_RIGHT]),
            "rear_left_odom": float(sensed[stepping.ODOMETRY_REAR_LEFT]),
            "front_right_odom": float(sensed[stepping.ODOMETRY_FRONT_RIGHT]),
            "front_left_odom": float(sensed[stepping.ODOMETRY_FRONT_LEFT]),
        }
    message |= {
        "hit": world.hit_names()[i],
        "time": float(sensed[stepping.TIME]),
        "speed": speed,
        "accel_x": float(sensed[stepping.ACCEL_RIGHT]) / scale,
        "accel_y": 0.0,
        "accel_z": float(sensed[stepping.ACCEL_FORWARD]) / scale,
    }
    lean = cars.lean[i]
    message |= _gyro(motion, lean, newest)
    if newest:
        angles = (lean[physics.PITCH], motion[physics.YAW], lean[physics.ROLL])
        degrees = (math.degrees(angle) % 360.0 for angle in angles)
        message |= dict(zip(("pitch", "yaw", "roll"), degrees, strict=True))
    message |= {
        "cte": float(sensed[stepping.CTE]),
        "activeNode": int(cars.node[i]),
        "totalNodes": len(world.track.nodes),
        "pos_x": float(motion[physics.X]) / scale,
        "pos_y": vehicle.RIDE_HEIGHT / scale,
        "pos_z": float(motion[physics.Z]) / scale,
        "vel_x": float(right) / scale,
        "vel_y": 0.0,
        "vel_z": float(forward) / scale,
    }
    if not newest:
        lateral = sensed[stepping.LATERAL]
        inside = world.track.road_left <= lateral <= world.track.road_right
        message |= {
            "on_road": int(inside),
            "progress_on_shortest_path": float(sensed[stepping.ARC]) / world.track.length,
        }
    return message


def _gyro(motion: FloatArray, lean: FloatArray, newest: bool) -> Fields:
    """Angular velocity in rad/s about world axes, or the rotation of one physics step."""
    yaw, down, side = (
        motion[physics.YAW],
        lean[physics.PITCH_RATE],
        lean[physics.ROLL_RATE],
    )
    rates = (
        float(down * math.cos(yaw) + side * math.sin(yaw)),
        float(motion[physics.YAW_RATE]),
        float(side * math.cos(yaw) - down * math.sin(yaw)),
    )
    names = ("gyro_x", "gyro_y", "gyro_z")
    if newest:
        return dict(zip(names, rates, strict=True))
    size = math.hypot(*rates)
    half = 0.5 * size * physics.TIME_STEP
    share = math.sin(half) / size if size > 0.0 else 0.0
    turned = {name: share * rate for name, rate in zip(names, rates, strict=True)}
    return turned | {"gyro_w": math.cos(half)}
