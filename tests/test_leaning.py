"""The body's lean on its springs, and what a leaning camera sees, by matrices and by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import errors
from donkey_rl.envs.simulator import leaning, physics, stepping, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.path import Path
from donkey_rl.envs.simulator.scenery import Obstacle, Pose, StartGrid, Stripe
from donkey_rl.envs.simulator.world import Start, World

FloatArray = npt.NDArray[np.float64]
ROAD, LINE, GRASS, RED = (60, 60, 60), (250, 250, 250), (30, 120, 30), (210, 20, 20)
LINES = (-5.0, -2.0, 1.0, 4.0)
HALF_LINE = 0.25


def swing(name: str, push: tuple[float, float], seconds: float, roll: float = 0.0) -> FloatArray:
    """Lets a body lean under a steady push; returns its lean after each step, shape (n, 4)."""
    row = vehicles.parameter_row(vehicles.load(name))
    lean = np.array([roll, 0.0, 0.0, 0.0])
    history = []
    for _ in range(round(seconds / physics.TIME_STEP)):
        physics.sway(lean, push, row)
        history.append(lean.copy())
    return np.array(history)


@pytest.mark.parametrize(
    ("name", "roll", "pitch"),
    [
        # 2000 kg, 0.369 u above the foot of the wheels: m h = 738, m g h = 7239.8. Springs:
        # 4 * 35000 * 0.695^2 = 67623.5 and 4 * 35000 * 0.7745^2 = 83979.
        ("donkey_2021", 738.0 / (67623.5 - 7239.8), 738.0 / (83979.0 - 7239.8)),
        # A quarter of the mass.
        ("donkey_2020", 184.5 / (67623.5 - 1809.9), 184.5 / (83979.0 - 1809.9)),
        # 50 kg, the forces 0.05 higher: m h = 15.95, m g h = 156.5; springs of 40000 and a
        # wheelbase of 1.602: 77284 and 102656.
        ("donkey_2022", 15.95 / (77284.0 - 156.5), 15.95 / (102656.0 - 156.5)),
    ],
)
def test_a_steady_push_leans_the_body_outwards_and_its_nose_up(
    name: str, roll: float, pitch: float
) -> None:
    # 4 u/s^2 forward and 6 to the right.
    resting = swing(name, (4.0, 6.0), 8.0)[-1]
    assert resting[physics.ROLL] == pytest.approx(6.0 * roll, rel=1e-3)
    assert resting[physics.PITCH] == pytest.approx(-4.0 * pitch, rel=1e-3)
    assert resting[[physics.ROLL_RATE, physics.PITCH_RATE]] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert vehicles.load(name).lean_gains == pytest.approx((roll, pitch), rel=1e-3)


def test_a_body_swings_with_the_period_and_damping_of_its_springs() -> None:
    # Inertia 2000 / 12 * (1 + 0.25) = 208.3; stiffness (67623.5 - 7239.8) / 208.3 = 289.8, damping
    # 4 * 1000 * 0.695^2 / 208.3 + 0.05 = 9.324. Frequency sqrt(289.8 - 9.324^2 / 4) = 16.37 rad/s;
    # in a half period of 0.1919 s the swing falls to exp(-4.662 * 0.1919) = 0.409.
    roll = swing("donkey_2021", (0.0, 0.0), 3.0, roll=0.1)[:, physics.ROLL]
    crossings = np.flatnonzero(np.diff(np.sign(roll)) != 0)[:4] * physics.TIME_STEP
    assert np.diff(crossings).mean() == pytest.approx(0.1919, abs=0.01)
    assert roll.min() == pytest.approx(-0.1 * 0.409, rel=0.03)
    assert abs(roll[-1]) < 1e-6


def test_stiff_springs_do_not_shake_themselves_apart() -> None:
    # 121 rad/s: 2.4 rad a physics step.
    assert np.abs(swing("donkey_2022", (0.0, 8.0), 4.0)).max() < 0.2
    assert swing("donkey_2022", (0.0, 8.0), 4.0)[5:, physics.ROLL].min() > 0.0


def scene(obstacles: tuple[Obstacle, ...] = ()) -> track.Track:
    """A straight road of 120 u along +Z with four lines, from x = -8 to 8."""
    base = track.load("generated_track")
    points = np.column_stack([np.zeros(241), 0.5 * np.arange(241)])
    lines = (Stripe(x - HALF_LINE, x + HALF_LINE, "edge_line") for x in LINES)
    colours: dict[str, tuple[int, int, int]] = dict(base.look.colours)
    colours |= {
        "road": ROAD, "road_grain": ROAD, "edge_line": LINE, "ground": GRASS,
        "ground_grain": GRASS,
    }  # fmt: skip
    return dataclasses.replace(
        base,
        nodes=points[::4],
        path=Path(points, np.zeros(241), np.zeros(241), 0.5, closed=False),
        road_left=-8.0,
        road_right=8.0,
        stripes=(Stripe(-8.0, 8.0, "road"), *lines),
        obstacles=obstacles,
        barriers=(),
        grid=StartGrid(poses=(Pose(0.0, 0.0, 0.0),)),
        look=dataclasses.replace(base.look, colours=colours, worn_lines=0.0, sheen=0.0),
        start_line=5.0,
        start_line_drawn=False,
    )


@pytest.fixture(scope="module")
def plain() -> track.Track:
    return scene()


def world(road: track.Track, count: int = 1, name: str = "donkey_2021", **config: Any) -> World:
    return World(road, vehicles.load(name), CameraConfig(**config), count)


def look(made: World, motion: list[float], roll: float = 0.0, pitch: float = 0.0) -> Any:
    """What the first car's camera sees from (x, z, yaw), angles in degrees."""
    lean = [[math.radians(roll), 0.0, math.radians(pitch), 0.0]]
    made.place(np.array([0]), [[*motion, 0.0, 0.0, 0.0]], lean)
    image = np.zeros((1, *made.camera.shape), dtype=np.uint8)
    made.render(image, np.array([0]))
    return image[0]


