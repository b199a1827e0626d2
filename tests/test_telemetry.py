"""What a car reports: fields, units, signs and rate; cte and progress along the path."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.simulator import following, physics, stepping, telemetry, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.world import Start, World

FloatArray = npt.NDArray[np.float64]
SMALL = CameraConfig(img_w=16, img_h=16)


pytestmark = pytest.mark.usefixtures("coarse_ground")


@functools.cache
def road(name: str) -> track.Track:
    """A track object of this module's own: worlds share what they paint for one object."""
    return dataclasses.replace(track.load(name))


def route(nodes: FloatArray, *, closed: bool) -> following.Route:
    """A route through nodes; its dense path is not used."""
    base = following.route(track.load("waveshare"))
    return base._replace(nodes=np.ascontiguousarray(nodes, dtype=np.float64), closed=closed)


def circle(radius: float, pieces: int) -> following.Route:
    """A circle driven clockwise around the origin from (0, radius), its path dense."""
    angle = 2.0 * math.pi * np.arange(pieces) / pieces
    points = radius * np.column_stack([np.sin(angle), np.cos(angle)])
    yaw = angle + math.pi / 2.0
    return following.Route(
        points=points,
        sin_yaw=np.sin(yaw),
        cos_yaw=np.cos(yaw),
        yaw=yaw,
        nodes=points[::4].copy(),
        spacing=2.0 * math.pi * radius / pieces,
        length=2.0 * math.pi * radius,
        closed=True,
        left=-5.0,
        right=5.0,
    )


SQUARE = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]])


@pytest.mark.parametrize(
    ("x", "z", "node", "cte", "after"),
    [
        # Along +Z, right is +X; nearer to node 0, which stays.
        (2.0, 3.0, 0, 2.0, 0),
        (-1.5, 3.0, 0, -1.5, 0),
        # Past half way (z = 5) the next node is nearer: the index advances by one, and the value
        # reported is that of the old index.
        (2.0, 6.0, 0, 2.0, 1),
        # Along +X (nodes 1 to 2), right is -Z: at (4, 11) the car is 1 to the left.
        (4.0, 11.0, 1, -1.0, 1),
        # The line is infinite: beyond its end the distance is still that to the line.
        (3.0, -7.0, 0, 3.0, 0),
        # The last node's line leads back to the first, along -X from (10, 0): right is +Z.
        (8.0, 2.0, 3, 2.0, 3),
        (3.0, 1.0, 3, 1.0, 0),
        # Behind its index, the index stays: it never goes backwards.
        (0.5, 0.0, 1, 10.0, 1),
    ],
)
def test_cross_track_error_by_hand(x: float, z: float, node: int, cte: float, after: int) -> None:
    found, index = following.cross_track_error(route(SQUARE, closed=True), x, z, node)
    assert found == pytest.approx(cte)
    assert index == after


def test_the_index_catches_up_over_dense_nodes() -> None:
    # Nodes every 0.25 u along +Z and a car 1.1 u past node 3 (z = 1.85): node 7 lies at 1.75,
    # node 8 at 2.0; nearest is 7.
    nodes = np.column_stack([np.zeros(40), 0.25 * np.arange(40)])
    cte, index = following.cross_track_error(route(nodes, closed=False), 0.4, 1.85, 3)
    assert (cte, index) == (pytest.approx(0.4), 7)


def test_the_index_only_grows_while_a_car_drives_and_wraps() -> None:
    road = circle(20.0, 252)
    count, node, seen = len(road.nodes), 0, []
    for angle in np.arange(0.0, 2.2 * 2.0 * math.pi, 0.02):
        # 21 u from the centre of a clockwise circle of 20: 1 u to the left.
        x, z = 21.0 * math.sin(angle), 21.0 * math.cos(angle)
        cte, after = following.cross_track_error(road, x, z, node)
        assert (after - node) % count in (0, 1)
        # Chords of 2 u lie at most 20 (1 - cos(0.05)) = 0.025 u inside the circle.
        assert cte == pytest.approx(-1.0, abs=0.06)
        node = after
        seen.append(node)
    assert set(seen) == set(range(count))
    # Backwards for less than half a lap: the index stays where it is.
    for angle in np.arange(13.8, 13.8 - 2.5, -0.02):
        after = following.cross_track_error(road, 20 * math.sin(angle), 20 * math.cos(angle), node)
        assert after[1] in (node, (node + 1) % count)
        node = after[1]
    assert (node - seen[-1]) % count <= 2


