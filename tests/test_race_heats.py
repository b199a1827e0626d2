"""Heats, from stage 1 to the final: who meets whom, and what comes of it."""

from __future__ import annotations

import pytest

from donkey_rl.envs.link import reports
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import NO_LAP_S, Stage
from tests.race_evening import SHORT, Hall, Racer, field, hold

LADDERS = {
    2: ([["A", "B"]], [(1, "AB")]),
    3: ([["A"], ["B", "C"]], [(1, "A"), (1, "BC"), (2, "AB")]),
    4: ([["A", "D"], ["B", "C"]], [(1, "AD"), (1, "BC"), (2, "AB")]),
    5: (
        [["A"], ["B", "E"], ["C", "D"]],
        [(1, "A"), (1, "BE"), (1, "CD"), (2, "A"), (2, "BC"), (3, "AB")],
    ),
    6: (
        [["A", "F"], ["B", "E"], ["C", "D"]],
        [(1, "AF"), (1, "BE"), (1, "CD"), (2, "A"), (2, "BC"), (3, "AB")],
    ),
    7: (
        [["A"], ["B", "G"], ["C", "F"], ["D", "E"]],
        [(1, "A"), (1, "BG"), (1, "CF"), (1, "DE"), (2, "AD"), (2, "BC"), (3, "AB")],
    ),
    8: (
        [["A", "H"], ["B", "G"], ["C", "F"], ["D", "E"]],
        [(1, "AH"), (1, "BG"), (1, "CF"), (1, "DE"), (2, "AD"), (2, "BC"), (3, "AB")],
    ),
    # The ninth drives in stage 1, and not in the ladder.
    9: (
        [["A"], ["B", "I"], ["C", "H"], ["D", "G"], ["E", "F"]],
        [(1, "AH"), (1, "BG"), (1, "CF"), (1, "DE"), (2, "AD"), (2, "BC"), (3, "AB")],
    ),
}


@pytest.mark.parametrize("count", LADDERS)
def test_whole_evenings(count: int) -> None:
    hall = hold(field(count))
    stage_1, ladder = LADDERS[count]
    assert [racers for _, racers in hall.drawn(1)] == stage_1
    assert hall.drawn(2) == [(number, list(racers)) for number, racers in ladder]
    assert hall.names(hall.evening.standings) == list("ABCDEFGHI"[:count])
    byes = [each for each in hall.evening.heats if each.bye]
    assert all(not each.runs and len(each.racers) == 1 for each in byes)
    final = hall.evening.heats[-1]
    laps = {hall.evening.name_of(who): each.laps_s for who, each in final.last.items()}
    assert laps == {"A": pytest.approx([20.0] * 3), "B": pytest.approx([21.0] * 3)}
    assert hall.cars == {}


def test_the_times_of_an_evening_with_the_default_rules() -> None:
    hall = Hall(RaceRules())
    clients = [hall.join(racer) for racer in field(3)]
    began = {}
    while hall.evening.stage is not Stage.COMPLETE:
        began.setdefault(hall.evening.stage, hall.now)
        hall.step()
    assert began[Stage.QUALIFYING] == 1800.0
    # The last attempt that began in the window was driven to its end.
    assert 3600.0 <= began[Stage.PRE_EVENT] <= 3600.0 + 2.0 + 23.0
    pre_event = began[Stage.PRE_EVENT]
    assert began[Stage.EVENT_INTRO] - pre_event == 10.0
    assert began[Stage.COMPETITOR_INTRO] - pre_event == 310.0
    assert began[Stage.STAGE_1_PRE_RACE] - pre_event == 355.0
    assert began[Stage.STAGE_1_RACE] - pre_event == 365.0
    # GO after 5 s, 4 u to the line at 5 u/s, three laps of 20 s.
    assert began[Stage.STAGE_1_POST_RACE] - began[Stage.STAGE_1_RACE] == pytest.approx(66, abs=0.5)
    banners = [each for each in hall.said if each in ("Let's Race!", "Ready?", "Set?", "Go!")]
    assert banners[-4:] == ["Let's Race!", "Ready?", "Set?", "Go!"]
    winner = hall.heard[clients[0]]
    # A: attempts, alone in stage 1, a bye, the final; after GO first the line, then three laps.
    last = [type(each) for each in winner[-6:]]
    crossed = reports.CrossStart
    assert last == [reports.RaceStart, crossed, crossed, crossed, crossed, reports.RaceStop]


