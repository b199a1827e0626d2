"""Observations taken apart, and the shift of images."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from donkey_rl.agents import cnn, observations
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.errors import InputError

IMAGE = spaces.Box(0, 255, (24, 32, 3), np.uint8)
BOTH = spaces.Dict(
    image=IMAGE,
    speed=spaces.Box(0, 10, (1,), np.float32),
    actions=spaces.Box(-1, 1, (4,), np.float32),
)


def test_a_dict_becomes_an_image_and_numbers_in_its_order() -> None:
    found = observations.layout(BOTH)
    assert (found.numbers, found.image) == (5, (24, 32, 3))
    image = np.arange(2 * 24 * 32 * 3, dtype=np.uint8).reshape(2, 24, 32, 3)
    batch = {
        "image": image,
        "speed": np.array([[5.0], [6.0]], np.float32),
        "actions": np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]], np.float32),
    }
    parts, single = found.split(batch)
    assert not single
    # A Dict sorts its keys: actions stand before speed.
    order = [name for name in BOTH.spaces if name != "image"]
    expected = np.concatenate([batch[name] for name in order], axis=1)
    np.testing.assert_array_equal(parts.numbers, expected)
    np.testing.assert_array_equal(parts.image, image)
    one, single = found.split({name: part[1] for name, part in batch.items()})
    assert single
    np.testing.assert_array_equal(one.numbers, expected[1:])
    np.testing.assert_array_equal(one.image, image[1:])


@pytest.mark.parametrize("shape", [(24, 32, 3), (3, 24, 32)])
def test_an_image_may_have_its_channels_first(shape: tuple[int, int, int]) -> None:
    found = observations.layout(spaces.Box(0, 255, shape, np.uint8))
    assert found.image == (24, 32, 3)
    image = np.random.default_rng(0).integers(0, 256, (5, 24, 32, 3)).astype(np.uint8)
    for given in (image, np.moveaxis(image, -1, 1)):
        parts, _ = found.split(given)
        np.testing.assert_array_equal(parts.image, image)
        assert parts.numbers.shape == (5, 0)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.Box(-1, 1, (3, 4), np.float32),
        spaces.Dict(a=IMAGE, b=IMAGE),
        spaces.Dict(a=IMAGE, b=spaces.Discrete(2)),
    ],
)
def test_other_spaces_are_refused(space: spaces.Space) -> None:
    with pytest.raises(InputError, match="Expected a flat Box, an image"):
        observations.layout(space)


@pytest.mark.parametrize(
    ("space", "observation", "message"),
    [
        (IMAGE, np.zeros((24, 31, 3), np.uint8), "uint8 images"),
        (IMAGE, np.zeros((24, 32, 3), np.float32), "uint8 images"),
        (BOTH, np.zeros(3), "a dict of"),
        (BOTH, {"image": np.zeros((24, 32, 3), np.uint8)}, "a dict of"),
        (BOTH, {"image": np.zeros((24, 32, 3), np.uint8), "another": np.zeros(1)}, "a dict of"),
        (
            BOTH,
            {
                "image": np.zeros((2, 24, 32, 3), np.uint8),
                "speed": np.zeros((2, 1)),
                "actions": np.zeros((3, 4)),
            },
            r"as many of each part. Received: 2, 3",
        ),
        (spaces.Box(-1, 1, (2,), np.float32), np.zeros(3), r"shape \(2,\)"),
        (spaces.Box(-1, 1, (2,), np.float32), {"a": np.zeros(2)}, r"shape \(2,\)"),
    ],
)
def test_an_observation_of_another_shape_is_refused(
    space: spaces.Space, observation: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        observations.layout(space).split(observation)


def test_the_network_is_bounded_and_seeded() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3)).astype(np.uint8)
    one, same, other = (cnn.network((24, 32, 3), CnnConfig(), seed) for seed in (1, 1, 2))
    found = np.asarray(one(images))
    assert found.shape == (4, 64)
    assert np.abs(found).max() <= 1.0
    np.testing.assert_array_equal(found, np.asarray(same(images)))
    assert np.abs(found - np.asarray(other(images))).max() > 0.1
    with pytest.raises(InputError, match="large enough for 3 convolutions"):
        cnn.network((7, 32, 3), CnnConfig(), 0)
