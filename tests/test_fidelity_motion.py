"""Holding the embedded car's motion against recordings, with the embedded car as the real one."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.recordings import trace
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.experiments.fidelity import motion, replay
from donkey_rl.experiments.fidelity.motion import HorizonError, MotionReport

FloatArray = npt.NDArray[np.float64]
CAR_2021 = vehicles.load("donkey_2021")
ROAD_FRICTION = 0.8
PERIOD = 0.1
"""Time between records: five physics steps."""

STEPS = round(PERIOD / physics.TIME_STEP)
DELAY = 0.14
"""Between a command's record and its effect: seven physics steps, no whole number of records."""


@dataclasses.dataclass(frozen=True)
class Style:
    """How the car of a synthetic recording is driven; `bend` as a share of the grip."""

    seconds: float = 25.0
    delay: float = DELAY
    bend: float = 0.8
    slowest: float = 7.0
    fastest: float = 12.0


def wanted(car: Vehicle, style: Style, time: float, speed: float) -> tuple[float, float]:
    """Returns steering and throttle: bends and speeds that never repeat within the drive."""
    grip = car.friction_lateral * (ROAD_FRICTION if car.friction_from_ground else 1.0)
    wave = 0.6 * np.sin(1.3 * time) + 0.4 * np.sin(2.9 * time + 1.0)
    lateral = style.bend * grip * vehicles.GRAVITY * wave
    wheel = np.arctan(car.wheelbase * lateral / max(speed, 4.0) ** 2)
    steering = wheel / np.radians(car.steer_limit_deg)
    middle, swing = style.fastest + style.slowest, style.fastest - style.slowest
    gain = 0.5 * (middle + swing * np.sin(0.7 * time)) - speed
    full = 4.0 * car.wheel_torque / car.wheel_radius / car.mass
    throttle = (2.0 * gain + 0.15 * speed) / full
    return float(np.clip(steering, -1.0, 1.0)), float(np.clip(throttle, 0.0, 1.0))


@functools.cache
def drive(car: Vehicle = CAR_2021, style: Style = Style()) -> Recording:
    """Drives a car over a plane and records it as a recorder with delayed commands would."""
    row, torque = vehicles.parameter_row(car), vehicles.torque_table(car)
    grip = ROAD_FRICTION if car.friction_from_ground else 1.0
    state = np.zeros(6)
    state[physics.FORWARD] = style.slowest
    records, sent = [], []
    late = round(style.delay / physics.TIME_STEP)
    for step in range(round(style.seconds / physics.TIME_STEP)):
        time = step * physics.TIME_STEP
        speed = float(np.hypot(state[physics.FORWARD], state[physics.RIGHTWARD]))
        if step % STEPS == 0:
            command = wanted(car, style, time, speed)
            records.append((time, state[physics.X], state[physics.Z], speed, *command))
        sent.append((*command, 0.0))
        acting = np.array(sent[max(0, step - late)])
        physics.advance(state, acting, row, torque, grip)
    return recording(np.array(records))


def recording(rows: FloatArray) -> Recording:
    """Builds a recording from time, x, z, speed, steering and throttle, shape (n, 6)."""
    time, x, z, speed, steering, throttle = rows.T
    return Recording(
        name="synthetic", time_s=time, position=np.column_stack([x, np.zeros_like(x), z]),
        speed=speed, cte=np.zeros_like(x), steering=steering, throttle=throttle,
        frames=(None,) * len(rows),
    )  # fmt: skip


def report(
    drives: Recording, car: Vehicle = CAR_2021, road: tuple[float, float] | None = None
) -> MotionReport:
    return motion.compare(
        drives, trace.trace(drives), car, ground_friction=ROAD_FRICTION, road=road
    )


def after_a_second(errors: tuple[HorizonError, ...]) -> HorizonError:
    return next(error for error in errors if error.seconds == 1.0)


@functools.cache
def own_report() -> MotionReport:
    """The car that was recorded, held against its own recording."""
    return report(drive())


