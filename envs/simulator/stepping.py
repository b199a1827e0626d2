"""One telemetry interval of all cars: physics, contacts, path following."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import collisions, following, physics
from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.following import Route
from donkey_rl.envs.simulator.physics import FORWARD, RIGHTWARD, YAW, YAW_RATE, X, Z
from donkey_rl.envs.simulator.solids import Solids
from donkey_rl.errors import ActionError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NO_HIT = -1
CAR_HIT = 1_000_000
"""A hit of car `j` is reported as ``CAR_HIT + j``, one of a thing by `Solids.thing`."""

THING, CAR = range(2)

# Columns of `Cars.sensed`.
(
    TIME,
    ARC,
    LATERAL,
    HEADING_ERROR,
    PROGRESS,
    DISTANCE,
    CTE,
    ACCEL_FORWARD,
    ACCEL_RIGHT,
    ODOMETRY_REAR_RIGHT,
    ODOMETRY_REAR_LEFT,
    ODOMETRY_FRONT_RIGHT,
    ODOMETRY_FRONT_LEFT,
) = range(13)
SENSED = 13


class Cars(NamedTuple):
    """The state of all cars; axis 0 is the car.

    Attributes:
        motion: See `physics`, shape (n, 6).
        lean: Roll and pitch of the body and their rates, see `physics`, shape (n, 4).
        command: Steering, throttle, brake, shape (n, 3).
        parameters: See `vehicle.parameter_row`, shape (n, 23).
        torque: See `vehicle.torque_table`, shape (P,).
        sensed: Time (s), arc length, lateral offset (u), angle to the path (rad), progress and
            distance driven since the start (u), cte (u), acceleration forward and right (u/s^2),
            wheel revolutions; shape (n, 13).
        node: Path index, shape (n,).
        hit: What was touched last since the last telemetry, shape (n,).
        touching: What is touched now: a thing (column 0), another car (column 1), shape (n, 2).
        wheels_off: Wheels outside the road, shape (n,).
        ticks: Telemetry messages since the start, shape (n,).
        group: Cars of one group meet and see each other, shape (n,).
    """

    motion: FloatArray
    lean: FloatArray
    command: FloatArray
    parameters: FloatArray
    torque: FloatArray
    sensed: FloatArray
    node: IntArray
    hit: IntArray
    touching: IntArray
    wheels_off: IntArray
    ticks: IntArray
    group: IntArray


def empty(parameters: FloatArray, torque: FloatArray, group: IntArray) -> Cars:
    """Allocates the state of cars that nobody has put anywhere yet.

    Args:
        parameters: The row of `vehicle.parameter_row` that all of them start with.
        torque: See `vehicle.torque_table`.
        group: Of each car, kept, not copied.
    """
    count = len(group)
    return Cars(
        motion=np.zeros((count, 6)),
        lean=np.zeros((count, 4)),
        command=np.zeros((count, 3)),
        parameters=np.tile(parameters, (count, 1)),
        torque=torque,
        sensed=np.zeros((count, SENSED)),
        node=np.zeros(count, dtype=np.int64),
        hit=np.full(count, NO_HIT),
        touching=np.full((count, 2), NO_HIT),
        wheels_off=np.zeros(count, dtype=np.int64),
        ticks=np.zeros(count, dtype=np.int64),
        group=group,
    )


def hit_name(code: int, things: Sequence[str], cars: Sequence[str]) -> str:
    """Returns what was hit.

    Args:
        code: As `Cars.hit` has it.
        things: Names of the track's things, see `solids.names`.
        cars: Names of the cars.
    """
    if code == NO_HIT:
        return "none"
    return cars[code - CAR_HIT] if code >= CAR_HIT else things[code]


def clamped(commands: FloatArray) -> FloatArray:
    """Returns commands in [-1, 1], and brakes in [0, 1], 0 where there are none; (N, T, 3).

    Args:
        commands: Shape (N, T, 2) or (N, T, 3); what is NaN stays so.
    """
    limited = np.zeros((*commands.shape[:2], 3))
    limited[:, :, :2] = np.clip(commands[:, :, :2], -1.0, 1.0)
    if commands.shape[2] == 3:
        limited[:, :, 2] = np.clip(commands[:, :, 2], 0.0, 1.0)
    return limited


def hold(cars: Cars, chosen: IntArray, commands: npt.ArrayLike) -> None:
    """Gives cars the commands that they hold from now on.

    Args:
        cars: State, changed in place.
        chosen: Indices of the cars, shape (k,).
        commands: Steering and throttle, and brake if there is a third column; shape (k, 2) or
            (k, 3). Clamped to [-1, 1] and [0, 1], but for a row that the car holds already: the
            brake of a reset is beyond that.

    Raises:
        ActionError: The shape is wrong or a value is not finite; no command has changed.
    """
    wanted, count = np.asarray(commands, dtype=np.float64), len(chosen)
    if wanted.ndim != 2 or wanted.shape[0] != count or wanted.shape[1] not in (2, 3):
        raise ActionError(
            f"Commands must have shape ({count}, 2) or ({count}, 3): steering, "
            f"throttle, brake. Received: shape {wanted.shape}."
        )
    if not np.isfinite(wanted).all():
        row = int(np.flatnonzero(~np.isfinite(wanted).all(axis=1))[0])
        raise ActionError(
            f"Commands must be finite numbers. "
            f"Received: {wanted[row].tolist()} for car {int(chosen[row])}."
        )
    rows = np.zeros((count, 3))
    rows[:, :2] = np.clip(wanted[:, :2], -1.0, 1.0)
    if wanted.shape[1] == 3:
        rows[:, 2] = np.clip(wanted[:, 2], 0.0, 1.0)
        same = (wanted == cars.command[chosen]).all(axis=1)
        rows[same] = wanted[same]
    cars.command[chosen] = rows


def part(cars: Cars, moved: IntArray) -> None:
    """Ends the contacts of cars with those that have left them or come to them.

    Args:
        cars: State, with the new groups, changed in place.
        moved: The cars whose group has changed, shape (k,).
    """
    cars.touching[moved] = NO_HIT
    other = cars.touching[:, CAR] - CAR_HIT
    cars.touching[np.isin(other, moved), CAR] = NO_HIT


class Surface(NamedTuple):
    """What the cars drive on and against."""

    route: Route
    solids: Solids
    road_friction: float
    ground_friction: float


@njit(cache=True)
def _count_wheels_off(route: Route, lateral: float, error: float) -> int:
    """Wheels outside the road, the road taken as straight below the car."""
    sin_error, cos_error = math.sin(error), math.cos(error)
    count = 0
    for ahead in (-v.WHEEL_LONGITUDINAL, v.WHEEL_LONGITUDINAL):
        for right in (-v.WHEEL_LATERAL, v.WHEEL_LATERAL):
            place = lateral + ahead * sin_error + right * cos_error
            if place < route.left or place > route.right:
                count += 1
    return count


@njit(cache=True)
def _roll_wheels(sensed: Any, motion: Any, car: Any) -> None:
    """Adds one physics step to the wheels' revolutions (never signed)."""
    turn = physics.TIME_STEP / (2.0 * math.pi * car[v.WHEEL_RADIUS])
    right = abs(motion[FORWARD] - motion[YAW_RATE] * v.WHEEL_LATERAL) * turn
    left = abs(motion[FORWARD] + motion[YAW_RATE] * v.WHEEL_LATERAL) * turn
    sensed[ODOMETRY_REAR_RIGHT] += right
    sensed[ODOMETRY_FRONT_RIGHT] += right
    sensed[ODOMETRY_REAR_LEFT] += left
    sensed[ODOMETRY_FRONT_LEFT] += left


