"""Tracks: the shipped scenes against known figures, and the geometry."""

from __future__ import annotations

import math
import pathlib
import re

import numpy as np
import pytest

from donkey_rl.envs.simulator import random_road, road_shape, scenery, track
from donkey_rl.envs.simulator.path import Curve, FloatArray, Path

# Lengths by adaptive quadrature of the splines, and of the simulator's own node paths, in u;
# then radius of the tightest bend, nodes of the simulator, and turns to the right per lap.
FIGURES = {
    "warehouse": (351.110, 351.6, 5.3, 172, 1),
    "sparkfun_avc": (1047.477, 1047.9, 13.4, 503, 0),
    "generated_track": (214.971, 214.9, 6.6, 108, 1),
    "mountain_track": (515.619, 516.7, 8.1, 250, 1),
    "roboracingleague_1": (650.984, 653.2, 4.2, 508, 1),
    "waveshare": (65.793, 66.4, 6.5, 23, -1),
    "mini_monaco": (495.357, 496.0, 4.8, 1488, 1),
    "warren": (321.052, 321.3, 6.0, 964, 1),
    "thunderhill": (2821.883, 2823.7, 13.9, 2444, -1),
    "circuit_launch": (296.861, 302.2, 4.3, 139, 2),
}
# Offset of the first start pose from the path as the simulator reports it.
SPAWN_CTE = {
    "generated_road": 0.0,
    "generated_track": 0.0,
    "warehouse": -0.1,
    "sparkfun_avc": 0.0,
    "mountain_track": 4.4,
    "roboracingleague_1": 0.0,
    "waveshare": 0.0,
    "mini_monaco": -4.1,
    "warren": -0.1,
    "thunderhill": 2.0,
    "circuit_launch": 3.0,
}
DOCS = pathlib.Path(__file__).parents[1] / "docs" / "tracks.md"


def lies_on_road(road: track.Track, points: FloatArray, radius: float) -> np.ndarray:
    """Which discs touch the road, on whichever branch, by looking at every piece of the path."""
    found = np.zeros(len(points), dtype=bool)
    path = road.path
    for start in range(0, len(points), 200):
        gap = points[start : start + 200, None] - path.points[None]
        sine, cosine = np.sin(path.yaw), np.cos(path.yaw)
        ahead = gap[..., 0] * sine + gap[..., 1] * cosine
        lateral = gap[..., 0] * cosine - gap[..., 1] * sine
        beside = (lateral > road.road_left - radius) & (lateral < road.road_right + radius)
        near = np.abs(ahead) < path.spacing
        found[start : start + 200] = (beside & near).any(axis=1)
    return found


def test_scenes_in_the_order_of_the_simulator() -> None:
    assert track.names()[:4] == ("generated_road", "warehouse", "sparkfun_avc", "generated_track")
    assert set(track.names()) == {*FIGURES, "generated_road"}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_shipped_path_has_the_known_figures(name: str) -> None:
    spline, simulator, radius, nodes, turns = FIGURES[name]
    road = track.load(name)
    assert road.name == name
    assert road.closed
    assert road.length == pytest.approx(spline, rel=0.003)
    assert road.length == pytest.approx(simulator, rel=0.02)
    assert 1.0 / np.abs(road.path.curvature).max() == pytest.approx(radius, abs=0.06)
    assert road.nodes.shape == (nodes, 2)
    assert road.path.curvature.sum() * road.path.spacing == pytest.approx(
        2.0 * np.pi * turns, abs=0.1
    )


@pytest.mark.parametrize("name", track.names())
def test_path_is_uniform_and_consistent(name: str) -> None:
    path = track.load(name).path
    ends = np.roll(path.points, -1, axis=0) if path.closed else path.points[1:]
    sides = ends - path.points[: len(ends)]
    lengths = np.hypot(*sides.T)
    assert path.spacing == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(lengths, path.spacing, rtol=0.003)
    # The direction of each side is the mean of the tangents at its ends, and the tangent turns
    # by curvature times arc length.
    turn = np.diff(np.unwrap(np.append(path.yaw, path.yaw[0])))[: len(ends)]
    along = np.arctan2(*sides.T)
    wrapped = np.mod(along - path.yaw[: len(ends)] - 0.5 * turn + np.pi, 2 * np.pi) - np.pi
    assert np.abs(wrapped).max() < 0.01
    middle = 0.5 * (path.curvature + np.roll(path.curvature, -1))[: len(ends)]
    np.testing.assert_allclose(turn, middle * path.spacing, atol=0.006)


