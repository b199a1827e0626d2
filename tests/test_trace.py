"""Where a recorded car was and when, against drives whose truth is known."""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.recordings import formats, trace
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from tests import synthetic_recordings as synthetic
from tests.synthetic_recordings import Drive, Recorder

FloatArray = npt.NDArray[np.float64]


@functools.cache
def drive() -> Drive:
    return synthetic.drive(seconds=40.0, frames=False)


def recorded(folder: pathlib.Path, recorder: Recorder, own: Drive | None = None) -> Recording:
    (found,) = formats.read(synthetic.write_csv(own or drive(), folder, recorder))
    return found


def by_hand(
    place: npt.ArrayLike, time: npt.ArrayLike, speed: npt.ArrayLike | None = None
) -> Recording:
    """A recording of ground points (n, 2), with speeds only if they are given."""
    x, z = np.asarray(place, dtype=np.float64).reshape(-1, 2).T
    count = len(x)
    unknown = np.full(count, np.nan)
    return Recording(
        name="by hand",
        time_s=np.asarray(time, dtype=np.float64),
        position=np.column_stack([x, np.full(count, 0.5), z]),
        speed=unknown if speed is None else np.asarray(speed, dtype=np.float64),
        cte=unknown,
        steering=unknown,
        throttle=unknown,
        frames=(None,) * count,
    )


def straight(z: npt.ArrayLike, **columns: npt.ArrayLike) -> Recording:
    """A recording along +Z, a record each 0.1 s."""
    forward = np.asarray(z, dtype=np.float64)
    columns = {"time": 0.1 * np.arange(len(forward)), **columns}
    return by_hand(np.column_stack([np.zeros_like(forward), forward]), **columns)


def lengths(found: Trace) -> list[int]:
    return [own.stop - own.start for own in found.stretches()]


# Against the known truth.


@pytest.mark.parametrize(
    ("recorder", "time_error", "course_error"),
    [
        # Each message heard at once: times are exact.
        (Recorder(), 1e-9, 0.2),
        (Recorder(stale=2), 1e-9, 0.2),
        (Recorder(stale=4), 1e-9, 0.5),
        (Recorder(stale=2, clock_rate=3.0), 1e-9, 0.2),
        (Recorder(stale=2, clock_rate=0.2), 1e-9, 0.2),
        (Recorder(stale=2, missing=("time_s",)), 1e-9, 0.2),
        # Below 2 u/s, in the first second, only the recorder's own pace tells the time.
        (Recorder(interval=0.2213), 0.06, 0.5),
        (Recorder(interval=0.2213, stale=2, clock_rate=1.1), 0.1, 0.5),
        (Recorder(interval=0.033, stale=2), 0.04, 0.2),
    ],
)
def test_time_and_course_of_a_drive(
    recorder: Recorder, time_error: float, course_error: float, tmp_path: pathlib.Path
) -> None:
    recording = recorded(tmp_path, recorder)
    found = trace.trace(recording)
    message = synthetic.messages(drive(), recorder)[found.record]
    assert len(found) == len(np.unique(synthetic.messages(drive(), recorder)))
    assert lengths(found) == [len(found)]
    true_time = drive().time[message] - drive().time[message[0]]
    assert np.abs(found.time - true_time).max() <= time_error
    # Once it moves, every gap is right.
    moving = np.flatnonzero(found.speed > 2.5)
    gaps = np.diff(found.time[moving]), np.diff(true_time[moving])
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-9)
    assert found.place == pytest.approx(drive().place[message], abs=1e-4)
    assert found.speed == pytest.approx(drive().speed[message], abs=1e-4)
    assert (found.recorded_time == recording.time_s[found.record]).all()
    wrong = np.degrees(found.course - drive().course[message])[moving]
    assert np.abs(wrong - 360.0 * np.round(wrong.mean() / 360.0)).max() < course_error


def test_a_lap_winds_the_course_up(tmp_path: pathlib.Path) -> None:
    found = trace.trace(recorded(tmp_path, Recorder(stale=2)))
    # Clockwise, and 232 u on a lap of 215 u: both ends lie on the first straight, towards +Z.
    assert found.course[-1] - found.course[0] == pytest.approx(2.0 * math.pi, abs=0.1)
    assert np.abs(np.diff(found.course)).max() < 0.2


