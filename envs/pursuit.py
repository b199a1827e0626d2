"""An expert that knows where it is and drives at the limit of its tyres.

Privileged: it reads position and speed from the simulator, and never the image. It serves as a
yardstick and to show learners how a track is driven.
"""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import linalg

from donkey_rl import source_code
from donkey_rl.envs import grip as grips
from donkey_rl.envs import racing_line
from donkey_rl.envs import reference as references
from donkey_rl.envs.grip import Limits
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, track, vehicle
from donkey_rl.envs.simulator.vehicle import GRAVITY, Vehicle
from donkey_rl.envs.tasks import STEP_S

FloatArray = npt.NDArray[np.float64]

GRIP = 0.9
"""Share of the tyres' grip that steady bends are planned with; the rest is for corrections."""

MARGIN = 1.2
"""Distance of a line of least curvature from the road's edges (u): wheels reach 0.7 from the
car's middle, farther while it slides."""

_WEIGHTS = (1.0, 4.0, 0.05, 0.05)
"""Of the squared errors of place (u), direction (rad), sideways velocity and yaw rate."""

WHEEL_WEIGHT = 10.0
"""Of the squared wheel angle (rad)."""

_SLIP_SHARE = 0.8
"""Share of the slip angle of most grip at which the tyres' stiffness is taken."""

_SPEEDS = np.linspace(3.0, 51.0, 49)
"""Speeds for which the gains are worked out (u/s)."""

_FARTHEST, _MOST_TURNED = 2.0, 0.5
"""Errors of place (u) and direction (rad) count as no larger."""

_SPEED_GAIN = 5.0
"""Acceleration for each unit of speed that is missing (1/s)."""

_BESIDE, _CAUTION = 0.15, 0.25
"""Farther beside the line than this (u) a car wants less speed, by this share for each unit: at
the limit nothing is left to come back with."""

_TIGHTEST = 0.3
"""A line beside the reference turns at most this many times more tightly, inverted."""

_CRAWL = 1.0
"""Below this speed (u/s) a car counts as being so fast."""


class Moving(Protocol):
    """N cars on a track, as far as the expert knows them: a `Batch`, or the state of cars."""

    @property
    def sensed(self) -> FloatArray:
        """See `stepping.Cars`, shape (N, 13)."""

    @property
    def motion(self) -> FloatArray:
        """See `physics`, shape (N, 6)."""


