"""The camera of a recording, found from its frames: projection, line detector and fit."""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from donkey_rl.envs.recordings import formats, trace
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.scenery import Stripe
from donkey_rl.experiments.fidelity import (
    camera_fit,
    frames,
    line_fit,
    lines,
    pairs,
    poses,
    projection,
)
from donkey_rl.experiments.fidelity.line_fit import Guess, Sample
from donkey_rl.experiments.fidelity.lines import PaintedLine, Seen
from donkey_rl.experiments.fidelity.poses import FloatArray, Poses
from tests import synthetic_recordings as synthetic
from tests.synthetic_recordings import Drive, Recorder

TRACK = "generated_track"
CAMERA = CameraConfig(rot_x=12.0, fov=80.0, offset_y=1.27)
YELLOW, WHITE, ROAD = (226.0, 180.0, 78.0), (240.0, 244.0, 244.0), (140.0, 145.0, 152.0)
CAR = vehicles.load("donkey_2021")
EXACT = Recorder()


@functools.cache
def drive(seconds: float = 14.0, camera: CameraConfig = CAMERA) -> Drive:
    return synthetic.drive(seconds, track=TRACK, camera=camera, vehicle="donkey_2021")


@pytest.fixture(scope="module")
def folder() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)


def recorded(
    folder: pathlib.Path, truth: Drive, recorder: Recorder = EXACT
) -> tuple[Recording, Trace]:
    (found,) = formats.read(synthetic.write_csv(truth, folder, recorder))
    return found, trace.trace(found)


@pytest.fixture(scope="module")
def delayed(folder: pathlib.Path) -> tuple[Recording, Trace]:
    # Two messages are 0.1 s.
    return recorded(folder / "delayed", drive(), Recorder(frame_delay=2))


@pytest.fixture(scope="module")
def small(folder: pathlib.Path) -> tuple[Recording, Trace]:
    return recorded(folder / "small", drive(14.0, synthetic.SMALL))


def pose(**values: float) -> Poses:
    fields = {field.name: np.array([0.0]) for field in dataclasses.fields(Poses)}
    given = {name: np.array([value]) for name, value in values.items()}
    return dataclasses.replace(Poses(**{**fields, "record": np.array([0])}), **given)


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


# Poses.


def test_the_body_is_where_it_was(delayed: tuple[Recording, Trace]) -> None:
    truth = drive()
    records = np.arange(20, len(truth) - 20)
    # A frame that is two records old shows the place of two records before.
    found = poses.at(*delayed, CAR, records, lag=0.1)
    then = truth.motion[records - 2]
    assert found.known.all()
    assert np.hypot(found.x - then[:, 0], found.z - then[:, 1]).max() < 0.05
    assert np.abs(found.yaw - then[:, 2]).max() < 0.03
    assert np.median(np.abs(found.yaw - then[:, 2])) < 0.004


def test_the_body_leans_outwards_and_back(delayed: tuple[Recording, Trace]) -> None:
    truth = drive()
    records = np.arange(20, len(truth) - 20)
    found = poses.at(*delayed, CAR, records)
    rate = truth.motion[records, 5]
    roll, pitch = CAR.lean_gains
    right = rate > 0.3
    assert right.sum() > 20
    push = truth.speed[records] * rate
    assert found.roll[right] == pytest.approx(roll * push[right], abs=0.35 * roll * push.max())
    # While it gains speed from a standstill its nose is up.
    assert (poses.at(*delayed, CAR, np.arange(8, 20)).pitch < -0.5 * pitch).all()


def test_a_car_that_never_moves_has_no_direction(delayed: tuple[Recording, Trace]) -> None:
    recording = delayed[0]
    parked = dataclasses.replace(
        recording,
        position=np.repeat(recording.position[:1], len(recording), axis=0),
        speed=np.zeros(len(recording)),
    )
    assert not poses.at(parked, trace.trace(parked), CAR, np.arange(50)).known.any()


def test_slip_is_the_inverse_of_the_tyre_curve() -> None:
    # u = 0.5 gives 1.5 * 0.5 - 0.5 * 0.125 = 0.6875 of the grip.
    grip = CAR.friction_lateral * vehicles.GRAVITY
    push = np.array([0.6875 * grip, -0.6875 * grip, 0.0, 1e3])
    slip = poses.slip_angle(CAR, push, 1.0)
    assert slip == pytest.approx([0.1, -0.1, 0.0, 0.2], abs=1e-3)


# The fit.


@pytest.mark.parametrize(
    "start", [CameraConfig(), CameraConfig(fov=110.0, rot_x=20.0)], ids=["usual", "far off"]
)
def test_a_known_camera_is_found_again(
    delayed: tuple[Recording, Trace], start: CameraConfig
) -> None:
    found = camera_fit.estimate(*delayed, tracks.load(TRACK), CAR, start)
    assert found.reason is None
    assert found.camera is not None
    figures = found.figures
    assert figures["rot_x"].value == pytest.approx(12.0, abs=0.4)
    assert figures["fov"].value == pytest.approx(80.0, abs=1.2)
    assert figures["offset_y"].value == pytest.approx(1.27, abs=0.03)
    assert figures["offset_x"].value == pytest.approx(0.0, abs=0.03)
    assert figures["rot_y"].value == pytest.approx(0.0, abs=0.5)
    assert figures["rot_z"].value == pytest.approx(0.0, abs=0.4)
    assert figures["lag_s"].value == pytest.approx(0.1, abs=0.025)
    assert found.lag_s == figures["lag_s"].value
    assert found.points > 1000
    assert found.residual_px is not None
    assert found.residual_px < 1.0
    # 60 - 60 / tan(40 deg) * tan(12 deg)
    assert found.horizon_row == pytest.approx(44.8, abs=0.4)
    assert (found.camera.img_h, found.camera.img_w) == (120, 160)
    assert found.camera.rot_x == figures["rot_x"].value
    for name in ("rot_x", "fov", "offset_y", "lag_s"):
        low, high = figures[name].low, figures[name].high
        assert low is not None
        assert high is not None
        assert low < figures[name].value < high