@pytest.mark.parametrize("offset", [-4.0, 0.0, 4.0])
def test_progress_on_a_circle_is_arc_length(offset: float) -> None:
    road = circle(20.0, 252)
    arc, total = 0.0, 0.0
    turns = np.arange(0.0, 3.5 * 2.0 * math.pi, 0.01)
    for angle in np.concatenate([turns, turns[::-1][: len(turns) // 2]]):
        radius = 20.0 - offset
        arc, way, lateral, _ = following.locate(
            road, radius * math.sin(angle), radius * math.cos(angle), arc
        )
        total += way
        assert 0.0 <= arc < road.length
        assert lateral == pytest.approx(offset, abs=0.02)
        # Progress is measured on the path whatever the offset: 20 u per radian.
        assert total == pytest.approx(20.0 * angle, abs=0.3)


def follow_road(name: str, seconds: float, speed: float = 7.0) -> tuple[World, FloatArray]:
    """Drives a car along the middle of its path; returns arc, progress, lateral, node by step."""
    world = World(road(name), vehicles.load("donkey_2021"), SMALL, 1)
    start = np.array([0.0])
    world.reset(np.array([0]), Start(start, start, start, start + speed))
    rows = []
    for _ in range(int(seconds * 20)):
        motion, sensed = world.cars.motion[0], world.cars.sensed[0]
        x, z, _ = world.track.path.at(sensed[stepping.ARC] + 3.5)
        dx, dz = x - motion[physics.X], z - motion[physics.Z]
        angle = math.atan2(dx, dz) - motion[physics.YAW]
        angle = math.remainder(angle, 2.0 * math.pi)
        # Pure pursuit: curvature 2 sin(angle) / distance.
        wheel = math.atan(1.549 * 2.0 * math.sin(angle) / 3.5)
        throttle = 0.27 + 0.3 * (speed - motion[physics.FORWARD])
        world.step([[wheel / math.radians(16.0), throttle]])
        rows.append([*sensed[[stepping.ARC, stepping.PROGRESS, stepping.LATERAL]],
                     world.cars.node[0]])  # fmt: skip
    return world, np.array(rows)


@pytest.mark.parametrize(("name", "seconds"), [("circuit_launch", 50.0), ("sparkfun_avc", 160.0)])
def test_a_car_keeps_its_branch_where_the_road_crosses_or_meets_itself(
    name: str, seconds: float
) -> None:
    world, rows = follow_road(name, seconds)
    arc, progress, lateral, node = rows.T
    length = world.track.length
    assert progress[-1] > 1.05 * length
    # 7 u/s for 0.06 s are 0.42 u; the inner side of a bend makes it a little more.
    assert (np.diff(progress) > 0.0).all()
    assert (np.diff(progress) < 1.0).all()
    assert np.abs(lateral).max() < 1.6
    assert arc == pytest.approx(progress % length, abs=1e-6)
    count = len(world.track.nodes)
    assert (np.diff(node) % count < 5).all()


def test_fields_come_in_the_simulators_order() -> None:
    world = World(road("waveshare"), vehicles.load("donkey_2022"), SMALL, 1)
    assert list(telemetry.fields(world, 0)) == [
        "msg_type", "steering_angle", "throttle", "lidar",
        "rear_right_odom", "rear_left_odom", "front_right_odom", "front_left_odom",
        "hit", "time", "speed", "accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z",
        "pitch", "yaw", "roll", "cte", "activeNode", "totalNodes",
        "pos_x", "pos_y", "pos_z", "vel_x", "vel_y", "vel_z",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["donkey_2020", "donkey_2021"])
def test_older_cars_send_the_speed_before_the_image_and_no_angles(name: str) -> None:
    world = World(road("waveshare"), vehicles.load(name), SMALL, 1)
    world.step([[0.0, 1.0]])
    fields = telemetry.fields(world, 0)
    # The image would come between speed and lidar.
    assert list(fields) == [
        "msg_type", "steering_angle", "throttle", "speed", "lidar", "hit", "time",
        "accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z", "gyro_w",
        "cte", "activeNode", "totalNodes", "pos_x", "pos_y", "pos_z", "vel_x", "vel_y", "vel_z",
        "on_road", "progress_on_shortest_path",
    ]  # fmt: skip
    assert fields["speed"] == pytest.approx(world.cars.motion[0, physics.FORWARD])
    assert fields["on_road"] == 1
    # The nose comes up at some tenths of a rad/s; half a step of that is some milliradians.
    assert fields["gyro_w"] == pytest.approx(1.0, abs=1e-4)
    assert fields["gyro_x"] ** 2 + fields["gyro_y"] ** 2 + fields["gyro_z"] ** 2 == pytest.approx(
        1.0 - fields["gyro_w"] ** 2
    )


def test_every_car_reports_velocity_and_acceleration_in_its_own_axes() -> None:
    world = World(road("generated_track"), vehicles.load("donkey_2020"), SMALL, 1)
    world.reset(np.array([0]), Start(*np.array([[40.0], [0.0], [0.0], [5.0]])))
    world.cars.motion[0, physics.YAW] = math.pi / 2.0
    for _ in range(2):
        world.step([[0.0, 1.0]])
    fields = telemetry.fields(world, 0)
    # Facing +X the velocity in world axes would be (5, 0, 0).
    assert fields["vel_x"] == pytest.approx(0.0, abs=0.01)
    assert fields["vel_z"] > 5.0
    # Two messages are 0.1 s; the acceleration changes little in that time.
    assert fields["vel_z"] - 5.0 == pytest.approx(0.1 * fields["accel_z"], rel=0.1)


@pytest.mark.parametrize(("name", "scale"), [("donkey_2022", 8.0), ("donkey_2021", 1.0)])
def test_units_of_each_generation(name: str, scale: float) -> None:
    world = World(road("generated_track"), vehicles.load(name), SMALL, 1)
    for _ in range(6):
        world.step([[0.2, 0.2]])
    motion, fields = world.cars.motion[0], telemetry.fields(world, 0)
    assert motion[physics.FORWARD] > 0.1
    speed = math.hypot(motion[physics.FORWARD], motion[physics.RIGHTWARD])
    assert fields["speed"] == pytest.approx(speed / scale)
    assert fields["pos_x"] == pytest.approx(motion[physics.X] / scale)
    assert fields["vel_z"] == pytest.approx(motion[physics.FORWARD] / scale)
    assert fields["vel_x"] == pytest.approx(motion[physics.RIGHTWARD] / scale)
    # cte is never divided: the car starts 0.13 to 0.25 u right of the first piece's line. The
    # smooth path bends a little where it closes, behind the first node.
    assert fields["cte"] == pytest.approx(world.cars.sensed[0, stepping.LATERAL], abs=0.2)
    assert fields["steering_angle"] == pytest.approx(0.2)
    assert fields["throttle"] == pytest.approx(0.2)
    # A right turn is a positive rate about the upward axis of a left-handed frame.
    assert fields["gyro_y"] > 0.0


def test_acceleration_is_the_change_of_speed_over_the_last_physics_step() -> None:
    world = World(road("generated_track"), vehicles.load("donkey_2022"), SMALL, 1)
    world.step([[0.0, 1.0]])
    # Full throttle on asphalt: the tyres hold 0.8 * 9.81 = 7.85 u/s^2, reported divided by 8.
    assert telemetry.fields(world, 0)["accel_z"] == pytest.approx(7.85 / 8.0, rel=0.02)
    assert telemetry.fields(world, 0)["accel_x"] == pytest.approx(0.0, abs=1e-9)


def test_yaw_is_reported_in_degrees_from_0_to_360() -> None:
    world = World(road("generated_track"), vehicles.load("donkey_2022"), SMALL, 1)
    for yaw, expected in ((math.pi / 2.0, 90.0), (-math.pi / 2.0, 270.0), (7.0 * math.pi, 180.0)):
        world.cars.motion[0, physics.YAW] = yaw
        assert telemetry.fields(world, 0)["yaw"] == pytest.approx(expected)


def test_the_lean_of_the_body_is_reported_in_unitys_signs() -> None:
    world = World(road("generated_track"), vehicles.load("donkey_2022"), SMALL, 1)
    # Facing +X: the car's right is -Z. Right side up by 2 degrees, nose up by 1, both growing.
    lean = [math.radians(2.0), 0.3, -math.radians(1.0), -0.1]
    world.place(np.array([0]), [[50.0, 50.0, math.pi / 2.0, 0.0, 0.0, 0.5]], [lean])
    fields = telemetry.fields(world, 0)
    assert fields["roll"] == pytest.approx(2.0)
    assert fields["pitch"] == pytest.approx(359.0)
    # The nose comes up around the cross axis (-Z), the right side around the long one (+X).
    rates = [fields[name] for name in ("gyro_x", "gyro_y", "gyro_z")]
    assert rates == pytest.approx([0.3, 0.5, 0.1])
    old = World(road("generated_track"), vehicles.load("donkey_2021"), SMALL, 1)
    old.place(np.array([0]), [[50.0, 50.0, math.pi / 2.0, 0.0, 0.0, 0.5]], [lean])
    # A step of 0.02 s turns by 0.02 times the rates; a quaternion holds half of that.
    fields = telemetry.fields(old, 0)
    rates = [fields[name] for name in ("gyro_x", "gyro_y", "gyro_z")]
    assert rates == pytest.approx([0.003, 0.005, 0.001], rel=1e-4)


def test_messages_come_at_20_hz_in_gaps_of_three_and_two_physics_steps() -> None:
    world = World(road("waveshare"), vehicles.load("donkey_2022"), SMALL, 1)
    times = [telemetry.fields(world, 0)["time"]]
    for _ in range(40):
        world.step([[0.0, 0.0]])
        times.append(telemetry.fields(world, 0)["time"])
    gaps = np.diff(times)
    assert gaps[0::2] == pytest.approx(np.full(20, 0.06))
    assert gaps[1::2] == pytest.approx(np.full(20, 0.04))
    assert times[-1] == pytest.approx(2.0)


def test_a_mirrored_road_reports_mirrored_offsets() -> None:
    plain = road("generated_track")
    offsets = []
    for one in (plain, plain.mirrored()):
        world = World(one, vehicles.load("donkey_2022"), SMALL, 1)
        start = np.array([40.0]), np.array([1.5 if one is plain else -1.5])
        world.reset(np.array([0]), Start(*start, np.zeros(1), np.zeros(1)))
        offsets.append(world.cars.sensed[0, [stepping.LATERAL, stepping.CTE]].copy())
    assert offsets[0] == pytest.approx(-offsets[1], abs=1e-6)
    assert offsets[0][0] == pytest.approx(1.5, abs=0.02)
