"""`encoder.hues=false`: an encoder that sees brightness and colourfulness, and no hue."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.deployment import plain_layers
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.encoders.lane_network import without_hues
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments.config import TrainingConfig

SHAPE = (24, 32, 3)
SETTINGS = LaneEncoderConfig(
    filters=(4, 8), dense=8, epochs=2, batch_size=16, crop=0, pool=1, hues=False
)


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def test_a_pixel_is_how_bright_and_how_colourful_it_is() -> None:
    source = keras.Input((1, 4, 3))
    model = keras.Model(source, without_hues(source))
    row = [[30.0, 90.0, 60.0], [80.0, 80.0, 80.0], [0.0, 255.0, 255.0], [255.0, 0.0, 0.0]]
    seen = model(np.array([[row]])).numpy()[0, 0]
    expected = [[60.0, 60.0], [80.0, 0.0], [170.0, 255.0], [85.0, 255.0]]
    np.testing.assert_allclose(seen, expected, atol=1e-3)


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (1, 0, 2)])
def test_other_hues_change_nothing_and_other_colours_do(order: tuple[int, ...]) -> None:
    encoder = LaneEncoder(SHAPE, ("a", "b", "c"), SETTINGS)
    plain = encoder.encode(images())
    np.testing.assert_allclose(encoder.encode(images()[..., list(order)]), plain, atol=1e-4)
    gray = np.repeat(images().mean(axis=3, keepdims=True), 3, axis=3).astype(np.uint8)
    assert np.abs(encoder.encode(gray) - plain).max() > 0.05
    usual = LaneEncoder(SHAPE, ("a", "b", "c"), SETTINGS.model_copy(update={"hues": True}))
    changed = usual.encode(images()[..., list(order)]) - usual.encode(images())
    assert np.abs(changed).max() > 0.05


def test_it_stays_so_when_it_is_trained_stored_and_exported(tmp_path: pathlib.Path) -> None:
    encoder = LaneEncoder(SHAPE, ("a",), SETTINGS)
    before = encoder.reader.get_layer("conv_0").get_weights()[0].copy()
    encoder.fit(images(64), np.random.default_rng(1).normal(size=(64, 1)).astype(np.float32))
    assert np.abs(encoder.reader.get_layer("conv_0").get_weights()[0] - before).max() > 0.0
    turned = images()[..., [2, 0, 1]]
    np.testing.assert_allclose(encoder.encode(turned), encoder.encode(images()), atol=1e-4)
    encoder.save(tmp_path)
    loaded = LaneEncoder.load(tmp_path)
    assert not loaded.config.hues
    np.testing.assert_allclose(loaded.encode(images()), encoder.encode(images()), atol=1e-5)
    source = keras.Input(SHAPE)
    plain = keras.Model(source, plain_layers.translated(loaded.model, [source]))
    found = plain(images().astype(np.float32)).numpy()
    np.testing.assert_allclose(found, encoder.encode(images()), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hues": False, "pretrained": "driver"}, r"pretrained is an auto-encoder.*hues=false"),
        ({"repeats": 2}, r"repeats=2 and fresh=false; set encoder\.fresh=true"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configuration.validate(TrainingConfig, {"encoder": settings})


def test_images_without_colours_are_refused() -> None:
    with pytest.raises(InputError, match=r"three channels for encoder\.hues=false. Received: 1"):
        LaneEncoder((24, 32, 1), ("a",), SETTINGS)
