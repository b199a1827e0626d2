"""The picture of the embedded simulator against a recording's: horizon, lines, colours, sheet."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image, ImageFilter

from donkey_rl import errors
from donkey_rl.envs.recordings import formats, trace
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.experiments.fidelity import pairs, picture, sheet, surfaces, vanishing
from donkey_rl.experiments.fidelity.pairs import Pairs
from donkey_rl.experiments.fidelity.picture import PictureReport
from donkey_rl.experiments.fidelity.poses import Poses
from donkey_rl.experiments.fidelity.projection import Mounting
from tests import synthetic_recordings as synthetic
from tests.synthetic_recordings import Drive, Recorder

TRACK = "generated_track"
CAMERA = CameraConfig(rot_x=13.0, fov=84.0)
CAR = vehicles.load("donkey_2021")


@functools.cache
def drive(camera: CameraConfig = CAMERA) -> Drive:
    return synthetic.drive(14.0, track=TRACK, camera=camera, vehicle="donkey_2021")


@pytest.fixture(scope="module")
def folder() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)


@pytest.fixture(scope="module")
def recorded(folder: pathlib.Path) -> tuple[Recording, Trace]:
    written = synthetic.write_csv(drive(), folder / "drive", Recorder(frame_delay=2))
    (found,) = formats.read(written)
    return found, trace.trace(found)


@pytest.fixture(scope="module")
def small(folder: pathlib.Path) -> tuple[Recording, Trace]:
    (found,) = formats.read(synthetic.write_csv(drive(synthetic.SMALL), folder / "small"))
    return found, trace.trace(found)


@pytest.fixture(scope="module")
def same(recorded: tuple[Recording, Trace]) -> Pairs:
    made = pairs.pair(*recorded, tracks.load(TRACK), CAR, CAMERA)
    assert isinstance(made, Pairs)
    return made


@pytest.fixture(scope="module")
def report(same: Pairs) -> PictureReport:
    return picture.measure(same)


def seen_as(made: Pairs, camera: CameraConfig, road: Track | None = None) -> PictureReport:
    """What is measured when the embedded simulator has another camera or track."""
    track = road or made.frames.track
    drawn = camera.model_copy(update={"img_h": made.camera.img_h, "img_w": made.camera.img_w})
    images = pairs.draw(made.poses, track, CAR, drawn)
    return picture.measure(dataclasses.replace(made, camera=drawn, embedded=images))


# The same simulator on both sides.


def test_the_same_camera_differs_by_next_to_nothing(report: PictureReport) -> None:
    assert report.reason is None
    assert report.size == (120, 160)
    assert report.frames == 200
    assert report.horizon_px is not None
    assert report.horizon_px < 0.5
    assert report.centre_line_px is not None
    assert report.centre_line_px < 0.6
    assert report.edge_line_px is not None
    assert report.edge_line_px < 0.6
    for line in report.lines:
        assert line.reason is None
        assert line.found > 0.7
        assert line.bias_px is not None
        assert abs(line.bias_px) < 0.3
    assert {"road", "edge_line", "centre_line", "verge", "sky"} <= report.colours.keys()
    for name, colours in report.colours.items():
        # JPEG spreads the colours of thin paint.
        assert colours.distance < (30.0 if name.endswith("line") else 6.0), name
    assert report.sharpness is not None
    assert report.sharpness.ratio == pytest.approx(1.0, abs=0.15)


def test_the_report_is_plain_data(report: PictureReport) -> None:
    loaded = json.loads(json.dumps(report.model_dump(mode="json"), allow_nan=False))
    assert loaded["centre_line_px"] == report.centre_line_px
    assert loaded["estimate"]["camera"]["img_w"] == 160
    assert [line["name"] for line in loaded["lines"]][1] == "centre_line"


def test_lines_are_measured_below_the_horizon(report: PictureReport) -> None:
    assert report.horizon is not None
    # 60 - 60 / tan(42 deg) * tan(13 deg)
    assert report.horizon.embedded_row == pytest.approx(44.62, abs=0.01)
    for line in report.lines:
        assert line.bands[0].first_row == 45
        assert line.bands[-1].last_row == 119
        assert sum(band.places for band in line.bands) > 300


# What differs is found, and by how much.


def test_another_pitch_is_seen(same: Pairs, report: PictureReport) -> None:
    other = seen_as(same, CAMERA.model_copy(update={"rot_x": 17.0}))
    # 66.64 * (tan(17 deg) - tan(13 deg)) = 4.99 rows.
    assert other.horizon is not None
    assert other.horizon.difference_px == pytest.approx(4.99, abs=0.5)
    assert other.horizon.meeting_px == pytest.approx(4.99, abs=0.7)
    assert other.horizon.meeting_bias_px == pytest.approx(-4.99, abs=0.7)
    assert other.horizon_px == other.horizon.difference_px
    for new, old in zip(other.lines, report.lines, strict=True):
        assert new.median_px is not None
        assert old.median_px is not None
        assert new.median_px > 3.0 > 3.0 * old.median_px


def test_a_camera_beside_its_place_shifts_lines_to_the_other_side(same: Pairs) -> None:
    other = seen_as(same, CAMERA.model_copy(update={"offset_x": 0.4}))
    for line in other.lines:
        assert line.bias_px is not None
        # 0.4 u to the right at 2 to 20 u: 1 to 13 columns to the left.
        assert -14.0 < line.bias_px < -1.0


def test_colours_are_compared_surface_by_surface(same: Pairs, report: PictureReport) -> None:
    road = tracks.load(TRACK)
    dark = dict(road.look.colours)
    for name in ("road", "road_grain"):
        red, green, blue = dark[name]
        dark[name] = (red - 40, green - 40, blue - 40)
    look = dataclasses.replace(road.look, colours=dark)
    other = seen_as(same, CAMERA, dataclasses.replace(road, look=look)).colours
    assert other["road"].distance == pytest.approx(40.0, abs=6.0)
    for before, after in zip(
        report.colours["road"].embedded.median, other["road"].embedded.median, strict=True
    ):
        assert before - after == pytest.approx(40.0, abs=6.0)
    for name in ("sky", "verge"):
        assert other[name].distance == pytest.approx(report.colours[name].distance, abs=1.0)


def test_a_blurred_recording_is_less_sharp(same: Pairs) -> None:
    soft = [
        np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.0)))
        for image in same.frames.images
    ]
    blurred = dataclasses.replace(same.frames, images=np.array(soft))
    figures = picture.measure(dataclasses.replace(same, frames=blurred)).sharpness
    assert figures is not None
    assert figures.ratio > 2.0
    assert figures.recorded < figures.embedded


# Recordings that allow little or nothing.


def test_frames_of_another_size(small: tuple[Recording, Trace]) -> None:
    found = picture.compare(*small, tracks.load(TRACK), CAR)
    assert found.reason is None
    assert found.size == (48, 64)
    assert found.horizon_px is not None
    assert found.horizon_px < 0.4
    assert found.edge_line_px is not None
    assert found.edge_line_px < 0.5


def test_on_straight_road_what_needs_no_estimate_is_measured(
    small: tuple[Recording, Trace],
) -> None:
    recording, known = small
    kept = tuple(frame if k < 60 else None for k, frame in enumerate(recording.frames))
    straight = dataclasses.replace(recording, frames=kept)
    camera = synthetic.SMALL.model_copy(update={"rot_x": 20.0})
    found = picture.compare(straight, known, tracks.load(TRACK), CAR, camera)
    assert found.reason is None
    assert found.estimate.reason is not None
    assert "bends are needed" in found.estimate.reason
    assert found.horizon is not None
    assert found.horizon.difference_px is None
    assert found.horizon.reason is not None
    # 24 * (tan(20 deg) - tan(15 deg)) = 2.30 rows.
    assert found.horizon_px == found.horizon.meeting_px == pytest.approx(2.30, abs=0.4)
    assert found.centre_line_px is not None
    assert found.centre_line_px > 1.0


def nothing(recording: Recording) -> Recording:
    return dataclasses.replace(recording, frames=(None,) * len(recording))


def lost(recording: Recording) -> Recording:
    return dataclasses.replace(recording, position=np.full_like(recording.position, np.nan))


def missing(recording: Recording) -> Recording:
    files = (pathlib.Path("nowhere.jpg"),) * len(recording)
    return dataclasses.replace(recording, frames=files)


def empty(recording: Recording) -> Recording:
    none = np.zeros(0)
    return Recording("empty", none, np.zeros((0, 3)), none, none, none, none, ())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (nothing, "camera frame"),
        (lost, "whose place is known"),
        (missing, "none of the frames can be read"),
        (empty, "camera frame"),
    ],
)
def test_poor_recordings_give_a_reason(
    small: tuple[Recording, Trace], spoil: Callable[[Recording], Recording], said: str
) -> None:
    bad = spoil(small[0])
    found = picture.compare(bad, trace.trace(bad), tracks.load(TRACK), CAR)
    assert found.reason is not None
    assert said in found.reason
    assert found.frames == 0
    assert found.horizon_px is None
    assert found.centre_line_px is None
    assert not found.colours


def test_another_track_gives_a_reason(small: tuple[Recording, Trace]) -> None:
    found = picture.compare(*small, tracks.load("mountain_track"), CAR)
    assert found.reason is not None
    assert "name the track that was driven" in found.reason or "only" in found.reason
    assert not found.lines
    assert not found.colours


def test_fish_eye_leaves_the_lines_out(small: tuple[Recording, Trace]) -> None:
    camera = synthetic.SMALL.model_copy(update={"fish_eye_x": 0.4, "fish_eye_y": 0.7})
    found = picture.compare(*small, tracks.load(TRACK), CAR, camera)
    assert found.reason is None
    assert found.horizon_px is None
    assert all("fish-eye" in (line.reason or "") for line in found.lines)
    assert found.colours["road"].distance < 12.0


def test_too_few_places_give_no_figure(same: Pairs) -> None:
    blank = np.zeros_like(same.embedded)
    found = picture.measure(dataclasses.replace(same, embedded=blank))
    assert found.centre_line_px is None
    assert found.lines[1].found == 0.0
    assert "only 0 rows" in (found.lines[1].reason or "")
    assert found.horizon is not None
    assert found.horizon.meeting_px is None


# Parts, by hand.


def test_where_lines_meet() -> None:
    centre = np.arange(120) + 0.5
    column = np.full((3, 2, 120), np.nan)
    for k, slope in enumerate((-2.0, 0.3, 1.5)):
        column[k, :, 60:] = 75.0 + slope * (centre[60:] - 41.3)
    column[0, 0, 70:75] += 9.0
    none = np.zeros(2)
    poses = Poses(np.arange(2), none, none, none, none, none, none, none)
    camera = Mounting(0.0, 1.6, 0.5, 0.2, 0.0, 0.0, 1.5)
    met = vanishing.rows(column, np.array([30.0, 0.0]), (poses, camera, (120, 160)))
    assert met[0] == pytest.approx(41.3, abs=0.1)
    assert math.isnan(met[1])


def test_where_the_road_is_straight() -> None:
    road = tracks.load(TRACK)
    # From its start the road is straight for 20 u, then it turns to the right.
    arc = np.array([3.0, 25.0])
    x, z, yaw = road.path.at(arc)
    none = np.zeros(2)
    where = Poses(np.arange(2), x, z, yaw, none, none, none, none)
    reach = vanishing.straight_ahead(road, where)
    assert 14.0 <= reach[0] <= 21.0
    assert reach[1] == 0.0


def test_distance_between_colours() -> None:
    first = np.tile(np.array([100, 100, 100], dtype=np.uint8), (300, 1))
    second = first + np.array([10, 20, 30], dtype=np.uint8)
    found = surfaces.compare_colours(first, second)
    assert found is not None
    # (10 + 20 + 30) / 3
    assert found.distance == pytest.approx(20.0)
    assert found.recorded.median == (100.0, 100.0, 100.0)
    assert found.embedded.high == (110.0, 120.0, 130.0)
    assert surfaces.compare_colours(first[:100], second) is None
    # Half of the pixels 40 brighter: 20 in the mean, though the median does not tell.
    half = first.copy()
    half[:150] += 40
    spread = surfaces.compare_colours(first, half)
    assert spread is not None
    assert spread.distance == pytest.approx(20.0, abs=0.3)


def test_laplacian_by_hand() -> None:
    image = np.zeros((1, 5, 5, 3), dtype=np.uint8)
    image[0, 2, 2] = 100
    expected = np.zeros((5, 5))
    expected[2, 2], expected[1, 2], expected[3, 2], expected[2, 1], expected[2, 3] = (
        400.0, 100.0, 100.0, 100.0, 100.0,
    )  # fmt: skip
    assert surfaces.laplacian(image)[0] == pytest.approx(expected)


# The sheet.


def test_a_sheet_of_pairs(same: Pairs, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "sheet.png"
    sheet.save(file, same, count=4, columns=2, enlarged=2)
    with Image.open(file) as opened:
        drawn = np.asarray(opened.convert("RGB"))
    # Two pairs beside each other, two below each other.
    assert drawn.shape == (2 * (240 + 22), 2 * (640 + 12), 3)
    first = drawn[16 : 16 + 240 : 2, 0:320:2]
    second = drawn[16 : 16 + 240 : 2, 322 : 322 + 320 : 2]
    assert (first == same.frames.images[0]).all()
    assert (second == same.embedded[0]).all()


def test_a_sheet_that_cannot_be_written(same: Pairs, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.StorageError, match="could not be written"):
        sheet.save(tmp_path / "missing" / "sheet.png", same)
