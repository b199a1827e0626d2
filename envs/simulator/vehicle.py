"""The car generations of the DonkeyCar simulator, as data.

Figures of the car prefabs (mass, damping, wheel torque, friction curves) of three generations:
the light car of May to August 2020, the car of February 2021 and the car of 2022.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.errors import UnknownNameError

GRAVITY = 9.81
"""Unity units per second squared (the simulator's dynamics settings)."""

TIME_STEP = 0.02
"""Of the simulator's physics (s)."""

BODY_LENGTH = 1.75
BODY_WIDTH = 1.0
BODY_HEIGHT = 0.95
"""The body's box collider (u); the height is that of the drawn car above the ground."""

WHEEL_LONGITUDINAL = 0.78
WHEEL_LATERAL = 0.70
"""Wheel centres seen from the car's centre (u): what must stay inside the road."""

RIDE_HEIGHT = 0.525
"""Height of the car's origin above the ground (u), on springs that are a little longer than the
wheels' places (0.171) and radius (0.32) say: positions of drives report 0.555 over a road at
0.03, and the camera's place in their images agrees."""

_MASS_BELOW_ORIGIN = 0.122
_FORCES_BELOW_ORIGIN = 0.171 + 0.32
MASS_HEIGHT = RIDE_HEIGHT - _MASS_BELOW_ORIGIN
"""Height of the centre of mass above the ground (u); the body leans around it."""

_COLLIDER_HEIGHT = 0.5
ROLL_GYRATION = (BODY_WIDTH**2 + _COLLIDER_HEIGHT**2) / 12.0
PITCH_GYRATION = (BODY_LENGTH**2 + _COLLIDER_HEIGHT**2) / 12.0
"""Inertia of the box collider over its mass, around its long and its cross axis (u^2)."""


class CurveKey(NamedTuple):
    """A key of a cubic Hermite curve: relative speed, value, slope."""

    time: float
    value: float
    slope: float


class Vehicle(Config):
    """One car generation. Lengths in Unity units (u), masses in kg, torques in N u.

    Attributes:
        torque_curve: Factor on the wheel torque over speed / `curve_speed`; empty for a constant
            torque that is cut at `curve_speed`.
        friction_from_ground: Whether the ground's static friction scales the tyres'.
        spring: Of one wheel's suspension; the body leans on the four.
        force_height: How far above the foot of the wheels at rest the tyres' forces push the body.
        report_scale: Telemetry divides speed, velocity, acceleration and position by this.
        gyro_as_rotation: Whether `gyro_*` is the quaternion of one physics step (True) or the
            angular velocity in rad/s.
    """

    name: str
    mass: float = Field(gt=0)
    drag: float = Field(ge=0, description="linear damping of the body, 1/s")
    angular_drag: float = Field(ge=0, description="1/s")
    wheel_torque: float = Field(gt=0, description="per wheel at full throttle; four are driven")
    brake_torque: float = Field(gt=0, description="per wheel at full brake")
    torque_curve: tuple[CurveKey, ...] = ()
    curve_speed: float = Field(gt=0, description="u/s")
    wheel_radius: float = Field(default=0.32, gt=0)
    wheel_damping: float = Field(default=0.25, ge=0)
    front_axle: float = Field(gt=0, description="centre of mass to front axle, u")
    rear_axle: float = Field(gt=0, description="centre of mass to rear axle, u")
    steer_limit_deg: float = Field(gt=0, lt=60, description="wheel angle at full command")
    friction_longitudinal: float = Field(default=1.0, gt=0)
    friction_lateral: float = Field(default=1.0, gt=0)
    friction_from_ground: bool
    slip_peak: float = Field(default=0.2, gt=0, description="sideways slip of most grip")
    slip_slide: float = Field(default=0.5, gt=0, description="sideways slip of full sliding")
    grip_slide: float = Field(default=0.75, gt=0, description="share of the grip left there")
    spring: float = Field(gt=0, description="per wheel, N/u")
    damper: float = Field(ge=0, description="per wheel, N s/u")
    spring_lateral: float = Field(default=0.695, gt=0, description="springs from the middle, u")
    force_height: float = Field(default=0.0, ge=0, lt=0.3, description="u")
    report_scale: float = Field(gt=0)
    gyro_as_rotation: bool

    @property
    def wheelbase(self) -> float:
        """Distance between the axles in u."""
        return self.front_axle + self.rear_axle

    def turning_radius(self, command: float = 1.0) -> float:
        """Radius (u) that the car follows at walking pace under a steering command."""
        return self.wheelbase / math.tan(math.radians(self.steer_limit_deg) * abs(command))

    @property
    def lean_arm(self) -> float:
        """Height (u) of the centre of mass above the point where the tyres' forces act."""
        return _FORCES_BELOW_ORIGIN - _MASS_BELOW_ORIGIN - self.force_height

    @property
    def lean_gains(self) -> tuple[float, float]:
        """Angles of the body under steady tyre forces, rad per u/s^2: roll, pitch.

        Springs of stiffness `K` around an axis hold a body of mass `m` whose centre is `h` above
        the forces, while gravity tips it farther: ``m h / (K - m g h)``.
        """
        tip = self.mass * self.lean_arm
        reaches = (self.spring_lateral, 0.5 * self.wheelbase)
        roll, pitch = (tip / (4.0 * self.spring * reach**2 - tip * GRAVITY) for reach in reaches)
        return roll, pitch

    @property
    def lean_limits(self) -> tuple[float, float]:
        """Roll and pitch (rad) that the body hardly ever exceeds while it swings."""
        roll, pitch = self.lean_gains
        strongest = 4.0 * max(self.wheel_torque, self.brake_torque) / self.wheel_radius / self.mass
        # Steered front wheels push backwards as well, some part of half the grip.
        along = min(self.friction_longitudinal * GRAVITY, strongest + 0.14 * GRAVITY)
        return 1.5 * roll * self.friction_lateral * GRAVITY, 1.5 * pitch * along


_DONKEY_2021 = Vehicle(
    name="donkey_2021",
    mass=2000.0,
    drag=0.1,
    angular_drag=0.05,
    wheel_torque=450.0,
    brake_torque=400.0,
    curve_speed=50.0,
    front_axle=0.784 - 0.085,
    rear_axle=0.765 + 0.085,
    steer_limit_deg=16.0,
    # The prefab says 1; in recordings of this car the tyres of the model hold so much, see
    # docs/fidelity.md.
    friction_lateral=0.895,
    friction_from_ground=False,
    spring=35000.0,
    damper=1000.0,
    report_scale=1.0,
    gyro_as_rotation=True,
)

_VEHICLES = {
    "donkey_2020": _DONKEY_2021.model_copy(
        update={
            "name": "donkey_2020",
            "mass": 500.0,
            "friction_lateral": 1.1,
            "steer_limit_deg": 25.0,
        }
    ),
    "donkey_2021": _DONKEY_2021,
    "donkey_2022": Vehicle(
        name="donkey_2022",
        mass=50.0,
        drag=0.05,
        angular_drag=0.05,
        wheel_torque=100.0,
        brake_torque=100.0,
        torque_curve=(
            CurveKey(0.0, 0.99964, -0.02352),
            CurveKey(0.62, 0.89621, -0.6331),
            CurveKey(1.0, 0.50125, -0.60484),
        ),
        curve_speed=40.0,
        front_axle=0.837 - 0.085,
        rear_axle=0.765 + 0.085,
        steer_limit_deg=16.0,
        friction_from_ground=True,
        spring=40000.0,
        damper=500.0,
        force_height=0.05,
        report_scale=8.0,
        gyro_as_rotation=False,
    ),
}

DEFAULT_VEHICLE = "donkey_2022"


def names() -> tuple[str, ...]:
    """Returns the names of the car generations, oldest first."""
    return tuple(_VEHICLES)


def load(name: str) -> Vehicle:
    """Returns a car generation by its name.

    Raises:
        UnknownNameError: There is no such car.
    """
    if name not in _VEHICLES:
        raise UnknownNameError("vehicle", name, _VEHICLES)
    return _VEHICLES[name]


# Columns of the parameter rows that the physics kernel reads, one row a car.
(
    MASS,
    YAW_INERTIA,
    DRAG,
    ANGULAR_DRAG,
    DRIVE_FORCE,
    BRAKE_FORCE,
    CURVE_SPEED,
    WHEEL_DRAG,
    FRONT_AXLE,
    REAR_AXLE,
    STEER_LIMIT,
    GRIP_LONGITUDINAL,
    GRIP_LATERAL,
    GROUND_SCALES,
    SLIP_PEAK,
    SLIP_SLIDE,
    GRIP_SLIDE,
    WHEEL_RADIUS,
    ROLL_STIFFNESS,
    ROLL_DAMPING,
    PITCH_STIFFNESS,
    PITCH_DAMPING,
    LEAN_ARM,
) = range(23)
PARAMETERS = 23


def parameter_row(vehicle: Vehicle) -> npt.NDArray[np.float64]:
    """Returns what the physics kernel needs of a car, in the column order above, shape (23,)."""
    radius = vehicle.wheel_radius
    row = np.zeros(PARAMETERS)
    row[MASS] = vehicle.mass
    row[YAW_INERTIA] = vehicle.mass / 12.0 * (BODY_LENGTH**2 + BODY_WIDTH**2)
    row[DRAG] = vehicle.drag
    row[ANGULAR_DRAG] = vehicle.angular_drag
    row[DRIVE_FORCE] = 4.0 * vehicle.wheel_torque / radius
    row[BRAKE_FORCE] = 4.0 * vehicle.brake_torque / radius
    row[CURVE_SPEED] = vehicle.curve_speed
    row[WHEEL_DRAG] = 4.0 * vehicle.wheel_damping / radius**2
    row[FRONT_AXLE] = vehicle.front_axle
    row[REAR_AXLE] = vehicle.rear_axle
    row[STEER_LIMIT] = math.radians(vehicle.steer_limit_deg)
    row[GRIP_LONGITUDINAL] = vehicle.friction_longitudinal
    row[GRIP_LATERAL] = vehicle.friction_lateral
    row[GROUND_SCALES] = float(vehicle.friction_from_ground)
    row[SLIP_PEAK] = vehicle.slip_peak
    row[SLIP_SLIDE] = vehicle.slip_slide
    row[GRIP_SLIDE] = vehicle.grip_slide
    row[WHEEL_RADIUS] = radius
    across, along = vehicle.spring_lateral**2, (0.5 * vehicle.wheelbase) ** 2
    row[ROLL_STIFFNESS] = 4.0 * vehicle.spring * across
    row[ROLL_DAMPING] = 4.0 * vehicle.damper * across
    row[PITCH_STIFFNESS] = 4.0 * vehicle.spring * along
    row[PITCH_DAMPING] = 4.0 * vehicle.damper * along
    row[LEAN_ARM] = vehicle.lean_arm
    return row


def torque_table(vehicle: Vehicle, points: int = 257) -> npt.NDArray[np.float64]:
    """Samples the torque curve over speed / `curve_speed` in [0, 1].

    Between two keys the curve is the cubic Hermite polynomial of their values and slopes
    (the simulator's animation curves). An empty curve is a constant 1 that ends in 0 beyond
    `curve_speed` (the last entry).

    Returns:
        Shape (points,).
    """
    grid = np.linspace(0.0, 1.0, points)
    if not vehicle.torque_curve:
        return np.where(grid < 1.0, 1.0, 0.0)
    table = np.empty(points)
    for left, right in zip(vehicle.torque_curve, vehicle.torque_curve[1:], strict=False):
        inside = (grid >= left.time) & (grid <= right.time)
        width = right.time - left.time
        u = (grid[inside] - left.time) / width
        table[inside] = (
            (2 * u**3 - 3 * u**2 + 1) * left.value
            + (u**3 - 2 * u**2 + u) * width * left.slope
            + (3 * u**2 - 2 * u**3) * right.value
            + (u**3 - u**2) * width * right.slope
        )
    return table