def test_a_car_follows_its_own_recording() -> None:
    own = own_report()
    assert own.reason is None
    # 250 samples; none in the first 0.8 s and in the last 2 + 0.2 s: 220 windows.
    assert own.windows == pytest.approx(220, abs=2)
    assert [error.seconds for error in own.errors] == [0.5, 1.0, 2.0]
    error = after_a_second(own.errors)
    # What is left is the slip at the start, which is not recorded. The way is 10 u.
    assert error.position_median < 0.03
    assert error.speed_median is not None
    assert error.speed_median < 0.005
    assert own.control_delay_s == pytest.approx(DELAY, abs=0.02)


def test_the_figures_of_a_car_are_found_in_its_own_recording() -> None:
    fit = own_report().fit
    assert fit["drive"].configured == pytest.approx(5625.0 / 2000.0)
    assert fit["drag"].configured == pytest.approx(0.1 + 4 * 0.25 / 0.32**2 / 2000.0)
    for name in ("drive", "drag", "steer_gain", "grip"):
        assert fit[name].reason is None
        assert fit[name].value == pytest.approx(fit[name].configured, rel=0.03), name
    assert fit["control_delay"].value == pytest.approx(DELAY, abs=0.01)
    assert fit["control_delay"].configured is None


def test_no_recording_tells_the_brake() -> None:
    brake = own_report().fit["brake"]
    assert brake.configured == pytest.approx(5000.0 / 2000.0)
    assert brake.value is None
    assert brake.reason is not None
    assert "brake" in brake.reason


@functools.cache
def changed_report() -> MotionReport:
    """A car of other figures, held against the configured one.

    Drive 0.85 times, drag 2 times, steering 13 of 16 degrees, grip 0.8 times.
    """
    car = CAR_2021.model_copy(
        update={
            "name": "changed",
            "wheel_torque": 0.85 * CAR_2021.wheel_torque,
            "drag": 2.0 * CAR_2021.drag,
            "wheel_damping": 2.0 * CAR_2021.wheel_damping,
            "steer_limit_deg": 13.0,
            "friction_lateral": 0.8 * CAR_2021.friction_lateral,
            "friction_longitudinal": 0.8,
        }
    )
    return report(drive(car, Style(seconds=40.0, bend=0.95)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("drive", 0.85 * 5625.0 / 2000.0),
        ("drag", 2.0 * (0.1 + 4 * 0.25 / 0.32**2 / 2000.0)),
        ("steer_gain", 13.0 / 16.0),
        ("grip", 0.8),
    ],
)
def test_the_fit_finds_changed_figures(name: str, expected: float) -> None:
    found = changed_report().fit[name]
    assert found.value == pytest.approx(expected, rel=0.03)
    assert found.low is not None
    assert found.high is not None
    assert found.configured is not None
    assert found.low < expected < found.high
    # That it excludes the configured value is what the interval is for.
    assert not found.low < found.configured < found.high


def test_the_fit_brings_the_model_to_the_recording() -> None:
    before = after_a_second(changed_report().errors)
    after = after_a_second(changed_report().fitted_errors)
    assert before.position_median > 0.2
    assert after.position_median < 0.4 * before.position_median
    assert before.speed_median is not None
    assert after.speed_median is not None
    assert after.speed_median < 0.5 * before.speed_median


@pytest.mark.parametrize("delay", [0.0, 0.4])
def test_the_control_delay_is_that_of_the_recorder(delay: float) -> None:
    found = report(drive(style=Style(delay=delay)))
    assert found.control_delay_s == pytest.approx(delay, abs=0.02)
    assert found.fit["control_delay"].value == pytest.approx(delay, abs=0.02)


@pytest.mark.parametrize("name", vehicles.names())
def test_the_recorded_generation_fits_best(name: str) -> None:
    drives = drive(vehicles.load(name))
    choice = motion.best_vehicle(drives, trace.trace(drives), ground_friction=ROAD_FRICTION)
    assert choice.name == name
    assert choice.reason is None
    assert set(choice.errors) == set(vehicles.names())
    off = {each: after_a_second(errors).position_median for each, errors in choice.errors.items()}
    assert off[name] < 0.05
    assert all(off[each] > 0.3 for each in off if each != name)


