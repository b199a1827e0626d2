"""Random changes of images, and what a mirror turns round with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces
from PIL import Image

from donkey_rl import cli, configuration
from donkey_rl.agents import observations
from donkey_rl.agents.augmentation import layers, mirroring
from donkey_rl.agents.augmentation.config import AugmentationConfig, LookConfig
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments.config import TrainingConfig

FloatArray = npt.NDArray[np.float32]

SEED = tf.constant([3, 4], tf.int32)


def changed(grey: int = 100, count: int = 64, **amounts: float) -> FloatArray:
    """Even grey images after changes."""
    images = np.full((count, 20, 40, 3), grey, np.uint8)
    found: FloatArray = layers.Looks(LookConfig(**amounts))(images, SEED).numpy()
    return found


def test_shifts_move_whole_images_and_repeat_their_edge() -> None:
    image = np.arange(20 * 20, dtype=np.float32).reshape(1, 20, 20, 1)
    images = np.repeat(image, 200, axis=0)
    moved = layers.Shift(2)(images, SEED).numpy()
    # Rows count 20 each, columns 1: the middle pixel, 210, tells both shifts.
    offsets = moved[:, 10, 10, 0] - 210.0
    rows = np.round(offsets / 20.0)
    columns = offsets - 20.0 * rows
    assert set(rows) == set(columns) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    for index in range(20):
        down, right = int(rows[index]), int(columns[index])
        at = np.clip(np.arange(20) + down, 0, 19)[:, None]
        across = np.clip(np.arange(20) + right, 0, 19)[None]
        np.testing.assert_array_equal(moved[index, ..., 0], image[0, ..., 0][at, across])


def test_a_shadow_darkens_a_band_of_each_frame_by_one_factor() -> None:
    images = changed(shadow=0.5)
    assert images.max() == 100.0
    # Each band is at least 10 % of the width, and factors reach from 1 down to 0.5.
    lowest = images.min(axis=(1, 2, 3))
    assert 50.0 <= lowest.min() < 55.0
    assert lowest.max() > 95.0
    for image, dark in zip(images, lowest, strict=True):
        assert set(np.unique(image).tolist()) <= {dark, 100.0}
        row = image[10, :, 0]
        inside = np.flatnonzero(row < 100.0)
        assert len(inside) == 0 or np.ptp(inside) == len(inside) - 1


def test_what_is_in_the_way_covers_one_rectangle_in_one_gray() -> None:
    images = changed(occlusion=0.5)
    covered = images[..., 0] != 100.0
    assert 40 <= covered.any(axis=(1, 2)).sum() <= 64
    for image, place in zip(images, covered, strict=True):
        rows, columns = place.any(axis=1), place.any(axis=0)
        assert (place == rows[:, None] & columns).all()
        # Half of 20 rows and of 40 columns at most.
        assert rows.sum() <= 10
        assert columns.sum() <= 20
        assert len(np.unique(image[place])) <= 1


def test_amounts_of_zero_change_nothing() -> None:
    assert (changed() == 100.0).all()
    images = tf.constant(np.arange(120, dtype=np.uint8).reshape(1, 5, 8, 3))
    same = layers.Augmentation(AugmentationConfig())(images, SEED)
    assert same.dtype == tf.uint8
    assert (same.numpy() == images.numpy()).all()


def test_brightness_and_contrast_keep_to_their_ranges() -> None:
    images = changed(brightness=0.1, count=500)
    assert (images == images[:, :1, :1, :1]).all()
    # A tenth of 255 each way.
    assert 74.5 <= images.min() < 77.0
    assert 123.0 < images.max() <= 125.5
    # Contrast turns about 127.5: that grey stays, 100 moves by a fifth of 27.5 at most.
    assert changed(contrast=0.2, count=500).min() >= 94.5 - 1e-4
    assert changed(contrast=0.2, count=500).max() <= 105.5 + 1e-4


def test_gamma_leaves_black_and_white() -> None:
    assert changed(0, gamma=0.4) == pytest.approx(0.0)
    assert changed(255, gamma=0.4) == pytest.approx(255.0)
    middle = changed(gamma=0.4, count=500)
    # 255 * (100 / 255) ** 1.4 = 68.8 and ** 0.6 = 145.4.
    assert 68.7 <= middle.min() < 72.0
    assert 141.0 < middle.max() <= 145.5


def test_hues_turn_about_grey_and_leave_it() -> None:
    assert changed(hue=1.0) == pytest.approx(100.0, abs=1e-3)
    red = np.zeros((300, 2, 2, 3), np.uint8)
    red[..., 0] = 200
    turned = layers.Colour(0.0, 0.3)(tf.cast(red, tf.float32), SEED).numpy()[:, 0, 0]
    # A turn keeps the sum of the channels and the length: 200 and 200 squared.
    assert turned.sum(axis=1) == pytest.approx(200.0, abs=1e-2)
    assert (turned**2).sum(axis=1) == pytest.approx(40_000.0, rel=1e-4)
    # The farthest is 54 degrees: red keeps 200 (cos + (1 - cos) / 3) = 145.0.
    assert 145.0 <= turned[:, 0].min() < 148.0
    assert (turned[:, 1] > turned[:, 2]).any()
    assert (turned[:, 1] < turned[:, 2]).any()


def test_colour_scales_each_channel_by_its_own_factor() -> None:
    images = changed(colour=0.2, count=500)
    assert (images == images[:, :1, :1]).all()
    assert 80.0 <= images.min() < 82.0
    assert 118.0 < images.max() <= 120.0
    channels = images[:, 0, 0]
    assert abs(np.corrcoef(channels[:, 0], channels[:, 1])[0, 1]) < 0.2


def test_blur_mixes_in_a_smoothed_copy() -> None:
    images = np.zeros((200, 5, 5, 1), np.float32)
    images[:, 2, 2] = 160.0
    found = layers.Blur(1.0)(images, SEED).numpy()[..., 0]
    # Binomial weights 1 2 1: a quarter of the middle stays there, 1/16 goes into each corner.
    share = (160.0 - found[:, 2, 2]) / 120.0
    assert 0.0 <= share.min() < 0.05
    assert 0.95 < share.max() <= 1.0
    assert found[:, 1, 1] == pytest.approx(10.0 * share, abs=1e-3)
    assert found[:, 2, 1] == pytest.approx(20.0 * share, abs=1e-3)
    assert found.sum(axis=(1, 2)) == pytest.approx(160.0, rel=1e-5)


def test_noise_has_its_deviation() -> None:
    images = changed(noise=0.04)
    assert images.std() == pytest.approx(255.0 * 0.04, rel=0.02)
    assert images.mean() == pytest.approx(100.0, abs=0.2)


EVERYTHING: dict[str, Any] = {
    name: 0.2 for name in LookConfig.model_fields
}  # fmt: skip


def test_images_follow_from_the_seed_alone_wherever_they_are_made() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 20, 40, 3)).astype(np.uint8)
    config = AugmentationConfig(shift=2, **EVERYTHING)
    one, other = layers.Augmentation(config), layers.Augmentation(config)
    first = one(images, SEED).numpy()
    compiled = tf.function(lambda seen, seed: other(seen, seed))
    assert compiled(images, SEED).numpy() == pytest.approx(first, abs=1e-2)
    assert (compiled(images, SEED).numpy() == compiled(images, SEED).numpy()).all()
    assert np.abs(one(images, SEED + 64).numpy() - first).max() > 10.0


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_each_amount_changes_images(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 20, 40, 3)).astype(np.uint8)
    found = layers.Looks(LookConfig(**{name: 0.2}))(images, SEED).numpy()
    assert np.abs(found - images).max() > 1.0


def test_a_mirror_turns_some_images_and_the_signs_of_their_numbers() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 6, 3)).astype(np.uint8)
    chosen = tf.constant([False, True])
    found = mirroring.images(tf.constant(images), chosen).numpy()
    assert (found[0] == images[0]).all()
    assert (found[1] == images[1][:, :, ::-1]).all()
    space = spaces.Dict(
        image=spaces.Box(0, 255, (16, 16, 3), np.uint8),
        numbers=spaces.Box(-np.inf, np.inf, (6,), np.float32),
    )
    signs = mirroring.signs(observations.layout(space), 2)
    # Speed, yaw rate, then steering and throttle of two actions.
    rows = mirroring.numbers(tf.ones((2, 6)), signs, chosen).numpy()
    assert rows.tolist() == [[1] * 6, [1, -1, -1, 1, -1, 1]]
    share = mirroring.every_second(4000, SEED).numpy().mean()
    assert 0.45 < share < 0.55
    with pytest.raises(InputError, match="Expected images with speed, yaw rate"):
        mirroring.signs(observations.layout(spaces.Box(-1, 1, (6,), np.float32)), 2)


# What a run is told.


def test_former_keys_are_taken_and_the_others_keep_their_defaults() -> None:
    usual = TrainingConfig()
    told = configuration.with_settings(
        usual, ["sac.random_shift=2", "imitation.mirror=true", "imitation.shadow=0.1"]
    )
    assert told.sac.augmentation == AugmentationConfig(shift=2)
    expected = {"mirror": True, "shadow": 0.1}
    assert told.imitation.augmentation == usual.imitation.augmentation.model_copy(update=expected)
    # As recipes and stored runs have them.
    stored = configuration.validate(
        TrainingConfig, {"sac": {"random_shift": 0}, "imitation": {"brightness": 0.0, "shift": 1}}
    )
    assert not stored.sac.augmentation.active
    assert stored.imitation.augmentation == AugmentationConfig(shift=1, shadow=0.5)
    assert stored.sac.gradient_steps == usual.sac.gradient_steps


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["sac.augmentation.noise=2"], "sac.augmentation.noise should be less than or equal to 1"),
        (["sac.random_shft=2"], "Unknown setting 'sac.random_shft'"),
        (["encoder.name=cnn", "encoder.hue=0.1"], "encoder.hue is a setting of encoder.name="),
    ],
)
def test_what_cannot_be_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configuration.with_settings(TrainingConfig(), settings)


def test_a_sheet_shows_each_change_and_all_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["encoder.name=cnn", "sac.augmentation.mirror=true", "sac.augmentation.hue=0.2"]
    words = [word for setting in settings for word in ("--set", setting)]
    file = tmp_path / "sheet.png"
    assert cli.main(["augment", *words, "--out", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(file)
    assert {name for name, value in told["amounts"].items() if value} == {"hue", "mirror", "shift"}
    with Image.open(file) as picture:
        # Frames, three changes and all of them: five rows of 1.7 for six columns of 2.2 inches.
        assert picture.height / picture.width == pytest.approx(9.3 / 13.8, rel=0.01)
    still = ["--set", "encoder.brightness=0", "--set", "encoder.contrast=0"]
    # Neither mirror images that an encoder reads nor a PPO that asks for no agreement change any.
    reads = [*still, "--set", "encoder.mirror=true"]
    alone = ["--set", "agent=ppo", "--set", "encoder.name=cnn"]
    for settings in (still, reads, alone):
        assert cli.main(["augment", *settings, "--out", str(file)]) == 2
        assert "--set encoder.noise=0.05" in capsys.readouterr().err
