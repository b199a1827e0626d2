"""A world that other programs simulate: cars whose motion comes over a wire.

It has the shape of `simulator.world.World` as far as environments use it, so that tasks, laps,
records and drivers are the same for both. Path, progress, lateral offset and cross-track error
are computed from the reported positions and this project's track, by the rules of the embedded
simulator; the simulator's own cte is in `sights`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import observing
from donkey_rl.envs.heading import Heading
from donkey_rl.envs.link.reports import Beam, Telemetry
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import following, physics, starts, stepping, track, track_names
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.world import Start
from donkey_rl.envs.sources import Place, Sight, Source
from donkey_rl.errors import ActionError, ConfigurationError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LOGGER = logging.getLogger("donkey_rl.envs")

TOUCHED = 0
"""`Cars.hit` of a car that touched something; its name is in `hit_names`."""

_TELEPORT = 10.0
"""So much more way between two messages (u) than twice its speed explains is no driving: the car
was put elsewhere."""

_OTHER_NODES = 2, 0.03
"""Scenes whose paths have so many more or fewer nodes, and so large a share of them, are others;
some of this project's paths lack the last node."""

_OTHER_CTE, _OTHER_MESSAGES = 2.0, 20
"""So far from the simulator's own cross-track error (u) for so many messages, its road is another
one."""

_HOP = 1.0
"""Ways are followed along the path in pieces of this length (u)."""

_NEAR = 1.0
"""A car put within this distance of the place asked for stands there (u)."""


