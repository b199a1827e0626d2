"""Where the body of a recorded car was, and how it leaned, when each frame was taken.

A trace holds places and directions of travel. The body points elsewhere than it travels: the
rear axle follows the bend and its tyres slip. It also leans on its springs, and the camera
with it: outwards in bends, backwards when the car gains speed.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import GRAVITY, Vehicle

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RATE_REACH = 0.06
"""The yaw rate is taken from this long before to this long after (s)."""

_GAIN_REACH = 0.15
"""The forward acceleration likewise (s); speeds are coarser than places."""

_SLOW = 2.0
"""Below this speed (u/s) curvature is measured against it, so that a standing car has none."""

_STANDING = 0.5
"""A drive that never exceeds this speed (u/s) shows no direction."""

_MOST_ACCELERATION = 2.0 * GRAVITY

_COURSE, _SPEED = 2, 3
"""Columns of `Trace.at`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """Where cars were; NaN where a recording does not say. Arrays of shape (k,).

    Attributes:
        record: Index in the recording.
        x: Ground place in u, Unity's x; `z` likewise.
        yaw: Of the body in rad, clockwise from +Z.
        speed: In u/s.
        yaw_rate: In rad/s.
        roll: Of the body in rad, positive where its right side is up.
        pitch: Of the body in rad, positive where its nose is down.
    """

    record: IntArray
    x: FloatArray
    z: FloatArray
    yaw: FloatArray
    speed: FloatArray
    yaw_rate: FloatArray
    roll: FloatArray
    pitch: FloatArray

    def __len__(self) -> int:
        """Number of poses."""
        return len(self.record)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which poses are known, shape (k,)."""
        return np.isfinite(self.x) & np.isfinite(self.z) & np.isfinite(self.yaw)


def slip_angle(vehicle: Vehicle, lateral_acceleration: FloatArray, grip: float) -> FloatArray:
    """Returns the angle between the rear wheels' plane and their way (rad), in steady bends.

    The inverse of the tyre's curve ``1.5 u - 0.5 u^3`` below its peak, `u` the share of the
    slip of most grip.

    Args:
        vehicle: The car.
        lateral_acceleration: In u/s^2, positive to the right.
        grip: Friction of the ground, 1 where it does not count.
    """
    share = lateral_acceleration / (GRAVITY * vehicle.friction_lateral * grip)
    u = np.linspace(0.0, 1.0, 129)
    part = np.interp(np.abs(share), 1.5 * u - 0.5 * u**3, u)
    return np.asarray(np.sign(share) * part * vehicle.slip_peak, dtype=np.float64)


def at(
    recording: Recording,
    trace: Trace,
    vehicle: Vehicle,
    records: npt.ArrayLike,
    *,
    lag: float = 0.0,
    grip: float = 1.0,
) -> Poses:
    """Returns where the car was when the frames of some records were taken.

    Args:
        recording: The drive.
        trace: Its places on the simulator's clock.
        vehicle: The car; its rear axle, tyres and springs.
        records: Indices of records, shape (k,).
        lag: By how much (s, the recorder's clock) a record's frame is older than its telemetry.
        grip: Friction of the ground, 1 where it does not count.

    Returns:
        One pose for each record, unknown outside the trace's stretches.
    """
    index = np.asarray(records, dtype=np.int64)
    rows = np.full((len(index), 8), np.nan)
    clock = recording.time_s[index] - lag
    # Springs and dampers follow a push later by about the ratio of the two.
    delay = vehicle.damper / vehicle.spring
    for stretch in trace.stretches():
        speed = np.nan_to_num(trace.speed[stretch])
        if len(speed) < 2 or speed.max() <= _STANDING:
            continue
        own = (index >= trace.record[stretch.start]) & (index <= trace.record[stretch.stop - 1])
        if own.any():
            rows[own] = _rows(trace, stretch, clock[own], delay)
    x, z, course, speed, rate, before, rate_before, gain = rows.T
    drift = vehicle.rear_axle * rate / np.maximum(speed, _SLOW)
    drift -= slip_angle(vehicle, _bounded(speed * rate), grip)
    # The body leans by what the tyres do; the drag acts at the centre of mass and turns nothing.
    push = _bounded(gain) + vehicle.drag * before
    roll, pitch = vehicle.lean_gains
    return Poses(
        record=index,
        x=x,
        z=z,
        yaw=course - drift,
        speed=speed,
        yaw_rate=rate,
        roll=roll * _bounded(before * rate_before),
        pitch=-pitch * push,
    )


def _bounded(acceleration: FloatArray) -> FloatArray:
    """Keeps a reset or a collision from becoming a lean."""
    return np.clip(acceleration, -_MOST_ACCELERATION, _MOST_ACCELERATION)


def _rows(trace: Trace, stretch: slice, clock: FloatArray, delay: float) -> FloatArray:
    """Returns x, z, course, speed, yaw rate; before `delay` speed, yaw rate, acceleration.

    Shape (k, 8), NaN outside the stretch.
    """
    time = trace.simulation_time(clock, stretch)
    known = trace.time[stretch]
    earlier = np.maximum(time - delay, known[0])

    def change(middle: FloatArray, reach: float, column: int) -> FloatArray:
        first, last = (np.clip(middle + reach * sign, known[0], known[-1]) for sign in (-1, 1))
        ends = [trace.at(each, stretch)[:, column] for each in (first, last)]
        return np.asarray((ends[1] - ends[0]) / np.maximum(last - first, 1e-3))

    return np.column_stack(
        [
            trace.at(time, stretch),
            change(time, _RATE_REACH, _COURSE),
            trace.at(earlier, stretch)[:, _SPEED],
            change(earlier, _RATE_REACH, _COURSE),
            change(earlier, _GAIN_REACH, _SPEED),
        ]
    )


def grip(vehicle: Vehicle, track: Track) -> float:
    """Returns the share of the tyres' grip that a track's road leaves."""
    return track.road_friction if vehicle.friction_from_ground else 1.0
