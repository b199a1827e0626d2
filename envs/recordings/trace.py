"""Where a recorded car was and when: stale records left out, the clock mended.

A recorder writes the last telemetry it has, so a place may stand in several records, and its
own clock need not be the simulator's. Between two fresh records the car drove a known way at a
known speed: their quotient is the simulation time that passed.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator.vehicle import TIME_STEP

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MOVING = 2.0
"""Below this speed (u/s) way / speed says nothing about time."""

_LONGEST_GAP = 0.6
"""A longer pause (s) without a fresh record ends a stretch."""

_TELEPORT = 1.5
"""A way longer than this (u) beyond what speed allows is a reset, not a drive."""

_FASTEST = 30.0
"""Speed (u/s) that no car exceeds, for a recorder that wrote none."""

_HARDEST = 10.0
"""More than tyres can do (u/s^2): the car hit something, and way / mean speed is not time."""

_STILL = 0.01
"""A way between samples (u) that may be the jitter of a standing car and has no direction."""

_EVEN_SAMPLES = 21
"""Samples over which `Trace.simulation_time` evens out the recorder's clock."""


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """The fresh records of a recording on the simulator's clock.

    Attributes:
        record: Index of each sample in the recording, shape (m,).
        time: Simulation time in s, rising from 0 in each stretch, shape (m,).
        recorded_time: The recorder's clock at that record in s, never falling within a stretch,
            shape (m,).
        place: Ground point ``[x, z]`` in u, shape (m, 2).
        speed: In u/s, shape (m,); along the places where none was recorded, NaN where a stretch
            of one sample has none.
        course: Direction of travel in rad, clockwise from +Z, continuous within a stretch,
            shape (m,). Where the car stands: that of the nearest sample where it moves; NaN in a
            stretch without motion.
        stretch: Number of the unbroken drive each sample belongs to, from 0, shape (m,).
    """

    record: IntArray
    time: FloatArray
    recorded_time: FloatArray
    place: FloatArray
    speed: FloatArray
    course: FloatArray
    stretch: IntArray

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.record)

    def stretches(self) -> list[slice]:
        """Returns the samples of each unbroken drive; some may be one sample long."""
        return _slices(self.stretch)

    def records(self, stretch: slice) -> slice:
        """Returns the recording's records from the first sample of a drive to its last.

        The recorder's clock may have shown the same time in another drive: choose records by
        index before asking `simulation_time`.
        """
        own = self.record[stretch]
        return slice(int(own[0]), int(own[-1]) + 1) if len(own) else slice(0, 0)

    def simulation_time(
        self, recorded_time: FloatArray, stretch: slice, *, even: bool = False
    ) -> FloatArray:
        """Turns the recorder's clock into simulation time, NaN outside the stretch.

        A place is fresh when the simulator sent it, but it stands in the recorder's next record:
        between the two clocks there is a jitter of up to one record. What came with the place,
        such as the frame of the same record, follows it. What the recorder itself did at its own
        pace, such as sending commands, does not: evened out, the recorder's clock runs steadily.

        Args:
            recorded_time: In s, any shape.
            stretch: The drive that it falls into.
            even: Whether to even out the jitter, over about twenty samples.
        """
        clock, time = self.recorded_time[stretch], self.time[stretch]
        if not len(clock):
            return np.full(np.shape(recorded_time), np.nan)
        if even:
            time = _evened(clock, time)
        return np.interp(recorded_time, clock, time, left=np.nan, right=np.nan)

    def at(self, time: FloatArray, stretch: slice) -> FloatArray:
        """Interpolates x, z, course and speed; NaN outside the stretch.

        Args:
            time: Simulation time in s, shape (k,).
            stretch: The drive.

        Returns:
            Shape (k, 4).
        """
        known = self.time[stretch]
        if not len(known):
            return np.full((len(time), 4), np.nan)
        columns = (
            self.place[stretch, 0], self.place[stretch, 1],
            self.course[stretch], self.speed[stretch],
        )  # fmt: skip
        return np.stack(
            [np.interp(time, known, each, left=np.nan, right=np.nan) for each in columns], axis=1
        )


def trace(recording: Recording) -> Trace:
    """Finds the fresh records, the simulation time between them and the direction of travel.

    A drive is broken where the recorder's clock goes back, where nothing fresh came for more
    than 0.6 s, and where the car is farther away than it can have driven.

    Args:
        recording: Needs positions; without speeds the recorder's own clock is trusted.

    Returns:
        Possibly no samples at all.
    """
    rows = _fresh(recording)
    place = recording.position[rows][:, [0, 2]]
    clock, speed = recording.time_s[rows], recording.speed[rows].copy()
    gap, broken = _gaps(np.hypot(*np.diff(place, axis=0).T), np.diff(clock), speed)
    stretch = np.concatenate([[0], np.cumsum(broken)]).astype(np.int64)[: len(rows)]
    time, course = np.zeros(len(rows)), np.zeros(len(rows))
    for own in _slices(stretch):
        time[own.start + 1 : own.stop] = np.cumsum(gap[own.start : own.stop - 1])
        course[own] = _course(place[own])
        unknown = ~np.isfinite(speed[own])
        if unknown.any():
            speed[own] = np.where(unknown, _own_speed(place[own], time[own]), speed[own])
    return Trace(rows, time, clock, place, speed, course, stretch)


def _slices(stretch: IntArray) -> list[slice]:
    """Returns the runs of equal numbers."""
    if not len(stretch):
        return []
    ends = [*(np.flatnonzero(np.diff(stretch)) + 1).tolist(), len(stretch)]
    return [slice(first, end) for first, end in zip([0, *ends[:-1]], ends, strict=True)]