def test_the_ground_scales_the_tyres_of_cars_that_feel_it() -> None:
    drives = drive(vehicles.load("donkey_2022"))
    felt = replay.model(vehicles.load("donkey_2022"), 0.5)
    assert felt.grip == 0.5
    assert replay.model(CAR_2021, 0.5).grip == 1.0
    way = replay.replay(drives, trace.trace(drives))
    sample = replay.windows(way).sample
    truth = replay.recorded(way, sample, (1.0,))
    off = [
        np.median(np.abs(replay.predicted(way, car, sample, DELAY, (1.0,)) - truth))
        for car in (felt, replay.model(vehicles.load("donkey_2022"), ROAD_FRICTION))
    ]
    assert off[0] > 5 * off[1]


def test_a_gap_only_costs_the_windows_across_it() -> None:
    whole = drive()
    rows = np.r_[0:120, 150:250]
    broken = recording(
        np.column_stack(
            [
                whole.time_s, whole.position[:, 0], whole.position[:, 2],
                whole.speed, whole.steering, whole.throttle,
            ]
        )[rows]
    )  # fmt: skip
    found = report(broken)
    # Two drives of 12 and 10 s: windows begin from 0.8 s on, until 2.2 s before the end.
    assert found.windows == pytest.approx(90 + 70, abs=4)
    assert after_a_second(found.errors).position_median < 0.03


def own_windows(
    *,
    cte: FloatArray | None = None,
    steering: FloatArray | None = None,
    road: tuple[float, float] | None = None,
) -> replay.Windows:
    """The windows of the recording with some columns changed."""
    own = drive()
    changed = dataclasses.replace(
        own,
        cte=own.cte if cte is None else cte,
        steering=own.steering if steering is None else steering,
    )
    return replay.windows(replay.replay(changed, trace.trace(changed), road))


def test_windows_with_a_hit_are_left_out() -> None:
    drives = replay.replay(drive(), trace.trace(drive()))
    speed = drives.speed.copy()
    # 3 u/s lost within 0.1 s: three times what tyres can do.
    speed[120:] -= 3.0
    found = replay.windows(dataclasses.replace(drives, speed=speed))
    # The 20 samples before it, its own, and 0.5 s after it.
    assert found.left_out["hit"] == 26
    assert not np.isin(np.arange(100, 126), found.sample).any()
    assert "hit" not in own_windows().left_out


def test_windows_off_the_road_are_left_out() -> None:
    cte = np.zeros(len(drive()))
    # The right wheels, 0.7 u beside the car's centre, are beyond the edge at 3 u.
    cte[100:110] = 2.5
    found = own_windows(road=(-7.0, 3.0), cte=cte)
    # These 10 samples and the 20 from which they are reached.
    assert found.left_out["off the road"] == pytest.approx(30, abs=1)
    assert len(found.sample) == len(own_windows().sample) - found.left_out["off the road"]
    assert "off the road" not in own_windows(cte=cte).left_out


def test_windows_with_unknown_commands_are_left_out() -> None:
    steering = drive().steering.copy()
    steering[100] = np.nan
    found = own_windows(steering=steering)
    # Windows of 2 s that it may act in, with delays of up to 0.8 s and down to -0.2 s.
    assert found.left_out["commands unknown"] == pytest.approx(31, abs=1)


def without_commands() -> Recording:
    nothing = np.full(len(drive()), np.nan)
    return dataclasses.replace(drive(), steering=nothing, throttle=nothing)


def without_positions() -> Recording:
    return dataclasses.replace(drive(), position=np.full((len(drive()), 3), np.nan))


