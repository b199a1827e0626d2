"""How opponents act: those that know where they are, and those that see by their cameras."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import opponents, pursuit, reference, sensing
from donkey_rl.envs.observing import Observation
from donkey_rl.envs.opponents import Opponent
from donkey_rl.envs.passing import MARGIN, Others, Passing
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator.stepping import Cars
from donkey_rl.envs.simulator.world import Start, World
from donkey_rl.errors import DonkeyRLError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Act = Callable[[Observation], npt.NDArray[np.float32]]
"""Observation of n cars to their actions, (n, 2)."""

_STREAM = 70_211
"""Opponents are drawn from another stream than their car."""

_PLACED_PACE = 0.5
"""Share of the pursuit's speed at which learned opponents are put on the road."""

_AHEAD = np.linspace(0.0, 12.0, 5)
"""The road leaves room all this way (u) to opponents beside their line: the line crosses it from
edge to edge, and they take a while to follow."""


class Limits(NamedTuple):
    """What the actions of a seated driver mean: see `EnvironmentConfig`."""

    throttle_min: float = 0.0
    throttle_max: float = 1.0
    steer_limit: float = 1.0


@dataclasses.dataclass
class Seat:
    """Opponents that a learned driver drives.

    Attributes:
        cars: Their indices in the world, shape (n,).
        history: Their last actions, flat, oldest first, shape (n, 2 K).
        frames: What they saw last, shape (n, h, w, 3).
        act: Their driver, None before there is one.
        limits: What its actions mean.
    """

    cars: IntArray
    history: npt.NDArray[np.float32]
    frames: npt.NDArray[np.uint8]
    act: Act | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)

    def commands(self, name: str, world: World) -> FloatArray:
        """Returns steering and throttle for what they see now, shape (n, 2).

        Args:
            name: Of the driver.
            world: All cars.

        Raises:
            DonkeyRLError: There is no driver yet.
        """
        if self.act is None:
            raise DonkeyRLError(f"Nobody has given the opponent '{name}' its driver.")
        world.render(self.frames, self.cars)
        now = rows_of(world.cars, self.cars)
        seen = sensing.sensed(now, world.vehicle, self.frames, self.history.copy())
        actions = np.clip(self.act(seen), -1.0, 1.0).astype(np.float32)
        self.history[:] = np.concatenate([self.history[:, 2:], actions], axis=1)
        low, high, steer = self.limits
        throttle = 0.5 * (high + low) + 0.5 * (high - low) * actions[:, 1]
        return np.column_stack([steer * actions[:, 0], throttle])


class KnowingDrivers:
    """The opponents that know where they are.

    They keep their line whatever others do, or pass whoever is slower.

    Attributes:
        parked: Which of the opponents stand, shape (M,).
    """

    def __init__(self, config: EnvironmentConfig, who: Sequence[Opponent]) -> None:
        """Chooses their line.

        Args:
            config: Track, car and opponents.
            who: All opponents; the learned ones are placed here as well.
        """
        full = {"throttle_min": -1.0, "throttle_max": 1.0, "steer_limit": 1.0}
        self._expert = pursuit.Pursuit(config.model_copy(update=full))
        self._who, self._share = who, config.opponents.lateral
        self.parked = np.array([each.name == opponents.PARKED for each in who])
        self._passing = np.array([each.name == opponents.PASSING for each in who])
        self._road = track.load(config.track)
        self._passes = Passing(self._expert, self._road)
        self._pace, self._aside = np.ones(len(who)), np.zeros(len(who))

    def placed(self, k: int, arc: float, rng: np.random.Generator) -> Start:
        """Draws how an opponent will drive, and returns it on the road.

        Args:
            k: Its number.
            arc: Arc length of its place (u).
            rng: The stream of its car.
        """
        who, half = self._who[k], 0.5 * self._road.road_width
        pace, aside = rng.uniform(*who.pace), rng.uniform(-1.0, 1.0) * self._share * half
        row = self._expert.reference.at(np.array([arc]))[0]
        if who.is_learned:
            pace, aside = _PLACED_PACE, 0.0
        line = float(row[reference.LATERAL])
        lateral = line + float(self._on_road(np.array([arc]), np.array([aside]))[0])
        self._pace[k], self._aside[k] = pace, lateral - line
        speed = 0.0 if self.parked[k] else pace * float(row[reference.FORWARD])
        place = (arc, lateral, float(row[reference.TURN]), speed)
        return Start(*(np.array([value]) for value in place))

    def _on_road(self, arc: FloatArray, aside: FloatArray) -> FloatArray:
        """Returns how far beside the line cars steer (u) for the road here and ahead, (n,)."""
        line = self._expert.reference.at(arc[:, None] + _AHEAD)[..., reference.LATERAL]
        low = np.minimum(self._road.road_left + MARGIN - line, 0.0).max(axis=1)
        high = np.maximum(self._road.road_right - MARGIN - line, 0.0).min(axis=1)
        return np.clip(aside, low, high)

    def act(self, cars: Cars, around: Callable[[], Others]) -> FloatArray:
        """Returns steering, throttle and brake of all opponents, shape (M, 3).

        Args:
            cars: The opponents.
            around: Returns the cars around each.
        """
        commands = np.zeros((len(self._who), 3))
        aside = self._on_road(cars.sensed[:, stepping.ARC], self._aside)
        commands[:, :2] = self._expert.act(cars, pace=self._pace, aside=aside)
        if self._passing.any():
            passing = self._passes.act(cars, around(), pace=self._pace, aside=aside)
            commands[self._passing, :2] = passing[self._passing]
        commands[self.parked] = (0.0, 0.0, 1.0)
        return commands


def rows_of(cars: Cars, rows: slice | IntArray) -> Cars:
    """Returns some cars, of a slice over the same memory; the engine's table is that of all."""
    parts = {name: value[rows] for name, value in cars._asdict().items() if name != "torque"}
    return Cars(torque=cars.torque, **parts)


def sideways(cars: Cars, i: int) -> float:
    """Returns how fast a car moves to the right of the path (u/s)."""
    error, motion = cars.sensed[i, stepping.HEADING_ERROR], cars.motion[i]
    return float(
        motion[physics.FORWARD] * np.sin(error) + motion[physics.RIGHTWARD] * np.cos(error)
    )


def stream(seed: int, i: int) -> np.random.Generator:
    """Returns the stream from which the opponents of car `i` are drawn, another than its own."""
    return np.random.default_rng([seed, i, _STREAM])
