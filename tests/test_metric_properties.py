"""What must hold of every metric whatever was driven, and of the score of a race."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from donkey_rl.metrics import registry
from donkey_rl.metrics.examples import drive, stints
from donkey_rl.metrics.race import Race

quick = settings(max_examples=15, deadline=None, derandomize=True)
SCORE = registry.load("race_score")


def changed(race: Race, **columns: npt.ArrayLike) -> Race:
    return Race(race.header, {**race.columns, **columns})


@st.composite
def races(draw: st.DrawFn) -> Race:
    """A drive at changing speeds with commands, excursions, hits, resets and late commands."""
    speeds = st.sampled_from([-6.0, 0.0, 8.0, 14.0, 18.0, 24.0])
    way = stints(*draw(st.lists(st.tuples(speeds, st.floats(0.1, 30.0)), min_size=1, max_size=5)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = len(way)
    lateral = draw(st.sampled_from([2.0, 6.0, 21.0])) * np.sin(np.arange(rows) / 50.0)
    columns: dict[str, Any] = {
        "steering": np.clip(rng.normal(0.0, 0.3, rows), -1.0, 1.0),
        "throttle": rng.uniform(-1.0, 1.0, rows),
        "lateral": lateral,
        "cte": lateral + 0.1,
        "off_track": np.abs(lateral) > 5.0,
        "hit": np.where(rng.random(rows) < 0.005, "cone", ""),
        "reset": rng.random(rows) < 0.001,
        "latency_ms": np.where(rng.random(rows) < 0.1, np.nan, rng.uniform(5.0, 90.0, rows)),
        "missed": rng.random(rows) < 0.1,
    }
    return drive(way, **columns)


@quick
@given(race=races(), offset=st.floats(-1e4, 1e5))
def test_when_the_recording_began_changes_nothing(race: Race, offset: float) -> None:
    later = changed(race, time_s=race["time_s"] + offset)
    assert registry.score(later) == pytest.approx(registry.score(race), rel=1e-6, nan_ok=True)


@quick
@given(race=races(), shares=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4))
def test_the_files_of_a_race_change_nothing(race: Race, shares: list[float]) -> None:
    ends = [0, *sorted(round(share * len(race)) for share in shares), len(race)]
    parts = [race.part(first, end) for first, end in itertools.pairwise(ends)]
    joined = Race.joined(parts)
    assert registry.score(joined) == pytest.approx(registry.score(race), rel=0, nan_ok=True)


@quick
@given(race=races(), angle=st.floats(-4.0, 4.0), east=st.floats(-1e3, 1e3))
def test_where_the_frame_has_its_origin_changes_nothing(
    race: Race, angle: float, east: float
) -> None:
    x, z = race["x"], race["z"]
    turned = changed(
        race,
        x=x * math.cos(angle) + z * math.sin(angle) + east,
        z=z * math.cos(angle) - x * math.sin(angle) - 2.0 * east,
        yaw=race["yaw"] + angle,
    )
    assert registry.score(turned) == pytest.approx(registry.score(race), rel=1e-6, nan_ok=True)


@quick
@given(race=races())
def test_every_score_is_in_its_range(race: Race) -> None:
    for name, value in registry.score(race).items():
        metric = registry.load(name)
        assert math.isnan(value) or metric.low <= value <= metric.high, name


def heat_of(*speeds: float) -> Race:
    """Three laps of 200 u, each at its speed."""
    return drive(stints((10.0, 0.2), *((speed, 200.0 / speed) for speed in speeds), (10.0, 0.2)))


fair = st.floats(10.5, 19.0)


@quick
@given(speeds=st.tuples(fair, fair, fair), which=st.integers(0, 2), gain=st.floats(0.0, 1.0))
def test_a_quicker_lap_never_scores_less(
    speeds: tuple[float, float, float], which: int, gain: float
) -> None:
    before = heat_of(*speeds)
    after = heat_of(*(v + gain if k == which else v for k, v in enumerate(speeds)))
    best = registry.load("best_lap_s")
    assert best(after) <= best(before) + 1e-9
    assert SCORE(after) >= SCORE(before) - 1e-9
    assert (SCORE(after) > SCORE(before)) == (best(after) < best(before))


@quick
@given(race=races(), where=st.floats(0.0, 1.0), rows=st.integers(1, 200))
def test_another_fault_never_scores_more(race: Race, where: float, rows: int) -> None:
    first = round(where * (len(race) - 1))
    marked = np.zeros(len(race), np.bool_)
    marked[first : first + rows] = True
    before = SCORE(race)
    off = changed(race, off_track=race["off_track"] | marked)
    hit = changed(race, hit=np.where(marked, "wall", race["hit"]))
    lost = changed(race, lateral=np.where(marked, 25.0, race["lateral"]))
    assert SCORE(off) <= before
    assert SCORE(hit) <= before
    assert SCORE(lost) <= before
    assert registry.load("off_track_s")(off) >= registry.load("off_track_s")(race) or len(race) < 2


@quick
@given(race=races(), share=st.floats(0.0, 1.0))
def test_who_comes_further_never_scores_less(race: Race, share: float) -> None:
    # A race that was broken off earlier, with as many laps to go, but for resets and what they
    # cost; both are at least as much as what was driven.
    whole = changed(race, reset=np.zeros(len(race), np.bool_), lateral=np.zeros(len(race)))
    part = whole.cut(max(1, round(share * len(whole))))
    completion = registry.load("completion")
    assert completion(whole) >= completion(part)
    if registry.load("disqualified")(part):
        assert SCORE(whole) >= SCORE(part)


def test_any_finish_beats_any_disqualification() -> None:
    slow = heat_of(2.7, 2.7, 2.7)  # 18.5 s from checkpoint to checkpoint
    off = changed(slow, off_track=np.ones(len(slow), np.bool_))
    lost = heat_of(19.0, 19.0, 19.0)
    lost = changed(lost, lateral=np.where(np.arange(len(lost)) == len(lost) - 20, 25.0, 0.0))
    assert SCORE(off) == 1.0
    assert SCORE(slow) > 1.0
    assert SCORE(lost) <= 1.0


def test_the_score_weighs_speed_against_disqualifications() -> None:
    # One race in 100 lost costs a hundredth; 1 % of lap time brings three: 0.99^-3 = 1.031.
    safe = SCORE(heat_of(16.0, 16.0, 16.0))
    faster = SCORE(heat_of(16.0 / 0.99, 16.0, 16.0))
    assert (faster - 1.0) / (safe - 1.0) == pytest.approx(0.99**-3, rel=1e-6)
    assert 0.98 * faster > safe > 0.96 * faster


def test_an_open_road_is_one_lap() -> None:
    way = stints((10.0, 20.0))  # from 0 to the end at 200 u
    race = drive(way, closed=False, node=np.minimum(np.floor(way / 2.0), 99), laps=3)
    # 198 u behind the line in 19.8 s, against 9.9 s: 1 + 99 / 8.
    assert SCORE(race) == pytest.approx(13.375)