def standing() -> Recording:
    rows = np.zeros((200, 6))
    rows[:, 0] = PERIOD * np.arange(200)
    # A standing car trembles a little, or each place would be that of one stale record.
    rows[:, 1] = 1e-3 * (np.arange(200) % 2)
    return recording(rows)


def short() -> Recording:
    return drive(style=Style(seconds=2.5))


def empty() -> Recording:
    return recording(np.zeros((0, 6)))


@pytest.mark.parametrize(
    ("poor", "reason"),
    [
        (without_commands, "commands unknown"),
        (without_positions, "no unbroken drive"),
        (standing, "standing"),
        (short, "no unbroken drive"),
        (empty, "no unbroken drive"),
    ],
)
def test_poor_recordings_give_reasons(poor: object, reason: str) -> None:
    assert callable(poor)
    drives = poor()
    found = report(drives)
    assert found.windows == 0
    assert found.errors == ()
    assert found.fitted_errors == ()
    assert found.control_delay_s is None
    assert found.reason is not None
    assert reason in found.reason
    assert all(each.value is None and each.reason for each in found.fit.values())
    choice = motion.best_vehicle(drives, trace.trace(drives))
    assert choice.name is None
    assert choice.reason is not None
    assert reason in choice.reason


def test_few_windows_are_compared_but_not_fitted() -> None:
    found = report(drive(style=Style(seconds=4.5)))
    assert 0 < found.windows < 20
    assert found.errors
    assert found.fit["drive"].value is None
    assert found.fit["drive"].reason is not None
    assert "windows" in found.fit["drive"].reason


def test_what_never_acted_is_not_fitted() -> None:
    """A straight drive under one throttle tells neither steering nor the delay."""
    rows = [(0.0, 0.0, 0.0, 9.0, 0.0, 0.4)]
    row, torque = vehicles.parameter_row(CAR_2021), vehicles.torque_table(CAR_2021)
    state = np.array([0.0, 0.0, 0.0, 9.0, 0.0, 0.0])
    for step in range(1, 1001):
        physics.advance(state, np.array([0.0, 0.4, 0.0]), row, torque, 1.0)
        if step % STEPS == 0:
            rows.append((step * physics.TIME_STEP, state[0], state[1], state[3], 0.0, 0.4))
    found = report(recording(np.array(rows)))
    for name in ("steer_gain", "grip", "control_delay"):
        assert found.fit[name].value is None, name
        assert found.fit[name].reason is not None
    assert found.control_delay_s is None
    assert after_a_second(found.errors).position_median < 0.01


def test_the_way_between_samples_is_a_curve() -> None:
    """A circle of 10 u at 10 u/s, sampled each 0.2 s: chords would miss it by 0.05 u."""
    time = 0.2 * np.arange(60)
    rows = np.column_stack(
        [time, 10 * np.cos(time), -10 * np.sin(time), np.full(60, 10.0), time * 0, time * 0]
    )
    circle = recording(rows)
    drives = replay.replay(circle, trace.trace(circle))
    truth = replay.recorded(drives, np.array([10]), (0.5,))[0, 0]
    assert np.hypot(truth[0], truth[1]) == pytest.approx(10.0, abs=0.005)
    assert truth[2] == pytest.approx(10.0)
    assert drives.rate[1:-1] == pytest.approx(1.0, abs=0.01)


def test_commands_are_held_and_delayed() -> None:
    time = PERIOD * np.arange(60)
    steering = np.where(np.arange(60) < 30, 0.0, 1.0)
    rows = np.column_stack([time, time * 0, 10 * time, np.full(60, 10.0), steering, steering * 0])
    drives = replay.replay(recording(rows), trace.trace(recording(rows)))
    # Record 30 was written at 3 s, step 150; 0.05 s later are two and a half steps.
    acting = replay.commands(drives, 0.05)[:, 0]
    assert acting[148:156] == pytest.approx([0, 0, 0, 0, 0.5, 1, 1, 1], abs=1e-6)


def test_a_report_can_be_written_as_json() -> None:
    own = own_report()
    assert MotionReport.model_validate_json(own.model_dump_json()) == own