def test_a_disqualified_racer_keeps_its_best_lap_in_the_ladder_but_not_in_stage_1() -> None:
    racers = field(4)
    racers[0].faults = {Stage.STAGE_1_RACE: ["stop 1"], Stage.STAGE_2_RACE: ["stop 1"]}
    hall = hold(racers)
    # Stage 1: A against D, B against C; A has a lap, but is last.
    assert hall.names(hall.evening.seeds) == ["B", "C", "D", "A"]
    heats = [each for each in hall.evening.heats if each.stage == 2]
    # Ladder: B against A, C against D. A wins with one lap of 20 s before it stands.
    assert hall.drawn(2) == [(1, ["B", "A"]), (1, ["C", "D"]), (2, ["C", "A"])]
    outcome = heats[0].last[heats[0].racers[1]]
    assert (len(outcome.laps_s), outcome.disqualified) == (1, "missed checkpoint")
    # Final: A. Third is the faster loser of the semifinals, B with 21 s against D with 23 s.
    assert hall.names(hall.evening.standings) == ["A", "C", "B", "D"]


def test_third_is_the_faster_loser_of_the_semifinals() -> None:
    racers = field(4)
    racers[1].faults = {Stage.STAGE_2_RACE: ["out"]}
    hall = hold(racers)
    # Semifinals A-D and B-C: B is out without a lap, so D with 23 s is third.
    assert hall.names(hall.evening.standings) == ["A", "C", "D", "B"]


def test_a_heat_without_any_lap_is_run_again_three_times() -> None:
    racers = field(4)
    racers[1].faults = {Stage.STAGE_1_RACE: ["stop"] * 9}
    racers[2].faults = {Stage.STAGE_1_RACE: ["out", "out"]}
    racers[0].faults = {Stage.STAGE_1_RACE: ["stop"] * 9}
    racers[3].faults = {Stage.STAGE_1_RACE: ["out"] * 9}
    hall = hold(racers)
    first, second = hall.evening.heats[:2]
    # A and D: once and three times again. B and C: C is through at the third start.
    assert (len(first.runs), len(second.runs)) == (4, 3)
    assert all(each.best_s == NO_LAP_S for each in first.last.values())
    # C alone has a result; the others stay in the order of qualifying.
    assert hall.names(hall.evening.seeds) == ["C", "A", "B", "D"]


def test_in_the_ladder_it_is_run_again_without_limit_or_as_the_rules_say() -> None:
    for limit, runs, winner in ((None, 6, "B"), (1, 2, "A")):
        racers = field(2)
        racers[0].faults = {Stage.STAGE_2_RACE: ["stop"] * 9}
        racers[1].faults = {Stage.STAGE_2_RACE: ["stop"] * 5}
        hall = hold(racers, SHORT.model_copy(update={"ladder_restarts": limit}))
        assert len(hall.evening.heats[-1].runs) == runs
        # Without any lap at all, the better seed goes on.
        assert hall.names(hall.evening.standings)[0] == winner


def test_a_heat_waits_for_the_absent_and_then_goes_without_them() -> None:
    hall = Hall()
    hall.join(Racer("A", 20.0))
    late = hall.join(Racer("B", 21.0))
    hall.run_to(Stage.PRE_EVENT)
    hall.leave(late)
    hall.run_to(Stage.STAGE_1_PRE_RACE)
    hall.run(19.0)
    assert hall.evening.stage is Stage.STAGE_1_PRE_RACE
    hall.run_to(Stage.STAGE_1_POST_RACE)
    outcomes = {
        hall.evening.name_of(who): each for who, each in hall.evening.heats[0].last.items()
    }
    assert outcomes["B"].disqualified == "absent"
    assert len(outcomes["A"].laps_s) == 3
    # It comes for the final, with its guid, and is not refused though newcomers are.
    hall.run_to(Stage.STAGE_2_PRE_RACE)
    hall.join(Racer("New", 10.0))
    hall.join(Racer("B", 19.0))
    hall.run_to(Stage.COMPLETE)
    assert "New is too late: the races have begun." in hall.said
    assert hall.names(hall.evening.standings) == ["B", "A"]