class Pursuit:
    """Drives any car of a track along a reference.

    The reference's own commands are fed forward. What a car is off it, in place, direction,
    sideways velocity and yaw rate, is fed back to the wheels by a linear-quadratic regulator of
    the single-track car with linear tyres (Rajamani 2012, "Vehicle Dynamics and Control",
    sections 2.5 and 3.1); the speed by a proportional one, within what the bend leaves of the
    grip.

    Attributes:
        reference: What it follows.
        fastest: What a car without limits of its commands follows, as far as it is known.
    """

    def __init__(
        self,
        config: EnvironmentConfig,
        *,
        grip: float = GRIP,
        margin: float = MARGIN,
        motion: bool = True,
        wheel_weight: float = WHEEL_WEIGHT,
    ) -> None:
        """Chooses the reference.

        Args:
            config: Track, car and the limits of its commands.
            grip: Share of the tyres' grip to plan steady bends with.
            margin: Distance of a line of least curvature from the road's edges (u).
            motion: Whether to follow a shipped motion in their place, where there is one for the
                track and the car, and the commands have their full range.
            wheel_weight: Weight of the squared wheel angle (rad) beside the errors that it turns
                back: with more the wheels move less, and the car comes farther off its line.
        """
        road, self._car = track.load(config.track), vehicle.load(config.vehicle)
        self._config = config
        self._grip = grips.measure(road, self._car, 1.0)
        self._gains = _feedback(road.road_friction, self._car, wheel_weight)
        shipped = references.load(road, self._car)
        full = (config.throttle_min, config.throttle_max, config.steer_limit) == (-1.0, 1.0, 1.0)
        if shipped is not None and full and motion:
            self.reference = shipped
        else:
            limits = Limits(config.throttle_min, config.throttle_max, grip)
            line = racing_line.racing_line(road, self._car, limits, margin)
            self.reference = references.steady(road, self._car, line, self._grip, limits)
        self.fastest = self.reference if shipped is None else shipped

    @staticmethod
    def digest() -> str:
        """Returns a SHA-256 of what decides how it drives: its code and the shipped motions."""
        modules = "pursuit", "grip", "racing_line", "reference"
        code = (f"envs/{each}.py" for each in modules)
        return source_code.digest(*code, "envs/optimal/lines/*.json")

    def act(
        self, batch: Moving, *, pace: FloatArray | float = 1.0, aside: FloatArray | float = 0.0
    ) -> npt.NDArray[np.float32]:
        """Returns steering and throttle in [-1, 1] for all cars, shape (N, 2).

        Args:
            batch: Cars on the track and with the limits of the configuration.
            pace: Share of the reference's speed to drive at, one number or shape (N,).
            aside: How far to the right of the reference to drive (u), one number or shape (N,).
        """
        config, arc = self._config, batch.sensed[:, stepping.ARC]
        now = self._wanted(arc, aside)
        speed = np.maximum(batch.motion[:, physics.FORWARD], _CRAWL)
        # A command holds for a while: it is that of the middle of this time.
        ahead = now[:, references.ADVANCE] * speed * 0.5 * STEP_S
        soon = self._wanted(arc + ahead, aside)
        share = speed / now[:, references.FORWARD]
        wheel = self._turned(soon, share) - self._correction(batch, now, speed, share)
        rolling = np.arctan2(
            batch.motion[:, physics.RIGHTWARD]
            + self._car.front_axle * batch.motion[:, physics.YAW_RATE],
            speed,
        )
        # Turned farther, the front wheels would only give less.
        wheel = np.clip(wheel, rolling - self._car.slip_peak, rolling + self._car.slip_peak)
        full = math.radians(self._car.steer_limit_deg) * config.steer_limit
        command = self._throttle(batch, now, soon, pace)
        middle = 0.5 * (config.throttle_max + config.throttle_min)
        half = 0.5 * (config.throttle_max - config.throttle_min)
        actions = np.stack([wheel / full, (command - middle) / half], axis=1)
        return np.clip(actions, -1.0, 1.0).astype(np.float32)

    @property
    def drag(self) -> float:
        """Deceleration of body and wheels for each unit of speed (1/s)."""
        return self._grip.body_drag + self._grip.wheel_drag

    def braking(self, speed: FloatArray, across: FloatArray) -> FloatArray:
        """Returns the deceleration at the least throttle (u/s^2), without drag.

        Args:
            speed: Of the cars (u/s), any shape.
            across: Of the bend in which they brake (u/s^2), the same shape.
        """
        low, _ = self._grip.drives(across)
        return np.minimum(-low, -self._config.throttle_min * self._grip.full_pull(speed))

    def _wanted(self, arc: FloatArray, aside: FloatArray | float) -> FloatArray:
        """Returns the reference at arc lengths, or the line that runs beside it, shape (N, 8)."""
        rows = self.reference.at(arc)
        if not np.any(aside):
            return rows
        bend = rows[:, references.RATE] / rows[:, references.FORWARD]
        beside = bend / np.maximum(1.0 - aside * bend, _TIGHTEST)
        base = self._car.wheelbase
        rows[:, references.LATERAL] += aside
        rows[:, references.WHEEL] += np.arctan(base * beside) - np.arctan(base * bend)
        # No more sideways acceleration than the reference has, and no more speed.
        sharper = np.abs(beside) > np.abs(bend)
        slower = np.sqrt(np.where(sharper, bend / np.where(sharper, beside, 1.0), 1.0))
        rows[:, references.FORWARD] *= slower
        rows[:, references.RIGHTWARD] *= slower
        rows[:, references.RATE] = rows[:, references.FORWARD] * beside
        return rows

    def _turned(self, soon: FloatArray, share: FloatArray) -> FloatArray:
        """Returns the wheel angle of the reference (rad), with less slip where a car is slower."""
        bend = np.arctan(
            self._car.wheelbase * soon[:, references.RATE] / soon[:, references.FORWARD]
        )
        slip = soon[:, references.WHEEL] - bend
        return np.asarray(bend + slip * np.minimum(share, 1.0) ** 2, np.float64)

    def _correction(
        self, batch: Moving, now: FloatArray, speed: FloatArray, share: FloatArray
    ) -> FloatArray:
        """Returns what the wheels are to be turned back by (rad), shape (N,)."""
        bend = now[:, references.RATE] / now[:, references.FORWARD]
        slip = now[:, references.RIGHTWARD] / now[:, references.FORWARD]
        # A slower car slips less, and so heads more along its course.
        tight = self._car.rear_axle * bend
        wanted_slip = tight + (slip - tight) * np.minimum(share, 1.0) ** 2
        course = now[:, references.TURN] + slip
        place = (batch.sensed[:, stepping.LATERAL] - now[:, references.LATERAL]) * np.cos(course)
        turned = batch.sensed[:, stepping.HEADING_ERROR] - (course - wanted_slip)
        errors = np.stack(
            [
                np.clip(place, -_FARTHEST, _FARTHEST),
                np.clip(turned, -_MOST_TURNED, _MOST_TURNED),
                batch.motion[:, physics.RIGHTWARD] - speed * wanted_slip,
                batch.motion[:, physics.YAW_RATE] - speed * bend,
            ],
            axis=1,
        )
        index = (speed - _SPEEDS[0]) / (_SPEEDS[1] - _SPEEDS[0])
        gains = racing_line.interpolate(self._gains, index, closed=False)
        return np.asarray((gains * errors).sum(axis=1), np.float64)

    def _throttle(
        self, batch: Moving, now: FloatArray, soon: FloatArray, pace: FloatArray | float
    ) -> FloatArray:
        """Returns the throttle command, shape (N,)."""
        config, grip = self._config, self._grip
        speed = np.maximum(batch.motion[:, physics.FORWARD], _CRAWL)
        beside = np.abs(batch.sensed[:, stepping.LATERAL] - now[:, references.LATERAL])
        late = 1.0 + _CAUTION * np.clip(beside - _BESIDE, 0.0, _FARTHEST)
        missing = pace * soon[:, references.FORWARD] / late - batch.motion[:, physics.FORWARD]
        fed = pace**2 * soon[:, references.DRIVE]
        drive = fed + _SPEED_GAIN * missing
        low, high = grip.drives(np.abs(batch.motion[:, physics.YAW_RATE]) * speed)
        drive = np.clip(drive, np.minimum(low, fed), high)
        pull = np.maximum(grip.full_pull(speed), 1e-6)
        command = (drive + grip.wheel_drag * speed) / pull
        return np.clip(command, config.throttle_min, config.throttle_max)


