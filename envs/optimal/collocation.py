"""The time-optimal flying lap of a car on a track, by direct collocation.

The car is the single-track car of `simulator.physics`, in coordinates along the path (Casanova
2000, "On minimum time vehicle manoeuvring: the theoretical optimal lap", chapter 4; Perantoni and
Limebeer 2014, "Optimal control for a Formula One car with variable parameters", Vehicle System
Dynamics 52). Needs CasADi and its IPOPT, which come with the extra ``limits``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs import grip as grips
from donkey_rl.envs import racing_line
from donkey_rl.envs import reference as references
from donkey_rl.envs.grip import Limits
from donkey_rl.envs.optimal.lap import OptimalLap
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import (
    GRAVITY,
    MASS_HEIGHT,
    WHEEL_LATERAL,
    WHEEL_LONGITUDINAL,
    Vehicle,
)
from donkey_rl.errors import DonkeyRLError, InputError

FloatArray = npt.NDArray[np.float64]

_SCALE = np.array([5.0, 0.3, 15.0, 2.0, 1.0, 0.25, 5.0, 1.0, 1.0])
"""Usual sizes of states and controls, by which the solver sees them divided."""

_MOST_TURNED = 1.2
"""Angle (rad) between car and path at most."""

_NEAREST = 0.95
"""How far towards the centre of a bend of the path a car may go, as a share of its radius."""

_LOWEST_SPEED = 2.5
"""Below 2 u/s the simulator measures slip in another way (u/s)."""

_SLACK = 0.003
"""How exactly a tyre below its limit gives what it can."""

_SMOOTHNESS = 1e-4
"""Weight of the squared changes of the controls beside the lap time."""


class LapProblem(Config):
    """What a lap is optimised for.

    Attributes:
        spacing: Between two points of the motion, along the path (u).
        throttle_min: Throttle command at the lower end; below 0 the engine brakes.
        throttle_max: Throttle command at the upper end.
        grip: Share of the tyres' friction that may be used.
        margin: Distance (u) that the wheels keep from the road's edges.
        iterations: Of the solver, at most.
    """

    spacing: float = Field(default=0.5, ge=0.1, le=5.0)
    throttle_min: float = Field(default=-1.0, ge=-1.0, le=1.0)
    throttle_max: float = Field(default=1.0, gt=0.0, le=1.0)
    grip: float = Field(default=1.0, gt=0.0, le=1.0)
    margin: float = Field(default=0.0, ge=0.0, le=5.0)
    iterations: int = Field(default=1000, ge=1, le=100_000)


def solve(
    road: Track, car: Vehicle, problem: LapProblem, guess: OptimalLap | None = None
) -> OptimalLap:
    """Returns the quickest flying lap.

    Args:
        road: A closed track.
        car: The car generation.
        problem: What may be used of engine, tyres and road.
        guess: A motion to start from; else one along the line of least curvature.

    Raises:
        InputError: The track is no circuit, or CasADi is not installed.
        DonkeyRLError: The solver found no lap.
    """
    if not road.closed:
        raise InputError(
            f"A flying lap needs a circuit. Received: '{road.name}', an open road. "
            f"Choose a track that 'donkey-rl tracks list' calls a circuit."
        )
    casadi = _casadi()
    count = max(16, round(road.length / problem.spacing))
    start = _first_guess(road, car, problem, count) if guess is None else guess.resampled(count)
    spacing = road.length / count
    bend = racing_line.bend_at(road, spacing * np.arange(count, dtype=np.float64))
    scaled = casadi.SX.sym("z", len(_SCALE), count)
    values = scaled * casadi.repmat(casadi.DM(_SCALE), 1, count)
    states, controls = values[:5, :], values[5:, :]
    motion = _motion(casadi, car, _friction(road, car, problem), problem).map(count)
    slope, slowness, limits = motion(states, controls, casadi.DM(bend).T)
    following = casadi.horzcat(states[:, 1:], states[:, 0])
    slopes = slope + casadi.horzcat(slope[:, 1:], slope[:, 0])
    defects = (following - states - 0.5 * spacing * slopes) / casadi.DM(_SCALE[:5])
    changes = casadi.horzcat(scaled[5:, 1:], scaled[5:, 0]) - scaled[5:, :]
    lap_s = spacing * casadi.sum2(slowness)
    program = {
        "x": casadi.vec(scaled),
        "f": lap_s + _SMOOTHNESS * casadi.sumsqr(changes),
        "g": casadi.vec(casadi.vertcat(defects, limits, _wheels(casadi, states))),
    }
    solver = casadi.nlpsol("lap", "ipopt", program, _options(problem))
    low, high = _bounds(road, car, bend)
    least, most = _constraint_bounds(road, problem)
    found = solver(
        x0=(start / _SCALE).ravel(),
        lbx=(low / _SCALE).ravel(),
        ubx=(high / _SCALE).ravel(),
        lbg=np.tile(least, count),
        ubg=np.tile(most, count),
    )
    if not solver.stats()["success"]:
        raise DonkeyRLError(
            f"No time-optimal lap of '{road.name}' with {car.name} was found: "
            f"{solver.stats()['return_status']}. A smaller --margin or --reserve, or edges "
            "without kinks, leave it more room."
        )
    rows = np.array(found["x"]).reshape(count, len(_SCALE)) * _SCALE
    time = np.array(motion(rows[:, :5].T, rows[:, 5:].T, bend[None, :])[1])
    return OptimalLap(float(spacing * time.sum()), spacing, rows)


def _casadi() -> Any:
    """Returns the solver's package.

    Raises:
        InputError: It is not installed.
    """
    try:
        import casadi
    except ImportError:
        raise InputError(
            "Optimal laps are computed with CasADi, which is not installed. "
            "Install it: pip install casadi"
        ) from None
    return casadi


def _friction(road: Track, car: Vehicle, problem: LapProblem) -> tuple[float, float]:
    """Returns the tyres' friction along and across, as it may be used."""
    scale = problem.grip * (road.road_friction if car.friction_from_ground else 1.0)
    return scale * car.friction_longitudinal, scale * car.friction_lateral


