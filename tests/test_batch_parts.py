"""Batches of images that go through a network in parts, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from donkey_rl import cores
from donkey_rl.agents import cnn, tensorflow_setup
from donkey_rl.agents.encoders import training
from donkey_rl.agents.tensorflow_setup import batch_parts, keras, tf


def test_features_do_not_hang_on_the_parts() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    images = np.random.default_rng(0).random((9, 4, 6, 3)).astype(np.float32)
    whole = model(images).numpy()
    for parts in range(1, 6):
        for count in range(1, 10):
            seen = cnn.in_parts(model, tf.constant(images[:count]), parts).numpy()
            np.testing.assert_allclose(seen, whole[:count], atol=1e-6)


@pytest.mark.parametrize(
    ("usable", "limit", "rows", "parts"),
    [
        (2, "", 64, 2),
        (1, "", 64, 2),
        (8, "", 64, 8),
        (64, "", 256, 16),
        (16, "", 20, 5),
        (16, "4", 64, 4),
        (16, "many", 64, 16),
        (4, "", 3, 1),
    ],
)
def test_a_batch_has_as_many_parts_as_cores_within_limits(
    usable: int, limit: str, rows: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable", lambda: tuple(range(usable)))
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert batch_parts(rows) == parts
    assert tensorflow_setup.batch_parts(rows) <= rows


def test_a_gradient_step_does_not_hang_on_the_parts() -> None:
    # Seven rows cut in three: parts of different sizes count by their rows.
    random = np.random.default_rng(0)
    data = [random.normal(size=(2, 7, 3)).astype(np.float32)]
    results = []
    for cut in (1, 2, 3):
        variable = tf.Variable([1.0, -2.0, 0.5])

        def loss(rows: Any, seed: Any, weights: Any = variable) -> Any:
            return tf.reduce_mean(tf.square(tf.linalg.matvec(rows[0], weights)))

        rows = [tf.TensorSpec((None, 7, 3), tf.float32)]
        trainer = training._Trainer([variable], loss, rows, cut)
        found = trainer.steps(data, np.float32([0.1, 0.1]), np.int32([[0, 0], [0, 3]]))
        results.append((float(found), variable.numpy()))
    for value, weights in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-5)
        np.testing.assert_allclose(weights, results[0][1], atol=1e-5)