def turn_x(angle: float) -> FloatArray:
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def turn_y(angle: float) -> FloatArray:
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def turn_z(angle: float) -> FloatArray:
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rays(
    config: CameraConfig, motion: list[float], roll: float, pitch: float
) -> tuple[FloatArray, FloatArray]:
    """The camera's place (3,) and the direction of each pixel (h, w, 3), x right, y up, z ahead.

    Unity's rotations one after the other, for the car's yaw in motion[2] (rad).
    """
    body = turn_y(math.degrees(motion[2])) @ turn_x(pitch) @ turn_z(roll)
    own = body @ turn_y(config.rot_y) @ turn_x(config.rot_x) @ turn_z(config.rot_z)
    mass = 0.525 - 0.122
    seat = np.array([config.offset_x, config.offset_y + 0.122, config.offset_z])
    place = np.array([motion[0], mass, motion[1]]) + body @ seat
    focal = config.img_h / 2.0 / math.tan(math.radians(config.fov) / 2.0)
    across = (np.arange(config.img_w) + 0.5 - config.img_w / 2.0) / focal
    up = (config.img_h / 2.0 - np.arange(config.img_h) - 0.5) / focal
    grid = np.stack(np.broadcast_arrays(across, up[:, None], 1.0), axis=-1)
    return place, grid @ own.T


@pytest.mark.parametrize(
    ("settings", "roll", "pitch"),
    [
        ({}, 0.0, 0.0), ({}, 8.0, 0.0), ({}, -8.0, 3.0), ({}, 3.0, -3.0), ({}, 0.0, 2.5),
        ({"rot_z": 6.0}, 0.0, 0.0), ({"rot_y": 30.0}, 0.0, 0.0),
        ({"rot_y": -40.0, "rot_z": -5.0, "rot_x": 25.0}, 4.0, 2.0),
        ({"fov": 70.0, "offset_x": 0.8, "offset_y": 2.0, "offset_z": -1.0}, 7.0, 2.0),
        ({"img_w": 101, "img_h": 67, "rot_x": 5.0}, -7.0, -2.0),
    ],
)  # fmt: skip
def test_each_pixel_of_a_leaning_camera_sees_what_lies_on_its_ray(
    plain: track.Track, settings: dict[str, Any], roll: float, pitch: float
) -> None:
    config = CameraConfig(**settings)
    motion = [0.5, 30.0, 0.1]
    image = look(world(plain, **settings), motion, roll, pitch).astype(int)
    place, ray = rays(config, motion, roll, pitch)
    distance = -place[1] / np.minimum(ray[..., 1], -1e-6)
    x, z = place[0] + distance * ray[..., 0], place[2] + distance * ray[..., 2]
    # A pixel covers this much of the ground; near ones are finer than half a line.
    depth = distance
    focal = config.img_h / 2.0 / math.tan(math.radians(config.fov) / 2.0)
    seen = (ray[..., 1] < -0.05) & (depth / focal < 0.12) & (z > 1.0) & (z < 110.0)
    gap = np.abs(x[..., None] - np.array(LINES)).min(axis=-1)
    slack = 0.06 + 1.2 * depth / focal
    white = seen & (gap < HALF_LINE - slack)
    gray = seen & (gap > HALF_LINE + slack) & (np.abs(x) < 7.5)
    assert white.sum() > 20
    assert gray.sum() > 1000
    # A far pixel may be the mean of two samples.
    assert (image[white] > 200).all(axis=1).mean() > 0.995
    assert (image[gray] < 110).all(axis=1).mean() > 0.999
    # Above the horizon, as the ray goes, is no road.
    above = ray[..., 1] > 0.03
    assert (np.abs(image[above] - 60).max(axis=-1) > 8).mean() > 0.98 or not above.any()


