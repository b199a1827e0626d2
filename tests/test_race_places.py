"""Places in a race: for whoever comes back, and for somebody new where others never drove."""

from __future__ import annotations

import pytest

from donkey_rl.envs.link import commands
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.serving.orders import Announce, HangUp, SpawnCar
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.control import RaceControl
from donkey_rl.envs.serving.race.records import Evening
from donkey_rl.envs.serving.race.referee import Referee
from tests.race_evening import COURSE


def info(name: str, guid: str = "") -> commands.RacerInfo:
    return commands.RacerInfo(
        racer_name=name, car_name=name, bio="", country="", guid=guid or f"secret of {name}"
    )


def control(most: int) -> RaceControl:
    rules = RaceRules(most_competitors=most, min_competitors=2)
    return RaceControl(rules, COURSE, Evening(track=COURSE.name), lambda evening: True)


def comes(race: RaceControl, client: int, name: str) -> bool:
    race.connect(client)
    race.introduce(client, info(name), lambda former: False)
    return race.who(client) is not None


def test_who_never_drove_and_is_away_gives_way_to_somebody_new() -> None:
    race = control(3)
    for client, name in enumerate("ABC"):
        race.now = float(client)
        assert comes(race, client, name)
    race.evening.competitors[0].practice_s.append(20.0)
    # All are there: nobody gives way.
    assert not comes(race, 3, "D")
    for client in (0, 2, 1):
        race.now += 1.0
        race.disconnect(client)
    assert comes(race, 4, "E")
    # A has driven, C was away for longer than B.
    assert [each.name for each in race.evening.competitors] == ["A", "B", "E"]
    assert comes(race, 5, "F")
    assert not comes(race, 6, "G")
    assert [each.name for each in race.evening.competitors] == ["A", "E", "F"]
    assert any(
        "C never drove" in order.text for order in race.orders if isinstance(order, Announce)
    )


def two_of_one_name() -> Referee:
    """The first of them has a car; both go by name alone, as clients do that all send "0"."""
    rules = RaceRules(practice_s=60.0, min_competitors=2)
    referee = Referee(rules, COURSE, Evening(track=COURSE.name), lambda evening: True)
    for client in (0, 1):
        referee.connect(client)
        referee.car_config(client)
        referee.racer_info(client, info("Ada", "0"))
    spawned = [order.client for order in referee.take_orders() if isinstance(order, SpawnCar)]
    assert spawned == [0]
    return referee


def test_who_was_refused_gets_its_place_when_it_is_free() -> None:
    referee = two_of_one_name()
    # The first one's network is gone.
    referee.disconnect(0)
    spawned = [order.client for order in referee.take_orders() if isinstance(order, SpawnCar)]
    assert spawned == [1]


def test_a_silent_connection_gives_way_to_a_newer_one_of_its_name() -> None:
    race = control(3)
    for client in (0, 1):
        race.connect(client)
        race.introduce(client, info("Ada", "0"), lambda former: False)
    assert race.who(0) is not None
    assert race.who(1) is None
    race.connect(2)
    race.introduce(2, info("Ada", "0"), lambda former: former == 0)
    assert race.who(0) is None
    assert race.who(2) is not None
    assert HangUp(0) in race.orders


def test_who_was_refused_takes_the_place_once_the_other_connection_is_silent() -> None:
    referee = two_of_one_name()
    referee.relieve(lambda client: False)
    assert not referee.take_orders()
    referee.relieve(lambda client: client == 0)
    orders = referee.take_orders()
    assert HangUp(0) in orders
    assert [order.client for order in orders if isinstance(order, SpawnCar)] == [1]
    referee.relieve(lambda client: client == 0)
    assert not referee.take_orders()


def test_rules_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="min_competitors must not be above most_competitors"):
        RaceRules(min_competitors=10, most_competitors=4)
    with pytest.raises(ValueError, match=r"race\.min_competitors must not be above max_clients"):
        ServerConfig(max_clients=4, race=RaceRules(min_competitors=5))
