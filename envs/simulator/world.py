"""The embedded simulator: N cars on one track, stepped and rendered together."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import (
    collisions,
    cues,
    following,
    looks,
    parallel,
    physics,
    randomisation,
    render,
    rows,
    scene,
    solids,
    starts,
    stepping,
)
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.grouping import Grouping
from donkey_rl.envs.simulator.mounting import Mount
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.starts import Start as Start
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CAR_NAME = "Donkey(Clone)"

_RESET_BRAKE = 10.0
"""`reset_car` requests ten times the full brake until the next control."""


class World:
    """Physics, cameras, a track and time for N cars; it knows nothing of rewards.

    The same seed gives bit-identical motion and images on one machine, whatever the number of
    cars or threads: each car draws from its own random stream, by `seed` and its index.

    Attributes:
        track: The track.
        vehicle: The car generation.
        camera: The configured camera.
        cars: State of all cars, see `stepping.Cars`; it is changed only through this class.
        signals: What the cues of the scene say, if there are any.
        missed: Telemetry messages that were passed over, by car: none.
        latency: Time that commands took (s), by car: none, since time stands still meanwhile.
        restarted: Cars whose connection was lost: none.
        failures: Where episodes ended badly, for `Randomisation.start_at_failures`.
    """

    def __init__(
        self,
        track: Track,
        vehicle: Vehicle,
        camera_config: CameraConfig,
        count: int,
        *,
        randomise: Randomisation | None = None,
        groups: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        """Builds the world and puts every car on its start.

        Args:
            track: The track.
            vehicle: The car generation, the same for all.
            camera_config: The camera, the same for all save what is randomised.
            count: Number of cars N >= 1.
            randomise: Domain randomisation; nothing is randomised by default.
            groups: For each car the number of its group; cars of one group see and touch each
                other, one of group -1 is absent. Each car is alone by default.
            seed: Seed of all random streams.

        Raises:
            ConfigurationError: `count` or `groups` do not fit.
        """
        self.track = track
        self.vehicle = vehicle
        self.camera = camera_config
        self.randomise = randomise or Randomisation()
        self.route = following.route(track)
        self._names = solids.names(track)
        self._grouping = Grouping(count, groups)
        self.signals = cues.Signals(self.randomise.cues, track, count)
        self._scene = scene.with_cues(scene.bake(track), self.signals, track)
        self._surface = stepping.Surface(
            self.route, self._scene.solids, track.road_friction, track.ground_friction
        )
        self._nominal_row = vehicles.parameter_row(vehicle)
        self.cars = stepping.empty(
            self._nominal_row, vehicles.torque_table(vehicle), self._grouping.group
        )
        self._clock = (np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_))
        self.missed, self.latency = np.zeros(count, dtype=np.int64), np.zeros(count)
        self.restarted = np.zeros(count, dtype=np.bool_)
        self._mount = Mount(camera_config, vehicle, self.randomise, count)
        self._aims: dict[int, Mapping[str, Any]] = {}
        self._cones = np.zeros((0, 2))
        self._car_names = [_CAR_NAME] * count
        self._looks = looks.empty(count)
        self._noise_key = np.zeros(count, dtype=np.int64)
        self.failures = starts.Failures(track)
        self.seed(seed)
        self.reset(np.arange(count))

    def __len__(self) -> int:
        """Number of cars."""
        return len(self.cars.node)

    @property
    def solids(self) -> solids.Solids:
        """What cameras and lidars see standing on the track, `put_cones` included."""
        return self._scene.solids

    def close(self) -> None:
        """Holds nothing that would have to be given up."""

    def regroup(self, groups: Sequence[int] | IntArray) -> None:
        """Groups all cars anew: who comes, who leaves, who meets whom.

        Nobody is moved: `reset` puts a car that comes onto its start, the lowest grid slot that no
        other car of its group holds, which stays its own until it leaves. A car that leaves or
        changes its group takes off what `dress` gave it.

        Args:
            groups: For each car the number of its group, -1 for a car that is absent: it is not
                moved, not seen and not touched. Shape (N,).

        Raises:
            ConfigurationError: `groups` does not fit; nothing has changed.
        """
        moved = self._grouping.change(groups)
        stepping.part(self.cars, moved)
        for i in moved:
            self.dress(int(i))

    def dress(
        self, i: int, name: str | None = None, colour: Sequence[float] | None = None
    ) -> None:
        """Gives car `i` a name, which others report when they hit it, and a colour.

        Args:
            i: The car.
            name: "Donkey(Clone)" by default.
            colour: Of its body, red, green and blue from 0 to 255; by default one of a few.

        Raises:
            ConfigurationError: The colour is none.
        """
        looks.paint(self._looks, i, colour)
        self._car_names[i] = _CAR_NAME if name is None else name

    def put_cones(self, places: npt.ArrayLike) -> None:
        """Replaces the extra cones, which are seen and not felt; at first there are none.

        Args:
            places: x and z of each (u), shape (k, 2).

        Raises:
            ConfigurationError: The shape is wrong or a value is not finite.
        """
        self._cones = rows.finite("places", places, len(np.asarray(places)), 2)
        standing = solids.with_cones(self._surface.solids, self._cones)
        self._scene = self._scene._replace(solids=standing)

    def cones_touched(self, i: int) -> IntArray:
        """Returns which of the extra cones the body of car `i` touches now, by their index."""
        return collisions.circles_touched(self.cars.motion[i], self._cones, solids.CONE_RADIUS)

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts every car's random stream anew.

        Args:
            seed: One seed, of which each car draws its own stream; or one seed for each car,
                which then draws what the first car of a world with that seed draws.
        """
        self.failures.forget()
        if isinstance(seed, int | np.integer):
            self._streams = [np.random.default_rng([int(seed), i]) for i in range(len(self))]
        else:
            self._streams = [np.random.default_rng([int(own), 0]) for own in seed]

    def stream(self, i: int) -> np.random.Generator:
        """Returns the random stream of car `i`."""
        return self._streams[i]

    def reset(self, chosen: IntArray, start: Start | None = None, *, redraw: bool = True) -> None:
        """Puts cars back on a start, at rest unless the start has a speed, brakes on.

        The car's telemetry clock starts again.

        Args:
            chosen: Indices of the cars, shape (k,).
            start: Where; the start grid or, with `start_anywhere`, a random place by default.
            redraw: Whether looks, camera, mass and grip are drawn anew where they are randomised.
        """
        chosen = np.asarray(chosen, dtype=np.int64)
        if not len(chosen):
            return
        for i in chosen if redraw else ():
            self._draw_episode(int(i))
        if start is None and self.randomise.varies_start:
            slots, streams = self._grouping.slot[chosen], [self._streams[i] for i in chosen]
            start = starts.draw_all(self.randomise, self.track, slots, streams, self.failures)
        motion, sensed, lean = self.cars.motion, self.cars.sensed, self.cars.lean
        motion[chosen] = 0.0
        lean[chosen] = 0.0
        sensed[chosen] = 0.0
        if start is None:
            poses = [self.track.grid.slot(int(self._grouping.slot[i])) for i in chosen]
            motion[chosen, :3] = [(pose.x, pose.z, pose.yaw) for pose in poses]
            sensed[chosen, stepping.ARC] = [self.nearest_arc(pose.x, pose.z) for pose in poses]
        else:
            motion[chosen] = starts.motion(self.track, start)
            lean[chosen, physics.ROLL] = start.roll
            lean[chosen, physics.PITCH] = start.pitch
            sensed[chosen, stepping.ARC] = start.arc
        self._settle(chosen)

    def place(
        self, chosen: IntArray, motion: npt.ArrayLike, lean: npt.ArrayLike | None = None
    ) -> None:
        """Puts cars exactly where they are wanted, off the road if need be, brakes on.

        The car's telemetry clock starts again; looks, camera, mass and grip stay as they are.
        Where roads cross, a car counts as on the nearer one.

        Args:
            chosen: Indices of the cars, shape (k,).
            motion: Rows of `physics`: x, z (u), yaw (rad), forward, rightward velocity (u/s), yaw
                rate (rad/s), shape (k, 6).
            lean: Rows of `physics`: roll (right side up), its rate, pitch (nose down), its rate
                (rad, rad/s), shape (k, 4); upright by default. What a camera sees beyond the
                vehicle's own limits (`Vehicle.lean_limits`) repeats the edge of the picture.

        Raises:
            ConfigurationError: A shape is wrong or a value is not finite; no car has moved.
        """
        chosen = np.asarray(chosen, dtype=np.int64)
        motions = rows.finite("motion", motion, len(chosen), 6)
        leans = np.zeros((len(chosen), 4))
        if lean is not None:
            leans = rows.finite("lean", lean, len(chosen), 4)
        if not len(chosen):
            return
        self.cars.motion[chosen] = motions
        self.cars.lean[chosen] = leans
        self.cars.sensed[chosen] = 0.0
        arcs = [self.nearest_arc(x, z) for x, z in motions[:, [physics.X, physics.Z]]]
        self.cars.sensed[chosen, stepping.ARC] = arcs
        self._settle(chosen)

    def _settle(self, chosen: IntArray) -> None:
        """Brings everything else in line with where cars have just been put."""
        self.cars.command[chosen] = (0.0, 0.0, _RESET_BRAKE)
        self._clock[0][chosen] = 0
        self.cars.hit[chosen] = stepping.NO_HIT
        self.cars.touching[chosen] = stepping.NO_HIT
        arcs = self.cars.sensed[chosen, stepping.ARC]
        places = self.cars.motion[chosen][:, [physics.X, physics.Z]]
        self.cars.node[chosen] = starts.nearest_nodes(self.track, arcs, places)
        stepping.settle(self.cars, chosen, self.route)

    def _draw_episode(self, i: int) -> None:
        """Draws the randomised properties of car `i`."""
        setting, rng = self.randomise, self._streams[i]
        looks.give(self._looks, i, randomisation.draw_look(setting, self.track, rng))
        if setting.moves_camera:
            self._aims[i] = rng.bit_generator.state
            self._mount.aim(i, rng)
        self.cars.parameters[i] = randomisation.draw_car(setting, self._nominal_row, rng)
        self._noise_key[i] = int(rng.integers(1 << 40))
        self.signals.draw(i, int(self._noise_key[i]))

    def nearest_arc(self, x: float, z: float) -> float:
        """Returns the arc length (u) of the path's point nearest to a place."""
        return starts.nearest_arc(self.track, x, z)

    def command(self, chosen: IntArray, commands: npt.ArrayLike) -> None:
        """Sets what cars hold from the next physics step on, without moving them.

        Args:
            chosen: Indices of the cars, shape (k,).
            commands: As for `step`, shape (k, 2) or (k, 3).

        Raises:
            ActionError: The shape is wrong or a value is not finite; no command has changed.
        """
        stepping.hold(self.cars, np.asarray(chosen, dtype=np.int64), commands)

    def step(self, commands: npt.ArrayLike) -> None:
        """Drives all cars to their next telemetry message, 0.05 s on average.

        It takes a whole interval; physics steps of `tick` since the last message do not count.

        Args:
            commands: Steering and throttle in [-1, 1], and brake in [0, 1] if there is a third
                column; shape (N, 2) or (N, 3). Values outside are clamped, as in the simulator;
                a command that the car holds already stays as it is.

        Raises:
            ActionError: The shape is wrong or a value is not finite; no car has moved.
        """
        stepping.hold(self.cars, np.arange(len(self)), commands)
        self._move(np.empty((len(self), 0, 3)))

    def step_arriving(self, commands: FloatArray) -> None:
        """Drives all cars to their next telemetry message, as `step`; commands come on the way.

        Args:
            commands: Steering and throttle, and brake if there are three, that reach a car before
                each physics step of the interval, of which there are three or two; NaN where none
                does, and the car holds on to what it has. Shape (N, 3, 2) or (N, 3, 3).
        """
        self._move(stepping.clamped(commands))

    def _move(self, arriving: FloatArray) -> None:
        """Drives all cars on by a whole interval, see `stepping.step`."""
        self._clock[0][:] = 0
        groups = (self._grouping.start, self._grouping.members)
        move = functools.partial(stepping.step, self.cars, self._surface, *groups, arriving)
        parallel.over(len(groups[0]) - 1, move)

    def tick(self) -> IntArray:
        """Drives all cars on by one physics step (0.02 s) with the commands that they hold.

        Messages are due three and two physics steps after the last one, in turn. Between them
        cte, node and wheels off the road keep the values of the last message, and a hit stays
        until the first step after the message that reported it.

        Returns:
            The cars whose telemetry message is due now.
        """
        self._clock[1][:] = False
        groups = (self._grouping.start, self._grouping.members)
        move = functools.partial(stepping.tick, self.cars, self._surface, *groups, self._clock)
        parallel.over(len(groups[0]) - 1, move)
        return np.flatnonzero(self._clock[1])

    def render(self, out: npt.NDArray[np.uint8], chosen: IntArray | None = None) -> None:
        """Draws what the cameras see.

        Args:
            out: Shape (k, h, w, 3), filled in.
            chosen: Indices of the k cars; all by default.

        Raises:
            ConfigurationError: `out` has the wrong shape or type.
        """
        cars = np.arange(len(self)) if chosen is None else np.asarray(chosen, dtype=np.int64)
        self._draw(self._mount, out, cars, self._seen())

    def photograph(self, mount: Mount, out: npt.NDArray[np.uint8], chosen: IntArray) -> None:
        """Draws what other cameras see than the world's own.

        Args:
            mount: The cameras.
            out: Shape (k, h, w, 3) by the mount's camera, filled in.
            chosen: Indices of the k cars.

        Raises:
            ConfigurationError: `out` has the wrong shape or type, or the mount was built for
                another number of cars.
        """
        cars = np.asarray(chosen, dtype=np.int64)
        mount.check(out, len(self), len(cars))
        for i in cars if self.randomise.moves_camera else ():
            mount.aim_as(int(i), self._aims[int(i)])
        self._draw(mount, out, cars, self._seen())

    def _seen(self) -> looks.Looks:
        """Returns how each car sees the world from where it is."""
        return looks.signal(self._looks, self.signals, self.cars.sensed[:, stepping.ARC])

    def _draw(
        self, mount: Mount, out: npt.NDArray[np.uint8], cars: IntArray, seen: looks.Looks
    ) -> None:
        mount.check(out, len(self), len(cars))
        now, keys = self.cars, self._noise_key + 7919 * self.cars.ticks
        state = (now.motion, now.lean, now.group, mount.view_of, keys)
        fixed = (mount.views, self._scene, mount.lens)
        draw = functools.partial(render.render, out, cars, state, fixed, seen)
        parallel.over(len(cars), draw)

    def hit_names(self) -> list[str]:
        """Returns what each car touched since its last telemetry, ``"none"`` for nothing."""
        return [stepping.hit_name(int(k), self._names, self._car_names) for k in self.cars.hit]