@pytest.mark.parametrize("name", track.names())
def test_nodes_lie_on_the_path(name: str) -> None:
    road = track.load(name)
    s, lateral = road.path.locate(road.nodes)
    # A script's last nodes lie beside its first ones: the path leads over the seam smoothly.
    assert np.abs(lateral).max() < (0.25 if name == "generated_track" else 0.02)
    assert np.median(np.abs(lateral)) < 0.02
    assert math.dist(road.nodes[0], road.path.points[0]) < 1e-9
    # The second node follows the first in the direction of driving.
    ends = len(road.nodes) - (0 if road.closed else 1)
    assert s[1] == pytest.approx(road.length / ends, abs=0.05)


@pytest.mark.parametrize("name", track.names())
def test_cars_start_where_the_simulator_starts_them(name: str) -> None:
    road = track.load(name)
    spawn = road.grid.slot(0)
    s, lateral = road.path.locate([spawn.x, spawn.z])
    assert lateral == pytest.approx(SPAWN_CTE[name], abs=0.12)
    assert road.road_left < lateral < road.road_right
    turned = spawn.yaw - road.path.at(s)[2]
    assert abs(math.remainder(turned, 2.0 * math.pi)) < math.radians(5.0)
    ahead = math.remainder(road.start_line - float(s), road.length)
    assert 1.0 < ahead < 6.0


@pytest.mark.parametrize("name", track.names())
def test_second_car_is_not_behind_a_wall(name: str) -> None:
    road = track.load(name)
    first, second = road.grid.slot(0), road.grid.slot(1)
    assert math.hypot(first.x - second.x, first.z - second.z) > 4.0
    way = np.linspace((first.x, first.z), (second.x, second.z), 50)
    for barrier in road.barriers:
        for a, b in zip(barrier.points[:-1], barrier.points[1:], strict=True):
            wall = np.linspace(a, b, 2 + int(math.dist(a, b)))
            assert np.linalg.norm(way[:, None] - wall, axis=-1).min() > 1.0, barrier.name


@pytest.mark.parametrize("name", track.names())
def test_nothing_solid_stands_on_the_road(name: str) -> None:
    road = track.load(name)
    for obstacle in road.obstacles:
        where = np.array([[obstacle.x, obstacle.z]])
        assert not lies_on_road(road, where, obstacle.radius).any(), obstacle
    for barrier in road.barriers:
        for a, b in zip(barrier.points[:-1], barrier.points[1:], strict=True):
            count = 2 + int(math.dist(a, b) / 0.25)
            # mini_monaco's barriers stand at the very edge: 7 cm are the chords of bends.
            assert not lies_on_road(road, np.linspace(a, b, count), -0.07).any(), barrier.name


@pytest.mark.parametrize("name", track.names())
def test_stripes_obstacles_and_colours_are_complete(name: str) -> None:
    road = track.load(name)
    assert set(road.look.colours) == set(scenery.MATERIALS)
    assert {stripe.material for stripe in road.stripes} <= set(scenery.MATERIALS)
    bands = [stripe for stripe in road.stripes if stripe.material == "road"]
    assert min(band.start for band in bands) >= road.road_left
    assert max(band.end for band in bands) <= road.road_right
    assert sum(band.end - band.start for band in bands) > 0.8 * road.road_width
    for stripe in road.stripes:
        assert stripe.start < stripe.end
        if stripe.material.endswith("_line"):
            assert road.road_left <= stripe.start
            assert stripe.end <= road.road_right
    assert road.source.endswith("BSD-3-Clause, (c) 2017 Tawn Kramer")


