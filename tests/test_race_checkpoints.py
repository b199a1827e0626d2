"""One car's checkpoints and lap clock, by hand."""

from __future__ import annotations

import pytest

from donkey_rl.envs.serving.orders import CarState
from donkey_rl.envs.serving.race.checkpoints import Course, Watch
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.simulator import track
from donkey_rl.errors import ConfigurationError
from tests.race_evening import COURSE

# The course is 100 u round with its line at 10 u; checkpoints are 25 u apart: at 35, 60, 85 u.


def at(way: float, lateral: float = 0.0, off: bool = False) -> CarState:
    """A car that started 4 u behind the line and has come so far."""
    return CarState((6.0 + way) % 100.0, way, lateral, off, 5.0)


def watch(laps: int | None = 3, **settings: float | None) -> Watch:
    return Watch(RaceRules.model_validate(settings), COURSE, laps, 0.0)


def test_a_lap_is_timed_from_line_to_line_between_the_steps() -> None:
    clock = watch()
    # 5 u/s, a look every 4 s: the line is met at 0.8 s and again at 20.8 s.
    crossings = [(4.0 * k, clock.advance(4.0 * k, at(20.0 * k))) for k in range(12)]
    assert [now for now, found in crossings if found] == [4.0, 24.0, 44.0]
    assert [lap for _, found in crossings for lap in found] == pytest.approx([0.0, 20.0, 20.0])
    assert clock.laps_s == pytest.approx([20.0, 20.0])
    assert not clock.over


def test_nothing_counts_after_the_last_lap() -> None:
    clock = watch(laps=1)
    for k in range(30):
        clock.advance(4.0 * k, at(20.0 * k))
    assert clock.laps_s == pytest.approx([20.0])
    assert clock.finished
    assert clock.fault is None


def test_a_quick_loop_is_no_lap_and_the_clock_runs_on() -> None:
    clock = watch(laps=None)
    # 12.5 u/s: once round in 8 s; two rounds are a lap of 16 s.
    crossings = [clock.advance(0.4 * k, at(5.0 * k)) for k in range(100)]
    assert [lap for found in crossings for lap in found] == pytest.approx([0.0, 16.0, 16.0])


def test_the_start_line_has_ten_seconds() -> None:
    clock = watch()
    clock.advance(0.02, at(0.0))
    clock.advance(10.0, at(3.9))
    assert clock.fault is None
    clock.advance(10.02, at(3.99))
    assert clock.fault == "missed checkpoint"
    assert clock.advance(10.04, at(5.0)) == []


def test_a_checkpoint_has_twenty_seconds_from_the_one_before() -> None:
    clock = watch()
    clock.advance(0.0, at(0.0))
    # 5 u/s: the line at 0.8 s. 25 u further is the first checkpoint, due at 20.8 s.
    clock.advance(1.0, at(5.0))
    clock.advance(20.6, at(28.9))
    clock.advance(20.8, at(29.1))
    assert clock.fault is None
    # Passed at 20.7 s: the next one is due at 40.7 s.
    clock.advance(40.6, at(53.9))
    assert clock.fault is None
    clock.advance(40.8, at(53.9))
    assert clock.fault == "missed checkpoint"


def test_a_checkpoint_passed_too_late_between_two_looks_is_missed() -> None:
    clock = watch()
    clock.advance(0.0, at(0.0))
    clock.advance(1.0, at(5.0))
    # Due at 20.8 s and passed at 21.0 s.
    clock.advance(20.6, at(28.9))
    clock.advance(21.4, at(29.1))
    assert clock.fault == "missed checkpoint"


def test_driving_to_and_fro_over_the_line_is_no_lap() -> None:
    clock = watch()
    clock.advance(0.02, at(0.0))
    ways = [6.0, 2.0, 6.0, 2.0, 6.0]
    crossings = [clock.advance(4.0 * k + 1.0, at(way)) for k, way in enumerate(ways)]
    assert [lap for found in crossings for lap in found] == [0.0]
    clock.advance(30.0, at(6.0))
    assert clock.fault == "missed checkpoint"


def test_driving_backwards_passes_nothing() -> None:
    clock = watch()
    clock.advance(0.02, at(0.0))
    clock.advance(1.0, at(6.0))
    # Backwards through the checkpoints at 85, 60 and 35 u.
    for k in range(1, 30):
        clock.advance(1.0 + 0.7 * k, at(6.0 - 4.0 * k))
    assert clock.fault == "missed checkpoint"
    assert clock.laps_s == []


@pytest.mark.parametrize(
    ("limit", "car", "fault"),
    [
        (20.0, at(10.0, 19.9, off=True), None),
        (20.0, at(10.0, -20.1), "out of bounds"),
        (20.0, at(10.0, float("nan")), "out of bounds"),
        (None, at(10.0, 30.0), None),
        (None, at(10.0, 3.0, off=True), "out of bounds"),
        # Before the line a far slot of the grid is no fault.
        (20.0, at(1.0, 40.0, off=True), None),
    ],
)
def test_bounds(limit: float | None, car: CarState, fault: str | None) -> None:
    clock = watch(out_of_bounds_u=limit)
    clock.advance(0.02, at(0.0))
    if car.progress > 4.0:
        clock.advance(1.0, at(5.0))
    clock.advance(2.0, car)
    assert clock.fault == fault


def test_the_least_lap_is_the_tracks_own_unless_the_rules_say() -> None:
    course = Course.of(track.load("waveshare"))
    assert course.min_lap_s == 5.0
    for least, laps in ((None, 1), (7.0, 0)):
        rules = RaceRules(min_lap_s=least)
        clock = Watch(rules, course, None, 0.0)
        arc = course.start_line - 1.0
        # Once round in 6 s.
        for k in range(8):
            way = k * course.length / 6.0
            clock.advance(float(k), CarState((arc + way) % course.length, way, 0.0, False, 9.0))
        assert len(clock.laps_s) == laps


def test_an_open_track_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="leads back to its start"):
        Course.of(track.load("generated_road"))