def test_speeds_that_were_not_recorded_follow_from_the_places(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(stale=2, missing=("speed",))
    found = trace.trace(recorded(tmp_path, recorder))
    message = synthetic.messages(drive(), recorder)[found.record]
    assert found.time == pytest.approx(drive().time[message], abs=1e-9)
    assert found.speed[1:-1] == pytest.approx(drive().speed[message][1:-1], abs=0.1)
    # Known ones are kept.
    recording = recorded(tmp_path, Recorder())
    speed = recording.speed.copy()
    speed[200:220:2] = np.nan
    found = trace.trace(dataclasses.replace(recording, speed=speed))
    assert lengths(found) == [len(found)]
    assert found.speed[200:220] == pytest.approx(drive().speed[200:220], abs=0.1)
    assert (found.speed[220:] == recording.speed[220:]).all()
    assert found.time == pytest.approx(drive().time, abs=0.03)


@pytest.mark.parametrize("even", [False, True])
def test_the_recorders_clock_becomes_simulation_time(even: bool, tmp_path: pathlib.Path) -> None:
    recorder = Recorder(interval=0.2213, clock_rate=1.1)
    recording = recorded(tmp_path, recorder)
    found = trace.trace(recording)
    (whole,) = found.stretches()
    records = found.records(whole)
    # The first message at rest stands in several records; the first of them counts.
    assert records.start == 0
    time = found.simulation_time(recording.time_s[records], whole, even=even)
    late = time - synthetic.clock(drive(), recorder)[records]
    # Messages are up to 0.06 s old when they are recorded: that makes the jitter.
    if even:
        assert late.std() < 0.004
    else:
        assert late.std() > 0.012
        assert time[found.record - records.start] == pytest.approx(found.time, abs=1e-9)
    assert np.abs(late).max() < 0.06
    assert (np.diff(time) >= 0.0).all()
    outside = found.simulation_time(np.array([-0.1, 1000.0]), whole, even=even)
    assert np.isnan(outside).all()


def test_samples_between_are_interpolated(tmp_path: pathlib.Path) -> None:
    found = trace.trace(recorded(tmp_path, Recorder(stale=4)))
    (whole,) = found.stretches()
    fine = drive()
    inner = slice(40, len(fine) - 8)
    now = found.at(fine.time[inner], whole)
    assert now[:, :2] == pytest.approx(fine.place[inner], abs=0.05)
    turned = np.unwrap(fine.course[inner])
    assert now[:, 2] - now[0, 2] == pytest.approx(turned - turned[0], abs=0.05)
    assert now[:, 3] == pytest.approx(fine.speed[inner], abs=0.1)
    assert np.isnan(found.at(np.array([-0.01, 1e6]), whole)).all()


# Where a drive breaks.


def test_a_gap_breaks_the_drive(tmp_path: pathlib.Path) -> None:
    # Messages 200 to 399 are missing: 10 s; 500 to 503 too: 0.25 s, which is no break.
    kept = [*range(200), *range(400, 500), *range(504, 700)]
    found = trace.trace(recorded(tmp_path, Recorder(), drive().part(kept)))
    assert lengths(found) == [200, 296]
    assert found.stretch.tolist() == [0] * 200 + [1] * 296
    second = found.stretches()[1]
    true_time = drive().time[kept[200:]] - drive().time[400]
    assert found.time[second] == pytest.approx(true_time, abs=1e-9)
    assert found.records(second) == slice(200, 496)


def test_a_clock_that_jumps_back_breaks_the_drive(tmp_path: pathlib.Path) -> None:
    recording = recorded(tmp_path, Recorder())
    time = recording.time_s.copy()
    # As if the recorder had been started again, in the middle of the drive.
    time[400:] -= time[400]
    found = trace.trace(dataclasses.replace(recording, time_s=time))
    assert lengths(found) == [400, 401]
    first, second = found.stretches()
    assert found.time[second][0] == 0.0
    assert found.simulation_time(np.array([5.0]), first) == pytest.approx([5.0], abs=0.03)
    assert found.simulation_time(np.array([5.0]), second) == pytest.approx([5.0], abs=0.03)


def test_a_reset_breaks_the_drive(tmp_path: pathlib.Path) -> None:
    # Message 300 is followed by the start grid, at rest.
    kept = [*range(301), *range(100)]
    own = drive().part(kept)
    own = dataclasses.replace(own, time=0.05 * np.arange(401.0, dtype=np.float64))
    found = trace.trace(recorded(tmp_path, Recorder(), own))
    assert lengths(found)[0] == 301
    assert sum(lengths(found)) == len(found)
    # Without speeds too.
    recording = recorded(tmp_path, Recorder(missing=("speed",)), own)
    assert lengths(trace.trace(recording))[0] == 301


def test_a_pause_breaks_the_drive_and_may_leave_single_samples() -> None:
    # 10 u/s for 0.5 s, nothing for 2 s, one record, nothing for 2 s, 0.4 s more.
    time = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 2.4, 4.4, 4.5, 4.6])
    found = trace.trace(straight(10.0 * time, time=time, speed=np.full(9, 10.0)))
    assert lengths(found) == [5, 1, 3]
    single = found.stretches()[1]
    assert found.time[single].tolist() == [0.0]
    assert np.isnan(found.course[single]).all()
    assert found.at(np.array([0.0]), single)[0, :2].tolist() == [0.0, 24.0]
    assert found.simulation_time(np.array([2.4, 2.5]), single)[0] == 0.0
    assert found.simulation_time(np.array([2.4]), single, even=True) == 0.0
    assert found.records(single) == slice(5, 6)


