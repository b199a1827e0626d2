"""Lap timing while driving, held against the laps that a finished record shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs import lap_timer
from donkey_rl.envs.simulator import track
from donkey_rl.metrics import laps
from donkey_rl.metrics.race import Race, RaceHeader

FloatArray = npt.NDArray[np.float64]


def road(line: float = 50.0, least: float = 10.0) -> track.Track:
    """The generated track (214.2 u) with another start line."""
    base = track.load("generated_track")
    return dataclasses.replace(base, start_line=line, min_lap_s=least)


def timed(
    made: track.Track, arc: float, time: FloatArray, progress: FloatArray, faults: FloatArray
) -> tuple[lap_timer.LapTimer, list[float], list[bool]]:
    """Runs the timer over one drive; returns it with the times and cleanness of the laps."""
    timer = lap_timer.LapTimer(made, 1)
    timer.restart(np.array([0]), np.array([arc]), np.array([time[0]]))
    times, clean = [], []
    for t, p, f in zip(time[1:], progress[1:], faults[1:], strict=True):
        if timer.advance(np.array([t]), np.array([p]), np.array([bool(f)]))[0]:
            times.append(float(timer.last_time[0]))
            clean.append(bool(timer.last_clean[0]))
    return timer, times, clean


def recorded(
    made: track.Track, arc: float, time: FloatArray, progress: FloatArray, faults: FloatArray
) -> Race:
    """The same drive as a race record; faults are rows off the track."""
    count = len(made.nodes)
    zero = np.zeros(len(time))
    where = arc + progress
    header = RaceHeader(
        track=made.name,
        track_length=made.length,
        closed=made.closed,
        nodes=count,
        start_line=made.start_line,
        start_line_progress=float(
            lap_timer.start_line_progress(made.start_line, arc, made.length, made.closed)
        ),
        road_left=made.road_left,
        road_right=made.road_right,
        min_lap_s=made.min_lap_s,
    )
    x, z, _ = made.path.at(where)
    columns = {
        "time_s": time, "x": x, "z": z, "yaw": zero, "speed": zero, "steering": zero,
        "throttle": zero, "progress": progress, "lateral": zero, "cte": zero,
        "node": np.floor(where / made.length * count).astype(int) % count,
        "off_track": faults.astype(bool), "hit": np.full(len(time), ""),
        "lap": zero, "reset": zero.astype(bool),
    }  # fmt: skip
    return Race(header, columns)


def test_laps_by_hand() -> None:
    made = road()
    # From 40 u at 10 u/s: the line at 50 after 1 s, then a lap of 214.97 u each 21.5 s.
    time = 0.05 * np.arange(1000)
    timer, times, clean = timed(made, 40.0, time, 10.0 * time, np.zeros(1000))
    # 49.95 s reach 1 + 2 * 21.5 = 44 s but not 65.5 s: two laps.
    assert times == pytest.approx([made.length / 10.0] * 2)
    assert clean == [True, True]
    assert timer.count.tolist() == [2]
    assert timer.clean_count.tolist() == [2]
    assert timer.best_clean[0] == pytest.approx(21.5, abs=0.01)


def test_a_fault_spoils_its_lap_only() -> None:
    made = road()
    time = 0.05 * np.arange(1400)
    faults = np.zeros(1400)
    faults[600] = 1.0  # At 30 s, in the second lap (22.42 s to 43.84 s).
    timer, times, clean = timed(made, 40.0, time, 10.0 * time, faults)
    assert clean == [True, False, True]
    assert timer.clean_count.tolist() == [2]
    assert timer.best_clean[0] == pytest.approx(min(times[0], times[2]))


def test_the_clock_starts_at_the_line_not_at_the_spawn() -> None:
    # Just past the line, a whole lap is driven before the clock starts.
    made = road()
    time = 0.05 * np.arange(700)
    timer, times, _ = timed(made, 51.0, time, 10.0 * time, np.zeros(700))
    assert times == []
    assert timer.last_time.tolist() == [0.0]


@pytest.mark.parametrize("swing", [3.0, 30.0])
def test_shuttling_over_the_line_is_no_lap(swing: float) -> None:
    made = road()
    time = 0.05 * np.arange(2000)
    progress = swing * np.sin(time)
    timer, times, _ = timed(made, 49.0, time, progress, np.zeros(2000))
    assert times == []
    assert timer.count.tolist() == [0]


def test_a_restart_forgets_everything_of_its_car_alone() -> None:
    made = road()
    timer = lap_timer.LapTimer(made, 2)
    both = np.array([0, 1])
    timer.restart(both, np.array([40.0, 40.0]), np.zeros(2))
    for t in 0.05 * np.arange(1, 600):
        timer.advance(np.full(2, t), np.full(2, 10.0 * t), np.zeros(2, dtype=bool))
    assert timer.count.tolist() == [1, 1]
    timer.restart(np.array([1]), np.array([0.0]), np.array([0.0]))
    assert timer.count.tolist() == [1, 0]
    assert np.isinf(timer.best_clean[1])
    assert timer.last_time[0] > 0.0


@pytest.mark.parametrize("seed", range(40))
def test_the_timer_agrees_with_the_record_of_the_same_drive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = road(line=float(rng.uniform(0.0, 214.0)), least=float(rng.choice([5.0, 10.0, 30.0])))
    arc = float(rng.uniform(0.0, 214.0))
    # Drives that go forward at changing speeds, stand, and roll back for a while.
    gaps = np.where(np.arange(2600) % 2, 0.04, 0.06)
    time = np.concatenate([[0.0], np.cumsum(gaps)])
    speed = np.repeat(rng.uniform(-4.0, 22.0, size=26), 100)
    progress = np.concatenate([[0.0], np.cumsum(speed * gaps)])
    faults = np.zeros(len(time))
    faults[rng.integers(1, len(time), size=int(rng.integers(0, 6)))] = 1.0
    timer, times, clean = timed(made, arc, time, progress, faults)
    found = laps.laps(recorded(made, arc, time, progress, faults))
    assert times == pytest.approx([lap.time_s for lap in found], abs=1e-4)
    assert clean == ["off_track" not in lap.reasons for lap in found]
    assert timer.count[0] == len(found)


def test_a_fault_in_the_very_step_of_the_crossing_belongs_to_the_new_lap() -> None:
    made = road()
    time = 0.05 * np.arange(1400)
    progress = 10.0 * time
    # The lap ends after 1 s and a lap at 10 u/s: the row behind it has the fault.
    row = int(np.searchsorted(time, 1.0 + made.length / 10.0))
    assert time[row - 1] < 1.0 + made.length / 10.0 < time[row]
    faults = np.zeros(1400)
    faults[row] = 1.0
    _, _, clean = timed(made, 40.0, time, progress, faults)
    assert clean == [True, False, True]
    found = laps.laps(recorded(made, 40.0, time, progress, faults))
    assert [lap.clean for lap in found] == clean