def test_an_evening_ends_though_nobody_comes_back() -> None:
    hall = Hall()
    clients = [hall.join(racer) for racer in field(3)]
    hall.run_to(Stage.PRE_EVENT)
    for client in clients:
        hall.leave(client)
    hall.run_to(Stage.COMPLETE)
    assert hall.names(hall.evening.standings) == ["A", "B", "C"]
    assert all(len(each.runs) == 1 for each in hall.evening.heats if not each.bye)


def test_who_comes_back_in_a_heat_with_its_guid_goes_on_with_its_laps() -> None:
    hall = Hall()
    first = hall.join(Racer("A", 20.0, guid="secret"))
    hall.join(Racer("B", 21.0))
    hall.run_to(Stage.STAGE_1_RACE)
    # GO after 5 s, the line at 5.8 s, the first lap until 25.8 s.
    hall.run(30.0)
    hall.leave(first)
    hall.run(5.0)
    again = hall.join(Racer("Another name", 20.0, guid="secret"))
    assert reports.RaceStart() in hall.heard[again]
    began = hall.now
    hall.run_to(Stage.STAGE_1_POST_RACE)
    # The way to the line and two laps, not three.
    assert hall.now - began == pytest.approx(40.8, abs=0.3)
    outcome = hall.evening.heats[0].last[hall.evening.competitors[0].identity]
    assert (outcome.laps_s, outcome.disqualified) == (pytest.approx([20.0] * 3), None)


def test_who_does_not_come_back_to_a_heat_is_disqualified() -> None:
    hall = Hall()
    gone = hall.join(Racer("A", 20.0))
    hall.join(Racer("B", 21.0))
    hall.run_to(Stage.STAGE_1_RACE)
    hall.run(30.0)
    hall.leave(gone)
    # A has passed a checkpoint at 25.8 s or later; B drives until 68.8 s.
    hall.run(25.0)
    assert hall.join(Racer("A", 20.0)) not in hall.cars
    hall.run_to(Stage.STAGE_1_POST_RACE)
    outcome = hall.evening.heats[0].last[hall.evening.competitors[0].identity]
    assert (len(outcome.laps_s), outcome.disqualified) == (1, "connection lost")


def test_a_reset_in_a_heat_costs_the_laps() -> None:
    hall = Hall()
    client = hall.join(Racer("A", 20.0))
    hall.join(Racer("B", 21.0))
    hall.run_to(Stage.STAGE_1_RACE)
    hall.run(30.0)
    hall.reset(client)
    began = hall.now
    hall.run_to(Stage.STAGE_1_POST_RACE)
    # Three whole laps and the way to the line again, not two.
    assert hall.now - began == pytest.approx(60.8, abs=0.3)


def test_who_puts_its_car_back_over_and_over_does_not_keep_a_heat_open() -> None:
    hall = Hall()
    client = hall.join(Racer("A", 20.0))
    hall.join(Racer("B", 21.0))
    hall.run_to(Stage.STAGE_1_RACE)
    began = hall.now
    while hall.evening.stage is Stage.STAGE_1_RACE and hall.now - began < 2000.0:
        if client in hall.cars:
            hall.reset(client)
        hall.run(9.0)
    # Twice 10 s to the line and three laps of four checkpoints, 20 s each, behind GO at 5 s.
    assert hall.now - began == pytest.approx(505.0, abs=10.0)
    outcome = hall.evening.heats[0].last[hall.evening.competitors[0].identity]
    assert outcome.disqualified == "time limit"
    assert any("A is disqualified: time limit" in said for said in hall.said)
    assert any(isinstance(each, reports.Disqualified) for each in hall.heard[client])


def test_a_newer_connection_of_a_racer_ends_the_one_before() -> None:
    hall = Hall()
    first = hall.join(Racer("A", 20.0, guid="secret"))
    second = hall.join(Racer("A", 20.0, guid="secret"))
    assert hall.hung_up == [first]
    hall.leave(first)
    hall.join(Racer("B", 21.0))
    hall.run_to(Stage.STAGE_1_RACE)
    assert second in hall.cars
