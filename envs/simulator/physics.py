"""Motion of a car: a single-track model with the simulator's engine and tyres.

The state of a car is its row of the `motion` array: position (x, z) in u, yaw in rad (clockwise
from +Z), forward and rightward velocity of the centre of mass in u/s, yaw rate in rad/s.
Fixed step 0.02 s as in the simulator, cut into `SUBSTEPS` for the stiff tyres. Each axle's
sideways force follows the wheel's friction curve over its slip angle; the demand along and
across the wheel is scaled back onto the friction circle. Drive and brake shift load from one
axle to the other. Flat ground.

The body leans on its springs under the tyres' forces, its row of the `lean` array: roll (right
side up) and pitch (nose down) in rad with their rates, Unity's signs. The lean moves the camera
and changes nothing in the motion.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import vehicle as v

FloatArray = npt.NDArray[np.float64]

TIME_STEP = v.TIME_STEP
SUBSTEPS = 4
X, Z, YAW, FORWARD, RIGHTWARD, YAW_RATE = range(6)
STEERING, THROTTLE, BRAKE = range(3)
ROLL, ROLL_RATE, PITCH, PITCH_RATE = range(4)

_SLOW = 2.0
"""Below this speed (u/s) slip is measured against it, so that a standing car does not jitter."""


@njit(cache=True)
def _sideways_grip(slip: float, car: FloatArray) -> float:
    """Share of the grip used at a slip angle: 0 at 0, 1 at the peak, less when sliding."""
    size = abs(slip)
    if size < car[v.SLIP_PEAK]:
        u = size / car[v.SLIP_PEAK]
        grip = 1.5 * u - 0.5 * u * u * u
    elif size < car[v.SLIP_SLIDE]:
        u = (size - car[v.SLIP_PEAK]) / (car[v.SLIP_SLIDE] - car[v.SLIP_PEAK])
        grip = 1.0 - (1.0 - car[v.GRIP_SLIDE]) * u * u * (3.0 - 2.0 * u)
    else:
        grip = car[v.GRIP_SLIDE]
    return float(-grip if slip > 0.0 else grip)


@njit(cache=True)
def _axle_forces(
    drive: float, slip: float, load: float, grip: float, car: Any
) -> tuple[float, float]:
    """Force of one axle along and across its wheels, inside the friction circle."""
    limit_along = grip * car[v.GRIP_LONGITUDINAL] * load
    limit_across = grip * car[v.GRIP_LATERAL] * load
    along = min(1.0, max(-1.0, drive / limit_along))
    across = _sideways_grip(slip, car)
    demand = math.sqrt(along * along + across * across)
    if demand > 1.0:
        along /= demand
        across /= demand
    return along * limit_along, across * limit_across


@njit(cache=True)
def _drive_force(
    motion: FloatArray, command: FloatArray, car: FloatArray, torque: FloatArray, step: float
) -> float:
    """Engine, rolling resistance and brake, as one force along the car (N)."""
    speed = motion[FORWARD]
    place = min(1.0, abs(speed) / car[v.CURVE_SPEED]) * (torque.shape[0] - 1)
    low = min(int(place), torque.shape[0] - 2)
    factor = torque[low] + (torque[low + 1] - torque[low]) * (place - low)
    force = command[THROTTLE] * car[v.DRIVE_FORCE] * factor - car[v.WHEEL_DRAG] * speed
    brake = command[BRAKE] * car[v.BRAKE_FORCE]
    if brake > 0.0:
        # A brake stops the car, it never pushes it back.
        stop = -(speed / step * car[v.MASS] + force)
        force += min(brake, max(-brake, stop))
    return float(force)


@njit(cache=True)
def _advance(motion: Any, command: Any, car: Any, torque: Any, grip: float) -> tuple[float, float]:
    """Moves one car by one substep; returns what the tyres gave it, forward and right (u/s^2)."""
    step = TIME_STEP / SUBSTEPS
    front, rear, mass = car[v.FRONT_AXLE], car[v.REAR_AXLE], car[v.MASS]
    weight = mass * v.GRAVITY / (front + rear)
    wheel = command[STEERING] * car[v.STEER_LIMIT]
    cos_wheel, sin_wheel = math.cos(wheel), math.sin(wheel)
    forward, right, rate = motion[FORWARD], motion[RIGHTWARD], motion[YAW_RATE]

    front_right = right + front * rate
    rolling = forward * cos_wheel + front_right * sin_wheel
    sliding = front_right * cos_wheel - forward * sin_wheel
    front_slip = math.atan2(sliding, max(abs(rolling), _SLOW))
    rear_slip = math.atan2(right - rear * rate, max(abs(forward), _SLOW))
    drive = 0.5 * _drive_force(motion, command, car, torque, step)
    most = 0.5 * grip * car[v.GRIP_LONGITUDINAL] * mass * v.GRAVITY
    # Under power the rear axle carries more, and the front axle less of the bend.
    shift = v.MASS_HEIGHT / (front + rear) * 2.0 * min(most, max(-most, drive))
    least = 0.9 * weight * min(front, rear)
    shift = min(least, max(-least, shift))
    front_load, rear_load = weight * rear - shift, weight * front + shift
    front_along, front_across = _axle_forces(drive, front_slip, front_load, grip, car)
    rear_along, rear_across = _axle_forces(drive, rear_slip, rear_load, grip, car)

    push_forward = rear_along + front_along * cos_wheel - front_across * sin_wheel
    push_right = front_across * cos_wheel + front_along * sin_wheel
    turn = front * push_right - rear * rear_across
    forward_gain = push_forward / mass + right * rate - car[v.DRAG] * forward
    right_gain = (push_right + rear_across) / mass - forward * rate - car[v.DRAG] * right
    motion[FORWARD] = forward + step * forward_gain
    motion[RIGHTWARD] = right + step * right_gain
    motion[YAW_RATE] = rate + step * (turn / car[v.YAW_INERTIA] - car[v.ANGULAR_DRAG] * rate)
    motion[YAW] += step * motion[YAW_RATE]
    sin_yaw, cos_yaw = math.sin(motion[YAW]), math.cos(motion[YAW])
    motion[X] += step * (motion[FORWARD] * sin_yaw + motion[RIGHTWARD] * cos_yaw)
    motion[Z] += step * (motion[FORWARD] * cos_yaw - motion[RIGHTWARD] * sin_yaw)
    return push_forward / mass, (push_right + rear_across) / mass


@njit(cache=True)
def advance(motion: Any, command: Any, car: Any, torque: Any, grip: float) -> tuple[float, float]:
    """Moves one car by one physics step (0.02 s).

    Args:
        motion: Shape (6,), changed in place.
        command: Shape (3,): steering and throttle in [-1, 1], brake from 0.
        car: Shape (23,), the row of `vehicle.parameter_row`.
        torque: Shape (P,), the table of `vehicle.torque_table`.
        grip: Friction of the ground below the car, 1 where it does not count.

    Returns:
        What the tyres gave the car, forward and right, the mean over the step (u/s^2): its
        acceleration but for the drag.
    """
    forward, right = 0.0, 0.0
    for _ in range(SUBSTEPS):
        one = _advance(motion, command, car, torque, grip)
        forward += one[0]
        right += one[1]
    return forward / SUBSTEPS, right / SUBSTEPS


@njit(cache=True)
def _swing(angle: float, rate: float, push: float, spring: tuple[float, float]) -> float:
    """Mean rate over one physics step of ``angle'' = push - k angle - c angle'`` (k, c: spring).

    The implicit midpoint rule: stable for the stiffest springs, and it takes no energy away.
    """
    half = 0.5 * TIME_STEP
    stiffness, damping = spring
    gained = rate + half * (push - stiffness * angle)
    return gained / (1.0 + half * damping + half * half * stiffness)


@njit(cache=True)
def sway(lean: Any, push: tuple[float, float], car: Any) -> None:
    """Lets one body lean for one physics step (0.02 s).

    Around each axis through its centre of mass the body turns by the tyres' forces below, against
    springs and dampers; gravity tips it farther. Steady angles: `Vehicle.lean_gains` times the
    push, to the outside of a bend and nose up under acceleration.

    Args:
        lean: Shape (4,), changed in place.
        push: What the tyres gave the car, forward and right (u/s^2), see `advance`.
        car: Shape (23,), the row of `vehicle.parameter_row`.
    """
    arm = car[v.LEAN_ARM]
    roll_inertia, pitch_inertia = car[v.MASS] * v.ROLL_GYRATION, car[v.MASS] * v.PITCH_GYRATION
    tip = car[v.MASS] * v.GRAVITY * arm
    roll_spring = (
        (car[v.ROLL_STIFFNESS] - tip) / roll_inertia,
        car[v.ROLL_DAMPING] / roll_inertia + car[v.ANGULAR_DRAG],
    )
    pitch_spring = (
        (car[v.PITCH_STIFFNESS] - tip) / pitch_inertia,
        car[v.PITCH_DAMPING] / pitch_inertia + car[v.ANGULAR_DRAG],
    )
    roll = _swing(lean[ROLL], lean[ROLL_RATE], push[1] * arm / v.ROLL_GYRATION, roll_spring)
    down = _swing(lean[PITCH], lean[PITCH_RATE], -push[0] * arm / v.PITCH_GYRATION, pitch_spring)
    lean[ROLL] += TIME_STEP * roll
    lean[ROLL_RATE] = 2.0 * roll - lean[ROLL_RATE]
    lean[PITCH] += TIME_STEP * down
    lean[PITCH_RATE] = 2.0 * down - lean[PITCH_RATE]
