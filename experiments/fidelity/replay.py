"""Driving the embedded car along recorded commands, from recorded states.

A window begins at a sample of the trace: the model's car is put where the recorded one was, with
its speed, its direction of travel and the yaw rate of the way through the neighbouring samples;
what no recording holds, the slip, is what the tyres need for that way. From there on it only gets
commands.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.physics import FORWARD, RIGHTWARD, X, Z

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

HORIZONS = (0.5, 1.0, 2.0)
"""Simulation time (s) after which prediction and recording are compared."""

EARLIEST_DELAY, LATEST_DELAY = -0.2, 0.8
"""Delays (s) between a recorded command and its effect for which windows are made."""

SHORTEST_DRIVE = HORIZONS[-1] + LATEST_DELAY - EARLIEST_DELAY
"""Shorter drives (s) hold no window with all commands that may act in it."""

_HARDEST_LOSS = 10.0
"""Sliding tyres take about g (u/s^2) and no car brakes harder: losing more was a hit."""

_AFTER_HIT = 0.5
"""A car is still shaken this long (s) after a hit."""

_SLOWEST = 1.0
"""Windows of a lower mean speed (u/s) say more about standing than about driving."""

_SLOW = 2.0
"""Below this speed (u/s) slip is measured against it, as the physics does."""

_REACH = 0.2
"""Changes of yaw rate and slip are taken from this long before to this long after (s)."""

_MOST_SLIP = 0.25
"""Largest angle (rad) between body and way at the start of a window."""


class Model(NamedTuple):
    """What the physics kernel needs: see `physics.advance`."""

    car: FloatArray
    torque: FloatArray
    grip: float


@dataclasses.dataclass(frozen=True, eq=False)
class Replay:
    """The drives of a recording one behind the other on one axis of physics steps.

    Attributes:
        step: Physics step of each sample, shape (m,).
        place: Ground point ``[x, z]`` in u, shape (m, 2).
        speed: In u/s, shape (m,).
        course: Direction of travel in rad, shape (m,).
        rate: Its change in rad/s, shape (m,).
        stretch: Number of the unbroken drive, shape (m,).
        outside: Whether the car was off the road, shape (m,).
        command_time: When each record's command was written, s on the axis, shape (r,).
        command: Steering and throttle, shape (r, 2); NaN where unknown.
    """

    step: IntArray
    place: FloatArray
    speed: FloatArray
    course: FloatArray
    rate: FloatArray
    stretch: IntArray
    outside: BoolArray
    command_time: FloatArray
    command: FloatArray

    @property
    def time(self) -> FloatArray:
        """Time of each sample in s on the common axis, shape (m,)."""
        return np.asarray(self.step * physics.TIME_STEP, dtype=np.float64)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.step)


class Windows(NamedTuple):
    """Where predictions begin, and why not elsewhere.

    Attributes:
        sample: Index of the first sample of each window, shape (k,).
        left_out: Number of samples at which no window begins, by reason.
    """

    sample: IntArray
    left_out: dict[str, int]


def model(vehicle: v.Vehicle, ground_friction: float) -> Model:
    """Returns the physics of a car on ground of that friction."""
    grip = ground_friction if vehicle.friction_from_ground else 1.0
    return Model(v.parameter_row(vehicle), v.torque_table(vehicle), grip)


def replay(recording: Recording, trace: Trace, road: tuple[float, float] | None = None) -> Replay:
    """Lays the drives of a recording on one axis of physics steps.

    Args:
        recording: Its commands count; records without a place in a drive are left out.
        trace: Its places on the simulator's clock.
        road: Cross-track error (u) of the left and right edge; None if it does not matter.

    Returns:
        Possibly without samples: drives too short for any window are left out.
    """
    parts: list[tuple[Any, ...]] = []
    begin = 0
    pause = round((LATEST_DELAY - EARLIEST_DELAY) / physics.TIME_STEP) + 1
    for number, stretch in enumerate(trace.stretches()):
        if trace.time[stretch.stop - 1] - trace.time[stretch.start] < SHORTEST_DRIVE:
            continue
        chosen = _usable(trace, stretch)
        if len(chosen) < 3:
            continue
        step = np.rint(trace.time[chosen] / physics.TIME_STEP).astype(np.int64)
        own_time = np.asarray(step * physics.TIME_STEP, dtype=np.float64)
        # Where a car never moves there is no course; no window begins there either.
        course = np.nan_to_num(trace.course[chosen])
        records, command_time = _command_times(recording, trace, stretch)
        parts.append((
            step + begin, trace.place[chosen], trace.speed[chosen], course,
            _rate(trace.place[chosen], own_time, course),
            np.full(len(chosen), number), _outside(recording.cte[trace.record[chosen]], road),
            command_time + begin * physics.TIME_STEP,
            np.column_stack([recording.steering[records], recording.throttle[records]]),
        ))  # fmt: skip
        begin += int(step[-1]) + pause
    if not parts:
        none = np.zeros(0)
        whole = none.astype(np.int64)
        return Replay(
            whole, np.zeros((0, 2)), none, none, none, whole, none > 0, none, np.zeros((0, 2))
        )
    return Replay(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _usable(trace: Trace, stretch: slice) -> IntArray:
    """Returns the samples of a stretch that are known and on physics steps of their own."""
    samples = np.arange(stretch.start, stretch.stop)
    rows = np.column_stack([trace.time, trace.place, trace.speed])[stretch]
    samples = samples[np.isfinite(rows).all(axis=1)]
    step = np.rint(trace.time[samples] / physics.TIME_STEP)
    return samples[np.diff(step, prepend=-1.0) > 0]


def _command_times(
    recording: Recording, trace: Trace, stretch: slice
) -> tuple[IntArray, FloatArray]:
    """Returns the records of a stretch and when they were written on its clock."""
    records = np.arange(trace.record[stretch.start], trace.record[stretch.stop - 1] + 1)
    time = trace.simulation_time(recording.time_s[records], stretch, even=True)
    known = np.isfinite(time)
    return records[known], np.maximum.accumulate(time[known])


def _rate(place: FloatArray, time: FloatArray, course: FloatArray) -> FloatArray:
    """Returns how fast the direction of travel changes, from three places at a time."""
    leg = np.diff(place, axis=0)
    direction = np.unwrap(np.arctan2(leg[:, 0], leg[:, 1]))
    gap = np.diff(time)
    rate = np.gradient(course, time)
    # Legs too short for a direction: there the course, carried over from elsewhere, is better.
    long = np.hypot(leg[:, 0], leg[:, 1]) > 0.05
    sharp = np.diff(direction) / (0.5 * (gap[1:] + gap[:-1]))
    rate[1:-1] = np.where(long[1:] & long[:-1], sharp, rate[1:-1])
    return np.asarray(rate, dtype=np.float64)


def _outside(cte: FloatArray, road: tuple[float, float] | None) -> BoolArray:
    """Returns where wheels stood off the road; an unknown place is taken for on it."""
    if road is None:
        return np.zeros(len(cte), dtype=np.bool_)
    left, right = road
    return (cte - v.WHEEL_LATERAL < left) | (cte + v.WHEEL_LATERAL > right)


def windows(drives: Replay) -> Windows:
    """Returns the samples from which a whole longest horizon can be compared.

    A window must lie in one drive, with the commands that act in it; without a hit in it or
    just before; on the road; and the car must drive.
    """
    time, length = drives.time, HORIZONS[-1]
    if not len(drives):
        return Windows(np.zeros(0, dtype=np.int64), {})
    first = np.flatnonzero(np.diff(drives.stretch, prepend=-1))
    last = np.append(first[1:], len(drives)) - 1
    part = np.searchsorted(first, np.arange(len(drives)), side="right") - 1
    room = (time >= time[first][part] + LATEST_DELAY - 1e-9) & (
        time + length <= time[last][part] + EARLIEST_DELAY + 1e-9
    )
    gap = np.maximum(np.diff(time, prepend=time[0]), physics.TIME_STEP)
    hit = np.diff(drives.speed, prepend=drives.speed[0]) / gap < -_HARDEST_LOSS
    hit[first] = False
    way = np.concatenate(
        [[0.0], np.cumsum(0.5 * (drives.speed[1:] + drives.speed[:-1]) * np.diff(time))]
    )
    driven = np.interp(time + length, time, way) - way
    unknown = np.isnan(drives.command[:, 0]) | np.isnan(drives.command[:, 1])
    begin, end = time - LATEST_DELAY, time + length - EARLIEST_DELAY
    checks = {
        "too near an end of the drive": ~room,
        "commands unknown": _any_within(drives.command_time, unknown, begin, end),
        "hit": _any_within(time, hit, time - _AFTER_HIT, time + length),
        "off the road": _any_within(time, drives.outside, time, time + length),
        "standing": driven < _SLOWEST * length,
    }
    free = np.ones(len(drives), dtype=np.bool_)
    left_out = {}
    for name, bad in checks.items():
        left_out[name] = int((free & bad).sum())
        free &= ~bad
    return Windows(
        np.flatnonzero(free), {name: count for name, count in left_out.items() if count}
    )


def _any_within(
    time: FloatArray, flag: BoolArray, begin: FloatArray, end: FloatArray
) -> BoolArray:
    """Returns whether a flag is up at any time in each closed interval."""
    count = np.concatenate([[0], np.cumsum(flag)])
    low = np.searchsorted(time, begin - 1e-9, side="left")
    high = np.searchsorted(time, end + 1e-9, side="right")
    return np.asarray(count[high] > count[low])


def commands(drives: Replay, delay: float) -> FloatArray:
    """Returns what acted on the car in each physics step.

    Commands are held until the next one. A step in which one follows the other gets their mean,
    so that predictions change smoothly with the delay.

    Args:
        drives: The drives.
        delay: Time between a command's record and its effect in s.

    Returns:
        Steering, throttle and brake (0: no recording has it), shape (steps, 3).
    """
    held, time = np.nan_to_num(drives.command), drives.command_time
    total = np.zeros_like(held)
    np.cumsum(held[:-1] * np.diff(time)[:, None], axis=0, out=total[1:])
    edge = np.arange(drives.step[-1] + 2) * physics.TIME_STEP - delay
    place = np.clip(np.searchsorted(time, edge, side="right") - 1, 0, len(time) - 1)
    upto = total[place] + held[place] * (edge - time[place])[:, None]
    acting = np.zeros((len(edge) - 1, 3))
    acting[:, :2] = np.diff(upto, axis=0) / physics.TIME_STEP
    return acting


def start_states(drives: Replay, car: Model, sample: IntArray) -> FloatArray:
    """Returns the motion at some samples, see `physics`; shape (k, 6).

    The body points away from the direction of travel by the bend's angle at the rear axle less
    the slip of the rear tyres. That is the inverse ``2 sin(asin(s) / 3)`` of the tyres' curve
    ``s = 1.5 u - 0.5 u^3``, for the share `s` of their grip that the bend and the gain in yaw
    rate need, on an axle that carries more under power; without the gain a fit of the grip is
    off by several per cent. The yaw rate is that of the way less that of this angle.
    """
    row, speed, time = car.car, drives.speed, drives.time
    inertia = row[v.YAW_INERTIA] / (row[v.MASS] * row[v.FRONT_AXLE])
    across = speed * drives.rate - inertia * _change(time, drives.rate)
    gain = _change(time, speed) + row[v.DRAG] * speed
    load = 1.0 + np.clip(v.MASS_HEIGHT * gain / (v.GRAVITY * row[v.FRONT_AXLE]), -0.5, 0.5)
    share = np.clip(across / (v.GRAVITY * row[v.GRIP_LATERAL] * car.grip * load), -1.0, 1.0)
    slip = 2.0 * np.sin(np.arcsin(share) / 3.0) * row[v.SLIP_PEAK]

    def drift(rate: FloatArray) -> FloatArray:
        angle = np.arctan(row[v.REAR_AXLE] * rate / np.maximum(speed, _SLOW)) - slip
        return np.asarray(np.clip(angle, -_MOST_SLIP, _MOST_SLIP))

    rate = drives.rate - _change(time, drift(drives.rate))
    angle, swift = drift(rate)[sample], speed[sample]
    return np.column_stack(
        [
            drives.place[sample], drives.course[sample] - angle,
            swift * np.cos(angle), swift * np.sin(angle), rate[sample],
        ]
    )  # fmt: skip


def _change(time: FloatArray, values: FloatArray) -> FloatArray:
    """Returns the change per second; where a drive begins or ends it says nothing."""
    after, before = (np.interp(time + each, time, values) for each in (_REACH, -_REACH))
    return np.asarray((after - before) / (2.0 * _REACH))


@njit(cache=True)
def _run(
    states: Any, start: Any, acting: Any, car: Any, torque: Any, grip: Any, until: Any
) -> Any:
    """Drives each window; returns place and speed after some steps, shape (k, h, 3)."""
    reached = np.zeros((start.shape[0], until.shape[0], 3))
    motion = np.zeros(6)
    for w in range(start.shape[0]):
        motion[:] = states[w]
        step = start[w]
        for h in range(until.shape[0]):
            while step < start[w] + until[h]:
                physics.advance(motion, acting[step], car, torque, grip)
                step += 1
            reached[w, h, 0] = motion[X]
            reached[w, h, 1] = motion[Z]
            reached[w, h, 2] = np.hypot(motion[FORWARD], motion[RIGHTWARD])
    return reached


def predicted(
    drives: Replay, car: Model, sample: IntArray, delay: float, horizons: tuple[float, ...]
) -> FloatArray:
    """Returns where the model's car is after each horizon.

    Args:
        drives: The drives.
        car: The model.
        sample: Where the windows begin, shape (k,).
        delay: Of the commands in s.
        horizons: In s, rising, h of them; multiples of the physics step.

    Returns:
        x, z in u and speed in u/s, shape (k, h, 3).
    """
    until = np.rint(np.asarray(horizons) / physics.TIME_STEP).astype(np.int64)
    states = start_states(drives, car, sample)
    acting = commands(drives, delay)
    reached: FloatArray = _run(states, drives.step[sample], acting, *car, until)
    return reached


def recorded(drives: Replay, sample: IntArray, horizons: tuple[float, ...]) -> FloatArray:
    """Returns where the recorded car was after each horizon, as `predicted` does.

    Between samples the place is the cubic through them with their velocities; a straight chord
    would cut bends by several hundredths of a unit.
    """
    time = drives.time
    when = time[sample][:, None] + np.asarray(horizons)[None, :]
    low = np.clip(np.searchsorted(time, when + 1e-9, side="right") - 1, 0, len(time) - 2)
    gap = (time[low + 1] - time[low])[..., None]
    u = (when[..., None] - time[low][..., None]) / gap
    direction = np.column_stack([np.sin(drives.course), np.cos(drives.course)])
    velocity = drives.speed[:, None] * direction
    place = (
        (2 * u**3 - 3 * u**2 + 1) * drives.place[low]
        + (u**3 - 2 * u**2 + u) * gap * velocity[low]
        + (3 * u**2 - 2 * u**3) * drives.place[low + 1]
        + (u**3 - u**2) * gap * velocity[low + 1]
    )
    speed = np.interp(when, time, drives.speed)
    return np.concatenate([place, speed[..., None]], axis=-1)
