"""The rules of laps and heats: of a record, while driving, and of the race server.

Three programs apply them: `metrics.laps` and `metrics.heat` to a finished record,
`envs.lap_timer` while a driver learns, `envs.serving.race.checkpoints` in a served race.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from donkey_rl.envs.lap_timer import LapTimer, start_line_progress
from donkey_rl.envs.serving.orders import CarState
from donkey_rl.envs.serving.race.checkpoints import Course, Watch
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.simulator import track
from donkey_rl.metrics import heat, laps
from donkey_rl.metrics.examples import drive
from donkey_rl.metrics.race import Race

FloatArray = npt.NDArray[np.float64]
ROAD = track.load("generated_track")
LENGTH = ROAD.length  # 214.97 u


@dataclasses.dataclass(frozen=True)
class Piece:
    """A stretch of a drive.

    Attributes:
        speed: Along the path (u/s); 0 stands, or cuts across the grass.
        rows: How long, in rows of about 50 ms.
        lateral: Offset from the path (u).
        put_to: Arc length (u) to which the car is put before it, None if it drives on.
    """

    speed: float
    rows: int
    lateral: float = 0.0
    put_to: float | None = None


@dataclasses.dataclass(frozen=True)
class Trace:
    """A drive as all three see it; arrays of shape (rows,)."""

    line: float
    least: float
    time: FloatArray
    arc: FloatArray
    progress: FloatArray
    lateral: FloatArray
    reset: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, line: float, least: float, start: float, pieces: list[Piece]) -> Trace:
        """Drives the pieces; the record's progress stays in step with the arc length."""
        arcs, lateral, reset = [start], [0.0], [False]
        for piece in pieces:
            if piece.put_to is not None:
                arcs.append(piece.put_to)
                lateral.append(0.0)
                reset.append(True)
            arcs += [arcs[-1] + piece.speed * 0.05 * k for k in range(1, piece.rows + 1)]
            lateral += [piece.lateral] * piece.rows
            reset += [False] * piece.rows
        way = np.array(arcs)
        # Telemetry does not come evenly: times of laps are not exact by up to 0.01 s.
        time = np.cumsum(np.where(np.arange(len(way)) % 2, 0.04, 0.06)) - 0.06
        return cls(line, least, time, way, way - start, np.array(lateral), np.array(reset))

    @property
    def road(self) -> track.Track:
        return dataclasses.replace(ROAD, start_line=self.line, min_lap_s=self.least)

    def record(self) -> Race:
        first = start_line_progress(self.line, self.arc[0], LENGTH, True)
        return drive(
            self.progress, self.time, lateral=self.lateral, reset=self.reset,
            off_track=np.abs(self.lateral) > 5.0, node=np.floor(self.arc % LENGTH / 2.0),
            track_length=LENGTH, nodes=107, start_line=self.line,
            start_line_progress=float(first), min_lap_s=self.least,
        )  # fmt: skip


def driven(trace: Trace) -> list[tuple[float, bool]]:
    """The laps of the timer that runs while driving: time, and whether it stayed on the road."""
    timer, car = LapTimer(trace.road, 1), np.array([0])
    found, begin = [], 0
    for row in range(len(trace.time)):
        now = trace.time[row : row + 1]
        if row == 0 or trace.reset[row]:
            timer.restart(car, trace.arc[row : row + 1] % LENGTH, now)
            begin = row
        elif timer.advance(
            now,
            trace.progress[row : row + 1] - trace.progress[begin],
            np.abs(trace.lateral[row : row + 1]) > 5.0,
        )[0]:
            found.append((float(timer.last_time[0]), bool(timer.last_clean[0])))
    return found


def served(trace: Trace) -> Watch:
    """The served race's own clock, after the drive."""
    course = Course("road", LENGTH, trace.line, trace.least)
    watch = Watch(RaceRules(), course, 3, float(trace.time[0]))
    for row in range(len(trace.time)):
        now = float(trace.time[row])
        if trace.reset[row] and not watch.over:
            watch.restart(now)
        lateral = float(trace.lateral[row])
        car = CarState(
            float(trace.arc[row] % LENGTH), float(trace.progress[row]), lateral, False, 0.0
        )
        watch.advance(now, car)
    return watch


def agree(trace: Trace) -> heat.Heat:
    """Holds the three against each other; returns the heat."""
    race = trace.record()
    found = [(lap.time_s, "off_track" not in lap.reasons) for lap in laps.laps(race)]
    timed = driven(trace)
    assert [time for time, _ in found] == pytest.approx([time for time, _ in timed], abs=1e-4)
    assert [clean for _, clean in found] == [clean for _, clean in timed]
    watch, outcome = served(trace), heat.heat(race)
    assert [lap.time_s for lap in outcome.laps] == pytest.approx(watch.laps_s, abs=1e-4)
    assert outcome.fault == (watch.fault or ("" if watch.finished else "unfinished"))
    return outcome