@njit(cache=True)
def _begin_contact(cars: Cars, i: int, kind: int, touched: int) -> None:
    """Reports a contact when it begins, once."""
    if touched != NO_HIT and touched != cars.touching[i, kind]:
        cars.hit[i] = touched
    cars.touching[i, kind] = touched


@njit(cache=True)
def follow(cars: Cars, i: int, route: Route) -> None:
    """Brings arc length, progress and lateral offset of car `i` up to date."""
    motion, sensed = cars.motion[i], cars.sensed[i]
    arc, way, lateral, place = following.locate(route, motion[X], motion[Z], sensed[ARC])
    sensed[ARC] = arc
    sensed[PROGRESS] += way
    sensed[LATERAL] = lateral
    error = motion[YAW] - route.yaw[place]
    sensed[HEADING_ERROR] = error - 2.0 * math.pi * np.rint(error / (2.0 * math.pi))


@njit(cache=True)
def _step_car(cars: Cars, i: int, surface: Surface) -> None:
    """Moves one car by one physics step, without other cars."""
    motion, sensed, car = cars.motion[i], cars.sensed[i], cars.parameters[i]
    on_road = surface.route.left <= sensed[LATERAL] <= surface.route.right
    grip = 1.0
    if car[v.GROUND_SCALES] > 0.0:
        grip = surface.road_friction if on_road else surface.ground_friction
    x, z = motion[X], motion[Z]
    forward, right = motion[FORWARD], motion[RIGHTWARD]
    push = physics.advance(motion, cars.command[i], car, cars.torque, grip)
    physics.sway(cars.lean[i], push, car)
    _begin_contact(
        cars, i, THING,
        collisions.with_solids(motion, car, surface.solids, (x, z), cars.touching[i, THING]),
    )  # fmt: skip
    sensed[ACCEL_FORWARD] = (motion[FORWARD] - forward) / physics.TIME_STEP
    sensed[ACCEL_RIGHT] = (motion[RIGHTWARD] - right) / physics.TIME_STEP
    sensed[DISTANCE] += math.hypot(motion[X] - x, motion[Z] - z)
    _roll_wheels(sensed, motion, car)
    follow(cars, i, surface.route)
    sensed[TIME] += physics.TIME_STEP


