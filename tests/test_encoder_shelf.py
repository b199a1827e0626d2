"""Encoders that trainings share: each is trained once, however many want it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.envs import labels
from donkey_rl.errors import StorageError
from donkey_rl.experiments import encoder_training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.membership import Figures
from donkey_rl.experiments.sweeps.encoder_shelf import EncoderShelf

SHAPE = (48, 64, 3)
TRACKS = Path(__file__).parents[1] / "envs" / "simulator" / "tracks"


class Teacher:
    """Trains an encoder."""

    def __init__(self) -> None:
        self.trained = 0

    def __call__(self) -> tuple[Encoder, Figures]:
        self.trained += 1
        settings = LaneEncoderConfig(filters=(4, 4), dense=8, seed=self.trained)
        return LaneEncoder(SHAPE, labels.names(()), settings), {"encoder/mean_r2": 0.9}


def test_who_comes_second_gets_the_same(tmp_path: Path) -> None:
    shelf, teacher = EncoderShelf(tmp_path / "shelf"), Teacher()
    first, figures = shelf.get("a" * 64, teacher, lambda: None)
    second, again = shelf.get("a" * 64, teacher, lambda: None)
    assert teacher.trained == 1
    assert figures == again == {"encoder/mean_r2": 0.9}
    images = np.random.default_rng(1).integers(0, 255, (2, *SHAPE), np.uint8)
    np.testing.assert_array_equal(first.encode(images), second.encode(images))
    shelf.get("b" * 64, teacher, lambda: None)
    assert teacher.trained == 2


def test_two_at_once_train_once_and_the_other_waits(tmp_path: Path) -> None:
    shelf, teacher = EncoderShelf(tmp_path), Teacher()
    waits = threading.Event()

    def train() -> tuple[Encoder, Figures]:
        assert waits.wait(60.0)
        return teacher()

    threads = [
        threading.Thread(target=shelf.get, args=("a" * 64, train, waits.set)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert teacher.trained == 1


def test_a_damaged_encoder_is_trained_again(tmp_path: Path) -> None:
    shelf, teacher = EncoderShelf(tmp_path), Teacher()
    shelf.get("a" * 64, teacher, lambda: None)
    (tmp_path / ("a" * 64) / "encoder.json").write_text("{}")
    shelf.get("a" * 64, teacher, lambda: None)
    assert teacher.trained == 2


def test_an_encoder_does_not_depend_on_how_the_policy_learns() -> None:
    config = TrainingConfig()

    def key(*settings: str) -> str:
        return encoder_training.key(configuration.with_settings(config, settings))

    assert key("sac.gamma=0.9", "steps=7", "agent=ppo", "check.every=9") == key()
    others = [
        key(each) for each in ("seed=1", "encoder.frames=999", "track=warren", "camera.fov=70")
    ]
    assert len({key(), *others}) == 5


def test_another_track_file_or_recording_of_the_same_name_is_another_encoder(
    tmp_path: Path,
) -> None:
    track_file, recording = tmp_path / "mine.json", tmp_path / "drive.npz"
    track_file.write_text((TRACKS / "warren.json").read_text())
    recording.write_bytes(b"frames")
    config = configuration.with_settings(
        TrainingConfig(),
        ("encoder.name=autoencoder", f"track={track_file}", f"encoder.data={recording}"),
    )
    first = encoder_training.key(config)
    recording.write_bytes(b"more frames")
    second = encoder_training.key(config)
    track_file.write_text(track_file.read_text() + "\n")
    assert len({first, second, encoder_training.key(config)}) == 3


def test_a_shelf_that_cannot_be_written_is_said_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 64}.lock").mkdir()
    with pytest.raises(StorageError, match="Expected to write the folder"):
        EncoderShelf(tmp_path).get("a" * 64, Teacher(), lambda: pytest.fail("it waits"))
