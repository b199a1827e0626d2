"""The car generations against the derived figures of the simulator's own parameters."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import errors
from donkey_rl.envs.simulator import ground, physics, stepping, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.path import Path
from donkey_rl.envs.simulator.scenery import Pose, StartGrid
from donkey_rl.envs.simulator.world import World

FloatArray = npt.NDArray[np.float64]
WITHIN = 0.05
G = 9.81


def drive(
    name: str,
    throttle: float = 0.0,
    steering: float = 0.0,
    brake: float = 0.0,
    *,
    seconds: float,
    speed: float = 0.0,
    grip: float = 1.0,
) -> FloatArray:
    """Drives one car over a plane; returns its motion after each physics step, shape (n, 6)."""
    car = vehicles.load(name)
    row, torque = vehicles.parameter_row(car), vehicles.torque_table(car)
    motion, command = np.zeros(6), np.array([steering, throttle, brake])
    motion[physics.FORWARD] = speed
    history = []
    for _ in range(round(seconds / physics.TIME_STEP)):
        physics.advance(motion, command, row, torque, grip)
        history.append(motion.copy())
    return np.array(history)


def path_acceleration(history: FloatArray) -> FloatArray:
    """Sideways acceleration along a driven way, from its places alone (u/s^2)."""
    velocity = np.diff(history[:, :2], axis=0) / physics.TIME_STEP
    gain = np.diff(velocity, axis=0) / physics.TIME_STEP
    speed = np.hypot(*velocity[1:].T)
    cross = gain[:, 0] * velocity[1:, 1] - gain[:, 1] * velocity[1:, 0]
    return np.abs(cross) / np.maximum(speed, 1e-6)


@pytest.mark.parametrize(
    ("name", "throttle", "expected"),
    [
        # Car of 2021: 5625 N / 2000 kg = 2.81 u/s^2 against (0.1 + 4 * 0.25 / 0.32^2 / 2000) / s.
        ("donkey_2021", 0.2, 5.4),
        ("donkey_2021", 0.3, 8.0),
        ("donkey_2021", 0.5, 13.4),
        ("donkey_2021", 1.0, 26.8),
        # Car of 2022: throttle * 25 * curve(v / 40) = 0.245 v.
        ("donkey_2022", 0.05, 5.1),
        ("donkey_2022", 0.1, 10.2),
        ("donkey_2022", 0.15, 15.1),
        ("donkey_2022", 0.2, 19.6),
        ("donkey_2022", 0.3, 26.4),
        ("donkey_2022", 0.5, 33.6),
        ("donkey_2022", 0.7, 38.2),
        ("donkey_2022", 1.0, 51.1),
        # Car of 2020: 5625 / 500 = 11.25 u/s^2 against (0.1 + 0.0195) / s: 94.1 u/s at full
        # throttle, cut at 50.
        ("donkey_2020", 0.1, 9.41),
        ("donkey_2020", 0.2, 18.8),
        ("donkey_2020", 1.0, 50.0),
    ],
)
def test_steady_speed_at_a_throttle(name: str, throttle: float, expected: float) -> None:
    reached = drive(name, throttle, seconds=90.0)[-1, physics.FORWARD]
    assert reached == pytest.approx(expected, rel=WITHIN)


@pytest.mark.parametrize(
    ("name", "throttle", "grip", "expected"),
    [
        ("donkey_2021", 1.0, 1.0, 2.81),
        # The engine's 25 u/s^2 are more than the tyres hold: 9.81 times the friction.
        ("donkey_2022", 1.0, 1.0, G),
        ("donkey_2022", 1.0, 0.8, 0.8 * G),
        ("donkey_2022", 1.0, 0.6, 0.6 * G),
        ("donkey_2022", 0.2, 1.0, 0.2 * 25.0),
        # 11.25 u/s^2 of engine, half on each axle. The front axle carries 0.850 / 1.549 of the
        # weight, 5.38 u/s^2; as much as the tyres give, 9.81, shifts 0.403 / 1.549 of it
        # backwards, 2.55, and leaves the front 2.83. The rear holds its 5.62.
        ("donkey_2020", 1.0, 1.0, 8.46),
        # Half of that on each axle, 2.81: more than 5.38 - 0.26 * 5.62 = 3.92 is not asked for.
        ("donkey_2020", 0.5, 1.0, 0.5 * 11.25),
    ],
)
def test_acceleration_from_rest(name: str, throttle: float, grip: float, expected: float) -> None:
    history = drive(name, throttle, seconds=0.2, grip=grip)
    assert history[-1, physics.FORWARD] / 0.2 == pytest.approx(expected, rel=WITHIN)


@pytest.mark.parametrize(
    ("name", "expected"),
    # Torque 4 * 400 / 0.32 = 5000 N on 2000 kg; 5000 N on 500 kg = 5 on each axle, of which the
    # rear one holds its 4.43 less the 2.55 that shift forwards: 1.88;
    # 4 * 100 / 0.32 / 50 = 25, cut by the tyres' 9.81 on both axles. Drag adds 0.1, 0.1 and
    # 0.25 u/s^2 per 1 u/s.
    [("donkey_2021", 2.5), ("donkey_2020", 6.94), ("donkey_2022", G)],
)
def test_full_brake_from_walking_pace(name: str, expected: float) -> None:
    history = drive(name, brake=1.0, seconds=0.1, speed=1.0)
    assert (1.0 - history[-1, physics.FORWARD]) / 0.1 == pytest.approx(expected, rel=WITHIN)


@pytest.mark.parametrize(
    ("name", "rate"), [("donkey_2021", 0.105), ("donkey_2020", 0.1195), ("donkey_2022", 0.245)]
)
def test_coasting_has_no_engine_brake(name: str, rate: float) -> None:
    # Speed falls as exp(-rate t) under linear drag alone.
    after = drive(name, seconds=2.0, speed=10.0)[-1, physics.FORWARD]
    assert math.log(10.0 / after) / 2.0 == pytest.approx(rate, rel=WITHIN)


@pytest.mark.parametrize(
    ("name", "expected"), [("donkey_2021", 5.40), ("donkey_2022", 5.59), ("donkey_2020", 3.4)]
)
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_turning_radius_at_walking_pace(name: str, expected: float, side: float) -> None:
    throttle = 0.01 if name == "donkey_2022" else 0.04
    history = drive(name, throttle, side, seconds=60.0, speed=1.0)[1000:]
    places = history[:, [physics.X, physics.Z]]
    # The circle x^2 + z^2 + a x + b z + c = 0 through the driven places, by least squares.
    table = np.column_stack([places, np.ones(len(places))])
    a, b, c = np.linalg.lstsq(table, -(places**2).sum(axis=1), rcond=None)[0]
    radius = math.sqrt(a * a / 4.0 + b * b / 4.0 - c)
    # The figure is the rear axle's; the centre of mass is ahead of it.
    rear = vehicles.load(name).rear_axle
    assert math.sqrt(radius**2 - rear**2) == pytest.approx(expected, rel=WITHIN)
    # A right turn (steering > 0) turns clockwise from above: its centre is at +X.
    assert math.copysign(1.0, -a / 2.0) == side


def test_wheelbases_and_limits_are_the_prefabs() -> None:
    assert vehicles.load("donkey_2021").wheelbase == pytest.approx(1.549)
    assert vehicles.load("donkey_2022").wheelbase == pytest.approx(1.602)
    assert vehicles.load("donkey_2022").turning_radius() == pytest.approx(5.59, abs=0.01)
    limits = [vehicles.load(name).steer_limit_deg for name in vehicles.names()]
    assert limits == [25.0, 16.0, 16.0]


def test_torque_curve_is_the_hermite_curve_of_its_keys() -> None:
    table = vehicles.torque_table(vehicles.load("donkey_2022"), points=101)
    assert table[0] == pytest.approx(0.99964)
    assert table[62] == pytest.approx(0.89621)
    assert table[100] == pytest.approx(0.50125)
    # Half way (u = 1/2) between the first two keys the cubic is the mean of the values plus
    # width / 8 times the difference of the slopes:
    # 0.947925 + 0.62 / 8 * (-0.02352 + 0.6331) = 0.99517.
    assert table[31] == pytest.approx(0.99517, abs=1e-4)
    assert (vehicles.torque_table(vehicles.load("donkey_2021"))[:-1] == 1.0).all()


@pytest.mark.parametrize("name", vehicles.names())
def test_reverse_is_driving_the_other_way(name: str) -> None:
    # As little throttle as no axle slips under: which one carries less is another backwards.
    ahead = drive(name, 0.1, seconds=5.0)[-1]
    back = drive(name, -0.1, seconds=5.0)[-1]
    assert back[physics.FORWARD] == pytest.approx(-ahead[physics.FORWARD])
    assert back[physics.Z] == pytest.approx(-ahead[physics.Z])


@pytest.mark.parametrize("name", vehicles.names())
@pytest.mark.parametrize("speed", [6.0, -6.0])
def test_a_brake_stops_and_never_pushes_back(name: str, speed: float) -> None:
    forward = drive(name, brake=1.0, seconds=6.0, speed=speed)[:, physics.FORWARD]
    assert (forward * np.sign(speed) >= -1e-5).all()
    assert forward[-1] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", vehicles.names())
def test_a_standing_car_does_not_creep(name: str) -> None:
    for steering in (-1.0, 0.0, 1.0):
        assert not drive(name, 0.0, steering, seconds=10.0).any()


@pytest.mark.parametrize("name", vehicles.names())
def test_the_brake_of_a_reset_holds_against_the_engine(name: str) -> None:
    # Ten times the brake: more than the whole torque of every car.
    assert np.abs(drive(name, 1.0, 0.5, 10.0, seconds=5.0)).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "grip"), [("donkey_2022", 0.8), ("donkey_2022", 0.6), ("donkey_2021", 1.0)]
)
def test_a_steady_corner_uses_the_grip_and_no_more(name: str, grip: float) -> None:
    found = []
    for steering in np.linspace(0.1, 1.0, 10):
        for throttle in (0.1, 0.15, 0.2, 0.5, 0.8):
            history = drive(name, throttle, steering, seconds=25.0, speed=8.0, grip=grip)
            sideways = path_acceleration(history[-250:])
            assert sideways.max() < 1.05 * grip * G
            if np.ptp(sideways) < 0.1:
                found.append(sideways.mean())
    # On the edge between rolling and sliding the tyres give most of what they have.
    assert max(found) > 0.85 * grip * G * vehicles.load(name).friction_lateral


def test_wild_commands_leave_all_numbers_finite_and_bounded() -> None:
    rng = np.random.default_rng(7)
    # A little above the steady speed at full throttle.
    fastest = {"donkey_2020": 51.0, "donkey_2021": 27.0, "donkey_2022": 52.0}
    for name in vehicles.names():
        car = vehicles.load(name)
        row, torque = vehicles.parameter_row(car), vehicles.torque_table(car)
        for grip in (0.3, 1.0, 1.5):
            motion, command = np.zeros(6), np.zeros(3)
            for _ in range(3000):
                if rng.random() < 0.1:
                    command = rng.choice([-1.0, 0.0, 1.0], size=3) * [1.0, 1.0, 0.0]
                    command[2] = rng.choice([0.0, 0.0, 1.0, 10.0])
                physics.advance(motion, command, row, torque, grip)
                assert np.isfinite(motion).all()
                speed = math.hypot(motion[physics.FORWARD], motion[physics.RIGHTWARD])
                assert speed < fastest[name]
                assert abs(motion[physics.YAW_RATE]) < 25.0


def test_tyres_and_drag_only_take_energy_from_a_spinning_car() -> None:
    car = vehicles.load("donkey_2022")
    row, torque = vehicles.parameter_row(car), vehicles.torque_table(car)
    motion = np.array([0.0, 0.0, 0.0, 3.0, 8.0, 6.0])
    energy = []
    for _ in range(250):
        physics.advance(motion, np.array([0.3, 0.0, 0.0]), row, torque, 0.8)
        moving = row[vehicles.MASS] * (motion[3] ** 2 + motion[4] ** 2)
        energy.append(moving + row[vehicles.YAW_INERTIA] * motion[5] ** 2)
    assert (np.diff(energy) <= 1e-9).all()


def straight_world(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> World:
    """Cars on a straight road of 500 u along +Z with a road from x = -7 to 3."""
    # These tests look at no image: a coarse ground is quickly painted.
    monkeypatch.setattr(ground, "_MOST_TEXELS", 2e5)
    base = track.load("generated_track")
    points = np.column_stack([np.zeros(1001), 0.5 * np.arange(1001)])
    path = Path(points, np.zeros(1001), np.zeros(1001), 0.5, closed=False)
    road = dataclasses.replace(
        base,
        nodes=points[::4],
        path=path,
        obstacles=(),
        barriers=(),
        grid=StartGrid(poses=(Pose(0.0, 10.0, 0.0),)),
        start_line_drawn=False,
        start_line=20.0,
    )
    return World(road, vehicles.load(name), CameraConfig(img_w=16, img_h=16), count)


@pytest.mark.parametrize(
    ("name", "on_road", "beside"),
    # Friction 0.8 on asphalt, 0.6 beside it, for the car of 2022 alone.
    [("donkey_2022", 0.8 * G, 0.6 * G), ("donkey_2021", 2.81, 2.81)],
)
def test_the_ground_scales_the_grip_of_the_newest_car_only(
    monkeypatch: pytest.MonkeyPatch, name: str, on_road: float, beside: float
) -> None:
    world = straight_world(monkeypatch, name, 2)
    world.cars.motion[:, physics.X] = (0.0, 6.0)
    stepping.settle(world.cars, np.arange(2), world.route)
    for _ in range(4):
        world.step(np.array([[0.0, 1.0], [0.0, 1.0]]))
    # Two messages 0.06 s apart and two 0.04 s apart.
    gained = world.cars.motion[:, physics.FORWARD] / 0.2
    assert gained == pytest.approx([on_road, beside], rel=WITHIN)


def test_odometry_counts_revolutions_of_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    world = straight_world(monkeypatch, "donkey_2022", 1)
    for _ in range(100):
        world.step([[0.0, 0.1]])
    driven = world.cars.sensed[0, stepping.DISTANCE]
    # One revolution is 2 pi * 0.32 = 2.0106 u.
    turns = world.cars.sensed[0, stepping.ODOMETRY_REAR_LEFT]
    assert turns == pytest.approx(driven / 2.0106, rel=0.01)


@pytest.mark.parametrize(
    ("forward", "yaw_rate", "left", "right"),
    [
        # To the right, at 1 rad/s: wheels 0.7 u beside the middle are 0.7 u/s quicker or slower.
        (5.0, 1.0, 5.7, 4.3),
        (5.0, -1.0, 4.3, 5.7),
        # Revolutions are counted backwards, too.
        (-5.0, 1.0, 4.3, 5.7),
    ],
)
def test_wheels_outside_a_bend_turn_more(
    forward: float, yaw_rate: float, left: float, right: float
) -> None:
    row = vehicles.parameter_row(vehicles.load("donkey_2022"))
    sensed, motion = np.zeros(stepping.SENSED), np.zeros(6)
    motion[physics.FORWARD], motion[physics.YAW_RATE] = forward, yaw_rate
    stepping._roll_wheels(sensed, motion, row)
    expected = np.zeros(stepping.SENSED)
    expected[[stepping.ODOMETRY_FRONT_LEFT, stepping.ODOMETRY_REAR_LEFT]] = left
    expected[[stepping.ODOMETRY_FRONT_RIGHT, stepping.ODOMETRY_REAR_RIGHT]] = right
    # In 0.02 s, of 2 pi * 0.32 = 2.0106 u each.
    np.testing.assert_allclose(sensed, 0.02 * expected / 2.0106, rtol=1e-4)


def test_an_unknown_car_is_answered_with_the_nearest() -> None:
    with pytest.raises(errors.UnknownNameError, match="donkey_2022") as caught:
        vehicles.load("donky_2022")
    assert caught.value.nearest == "donkey_2022"