def test_a_thing_leans_with_the_picture(plain: track.Track) -> None:
    cone = Obstacle("cone (1)", "cone", 1.5, 38.0, 0.0, 0.8, 0.8, 1.0, RED)
    made = world(scene((cone,)))
    motion = [0.5, 30.0, 0.0]
    for roll, pitch in ((0.0, 0.0), (8.0, 0.0), (-8.0, 2.0)):
        image = look(made, motion, roll, pitch).astype(int)
        rows, columns = np.nonzero(image[..., 0] > image[..., 1] + 60)
        place, ray = rays(made.camera, motion, roll, pitch)
        to = np.array([1.5, 0.4, 38.0]) - place
        angle = (ray @ to) / np.linalg.norm(ray, axis=-1)
        row, column = np.unravel_index(angle.argmax(), angle.shape)
        assert rows.mean() == pytest.approx(row, abs=1.5)
        assert columns.mean() == pytest.approx(column, abs=1.5)


def test_a_leaning_picture_is_needed_for_visible_angles_only(plain: track.Track) -> None:
    made = world(plain)
    upright = look(made, [0.5, 30.0, 0.0])
    # 0.05 degrees move the camera by a millimetre and are not drawn as a rotation.
    assert (look(made, [0.5, 30.0, 0.0], 0.05) != upright).any(axis=2).mean() < 0.02
    assert (look(made, [0.5, 30.0, 0.0], 3.0) != upright).any(axis=2).mean() > 0.05


