"""A referee's orders, carried out on real connections."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from donkey_rl.envs.link import commands, reports
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.serving.orders import (
    Announce,
    Block,
    CarState,
    Order,
    PlaceCar,
    Release,
    RemoveCar,
    Send,
    SpawnCar,
)
from donkey_rl.errors import ConfigurationError
from tests.plain_client import PlainClient, picture

ROW, COLUMN = 5.0, 4.5
"""Of the generated track's grid (u); the car of 2022 divides places by 8."""

BODY = {"body_style": "f1", "body_r": "1", "body_g": "2", "body_b": "3", "car_name": "Ada"}
WHO = {"racer_name": "Ada", "car_name": "Ada", "bio": "-", "country": "UK", "guid": "a1"}

GO_S = 1.0
FAR = 6.0


class Starter:
    """A referee of few rules: a car for who has said everything, free `GO_S` later.

    None is free before `may_start` is set. Who comes `FAR` from its place is disqualified and put
    back to slot 3, blocked; who resets its car loses it.
    """

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.known: dict[int, set[str]] = {}
        self.said: list[commands.RacerInfo] = []
        self.states: list[CarState] = []
        self.started: set[int] = set()
        self.began: dict[int, float] = {}
        self.may_start = threading.Event()

    def connect(self, client: int) -> None:
        self.known[client] = set()
        self.orders.append(Send(client, reports.NeedCarConfig()))

    def disconnect(self, client: int) -> None:
        del self.known[client]
        self.orders.append(RemoveCar(client))

    def racer_info(
        self, client: int, info: commands.RacerInfo, is_silent: Callable[[int], bool]
    ) -> None:
        self.said.append(info)
        self.tell(client, "info")

    def car_config(self, client: int) -> None:
        self.tell(client, "config")

    def tell(self, client: int, what: str) -> None:
        if what not in self.known[client]:
            self.known[client].add(what)
            if len(self.known[client]) == 2:
                self.orders += [SpawnCar(client, 2), Block(client), Announce("Ready?")]

    def client_reset(self, client: int) -> None:
        self.orders.append(RemoveCar(client))

    def advance(self, now_s: float, cars: Mapping[int, CarState]) -> None:
        for client, state in cars.items():
            self.states.append(state)
            began = self.began.setdefault(client, now_s)
            due = self.may_start.is_set() and now_s - began >= GO_S
            if due and client not in self.started:
                self.started.add(client)
                self.orders += [Release(client), Send(client, reports.RaceStart())]
            if state.progress > FAR:
                self.orders += [
                    Send(client, reports.Disqualified(False)),
                    PlaceCar(client, 3),
                    Block(client),
                ]

    def relieve(self, is_silent: Callable[[int], bool], /) -> None:
        """Nobody is refused here."""

    def close(self) -> None:
        """Nothing is kept."""

    def take_orders(self) -> Sequence[Order]:
        taken, self.orders = self.orders, []
        return taken


@contextlib.contextmanager
def race(referee: Starter, **settings: Any) -> Iterator[Running]:
    config = ServerConfig(
        port=0, private_port=None, track="generated_track", time_scale=5.0, **settings
    )
    with background.running(config, lambda track: referee) as server:
        yield server


def test_a_racer_is_asked_spawned_held_released_and_put_back() -> None:
    referee = Starter()
    with race(referee) as server, PlainClient(server.port) as racer:
        assert racer.read() == {"msg_type": "need_car_config"}
        # Cameras set before there is a car are mounted on it.
        racer.camera(img_w="32", img_h="16")
        racer.send("car_config", **BODY)
        racer.send("racer_info", **WHO)
        racer.until("car_loaded")
        waiting = racer.telemetry()
        assert picture(waiting["image"]).shape == (16, 32, 3)
        # Telemetry for training is left out, the path's node is not.
        assert not {"cte", "pos_x", "vel_x"} & set(waiting)
        assert "activeNode" in waiting
        racer.drive(0.0, 1.0)
        racer.answers()  # It has arrived.
        held = [racer.telemetry() for _ in range(10)]
        assert {message["speed"] for message in held} == {0}
        referee.may_start.set()
        assert racer.until("race_start") == {"msg_type": "race_start"}
        # The command that was held back counts now.
        moving = [racer.telemetry() for _ in range(3)]
        assert moving[-1]["speed"] > 0
        assert racer.until("DQ") == {"msg_type": "DQ", "missed_cp": False}
        back = [racer.telemetry() for _ in range(5)]
        assert {message["speed"] for message in back[1:]} == {0}
    assert referee.said[0].guid == "a1"
    # Slot 2 is behind the first, slot 3 to the left of that; places on the path say which.
    first, last = referee.states[0], referee.states[-1]
    assert first.lateral - last.lateral == pytest.approx(COLUMN, abs=0.3)


def test_messages_of_training_are_refused_and_a_car_that_is_gone_stays_gone() -> None:
    referee = Starter()
    with race(referee) as server, PlainClient(server.port) as racer:
        racer.read()
        racer.drive(0.0, 1.0)
        racer.send("racer_info", **WHO)
        racer.send("car_config", **BODY)
        racer.until("car_loaded")
        for message in ("exit_scene", "quit_app"):
            racer.send(message)
        racer.send("node_position", index="3")
        racer.send("set_position", pos_x="0", pos_y="0", pos_z="0")
        racer.send("step_mode", step_mode="synchronous", time_step="0.05")
        assert racer.telemetry()["speed"] == 0
        assert racer.telemetry()["time"] > 0
        racer.send("reset_car")
        racer.answers()
        # The reset has taken the car away: no telemetry any more, but answers.
        counted = len(referee.states)
        assert racer.answers() == []
        assert len(referee.states) == counted


@pytest.mark.parametrize("settings", [{"track": None}, {"time_scale": "max"}])
def test_a_race_needs_a_track_and_a_clock(settings: dict[str, Any]) -> None:
    config = ServerConfig(
        **({"port": 0, "private_port": None, "track": "generated_track"} | settings)
    )
    with (
        pytest.raises(ConfigurationError, match="A race needs a track"),
        background.running(config, lambda track: Starter()),
    ):
        pass