@njit(cache=True)
def _meet(cars: Cars, members: Any) -> None:
    """Lets the cars of a group push each other."""
    for a in range(members.shape[0]):
        for b in range(a + 1, members.shape[0]):
            i, j = members[a], members[b]
            dx = cars.motion[i, X] - cars.motion[j, X]
            dz = cars.motion[i, Z] - cars.motion[j, Z]
            depth = -1.0
            if dx * dx + dz * dz < 4.0 * v.BODY_LENGTH**2:
                depth = collisions.between_cars(
                    cars.motion[i], cars.parameters[i], cars.motion[j], cars.parameters[j]
                )
            for one, other in ((i, j), (j, i)):
                old = cars.touching[one, CAR]
                if depth > 0.0 and old == NO_HIT:
                    _begin_contact(cars, one, CAR, CAR_HIT + other)
                elif depth < -collisions.SLACK and old == CAR_HIT + other:
                    cars.touching[one, CAR] = NO_HIT


@njit(cache=True)
def _finish(cars: Cars, i: int, route: Route) -> None:
    """Computes what a telemetry message says beyond the motion."""
    motion, sensed = cars.motion[i], cars.sensed[i]
    cte, node = following.cross_track_error(route, motion[X], motion[Z], cars.node[i])
    sensed[CTE] = cte
    cars.node[i] = node
    lateral, error = sensed[LATERAL], sensed[HEADING_ERROR]
    cars.wheels_off[i] = _count_wheels_off(route, lateral, error)
    cars.ticks[i] += 1


@njit(cache=True, nogil=True)
def step(cars, surface, start, members, arriving, first, last):  # type: ignore[no-untyped-def]
    """Moves all cars on to their next telemetry message.

    Physics runs at 50 Hz and telemetry at 20 Hz: messages lie three and two physics steps apart
    in turn, 0.06 s and 0.04 s.

    Args:
        cars: State, changed in place.
        surface: What they drive on.
        start: Where each group's part of `members` starts, shape (groups + 1,).
        members: Cars sorted by group, shape (n,).
        arriving: Commands that cars hold from a physics step of the interval on, NaN where none
            arrives, shape (n, 3, 3); shape (n, 0, 3) where none arrives at all.
        first: First group to move.
        last: Group behind the last one to move.
    """
    for g in range(first, last):
        own = members[start[g] : start[g + 1]]
        for i in own:
            cars.hit[i] = NO_HIT
        for k in range(3):
            for i in own:
                if k < 3 - cars.ticks[i] % 2:
                    if k < arriving.shape[1] and not math.isnan(arriving[i, k, 0]):
                        cars.command[i] = arriving[i, k]
                    _step_car(cars, i, surface)
            if own.shape[0] > 1:
                _meet(cars, own)
        for i in own:
            _finish(cars, i, surface.route)


@njit(cache=True, nogil=True)
def tick(cars, surface, start, members, clock, first, last):  # type: ignore[no-untyped-def]
    """Moves all cars by one physics step.

    Args:
        cars: State, changed in place; what a telemetry message says beyond the motion only for
            cars whose message is due.
        surface: What they drive on.
        start: Where each group's part of `members` starts, shape (groups + 1,).
        members: Cars sorted by group, shape (n,).
        clock: Physics steps of each car since its last message, and whether the next is due now,
            both changed in place, shape (N,) each.
        first: First group to move.
        last: Group behind the last one to move.
    """
    waited, due = clock
    for g in range(first, last):
        own = members[start[g] : start[g + 1]]
        short = True
        for i in own:
            if waited[i] == 0:
                cars.hit[i] = NO_HIT
        for i in own:
            _step_car(cars, i, surface)
            waited[i] += 1
            due[i] = waited[i] >= 3 - cars.ticks[i] % 2
            short = short and due[i] and cars.ticks[i] % 2 == 1
        if own.shape[0] > 1:
            _meet(cars, own)
            if short:
                # `step` lets cars meet three times in an interval of two physics steps as well.
                _meet(cars, own)
        for i in own:
            if due[i]:
                _finish(cars, i, surface.route)
                waited[i] = 0


@njit(cache=True)
def settle(cars, chosen, route):  # type: ignore[no-untyped-def]
    """Computes the first telemetry of cars that were just placed.

    Args:
        cars: State; `sensed[:, ARC]` holds where on the path each chosen car stands.
        chosen: Indices of the cars, shape (k,).
        route: The path.
    """
    for place in range(chosen.shape[0]):
        i = chosen[place]
        follow(cars, i, route)
        cars.sensed[i, PROGRESS] = 0.0
        _finish(cars, i, route)
        cars.ticks[i] = 0


@njit(cache=True)
def report(cars, chosen, route):  # type: ignore[no-untyped-def]
    """Computes what a telemetry message says beyond the motion, for cars that others move.

    Args:
        cars: State; motion and what `follow` computes are those of the message.
        chosen: Indices of the cars, shape (k,).
        route: The path.
    """
    for place in range(chosen.shape[0]):
        _finish(cars, chosen[place], route)