def test_either_clock_may_tell_of_a_pause() -> None:
    # At 10 u/s 7.5 u take 0.75 s, though the recorder's clock says 0.5 s.
    time = [0.0, 0.1, 0.2, 0.7, 0.8, 0.9]
    found = trace.trace(straight([0, 1, 2, 9.5, 10.5, 11.5], time=time, speed=np.full(6, 10.0)))
    assert lengths(found) == [3, 3]
    # A lap later the car is 1 u further on: that was no tenth of a second.
    time = [0.0, 0.1, 0.2, 20.2, 20.3, 20.4]
    found = trace.trace(straight(np.arange(6.0), time=time, speed=np.full(6, 10.0)))
    assert lengths(found) == [3, 3]


# Poor records.


def test_repeated_records_count_once() -> None:
    # Each place stands in two records, the third in six, which are no gap.
    place = np.repeat([0.0, 1.0, 2.0, 3.0, 4.0], [2, 2, 6, 2, 2])
    clock = np.cumsum([0.0, *[0.05] * 4, *[0.01] * 5, *[0.05] * 4])
    found = trace.trace(straight(place, time=clock, speed=np.full(14, 10.0)))
    assert found.record.tolist() == [0, 2, 4, 10, 12]
    assert found.time == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_messages_that_arrive_at_once_do_not_break_the_drive() -> None:
    # The recorder's clock shows 0.2 s twice, then catches up; 2.5 u in no time are no reset.
    clock = [0.0, 0.1, 0.2, 0.2, 0.4, 0.5]
    found = trace.trace(straight(2.5 * np.arange(6.0), time=clock, speed=np.full(6, 25.0)))
    assert lengths(found) == [6]
    assert found.time == pytest.approx(0.1 * np.arange(6))
    (whole,) = found.stretches()
    assert np.isfinite(found.simulation_time(np.array(clock), whole)).all()
    assert np.isfinite(found.simulation_time(np.array(clock), whole, even=True)).all()


def test_evened_time_never_runs_back() -> None:
    # Messages arrive in bunches, a pause before each: lines fitted to neighbours cross.
    clock = np.cumsum(np.random.default_rng(4).choice([0.001] * 3 + [0.4], size=60))
    time = 0.1 * np.arange(60.0, dtype=np.float64)
    found = trace.trace(straight(10.0 * time, time=clock, speed=np.full(60, 10.0)))
    assert found.time == pytest.approx(time)
    (whole,) = found.stretches()
    even = found.simulation_time(clock, whole, even=True)
    assert (np.diff(even) >= 0.0).all()
    # The longest bunch is of 9 messages.
    assert np.abs(even - time).max() < 1.0


def test_a_clock_that_stands_still_leaves_way_and_speed() -> None:
    found = trace.trace(straight(np.arange(6.0), time=np.zeros(6), speed=np.full(6, 10.0)))
    assert found.time == pytest.approx(0.1 * np.arange(6))
    (whole,) = found.stretches()
    assert np.isfinite(found.simulation_time(np.zeros(6), whole, even=True)).all()
    # Without speeds a physics step passes at least.
    found = trace.trace(straight(np.arange(6.0), time=np.zeros(6)))
    assert found.time == pytest.approx(0.02 * np.arange(6))
    assert np.isfinite(found.speed).all()


def test_a_hit_takes_no_longer_than_the_clock_says() -> None:
    # From 10 u/s to 1 u/s at a wall right behind the third record: the mean of the two speeds,
    # 5.5, would make 0.02 s of the 0.1 u way.
    place = [0.0, 1.0, 2.0, 2.1, 2.2, 2.3]
    found = trace.trace(straight(place, speed=[10.0, 10.0, 10.0, 1.0, 1.0, 1.0]))
    assert found.time == pytest.approx(0.1 * np.arange(6))