@functools.lru_cache(maxsize=16)
def _feedback(road_friction: float, car: Vehicle, wheel_weight: float) -> FloatArray:
    """Returns the gains from errors to the wheel angle over `_SPEEDS`, shape (K, 4)."""
    front, rear, base = car.front_axle, car.rear_axle, car.wheelbase
    friction = car.friction_lateral * (road_friction if car.friction_from_ground else 1.0)
    slope = 1.5 * (1.0 - _SLIP_SHARE**2) / car.slip_peak * friction * GRAVITY
    stiff_front, stiff_rear = slope * rear / base, slope * front / base
    gyration = (vehicle.BODY_LENGTH**2 + vehicle.BODY_WIDTH**2) / 12.0
    gains = np.zeros((len(_SPEEDS), 4))
    for row, speed in enumerate(_SPEEDS):
        twist = (rear * stiff_rear - front * stiff_front) / speed
        system = np.zeros((5, 5))
        system[0, 1:3] = speed, 1.0
        system[1, 3] = 1.0
        system[2, 2:] = -(stiff_front + stiff_rear) / speed - car.drag, twist - speed, stiff_front
        turning = -(front**2 * stiff_front + rear**2 * stiff_rear) / speed
        system[3, 2:] = np.array([twist, turning, front * stiff_front]) / gyration
        step = linalg.expm(system * STEP_S)
        state, wheel = step[:4, :4], step[:4, 4:]
        cost = linalg.solve_discrete_are(
            state, wheel, np.diag(_WEIGHTS), np.array([[wheel_weight]])
        )
        gains[row] = np.linalg.solve(wheel_weight + wheel.T @ cost @ wheel, wheel.T @ cost @ state)
    gains.flags.writeable = False
    return gains
