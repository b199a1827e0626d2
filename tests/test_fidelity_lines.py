"""Painted lines of a track: where a camera sees them, and where an image shows them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.scenery import Stripe
from donkey_rl.experiments.fidelity import (
    lines,
    pairs,
    projection,
)
from donkey_rl.experiments.fidelity.lines import PaintedLine, Seen
from donkey_rl.experiments.fidelity.poses import FloatArray, Poses
from tests.posed_cameras import CAMERA, CAR, ROAD, TRACK, WHITE, YELLOW, pose

# Projection.


def test_a_ground_point_by_hand() -> None:
    camera = projection.Mounting(0.0, 2.0, 0.0, 0.0, 0.0, 0.0, math.radians(90.0))
    view = projection.sight(pose(x=1.0, z=5.0), camera, (120, 160))
    # Focal length 60: 10 u ahead, 2 u to the right, 2 u below: 12 columns and 12 rows.
    found = projection.pixels(view, np.array([[[3.0, 15.0]]]))
    assert found[0, 0] == pytest.approx([92.0, 72.0])


def test_signs_of_the_angles() -> None:
    straight = projection.mounting(CameraConfig(offset_z=0.0))
    ahead = np.array([[[0.0, 10.0]]])

    def place(camera: projection.Mounting = straight, **values: float) -> FloatArray:
        found = projection.pixels(projection.sight(pose(**values), camera, (120, 160)), ahead)
        return np.asarray(found[0, 0])

    base = place()
    assert base[0] == pytest.approx(80.0)
    # The nose up, or the camera less pitched: what is seen moves down.
    assert place(pitch=-0.05)[1] > base[1] + 2.0
    assert place(dataclasses.replace(straight, pitch=straight.pitch - 0.05))[1] > base[1] + 2.0
    # A turn to the right: it moves to the left.
    assert place(yaw=0.05)[0] < base[0] - 2.0
    assert place(dataclasses.replace(straight, yaw=0.05))[0] < base[0] - 2.0
    # The right side up: what lies in the right half moves down.
    ahead = np.array([[[5.0, 10.0]]])
    assert place(roll=0.05)[1] > place()[1] + 1.0
    assert place(dataclasses.replace(straight, roll=0.05))[1] > place()[1] + 1.0


@pytest.mark.parametrize("lean", [(0.0, 0.0), (0.08, -0.03)], ids=["level", "leaning"])
def test_lines_are_drawn_where_they_are_predicted(lean: tuple[float, float]) -> None:
    road = tracks.load(TRACK)
    camera = CameraConfig(offset_x=0.4, rot_y=4.0, rot_z=-3.0, rot_x=13.0, fov=85.0)
    arc = np.arange(0.0, road.length, 7.0)
    x, z = road.path.beside(arc, np.resize([-4.0, -1.0, 1.0], len(arc))).T
    yaw, count = road.path.at(arc)[2], len(arc)
    where = Poses(
        np.arange(count), x, z, yaw, np.zeros(count), np.zeros(count),
        np.full(count, lean[0]), np.full(count, lean[1]),
    )  # fmt: skip
    drawn = pairs.draw(where, road, CAR, camera)
    laid = lines.layout(road)
    expected = laid.seen(where, projection.mounting(camera), (120, 160))
    found, _ = lines.find(drawn, laid.lines, expected, window=8.0)
    assert len(laid.lines) == 3
    for gap, must in zip(found - expected.column, lines.inside(expected, (120, 160)), strict=True):
        known = np.isfinite(gap)
        assert known.sum() > 0.7 * must.sum() > 200
        assert abs(np.median(gap[known])) < 0.3
        assert np.median(np.abs(gap[known])) < 0.7


def test_lines_behind_and_beside_the_camera_are_left_out() -> None:
    road = tracks.load(TRACK)
    # Beside the road, looking away from it, then somewhere unknown.
    away = pose(x=-60.0, z=20.0, yaw=-math.pi / 2.0)
    laid = lines.layout(road)
    size = (120, 160)
    assert not lines.inside(laid.seen(away, projection.mounting(CAMERA), size), size).any()
    unknown = laid.seen(pose(x=math.nan), projection.mounting(CAMERA), size)
    assert np.isnan(unknown.column).all()


def test_an_open_road_does_not_return_to_its_start() -> None:
    road = tracks.load("generated_road")
    start = lines.corners(road, 0.0)
    assert np.isnan(start[-1]).all()
    assert np.isfinite(start[:-1]).all()
    assert np.isfinite(lines.corners(tracks.load(TRACK), 0.0)).all()


# Lines of a track.


def test_names_of_lines_from_left_to_right() -> None:
    road = tracks.load(TRACK)
    names = ["left_edge_line", "centre_line", "right_edge_line"]
    assert [line.name for line in lines.painted(road)] == names
    mirrored = lines.painted(road.mirrored())
    assert [line.name for line in mirrored] == names
    assert mirrored[0].lateral == pytest.approx(-lines.painted(road)[2].lateral)
    double = dataclasses.replace(
        road,
        stripes=(Stripe(-2.6, -2.4, "centre_line"), Stripe(-2.1, -1.9, "centre_line")),
    )
    assert [line.name for line in lines.painted(double)] == ["centre_line", "centre_line_2"]


def test_lines_are_named_by_place_not_by_colour() -> None:
    road = tracks.load("mountain_track")
    found = {line.name: line for line in lines.painted(road)}
    assert found["left_edge_line"].material == "centre_line"  # yellow
    assert found["left_edge_line"].lateral < -4.0
    assert found["right_edge_line"].lateral > 4.0


def test_lines_are_straight_from_node_to_node() -> None:
    road = tracks.load(TRACK)
    kinked, smooth = (
        lines.corners(road, 2.0),
        lines.corners(dataclasses.replace(road, quads=False), 2.0),
    )
    assert len(kinked) == len(road.nodes) - 1  # the last lies beside the first
    assert road.path.locate(kinked)[1] == pytest.approx(2.0, abs=0.3)
    assert road.path.locate(smooth)[1] == pytest.approx(2.0, abs=0.02)
    # Between nodes 2 u apart on a radius of 7.5 u, a chord lies 2**2 / (8 * 7.5) = 0.07 u inside.
    middle = 0.5 * (kinked + np.roll(kinked, -1, axis=0))
    inside = road.path.locate(middle)[1] - 0.5 * (
        road.path.locate(kinked)[1] + road.path.locate(np.roll(kinked, -1, axis=0))[1]
    )
    turning = np.interp(
        road.path.locate(middle)[0],
        np.arange(len(road.path.points)) * road.path.spacing,
        road.path.curvature,
    )
    assert np.median(inside[turning > 0.1]) == pytest.approx(0.04, abs=0.03)
    assert abs(np.median(inside[np.abs(turning) < 0.01])) < 0.01


# The detector.


def painted_image(colour: tuple[float, ...], middle: float, width: float) -> np.ndarray:
    """A gray image with a vertical line whose edges lie between pixels."""
    share = np.zeros(160)
    for column in range(160):
        low, high = max(column, middle - width / 2), min(column + 1, middle + width / 2)
        share[column] = max(0.0, high - low)
    row = np.array(ROAD) + share[:, None] * (np.array(colour) - ROAD)
    return np.broadcast_to(np.rint(row), (1, 120, 160, 3)).astype(np.uint8)


def look(image: np.ndarray, at: float, width: float, colour: tuple[float, ...]) -> FloatArray:
    shape = (1, 1, 120)
    expected = Seen(np.full(shape, at), np.full(shape, width), np.zeros(shape))
    line = PaintedLine("line", "edge_line", 0.0, 0.1, np.array(colour) - ROAD)
    return np.asarray(lines.find(image, (line,), expected, window=10.0)[0][0, 0])


@pytest.mark.parametrize("colour", [YELLOW, WHITE], ids=["yellow", "white"])
@pytest.mark.parametrize(("middle", "width"), [(60.0, 6.0), (71.3, 4.0), (40.6, 2.0)])
def test_a_line_is_found_within_a_part_of_a_pixel(
    colour: tuple[float, ...], middle: float, width: float
) -> None:
    image = painted_image(colour, middle, width)
    for off in (-7.0, 0.0, 6.0):
        assert look(image, middle + off, width, colour) == pytest.approx(middle, abs=0.1)


def test_a_line_between_two_surfaces_is_not_pulled_aside() -> None:
    image = painted_image(WHITE, 80.0, 5.0)
    image[:, :, 83:] = (100, 100, 80)
    # The last column of the line is half on the other surface.
    image[:, :, 82] = (170, 172, 162)
    assert look(image, 78.0, 5.0, WHITE) == pytest.approx(80.0, abs=0.15)


def test_gray_images_are_searched_by_brightness() -> None:
    image = painted_image(YELLOW, 80.3, 4.0).mean(axis=3, keepdims=True)
    gray = np.repeat(image, 3, axis=3).astype(np.uint8)
    assert look(gray, 76.0, 4.0, YELLOW) == pytest.approx(80.3, abs=0.15)


def step_edge() -> np.ndarray:
    image = np.full((1, 120, 160, 3), ROAD, dtype=np.uint8)
    image[:, :, 80:] = WHITE
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((1, 120, 160, 3), ROAD, dtype=np.uint8), 80.0),
        (step_edge(), 80.0),
        (painted_image((158.0, 62.0, 54.0), 80.0, 5.0), 80.0),
        (painted_image((60.0, 60.0, 60.0), 80.0, 5.0), 80.0),
        (painted_image(YELLOW, 80.0, 5.0), 120.0),
        (painted_image(YELLOW, 1.0, 5.0), 1.0),
        (painted_image(YELLOW, 80.0, 5.0), math.nan),
    ],
    ids=["plain", "edge", "cone", "shadow", "elsewhere", "at the border", "unknown"],
)
def test_no_line_is_found_where_there_is_none(image: np.ndarray, expected: float) -> None:
    assert np.isnan(look(image, expected, 5.0, YELLOW)).all()


def test_lines_along_a_row_or_too_thin_are_not_looked_for() -> None:
    image = painted_image(WHITE, 80.0, 5.0)
    line = PaintedLine("line", "edge_line", 0.0, 0.1, np.array(WHITE) - ROAD)
    shape = (1, 1, 120)
    middle = np.full(shape, 80.0)
    for width, slope in ((5.0, 9.0), (0.3, 0.0), (70.0, 0.0)):
        seen = Seen(middle, np.full(shape, width), np.full(shape, slope))
        assert np.isnan(lines.find(image, (line,), seen, window=5.0)[0]).all()