def test_unknown_places_and_times_are_left_out() -> None:
    place = np.arange(8.0)
    place[3] = np.nan
    time = 0.1 * np.arange(8)
    time[5] = np.nan
    found = trace.trace(straight(place, time=time, speed=np.full(8, 10.0)))
    assert found.record.tolist() == [0, 1, 2, 4, 6, 7]
    assert found.time == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.6, 0.7])
    assert lengths(found) == [6]


def test_a_car_that_stands_keeps_its_course() -> None:
    # East for 1 s, 3 s at rest while it trembles on its springs, then north-east.
    rng = np.random.default_rng(1)
    driven = np.column_stack([np.arange(11.0), np.zeros(11)])
    rest = driven[-1] + 0.001 * rng.normal(size=(30, 2))
    on = driven[-1] + math.sqrt(0.5) * np.outer(np.arange(1.0, 11.0), [1.0, 1.0])
    place = np.vstack([driven, rest, on])
    speed = np.concatenate([np.full(11, 10.0), np.full(30, 0.01), np.full(10, 10.0)])
    found = trace.trace(by_hand(place, 0.1 * np.arange(51), speed))
    assert lengths(found) == [51]
    assert found.time == pytest.approx(0.1 * np.arange(51), abs=0.1)
    course = np.degrees(found.course)
    assert course[:25] == pytest.approx(np.full(25, 90.0), abs=0.1)
    assert course[42:] == pytest.approx(np.full(9, 45.0), abs=0.1)
    assert course.min() > 44.0
    assert course.max() < 91.0


def test_a_car_that_only_stands_has_no_course() -> None:
    still = straight(np.zeros(20), speed=np.zeros(20))
    found = trace.trace(still)
    assert (len(found), found.record.tolist()) == (1, [0])
    trembling = straight(0.001 * (np.arange(20) % 2), speed=np.zeros(20))
    found = trace.trace(trembling)
    assert lengths(found) == [20]
    assert np.isnan(found.course).all()
    assert found.time == pytest.approx(0.1 * np.arange(20))


def test_the_course_is_the_tangent_of_a_circle() -> None:
    # At angle a the car is at (10 sin a, 10 cos a): it drives clockwise, its course a + 90 deg.
    angle = np.cumsum([0.0, 0.1, 0.05, 0.15, 0.1, 0.05, 0.1])
    place = 10.0 * np.column_stack([np.sin(angle), np.cos(angle)])
    found = trace.trace(by_hand(place, 10.0 * angle / 8.0, np.full(7, 8.0)))
    assert found.course == pytest.approx(angle + math.pi / 2.0, abs=1e-4)


def test_two_samples_have_the_course_of_their_leg() -> None:
    found = trace.trace(by_hand([[0.0, 0.0], [1.0, 1.0]], [0.0, 0.2]))
    assert found.course == pytest.approx([math.pi / 4.0] * 2)
    assert found.speed == pytest.approx([math.sqrt(2.0) / 0.2] * 2)


@pytest.mark.parametrize(
    "recording",
    [
        by_hand(np.zeros((0, 2)), []),
        by_hand(np.full((5, 2), np.nan), np.arange(5.0)),
        by_hand(np.zeros((5, 2)), np.full(5, np.nan)),
    ],
    ids=["empty", "no places", "no times"],
)
def test_a_trace_without_samples_answers_with_nothing(recording: Recording) -> None:
    found = trace.trace(recording)
    assert len(found) == 0
    assert found.stretches() == []
    assert found.records(slice(0, 0)) == slice(0, 0)
    assert found.at(np.array([0.0, 1.0]), slice(0, 0)).shape == (2, 4)
    for even in (False, True):
        time = found.simulation_time(np.zeros((2, 3)), slice(0, 0), even=even)
        assert time.shape == (2, 3)
        assert np.isnan(time).all()


def test_long_recordings_are_quick_and_small() -> None:
    # Pairs of samples would be 10^10.
    count = 100_000
    time = 0.1 * np.arange(count, dtype=np.float64)
    found = trace.trace(straight(10.0 * time, time=time, speed=np.full(count, 10.0)))
    assert found.time[-1] == pytest.approx(time[-1])
    (whole,) = found.stretches()
    even = found.simulation_time(time, whole, even=True)
    assert even == pytest.approx(time, abs=1e-6)
