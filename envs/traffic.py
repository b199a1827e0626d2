"""Cars of which each has opponents on its road, in the shape of a simulator.

One `World` of N (1 + K) cars, in N groups: a car that somebody drives and learns from, and K
opponents that drive themselves. Whoever holds a `Traffic` sees the N cars alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import opponent_drivers, pursuit
from donkey_rl.envs.opponent_drivers import Act, KnowingDrivers, Limits, Seat, rows_of, sideways
from donkey_rl.envs.passing import Others, Passing
from donkey_rl.envs.pursuit import Moving
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.interface import Simulator
from donkey_rl.envs.simulator.world import Start, World
from donkey_rl.envs.tasks import STEP_S
from donkey_rl.errors import UnknownNameError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Actions = npt.NDArray[np.float32]

_SEED_STEP = 1_000_003
"""Between the seeds of a car's world and of its opponents'."""

_APART = 6.0
"""Nobody is put nearer to another car than this, along the road (u)."""

_STILL_S, _STILL_SPEED = 2.0, 0.5
_ASTRAY = 1.0
"""An opponent this far outside the road (u) is put back."""

_OPEN_END = 30.0
"""Nobody is put nearer to an open road's end than this (u)."""

_BESIDE = 0.5
"""Cars whose middles are nearer than this along the road, in their lengths, are side by side."""


