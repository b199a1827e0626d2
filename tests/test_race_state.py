"""When a car may move: on whose word, and for how long."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from donkey_rl.envs.link import reports
from donkey_rl.race_server import race_state
from donkey_rl.race_server.orders import FRESH_S, Brake, Go, Stop
from donkey_rl.race_server.race_state import Clock, RaceState, VoidGo

CAR, START, STOP = reports.CarLoaded(), reports.RaceStart(), reports.RaceStop()
MENU, NEED = reports.SceneSelectionReady(), reports.NeedCarConfig()
NOW = 1000.0
SOON, LATE = NOW + FRESH_S, NOW + FRESH_S + 0.001
TOO_LATE = VoidGo("page", None)


def state(start: Any = "race_start", *events: Any) -> RaceState:
    found = RaceState(start)
    for event in events:
        if isinstance(event, reports.Report):
            found.hear(event)
        else:
            found.follow(event, NOW)
    return found


@pytest.mark.parametrize(
    ("start", "events", "moves"),
    [
        ("race_start", [CAR], False),
        ("race_start", [CAR, START], True),
        ("race_start", [CAR, START, STOP], False),
        ("race_start", [CAR, START, CAR], False),
        ("race_start", [CAR, START, reports.Disqualified(True)], False),
        ("race_start", [CAR, Go("page")], True),
        ("race_start", [Go("page"), CAR], False),
        ("race_start", [NEED, Go("page"), CAR], True),
        ("race_start", [MENU, Go("page"), CAR], False),
        ("race_start", [MENU, NEED, Go("page"), CAR], True),
        ("race_start", [CAR, Go("page"), CAR], True),
        ("race_start", [CAR, Go("page"), START, CAR], False),
        ("race_start", [CAR, Go("page"), STOP, CAR], False),
        ("race_start", [CAR, START, Stop("page")], False),
        ("race_start", [CAR, START, Stop("page"), Go("page")], True),
        # The same run goes on, a host says so to whoever comes back; the next one is another.
        ("race_start", [CAR, START, Stop("page"), CAR, START], False),
        ("race_start", [CAR, START, Stop("page"), CAR, START, Go("page")], True),
        ("race_start", [CAR, START, Stop("page"), STOP, CAR, START], True),
        ("race_start", [CAR, START, CAR, Stop("page"), START], False),
        ("race_start", [CAR, Stop("page"), START], True),
        ("race_start", [CAR, START, Brake("page", True)], False),
        ("race_start", [CAR, START, Brake("page", True), Brake("page", False)], True),
        ("race_start", [CAR, START, reports.NeedCarConfig()], False),
        ("race_start", [CAR, Go("page"), MENU, CAR], False),
        ("car", [], False),
        ("car", [CAR, MENU, CAR], True),
        ("car", [CAR], True),
        ("car", [CAR, reports.Disqualified(True)], True),
        ("car", [CAR, START, reports.Disqualified(True)], False),
        ("car", [CAR, STOP], False),
        ("car", [CAR, STOP, CAR], True),
        ("car", [CAR, Stop("page"), CAR], False),
        ("car", [CAR, Stop("page"), CAR, Go("page")], True),
        ("drive", [CAR, START], False),
        ("drive", [CAR, START, Go("drive")], True),
        ("drive", [CAR, Go("drive"), START], True),
        ("drive", [CAR, Go("drive"), STOP, CAR], False),
    ],
)
def test_a_car_moves_on_somebodys_word(start: str, events: list[Any], moves: bool) -> None:
    assert state(start, *events).may_move is moves


@pytest.mark.parametrize(
    ("before", "clock_s", "lost_s", "shows_s", "moves"),
    [
        # The same host's clock has gone on; one that was started anew shows the outage at most.
        ([CAR, Go("page")], 100.0, 10.0, 110.0, True),
        ([CAR, Go("page")], 100.0, 10.0, 9.0, False),
        # It stood still for a while, as a stopped process does.
        ([CAR, Go("page")], 100.0, 10.0, 100.5, True),
        # Nothing can be told of a clock that had hardly begun, nor after a long time.
        ([CAR, Go("page")], 2.0, 1.0, 3.0, False),
        ([CAR, Go("page")], 20.0, 100.0, 99.0, False),
        # The host says GO itself, or a race was on: it says it again.
        ([CAR, START], 100.0, 10.0, 110.0, False),
        ([CAR, Go("page"), START], 100.0, 10.0, 110.0, False),
        ([CAR, Go("page"), Stop("page")], 100.0, 10.0, 110.0, False),
    ],
)
def test_go_over_a_lost_connection(
    before: list[Any], clock_s: float, lost_s: float, shows_s: float, moves: bool
) -> None:
    found = state("race_start", *before)
    found.lose(Clock(clock_s, 1000.0, 1.0))
    assert not found.may_move
    # Attempts that come to nothing change nothing.
    found.lose(None)
    found.hear(reports.NeedCarConfig())
    found.hear(CAR)
    assert not found.may_move
    found.see(shows_s, 1000.0 + lost_s)
    assert found.may_move is moves


def test_who_succeeds_a_slow_host_is_not_taken_for_it() -> None:
    found = state("race_start", CAR, Go("page"))
    # It made half a second in each; its successor keeps time.
    found.lose(Clock(15.0, 1000.0, 0.5))
    found.hear(CAR)
    found.see(23.0, 1025.0)
    assert not found.may_move


def test_having_a_car_is_enough_in_practice_on_every_connection() -> None:
    found = state("car", CAR)
    found.lose(Clock(100.0, 1000.0, 1.0))
    assert not found.may_move
    found.hear(CAR)
    found.see(1.0, 1010.0)
    assert found.may_move
    found.follow(Stop("page"), NOW)
    found.lose(Clock(100.0, 1000.0, 1.0))
    found.hear(CAR)
    found.see(101.0, 1001.0)
    assert not found.may_move


@pytest.mark.parametrize("before", [[], [CAR, Stop("page")], [CAR, START]])
@pytest.mark.parametrize("nowhere", ["no connection", "menu"])
def test_go_without_a_host_holds_while_it_is_fresh(before: list[Any], nowhere: str) -> None:
    for at, moves in ((SOON, True), (LATE, False)):
        found = state("race_start", *before)
        if nowhere == "menu":
            found.hear(MENU)
        else:
            found.lose(Clock(100.0, NOW, 1.0) if before else None)
        assert found.follow(Go("page"), NOW)
        # Attempts that come to nothing, and a connection that is lost before its first frame.
        found.lose(None)
        found.hear(NEED)
        found.lose(None)
        found.hear(NEED)
        found.hear(CAR)
        assert not found.may_move
        assert found.void_go(at) == (None if moves else TOO_LATE)
        # Another host: what an earlier one was told is of no matter.
        found.see(1.0, at)
        assert found.may_move is moves
        assert found.void_go(LATE) is None


@pytest.mark.parametrize("end", [Stop("page"), STOP, MENU])
def test_go_without_a_host_ends_as_every_word_does(end: Any) -> None:
    found = state("race_start", Go("page"))
    # Who says STOP knows; what the host says is told once, by whatever came first.
    told = None if isinstance(end, Stop) else VoidGo("page", end)
    if isinstance(end, Stop):
        found.follow(end, NOW)
    else:
        found.hear(end)
    found.hear(STOP)
    found.hear(CAR)
    assert found.void_go(NOW) == told
    found.see(1.0, SOON)
    assert not found.may_move
    assert found.void_go(LATE) is None


def test_nobody_is_told_of_a_go_that_did_not_wait_or_that_the_host_has_followed() -> None:
    for events in ([CAR, Go("page"), STOP], [CAR, Go("page"), MENU], [MENU, STOP], [CAR, START]):
        assert state("race_start", *events).void_go(LATE) is None
    found = state("race_start", Go("page"), CAR, START)
    assert found.go
    assert found.void_go(LATE) is None


def test_nobody_is_told_of_a_go_where_the_car_sets_off_by_itself() -> None:
    found = state("car", Go("page"), MENU)
    assert found.void_go(NOW) is None
    found.hear(CAR)
    assert found.go
    # After a STOP it does not.
    assert state("car", Stop("page"), Go("page"), MENU).go is False


def test_go_given_again_while_the_connection_is_lost_takes_nothing_away() -> None:
    found = state("race_start", CAR, Go("page"))
    found.lose(Clock(100.0, NOW, 1.0))
    found.follow(Go("page"), NOW + 1.0)
    found.lose(None)
    # Nobody is told that it does not count, since the first one does.
    assert found.void_go(NOW + 10.0) is None
    found.hear(CAR)
    # The same host goes on: what it was told before it was lost still holds.
    found.see(110.0, NOW + 10.0)
    assert found.may_move


@pytest.mark.parametrize(("at", "moves"), [(SOON, True), (LATE, False)])
def test_go_without_a_host_is_newer_than_the_stop_of_the_run_that_goes_on(
    at: float, moves: bool
) -> None:
    found = state("race_start", CAR, START, Stop("page"))
    found.lose(Clock(100.0, NOW, 1.0))
    found.follow(Go("page"), NOW)
    found.hear(CAR)
    # Said to whoever comes back into the run, before the first frame.
    found.hear(START)
    assert not found.may_move
    assert found.void_go(at) == (None if moves else TOO_LATE)
    found.see(101.0, at)
    assert found.may_move is moves


def test_go_without_a_host_that_is_repeated_holds_longer_and_is_noted_once() -> None:
    found = state("drive")
    assert found.follow(Go("drive"), NOW)
    assert not found.follow(Go("drive"), NOW + 1.0)
    assert found.follow(Go("page"), NOW + 1.0)
    found.hear(CAR)
    found.see(1.0, SOON + 1.0)
    assert found.may_move


def test_a_stop_outlasts_a_go_that_came_to_nothing() -> None:
    found = state("car", CAR, Stop("page"))
    found.lose(None)
    found.follow(Go("page"), NOW)
    found.hear(CAR)
    found.see(1.0, LATE)
    assert not found.may_move


def test_a_car_that_is_gone_does_not_move_and_goes_on_when_its_frames_do() -> None:
    found = state("race_start", CAR, START)
    found.miss_frames()
    assert found.go
    assert not found.may_move
    found.see(12.0, 1000.0)
    assert found.may_move


_EVENTS: tuple[Any, ...] = (
    CAR, START, STOP, Go("page"), Stop("page"), Brake("page", True), Brake("page", False),
    reports.NeedCarConfig(), reports.Disqualified(False), reports.CrossStart(12.0), MENU, "lose",
    "new host", "frame",
)  # fmt: skip


def test_no_word_outlives_a_machine_that_sleeps() -> None:
    # The monotonic clock stood still meanwhile, the wall clock went on by an hour.
    for slept_s, goes in ((0.0, True), (3600.0, False)):
        found = RaceState("race_start")
        found.hear(CAR)
        found.follow(Go("page"), NOW)
        found.lose(Clock(100.0, NOW, 1.0, time.time() - slept_s))
        found.see(1800.0, NOW + 1.0)
        assert found.go is goes
        given = RaceState("race_start")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(race_state.time, "time", lambda slept_s=slept_s: 1e9 - slept_s)
            given.follow(Go("page"), NOW)
            patched.setattr(race_state.time, "time", lambda: 1e9)
            given.hear(CAR)
            given.see(1.0, NOW + 1.0)
        assert given.go is goes


@given(st.lists(st.sampled_from(_EVENTS), max_size=30))
def test_no_order_of_events_moves_a_car_of_a_race_before_its_go(events: list[Any]) -> None:
    """A word said to this host, after the last STOP, race_stop and car of a race."""
    found = RaceState("race_start")
    word = False
    now = 1000.0
    for event in events:
        now += 10.0
        if event == "lose":
            found.lose(Clock(1000.0, now, 1.0))
        elif event == "new host":
            found.lose(Clock(1000.0, now, 1.0))
            found.hear(CAR)
            found.see(1.0, now + 1.0)
            word = False
        elif event == "frame":
            found.see(now, now)
        elif isinstance(event, reports.Report):
            found.hear(event)
        else:
            found.follow(event, now)
        if event == START or isinstance(event, Go):
            word = True
        elif event in (STOP, MENU) or isinstance(event, Stop):
            word = False
        assert word or not found.may_move, events
