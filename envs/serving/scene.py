"""One scene: a world with seats for cars that come and go, and what happens to them."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.serving import cone_challenge
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.serving.rig import Rig
from donkey_rl.envs.serving.starting_line import StartingLine
from donkey_rl.envs.simulator import physics, stepping, vehicle
from donkey_rl.envs.simulator.physics import TIME_STEP
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.world import World

FloatArray = npt.NDArray[np.float64]

Command = tuple[float, float, float]
"""Steering, throttle, brake."""

_HELD: Command = (0.0, 0.0, 1.0)
"""What a car that was put on its start does until its client's next command."""

ABSENT = -1
TOGETHER = 0
"""The group of all cars that are there."""

NEVER_MOVED = 1.0
"""A car that stays within this distance of one place idles (u)."""


class Crossing(NamedTuple):
    """A car's body entered the starting line at a time of its scene (s)."""

    car: int
    time: float


class Touch(NamedTuple):
    """A car's body entered a cone at a time of its scene (s)."""

    car: int
    cone: int
    time: float


class Moved(NamedTuple):
    """What came of moving the cars on.

    Attributes:
        due: Cars whose telemetry is due.
        crossings: Of the starting line.
        touches: Of cones.
    """

    due: list[int]
    crossings: list[Crossing]
    touches: list[Touch]


@dataclasses.dataclass
class Seat:
    """A car that is there.

    Attributes:
        rig: What is mounted on it.
        line: Its place to the starting line.
        earlier: Time in the scene before the world's own clock of the car started again (s).
        slot: Of the start grid, where it is not the first that was free.
        blocked: Whether steering and throttle are held at 0.
        wanted: The last command, whether or not it counts.
        cones: Which it touches now.
        rested_at: Where it was when it last moved on, x and z (u).
        rested_since: When that was (s).
    """

    rig: Rig
    line: StartingLine
    earlier: float
    slot: int | None = None
    blocked: bool = False
    wanted: Command = _HELD
    cones: frozenset[int] = frozenset()
    rested_at: tuple[float, float] = (0.0, 0.0)
    rested_since: float = 0.0


