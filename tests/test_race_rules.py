"""Registration, practice, qualifying, and what clients may do to an evening: no sockets."""

from __future__ import annotations

import random

import pytest

from donkey_rl.envs.link import reports
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import MOST_ATTEMPTS, Evening, Stage
from tests.race_evening import SHORT, Hall, Racer, field


def test_a_car_comes_with_info_and_configuration_and_not_before() -> None:
    hall = Hall(RaceRules())
    client = hall.connect(Racer("A", 20.0))
    assert hall.heard[client] == [reports.NeedCarConfig()]
    hall.referee.car_config(client)
    hall.follow()
    assert hall.cars == {}
    other = hall.join(Racer("B", 20.0))
    assert list(hall.cars) == [other]
    # Nobody without a name is a competitor.
    assert [each.name for each in hall.evening.competitors] == ["B"]


def test_practice_puts_back_who_is_disqualified_and_counts_on() -> None:
    # The first start stands on the grid, the second leaves the track, the third drives.
    racer = Racer("A", 20.0, faults={Stage.PRACTICE: ["stop", "out"]})
    hall = Hall(RaceRules())
    client = hall.join(racer)
    hall.run(100.0)
    told = [each for each in hall.heard[client] if not isinstance(each, reports.NeedCarConfig)]
    # Back at 10.25 s; line 0.8 s later, out 2 s after that; back; line; laps of 20 s.
    missed, out = reports.Disqualified(True), reports.Disqualified(False)
    assert [missed, reports.CrossStart(0.0), out] == told[:3]
    laps = [each.lap_time for each in told[3:] if isinstance(each, reports.CrossStart)]
    assert laps == pytest.approx([0.0] + [20.0] * 4)
    assert hall.evening.competitors[0].practice_s == pytest.approx([20.0] * 4)
    hall.reset(client)
    hall.run(2.0)
    # The clock has started anew.
    assert hall.heard[client][-1] == reports.CrossStart(0.0)


def test_practice_goes_on_until_three_are_there() -> None:
    hall = Hall(RaceRules(practice_s=50.0))
    hall.join(Racer("A", 20.0))
    hall.join(Racer("B", 20.0))
    assert {car.slot for car in hall.cars.values()} == {0, 1}
    hall.run(100.0)
    assert hall.evening.stage is Stage.PRACTICE
    hall.join(Racer("C", 20.0))
    hall.run(1.0)
    assert hall.evening.stage is Stage.QUALIFYING
    assert all(reports.RaceStop() in hall.heard[client] for client in range(3))


def test_qualifying_is_one_at_a_time_and_those_without_a_time_first() -> None:
    hall = Hall(SHORT.model_copy(update={"qualifying_ends_early": False, "qualifying_s": 250.0}))
    a = Racer("A", 20.0, faults={Stage.QUALIFYING: ["out"]})
    b = Racer("B", 21.0)
    # C stands after the line: 20 s later it has missed a checkpoint.
    c = Racer("C", 22.0, faults={Stage.QUALIFYING: ["stop 0"] * 2})
    for racer in (a, b, c):
        hall.join(racer)
    hall.run_to(Stage.PRE_EVENT)
    turns = [each for each in hall.said if each.startswith("Qualifying: ")]
    # A has failed, B has a time; C is next (no attempt), then A before C (as many attempts, it
    # came first), C, C again until it has a time; then all have one, and who had fewest turns.
    expected = ["A", "B", "C", "A", "C", "C", "B"]
    assert turns[:7] == [f"Qualifying: {name}." for name in expected]
    assert hall.names(hall.evening.qualified) == ["A", "B", "C"]
    first = hall.evening.competitors[0].attempts[0]
    assert (first.laps_s, first.disqualified) == ([], "out of bounds")


def test_qualifying_does_not_end_early_while_somebody_without_a_time_is_away() -> None:
    hall = Hall()
    a, b, c = field(3)
    c.faults = {Stage.QUALIFYING: ["out"]}
    for racer in (a, b, c):
        client = hall.join(racer)
    while not hall.evening.competitors[2].attempts:
        hall.step()
    # C has failed, A and B have their times.
    hall.leave(client)
    hall.run(SHORT.absent_s - 1.0)
    assert hall.evening.stage is Stage.QUALIFYING
    hall.join(c)
    hall.run_to(Stage.PRE_EVENT)
    assert hall.names(hall.evening.qualified) == ["A", "B", "C"]


def test_qualifying_waits_for_nobody_who_stays_away() -> None:
    hall = Hall()
    for racer in field(2):
        hall.join(racer)
    hall.leave(hall.join(Racer("C", 22.0)))
    hall.run_to(Stage.PRE_EVENT)
    assert hall.now < SHORT.qualifying_s
    assert hall.names(hall.evening.qualified) == ["A", "B"]


def test_qualifying_goes_on_after_a_crash_for_who_had_no_time() -> None:
    before = Hall()
    *timed, late = field(3)
    for racer in timed:
        before.join(racer)
    before.join(late)
    while sum(bool(each.attempts) for each in before.evening.competitors) < 2:
        before.step()
    hall = Hall(evening=before.evening)
    hall.step()
    assert hall.evening.stage is Stage.QUALIFYING
    hall.join(late)
    hall.run_to(Stage.PRE_EVENT)
    assert hall.names(hall.evening.qualified) == ["A", "B", "C"]


