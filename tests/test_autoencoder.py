"""The auto-encoder: what it draws, what it makes of frames, and what is done to them."""

from __future__ import annotations

import pathlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from donkey_rl import configuration
from donkey_rl.agents.encoders import autoencoder_network, base
from donkey_rl.agents.encoders.autoencoder import Autoencoder
from donkey_rl.agents.encoders.config import AutoencoderConfig
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.errors import DriverError, InputError
from donkey_rl.experiments import encoder_frames
from donkey_rl.experiments.config import TrainingConfig
from tests import data_sets

ImageArray = npt.NDArray[np.uint8]

SHAPE = (48, 64, 3)
SMALL = AutoencoderConfig(
    filters=(8, 16), dense=64, latent=8, frames=1000, epochs=12, batch_size=32,
    learning_rate=5e-3, noise=0.15, occlusion=0.6,
)  # fmt: skip


def boxes(count: int, seed: int = 0) -> ImageArray:
    """A bright upright bar and a dark level one, anywhere below the sky, of two colours."""
    random = np.random.default_rng(seed)
    images = np.full((count, *SHAPE), 110, np.uint8)
    for image in images:
        x, y = random.integers(4, 52), random.integers(18, 40)
        image[y : y + 6] = (20, 40, 60)
        image[16:, x : x + 8] = (250, 200, 90)
    return images


@pytest.fixture(scope="module")
def trained() -> tuple[Autoencoder, EncoderReport]:
    encoder = Autoencoder(SHAPE, SMALL)
    return encoder, encoder.fit(encoder.preprocess(boxes(1000)))


def test_it_learns_to_draw_what_it_sees(trained: tuple[Autoencoder, EncoderReport]) -> None:
    _, report = trained
    assert report.frames == 900
    assert report.loss[-1] < report.loss[0] / 2
    # Drawing the mean of all frames has an r2 of 0.
    assert report.mean_r2 == report.r2["image"] > 0.6


def test_what_is_changed_is_drawn_as_it_was(trained: tuple[Autoencoder, EncoderReport]) -> None:
    encoder, _ = trained
    reduced = encoder.preprocess(boxes(200, seed=5))
    changed, drawn = encoder.reconstructed(reduced)
    assert changed.shape == reduced.shape
    assert drawn.shape == (200, 8, 16, 3)

    def even(images: ImageArray) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = autoencoder_network.target(images).numpy()
        return result

    wanted = even(reduced)
    # Even where light no longer matters, the drawn images are nearer to the clean ones.
    given = np.mean((even(changed) - wanted) ** 2)
    left = np.mean((encoder._drawn(changed) - wanted) ** 2)
    assert left < 0.8 * given


def test_features_are_standardised_and_bounded(
    trained: tuple[Autoencoder, EncoderReport],
) -> None:
    encoder, _ = trained
    features = encoder.encode(boxes(900))
    assert features.shape == (900, 8)
    assert features.mean(axis=0) == pytest.approx(np.zeros(8), abs=0.05)
    assert features.std(axis=0) == pytest.approx(np.ones(8), abs=0.1)
    tight = Autoencoder(SHAPE, SMALL.model_copy(update={"clip": 0.01}))
    assert np.abs(tight.encode(boxes(20))).max() == pytest.approx(0.01)


def test_standardising_leaves_what_is_drawn(trained: tuple[Autoencoder, EncoderReport]) -> None:
    encoder = Autoencoder(SHAPE, SMALL)
    reduced = encoder.preprocess(boxes(20))
    before = encoder._drawn(reduced)
    encoder._standardise(np.random.default_rng(0).normal(3.0, 5.0, (50, 8)).astype(np.float32))
    np.testing.assert_allclose(encoder._drawn(reduced), before, atol=1e-4)


def test_the_same_seed_gives_the_same_encoder() -> None:
    results = []
    for seed in (1, 1, 2):
        config = SMALL.model_copy(update={"seed": seed, "epochs": 1})
        encoder = Autoencoder(SHAPE, config)
        encoder.fit(encoder.preprocess(boxes(100)))
        results.append(encoder.encode(boxes(10, seed=3)))
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 0.01


