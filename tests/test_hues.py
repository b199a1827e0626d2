"""What the lane encoder sees of colours: `encoder.hues` and `encoder.ground`."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.deployment import plain_layers
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.encoders.lane_network import unlike_ground, without_hues
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments.config import TrainingConfig

SHAPE = (24, 32, 3)
GREY = 127.5
ALONG = 0.25 * np.sqrt(2.0) * (1.0 + np.sqrt(3.0) + 1.0)
"""What is seen of a colour by its distance from gray, in one of the directions that are looked in;
between them up to 3.5 % more."""
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
    assert seen[:, 0] == pytest.approx([60.0, 80.0, 170.0, 85.0], abs=1e-3)
    from_gray = np.std(row, axis=1) * np.sqrt(3)
    assert seen[:, 1] - GREY == pytest.approx(ALONG * from_gray, abs=1e-3)


def test_a_colour_is_as_colourful_whatever_its_hue() -> None:
    source = keras.Input((1, 4, 3))
    model = keras.Model(source, without_hues(source))
    angles = np.radians(np.arange(0.0, 360.0, 3.0))
    away = 40.0 * (np.cos(angles)[:, None] * (1, -1, 0) / np.sqrt(2)
                   + np.sin(angles)[:, None] * (1, 1, -2) / np.sqrt(6))  # fmt: skip
    seen = model((100.0 + away).reshape(30, 1, 4, 3)).numpy().reshape(-1, 2)
    np.testing.assert_allclose(seen[:, 0], 100.0, atol=1e-3)
    colourful = seen[:, 1] - GREY
    assert colourful.min() == pytest.approx(ALONG * 40.0, rel=1e-4)
    assert colourful.max() < 1.036 * colourful.min()


def test_a_colour_is_as_unlike_the_ground_ahead_as_its_differences_are() -> None:
    source = keras.Input((4, 8, 3))
    model = keras.Model(source, unlike_ground(source))
    image = np.full((4, 8, 3), (30.0, 90.0, 60.0))
    image[3, 3], image[3, 4] = (10.0, 90.0, 60.0), (50.0, 90.0, 60.0)
    image[0, 0], image[0, 1], image[3, 2] = (90.0, 30.0, 60.0), (50.0, 110.0, 80.0), (0, 0, 255)
    seen = model(image[None]).numpy()[0, :, :, 0] - GREY
    # Turned from green to red: the difference is (60, -60, 0), of no brightness.
    assert seen[0, 0] == pytest.approx(ALONG * 60.0 * np.sqrt(2.0), abs=1e-3)
    assert seen[0, 1] == pytest.approx(0.0, abs=1e-3)  # lighter is not another colour
    assert seen[3, 4] == pytest.approx(ALONG * 20.0 * np.sqrt(2.0 / 3.0), abs=1e-3)
    assert np.count_nonzero(seen > 1e-3) == 4  # and the blue one beside, which is not the ground


def test_what_differs_in_hue_alone_is_seen_with_the_ground_only() -> None:
    road, beside = (90, 30, 60), (30, 60, 90)  # as bright and as colourful
    halves, plain = np.empty((2, 1, *SHAPE), np.uint8)
    halves[:], plain[:] = road, road
    halves[:, :, : SHAPE[1] // 3] = beside
    told_apart = [
        np.abs(encoder.encode(halves) - encoder.encode(plain)).max()
        for ground in (False, True)
        for encoder in [LaneEncoder(SHAPE, ("a", "b"), SETTINGS.model_copy(
            update={"ground": ground}))]
    ]  # fmt: skip
    assert told_apart[0] == pytest.approx(0.0, abs=1e-4)
    assert told_apart[1] > 0.05


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("ground", [False, True])
def test_other_hues_change_nothing_and_other_colours_do(
    order: tuple[int, ...], ground: bool
) -> None:
    encoder = LaneEncoder(SHAPE, ("a", "b", "c"), SETTINGS.model_copy(update={"ground": ground}))
    plain = encoder.encode(images())
    np.testing.assert_allclose(encoder.encode(images()[..., list(order)]), plain, atol=1e-4)
    gray = np.repeat(images().mean(axis=3, keepdims=True), 3, axis=3).astype(np.uint8)
    assert np.abs(encoder.encode(gray) - plain).max() > 0.05
    usual = LaneEncoder(SHAPE, ("a", "b", "c"), SETTINGS.model_copy(update={"hues": True}))
    changed = usual.encode(images()[..., list(order)]) - usual.encode(images())
    assert np.abs(changed).max() > 0.05


@pytest.mark.parametrize("ground", [False, True])
def test_it_stays_so_when_it_is_trained_stored_and_exported(
    tmp_path: pathlib.Path, ground: bool
) -> None:
    encoder = LaneEncoder(SHAPE, ("a",), SETTINGS.model_copy(update={"ground": ground}))
    before = encoder.reader.get_layer("conv_0").get_weights()[0].copy()
    encoder.fit(images(64), np.random.default_rng(1).normal(size=(64, 1)).astype(np.float32))
    assert np.abs(encoder.reader.get_layer("conv_0").get_weights()[0] - before).max() > 0.0
    turned = images()[..., [2, 0, 1]]
    np.testing.assert_allclose(encoder.encode(turned), encoder.encode(images()), atol=1e-4)
    encoder.save(tmp_path)
    loaded = LaneEncoder.load(tmp_path)
    assert (loaded.config.hues, loaded.config.ground) == (False, ground)
    np.testing.assert_allclose(loaded.encode(images()), encoder.encode(images()), atol=1e-5)
    source = keras.Input(SHAPE)
    plain = keras.Model(source, plain_layers.translated(loaded.model, [source]))
    found = plain(images().astype(np.float32)).numpy()
    np.testing.assert_allclose(found, encoder.encode(images()), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hues": False, "pretrained": "driver"}, r"pretrained is an auto-encoder.*hues=false"),
        ({"ground": True, "pretrained": "driver"}, r"pretrained is an auto-encoder.*ground=true"),
        ({"repeats": 2}, r"repeats=2 and fresh=false; set encoder\.fresh=true"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configuration.validate(TrainingConfig, {"encoder": settings})


@pytest.mark.parametrize("said", ["hues=false", "ground=true"])
def test_images_without_colours_are_refused(said: str) -> None:
    settings = SETTINGS.model_copy(update={"hues": said == "ground=true", "ground": True})
    with pytest.raises(InputError, match=rf"three channels for encoder\.{said}. Received: 1"):
        LaneEncoder((24, 32, 1), ("a",), settings)


@pytest.mark.parametrize("hues", [False, True])
def test_little_colour_loses_no_digits_in_donkeycars_layers(hues: bool) -> None:
    settings = SETTINGS.model_copy(update={"hues": hues, "ground": True})
    encoder = LaneEncoder(SHAPE, ("a", "b", "c"), settings)
    level = np.random.default_rng(1).integers(60, 200, (8, *SHAPE[:2], 1))
    pale = (level + np.random.default_rng(2).integers(-2, 3, (8, *SHAPE))).astype(np.uint8)
    source = keras.Input(SHAPE)
    plain = keras.Model(source, plain_layers.translated(encoder.model, [source]))
    difference = plain(pale.astype(np.float32)).numpy() - encoder.encode(pale)
    assert np.abs(difference).max() < 5e-5
