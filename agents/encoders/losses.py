"""Losses of the encoders."""

from __future__ import annotations

from typing import Any

from donkey_rl.agents.tensorflow_setup import tf


def huber(errors: Any, delta: float) -> Any:
    """Returns the mean Huber loss of errors of any shape: quadratic up to delta, then linear."""
    size = tf.abs(errors)
    quadratic = tf.minimum(size, delta)
    return tf.reduce_mean(quadratic * (size - 0.5 * quadratic))
