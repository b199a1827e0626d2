"""The same places seen in different scenes, and what a driver answers there."""

from __future__ import annotations

import contextlib
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import labels
from donkey_rl.envs.batch import Observation
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import cues, stepping, track
from donkey_rl.envs.simulator.cues import Cues
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.starts import Start
from donkey_rl.envs.simulator.world import World
from donkey_rl.envs.simulators import EMBEDDED
from donkey_rl.errors import DriverError, InputError
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.foreign_driver import ForeignPilot
from donkey_rl.experiments.pilots import Actions, Pilot
from donkey_rl.experiments.racing import Field

FloatArray = npt.NDArray[np.float64]

_BESIDE = 0.4
"""Places reach this far from the road's middle, in half widths of the road."""

_TURN = 0.06
"""Standard deviation of a car's angle to the road (rad)."""

_SPEEDS = (3.0, 10.0)
"""Slowest and fastest car (u/s)."""

_INSIDE = 2
"""Points of the path to the next place that is not in the same bend."""

_SAYS = np.array([0, -1, 1])
"""Direction that each of the states of a cue stands for."""

_SIDEWAYS, _YAW_RATE = 0, 4
"""Columns of `imu` that a bend moves."""


class Places(NamedTuple):
    """Where cars stand still for a picture, all before or in a bend.

    Attributes:
        start: Their places on the road and their speeds.
        direction: -1 in a left bend, 1 in a right one, shape (n,).
        curvature: Of the road there (1/u), positive to the right, shape (n,).
    """

    start: Start
    direction: npt.NDArray[np.int64]
    curvature: FloatArray


class Stills(NamedTuple):
    """What a driver answered to the pictures of a scene.

    Attributes:
        images: Shape (n, h, w, 3) uint8.
        actions: Steering and throttle, shape (n, 2).
        said: What each of `cues.NAMES` said, by its name: -1 left, 1 right, 0 nothing, (n,) each.
        lane: Labels of the lane, see `labels.lane`, shape (n, 21).
    """

    images: npt.NDArray[np.uint8]
    actions: Actions
    said: dict[str, npt.NDArray[np.int64]]
    lane: npt.NDArray[np.float32]


def draw_places(config: EnvironmentConfig, count: int, seed: int) -> Places:
    """Draws places along the bends of a track, as a car that laps it may be in.

    Args:
        config: Track and simulator.
        count: How many.
        seed: Of the draws.

    Raises:
        InputError: The track has no bends, or the simulator is not the embedded one.
    """
    if config.simulator != EMBEDDED:
        raise InputError(
            "Cues can only be shown in the embedded simulator. "
            f"Received: simulator={config.simulator}. Leave --simulator out."
        )
    road = track.load(config.track)
    bends = cues.bends(road.path)
    # A car beside the road's middle may count as one point of the path further.
    near = [np.roll(bends.direction, k) for k in range(-_INSIDE, _INSIDE + 1)]
    index = np.flatnonzero(np.abs(np.sum(near, axis=0)) == len(near))
    if not len(index):
        raise InputError(
            f"A probe for cues needs a track with bends. Received: track={road.name}, which has "
            "none. Choose another with --track."
        )
    rng = np.random.default_rng([seed, 0xC0E5])
    chosen = rng.choice(index, count)
    half = 0.5 * road.road_width
    start = Start(
        arc=chosen * road.path.spacing,
        lateral=road.road_middle + _BESIDE * half * rng.uniform(-1.0, 1.0, count),
        turn=rng.normal(0.0, _TURN, count),
        speed=rng.uniform(*_SPEEDS, count),
    )
    return Places(start, bends.direction[chosen], road.path.curvature[chosen])


class Studio(contextlib.AbstractContextManager["Studio"]):
    """Cars at some places of one scene, and who answers to what they see there."""

    def __init__(
        self, entrant: Entrant, config: EnvironmentConfig, scene: Cues, places: Places
    ) -> None:
        """Builds the scene and puts the cars on their places.

        Args:
            entrant: The driver.
            config: Track, car and camera, in the embedded simulator.
            scene: The cues that there are.
            places: Where the cars stand.
        """
        self._name = entrant.name
        count, self._places = len(places.direction), places
        self._open = contextlib.ExitStack()
        field = Field(config, count, seed=0, disturbance=Randomisation(cues=scene))
        self._open.callback(field.close)
        self._pilot: Pilot = self._open.enter_context(entrant.pilot(field))
        self._batch = field.batch
        self._batch.reset(np.arange(count), places.start)

    def __exit__(self, *_: object) -> None:
        """Ends the driver and gives up the cars."""
        self._open.close()

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """What the cars see, shape (n, h, w, 3)."""
        return np.array(self._batch.observation()["image"], dtype=np.uint8)

    def answers(
        self, last: Actions | None = None, images: npt.NDArray[np.uint8] | None = None
    ) -> Actions:
        """Returns what the driver does, (n, 2).

        Args:
            last: The action that it is told it did all the time before, (n, 2).
            images: What it sees in place of what the cars see.

        Raises:
            DriverError: It failed.
        """
        observed: Observation = {**self._batch.observation()}
        speed, curvature = self._places.start.speed, self._places.curvature
        imu = np.array(observed["imu"])
        imu[:, _YAW_RATE] = speed * curvature
        imu[:, _SIDEWAYS] = speed**2 * curvature / self._batch.vehicle.report_scale
        observed["imu"] = imu
        if last is not None:
            observed["last_actions"] = np.tile(last, self._batch.config.history)
        if images is not None:
            observed["image"] = images
        cars = len(imu)
        self._pilot.begin(cars)
        actions = self._pilot.drive(observed, np.ones(cars, np.bool_))
        if self._pilot.lost.any():
            known = self._pilot.failures if isinstance(self._pilot, ForeignPilot) else []
            reason = known[-1].reason if known else "no answer"
            raise DriverError(f"{self._name} failed on a picture: {reason}. Mend the driver.")
        return np.asarray(actions, np.float32)

    def stills(self, last: Actions) -> Stills:
        """Returns the pictures of the scene with all that belongs to them.

        Args:
            last: As for `answers`.

        Raises:
            DriverError: The driver failed.
        """
        batch, world = self._batch, cast(World, self._batch.world)
        arcs = batch.sensed[:, stepping.ARC]
        said = {name: _SAYS[world.signals.states(name, arcs)] for name in cues.NAMES}
        lane = labels.lane(batch.track, batch.sensed, batch.motion)
        return Stills(self.images, self.answers(last), said, lane)
