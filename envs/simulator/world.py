"""The embedded simulator: N cars on one track, stepped and rendered together."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import (
    camera,
    effects,
    following,
    ground,
    leaning,
    looks,
    panorama,
    parallel,
    physics,
    plants,
    randomisation,
    render,
    sheen,
    solids,
    starts,
    stepping,
)
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.errors import ActionError, ConfigurationError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RESET_BRAKE = 10.0
"""`reset_car` requests ten times the full brake until the next control."""


class Start(NamedTuple):
    """Where cars start, one entry a car.

    Attributes:
        arc: Arc length along the path (u).
        lateral: Offset to the right of the path (u).
        turn: Angle to the path, clockwise (rad).
        speed: Forward (u/s).
        roll: Of the body, right side up (rad); it swings back on its springs.
        pitch: Of the body, nose down (rad).
    """

    arc: FloatArray
    lateral: FloatArray
    turn: FloatArray
    speed: FloatArray
    roll: FloatArray | float = 0.0
    pitch: FloatArray | float = 0.0


def _groups(groups: Sequence[int] | None, count: int) -> IntArray:
    """Returns the group of each car; by default each car is alone.

    Raises:
        ConfigurationError: There is no car, or not one group for each.
    """
    if count < 1:
        raise ConfigurationError(f"A world needs at least 1 car. Received: count={count}.")
    group = np.arange(count) if groups is None else np.asarray(groups, dtype=np.int64)
    if group.shape != (count,):
        raise ConfigurationError(
            f"`groups` must name one group for each of {count} cars. "
            f"Received: {len(group)} entries."
        )
    return group


def _finite_rows(name: str, values: npt.ArrayLike, count: int, width: int) -> FloatArray:
    """Returns `values` as an array of shape (count, width).

    Raises:
        ConfigurationError: The shape is another one or a value is not finite.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.shape != (count, width) or not np.isfinite(rows).all():
        raise ConfigurationError(
            f"`{name}` must be finite numbers of shape ({count}, {width}), one row for each "
            f"chosen car. Received: shape {rows.shape}, {int((~np.isfinite(rows)).sum())} of "
            f"them not finite."
        )
    return rows


@functools.lru_cache(maxsize=4)
def _scene(track: Track) -> render.Scene:
    """Bakes what all worlds on a track share; a scene is some tens of megabytes."""
    return render.Scene(
        ground.bake(track),
        panorama.bake(track),
        solids.build(track),
        sheen.build(track),
        plants.build(track),
    )


