"""Actor and critic of proximal policy optimisation, as Keras models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from donkey_rl.agents.tensorflow_setup import keras


def _dense(units: int, gain: float, seed: int, activation: str | None = None) -> Any:
    """A layer with orthogonal weights, as the method's reference code has them."""
    return keras.layers.Dense(
        units,
        activation=activation,
        kernel_initializer=keras.initializers.Orthogonal(gain=gain, seed=seed),
    )


def network(features: int, outputs: int, hidden: Sequence[int], gain: float, seed: int) -> Any:
    """Builds a stack of layers.

    Args:
        features: Length F of an observation.
        outputs: Number O of outputs.
        hidden: Units of each hidden layer.
        gain: Of the last layer's weights: small for an actor, so that it starts undecided.
        seed: Decides the initial weights.

    Returns:
        A Keras model, (B, F) -> (B, O).
    """
    generator = np.random.default_rng(seed)
    inputs = keras.Input((features,), name="features")
    x = inputs
    for units in hidden:
        x = _dense(units, float(np.sqrt(2.0)), int(generator.integers(2**31)), "tanh")(x)
    return keras.Model(inputs, _dense(outputs, gain, int(generator.integers(2**31)))(x))


def deterministic(actor: Any) -> Any:
    """Returns the actor's most likely action as a model of its own, for a driver folder.

    Args:
        actor: The mean of a Gaussian policy, (B, F) -> (B, A); the weights are shared.

    Returns:
        A Keras model, (B, F) -> actions in [-1, 1], (B, A).
    """
    return keras.Model(actor.inputs[0], keras.ops.clip(actor.outputs[0], -1.0, 1.0), name="driver")