places = st.integers(0, 21_400).map(lambda k: k / 100.0)
pieces = st.builds(
    Piece,
    speed=st.sampled_from([-12.0, -3.0, 0.0, 2.0, 9.0, 14.0, 18.0, 45.0]),
    rows=st.integers(1, 400),
    lateral=st.sampled_from([0.0, 0.0, 0.0, 7.0, 25.0]),
    put_to=st.one_of(st.none(), st.none(), st.none(), places),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    line=places,
    least=st.sampled_from([0.0, 5.0, 10.0, 15.0]),
    start=places,
    parts=st.lists(pieces, min_size=1, max_size=8),
)
@example(line=50.0, least=10.0, start=40.0, parts=[Piece(14.0, 1200)])  # a plain heat
@example(
    line=50.0, least=10.0, start=50.0, parts=[Piece(0.0, 60), Piece(14.0, 1000)]
)  # on the line
@example(line=0.0, least=10.0, start=0.0, parts=[Piece(-3.0, 40), Piece(14.0, 1000)])
def test_record_timer_and_race_server_agree(
    line: float, least: float, start: float, parts: list[Piece]
) -> None:
    agree(Trace.of(line, least, start, parts))


def cheated(*parts: Piece) -> heat.Heat:
    """The heat of a cheat that begins 10 u before the line at 50 u."""
    return agree(Trace.of(50.0, 10.0, 40.0, list(parts)))


def test_an_honest_heat_counts() -> None:
    # 14 u/s: laps of 214.97 / 14 = 15.36 s.
    outcome = cheated(Piece(14.0, 1000))
    assert [lap.time_s for lap in outcome.laps] == pytest.approx([LENGTH / 14.0] * 3, abs=0.02)
    assert outcome.fault == ""


def test_shuttling_over_the_line_is_disqualified() -> None:
    # 2 s ahead and 2 s back, over and over: 20 s after the line the next checkpoint is missed.
    outcome = cheated(*[Piece(10.0, 40), Piece(-10.0, 40)] * 12)
    assert (outcome.laps, outcome.fault) == ((), "missed checkpoint")


def test_circling_on_the_line_is_disqualified() -> None:
    # Rounds of 1 s about the line, over which the way along the path swings by 2 u.
    outcome = cheated(Piece(10.0, 20), *[Piece(4.0, 10), Piece(-4.0, 10)] * 40)
    assert (outcome.laps, outcome.fault) == ((), "missed checkpoint")


def test_reversing_over_the_line_is_disqualified() -> None:
    # Backwards round the track, over the line each 15 s, and the line is never met forwards.
    outcome = cheated(Piece(-14.0, 1000))
    assert (outcome.laps, outcome.fault) == ((), "missed checkpoint")
    # Over the line and then backwards: the next checkpoint is missed.
    outcome = cheated(Piece(10.0, 40), Piece(-14.0, 1000))
    assert (outcome.laps, outcome.fault) == ((), "missed checkpoint")


def test_standing_on_the_line_is_disqualified() -> None:
    outcome = cheated(Piece(10.0, 20), Piece(0.0, 500))
    assert (outcome.laps, outcome.fault) == ((), "missed checkpoint")


def test_putting_the_car_past_checkpoints_makes_no_lap() -> None:
    # Over the line, then each 2 s put to just before it and over it again.
    outcome = cheated(Piece(14.0, 40), *[Piece(14.0, 40, put_to=40.0)] * 12)
    assert outcome.laps == ()
    # A reset in the third lap costs the two before it, as in the race server.
    outcome = cheated(Piece(14.0, 800), Piece(14.0, 400, put_to=40.0))
    assert len(outcome.laps) == 1
    assert outcome.fault == "unfinished"


def test_cutting_over_the_infield_makes_no_lap() -> None:
    # Over the line, then across the grass: the way along the path stands while the car is there.
    outcome = cheated(Piece(14.0, 80), Piece(0.0, 100, lateral=15.0), Piece(14.0, 40))
    assert outcome.laps == ()
    # More than 20 u from the path is out of bounds.
    outcome = cheated(Piece(14.0, 80), Piece(0.0, 100, lateral=-21.0), Piece(14.0, 400))
    assert (outcome.laps, outcome.fault) == ((), "out of bounds")


def test_quick_loops_are_no_laps() -> None:
    # 45 u/s: the line each 4.78 s; every third crossing is 10 s after the last accepted one.
    outcome = cheated(Piece(45.0, 1000))
    assert [lap.time_s for lap in outcome.laps] == pytest.approx([3 * LENGTH / 45.0] * 3, abs=0.02)


def test_long_tracks_have_more_checkpoints() -> None:
    # 2,000 u: 14 with the line, 142.9 u apart, which takes 7.15 u/s at least.
    assert heat.checkpoints(600.0) == 3
    assert heat.checkpoints(601.0) == 4
    assert heat.checkpoints(2000.0) == 13
    fast, slow = (
        drive(speed * 0.05 * np.arange(5100), track_length=2000.0, nodes=1000, laps=1)
        for speed in (8.0, 7.0)
    )
    assert heat.heat(fast).fault == ""
    assert heat.heat(slow).fault == "missed checkpoint"


def test_a_car_that_is_suddenly_elsewhere_begins_anew() -> None:
    # The record of another simulator, which did not say that the car was put 100 u ahead at 5 s.
    way = np.concatenate([10.0 * 0.05 * np.arange(100), 150.0 + 10.0 * 0.05 * np.arange(700)])
    race = drive(way, speed=np.full(800, 10.0), node=np.floor(way / 2.0) % 100)
    # The line at 202 u is met at 5 + 5.2 s and starts the clock; the next one at 402 u 20 s later.
    (lap,) = laps.laps(race)
    assert (lap.start_s, lap.time_s) == pytest.approx((10.2, 20.0))
