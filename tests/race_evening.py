"""Race evenings without a simulator: cars that are points on a circle, and who drives them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable

from donkey_rl.envs.link import commands, reports
from donkey_rl.envs.serving.orders import (
    Announce,
    Block,
    CarState,
    HangUp,
    PlaceCar,
    Release,
    RemoveCar,
    Send,
    SpawnCar,
)
from donkey_rl.envs.serving.race.checkpoints import Course
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import Evening, Stage
from donkey_rl.envs.serving.race.referee import Referee

STEP_S = 0.25
COURSE = Course("circle", length=100.0, start_line=10.0)
BEHIND_LINE = 4.0
"""Slot 0 is so far behind the line, each further one 2 more (u)."""

SHORT = RaceRules(
    practice_s=0.0,
    min_competitors=2,
    qualifying_ends_early=True,
    waiting=0.0,
    absent_s=20.0,
)
"""Straight to qualifying, and no waiting."""


@dataclasses.dataclass
class Racer:
    """Drives at a constant speed, but for its faults.

    Attributes:
        name: Of the racer.
        lap_s: Time of a lap.
        guid: Of the racer.
        faults: By stage, what goes wrong in the first, second ... start there: "" nothing,
            "stop": stands after that many laps, as in "stop 1"; "out": leaves the track after the
            line.
    """

    name: str
    lap_s: float
    guid: str = "-"
    faults: dict[Stage, list[str]] = dataclasses.field(default_factory=dict)
    fault: str = ""


@dataclasses.dataclass
class Car:
    slot: int
    way: float = 0.0
    free: bool = True


class Hall:
    """Carries a referee's orders out on cars that are points."""

    def __init__(
        self,
        rules: RaceRules = SHORT,
        evening: Evening | None = None,
        save: Callable[[Evening], bool] = lambda evening: True,
    ) -> None:
        self.now = 0.0
        self.evening = Evening(track=COURSE.name) if evening is None else evening
        self.referee = Referee(rules, COURSE, self.evening, save)
        self.racers: dict[int, Racer] = {}
        self.cars: dict[int, Car] = {}
        self.heard: dict[int, list[reports.Report]] = defaultdict(list)
        self.said: list[str] = []
        self.hung_up: list[int] = []
        self.count = 0

    def join(self, racer: Racer) -> int:
        """A racer connects and says everything; returns its client."""
        client = self.connect(racer)
        guid = racer.name.lower() * 3 if racer.guid == "-" else racer.guid
        info = commands.RacerInfo(racer.name, f"{racer.name}'s car", "Drives.", "UK", guid)
        self.referee.racer_info(client, info)
        self.referee.car_config(client)
        self.follow()
        return client

    def connect(self, racer: Racer) -> int:
        client, self.count = self.count, self.count + 1
        self.racers[client] = racer
        self.referee.connect(client)
        self.follow()
        return client

    def leave(self, client: int) -> None:
        self.cars.pop(client, None)
        del self.racers[client]
        self.referee.disconnect(client)
        self.follow()

    def reset(self, client: int) -> None:
        self.cars[client].way = 0.0
        self.referee.client_reset(client)
        self.follow()

    def follow(self) -> None:
        for order in self.referee.take_orders():
            match order:
                case Announce(text):
                    self.said.append(text)
                case Send(client, report):
                    self.heard[client].append(report)
                case SpawnCar(client, slot):
                    assert client not in self.cars
                    self.cars[client] = Car(slot)
                    self._take_fault(client)
                case RemoveCar(client):
                    del self.cars[client]
                case PlaceCar(client, slot):
                    self.cars[client] = Car(slot, free=self.cars[client].free)
                    self._take_fault(client)
                case HangUp(client):
                    self.hung_up.append(client)
                case Block(client) | Release(client):
                    self.cars[client].free = isinstance(order, Release)

    def _take_fault(self, client: int) -> None:
        racer = self.racers[client]
        stage = Stage(self.evening.stage.replace("pre_race", "race"))
        left = racer.faults.get(stage, [])
        racer.fault = left.pop(0) if left else ""

    def step(self) -> None:
        self.now += STEP_S
        states = {}
        for client, car in self.cars.items():
            racer = self.racers[client]
            behind = BEHIND_LINE + 2.0 * car.slot
            if car.free and not self._stands(racer, car.way - behind):
                car.way += COURSE.length / racer.lap_s * STEP_S
            out = racer.fault == "out" and car.way > behind + 10.0
            arc = (COURSE.start_line - behind + car.way) % COURSE.length
            states[client] = CarState(arc, car.way, 30.0 if out else 1.0, out, 5.0)
        self.referee.advance(self.now, states)
        self.follow()

    @staticmethod
    def _stands(racer: Racer, past_line: float) -> bool:
        word, _, laps = racer.fault.partition(" ")
        # Half a lap past the lap, not on the grid: that it crosses the line is sure.
        return word == "stop" and past_line >= (int(laps) + 0.5 if laps else -0.01) * COURSE.length

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.step()

    def run_to(self, *stages: Stage, within_s: float = 20_000.0) -> None:
        end = self.now + within_s
        while self.evening.stage not in stages:
            assert self.now < end, f"{stages} not within {within_s} s: {self.evening.stage}"
            self.step()

    def names(self, identities: list[str]) -> list[str]:
        return [self.evening.name_of(each) for each in identities]

    def drawn(self, stage: int) -> list[tuple[int, list[str]]]:
        """Round and racers of the heats of a stage."""
        heats = [each for each in self.evening.heats if each.stage == stage]
        return [(each.round, self.names(each.racers)) for each in heats]


def field(count: int) -> list[Racer]:
    """Racers A, B, C ... with laps of 20, 21, 22 ... s."""
    return [Racer("ABCDEFGHIJ"[k], 20.0 + k) for k in range(count)]


def hold(racers: list[Racer], rules: RaceRules = SHORT) -> Hall:
    """A whole evening; the slowest are registered first, so that no order comes by itself."""
    hall = Hall(rules)
    for racer in reversed(racers):
        hall.join(racer)
    hall.run_to(Stage.COMPLETE)
    return hall
