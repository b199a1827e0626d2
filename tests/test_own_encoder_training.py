"""Encoders of users that were trained, or are made of several models."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from donkey_rl.agents.encoders import own
from donkey_rl.agents.saliency import differentiable
from tests.test_own_encoder import MINE, SHAPE

TRAINED = """
class Custom(Reader):
    def fit(self, images, labels):
        wanted = np.stack([labels["left_edge"], labels["right_edge"]], axis=1)
        self.model.compile("adam", keras.losses.mean_squared_error)
        self.model.fit(images, wanted, epochs=1, verbose=0)


def nested(shape):
    seen = image(shape)
    inner = keras.Sequential([layers.AveragePooling2D(8), layers.Flatten()])
    return keras.Model(seen, inner(layers.Rescaling(1 / 255)(seen)))
"""


@pytest.mark.parametrize("name", ["Reader", "Custom"])
def test_what_it_was_trained_with_is_no_part_of_it(name: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE + TRAINED)
    draft = own.Draft(f"{file}:{name}", SHAPE, 0)
    images = np.random.default_rng(0).integers(0, 256, (64, *SHAPE), dtype=np.uint8)
    labels = dict.fromkeys(("left_edge", "right_edge"), np.zeros(64, np.float32))
    draft.fit(images, labels)
    encoder = draft.encoder()
    assert encoder.encode(images[:2]).shape == (2, 2)
    # Its layers are those of race servers; an optimiser would not be.
    assert draft.remark == ""


def test_a_model_within_a_model_can_be_differentiated(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE + TRAINED)
    encoder = own.Draft(f"{file}:nested", SHAPE, 0).encoder()
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    smooth = differentiable(encoder.model)
    np.testing.assert_allclose(
        np.asarray(smooth(images.astype(np.float32))), encoder.encode(images), atol=1e-5
    )