def test_generated_track_as_in_the_simulator() -> None:
    road = track.load("generated_track")
    assert (road.road_left, road.road_right) == (-7.2, 2.8)
    names = {obstacle.name for obstacle in road.obstacles}
    assert names == {"cone", *(f"cone ({n})" for n in range(1, 13))}
    where = np.array([[cone.x, cone.z] for cone in road.obstacles])
    _, lateral = road.path.locate(where)
    beyond = np.maximum(lateral - road.road_right, road.road_left - lateral)
    # The measured ones: ten within reach of the road, three far outside of its lower bends.
    assert (beyond > 0.9).all()
    assert (beyond < 5.0).sum() == 10
    assert (lateral[beyond > 5.0] < 0.0).all()
    assert road.start_line_drawn
    # The line is known to lie at z = 49.55, on the straight that leads towards +Z.
    x, z, yaw = road.path.at(road.start_line)
    np.testing.assert_allclose([x, z, yaw], [49.6, 49.55, 0.0], atol=0.1)


def test_all_scenes_look_different() -> None:
    looks = [track.load(name).look for name in track.names()]
    assert len({(look.colours["road"], look.colours["ground"]) for look in looks}) == len(looks)


def test_only_the_shortest_track_has_short_laps() -> None:
    shorter = {name for name in track.names() if track.load(name).min_lap_s != 10.0}
    assert shorter == {"waveshare"}
    assert track.load("waveshare").min_lap_s == 5.0


def test_offset_is_positive_to_the_right() -> None:
    # Clockwise around the origin with radius 20: at the westernmost point the car drives towards
    # +Z, so that the centre, 20 u to the east, is on its right. A car at x = -17 is 3 u inside.
    angles = 2.0 * np.pi * np.arange(24) / 24
    loop = 20.0 * np.stack([-np.cos(angles), np.sin(angles)], axis=1)
    path = Curve(loop, closed=True).path()
    assert path.length == pytest.approx(2.0 * np.pi * 20.0, rel=1e-4)
    np.testing.assert_allclose(path.curvature, 1.0 / 20.0, rtol=0.01)
    s, lateral = path.locate([[-17.0, 0.0], [-22.0, 0.0], [0.0, 23.0]])
    np.testing.assert_allclose(lateral, [3.0, -2.0, -3.0], atol=0.01)
    # A quarter of the lap later the car is at the northernmost point, heading east.
    assert s[2] == pytest.approx(0.25 * path.length, abs=0.01)
    x, z, yaw = path.at(0.25 * path.length)
    np.testing.assert_allclose([x, z, yaw], [0.0, 20.0, 0.5 * np.pi], atol=0.01)
    np.testing.assert_allclose(path.beside(0.0, 5.0), [-15.0, 0.0], atol=0.01)


def test_locate_inverts_beside() -> None:
    path = track.load("generated_track").path
    s = np.linspace(0.0, path.length, 997, endpoint=False)
    for offset in (-6.0, 0.0, 2.5):
        back, lateral = path.locate(path.beside(s, offset))
        error = np.mod(back - s + 0.5 * path.length, path.length) - 0.5 * path.length
        assert np.abs(lateral - offset).max() < 0.03
        assert np.abs(error).max() < 0.05


def test_arc_length_wraps_when_closed_and_stops_when_open() -> None:
    closed = track.load("warren").path
    np.testing.assert_allclose(closed.at(closed.length + 7.3), closed.at(7.3))
    np.testing.assert_allclose(closed.at(-1.0)[:2], closed.at(closed.length - 1.0)[:2])
    # Between the last point and the first: half way.
    middle = 0.5 * (closed.points[-1] + closed.points[0])
    np.testing.assert_allclose(closed.at(closed.length - 0.5 * closed.spacing)[:2], middle)
    opened = track.load("generated_road").path
    np.testing.assert_allclose(opened.at(-5.0)[:2], opened.points[0])
    np.testing.assert_allclose(opened.at(opened.length + 5.0)[:2], opened.points[-1])


def test_direction_is_interpolated_across_south() -> None:
    # From 170 to -170 degrees the short way leads over 180, not over 0.
    path = Path(
        points=np.array([[0.0, 0.0], [0.0, -1.0], [0.0, -2.0]]),
        yaw=np.radians([170.0, -170.0, -170.0]),
        curvature=np.zeros(3),
        spacing=1.0,
        closed=False,
    )
    assert np.degrees(path.at(0.5)[2]) == pytest.approx(180.0)
    assert path.length == 2.0


