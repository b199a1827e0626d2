"""The lidar: distances worked out by hand, the order of its rays, its range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.simulator import lidar, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.lidar import LidarConfig
from donkey_rl.envs.simulator.path import Path
from donkey_rl.envs.simulator.scenery import Barrier, Obstacle, Pose, StartGrid
from donkey_rl.envs.simulator.world import World
from donkey_rl.errors import ConfigurationError

FloatArray = npt.NDArray[np.float64]
RED = (200, 30, 30)
HEIGHT = 0.897  # of the sensor: the origin 0.525 above the road, 0.372 above that.
LEVEL = LidarConfig(degAngDown=0.0, numSweepsLevels=1, degPerSweepInc=90.0, offset_x=0.0)


pytestmark = pytest.mark.usefixtures("coarse_ground")


def world(
    count: int = 1,
    obstacles: Sequence[Obstacle] = (),
    walls: Sequence[tuple[Sequence[Sequence[float]], float]] = (),
) -> World:
    """Cars of one group at (0, 10), headed for +Z, on a straight road along +Z."""
    points = np.column_stack([np.zeros(601), 0.5 * np.arange(601)])
    road = dataclasses.replace(
        track.load("generated_track"),
        nodes=points[::4],
        path=Path(points, np.zeros(601), np.zeros(601), 0.5, closed=False),
        obstacles=tuple(obstacles),
        barriers=tuple(Barrier("wall", np.array(p), high, RED) for p, high in walls),
        grid=StartGrid(poses=(Pose(0.0, 10.0, 0.0),)),
        start_line_drawn=False,
        start_line=20.0,
    )
    camera = CameraConfig(img_w=16, img_h=16)
    return World(road, vehicles.load("donkey_2022"), camera, count, groups=[0] * count)


def put(made: World, i: int, x: float, z: float, yaw: float = 0.0) -> None:
    made.place(np.array([i]), [[x, z, yaw, 0.0, 0.0, 0.0]])


def test_the_ground_lies_at_the_height_by_the_sine_of_the_angle_below() -> None:
    found = lidar.scan(world(), 0, LidarConfig())
    assert found.shape[1] == 3
    # The last level that reaches it within 50 u looks down by 2 degrees: 0.897 / sin 2 = 25.70;
    # at 1 degree it is 51.4 u away.
    assert len(found) == 24 * 180
    for level in (0, 10, 23):
        rows = found[found[:, 2] == -level]
        assert len(rows) == 180
        expected = round(HEIGHT / math.sin(math.radians(25.0 - level)), 2)
        assert set(rows[:, 0]) == {expected}
    assert found[0, 0] == 2.12
    assert found[-1, 0] == 25.7


def test_rays_come_level_by_level_and_turn_clockwise() -> None:
    setting = LidarConfig(degPerSweepInc=90.0, numSweepsLevels=3, degAngDown=30.0, degAngDelta=-5)
    found = lidar.scan(world(), 0, setting)
    assert found[:, 1].tolist() == [0.0, 90.0, 180.0, 270.0] * 3
    assert found[:, 2].tolist() == [0.0] * 4 + [-5.0] * 4 + [-10.0] * 4
    # Nothing of it is written as -0.
    assert not np.signbit(found[:4, 2]).any()
    # 360 / 55 = 6.5: six rays.
    uneven = lidar.scan(world(), 0, setting.model_copy(update={"degPerSweepInc": 55.0}))
    assert uneven[:6, 1].tolist() == [0.0, 55.0, 110.0, 165.0, 220.0, 275.0]
    assert len(uneven) == 18


def test_a_wall_is_seen_on_the_side_where_it_stands() -> None:
    # The sensor is at (0, 10.737): 20 - 10.737 ahead; 3 to the right.
    made = world(walls=[([[-50.0, 20.0], [50.0, 20.0]], 2.0), ([[3.0, -50.0], [3.0, 15.0]], 2.0)])
    found = lidar.scan(made, 0, LEVEL)
    assert found.tolist() == [[9.26, 0.0, 0.0], [3.0, 90.0, 0.0]]
    # Turned to the right by 90 degrees: sensor at (0.737, 10), the wall on the right now ahead.
    put(made, 0, 0.0, 10.0, math.pi / 2.0)
    found = lidar.scan(made, 0, LEVEL)
    assert found.tolist() == [[2.26, 0.0, 0.0], [10.0, 270.0, 0.0]]


def test_rays_pass_over_what_is_lower_than_they_are() -> None:
    for height, seen in ((0.89, 0), (0.91, 1)):
        made = world(walls=[([[-50.0, 20.0], [50.0, 20.0]], height)])
        assert len(lidar.scan(made, 0, LEVEL)) == seen
        box = Obstacle("box", "box", 0.0, 20.0, 0.0, 2.0, 2.0, height, RED)
        assert len(lidar.scan(world(obstacles=[box]), 0, LEVEL)) == seen
        cone = Obstacle("cone", "cone", 0.0, 20.0, 0.0, 2.0, 2.0, height, RED)
        assert len(lidar.scan(world(obstacles=[cone]), 0, LEVEL)) == seen


def test_a_cone_is_seen_at_its_bearing_as_far_as_its_side_at_that_height() -> None:
    # 12 u away at 60 degrees; at the sensor's height its radius is 1 - 0.897 / 2 = 0.5515.
    right, ahead = 12.0 * math.sin(math.pi / 3.0), 12.0 * math.cos(math.pi / 3.0)
    for solid in (True, False):
        cone = Obstacle("c", "cone", right, 10.737 + ahead, 0.0, 2.0, 2.0, 2.0, RED, solid)
        setting = LEVEL.model_copy(update={"degPerSweepInc": 2.0})
        found = lidar.scan(world(obstacles=[cone]), 0, setting)
        # It covers asin(0.5515 / 12) = 2.63 degrees at each side.
        assert found[:, 1].tolist() == [58.0, 60.0, 62.0]
        assert found[1, 0] == 11.45
        assert found[0, 0] == found[2, 0] > 11.45


def test_a_ray_downwards_meets_a_cone_lower_down() -> None:
    # 45 degrees down at a cone of R = H = 2 with its foot 0.5 ahead of the sensor: the ray is at
    # height 0.897 - s after s on the ground, the side at r = 2 - y, so 2.5 - s = 2 - 0.897 + s:
    # s = 0.6985, along the ray 0.98784.
    cone = Obstacle("cone", "cone", 0.0, 10.737 + 2.5, 0.0, 4.0, 4.0, 2.0, RED)
    setting = LEVEL.model_copy(update={"degAngDown": 45.0})
    assert lidar.scan(world(obstacles=[cone]), 0, setting)[0].tolist() == [0.99, 0.0, 0.0]


def test_a_turned_box_is_seen_at_its_corner() -> None:
    # A square of side 2, turned by 45 degrees: its corner is the square root of 2 nearer.
    box = Obstacle("box", "box", 0.0, 20.737, math.pi / 4.0, 2.0, 2.0, 3.0, RED)
    assert lidar.scan(world(obstacles=[box]), 0, LEVEL).tolist() == [[8.59, 0.0, 0.0]]
    # A long one, 6 by 1, to the left: its side is half a unit nearer than its middle.
    box = Obstacle("box", "box", -10.0, 10.737, 0.0, 1.0, 6.0, 3.0, RED)
    assert lidar.scan(world(obstacles=[box]), 0, LEVEL).tolist() == [[9.5, 270.0, 0.0]]


def test_cars_of_the_group_are_seen_and_absent_ones_are_not() -> None:
    made = world(3)
    put(made, 0, 0.0, 10.0)
    put(made, 1, 0.0, 30.0)
    put(made, 2, 20.105, 10.737, math.pi / 2.0)
    # To the rear end of a body of 1.75: 20 - 0.737 - 0.875; the turned one 20.105 - 0.875.
    assert lidar.scan(made, 0, LEVEL).tolist() == [[18.39, 0.0, 0.0], [19.23, 90.0, 0.0]]
    made.regroup([0, -1, 1])
    assert len(lidar.scan(made, 0, LEVEL)) == 0


def test_nothing_is_seen_beyond_the_range() -> None:
    made = world(walls=[([[-50.0, 20.0], [50.0, 20.0]], 2.0)])
    for reach, seen in ((9.27, 1), (9.25, 0)):
        setting = LEVEL.model_copy(update={"maxRange": reach})
        assert len(lidar.scan(made, 0, setting)) == seen


def test_what_is_put_on_the_road_later_is_seen() -> None:
    made = world()
    assert len(lidar.scan(made, 0, LEVEL)) == 0
    made.put_cones([[0.0, 20.737]])
    # 0.9 across and 1.6 high: 10 - 0.45 (1 - 0.897 / 1.6) = 9.802.
    assert lidar.scan(made, 0, LEVEL).tolist() == [[9.8, 0.0, 0.0]]


def test_the_tilt_and_the_place_of_the_sensor_count() -> None:
    setting = LidarConfig(
        degAngDown=0.0, numSweepsLevels=1, degPerSweepInc=90.0, rot_x=30.0, offset_x=0.5,
        offset_y=0.475, offset_z=0.0,
    )  # fmt: skip
    # 1 u above the road, 30 degrees down: the ground is 2 u ahead; sideways rays stay level.
    made = world(walls=[([[3.0, -50.0], [3.0, 50.0]], 2.0)])
    assert lidar.scan(made, 0, setting).tolist() == [[2.0, 0.0, 0.0], [2.5, 90.0, 0.0]]


def test_settings_out_of_range_are_refused() -> None:
    assert LidarConfig().rays == 180
    for wrong in ({"degPerSweepInc": 0.0}, {"numSweepsLevels": 0}, {"maxRange": -1.0}):
        with pytest.raises((ConfigurationError, ValueError)):
            LidarConfig.model_validate(wrong)