class Scene:
    """A track with its cars; it knows nothing of connections.

    Attributes:
        track: The track.
        world: The cars' world; a car is known by its index there.
        seats: The cars that are there.
        now: Simulation time since the scene was loaded (s).
        turn_increment: Of the random road, where there is one (degrees per node).
    """

    def __init__(self, track: Track, config: ServerConfig) -> None:
        """Builds the world; takes a second or more on a track that was not loaded before.

        Args:
            track: The track.
            config: The car generation, the number of seats, seeds.
        """
        self.track = track
        self.world = World(
            track,
            vehicle.load(config.vehicle),
            CameraConfig(),
            config.max_clients,
            randomise=config.randomisation,
            groups=[ABSENT] * config.max_clients,
            seed=config.seed,
        )
        self.seats: dict[int, Seat] = {}
        self.now = 0.0
        self.turn_increment = 1.0
        self._cones = np.zeros((0, 2))
        self.put_cones(config.cones, config.seed)

    def take_over(self, former: Scene) -> None:
        """Moves all cars of another scene in, onto their starts, without stopping their clocks.

        Cones stay behind.
        """
        self.now = former.now
        self.turn_increment = former.turn_increment
        for car, seat in former.seats.items():
            self.seats[car] = dataclasses.replace(
                seat, line=StartingLine(self.track), earlier=former.time_of(car)
            )
        self._regroup()
        for car in self.seats:
            self.world.reset(np.array([car]))
            self._put(car)
            self.dress(car)

    def join(self, rig: Rig) -> int:
        """Puts a new car on the first free start; returns its index.

        Raises:
            ValueError: All seats are taken.
        """
        free = [car for car in range(len(self.world)) if car not in self.seats]
        if not free:
            raise ValueError(f"All {len(self.world)} seats of the scene are taken.")
        car = free[0]
        self.seats[car] = Seat(rig, StartingLine(self.track), self.now)
        self._regroup()
        self.world.reset(np.array([car]))
        self._put(car)
        self.dress(car)
        return car

    def leave(self, car: int) -> None:
        """Takes a car away."""
        del self.seats[car]
        self._regroup()

    def _regroup(self) -> None:
        groups = [TOGETHER if car in self.seats else ABSENT for car in range(len(self.world))]
        self.world.regroup(groups)

    def dress(self, car: int) -> None:
        """Gives a car the name and colour of its rig."""
        rig = self.seats[car].rig
        self.world.dress(car, rig.name, rig.colour)

    def time_of(self, car: int) -> float:
        """Returns the time that a car's telemetry reports: since the scene was loaded (s)."""
        return self.seats[car].earlier + float(self.world.cars.sensed[car, stepping.TIME])

    def place_of(self, car: int) -> tuple[float, float]:
        """Returns x and z of a car (u)."""
        motion = self.world.cars.motion[car]
        return float(motion[physics.X]), float(motion[physics.Z])

    def reset(self, car: int) -> None:
        """Puts a car back on its start, at rest, brakes on until the next command."""
        seat = self.seats[car]
        seat.earlier = self.time_of(car)
        seat.wanted = _HELD
        if seat.slot is None:
            self.world.reset(np.array([car]))
        else:
            x, z, yaw = dataclasses.astuple(self.track.grid.slot(seat.slot))
            self.world.place(np.array([car]), np.array([[x, z, yaw, 0.0, 0.0, 0.0]]))
        self._put(car)

    def stand(self, car: int, slot: int) -> None:
        """Puts a car on a slot of the start grid, which is its start from now on."""
        self.seats[car].slot = slot
        self.reset(car)

    def move_to(self, car: int, x: float, z: float, yaw: float) -> None:
        """Puts a car somewhere; it goes on with the velocity and the command that it has.

        Args:
            car: The car.
            x: Where to (u).
            z: Where to (u).
            yaw: Its new direction (rad).
        """
        seat, world = self.seats[car], self.world
        seat.earlier = self.time_of(car)
        motion = world.cars.motion[car].copy()
        command = world.cars.command[car].copy()
        turned = yaw - motion[physics.YAW]
        forward, right = motion[physics.FORWARD], motion[physics.RIGHTWARD]
        motion[physics.FORWARD] = forward * math.cos(turned) + right * math.sin(turned)
        motion[physics.RIGHTWARD] = right * math.cos(turned) - forward * math.sin(turned)
        motion[[physics.X, physics.Z, physics.YAW]] = (x, z, yaw)
        world.place(np.array([car]), motion[None], world.cars.lean[car][None].copy())
        world.cars.command[car] = command
        self._put(car)

    def _put(self, car: int) -> None:
        """Forgets where a car was before it was put somewhere."""
        seat = self.seats[car]
        seat.line.forget()
        self._look(car, Moved([], [], []))
        seat.rested_at, seat.rested_since = self.place_of(car), self.time_of(car)

    def command(self, car: int, wanted: Command) -> None:
        """Steers a car from the next physics step on; while it is blocked, only its brake."""
        seat = self.seats[car]
        seat.wanted = wanted
        counts = (0.0, 0.0, wanted[2]) if seat.blocked else wanted
        self.world.command(np.array([car]), np.array([counts]))

    def block(self, car: int, blocked: bool) -> None:
        """Takes steering and throttle from a car's client, or gives them back."""
        self.seats[car].blocked = blocked
        self.command(car, self.seats[car].wanted)

    def tick(self) -> Moved:
        """Moves everything on by one physics step."""
        self.now += TIME_STEP
        due = [int(car) for car in self.world.tick()] if self.seats else []
        return self._happened(due)

    def step(self) -> Moved:
        """Moves every car on to its next telemetry."""
        if self.seats:
            self.world.step(self.world.cars.command)
            self.now = max(self.now, *map(self.time_of, self.seats))
        return self._happened(list(self.seats))

    def _happened(self, due: list[int]) -> Moved:
        moved = Moved(due, [], [])
        for car in self.seats:
            self._look(car, moved)
        return moved

    def _look(self, car: int, moved: Moved) -> None:
        """Notes what a car has entered since the last look."""
        seat, sensed = self.seats[car], self.world.cars.sensed[car]
        time = self.time_of(car)
        entered = seat.line.entered(
            time,
            float(sensed[stepping.ARC]),
            float(sensed[stepping.LATERAL]),
            float(sensed[stepping.HEADING_ERROR]),
        )
        if entered is not None:
            moved.crossings.append(Crossing(car, entered))
        if len(self._cones):
            cones = frozenset(int(k) for k in self.world.cones_touched(car))
            moved.touches.extend(Touch(car, k, time) for k in sorted(cones - seat.cones))
            seat.cones = cones

    def put_cones(self, count: int, seed: int) -> None:
        """Replaces the cones on the road."""
        self._cones = cone_challenge.places(self.track, count, seed)
        self.world.put_cones(self._cones)
        for car in self.seats:
            self.seats[car].cones = frozenset(int(k) for k in self.world.cones_touched(car))

    def idle_for(self, car: int) -> float:
        """Returns how long a car has stayed within `NEVER_MOVED` of one place (s)."""
        seat = self.seats[car]
        if math.dist(self.place_of(car), seat.rested_at) >= NEVER_MOVED:
            seat.rested_at, seat.rested_since = self.place_of(car), self.time_of(car)
        return self.time_of(car) - seat.rested_since
