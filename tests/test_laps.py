"""Laps and metrics of hand-built drives round a circle of 200 u with 100 nodes, 2 u apart."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.metrics import laps, registry, scores
from donkey_rl.metrics.race import COLUMNS, Race, RaceHeader

LENGTH = 200.0
RADIUS = LENGTH / (2 * math.pi)
Array = npt.NDArray[np.float64]


def drive(progress: npt.ArrayLike, time_s: npt.ArrayLike | None = None, **changes: object) -> Race:
    """A race along the circle, spawned 2 u before the start line, one row each 50 ms."""
    way = np.asarray(progress, np.float64)
    time = np.arange(len(way)) * 0.05 if time_s is None else np.asarray(time_s, np.float64)
    head = RaceHeader(
        track="circle",
        track_length=LENGTH,
        nodes=100,
        start_line=2.0,
        start_line_progress=2.0,
        road_left=-5.0,
        road_right=5.0,
    )
    columns: dict[str, object] = {name: np.zeros(len(way)) for name in COLUMNS}
    columns |= {
        "time_s": time,
        "progress": way,
        "x": RADIUS * np.sin(way / RADIUS),
        "z": RADIUS * np.cos(way / RADIUS),
        "node": np.floor(way / 2.0) % 100,
        "speed": np.abs(np.gradient(way, time)) if len(way) > 1 else np.zeros(len(way)),
        "hit": np.full(len(way), ""),
    }
    settings = {key: value for key, value in changes.items() if key not in COLUMNS}
    columns |= {key: value for key, value in changes.items() if key in COLUMNS}
    return Race(RaceHeader.model_validate(head.model_dump() | settings), columns)


def steady(speed: float, seconds: float) -> Array:
    """Progress of a steady drive, rows each 50 ms."""
    return speed * 0.05 * np.arange(round(seconds / 0.05) + 1)


def flags(rows: int, *marked: int) -> npt.NDArray[np.bool_]:
    array = np.zeros(rows, np.bool_)
    array[list(marked)] = True
    return array


def test_a_steady_drive_is_timed_between_the_rows() -> None:
    # 16 u/s: the line at 2 u is crossed at 0.125 s, between the rows of 0.10 and 0.15 s,
    # and then every 200 / 16 = 12.5 s: at 12.625, 25.125, 37.625.
    race = drive(steady(16.0, 40.0))
    found = laps.laps(race)
    assert [lap.number for lap in found] == [1, 2, 3]
    assert [lap.start_s for lap in found] == pytest.approx([0.125, 12.625, 25.125])
    assert [lap.time_s for lap in found] == pytest.approx([12.5] * 3)
    assert all(lap.clean and lap.reasons == () for lap in found)
    assert found[0].end_s == pytest.approx(12.625)
    # Straight steps of 0.8 u on a circle: shorter than the arc by (0.8 / R)^2 / 24 < 0.01 %.
    assert found[1].distance == pytest.approx(200.0, rel=1e-4)
    assert found[1].mean_speed == pytest.approx(16.0, rel=1e-4)


def test_a_race_that_begins_on_the_line_starts_the_clock_at_once() -> None:
    race = drive(steady(16.0, 13.0), start_line=0.0, start_line_progress=0.0)
    (lap,) = laps.laps(race)
    assert (lap.start_s, lap.time_s) == pytest.approx((0.0, 12.5))
    assert lap.clean


def test_the_lap_in_progress_does_not_count() -> None:
    assert len(laps.laps(drive(steady(16.0, 12.6)))) == 0  # the line would come at 12.625 s
    assert len(laps.laps(drive(steady(16.0, 12.65)))) == 1


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("off_track", flags(801, 100), "off_track"),
        ("hit", np.where(flags(801, 100), "cone", ""), "hit"),
    ],
)
def test_a_fault_spoils_only_its_own_lap(column: str, values: object, reason: str) -> None:
    race = drive(steady(16.0, 40.0), **{column: values})
    found = laps.laps(race)
    assert [lap.clean for lap in found] == [False, True, True]
    assert found[0].reasons == (reason,)


def test_a_fault_before_the_first_line_spoils_nothing() -> None:
    race = drive(steady(16.0, 13.0), off_track=flags(261, 1))
    assert [lap.clean for lap in laps.laps(race)] == [True]


def test_a_lap_that_skips_nodes_is_not_clean() -> None:
    # The index jumps by 12 nodes, 24 u, in one step: more than any step along the path.
    node = np.floor(steady(16.0, 13.0) / 2.0) % 100
    node[130:] = (node[130:] + 12) % 100
    (lap,) = laps.laps(drive(steady(16.0, 13.0), node=node))
    assert lap.reasons == ("missed_nodes",)


def test_a_node_index_that_stands_still_is_not_clean() -> None:
    node = np.minimum(np.floor(steady(16.0, 13.0) / 2.0), 50)
    (lap,) = laps.laps(drive(steady(16.0, 13.0), node=node))
    assert lap.reasons == ("missed_nodes",)


def test_nodes_are_passed_also_in_large_strides() -> None:
    # Rows only each 0.25 s: 4 u and two nodes per row.
    time = np.arange(60) * 0.25
    (lap,) = laps.laps(drive(16.0 * time, time))
    assert lap.clean
    assert lap.time_s == pytest.approx(12.5)


def test_circling_on_the_line_scores_no_lap() -> None:
    # A small circle about the line: progress swings by 3 u, 40 times.
    race = drive(2.0 + 3.0 * np.sin(np.arange(1600) * 2 * np.pi / 40))
    assert len(laps.crossings(race)) == 1
    assert laps.laps(race) == ()


def test_shuttling_over_the_line_scores_no_lap() -> None:
    there = steady(10.0, 8.0)  # 80 u ahead and back again, 16 s each time
    race = drive(np.concatenate([there, there[-2::-1]] * 4))
    assert laps.laps(race) == ()
    assert laps.distance(race) > 600.0


def test_reversing_over_the_line_scores_no_lap() -> None:
    race = drive(np.concatenate([steady(10.0, 1.0), 10.0 - steady(10.0, 70.0)[1:]]))
    assert race["progress"][-1] < -3 * LENGTH
    assert laps.laps(race) == ()
    assert laps.completion(race) == pytest.approx(8.0 / 600.0)


def test_cutting_scores_no_lap() -> None:
    # Across the grass and over the line each 10 s, while progress stays where the path was left.
    race = drive(np.minimum(steady(16.0, 60.0), 90.0))
    assert laps.laps(race) == ()


def test_a_lap_driven_after_rolling_back_over_the_line_counts_once() -> None:
    # Over the line to 12 u, back to -8 u, then 16 u/s until a whole lap was driven.
    back = np.concatenate([steady(10.0, 1.2), 12.0 - steady(10.0, 2.0)[1:]])
    race = drive(np.concatenate([back, -8.0 + steady(16.0, 14.0)[1:]]))
    (lap,) = laps.laps(race)
    assert lap.start_s == pytest.approx(0.2)  # the first crossing: 2 u at 10 u/s
    # 3.2 s to and fro, then 210 u at 16 u/s: 3.2 + 13.125 - 0.2.
    assert lap.time_s == pytest.approx(16.125)


def test_a_crossing_sooner_than_the_shortest_lap_is_ignored() -> None:
    # 40 u/s: a crossing each 5 s. Only every second one is 10 s after the last accepted.
    found = laps.laps(drive(steady(40.0, 20.1)))
    assert [lap.time_s for lap in found] == pytest.approx([10.0, 10.0])
    assert [lap.distance for lap in found] == pytest.approx([400.0, 400.0], rel=1e-3)
    assert len(laps.laps(drive(steady(40.0, 20.1), min_lap_s=4.9))) == 4


def test_an_open_path_has_one_lap_to_its_end() -> None:
    way = np.minimum(steady(10.0, 25.0), LENGTH)
    race = drive(way, closed=False, node=np.minimum(np.floor(way / 2.0), 99))
    (lap,) = laps.laps(race)
    assert lap.time_s == pytest.approx(19.8)  # from 2 u to 200 u at 10 u/s
    assert lap.clean
    assert laps.completion(race) == 1.0


def test_a_car_that_never_moves_has_no_lap() -> None:
    race = drive(np.zeros(100))
    assert laps.laps(race) == ()
    assert laps.best_lap(race) is None
    assert laps.mean_speed(race) == 0.0
    assert laps.completion(race) == 0.0


def test_events_are_counted_where_they_begin() -> None:
    off = flags(101, 3, 4, 5, 20, 100)
    hit = np.full(101, "", "U8")
    hit[[10, 11]] = "cone"
    hit[12] = "wall"
    hit[50] = "wall"
    race = drive(steady(1.0, 5.0), off_track=off, hit=hit)
    assert laps.off_track_count(race) == 3
    assert laps.hits(race) == 3


def test_a_jump_at_a_reset_is_no_way_driven() -> None:
    way = np.concatenate([steady(10.0, 5.0), steady(10.0, 5.0)])  # put back to the spawn
    race = drive(way, reset=flags(len(way), 101))
    assert laps.distance(race) == pytest.approx(100.0, rel=1e-3)


def test_the_best_lap_may_be_less_than_clean() -> None:
    # First lap at 10 u/s (20 s), second at 16 u/s (12.5 s) with an excursion.
    way = np.concatenate([steady(10.0, 20.2), 202.0 + steady(16.0, 12.55)[1:]])
    race = drive(way, off_track=flags(len(way), 500))
    best, clean = laps.best_lap(race), laps.best_clean_lap(race)
    assert best is not None
    assert clean is not None
    assert (best.number, best.time_s) == (2, pytest.approx(12.5))
    assert (clean.number, clean.time_s) == (1, pytest.approx(20.0))
    assert registry.score(race)["best_lap_s"] == pytest.approx(20.0)


def test_scores_of_a_steady_drive() -> None:
    # 16 u/s for 40 s: 640 u, 638 u beyond the line, 3.19 laps of 3.
    assert registry.score(drive(steady(16.0, 40.0))) == pytest.approx(
        {
            "laps": 3.0,
            "clean_laps": 3.0,
            "best_lap_s": 12.5,
            "mean_lap_s": 12.5,
            "off_tracks": 0.0,
            "hits": 0.0,
            "distance_u": 640.0,
            "mean_speed": 16.0,
            "top_speed": 16.0,
            "completion": 1.0,
            "steering_change": 0.0,
        },
        rel=1e-4,
    )


def test_steering_change_is_the_mean_step_of_the_command() -> None:
    race = drive([0.0, 1.0, 2.0, 3.0, 4.0], steering=[0.0, 0.5, 0.5, -0.5, 0.0])
    # |0.5|, |0|, |-1|, |0.5|: 2.0 in four steps.
    assert registry.score(race)["steering_change"] == pytest.approx(0.5)
    # A car that was put back starts from where it is put: the step of -1 does not count.
    back = drive([0.0, 1.0, 2.0, 3.0, 4.0], steering=[0.0, 0.5, 0.5, -0.5, 0.0], reset=flags(5, 3))
    assert registry.score(back)["steering_change"] == pytest.approx(1.0 / 3.0)
    assert np.isnan(registry.score(drive([0.0]))["steering_change"])


def test_completion_is_the_share_of_the_laps_asked_for() -> None:
    # 302 u of progress is 300 u beyond the line, out of 3 x 200 u.
    assert laps.completion(drive([0.0, 302.0])) == pytest.approx(0.5)
    assert laps.completion(drive([0.0, 302.0], laps=2)) == pytest.approx(0.75)


@pytest.mark.parametrize("name", registry.names())
def test_every_metric_is_described_and_takes_any_race(name: str) -> None:
    metric = registry.load(name)
    assert metric.name == name
    assert metric.description.endswith(".")
    assert metric.direction in ("higher", "lower")
    for race in (drive([]), drive([0.0]), drive(np.zeros(50)), drive(steady(16.0, 30.0))):
        value = metric(race)
        assert isinstance(value, float)
        assert not math.isinf(value)


def test_undefined_lap_times_are_nan() -> None:
    found = registry.score(drive(np.zeros(50)))
    assert math.isnan(found["best_lap_s"])
    assert math.isnan(found["mean_lap_s"])


def test_an_unknown_metric_answers_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'best_lap_s'"):
        registry.load("best_lap")


def test_a_metric_name_is_given_once() -> None:
    def laps(race: Race) -> float:
        return 0.0

    with pytest.raises(InputError, match=r"must be new\. Received: 'laps'"):
        registry.metric(unit="", direction="higher")(laps)