class Traffic:
    """N cars and their opponents; a `Simulator` of the N cars.

    Opponents act before each step: those that know where they are by themselves, learned ones by
    what their own camera sees, once `seat` has given them a driver. One that leaves the road,
    stands, turns round or is out of reach is put back near its car, whose episode goes on.

    Attributes:
        track: The track.
        vehicle: The car generation, the same for all.
        camera: The camera, the same for all.
        cars: State of the N cars.
        missed: As in `Simulator`.
        latency: As in `Simulator`.
        restarted: As in `Simulator`.
        world: All cars: first the N, then the opponents of the first one, and so on.
        passed: Opponents that a car has passed since its reset, less those that passed it, (N,).
        blameless: Cars that an opponent touched in the last step and that are not to blame, (N,).
    """

    def __init__(self, config: EnvironmentConfig, count: int, *, seed: int = 0) -> None:
        """Builds the cars.

        Args:
            config: Track, car, camera, randomisation and opponents.
            count: Number of cars N, without opponents.
            seed: Seed of all random streams.
        """
        setting, each = config.opponents, config.opponents.count
        self._config, self._count, self._each = config, count, each
        self.track, self.vehicle = track.load(config.track), vehicles.load(config.vehicle)
        self.camera = config.camera
        owner = np.repeat(np.arange(count), each)
        self._owner = owner
        self._opponents = count + np.arange(count * each)
        self._who = [setting.opponent(k) for k in range(count * each)]
        self.world = World(
            self.track,
            self.vehicle,
            config.camera,
            count * (1 + each),
            randomise=config.randomisation,
            groups=[*range(count), *owner.tolist()],
            seed=seed,
        )
        for k, i in enumerate(self._opponents):
            self.world.dress(int(i), name=f"opponent {k % each + 1}")
        self._bind()
        self._rivals = KnowingDrivers(config, self._who)
        self._seats = self._seating()
        self._length = self.track.length if self.track.closed else 1e9
        # How far ahead of its car each opponent is (u), laps included, and in which of those laps.
        self._lead, self._offset, self._turn = np.zeros((3, len(owner)))
        self._still, self._again = np.zeros(len(owner)), np.zeros(len(owner), np.bool_)
        self.passed, self.blameless = np.zeros(count, np.int64), np.zeros(count, np.bool_)
        self._streams = [opponent_drivers.stream(seed, i) for i in range(count)]

    def _bind(self) -> None:
        """Takes the rows of the world's cars: a copy of this has to take those of its own."""
        world, count = self.world, self._count
        self.cars = rows_of(world.cars, slice(0, count))
        self._others = rows_of(world.cars, slice(count, None))
        self.missed, self.latency = world.missed[:count], world.latency[:count]
        self.restarted = world.restarted[:count]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes over the state of another, as copies and pickles do."""
        self.__dict__ |= state
        self._bind()

    def __len__(self) -> int:
        """Number of cars, without opponents."""
        return self._count

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the opponents of a car, as `hit_names` has them."""
        return tuple(f"opponent {k + 1}" for k in range(self._each))

    def close(self) -> None:
        """Holds nothing that would have to be given up."""

    def _seating(self) -> dict[str, Seat]:
        """Returns the seats for learned drivers, by their references."""
        shape, history = self.camera.shape, 2 * self._config.history
        seats = {}
        for name in dict.fromkeys(who.name for who in self._who if who.is_learned):
            own = np.array([who.name == name for who in self._who])
            cars = self._opponents[own]
            seen = np.zeros((len(cars), *shape), np.uint8)
            seats[name] = Seat(cars, np.zeros((len(cars), history), np.float32), seen)
        return seats

    @property
    def vacant(self) -> tuple[str, ...]:
        """References of the learned drivers that nobody has seated yet."""
        return tuple(name for name, seat in self._seats.items() if seat.act is None)

    def seat(self, name: str, act: Act, limits: Limits) -> None:
        """Gives a learned opponent its driver.

        Args:
            name: Its reference, one of those that were `vacant`.
            act: The driver.
            limits: What its actions mean.

        Raises:
            UnknownNameError: No opponent is driven by such a driver.
        """
        if name not in self._seats:
            raise UnknownNameError("opponent", name, tuple(self._seats))
        self._seats[name].act, self._seats[name].limits = act, limits

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts every car's random stream anew, see `World.seed`."""
        if isinstance(seed, int | np.integer):
            self.world.seed(seed)
            self._streams = [opponent_drivers.stream(int(seed), i) for i in range(self._count)]
            return
        each = range(1, self._each + 1)
        rivals = [own + _SEED_STEP * number for own in seed for number in each]
        self.world.seed([*seed, *rivals])
        self._streams = [opponent_drivers.stream(int(own), 0) for own in seed]

    def reset(self, chosen: IntArray, start: Start | None = None) -> None:
        """Puts cars back on a start, with their opponents around them."""
        chosen = np.asarray(chosen, dtype=np.int64)
        self.world.reset(chosen, start)
        self.passed[chosen] = 0
        self.blameless[chosen] = False
        for i in chosen:
            for k in range(self._each):
                rng = self._streams[i]
                behind = rng.uniform() < self._config.opponents.behind
                self._put(int(i) * self._each + k, rng, -1.0 if behind else 1.0, begins=True)

    def _put(self, k: int, rng: np.random.Generator, side: float, *, begins: bool) -> None:
        """Puts an opponent on the road.

        Args:
            k: Its number.
            rng: The stream of its car.
            side: 1.0 ahead of its car, -1.0 behind it.
            begins: Whether with an episode: those of the car with higher numbers come later.
        """
        i, own = int(self._owner[k]), int(self._opponents[k])
        cars, setting = self.world.cars, self._config.opponents
        base = k - k % self._each
        others = self._lead[base : k if begins else base + self._each]
        others = others if begins else np.delete(others, k - base)
        gap = float(rng.uniform(*setting.gap))
        arc, length = float(cars.sensed[i, stepping.ARC]), self.track.length
        # Ever farther on the side that was drawn, then on the other one.
        gaps = gap + np.arange(0.0, length, _APART)
        near = gaps if setting.reach is None else gaps[gaps <= setting.reach]
        leads = [*(side * near), *(-side * near), *(side * gaps if begins else ())]
        fitting = (float(each) for each in leads if self._fits(others, arc, each))
        if (lead := next(fitting, side * gap if begins else None)) is None:
            return  # Put back farther away it would be lost again.
        place = (arc + lead) % length if self.track.closed else np.clip(arc + lead, 0.0, length)
        start = self._rivals.placed(k, float(place), rng)
        if begins:
            # They come under way together with their car.
            start = start._replace(speed=np.minimum(start.speed, cars.motion[i, physics.FORWARD]))
        self.world.reset(np.array([own]), start, redraw=begins)
        was_passed = bool(self._again[k]) or self._turn[k] < 0.0
        self._again[k] = not begins and lead > 0.0 and was_passed
        self._lead[k], self._still[k] = lead, 0.0
        self._origin(k)
        for seat in self._seats.values():
            seat.history[seat.cars == own] = 0.0

    def _fits(self, others: FloatArray, arc: float, lead: float) -> bool:
        """Whether a place so far ahead of a car is on the road, and away from its opponents."""
        if not (self.track.closed or 0.0 <= arc + lead <= self.track.length - _OPEN_END):
            return False
        apart = self._shortest(others - lead)
        return bool((np.abs(apart) >= _APART).all())

    def _origin(self, k: int) -> None:
        """Reckons anew how far ahead of its car an opponent is."""
        self._offset[k] = self._lead[k] - self._gained()[k]
        self._turn[k] = np.floor(self._lead[k] / self._length)

    def _gained(self) -> FloatArray:
        """Returns the way that each opponent has made more than its car (u), shape (N K,)."""
        progress = self.world.cars.sensed[:, stepping.PROGRESS]
        return np.asarray(progress[self._opponents] - progress[self._owner], np.float64)

    def step(self, commands: npt.ArrayLike) -> None:
        """Drives all cars to their next telemetry message; opponents act first."""
        held = self._acted()
        held[: self._count, :2] = commands
        self.world.step(held)
        self._go_on()

    def step_arriving(self, commands: FloatArray) -> None:
        """Drives as `step`, commands come on the way: see `World.step_arriving`."""
        arriving = np.full((len(self.world), 3, 3), np.nan)
        arriving[:, 0] = self._acted()
        arriving[: self._count, :, :2], arriving[: self._count, :, 2] = commands, 0.0
        self.world.step_arriving(arriving)
        self._go_on()

    def command(self, chosen: IntArray, commands: npt.ArrayLike) -> None:
        """Sets what cars hold from now on, see `World.command`."""
        self.world.command(chosen, commands)

    def _acted(self) -> FloatArray:
        """Returns what opponents do now, and zeros for the cars that others drive."""
        held = np.zeros((len(self.world), 3))
        held[self._count :] = self._rivals.act(self._others, self._around_opponents)
        for name, seat in self._seats.items():
            held[seat.cars, :2] = seat.commands(name, self.world)
        return held

    def _go_on(self) -> None:
        """Counts, blames and puts back after a step."""
        self._lead = self._offset + self._gained()
        self._count_passes()
        self._blame()
        self._put_back()

    def _count_passes(self) -> None:
        """Counts whom each car has passed by its whole length, and who has passed it."""
        ahead = self._lead - self._turn * self._length
        won = ahead < -vehicles.BODY_LENGTH
        lost = ahead > self._length + vehicles.BODY_LENGTH
        self._turn += lost.astype(np.float64) - won
        # Who was passed and is put back ahead is nobody else.
        new = won & ~self._again
        self._again &= ~won
        np.add.at(self.passed, self._owner, new.astype(np.int64) - lost)

    def _blame(self) -> None:
        """Finds the cars that were touched and are not to blame.

        To blame is who comes from behind; side by side, who moves towards the other faster.
        """
        self.blameless[:] = False
        now = self.world.cars
        for i in np.flatnonzero(self.cars.hit >= stepping.CAR_HIT):
            other = int(self.cars.hit[i]) - stepping.CAR_HIT
            lead = float(self._shortest(self._lead[other - self._count]))
            if abs(lead) > _BESIDE * vehicles.BODY_LENGTH:
                self.blameless[i] = lead < 0.0
                continue
            side = now.sensed[other, stepping.LATERAL] - now.sensed[i, stepping.LATERAL]
            own, its = sideways(now, int(i)), sideways(now, other)
            self.blameless[i] = np.sign(side) * (own + its) < 0.0

    def _shortest(self, lead: FloatArray) -> FloatArray:
        """Returns how far ahead something is by the shorter way (u), negative behind."""
        return lead - self._length * np.rint(lead / self._length)

    def _put_back(self) -> None:
        """Puts opponents back that have come to nothing, or are out of reach."""
        own = self._others
        moving = np.abs(own.motion[:, physics.FORWARD]) > _STILL_SPEED
        self._still = np.where(moving, 0.0, self._still + STEP_S)
        lateral = own.sensed[:, stepping.LATERAL]
        lost = lateral < self.track.road_left - _ASTRAY
        lost |= lateral > self.track.road_right + _ASTRAY
        lost |= (self._still >= _STILL_S) & ~self._rivals.parked
        lost |= np.abs(own.sensed[:, stepping.HEADING_ERROR]) > 0.5 * np.pi
        if not self.track.closed:
            lost |= own.sensed[:, stepping.ARC] >= self.track.length - 1.0
        reach = self._config.opponents.reach
        if reach is not None:
            lost |= np.abs(self._shortest(self._lead)) > reach
        for k in np.flatnonzero(lost):
            self._put(int(k), self._streams[self._owner[k]], 1.0, begins=False)

    def others(self) -> Others:
        """Returns the opponents around each of the N cars, shape (N, K) each."""
        shape, own = (self._count, self._each), self._others
        lead = self._shortest(self._lead)
        parts = own.sensed[:, [stepping.ARC, stepping.LATERAL]].T
        rows = (lead, *parts, own.motion[:, physics.FORWARD])
        return Others(*(np.reshape(row, shape) for row in rows))

    def _around_opponents(self) -> Others:
        """Returns the cars around each opponent, its own among them far away, (N K, 1 + K)."""
        cars, owner = self.world.cars, self._owner
        others = self.others()
        around = [np.repeat(each, self._each, axis=0) for each in others]
        lead = self._shortest(around[0] - self._lead[:, None])
        lead[np.arange(len(owner)), np.arange(len(owner)) % self._each] = self._length
        own = (
            -self._shortest(self._lead),
            cars.sensed[owner, stepping.ARC],
            cars.sensed[owner, stepping.LATERAL],
            cars.motion[owner, physics.FORWARD],
        )
        joined = zip((lead, *around[1:]), own, strict=True)
        return Others(*(np.column_stack([each, mine]) for each, mine in joined))

    def around(self) -> dict[str, npt.NDArray[np.generic]]:
        """Returns what a race's record says of other cars, shape (N,) each.

        ``gap`` (u, along the path to the next car ahead, NaN without one) and its speed
        ``gap_speed`` (u/s), ``passed``, and ``blameless``.
        """
        shape = (self._count, self._each)
        ahead = self._lead.reshape(shape)
        if self.track.closed:
            ahead = ahead % self._length
        ahead = np.where(ahead >= 0.0, ahead, np.inf)
        nearest = ahead.argmin(axis=1)
        rows = np.arange(self._count)
        motion = self._others.motion
        speed = np.hypot(motion[:, physics.FORWARD], motion[:, physics.RIGHTWARD]).reshape(shape)
        gap = ahead[rows, nearest]
        known = np.isfinite(gap)
        return {
            "gap": np.where(known, gap, np.nan),
            "gap_speed": np.where(known, speed[rows, nearest], np.nan),
            "passed": self.passed.copy(),
            "blameless": self.blameless.copy(),
        }

    def render(self, out: npt.NDArray[np.uint8], chosen: IntArray | None = None) -> None:
        """Draws what the cameras of the N cars see, see `World.render`."""
        self.world.render(out, np.arange(self._count) if chosen is None else chosen)

    def hit_names(self) -> list[str]:
        """Returns what each car touched since its last telemetry, ``"none"`` for nothing."""
        return self.world.hit_names()[: self._count]


class Driven(Moving, Protocol):
    """Cars of some world, such as a `Batch`."""

    @property
    def world(self) -> Simulator:
        """Their world."""


def shown(expert: pursuit.Pursuit, cars: Driven, pace: FloatArray | float = 1.0) -> Actions:
    """Returns what the expert does: it passes opponents where there are some, (N, 2).

    Args:
        expert: Who drives.
        cars: On its track.
        pace: As in `Pursuit.act`.
    """
    world = cars.world
    if not isinstance(world, Traffic):
        return expert.act(cars, pace=pace)
    return Passing(expert, world.track).act(cars, world.others(), pace=pace)
