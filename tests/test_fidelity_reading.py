"""What is read from recorded frames against where the car was."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.envs.labels import LANE_LABELS
from donkey_rl.envs.recordings import trace as traces
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.experiments import lane_training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.fidelity import pairs, poses, reading
from donkey_rl.experiments.fidelity.reading import ReadingReport
from donkey_rl.experiments.progress import ProgressDisplay
from tests import weaving_recordings as weaving

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TRACK = tracks.load("generated_track")
CAR = vehicles.load("donkey_2021")
DRIVE = weaving.weave(TRACK)
COUNT = len(DRIVE.recording)


class Told:
    """Reads the number of a coded frame and says what it was told of that record.

    Attributes:
        seen: Number of each frame that it was shown.
        parts: How many at a time.
    """

    def __init__(self, lateral: FloatArray = DRIVE.lateral, heading: FloatArray = DRIVE.heading):
        self._lateral, self._heading = lateral, heading
        self.seen: list[int] = []
        self.parts: list[int] = []

    def predict_labels(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        number = weaving.numbers(images)
        self.seen += number.tolist()
        self.parts.append(len(number))
        labels = np.zeros((len(number), len(LANE_LABELS)), dtype=np.float32)
        labels[:, LANE_LABELS.index("left_edge")] = self._lateral[number] - TRACK.road_left
        labels[:, LANE_LABELS.index("right_edge")] = TRACK.road_right - self._lateral[number]
        labels[:, LANE_LABELS.index("heading_error")] = self._heading[number]
        return labels


@pytest.fixture(scope="module")
def frames() -> Iterator[tuple[pathlib.Path, ...]]:
    """Frames that show their own number."""
    with tempfile.TemporaryDirectory() as name:
        yield weaving.coded_frames(pathlib.Path(name) / "frames", COUNT)


@pytest.fixture
def recording(frames: tuple[pathlib.Path, ...]) -> Recording:
    return dataclasses.replace(DRIVE.recording, frames=frames)


def compare(reader: reading.Reader, recording: Recording) -> ReadingReport:
    return reading.compare(reader, recording, traces.trace(recording), TRACK, CAR)


def correlation(report: ReadingReport) -> float:
    assert report.lateral_offset.correlation is not None
    return report.lateral_offset.correlation


# Readers whose errors are known.


def test_who_knows_the_truth_reads_it(recording: Recording) -> None:
    report = compare(Told(), recording)
    assert report.reason is None
    assert report.frames == COUNT
    offset = report.lateral_offset
    assert offset.correlation == pytest.approx(1.0, abs=1e-4)
    assert offset.rmse == pytest.approx(0.0, abs=0.01)
    assert offset.bias == pytest.approx(0.0, abs=0.01)
    assert offset.lag_s == 0.0
    assert report.heading.correlation is not None
    # The body points less into the bend than the way: it slips.
    assert report.heading.correlation > 0.98
    assert report.heading.rmse is not None
    assert report.heading.rmse < 0.1


def test_bias_and_noise_show_in_the_errors(recording: Recording) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.4, COUNT)
    offset = compare(Told(DRIVE.lateral + noise + 0.3), recording).lateral_offset
    assert offset.bias == pytest.approx(0.3, abs=0.07)
    # sqrt(0.3^2 + 0.4^2)
    assert offset.rmse == pytest.approx(0.5, abs=0.04)
    # A sine of 2 u has a variance of 2: sqrt(2 / (2 + 0.16)) = 0.962.
    assert offset.correlation == pytest.approx(0.962, abs=0.015)
    assert offset.lag_s == pytest.approx(0.0, abs=0.05)


def test_errors_of_the_heading_are_its_own(recording: Recording) -> None:
    exact, wrong = (
        compare(Told(heading=DRIVE.heading + error), recording).heading for error in (0.0, 0.5)
    )
    assert wrong.correlation == pytest.approx(exact.correlation)
    assert exact.rmse is not None
    assert wrong.rmse == pytest.approx(np.hypot(0.5, exact.rmse), abs=0.02)


@pytest.mark.parametrize("late", [-5, 5])
def test_frames_that_are_late_or_early_are_found(recording: Recording, late: int) -> None:
    """Five records of 0.06 s: 0.3 s."""
    shown = np.clip(np.arange(COUNT) - late, 0, COUNT - 1)
    moved = dataclasses.replace(recording, frames=tuple(recording.frames[k] for k in shown))
    report = compare(Told(), moved)
    assert report.lateral_offset.lag_s == pytest.approx(0.06 * late)
    assert correlation(report) > 0.999
    by_lag = report.lateral_offset.by_lag
    assert by_lag[f"{0.06 * late:.2f}"] == correlation(report)
    # A wave lasts 25 u / 8 u/s = 3.1 s: without the lag cos(360 deg * 0.3 / 3.1) = 0.82.
    assert by_lag["0.00"] == pytest.approx(0.82, abs=0.03)
    assert len(by_lag) == 17
    assert report.heading.correlation is not None
    assert report.heading.correlation > 0.98


def test_shuffled_frames_say_nothing(recording: Recording) -> None:
    order = np.random.default_rng(1).permutation(COUNT)
    shuffled = dataclasses.replace(recording, frames=tuple(recording.frames[k] for k in order))
    report = compare(Told(), shuffled)
    assert abs(correlation(report)) < 0.2
    # Two sines that have nothing to do with each other: 2 u.
    assert report.lateral_offset.rmse == pytest.approx(2.0, abs=0.3)
    assert report.heading.correlation is not None
    assert abs(report.heading.correlation) < 0.2


def test_who_mistakes_left_for_right_is_found_out(recording: Recording) -> None:
    """The least bad lag is an end of the range: -cos(360 deg * 0.4 / 3.1) = -0.69."""
    report = compare(Told(-DRIVE.lateral, -DRIVE.heading), recording)
    assert correlation(report) == pytest.approx(-0.69, abs=0.05)
    assert report.heading.correlation is not None
    assert report.heading.correlation < 0.0


def test_who_always_says_the_same_has_no_correlation(recording: Recording) -> None:
    report = compare(Told(np.full(COUNT, 0.4), np.zeros(COUNT)), recording)
    assert report.lateral_offset.correlation is None
    assert report.lateral_offset.rmse is None
    assert report.heading.correlation is None
    assert report.reason == "the same lateral offset is read from all frames"


def test_readings_that_are_no_numbers_are_left_out(recording: Recording) -> None:
    lateral = DRIVE.lateral.copy()
    lateral[::4] = np.nan
    report = compare(Told(lateral), recording)
    assert report.frames == COUNT - COUNT // 4
    assert correlation(report) > 0.999
    report = compare(Told(np.full(COUNT, np.nan), np.full(COUNT, np.nan)), recording)
    assert report.lateral_offset.correlation is None
    assert report.reason == f"0 of {COUNT} readings are numbers"


# What is asked of the reader.


def test_frames_are_shown_in_parts_and_in_order(recording: Recording) -> None:
    reader = Told()
    compare(reader, recording)
    assert reader.seen == list(range(COUNT))
    assert reader.parts == [256, COUNT - 256]


def test_of_many_frames_some_are_read_evenly(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MOST_FRAMES", 100)
    reader = Told()
    report = compare(reader, recording)
    assert len(reader.seen) == 100
    assert reader.seen[0] == 0
    assert reader.seen[-1] == COUNT - 1
    assert max(np.diff(reader.seen)) <= 4
    assert correlation(report) > 0.999


def test_frames_outside_a_drive_are_not_read(recording: Recording) -> None:
    position = recording.position.copy()
    position[:50] = np.nan
    frames = tuple(None if i % 2 else frame for i, frame in enumerate(recording.frames))
    reader = Told()
    compare(reader, dataclasses.replace(recording, position=position, frames=frames))
    assert reader.seen == list(range(50, COUNT, 2))


# What the truth is made of.


def test_without_a_cte_the_places_tell_the_offset(recording: Recording) -> None:
    report = compare(Told(), dataclasses.replace(recording, cte=np.full(COUNT, np.nan)))
    assert correlation(report) > 0.999
    assert report.lateral_offset.rmse == pytest.approx(0.0, abs=0.03)


def test_the_recorded_cte_goes_first(recording: Recording) -> None:
    report = compare(Told(), dataclasses.replace(recording, cte=recording.cte - 0.7))
    assert report.lateral_offset.bias == pytest.approx(0.7, abs=0.01)


def test_zeros_in_the_cte_are_no_truth(recording: Recording) -> None:
    cte = recording.cte.copy()
    cte[::3] = 0.0
    report = compare(Told(), dataclasses.replace(recording, cte=cte))
    assert correlation(report) > 0.999


def test_a_drive_that_keeps_its_offset_has_no_correlation(
    frames: tuple[pathlib.Path, ...],
) -> None:
    steady = weaving.weave(TRACK, middle=0.5, swing=0.0)
    noise = np.random.default_rng(0).normal(0.0, 0.1, COUNT)
    report = compare(
        Told(steady.lateral + noise, steady.heading),
        dataclasses.replace(steady.recording, frames=frames),
    )
    assert report.lateral_offset.correlation is None
    assert report.reason == "the recorded lateral offset hardly changes"


def test_stale_records_are_interpolated(recording: Recording) -> None:
    """Frames are new with each record, places with every second."""
    held = np.arange(COUNT) // 2 * 2
    stale = dataclasses.replace(
        recording,
        position=recording.position[held],
        speed=recording.speed[held],
        cte=recording.cte[held],
    )
    report = compare(Told(), stale)
    assert correlation(report) > 0.999
    assert report.lateral_offset.lag_s == 0.0
    assert report.frames > 0.98 * COUNT


# Poor recordings.


def test_without_frames_there_is_a_reason() -> None:
    report = compare(Told(), DRIVE.recording)
    assert report.reason == "0 frames with a position, at least 20 needed"
    assert report.frames == 0
    assert report.lateral_offset.correlation is None
    assert report.heading.rmse is None


def test_few_frames_are_not_enough(recording: Recording) -> None:
    frames = (*recording.frames[:19], *(None,) * (COUNT - 19))
    report = compare(Told(), dataclasses.replace(recording, frames=frames))
    assert report.reason == "19 frames with a position, at least 20 needed"


def test_twenty_frames_are_compared_at_the_lags_that_all_have(recording: Recording) -> None:
    """Frames at the very start: with any lag the first ones are of before the drive."""
    frames = (*recording.frames[:20], *(None,) * (COUNT - 20))
    report = compare(Told(), dataclasses.replace(recording, frames=frames))
    assert correlation(report) > 0.99
    assert report.frames == 20
    assert report.lateral_offset.by_lag["0.40"] is None


def test_without_positions_there_is_a_reason(recording: Recording) -> None:
    blind = dataclasses.replace(recording, position=np.full((COUNT, 3), np.nan))
    assert compare(Told(), blind).reason == "0 frames with a position, at least 20 needed"


def test_a_car_that_never_moves_has_no_known_direction(recording: Recording) -> None:
    place = np.tile(recording.position[0], (COUNT, 1))
    place[:, 1] += 0.001 * (np.arange(COUNT) % 2)
    standing = dataclasses.replace(
        recording, position=place, speed=np.zeros(COUNT), cte=np.full(COUNT, 0.2)
    )
    report = compare(Told(), standing)
    assert report.heading.correlation is None
    assert report.lateral_offset.correlation is None
    assert report.reason is not None


def test_damaged_and_odd_frames_are_left_out(recording: Recording, tmp_path: pathlib.Path) -> None:
    damaged, odd = tmp_path / "damaged.png", tmp_path / "odd.png"
    damaged.write_bytes(b"no picture")
    Image.new("RGB", (20, 16)).save(odd)
    frames = list(recording.frames)
    frames[3::7] = [damaged] * len(frames[3::7])
    frames[5::7] = [odd] * len(frames[5::7])
    reader = Told()
    report = compare(reader, dataclasses.replace(recording, frames=tuple(frames)))
    assert [k for k in reader.seen if k % 7 in (3, 5)] == []
    assert report.frames == len(reader.seen)
    assert correlation(report) > 0.999


def test_frames_that_are_no_pictures_give_a_reason(
    recording: Recording, tmp_path: pathlib.Path
) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    frames = (*recording.frames[:5], *(damaged,) * (COUNT - 5))
    report = compare(Told(), dataclasses.replace(recording, frames=frames))
    assert report.reason == "5 frames could be read, at least 20 needed"


# The encoder itself.


@pytest.fixture(scope="module")
def encoder() -> LaneEncoder:
    """An encoder that was trained for some seconds, on frames of half the usual size."""
    config = TrainingConfig().model_copy(update={"camera": CameraConfig(img_w=80, img_h=60)})
    settings = LaneEncoderConfig(frames=8000, epochs=5, pool=1)
    with redirect_stderr(StringIO()), ProgressDisplay() as progress:
        trained, _ = lane_training.train_encoder(config, settings, progress, lambda: None)
    return trained


@pytest.fixture(scope="module")
def seen(encoder: LaneEncoder) -> Iterator[Recording]:
    """A weaving drive with what the embedded camera sees on the way."""
    drive = weaving.weave(TRACK, 24.0, middle=-2.2, swing=2.5, wave=50.0, speed=5.0).recording
    trace = traces.trace(drive)
    where = poses.at(drive, trace, CAR, np.arange(len(drive)))
    assert where.known.all()
    images = pairs.draw(where, TRACK, CAR, CameraConfig(img_w=80, img_h=60))
    with tempfile.TemporaryDirectory() as name:
        files = tuple(pathlib.Path(name) / f"{i}.jpg" for i in range(len(drive)))
        for file, image in zip(files, images, strict=True):
            Image.fromarray(image).save(file, quality=90)
        yield dataclasses.replace(drive, frames=files)


@pytest.mark.slow
def test_a_trained_encoder_reads_the_lane(encoder: LaneEncoder, seen: Recording) -> None:
    report = compare(encoder, seen)
    assert correlation(report) > 0.9
    assert report.lateral_offset.rmse is not None
    assert report.lateral_offset.rmse < 0.8
    assert report.lateral_offset.lag_s == pytest.approx(0.0, abs=0.1)
    assert report.heading.correlation is not None
    assert report.heading.correlation > 0.7


@pytest.mark.slow
def test_a_trained_encoder_fails_on_shuffled_frames(encoder: LaneEncoder, seen: Recording) -> None:
    order = np.random.default_rng(2).permutation(len(seen))
    shuffled = dataclasses.replace(seen, frames=tuple(seen.frames[k] for k in order))
    report = compare(encoder, shuffled)
    assert abs(correlation(report)) < 0.25
    assert report.lateral_offset.rmse is not None
    assert report.lateral_offset.rmse > 1.5