def _motion(casadi: Any, car: Vehicle, friction: tuple[float, float], problem: LapProblem) -> Any:
    """Returns the function from states, controls and the path's curvature at one point.

    It gives the states' derivatives by arc length of the path, the time for each unit of it
    (s/u), and the values that are limited: used friction circle of both axles, surplus of engine
    force forwards and backwards of both axles (u/s^2), slip angles over that of most grip.

    Both axles may share out the drive as they like, up to half the engine's each: an axle at its
    limit passes on less than the other. Their slip stays below that of most grip.
    """
    state, control = casadi.SX.sym("x", 5), casadi.SX.sym("w", 4)
    bend = casadi.SX.sym("k")
    lateral, turn, forward, right, rate = casadi.vertsplit(state)
    wheel, drive, front_share, rear_share = casadi.vertsplit(control)
    row = vehicles.parameter_row(car)
    ahead_axle, behind_axle = car.front_axle, car.rear_axle
    shift = MASS_HEIGHT / car.wheelbase * drive
    front_load = GRAVITY * behind_axle / car.wheelbase - shift
    rear_load = GRAVITY * ahead_axle / car.wheelbase + shift
    front_slip = (casadi.atan2(right + ahead_axle * rate, forward) - wheel) / car.slip_peak
    rear_slip = casadi.atan2(right - behind_axle * rate, forward) / car.slip_peak
    front_side, rear_side = (
        share * (0.5 * slip**3 - 1.5 * slip)
        for share, slip in ((front_share, front_slip), (rear_share, rear_slip))
    )
    front_force = front_side * friction[1] * front_load
    rear_force = rear_side * friction[1] * rear_load
    front, rear = 0.5 * front_share * drive, 0.5 * rear_share * drive
    push_right = front_force * casadi.cos(wheel) + front * casadi.sin(wheel)
    push_forward = rear + front * casadi.cos(wheel) - front_force * casadi.sin(wheel)
    # What the simulator's explicit steps add to a velocity that turns.
    gained = 0.5 * physics.TIME_STEP / physics.SUBSTEPS * rate**2 - car.drag
    gyration = row[vehicles.YAW_INERTIA] / car.mass
    changes = casadi.vertcat(
        forward * casadi.sin(turn) + right * casadi.cos(turn),
        rate,
        push_forward + right * rate + gained * forward,
        push_right + rear_force - forward * rate + gained * right,
        (ahead_axle * push_right - behind_axle * rear_force) / gyration - car.angular_drag * rate,
    )
    advance = (forward * casadi.cos(turn) - right * casadi.sin(turn)) / (1.0 - lateral * bend)
    changes[1] -= bend * advance
    pull = _pull(casadi, car, forward)
    rolling = row[vehicles.WHEEL_DRAG] / car.mass * forward
    used = casadi.vertcat(
        (front / (friction[0] * front_load)) ** 2 + front_side**2,
        (rear / (friction[0] * rear_load)) ** 2 + rear_side**2,
    )
    limits = casadi.vertcat(
        used,
        drive - problem.throttle_max * pull + rolling,
        problem.throttle_min * pull - rolling - drive,
        (1.0 - casadi.vertcat(front_share, rear_share)) * (1.0 - used),
        front_slip,
        rear_slip,
    )
    return casadi.Function(
        "motion", [state, control, bend], [changes / advance, 1.0 / advance, limits]
    )