def test_start_grid_by_hand() -> None:
    # Heading +X, left is +Z: columns 4.5 u to the left, rows 5 u back.
    grid = scenery.StartGrid((scenery.Pose(10.0, 20.0, math.radians(90.0)),))
    slots = [(pose.x, pose.z) for pose in map(grid.slot, range(5))]
    expected = [(10.0, 20.0), (10.0, 24.5), (5.0, 20.0), (5.0, 24.5), (0.0, 20.0)]
    np.testing.assert_allclose(slots, expected, atol=1e-9)


def test_start_grid_with_two_poses_and_one_column() -> None:
    poses = (scenery.Pose(0.0, 0.0, 0.0), scenery.Pose(50.0, 0.0, math.pi))
    grid = scenery.StartGrid(poses, columns=1, row_spacing=6.0)
    slots = [(pose.x, pose.z) for pose in map(grid.slot, range(4))]
    # The second pose looks towards -Z, so that its row behind lies at +Z.
    np.testing.assert_allclose(slots, [(0, 0), (50, 0), (0, -6), (50, 6)], atol=1e-9)
    assert grid.slot(3).yaw == math.pi


def test_spacing_of_the_shipped_grids() -> None:
    grids = {name: track.load(name).grid for name in track.names()}
    assert {name for name, grid in grids.items() if grid.columns == 1} == {
        "roboracingleague_1",
        "waveshare",
        "mini_monaco",
    }
    assert grids["warehouse"].column_spacing == 6.5
    assert {grid.column_spacing for name, grid in grids.items() if name != "warehouse"} == {4.5}


def test_mirror_exchanges_left_and_right() -> None:
    road = track.load("generated_track")
    mirror = track.load("generated_track:mirror")
    assert mirror.name == "generated_track:mirror"
    assert (mirror.road_left, mirror.road_right) == (-2.8, 7.2)
    assert mirror.length == road.length
    assert mirror.start_line == road.start_line
    # Clockwise becomes counter-clockwise, in the same order of nodes.
    assert mirror.path.curvature.sum() * mirror.path.spacing == pytest.approx(
        -2.0 * np.pi, abs=0.1
    )
    np.testing.assert_allclose(mirror.nodes, road.nodes * [-1.0, 1.0])
    x, z, yaw = mirror.path.at(30.0)
    ahead = mirror.path.at(30.1)
    assert math.atan2(ahead[0] - x, ahead[1] - z) == pytest.approx(float(yaw), abs=0.04)
    # What was 2.165 u to the left of the path is as far to the right of its image.
    yellow = next(stripe for stripe in mirror.stripes if stripe.material == "centre_line")
    assert 0.5 * (yellow.start + yellow.end) == pytest.approx(2.165)
    # The second car of the grid was 4.5 u to the left of the first.
    s, lateral = mirror.path.locate([[pose.x, pose.z] for pose in map(mirror.grid.slot, (0, 1))])
    assert lateral[1] - lateral[0] == pytest.approx(4.5, abs=0.1)
    assert s[0] == pytest.approx(s[1], abs=0.3)


@pytest.mark.parametrize("name", track.names())
def test_mirrored_twice_is_the_same_track(name: str) -> None:
    road = track.load(name)
    again = road.mirrored().mirrored()
    for field in ("name", "stripes", "obstacles", "grid", "road_left", "road_right", "look"):
        assert getattr(again, field) == getattr(road, field), field
    for array in ("points", "yaw", "curvature"):
        np.testing.assert_array_equal(getattr(again.path, array), getattr(road.path, array))
    np.testing.assert_array_equal(again.nodes, road.nodes)
    for one, other in zip(again.barriers, road.barriers, strict=True):
        np.testing.assert_array_equal(one.points, other.points)


def test_nothing_stands_on_a_mirrored_road() -> None:
    for name in ("generated_track", "mini_monaco"):
        mirror = track.load(f"{name}:mirror")
        for obstacle in mirror.obstacles:
            where = np.array([[obstacle.x, obstacle.z]])
            assert not lies_on_road(mirror, where, obstacle.radius).any()


