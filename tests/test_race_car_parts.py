"""The parts of a race car that know nothing of connections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.race_server.commanding import Bounds, Command, Launch
from donkey_rl.race_server.config import LaunchConfig, LimitsConfig, RecoveryConfig
from donkey_rl.race_server.frame_gate import FrameGate
from donkey_rl.race_server.pacing import Pacing
from donkey_rl.race_server.race_figures import LapFigures, LatencyFigures
from donkey_rl.race_server.recovery import Recovery
from donkey_rl.race_server.status import LATENCY_EDGES_MS
from tests.race_cars import description

STEP_S = 0.05


def told(time: float, **changed: Any) -> Telemetry:
    values: dict[str, Any] = {"image": "", "time": time, "speed": 1.0}
    values |= {"accel": (0.0, 0.0, 0.0), "gyro": (0.0, 0.0, 0.0)}
    return Telemetry(**values | changed)


def refusals(*frames: Telemetry) -> list[str]:
    gate = FrameGate()
    return [gate.refuse(frame, 100.0 + STEP_S * k) for k, frame in enumerate(frames)]


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (told(0.05, speed=1e8), "absurd speed"),
        (told(0.0), "time stands still"),
        (told(-3.0), "time runs back"),
        (told(1e6), "time jumps ahead"),
        (told(0.05, accel=None), "no acceleration"),
        (told(0.05, gyro=None), "no rotation"),
    ],
)
def test_a_senseless_frame_is_left_out_and_the_next_one_is_not(odd: Telemetry, why: str) -> None:
    assert refusals(told(0.0), odd, told(0.1)) == ["", why, ""]


def test_a_scene_that_was_loaded_anew_is_the_new_usual_after_some_frames() -> None:
    anew = [told(STEP_S * k) for k in range(20)]
    found = refusals(told(500.0), *anew)
    assert found[:11] == [""] + ["time runs back"] * 10
    assert found[11:] == [""] * 10
    # Single ones never come to that.
    mixed = [told(500.0 + k) if k % 2 else told(1.0) for k in range(60)]
    assert [bool(each) for each in refusals(told(500.0), *mixed)[1:]] == [True, False] * 30


def test_absurd_speed_never_becomes_usual() -> None:
    frames = [told(STEP_S * k, speed=1e5) for k in range(50)]
    assert set(refusals(*frames)) == {"absurd speed"}


def test_a_clock_is_known_with_its_scale() -> None:
    gate = FrameGate()
    assert gate.clock is None
    for k in range(40):
        assert gate.refuse(told(5.0 * STEP_S * k), 100.0 + STEP_S * k) == ""
    assert gate.clock is not None
    assert gate.clock.scale == pytest.approx(5.0)
    assert gate.clock.time_s == pytest.approx(5.0 * STEP_S * 39)


def test_actions_become_commands_within_all_bounds_and_back() -> None:
    about = description(throttle_limits=(0.0, 0.4), steering_limits=(-0.5, 0.5))
    free = Bounds(about, LimitsConfig())
    assert free.command(np.array([1.0, 1.0])) == pytest.approx((0.5, 0.4, 0.0))
    assert free.command(np.array([-9.0, -1.0])) == pytest.approx((-0.5, 0.0, 0.0))
    assert free.action(Command(0.25, 0.2)) == pytest.approx([0.5, 0.0])
    bound = Bounds(about, LimitsConfig(throttle_max=0.1, steering_max=0.3))
    command = bound.command(np.array([1.0, 1.0]))
    assert command == pytest.approx((0.3, 0.1, 0.0))
    # The driver sees what was sent, not what it wanted.
    assert bound.action(command) == pytest.approx([0.6, -0.5])
    assert bound.limited(Command(-1.0, 1.0)) == pytest.approx((-0.3, 0.1, 0.0))


def test_a_launch_ends_with_its_time_or_its_speed() -> None:
    launch = Launch(LaunchConfig(throttle=0.9, duration_s=1.0, speed=2.0))
    assert launch.throttle(0.0, 0.0) is None
    launch.begin(10.0)
    assert launch.throttle(10.5, 1.0) == 0.9
    assert launch.throttle(11.0, 1.0) is None
    assert launch.throttle(10.6, 1.0) is None
    launch.begin(20.0)
    assert launch.throttle(20.1, 2.5) is None
    assert launch.throttle(20.2, 0.0) is None
    unused = Launch(LaunchConfig())
    unused.begin(0.0)
    assert unused.throttle(0.0, 0.0) is None


def manoeuvres(
    speeds: list[tuple[float, float]], *, held: bool = False, may_reset: bool = False
) -> list[str]:
    """What is done over stretches of (seconds, speed), each kind once in a row."""
    recovery = Recovery(RecoveryConfig(stuck_s=2.0, reverse_s=1.0, attempts=2))
    recovery.begin(0.0, held=held)
    found: list[str] = []
    time = 0.0
    for seconds, speed in speeds:
        for _ in range(round(seconds / STEP_S)):
            done = recovery.advance(time, speed, may_reset=may_reset)
            if not found or found[-1] != done:
                found.append(done)
            time += STEP_S
    return found


def test_a_stuck_car_drives_back_and_on_and_is_put_back_where_that_is_allowed() -> None:
    assert manoeuvres([(5.0, 1.0)]) == ["drive"]
    assert manoeuvres([(1.5, 1.0), (2.5, 0.0)]) == ["drive", "reverse"]
    assert manoeuvres([(1.0, 1.0), (2.9, 0.0), (5.0, 1.0)]) == ["drive", "reverse", "drive"]
    back = ["drive", "reverse"] * 2
    assert manoeuvres([(1.0, 1.0), (9.0, 0.0)], may_reset=True) == [
        *back,
        "drive",
        "reset",
        "drive",
    ]
    assert "reset" not in manoeuvres([(1.0, 1.0), (60.0, 0.0)])


def test_a_car_that_gets_somewhere_has_all_its_attempts_again() -> None:
    stuck = [(2.1, 0.0), (1.1, 0.5), (3.5, 1.0)]
    assert "reset" not in manoeuvres([(1.0, 1.0), *stuck, *stuck, *stuck, *stuck], may_reset=True)


def test_a_car_that_was_braked_or_seen_no_more_is_not_stuck_by_that() -> None:
    recovery = Recovery(RecoveryConfig(stuck_s=2.0))
    recovery.begin(0.0, held=False)
    for time in (0.0, 0.1, 3.0, 3.1, 9.0, 9.1):
        assert recovery.advance(time, 0.0, may_reset=False) == "drive"
    for k in range(100):
        recovery.rest()
        assert recovery.advance(9.2 + STEP_S * k, 0.0, may_reset=False) == "drive"


def test_a_car_that_may_be_held_on_the_grid_is_not_stuck_before_it_has_moved() -> None:
    assert manoeuvres([(20.0, 0.0)], held=True) == ["drive"]
    assert manoeuvres([(20.0, 0.0), (1.0, 1.0), (2.5, 0.0)], held=True) == ["drive", "reverse"]
    assert "reverse" in manoeuvres([(2.5, 0.0)], held=False)


@pytest.mark.parametrize(
    ("trained", "wanted", "round_trip", "hold", "warned"),
    [
        ((0.0, 0.0), None, 0.045, 0.0, False),
        ((0.0, 0.0), None, 0.190, 0.0, True),
        ((100.0, 150.0), None, None, 0.100, False),
        # No link at all: two frames more are missing.
        ((100.0, 150.0), None, 0.045, 0.100, False),
        # The way takes 60 to 110 ms: at least 60 are known.
        ((100.0, 150.0), None, 0.110, 0.040, False),
        ((100.0, 150.0), None, 0.170, 0.0, False),
        ((100.0, 150.0), None, 0.270, 0.0, True),
        ((100.0, 150.0), 200.0, 0.045, 0.200, False),
        # Trained for everything up to 300 ms: nothing waits, and slower links are warned of.
        ((0.0, 300.0), None, None, 0.0, False),
        ((0.0, 300.0), None, 0.045, 0.0, False),
        ((0.0, 300.0), None, 0.340, 0.0, False),
        ((0.0, 300.0), None, 0.430, 0.0, True),
    ],
)
def test_commands_wait_until_the_whole_latency_is_what_was_trained(
    trained: tuple[float, float],
    wanted: float | None,
    round_trip: float | None,
    hold: float,
    warned: bool,
) -> None:
    pacing = Pacing(trained, wanted)
    pacing.measure(round_trip, 0.05)
    # In the middle of what it can be: between the round trip less an interval and all of it.
    assert pacing.link_s == (None if round_trip is None else pytest.approx(round_trip - 0.025))
    assert pacing.hold_s == pytest.approx(hold)
    assert bool(pacing.warning) is warned


def test_latencies_are_counted_in_bounded_memory() -> None:
    figures = LatencyFigures()
    assert figures.percentiles() is None
    times = np.random.default_rng(1).gamma(2.0, 4.0, 5000)
    for took_ms in times:
        figures.note(took_ms / 1000.0)
    assert figures.percentiles() == pytest.approx(np.percentile(times, [50, 95, 99]), abs=0.15)
    edges = [0.0, *LATENCY_EDGES_MS, 1e9]
    assert figures.histogram() == tuple(np.histogram(times, edges)[0])
    figures.note(60.0)
    assert figures.histogram()[-1] == 1


def test_laps_of_a_host_without_races_are_those_between_its_crossings() -> None:
    laps = LapFigures()
    laps.begin_run()
    # The front and the back of a car that stands on the line, and a lap that is none.
    for stamp in (3.0, 3.4, 9.0, 23.0):
        laps.touch(stamp, stamp)
    assert laps.run == (20.0,)
    laps.cross(19.5, 42.5)
    laps.touch(42.5, 42.5)
    assert laps.run == (20.0, 19.5)


def test_of_several_lines_the_first_one_ends_laps() -> None:
    laps = LapFigures()
    laps.begin_run()
    for number, line in enumerate((1, 0, 1, 0, 1)):
        laps.touch(13.0 * number, 13.0 * number, line)
    assert laps.run == (26.0, 26.0)
    # After another start it may be the other one.
    laps.end_run()
    laps.begin_run()
    for number, line in enumerate((0, 1, 0)):
        laps.touch(100.0 + 10.0 * number, 100.0 + 10.0 * number, line)
    assert laps.run == (20.0,)


def test_laps_count_on_over_a_lost_connection_and_anew_in_the_next_run() -> None:
    laps = LapFigures()
    laps.begin_run()
    laps.cross(0.0, 3.0)
    assert (laps.run, laps.best_s, laps.crossed) == ((), None, 3.0)
    laps.cross(20.0, 23.0)
    laps.begin_run()
    assert laps.crossed is None
    laps.cross(0.0, 40.0)
    laps.cross(18.0, 58.0)
    assert laps.run == (20.0, 18.0)
    laps.end_run()
    laps.begin_run()
    laps.cross(30.0, 99.0)
    assert (laps.run, laps.best_s, laps.count) == ((30.0,), 18.0, 3)
