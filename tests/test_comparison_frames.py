"""Frames of recordings: which can be compared and read, and by which encoder."""

from __future__ import annotations

import pathlib
import types
from typing import Any

import pytest

from donkey_rl.agents import ensemble
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.configuration import with_settings
from donkey_rl.envs.labels import LANE_LABELS
from donkey_rl.experiments import stored_runs
from donkey_rl.experiments.config import TrainingConfig
from tests import comparisons
from tests import synthetic_recordings as synthetic
from tests.comparisons import CAR, compare, drive, painted
from tests.synthetic_recordings import Recorder

NOTHING = {"correlation": None, "rmse": None}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def patterns(place: pathlib.Path) -> pathlib.Path:
    """A recording with frames that show no road."""
    return synthetic.write_csv(painted((48, 64), count=120), place / "patterns")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainingConfig]:
    return comparisons.stub_training(monkeypatch)


# Frames.


def test_frames_that_are_no_pictures(place: pathlib.Path, trained: list[TrainingConfig]) -> None:
    folder = synthetic.write_csv(painted((48, 64)), place / "damaged")
    for file in (folder / "frames").iterdir():
        file.write_bytes(b"no picture")
    result = compare(folder, read_frames=True)
    for part in ("picture", "reading"):
        assert result["not_measurable"][part] == "none of the frames can be read"
    assert trained == []


@pytest.mark.parametrize("size", [(600, 600), (12, 16)], ids=["large", "small"])
def test_frames_that_no_camera_draws(
    place: pathlib.Path, trained: list[TrainingConfig], size: tuple[int, int]
) -> None:
    folder = synthetic.write_csv(painted(size), place / f"size{size[0]}")
    result = compare(folder, read_frames=True)
    for part in ("picture", "reading"):
        reason = result["not_measurable"][part]
        assert reason.startswith("frames of 16 to 512 pixels a side are needed")
        assert f"{size[1]} x {size[0]}" in reason
    assert trained == []


def test_frames_too_small_for_the_encoder(
    place: pathlib.Path, trained: list[TrainingConfig]
) -> None:
    result = compare(synthetic.write_csv(painted((16, 16)), place / "size16"), read_frames=True)
    # A third is cut off at the top, then every two pixels become one.
    assert "Received: 5x8" in result["not_measurable"]["reading"]
    assert not result["not_measurable"]["reading"].endswith(".")
    assert trained == []


def test_pictures_of_something_else(patterns: pathlib.Path) -> None:
    result = compare(patterns)
    assert result["picture"] == dict.fromkeys(("horizon_px", "centre_line_px", "edge_line_px"))
    assert result["camera"] is None
    assert result["not_measurable"]["picture"]


def test_the_encoder_is_trained_for_what_was_recorded(
    place: pathlib.Path, trained: list[TrainingConfig]
) -> None:
    folder = synthetic.write_csv(painted((48, 64)), place / "mixed", name="filmed")
    synthetic.write_csv(drive(), folder, name="blind")
    training = with_settings(TrainingConfig(), ["seed=7", "camera.fov=80", "vehicle=donkey_2020"])
    result = compare(folder, read_frames=True, training=training)
    (config,) = trained
    assert (config.track, config.vehicle, config.seed) == ("generated_track", CAR, 7)
    assert config.camera.shape == (48, 64, 3)
    assert config.camera.fov == 80.0
    blind, filmed_ = (each["reading"] for each in result["recordings"])
    assert blind["reason"] == "no record has a frame"
    assert filmed_["reason"] == "the same lateral offset is read from all frames"
    assert result["not_measurable"]["reading"] == filmed_["reason"]


def test_two_sizes_of_frames_in_one_folder(
    place: pathlib.Path, trained: list[TrainingConfig]
) -> None:
    """The encoder is for the recording with most frames."""
    folder = synthetic.write_csv(painted((24, 32)), place / "sizes", name="a")
    synthetic.write_csv(painted((48, 64), count=40), folder, Recorder(lossless=True), name="b")
    result = compare(folder, read_frames=True)
    (config,) = trained
    assert config.camera.shape == (48, 64, 3)
    first, second = (each["reading"]["reason"] for each in result["recordings"])
    assert first.startswith("frames are 32 x 24, those of another recording")
    assert second == "the same lateral offset is read from all frames"


def test_no_sheet_without_pairs(place: pathlib.Path) -> None:
    sheet = place / "none.png"
    result = compare(synthetic.write_csv(painted((600, 600)), place / "large"), sheet=sheet)
    assert result["sheet"] is None
    assert not sheet.exists()


def test_the_sheet_is_of_a_recording_that_can_be_shown(place: pathlib.Path) -> None:
    """Not of the one with more frames, which are too large."""
    folder = synthetic.write_csv(painted((600, 600), count=32), place / "mixed-sheet", name="a")
    synthetic.write_csv(painted((24, 32)), folder, Recorder(lossless=True), name="b")
    result = compare(folder, sheet=place / "mixed.png")
    assert [each["picture"]["frames"] > 0 for each in result["recordings"]] == [False, True]
    assert result["sheet"] == str(place / "mixed.png")
    assert (place / "mixed.png").exists()


# The encoder of a run.


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A run whose driver's encoder is `encoder`."""
    run = types.SimpleNamespace(encoder=None)
    monkeypatch.setattr(stored_runs, "find", lambda _: types.SimpleNamespace(id="3f2a"))
    monkeypatch.setattr(stored_runs, "download_driver", lambda _: pathlib.Path())
    monkeypatch.setattr(ensemble, "load", lambda _: types.SimpleNamespace(encoder=run.encoder))
    return run


def test_the_encoder_of_a_run_reads(
    patterns: pathlib.Path, stored: types.SimpleNamespace, trained: list[TrainingConfig]
) -> None:
    """It was never trained, but it reads."""
    stored.encoder = LaneEncoder((48, 64, 3), LANE_LABELS)
    result = compare(patterns, read_frames=True, run_id="3f")
    assert result["reading"]["frames"] > 100
    assert result["reading"]["lateral_offset"]["correlation"] is not None
    assert abs(result["reading"]["lateral_offset"]["correlation"]) < 0.95
    assert trained == []


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (None, "the encoder of run 3f2a reads no lane"),
        (
            LaneEncoder((60, 80, 3), LANE_LABELS),
            "the encoder of run 3f2a reads frames of 80x60, these are 64x48",
        ),
    ],
)
def test_an_encoder_that_cannot_read_these_frames(
    patterns: pathlib.Path, stored: types.SimpleNamespace, encoder: Any, reason: str
) -> None:
    stored.encoder = encoder
    result = compare(patterns, read_frames=True, run_id="3f")
    assert result["not_measurable"]["reading"] == reason
    assert result["reading"]["heading"] == NOTHING
