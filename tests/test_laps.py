"""Laps of hand-built drives round a circle of 200 u with 100 nodes, 2 u apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.metrics import laps
from donkey_rl.metrics.examples import LENGTH, drive, steady, stints


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


def test_reversing_over_the_line_completes_nothing() -> None:
    race = drive(stints((10.0, 1.0), (-10.0, 70.0)))
    assert race["progress"][-1] < -3 * LENGTH
    assert laps.laps(race) == ()
    assert laps.completion(race) == pytest.approx(8.0 / 600.0)


def test_shuttling_over_the_line_is_way_driven_but_no_lap() -> None:
    # 80 u ahead and back again, four times.
    race = drive(stints(*[(10.0, 8.0), (-10.0, 8.0)] * 4))
    assert laps.laps(race) == ()
    assert laps.distance(race) == pytest.approx(640.0, rel=1e-3)


def test_a_lap_driven_after_rolling_back_over_the_line_counts_once() -> None:
    # Over the line to 12 u, back to -8 u, then 16 u/s until a whole lap was driven.
    race = drive(stints((10.0, 1.2), (-10.0, 2.0), (16.0, 14.0)))
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


def test_a_reset_ends_a_lap_and_the_next_line_starts_the_clock() -> None:
    # 16 u/s; at row 300, 15 s, the car is put from 240 u, in its second lap, back to 0 u.
    way = np.concatenate([steady(16.0, 14.95), steady(16.0, 30.0)])
    race = drive(way, reset=flags(len(way), 300))
    # Line at 0.125 s and 12.625 s; after the reset at 15.125, 27.625 and 40.125 s.
    assert laps.crossings(race) == pytest.approx([0.125, 12.625, 15.125, 27.625, 40.125])
    found = laps.laps(race)
    assert [(lap.number, lap.start_s) for lap in found] == [
        (1, pytest.approx(0.125)), (2, pytest.approx(15.125)), (3, pytest.approx(27.625)),
    ]  # fmt: skip
    assert all(lap.clean and lap.time_s == pytest.approx(12.5) for lap in found)
    # One whole lap before and two after, and of the unfinished ones 78 u of 200 u at most.
    assert laps.completion(drive(way, reset=flags(len(way), 300), laps=4)) == pytest.approx(
        (3.0 + 78.0 / 200.0) / 4.0
    )


def test_an_absurd_record_is_measured_in_bounded_time() -> None:
    # Ten thousand million laps in a step, and a reset in each of two thousand rows.
    race = drive([0.0, 2e12], speed=[1e30, 1e30], min_lap_s=0.0)
    assert len(laps.crossings(race)) == 10_000
    rows = 2_000
    assert laps.laps(drive(steady(16.0, 99.95), reset=np.ones(rows, np.bool_))) == ()


def test_the_best_lap_may_be_less_than_clean() -> None:
    # First lap at 10 u/s (20 s), second at 16 u/s (12.5 s) with an excursion.
    way = stints((10.0, 20.2), (16.0, 12.55))
    race = drive(way, off_track=flags(len(way), 500))
    best, clean = laps.best_lap(race), laps.best_clean_lap(race)
    assert best is not None
    assert clean is not None
    assert (best.number, best.time_s) == (2, pytest.approx(12.5))
    assert (clean.number, clean.time_s) == (1, pytest.approx(20.0))


def test_completion_is_the_share_of_the_laps_asked_for() -> None:
    # 302 u of progress is 300 u beyond the line, out of 3 x 200 u.
    assert laps.completion(drive([0.0, 302.0])) == pytest.approx(0.5)
    assert laps.completion(drive([0.0, 302.0], laps=2)) == pytest.approx(0.75)