def test_random_road_follows_its_seed() -> None:
    first = track.load("generated_road:3")
    assert not first.closed
    np.testing.assert_array_equal(first.nodes, track.load("generated_road:3").nodes)
    assert np.abs(first.nodes - track.load("generated_road:4").nodes).max() > 10.0
    assert len(first.nodes) == 1000
    assert (first.road_left, first.road_right) == (-7.2, 2.8)
    # 999 steps of 2 u; the spline between them is hardly longer.
    assert first.length == pytest.approx(1998.0, rel=0.002)
    np.testing.assert_allclose(np.hypot(*np.diff(first.nodes, axis=0).T), 2.0)


def test_random_walk_without_turns_is_straight() -> None:
    nodes = random_road.walk((5.0, 7.0), nodes=40, span=3.0, turn_increment=0.0)
    np.testing.assert_allclose(nodes, [(5.0, 7.0 + 3.0 * k) for k in range(40)])


def test_random_walk_by_the_rule_of_the_simulator() -> None:
    # The first 30 nodes lie within 60 u of the start: none of them can be within 90 u of a point
    # 100 u ahead unless the road turns back, so that the rate of turn is the bare random walk.
    changes = np.random.default_rng(11).uniform(-1.0, 1.0, 30)
    heading = np.radians(np.cumsum(np.cumsum(changes)))
    nodes = random_road.walk((0.0, 0.0), nodes=30, seed=11)
    steps = 2.0 * np.stack([np.sin(heading), np.cos(heading)], axis=1)
    np.testing.assert_allclose(nodes[1:], np.cumsum(steps, axis=0)[:-1], atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_random_roads_can_be_driven(seed: int) -> None:
    # Without the look ahead the rate of turn grows without bound: to a radius of 2.6 u with the
    # seeds 0 and 4, where the steering of the car can follow 5.4 u.
    curvature = track.load(f"generated_road:{seed}").path.curvature
    assert 1.0 / np.abs(curvature).max() > 8.0


def test_barriers_beside_a_bend_keep_their_distance() -> None:
    # Radius 5 at the ends of a stadium, barriers at 8 u: the inner one would fold back.
    straight = [[-5.0, float(z)] for z in range(0, 40, 5)]
    top = [
        [-5.0 * math.cos(a), 40.0 + 5.0 * math.sin(a)]
        for a in np.linspace(0, np.pi, 6, endpoint=False)
    ]
    points = np.array(straight + top)
    loop = np.vstack([points, [0.0, 40.0] - points])
    path = Curve(loop, closed=True).path()
    lines = road_shape.lines_beside(path, 8.0)
    assert len(lines) == 1
    np.testing.assert_array_equal(lines[0][0], lines[0][-1])
    for line in lines:
        assert path.clearance(line).min() > 7.9
    wide = road_shape.lines_beside(path, 3.0)
    assert len(wide) == 2


def test_documented_figures_are_those_of_the_tracks() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in FIGURES:
        row = re.search(rf"^\| `{name}` \| ([\d.]+) \| ([\d.]+) \| (\S+) to \+(\S+) ", text, re.M)
        assert row, name
        road = track.load(name)
        figures = [float(value) for value in row.groups()]
        radius = 1.0 / np.abs(road.path.curvature).max()
        expected = [road.length, radius, road.road_left, road.road_right]
        np.testing.assert_allclose(figures, expected, atol=0.06)


def test_wall_around_a_bend_has_no_sides_without_length() -> None:
    # The offset is the radius: the inner line is one point, up to the inexactness of the spline.
    angles = 2.0 * np.pi * np.arange(24) / 24
    loop = 20.0 * np.stack([-np.cos(angles), np.sin(angles)], axis=1)
    path = Curve(loop, closed=True).path()
    for offset in (19.99, 20.0, 20.005):
        lines = road_shape.lines_beside(path, offset)
        assert lines
        for line in lines:
            assert np.hypot(*np.diff(line, axis=0).T).min() >= 0.01
