"""What seeing many frames without labels buys where labels are few."""

from __future__ import annotations

import io
import pathlib

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.autoencoder import Autoencoder
from donkey_rl.agents.encoders.config import AutoencoderConfig, LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.errors import InputError
from donkey_rl.experiments import encoder_training, lane_training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from tests import small_drivers

SHAPE = (48, 64, 3)
SEEN = AutoencoderConfig(
    filters=(8, 16), dense=64, latent=8, frames=3000, epochs=8, batch_size=32, learning_rate=3e-3
)
READ = LaneEncoderConfig(
    filters=(8, 16), dense=64, frames=101, validation_share=1 / 111, batch_size=25, epochs=40
)


def bars(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Noisy images with an upright and a level bar, and their places (pixels), (n, 2)."""
    random = np.random.default_rng(seed)
    images = np.full((count, *SHAPE), 110.0)
    places = np.column_stack([random.integers(4, 52, count), random.integers(18, 40, count)])
    for image, (x, y) in zip(images, places, strict=True):
        image[y : y + 6] = (20, 40, 60)
        image[16:, x : x + 8] = (250, 200, 90)
    images += random.normal(0.0, 25.0, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), places.astype(np.float32)


@pytest.mark.slow
def test_frames_without_labels_help_where_labels_are_few() -> None:
    """With 100 labels, errors fall to two thirds of those without pre-training.

    An auto-encoder that had learned nothing would give random weights, as good as any others.
    """
    unlabelled = Autoencoder(SHAPE, SEEN)
    unlabelled.fit(unlabelled.preprocess(bars(3000, seed=0)[0]))
    images, places = bars(101, seed=5)
    others, true = bars(500, seed=9)
    errors = {True: 0.0, False: 0.0}
    for seed in (0, 1):
        for pretrained in errors:
            encoder = LaneEncoder(SHAPE, ("x", "y"), READ.model_copy(update={"seed": seed}))
            if pretrained:
                encoder.start_from(unlabelled)
            assert encoder.fit(encoder.preprocess(images), places).frames == 100
            gap = (encoder.predict_labels(others) - true) / true.std(axis=0)
            errors[pretrained] += float(np.sqrt(np.mean(gap**2)))
    # Measured over three seeds: 0.58 to 0.64 times the error.
    assert errors[True] < 0.8 * errors[False]
    # Reading nothing would be an error of 1 for each seed.
    assert errors[False] < 2 * 0.6


def test_an_encoder_starts_from_the_weights_of_another() -> None:
    first = Autoencoder(SHAPE, SEEN.model_copy(update={"seed": 7}))
    second = LaneEncoder(SHAPE, ("x", "y"), READ)
    head = second.reader.get_layer("features").get_weights()
    second.start_from(first)
    for name in ("conv_0", "conv_1", "dense"):
        for mine, others in zip(
            second.reader.get_layer(name).get_weights(),
            first.reader.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, others)
    for mine, before in zip(second.reader.get_layer("features").get_weights(), head, strict=True):
        np.testing.assert_array_equal(mine, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": (8, 8)}, "'conv_1' with weights"),
        ({"filters": (8,)}, "no layer 'conv_1'"),
        ({"dense": 32}, "'dense' with weights"),
        ({"pool": 1}, r"\(32, 64, 3\) in place of \(16, 32, 3\)"),
    ],
)
def test_another_network_cannot_be_started_from(changes: dict[str, object], message: str) -> None:
    other = Autoencoder(SHAPE, SEEN.model_copy(update=changes))
    encoder = LaneEncoder(SHAPE, ("x", "y"), READ)
    before = encoder.reader.get_weights()
    with pytest.raises(InputError, match=message):
        encoder.start_from(other)
    for old, new in zip(before, encoder.reader.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_a_run_starts_from_the_encoder_in_a_driver_folder(tmp_path: pathlib.Path) -> None:
    seen = Autoencoder(SHAPE, SEEN.model_copy(update={"seed": 7}))
    actor = networks.deterministic(networks.actor(8 + 2 + 2, 2, SACConfig(hidden=(4,)), seed=0))
    about = DriverDescription(
        agent="sac", vehicle="donkey_2022", tracks=("warren",), simulator="embedded", camera={}
    )
    Driver(seen, actor, about, history=1).save(tmp_path / "driver")
    settings = ["camera.img_w=64", "camera.img_h=48", "encoder.filters=8,16", "encoder.dense=64",
                "encoder.frames=72", "encoder.learning_rate=1e-9",
                "encoder.final_learning_rate=1e-9", "encoder.epochs=1",
                f"encoder.pretrained={tmp_path / 'driver'}"]  # fmt: skip
    config = configuration.with_settings(TrainingConfig(), settings)
    with ProgressDisplay(io.StringIO()) as progress:
        encoder, _ = encoder_training.train_encoder(config, progress, lambda: None)
    assert isinstance(encoder, LaneEncoder)
    # Trained by next to nothing, it still has the weights that it started from.
    np.testing.assert_allclose(
        encoder.reader.get_layer("dense").get_weights()[0],
        seen.reader.get_layer("dense").get_weights()[0],
        atol=1e-6,
    )
    wrong = configuration.with_settings(config, ["encoder.dense=32"])
    with ProgressDisplay(io.StringIO()) as progress, pytest.raises(InputError, match="'dense'"):
        encoder_training.train_encoder(wrong, progress, lambda: None)


@pytest.mark.parametrize("changed", [{"hues": False, "ground": True}, {"ground": True}])
def test_eyes_for_other_channels_are_no_beginning(
    changed: dict[str, object], tmp_path: pathlib.Path
) -> None:
    """As many channels, of other meaning: brightness, colour and what is unlike the ground."""
    settings = LaneEncoderConfig(filters=(4, 8), dense=16, seed=0).model_copy(update=changed)
    encoder = LaneEncoder(small_drivers.SHAPE, ("left", "right", "heading"), settings)
    other = small_drivers.lane()
    Driver(
        encoder, other.actor, other.description, history=small_drivers.HISTORY,
        scaling=small_drivers.SCALING,
    ).save(tmp_path / "driver", lite=False)  # fmt: skip
    with pytest.raises(InputError, match="sees colours as they are"):
        lane_training._stored(str(tmp_path / "driver"))