class World:
    """Physics, cameras, a track and time for N cars; it knows nothing of rewards.

    The same seed gives bit-identical motion and images on one machine, whatever the number of
    cars or threads: each car draws from its own random stream, by `seed` and its index.

    Attributes:
        track: The track.
        vehicle: The car generation.
        camera: The configured camera.
        cars: State of all cars, see `stepping.Cars`; read it, and change it only through this
            class.
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
                other. Each car is alone by default.
            seed: Seed of all random streams.

        Raises:
            ConfigurationError: `count` or `groups` do not fit.
        """
        group = _groups(groups, count)
        self.track = track
        self.vehicle = vehicle
        self.camera = camera_config
        self.randomise = randomise or Randomisation()
        self.route = following.route(track)
        self._names = solids.names(track)
        self._scene = _scene(track)
        self._surface = stepping.Surface(
            self.route, self._scene.solids, track.road_friction, track.ground_friction
        )
        self._nominal_row = vehicles.parameter_row(vehicle)
        self.cars = self._empty_cars(count, group)
        self._members = np.argsort(group, kind="stable").astype(np.int64)
        sizes = np.unique(group, return_counts=True)[1]
        self._group_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._slot = np.array([int((group[:i] == group[i]).sum()) for i in range(count)])
        own_cameras = self.randomise.moves_camera
        self._views = camera.empty_views(
            count if own_cameras else 1, camera_config, self._margins()
        )
        self._view_of = np.arange(count) if own_cameras else np.zeros(count, dtype=np.int64)
        camera.point(self._views, 0, camera.pose_of(camera_config))
        source = camera.fish_eye_source(camera_config)
        self._lens = effects.Lens(
            np.zeros(0, dtype=np.int32) if source is None else source, camera_config.img_d == 1
        )
        self._looks = looks.empty(count)
        self._noise_key = np.zeros(count, dtype=np.int64)
        self.seed(seed)
        self.reset(np.arange(count))

    def __len__(self) -> int:
        """Number of cars."""
        return len(self.cars.node)

    def _margins(self) -> tuple[int, int]:
        """Returns how far beyond the image the cameras may look, rows and columns."""
        setting, config = self.randomise, self.camera
        roll, pitch = self.vehicle.lean_limits
        # A camera that looks to the side sees the body's roll as pitch, and the reverse.
        turn = math.radians(min(90.0, abs(config.rot_y) + setting.camera_yaw))
        roll, pitch = roll + pitch * math.sin(turn), pitch + roll * math.sin(turn)
        roll += math.radians(abs(config.rot_z) + setting.camera_roll)
        if max(roll, pitch) < leaning.UPRIGHT:
            return 0, 0
        return leaning.margins(config.shape[:2], config.fov + setting.fov, roll, pitch)

    def _empty_cars(self, count: int, group: IntArray) -> stepping.Cars:
        return stepping.Cars(
            motion=np.zeros((count, 6)),
            lean=np.zeros((count, 4)),
            command=np.zeros((count, 3)),
            parameters=np.tile(self._nominal_row, (count, 1)),
            torque=vehicles.torque_table(self.vehicle),
            sensed=np.zeros((count, stepping.SENSED)),
            node=np.zeros(count, dtype=np.int64),
            hit=np.full(count, stepping.NO_HIT),
            touching=np.full((count, 2), stepping.NO_HIT),
            wheels_off=np.zeros(count, dtype=np.int64),
            ticks=np.zeros(count, dtype=np.int64),
            group=group.astype(np.int64),
        )

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts every car's random stream anew.

        Args:
            seed: One seed, of which each car draws its own stream; or one seed for each car,
                which then draws what the first car of a world with that seed draws.
        """
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
            start = self._draw_starts(chosen)
        motion, sensed, lean = self.cars.motion, self.cars.sensed, self.cars.lean
        motion[chosen] = 0.0
        lean[chosen] = 0.0
        sensed[chosen] = 0.0
        if start is None:
            poses = [self.track.grid.slot(int(self._slot[i])) for i in chosen]
            motion[chosen, :3] = [(pose.x, pose.z, pose.yaw) for pose in poses]
            sensed[chosen, stepping.ARC] = [self.nearest_arc(pose.x, pose.z) for pose in poses]
        else:
            x, z, yaw = self.track.path.at(start.arc)
            motion[chosen, physics.X] = x + start.lateral * np.cos(yaw)
            motion[chosen, physics.Z] = z - start.lateral * np.sin(yaw)
            motion[chosen, physics.YAW] = yaw + start.turn
            motion[chosen, physics.FORWARD] = start.speed
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
        rows = _finite_rows("motion", motion, len(chosen), 6)
        leans = np.zeros((len(chosen), 4))
        if lean is not None:
            leans = _finite_rows("lean", lean, len(chosen), 4)
        if not len(chosen):
            return
        self.cars.motion[chosen] = rows
        self.cars.lean[chosen] = leans
        self.cars.sensed[chosen] = 0.0
        arcs = [self.nearest_arc(x, z) for x, z in rows[:, [physics.X, physics.Z]]]
        self.cars.sensed[chosen, stepping.ARC] = arcs
        self._settle(chosen)

    def _settle(self, chosen: IntArray) -> None:
        """Brings everything else in line with where cars have just been put."""
        self.cars.command[chosen] = (0.0, 0.0, _RESET_BRAKE)
        self.cars.hit[chosen] = stepping.NO_HIT
        self.cars.touching[chosen] = stepping.NO_HIT
        arcs = self.cars.sensed[chosen, stepping.ARC]
        places = self.cars.motion[chosen][:, [physics.X, physics.Z]]
        self.cars.node[chosen] = starts.nearest_nodes(self.track, arcs, places)
        stepping.settle(self.cars, chosen, self.route)

    def _draw_starts(self, chosen: IntArray) -> Start:
        """Draws a start for each car, around its grid slot or anywhere on the road."""
        rows = [
            starts.draw(self.randomise, self.track, int(self._slot[i]), self._streams[i])
            for i in chosen
        ]
        table = np.array(rows, dtype=np.float64)
        return Start(table[:, 0], table[:, 1], table[:, 2], table[:, 3])

    def _draw_episode(self, i: int) -> None:
        """Draws the randomised properties of car `i`."""
        setting, rng = self.randomise, self._streams[i]
        looks.give(self._looks, i, randomisation.draw_look(setting, self.track, rng))
        if setting.moves_camera:
            camera.point(self._views, i, randomisation.draw_pose(setting, self.camera, rng))
        row = self._nominal_row.copy()
        if setting.mass > 0.0:
            change = 1.0 + setting.mass * rng.uniform(-1.0, 1.0)
            row[[vehicles.MASS, vehicles.YAW_INERTIA]] *= change
        if setting.grip > 0.0:
            change = 1.0 + setting.grip * rng.uniform(-1.0, 1.0)
            row[[vehicles.GRIP_LONGITUDINAL, vehicles.GRIP_LATERAL]] *= change
        self.cars.parameters[i] = row
        self._noise_key[i] = int(rng.integers(1 << 40))

    def nearest_arc(self, x: float, z: float) -> float:
        """Returns the arc length (u) of the path's point nearest to a place."""
        return starts.nearest_arc(self.track, x, z)

    def step(self, commands: npt.ArrayLike) -> None:
        """Drives all cars to their next telemetry message, 0.05 s on average.

        Args:
            commands: Steering and throttle in [-1, 1], and brake in [0, 1] if there is a third
                column; shape (N, 2) or (N, 3). Values outside are clamped, as in the simulator.

        Raises:
            ActionError: The shape is wrong or a value is not finite; no car has moved.
        """
        command = np.asarray(commands, dtype=np.float64)
        if command.ndim != 2 or command.shape[0] != len(self) or command.shape[1] not in (2, 3):
            raise ActionError(
                f"Commands must have shape ({len(self)}, 2) or ({len(self)}, 3): steering, "
                f"throttle, brake. Received: shape {command.shape}."
            )
        if not np.isfinite(command).all():
            car = int(np.flatnonzero(~np.isfinite(command).all(axis=1))[0])
            raise ActionError(
                f"Commands must be finite numbers. "
                f"Received: {command[car].tolist()} for car {car}."
            )
        stored = self.cars.command
        stored[:, :2] = np.clip(command[:, :2], -1.0, 1.0)
        stored[:, 2] = np.clip(command[:, 2], 0.0, 1.0) if command.shape[1] == 3 else 0.0
        move = functools.partial(
            stepping.step, self.cars, self._surface, self._group_start, self._members
        )
        parallel.over(len(self._group_start) - 1, move)

    def render(self, out: npt.NDArray[np.uint8], chosen: IntArray | None = None) -> None:
        """Draws what the cameras see.

        Args:
            out: Shape (k, h, w, 3), filled in.
            chosen: Indices of the k cars; all by default.

        Raises:
            ConfigurationError: `out` has the wrong shape or type.
        """
        cars = np.arange(len(self)) if chosen is None else np.asarray(chosen, dtype=np.int64)
        if out.shape != (len(cars), *self.camera.shape) or out.dtype != np.uint8:
            raise ConfigurationError(
                f"Images must be uint8 of shape {(len(cars), *self.camera.shape)}. "
                f"Received: {out.dtype} of shape {out.shape}."
            )
        cars_now = (self.cars.motion, self.cars.lean, self.cars.group)
        state = (*cars_now, self._view_of, self._noise_keys())
        fixed = (self._views, self._scene, self._lens)
        draw = functools.partial(render.render, out, cars, state, fixed, self._looks)
        parallel.over(len(cars), draw)

    def _noise_keys(self) -> IntArray:
        return self._noise_key + 7919 * self.cars.ticks

    def hit_names(self) -> list[str]:
        """Returns what each car touched since its last telemetry, ``"none"`` for nothing."""
        return [self._hit_name(int(k)) for k in self.cars.hit]

    def _hit_name(self, k: int) -> str:
        if k == stepping.NO_HIT:
            return "none"
        return "Donkey(Clone)" if k >= stepping.CAR_HIT else self._names[k]