def _pull(casadi: Any, car: Vehicle, speed: Any) -> Any:
    """Returns the engine's acceleration at full throttle over speed (u/s^2)."""
    full = vehicles.parameter_row(car)[vehicles.DRIVE_FORCE] / car.mass
    if not car.torque_curve:
        return full
    time, curve = speed / car.curve_speed, car.torque_curve
    factor = curve[-1].value
    for left, right in zip(curve[-2::-1], curve[:0:-1], strict=True):
        width = right.time - left.time
        u = (time - left.time) / width
        piece = (
            (2 * u**3 - 3 * u**2 + 1) * left.value
            + (u**3 - 2 * u**2 + u) * width * left.slope
            + (3 * u**2 - 2 * u**3) * right.value
            + (u**3 - u**2) * width * right.slope
        )
        factor = casadi.if_else(time < right.time, piece, factor)
    return full * factor


def _wheels(casadi: Any, states: Any) -> Any:
    """Returns the lateral offsets of the four wheels, right ones first, shape (4, M)."""
    lateral, turn = states[0, :], states[1, :]
    side, along = WHEEL_LATERAL * casadi.cos(turn), WHEEL_LONGITUDINAL * casadi.sin(turn)
    return casadi.vertcat(
        lateral + side + along,
        lateral + side - along,
        lateral - side + along,
        lateral - side - along,
    )


def _bounds(road: Track, car: Vehicle, bend: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns the least and the greatest states and controls, each of shape (M, 9)."""
    steer = math.radians(car.steer_limit_deg)
    # The engine's and the tyres' limits keep the drive inside these.
    loose = 100.0
    high = np.tile(
        [road.road_right, _MOST_TURNED, car.curve_speed, 20.0, 10.0, steer, loose, 1.0, 1.0],
        (len(bend), 1),
    )
    low = -high
    low[:, 0], low[:, 2], low[:, 7:] = road.road_left, _LOWEST_SPEED, 0.1
    with np.errstate(divide="ignore"):
        centre = _NEAREST / bend
    high[:, 0] = np.where(bend > 0.0, np.minimum(high[:, 0], centre), high[:, 0])
    low[:, 0] = np.where(bend < 0.0, np.maximum(low[:, 0], centre), low[:, 0])
    return low, high


def _constraint_bounds(road: Track, problem: LapProblem) -> tuple[FloatArray, FloatArray]:
    """Returns the bounds of one point's constraints, each of shape (17,)."""
    left, right = road.road_left + problem.margin, road.road_right - problem.margin
    low = [0.0] * 5 + [-np.inf] * 6 + [-1.0] * 2 + [-np.inf] * 2 + [left] * 2
    high = (
        [0.0] * 5 + [1.0] * 2 + [0.0] * 2 + [_SLACK] * 2 + [1.0] * 2 + [right] * 2 + [np.inf] * 2
    )
    return np.array(low), np.array(high)


def _options(problem: LapProblem) -> dict[str, Any]:
    """Returns the solver's options: silent, adaptive barrier."""
    return {
        "print_time": False,
        "ipopt.print_level": 0,
        "ipopt.sb": "yes",
        "ipopt.max_iter": problem.iterations,
        "ipopt.mu_strategy": "adaptive",
        "ipopt.tol": 1e-5,
        "ipopt.linear_solver": "mumps",
    }


def _first_guess(road: Track, car: Vehicle, problem: LapProblem, count: int) -> FloatArray:
    """Returns states and controls along the line of least curvature, shape (M, 9)."""
    limits = Limits(problem.throttle_min, problem.throttle_max, 0.8 * problem.grip)
    line = racing_line.racing_line(road, car, limits, 1.3)
    grip = grips.measure(road, car, 1.0)
    rows = references.steady(road, car, line, grip, limits).resampled(count)
    guess = np.zeros((count, len(_SCALE)))
    guess[:, :6] = rows[:, : references.WHEEL + 1]
    guess[:, 6] = rows[:, references.DRIVE]
    guess[:, 7:] = 0.999
    guess[:, 1] = np.clip(guess[:, 1], -0.6, 0.6)
    guess[:, 2] = np.maximum(guess[:, 2], 1.2 * _LOWEST_SPEED)
    return guess