@pytest.mark.parametrize("size", [(120, 160), (16, 16), (33, 240)])
def test_what_is_drawn_covers_all_that_is_fetched(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    height, width = size
    for _ in range(60):
        roll, tilt = rng.uniform(-0.155, 0.155), rng.uniform(-0.06, 0.06)
        rows, columns = leaning.margins(size, 90.0, abs(roll), abs(tilt))
        room = (height + 2 * rows, width + 2 * columns)
        turn, focal = leaning.rotation(tilt, roll), 0.5 * height
        part = np.zeros((room[0], 2), dtype=np.int64)
        top, bottom = leaning.spans(size, room, focal, turn, part)
        # Every pixel of the picture carries its own number.
        number = np.arange(room[0] * room[1], dtype=np.uint32).reshape(room)
        image = np.zeros((*size, 3), dtype=np.uint8)
        leaning.fetch(image, number, focal, turn)
        packed = image.astype(np.int64) @ np.array([1, 256, 65536])
        row, column = np.divmod(packed, room[1])
        assert row.min() >= top
        assert row.max() < bottom
        assert (column >= part[row, 0]).all()
        assert (column < part[row, 1]).all()
        # Within the margins: no pixel repeats the edge.
        edge = (row == 0) | (row == room[0] - 1) | (column == 0) | (column == room[1] - 1)
        assert not edge.any()
        # By the formula: up and right on the plane, turned by the roll, then by the tilt.
        up = (0.5 * (height - 1) - np.arange(height)[:, None]) / focal
        right = (np.arange(width) - 0.5 * (width - 1)) / focal
        ray = np.stack(np.broadcast_arrays(right, up, 1.0), axis=-1)
        ray = ray @ (turn_x(math.degrees(tilt)) @ turn_z(math.degrees(roll))).T
        expected_column = 0.5 * room[1] + focal * ray[..., 0] / ray[..., 2]
        expected_row = 0.5 * room[0] - focal * ray[..., 1] / ray[..., 2]
        # Half a pixel for the nearest one; what is beside that grows with the view's width.
        slack = 0.58 if width < 200 else 0.8
        assert np.abs(column + 0.5 - expected_column).max() < slack
        assert np.abs(row + 0.5 - expected_row).max() < slack


def driving(name: str = "donkey_2021", count: int = 1) -> World:
    road = dataclasses.replace(track.load("generated_track"))
    return World(road, vehicles.load(name), CameraConfig(img_w=16, img_h=16), count)


@pytest.mark.usefixtures("coarse_ground")
def test_a_car_leans_by_its_tyres_forces_and_drives_as_if_it_did_not() -> None:
    made = driving(count=2)
    x, z, yaw = (float(value) for value in made.track.path.at(10.0))
    rows = np.tile([x, z, yaw, 9.0, 0.0, 0.0], (2, 1))
    made.place(np.arange(2), rows, [[0.0] * 4, [0.1, 0.5, -0.05, 0.2]])
    assert made.cars.lean[1].tolist() == [0.1, 0.5, -0.05, 0.2]
    for _ in range(24):
        made.step([[0.5, 0.33]] * 2)
    assert (made.cars.motion[0] == made.cars.motion[1]).all()
    motion, lean = made.cars.motion[0], made.cars.lean
    # Sideways v * r, to the right; the body leans outwards, its right side up.
    sideways = motion[physics.FORWARD] * motion[physics.YAW_RATE]
    assert sideways > 3.0
    gain, _ = made.vehicle.lean_gains
    assert lean[0, physics.ROLL] == pytest.approx(gain * sideways, rel=0.15)
    assert lean[0, physics.ROLL] == pytest.approx(lean[1, physics.ROLL], abs=0.003)
    made.reset(np.array([0]))
    assert not lean[0].any()
    assert lean[1].any()


@pytest.mark.usefixtures("coarse_ground")
def test_a_heavier_body_leans_more() -> None:
    made = driving(count=2)
    made.cars.parameters[1, vehicles.MASS] *= 1.5
    for i in range(2):
        lean = np.zeros(4)
        for _ in range(400):
            physics.sway(lean, (0.0, 5.0), made.cars.parameters[i])
        made.cars.lean[i] = lean
    # 1107 / (67623.5 - 10859.7) against 738 / (67623.5 - 7239.8).
    ratio = made.cars.lean[1, physics.ROLL] / made.cars.lean[0, physics.ROLL]
    assert ratio == pytest.approx(0.019502 / 0.012222, rel=1e-3)


@pytest.mark.usefixtures("coarse_ground")
def test_cars_are_placed_exactly_and_their_telemetry_fits() -> None:
    made = driving(count=3)
    for _ in range(5):
        made.step([[0.3, 1.0]] * 3)
    other = made.cars.motion[1].copy()
    x, z, yaw = (float(value) for value in made.track.path.at(60.0))
    right = (x + 2.0 * math.cos(yaw), z - 2.0 * math.sin(yaw))
    rows = [[x, z, yaw + 0.2, 6.0, -0.5, 0.4], [*right, yaw - 7.0 * math.pi, 0.0, 0.0, 0.0]]
    made.place(np.array([2, 0]), rows)
    assert made.cars.motion[2].tolist() == rows[0]
    assert made.cars.motion[0].tolist() == rows[1]
    assert (made.cars.motion[1] == other).all()
    sensed = made.cars.sensed
    assert sensed[[2, 0], stepping.ARC] == pytest.approx([60.0, 60.0], abs=0.3)
    assert sensed[[2, 0], stepping.LATERAL] == pytest.approx([0.0, 2.0], abs=0.02)
    assert sensed[[2, 0], stepping.CTE] == pytest.approx([0.0, 2.0], abs=0.2)
    assert sensed[2, stepping.HEADING_ERROR] == pytest.approx(0.2, abs=0.02)
    assert abs(sensed[0, stepping.HEADING_ERROR]) == pytest.approx(math.pi, abs=0.02)
    assert sensed[[2, 0], stepping.TIME].tolist() == [0.0, 0.0]
    assert not made.cars.lean[[0, 2]].any()
    made.step([[0.0, 0.0]] * 3)
    assert sensed[2, stepping.PROGRESS] == pytest.approx(0.36, abs=0.05)


@pytest.mark.usefixtures("coarse_ground")
@pytest.mark.parametrize(
    ("motion", "lean", "what"),
    [
        ([[0.0] * 5], None, "motion"),
        ([[0.0] * 6] * 2, None, "motion"),
        ([[0.0, math.nan, 0.0, 0.0, 0.0, 0.0]], None, "motion"),
        ([[0.0] * 6], [[0.0] * 3], "lean"),
        ([[0.0] * 6], [[math.inf, 0.0, 0.0, 0.0]], "lean"),
    ],
)
def test_a_bad_place_is_refused_before_anything_moves(motion: Any, lean: Any, what: str) -> None:
    made = driving(count=2)
    before = made.cars.motion.copy()
    with pytest.raises(errors.ConfigurationError, match=f"`{what}`.*Received"):
        made.place(np.array([1]), motion, lean)
    assert (made.cars.motion == before).all()


@pytest.mark.usefixtures("coarse_ground")
def test_a_start_may_lean() -> None:
    made = driving(count=2)
    zero = np.zeros(2)
    start = Start(np.array([20.0, 30.0]), zero, zero, zero, np.array([0.1, -0.1]), pitch=0.02)
    made.reset(np.arange(2), start)
    assert made.cars.lean[:, physics.ROLL].tolist() == [0.1, -0.1]
    assert made.cars.lean[:, physics.PITCH].tolist() == [0.02, 0.02]