def test_an_attempt_has_a_limit() -> None:
    hall = Hall(SHORT.model_copy(update={"qualifying_run_s": 30.0}))
    # 29 s fit with the way to the line, 4 u at 3.4 u/s; 30 s do not.
    for name, lap_s in (("A", 20.0), ("B", 28.0), ("C", 30.0)):
        hall.join(Racer(name, lap_s))
    hall.run(200.0)
    tried = {each.name: each.attempts[0].disqualified for each in hall.evening.competitors}
    assert tried == {"A": None, "B": None, "C": "time limit"}


def test_the_window_is_doubled_until_two_have_a_time() -> None:
    faults = {Stage.QUALIFYING: ["stop"] * 8}
    hall = Hall(SHORT.model_copy(update={"qualifying_s": 40.0}))
    hall.join(Racer("A", 20.0))
    hall.join(Racer("B", 21.0, faults=faults))
    hall.run_to(Stage.PRE_EVENT)
    # A: 2 s "Go!" and 21 s; each failure of B 12.25 s or little more, eight of them: 80 s are not
    # enough, 160 s are.
    assert hall.said.count("Qualifying goes on: the time is doubled.") == 2
    assert len(hall.evening.competitors[1].attempts) == 9


def test_the_window_is_doubled_until_all_who_are_there_have_tried() -> None:
    hall = Hall(SHORT.model_copy(update={"qualifying_s": 45.0}))
    # Each takes 2 s and a lap and a bit: at the third's turn the window is over.
    for racer in field(3):
        hall.join(racer)
    hall.run_to(Stage.PRE_EVENT)
    assert hall.names(hall.evening.qualified) == ["A", "B", "C"]


def test_of_very_many_attempts_the_best_is_kept() -> None:
    rules = SHORT.model_copy(update={"qualifying_ends_early": False, "qualifying_s": 3000.0})
    hall = Hall(rules)
    for racer in field(2):
        racer.faults = {Stage.QUALIFYING: ["", *["out"] * 1000]}
        hall.join(racer)
    hall.run_to(Stage.PRE_EVENT)
    found = hall.evening.competitors
    assert [len(each.attempts) for each in found] == [MOST_ATTEMPTS] * 2
    assert [each.qualifying_s for each in found] == pytest.approx([20.0, 21.0])


def test_a_second_connection_with_the_guid_takes_the_place_of_the_first() -> None:
    hall = Hall(RaceRules())
    dead = hall.join(Racer("A", 20.0, guid="secret"))
    alive = hall.join(Racer("A", 20.0, guid="secret"))
    assert list(hall.cars) == [alive]
    hall.leave(dead)
    hall.run(30.0)
    assert list(hall.cars) == [alive]
    assert [each for each in hall.heard[alive] if isinstance(each, reports.CrossStart)]
    assert len(hall.evening.competitors) == 1


@pytest.mark.parametrize("guid", ["", "0"])
def test_without_a_guid_the_name_counts_and_is_not_taken_from_who_has_it(guid: str) -> None:
    hall = Hall(RaceRules())
    a, b = hall.join(Racer("A", 20.0, guid)), hall.join(Racer("B", 20.0, guid))
    second = hall.join(Racer("A", 20.0, guid))
    assert sorted(hall.cars) == [a, b]
    hall.leave(a)
    hall.leave(second)
    third = hall.join(Racer("A", 20.0, guid))
    assert sorted(hall.cars) == [b, third]
    assert [each.name for each in hall.evening.competitors] == ["A", "B"]


def test_no_more_than_so_many_are_registered() -> None:
    hall = Hall(RaceRules(most_competitors=2, min_competitors=2))
    for racer in field(3):
        hall.join(racer)
    assert [each.name for each in hall.evening.competitors] == ["A", "B"]
    assert len(hall.cars) == 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("waiting", 1.5),
        ("ladder", 6),
        ("race_laps", 0),
        ("practice_s", -1.0),
        ("results", "a.txt"),
    ],
)
def test_rules_outside_their_ranges_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting):
        RaceRules.model_validate({setting: value})


@pytest.mark.parametrize("seed", range(20))
def test_nothing_that_clients_do_upsets_an_evening(seed: int) -> None:
    chance = random.Random(seed)
    kept: list[Evening] = []

    def save(evening: Evening) -> None:
        # What is written can be read: `Evening` refuses what does not fit together.
        kept.append(Evening.model_validate_json(evening.model_dump_json()))

    faults = {stage: ["stop", "out", "", "stop 1", ""] * 3 for stage in Stage}
    names = "ABCDEF"
    hall = Hall(SHORT.model_copy(update={"practice_s": 30.0, "qualifying_s": 200.0}), save=save)
    while hall.evening.stage is not Stage.COMPLETE:
        assert hall.now < 50_000.0
        hall.run(chance.uniform(0.0, 20.0))
        client = chance.choice([*hall.racers, hall.count])
        match chance.randrange(6):
            case 0 if client in hall.racers:
                hall.leave(client)
            case 1 if client in hall.cars:
                hall.reset(client)
            case 2:
                # Nobody of this number is there.
                hall.referee.disconnect(10_000)
                hall.referee.car_config(10_000)
                hall.referee.client_reset(10_000)
            case 3:
                hall.connect(Racer("nobody", 20.0))
            case _ if len(hall.racers) < 12:
                name = chance.choice(names)
                drawn = {stage: chance.sample(found, 3) for stage, found in faults.items()}
                hall.join(Racer(name, chance.uniform(15.0, 40.0), faults=drawn))
    assert len(hall.evening.standings) >= 2
    assert kept[-1].standings == hall.evening.standings
    assert set(hall.evening.standings) == set(hall.evening.qualified)