def test_frames_that_are_kept_for_the_report_teach_nothing() -> None:
    config = SMALL.model_copy(update={"epochs": 1, "noise": 0.0, "occlusion": 0.0})
    read, errors = [], []
    for changed in (False, True):
        encoder = Autoencoder(SHAPE, config)
        reduced = encoder.preprocess(boxes(100))
        if changed:
            reduced[-config.kept_back(100) :] = 0
        errors.append(encoder.fit(reduced).rmse["image"])
        read.append(encoder.encode(boxes(100)))
    np.testing.assert_array_equal(read[0], read[1])
    assert errors[0] != pytest.approx(errors[1], rel=1e-3)


def test_save_and_load(trained: tuple[Autoencoder, EncoderReport], tmp_path: pathlib.Path) -> None:
    encoder, _ = trained
    encoder.save(tmp_path)
    loaded = base.encoder_class("autoencoder").load(tmp_path)
    assert isinstance(loaded, Autoencoder)
    np.testing.assert_array_equal(encoder.encode(boxes(9)), loaded.encode(boxes(9)))
    assert loaded.config == SMALL
    with pytest.raises(DriverError, match="Expected the lane encoder of format 1"):
        base.encoder_class("lane").load(tmp_path)


def test_bad_input_is_refused() -> None:
    encoder = Autoencoder(SHAPE, SMALL)
    with pytest.raises(InputError, match=r"Expected images \(n, 16, 32, 3\)"):
        encoder.fit(boxes(100))
    with pytest.raises(InputError, match="at least one batch of 32 frames"):
        encoder.fit(encoder.preprocess(boxes(30)))


# Where frames come from.


def write(folder: pathlib.Path, name: str, level: int, size: tuple[int, int] = (64, 48)) -> None:
    Image.new("RGB", size, (level, level, level)).save(folder / name)


def test_recorded_frames_come_by_their_numbers_and_evenly(tmp_path: pathlib.Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(12):
        write(tmp_path, f"images/{number}_cam_image_array_.png", 10 * number)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "images" / "12_broken_.png").write_bytes(b"\x89PNG no more")
    write(tmp_path, "images/13_other_size.png", 255, (32, 24))
    # Without pictures, and none at all: both are left out.
    data_sets.race().save(tmp_path / "plain.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    found = np.concatenate(list(encoder_frames.recorded([tmp_path], 1000, SHAPE)))
    assert found.shape == (12, *SHAPE)
    assert found[:, 0, 0, 0].tolist() == list(range(0, 120, 10))
    # Of files 0 to 13 the first, the middle two and the last are taken: 0, 4, 8 and 13.
    few = np.concatenate(list(encoder_frames.recorded([tmp_path], 4, SHAPE)))
    assert few[:, 0, 0, 0].tolist() == [0, 40, 80]


def test_a_folder_without_such_frames_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="expected a folder with recorded images"):
        list(encoder_frames.recorded([tmp_path / "none"], 10, SHAPE))
    with pytest.raises(InputError, match="expected JPEG or PNG files"):
        list(encoder_frames.recorded([tmp_path], 10, SHAPE))
    write(tmp_path, "1.png", 0, (32, 24))
    with pytest.raises(InputError, match=r"images of 64x48 in .* Received: 32x24\. Set camera"):
        list(encoder_frames.recorded([tmp_path], 10, SHAPE))


def small(*settings: str) -> TrainingConfig:
    size = ["camera.img_w=64", "camera.img_h=48", "track=generated_track"]
    return configuration.with_settings(TrainingConfig(), [*size, *settings])


def test_frames_of_the_embedded_simulator_are_of_random_places() -> None:
    images = np.concatenate(list(encoder_frames.collect(small(), 40, seed=1)))
    assert images.shape == (40, *SHAPE)
    again = np.concatenate(list(encoder_frames.collect(small(), 40, seed=1)))
    other = np.concatenate(list(encoder_frames.collect(small(), 40, seed=2)))
    assert (images == again).all()
    assert (images != other).any()


@pytest.mark.slow
def test_frames_of_another_simulator_are_of_a_drive_through_it() -> None:
    server = ServerConfig(track="generated_track", port=0, private_port=None, time_scale="max")
    with background.running(server) as running:
        settings = [f"simulator=127.0.0.1:{running.port}", "throttle_max=0.2"]
        images = np.concatenate(list(encoder_frames.collect(small(*settings), 60, seed=1)))
    assert images.shape == (60, *SHAPE)
    # The car moves: the frames differ, and more so the further they are apart.
    near = np.abs(images[1:].astype(int) - images[:-1]).mean()
    far = np.abs(images[30:].astype(int) - images[:-30]).mean()
    assert 0.0 < near < far
