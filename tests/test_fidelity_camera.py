"""The camera of a recording, found from its frames: poses and fit."""

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
    poses,
    projection,
)
from donkey_rl.experiments.fidelity.line_fit import Guess, Sample
from tests import synthetic_recordings as synthetic
from tests.posed_cameras import CAMERA, CAR, TRACK
from tests.synthetic_recordings import Drive, Recorder

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