def _fresh(recording: Recording) -> IntArray:
    """Returns the records with a known place and time that is not that of the one before."""
    position = recording.position
    known = np.isfinite(position[:, [0, 2]]).all(axis=1) & np.isfinite(recording.time_s)
    rows: IntArray = np.flatnonzero(known).astype(np.int64)
    if not len(rows):
        return rows
    # The height too: a car that stands trembles on its springs.
    before, after = position[rows[:-1]], position[rows[1:]]
    moved = ((before != after) & np.isfinite(before) & np.isfinite(after)).any(axis=1)
    return np.asarray(rows[np.concatenate([[True], moved])], dtype=np.int64)


def _gaps(
    way: FloatArray, clock: FloatArray, speed: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Returns the simulation time between samples, and whether the drive broke off there.

    Args:
        way: Between neighbours in u, shape (m - 1,).
        clock: What passed on the recorder's clock in s, shape (m - 1,).
        speed: In u/s or NaN, shape (m,).
    """
    if not len(way):
        return np.zeros(0), np.zeros(0, dtype=np.bool_)
    middle = 0.5 * (speed[1:] + speed[:-1])
    moving = middle > _MOVING
    by_way = way / np.where(moving, middle, 1.0)
    # Telemetry is sent at physics steps: time differences are whole multiples.
    whole = np.maximum(np.rint(by_way / TIME_STEP), 1.0) * TIME_STEP
    steady = moving & (np.abs(np.diff(speed)) <= _HARDEST * whole + 0.5)
    rate = _rate(whole, clock, steady)
    by_clock = np.maximum(clock * rate, TIME_STEP)
    gap = np.where(steady, whole, by_clock)
    fastest = np.maximum(speed[1:], speed[:-1])
    fastest = np.where(np.isfinite(fastest), fastest, _FASTEST)
    # The recorder's clock may have stood still where two messages came at once.
    usual = float(np.median(gap[clock >= 0.0])) if (clock >= 0.0).any() else 0.0
    passed = np.maximum(by_clock, 2.0 * usual)
    far = way > 1.3 * fastest * np.minimum(passed, 2.0 * _LONGEST_GAP) + _TELEPORT
    broken = (gap > _LONGEST_GAP) | (clock < 0.0) | (by_clock > 2.0 * _LONGEST_GAP) | far
    return np.where(broken, 0.0, gap), broken


def _rate(whole: FloatArray, clock: FloatArray, steady: npt.NDArray[np.bool_]) -> float:
    """Returns the simulation time for each second of the recorder's clock.

    Sums, not single quotients: the jitter of a recorder that writes at its own pace cancels.
    """
    usable = steady & (clock >= 0.0) & (clock <= 2.0) & (whole <= _LONGEST_GAP)
    passed = float(clock[usable].sum())
    return float(whole[usable].sum()) / passed if passed > 0.0 else 1.0


def _evened(clock: FloatArray, time: FloatArray) -> FloatArray:
    """Returns the line fitted to simulation time over the clock around each sample, there.

    Near the ends it is the line of the first or last `_EVEN_SAMPLES` samples.
    """
    count = len(clock)
    size = min(_EVEN_SAMPLES, count)
    if size < 3:
        return time
    window = np.clip(np.arange(count) - size // 2, 0, count - size)
    clocks, times = (
        np.lib.stride_tricks.sliding_window_view(each, size) for each in (clock, time)
    )
    middle_clock, middle_time = clocks.mean(axis=1), times.mean(axis=1)
    apart = clocks - middle_clock[:, None]
    spread = (apart**2).sum(axis=1)
    slope = (apart * times).sum(axis=1) / np.where(spread > 0.0, spread, 1.0)
    found = middle_time[window] + slope[window] * (clock - middle_clock[window])
    return np.maximum.accumulate(found)


def _own_speed(place: FloatArray, time: FloatArray) -> FloatArray:
    """Returns the speed along the places, for a recorder that wrote none."""
    if len(place) < 2:
        return np.full(len(place), np.nan)
    velocity = np.gradient(place, time, axis=0)
    return np.hypot(velocity[:, 0], velocity[:, 1])


def _course(place: FloatArray) -> FloatArray:
    """Returns the tangent at each place of the circle through it and its neighbours, nearly.

    The directions of the two legs, weighed by their lengths: off by 2e-5 rad where a leg is a
    tenth of the radius.

    Args:
        place: Of one stretch, shape (k, 2).
    """
    count = len(place)
    leg = np.diff(place, axis=0)
    length = np.hypot(leg[:, 0], leg[:, 1])
    driven = np.flatnonzero(length > _STILL)
    if not len(driven):
        return np.full(count, np.nan)
    # Unwrapped over the driven legs alone: the jitter of a standing car would wind it up.
    known = np.unwrap(np.arctan2(leg[driven, 0], leg[driven, 1]))
    direction = known[_nearest(driven, count - 1)]
    length = np.maximum(length, 1e-9)
    course = np.empty(count)
    share = length[:-1] / (length[:-1] + length[1:])
    course[1:-1] = direction[:-1] + share * np.diff(direction)
    course[0] = 2.0 * direction[0] - course[1] if count > 2 else direction[0]
    course[-1] = 2.0 * direction[-1] - course[-2] if count > 2 else direction[0]
    return course


def _nearest(chosen: IntArray, count: int) -> IntArray:
    """Returns for each of ``range(count)`` the position in `chosen` of the nearest index.

    >>> _nearest(np.array([1, 5]), 7).tolist()
    [0, 0, 0, 0, 1, 1, 1]
    """
    middles = 0.5 * (chosen[1:] + chosen[:-1])
    return np.asarray(np.searchsorted(middles, np.arange(count)), dtype=np.int64)