class RemoteWorld:
    """N cars of other programs on one track.

    Attributes:
        track: The track that the cars are on.
        vehicle: Their generation, which says how they report.
        camera: What their pictures must be like.
        cars: State of all cars, see `stepping.Cars`; what is not reported is 0.
        sights: The newest message of each car.
        missed: Messages that came too early for a command and were passed over, by car.
        latency: How long the last command of each car took from the message that it answers (s),
            NaN where it is not known.
        restarted: Whether the connection to a car was lost in the last step, or its scene was
            loaded anew, by car; time and progress go on from where they were.
        places_refused: Whether the simulator has left a car elsewhere than asked for.
    """

    def __init__(
        self, config: EnvironmentConfig, sources: Sequence[Source], seed: int = 0
    ) -> None:
        """Takes over cars.

        Args:
            config: Track, car, camera and where episodes start; looks, cameras, mass and grip
                are the other program's own and are not randomised.
            sources: One for each car.
            seed: Seed of random starts.

        Raises:
            ConfigurationError: There is no car.
        """
        if not sources:
            raise ConfigurationError("A remote world needs at least 1 simulator. Received: none.")
        self.track = track.load(config.track)
        self.vehicle = vehicles.load(config.vehicle)
        self.camera = config.camera
        self.randomise = config.randomisation
        self.route = following.route(self.track)
        count = len(sources)
        self.cars = stepping.empty(
            np.tile(vehicles.parameter_row(self.vehicle), (count, 1)),
            vehicles.torque_table(self.vehicle),
            np.arange(count),
        )
        self.missed = np.zeros(len(sources), dtype=np.int64)
        self.latency = np.full(count, math.nan)
        self.restarted = np.zeros(count, dtype=np.bool_)
        self.places_refused = False
        self.sights: list[Sight | None] = [None] * len(sources)
        self._sources = tuple(sources)
        self._headings = [Heading(0.0) for _ in sources]
        self._began = np.zeros(len(sources))
        self._disagreed = np.zeros(len(sources), dtype=np.int64)
        self._is_file = track_names.is_file(config.track)
        self.seed(seed)

    def __len__(self) -> int:
        """Number of cars."""
        return len(self._sources)

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts the random streams of starts anew, see `World.seed`."""
        if isinstance(seed, int | np.integer):
            self._streams = [np.random.default_rng([int(seed), i]) for i in range(len(self))]
        else:
            self._streams = [np.random.default_rng([int(own), 0]) for own in seed]

    def reset(self, chosen: IntArray, start: Start | None = None) -> None:
        """Puts cars back at rest, on their own start or where the start says.

        Where the simulator does not put cars elsewhere they stay on their own start, and
        `places_refused` is set.

        Raises:
            LinkError: A simulator failed.
            ConfigurationError: A simulator sends no positions, or is on another track.
        """
        for k, i in enumerate(np.asarray(chosen, dtype=np.int64)):
            wanted = None if self.places_refused else self._place(int(i), k, start)
            sight = self._sources[i].reset(wanted)
            x, z = self._position(sight.telemetry)
            if wanted is not None and math.hypot(x - wanted.x, z - wanted.z) > _NEAR:
                self.places_refused = True
                LOGGER.warning(
                    "The simulator does not put cars elsewhere: episodes start on its own place."
                )
            self._settle(int(i), sight, x, z)

    def _place(self, i: int, k: int, start: Start | None) -> Place | None:
        """Returns where car `i`, the `k`-th of those reset, is wanted."""
        if start is not None:
            arc, lateral, turn = (float(part[k]) for part in start[:3])
        elif self.randomise.varies_start:
            arc, lateral, turn, _ = starts.draw(self.randomise, self.track, 0, self._streams[i])
        else:
            return None
        x, z, yaw = (float(value) for value in self.track.path.at(arc))
        x, z = x + lateral * math.cos(yaw), z - lateral * math.sin(yaw)
        return Place(x, z, yaw + turn)

    def _position(self, telemetry: Telemetry) -> tuple[float, float]:
        """Returns x and z of a car (u).

        Raises:
            ConfigurationError: The simulator sends none, or reports like another generation.
        """
        if telemetry.position is None:
            raise ConfigurationError(
                "The simulator sends no positions, which rewards and lap times are made of. "
                "Switch on 'extended telemetry' there (races switch it off)."
            )
        if telemetry.is_of_2022 == self.vehicle.gyro_as_rotation:
            seen = "2022" if telemetry.is_of_2022 else "2020 or 2021"
            remedy = "donkey_2022" if telemetry.is_of_2022 else "donkey_2021"
            raise ConfigurationError(
                f"The simulator reports like the car of {seen}. Received: vehicle "
                f"'{self.vehicle.name}'. Set vehicle={remedy}."
            )
        scale = self.vehicle.report_scale
        return telemetry.position[0] * scale, telemetry.position[2] * scale

    def _place_now(self, i: int, told: Telemetry) -> tuple[float, float]:
        """Returns x and z of a car (u); a message without a place leaves it where it was."""
        if told.position is None:
            x, z = self.cars.motion[i, [physics.X, physics.Z]]
            return float(x), float(z)
        scale = self.vehicle.report_scale
        return told.position[0] * scale, told.position[2] * scale

    def _settle(self, i: int, sight: Sight, x: float, z: float) -> None:
        """Begins an episode of car `i` where it stands."""
        cars, told = self.cars, sight.telemetry
        cars.motion[i] = 0.0
        cars.sensed[i] = 0.0
        cars.motion[i, [physics.X, physics.Z]] = x, z
        self._face(i, sight, x, z)
        self._began[i] = told.time
        self._take(i, sight)
        stepping.settle(cars, np.array([i]), self.route)
        self._check_track(i)

    def _face(self, i: int, sight: Sight, x: float, z: float) -> None:
        """Finds car `i` on the path anew, facing along it where the message does not say."""
        arc = starts.nearest_arc(self.track, x, z)
        self.cars.sensed[i, stepping.ARC] = arc
        self.cars.node[i] = starts.nearest_nodes(self.track, np.array([arc]), np.array([[x, z]]))[
            0
        ]
        place = self.track.path.at(arc)
        self._headings[i] = Heading(float(place[2]))
        self._headings[i].follow(sight.telemetry, (0.0, 0.0), self.vehicle.report_scale)

    def _check_track(self, i: int) -> None:
        """Refuses a simulator that is evidently on another track."""
        sight, nodes = self.sights[i], len(self.track.nodes)
        # The waypoints of a file need not be the nodes of the simulator.
        told = None if sight is None or self._is_file else sight.telemetry.nodes
        few, share = _OTHER_NODES
        if told is not None and abs(told - nodes) > max(few, share * nodes):
            raise ConfigurationError(
                f"The simulator's path has {told} nodes, that of '{self.track.name}' {nodes}: it "
                f"has another track loaded, or another layout of this one. `donkey-rl doctor` "
                f"says which; name it by --track."
            )
        beside = abs(float(self.cars.sensed[i, stepping.LATERAL]))
        if beside <= 3.0 * self.track.road_width:
            return
        raise ConfigurationError(
            f"The simulator's car stands {beside:.0f} u beside '{self.track.name}': it has "
            f"another track loaded, or another layout of this one. `donkey-rl doctor` says "
            f"which, `donkey-rl tracks record` makes a track file of it."
        )

    def step(self, commands: npt.ArrayLike) -> None:
        """Sends commands to all cars and waits for the message of each that follows.

        Raises:
            ActionError: The shape is wrong or a value is not finite; nothing was sent.
            LinkError: A simulator failed.
        """
        wanted = np.asarray(commands, dtype=np.float64)
        if wanted.shape not in ((len(self), 2), (len(self), 3)) or not np.isfinite(wanted).all():
            raise ActionError(
                f"Commands must be finite numbers of shape ({len(self)}, 2) or "
                f"({len(self)}, 3). Received: shape {wanted.shape}."
            )
        for source, row in zip(self._sources, wanted.tolist(), strict=True):
            source.send(*row)
        for i, source in enumerate(self._sources):
            self._advance(i, source.receive())

    def _advance(self, i: int, sight: Sight) -> None:
        """Moves car `i` on to its next message."""
        cars = self.cars
        motion, sensed = cars.motion[i], cars.sensed[i]
        # A clock that runs back is that of a scene loaded anew.
        told_s = sight.telemetry.time - self._began[i]
        restarted = sight.restarted or told_s < sensed[stepping.TIME]
        if restarted:
            self._began[i] += told_s - sensed[stepping.TIME]
        self.restarted[i] = restarted
        x, z = self._place_now(i, sight.telemetry)
        way = (x - motion[physics.X], z - motion[physics.Z])
        length = math.hypot(*way)
        seconds = max(0.0, told_s - sensed[stepping.TIME])
        speed = max(math.hypot(*motion[[physics.FORWARD, physics.RIGHTWARD]]), self._speed(sight))
        if length > _TELEPORT + 2.0 * speed * seconds or restarted:
            motion[physics.X], motion[physics.Z] = x, z
            self._face(i, sight, x, z)
        else:
            self._headings[i].follow(sight.telemetry, way, self.vehicle.report_scale)
            sensed[stepping.DISTANCE] += length
            hops = max(1, math.ceil(length / _HOP))
            start = motion[[physics.X, physics.Z]]
            for hop in range(1, hops + 1):
                motion[physics.X], motion[physics.Z] = start + np.array(way) * hop / hops
                stepping.follow(cars, i, self.route)
        self._take(i, sight)
        stepping.report(cars, np.array([i]), self.route)
        self._compare_road(i, sight.telemetry)

    def _speed(self, sight: Sight) -> float:
        """Returns the speed that a message tells (u/s)."""
        return abs(sight.telemetry.speed) * self.vehicle.report_scale

    def _compare_road(self, i: int, told: Telemetry) -> None:
        """Says once that a random road is not the simulator's; all have as many nodes."""
        if self.track.closed or told.cte is None or self._disagreed[i] >= _OTHER_MESSAGES:
            return
        apart = abs(told.cte - float(self.cars.sensed[i, stepping.CTE]))
        self._disagreed[i] = self._disagreed[i] + 1 if apart > _OTHER_CTE else 0
        if self._disagreed[i] == _OTHER_MESSAGES:
            LOGGER.warning(
                f"The simulator's road is another than '{self.track.name}', by its own "
                f"cross-track error: rewards, laps and records are wrong. Make a track file of "
                f"it by `donkey-rl tracks record`, and name that."
            )

    def _take(self, i: int, sight: Sight) -> None:
        """Takes over what a message says beyond the place."""
        cars, told, heading = self.cars, sight.telemetry, self._headings[i]
        scale = self.vehicle.report_scale
        motion, sensed = cars.motion[i], cars.sensed[i]
        motion[physics.YAW] = heading.yaw
        motion[physics.FORWARD] = heading.forward
        motion[physics.RIGHTWARD] = heading.rightward
        motion[physics.YAW_RATE] = observing.yaw_rate(told)
        sensed[stepping.TIME] = told.time - self._began[i]
        if told.accel is not None:
            sensed[stepping.ACCEL_RIGHT] = told.accel[0] * scale
            sensed[stepping.ACCEL_FORWARD] = told.accel[2] * scale
        if told.odometry is not None:
            first = stepping.ODOMETRY_REAR_RIGHT
            sensed[first : first + 4] = told.odometry
        if told.angles is not None:
            cars.lean[i, physics.PITCH] = _signed(told.angles[0])
            cars.lean[i, physics.ROLL] = _signed(told.angles[2])
        cars.command[i, :2] = told.steering, told.throttle
        cars.hit[i] = stepping.NO_HIT if told.hit == "none" else TOUCHED
        self.missed[i] += sight.missed
        self.latency[i] = sight.latency_s
        self.sights[i] = sight

    def render(self, out: npt.NDArray[np.uint8], chosen: IntArray | None = None) -> None:
        """Fills in the newest picture of each chosen car, shape (k, h, w, 3)."""
        cars = range(len(self)) if chosen is None else [int(i) for i in chosen]
        for row, i in zip(out, cars, strict=True):
            sight = self.sights[i]
            if sight is not None:
                row[...] = sight.image

    def beams(self, i: int) -> tuple[Beam, ...] | None:
        """Returns the lidar's returns of car `i`, None without a lidar."""
        sight = self.sights[i]
        return sight.telemetry.lidar if sight is not None else None

    def image_b(self, i: int) -> npt.NDArray[np.uint8] | None:
        """Returns the second camera's picture of car `i`, None without one."""
        sight = self.sights[i]
        return sight.image_b if sight is not None else None

    def hit_names(self) -> list[str]:
        """Returns what each car touched since its last message, ``"none"`` for nothing."""
        return [sight.telemetry.hit if sight else "none" for sight in self.sights]

    def close(self) -> None:
        """Gives all cars back."""
        for source in self._sources:
            source.close()


def _signed(degrees: float) -> float:
    """Returns an angle of 0 to 360 degrees as -pi to pi."""
    return math.radians((degrees + 180.0) % 360.0 - 180.0)