def test_intervals_count_frames_that_err_together_once(small: tuple[Recording, Trace]) -> None:
    chosen = frames.choose(*small, tracks.load(TRACK), CAR, 100)
    assert isinstance(chosen, frames.Frames)
    laid = lines.layout(chosen.track)
    guess = Guess(projection.mounting(synthetic.SMALL), 0.0)
    seen = laid.seen(chosen.poses(0.0), guess.camera, chosen.size)
    must = lines.inside(seen, chosen.size)
    # All places of a frame are off by the same normal deviate of 0.5 columns; a turn by one
    # radian moves a place by 24 columns in the middle of the image, at most twice that beside.
    off = np.random.default_rng(4).normal(0.0, 0.5, (1, len(chosen), 1))
    column = np.where(must, seen.column + off, np.nan)
    sample = Sample(column, np.ones_like(column))
    (low, high) = line_fit.ranges(chosen, laid, guess, sample, ("yaw",))["yaw"]
    expected = 2.09 * 0.5 / 24.0 / math.sqrt(len(chosen))
    assert 0.4 * expected < 0.5 * (high - low) < 1.5 * expected
    # Were every place an error of its own, some 20 in a frame, it would be a quarter of that.
    assert must.sum() > 20 * len(chosen)


def spoilt(recording: Recording, folder: pathlib.Path, way: str) -> Recording:
    count = len(recording)
    images: tuple[pathlib.Path | None, ...] = recording.frames
    if way == "none":
        images = (None,) * count
    if way == "few":
        images = (*images[100:105], *(None,) * (count - 5))
    if way == "frozen":
        images = (images[150],) * count
    if way == "of another place":
        images = images[count // 3 :] + images[: count // 3]
    if way in ("black", "noise"):
        drawn = []
        for k in range(60):
            file = folder / f"{way}{k}.png"
            pixels = np.full((48, 64, 3), k % 9, dtype=np.uint8)
            if way == "noise":
                pixels = np.random.default_rng(k).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)
            drawn.append(file)
        images = tuple(drawn[k % 60] for k in range(count))
    if way == "huge":
        file = folder / "huge.png"
        Image.new("RGB", (1024, 600)).save(file)
        images = (file,) * count
    if way == "not on disk":
        images = (folder / "missing.jpg",) * count
    changed = dataclasses.replace(recording, frames=images)
    if way == "no places":
        nowhere = np.full_like(recording.position, np.nan)
        changed = dataclasses.replace(changed, position=nowhere)
    if way == "straight road":
        kept = tuple(image if k < 60 else None for k, image in enumerate(images))
        changed = dataclasses.replace(changed, frames=kept)
    return changed


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("none", "at least 8 records with a camera frame"),
        ("few", "at least 8 records with a camera frame"),
        ("not on disk", "none of the frames can be read"),
        ("huge", "16 to 512 pixels"),
        ("no places", "whose place is known"),
        ("frozen", "different frames"),
        ("straight road", "bends are needed"),
        ("black", "only 0 places of painted lines"),
        ("noise", "no camera explains|ran into the limit|does not tell"),
        ("of another place", "no camera explains|ran into the limit|does not tell"),
    ],
)
def test_what_cannot_be_estimated_is_refused_with_a_reason(
    small: tuple[Recording, Trace], tmp_path: pathlib.Path, way: str, said: str
) -> None:
    bad = spoilt(small[0], tmp_path, way)
    found = camera_fit.estimate(bad, trace.trace(bad), tracks.load(TRACK), CAR)
    assert found.camera is None
    assert found.lag_s is None
    assert not found.figures
    assert found.reason is not None
    assert any(part in found.reason for part in said.split("|")), found.reason


def test_other_roads_and_cameras_are_refused(small: tuple[Recording, Trace]) -> None:
    road = tracks.load(TRACK)
    found = camera_fit.estimate(*small, road.mirrored(), CAR)
    assert found.reason is not None
    assert "name the track that was driven" in found.reason
    bare = dataclasses.replace(road, stripes=(Stripe(-7.0, 3.0, "road"),))
    assert "no painted lines" in (camera_fit.estimate(*small, bare, CAR).reason or "")
    lens = CameraConfig(fish_eye_x=0.4)
    assert "fish-eye" in (camera_fit.estimate(*small, road, CAR, lens).reason or "")


def test_frames_are_chosen_evenly(small: tuple[Recording, Trace]) -> None:
    chosen = frames.choose(*small, tracks.load(TRACK), CAR, 20)
    assert isinstance(chosen, frames.Frames)
    assert len(chosen) == 20
    assert chosen.images.shape == (20, 48, 64, 3)
    steps = np.diff(chosen.record)
    assert steps.max() - steps.min() <= 1
    assert len(chosen.some(7)) == 7
