"""What the tyres of a car bear in a steady bend, and the speeds that follow for a line.

The single-track car of `simulator.physics`, as it drives a bend at a constant rate: both axles
share the drive, carry the load that it shifts, and hold their share of the bend at the slip angle
that gives so much. Slipping tyres also push backwards, so that a hard bend costs speed even at
full throttle.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import GRAVITY, MASS_HEIGHT, Vehicle

FloatArray = npt.NDArray[np.float64]

_DRIVES = 61
_ACROSS = 97
_SLIPS = 121
_SPEEDS = 101
"""Entries of the tables over drive, acceleration across, slip angle and speed."""

_SLOWEST = 1.0
"""No line is planned to be driven more slowly (u/s)."""


class Limits(NamedTuple):
    """What a car may do, as it is driven.

    Attributes:
        throttle_min: Throttle command at the lower end; below 0 the engine brakes.
        throttle_max: Throttle command at the upper end.
        grip: Share of the tyres' grip that may be used.
    """

    throttle_min: float
    throttle_max: float
    grip: float


class Grip(NamedTuple):
    """A car in steady bends, per unit of its mass.

    Attributes:
        drive: What engine and wheels push (u/s^2), rising, shape (D,).
        across: Acceleration across the way (u/s^2), rising from 0, shape (A,).
        gain: Acceleration along the way, without the body's drag (u/s^2), shape (D, A).
        front: Slip angle of the front wheels (rad), shape (D, A).
        rear: Slip angle of the rear wheels (rad), shape (D, A).
        hardest: Bend that the tyres bear at most at each drive (u/s^2), shape (D,).
        pull: At full throttle over speed, table of `vehicle.torque_table` (u/s^2).
        top_speed: Speed at the end of that table (u/s).
        body_drag: Deceleration of the body for each unit of speed (1/s).
        wheel_drag: The same of the wheels, which counts as drive.
    """

    drive: FloatArray
    across: FloatArray
    gain: FloatArray
    front: FloatArray
    rear: FloatArray
    hardest: FloatArray
    pull: FloatArray
    top_speed: float
    body_drag: float
    wheel_drag: float

    def full_pull(self, speed: npt.ArrayLike) -> FloatArray:
        """Returns the engine's acceleration at full throttle (u/s^2), of the shape of `speed`."""
        grid = np.linspace(0.0, self.top_speed, len(self.pull))
        return np.asarray(np.interp(np.abs(speed), grid, self.pull), np.float64)

    def drives(self, across: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Returns the least and the most drive that a bend leaves (u/s^2).

        Args:
            across: The bend (u/s^2), any shape; beyond what the tyres bear it counts as that.
        """
        peak = int(np.argmax(self.hardest))
        bend = np.minimum(across, self.hardest[peak])
        rising, falling = self.hardest[: peak + 1], self.hardest[peak:]
        low = np.interp(bend, np.maximum.accumulate(rising), self.drive[: peak + 1])
        high = np.interp(-bend, np.maximum.accumulate(-falling), self.drive[peak:])
        return np.asarray(low, np.float64), np.asarray(high, np.float64)

    def look_up(self, table: FloatArray, drive: FloatArray, across: FloatArray) -> FloatArray:
        """Interpolates one of the tables, at drives and bends of shape (n,)."""
        row = np.interp(drive, self.drive, np.arange(len(self.drive), dtype=np.float64))
        column = np.interp(across, self.across, np.arange(len(self.across), dtype=np.float64))
        i = np.minimum(row.astype(np.int64), len(self.drive) - 2)
        j = np.minimum(column.astype(np.int64), len(self.across) - 2)
        down, right = row - i, column - j
        top = table[i, j] * (1.0 - right) + table[i, j + 1] * right
        bottom = table[i + 1, j] * (1.0 - right) + table[i + 1, j + 1] * right
        return np.asarray(top * (1.0 - down) + bottom * down, np.float64)


def _axle(
    drive: FloatArray, load: FloatArray, friction: tuple[float, float], car: Vehicle
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns slip angles (S,), and what an axle gives across and along its way, both (D, S)."""
    slip = np.linspace(0.0, car.slip_peak, _SLIPS)
    share = slip / car.slip_peak
    side = 1.5 * share - 0.5 * share**3
    most_along, most_across = friction[0] * load[:, None], friction[1] * load[:, None]
    push = np.clip(drive[:, None] / most_along, -1.0, 1.0)
    demand = np.maximum(1.0, np.hypot(push, side))
    along, across = push / demand * most_along, side / demand * most_across
    return (
        slip,
        across * np.cos(slip) + along * np.sin(slip),
        along * np.cos(slip) - across * np.sin(slip),
    )


def measure(road: Track, car: Vehicle, share: float) -> Grip:
    """Works out what a car bears on the road of a track.

    Args:
        road: The track.
        car: The car generation.
        share: Of the tyres' friction that may be used.
    """
    row = vehicles.parameter_row(car)
    scale = share * (road.road_friction if car.friction_from_ground else 1.0)
    friction = (scale * car.friction_longitudinal, scale * car.friction_lateral)
    pull = vehicles.torque_table(car) * row[vehicles.DRIVE_FORCE] / car.mass
    wheel_drag = float(row[vehicles.WHEEL_DRAG] / car.mass)
    strongest = min(float(pull.max()) + wheel_drag * car.curve_speed, friction[0] * GRAVITY)
    drive = np.linspace(-strongest, strongest, _DRIVES)
    across = np.linspace(0.0, friction[1] * GRAVITY, _ACROSS)
    base = car.wheelbase
    gain, slips = np.zeros((_DRIVES, _ACROSS)), np.zeros((2, _DRIVES, _ACROSS))
    hardest = np.full(_DRIVES, np.inf)
    # The front axle carries what lies behind the centre of mass, and the other way round; power
    # takes load off it.
    for axle, part in enumerate((car.rear_axle / base, car.front_axle / base)):
        shift = (axle - 0.5) * 2.0 * MASS_HEIGHT / base * drive
        slip, side, along = _axle(0.5 * drive, GRAVITY * part + shift, friction, car)
        for k in range(_DRIVES):
            most = int(np.argmax(side[k])) + 1
            slips[axle, k] = np.interp(part * across, side[k, :most], slip[:most])
            gain[k] += np.interp(slips[axle, k], slip, along[k])
            hardest[k] = min(hardest[k], side[k, most - 1] / part)
    return Grip(
        drive=drive,
        across=across,
        gain=gain,
        front=slips[0],
        rear=slips[1],
        hardest=hardest,
        pull=pull,
        top_speed=car.curve_speed,
        body_drag=car.drag,
        wheel_drag=wheel_drag,
    )


def drive_for(grip: Grip, gain: FloatArray, across: FloatArray) -> FloatArray:
    """Returns the drive that gives an acceleration along a bend (u/s^2).

    Args:
        grip: What the car bears.
        gain: Wanted acceleration, without the body's drag, shape (n,).
        across: Acceleration across the way, shape (n,).
    """
    count, choices = len(gain), len(grip.drive)
    bends = np.repeat(across, choices)
    gains = grip.look_up(grip.gain, np.tile(grip.drive, count), bends).reshape(count, choices)
    gains = np.maximum.accumulate(gains, axis=1)
    after = np.clip((gains < gain[:, None]).sum(axis=1), 1, choices - 1)
    car = np.arange(count)
    low, high = gains[car, after - 1], gains[car, after]
    part = np.clip((gain - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
    return np.asarray(grip.drive[after - 1] * (1.0 - part) + grip.drive[after] * part, np.float64)


def speeds(
    curvature: FloatArray, length: FloatArray, closed: bool, grip: Grip, limits: Limits
) -> FloatArray:
    """Returns the highest speeds at which a line can be driven, shape (M,).

    A forward and a backward pass within the car's grip (Heilmeier et al. 2020, "Minimum curvature
    trajectory planning and control for an autonomous race car", Vehicle System Dynamics 58,
    section 4).

    Args:
        curvature: Of the line (1/u), shape (M,).
        length: Of the piece that follows each of its points (u), shape (M,).
        closed: Whether the last piece leads back to the first point.
        grip: What the car bears.
        limits: Throttle that it may be given.
    """
    bend = np.abs(curvature)
    count = len(bend)
    table = _Table(grip, limits)
    speed = np.sqrt(table.hardest / np.maximum(bend, table.hardest / grip.top_speed**2))
    # Twice round, so that the first lap's start knows the last bend.
    way = np.arange(2 * count if closed else count) % count
    for here, there in itertools.pairwise(way):
        gain = table.gain(speed[here], bend[here], 1)
        squared = speed[here] ** 2 + 2.0 * gain * length[here]
        speed[there] = min(speed[there], math.sqrt(max(squared, _SLOWEST**2)))
    for here, there in itertools.pairwise(way[::-1]):
        loss = table.gain(speed[here], bend[here], -1)
        squared = speed[here] ** 2 - 2.0 * loss * length[there]
        speed[there] = min(speed[there], math.sqrt(max(squared, _SLOWEST**2)))
    return speed


class _Table:
    """Most and least acceleration over speed and bend, for the passes of `speeds`."""

    def __init__(self, grip: Grip, limits: Limits) -> None:
        self._speeds = np.linspace(0.0, grip.top_speed, _SPEEDS)
        low, high = grip.drives(grip.across)
        self.hardest = float(grip.hardest.max())
        pull = grip.full_pull(self._speeds)
        self._tables = {}
        for side, throttle in ((1, limits.throttle_max), (-1, limits.throttle_min)):
            wanted = (throttle * pull - grip.wheel_drag * self._speeds)[:, None]
            drive = np.clip(wanted, low, high)
            across = np.broadcast_to(grip.across, drive.shape)
            gain = grip.look_up(grip.gain, drive.ravel(), across.ravel()).reshape(drive.shape)
            self._tables[side] = (gain - grip.body_drag * self._speeds[:, None]).tolist()
        self._per_speed = (_SPEEDS - 1) / grip.top_speed
        self._per_across = (len(grip.across) - 1) / float(grip.across[-1])
        self._last = len(grip.across) - 2

    def gain(self, speed: float, bend: float, side: int) -> float:
        """Returns the most (side 1) or the least (side -1) acceleration (u/s^2)."""
        row, column = speed * self._per_speed, speed * speed * bend * self._per_across
        i, j = min(int(row), _SPEEDS - 2), min(int(column), self._last)
        down, right = row - i, min(column - j, 1.0)
        upper, lower = self._tables[side][i], self._tables[side][i + 1]
        top = upper[j] + (upper[j + 1] - upper[j]) * right
        bottom = lower[j] + (lower[j + 1] - lower[j]) * right
        return float(top + (bottom - top) * down)
