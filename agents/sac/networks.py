"""The actor and the twin critics, as Keras models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from donkey_rl.agents.tensorflow_setup import keras, tf

LOG_STD_LIMITS = (-20.0, 2.0)
"""Bounds of the logarithm of the actor's standard deviation before squashing."""


def _layer_seeds(seed: int) -> Iterator[int]:
    """Yields one independent seed per layer."""
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2**31))


def _dense(units: int, seed: int, activation: str | None = None, name: str | None = None) -> Any:
    return keras.layers.Dense(
        units,
        activation=activation,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        name=name,
    )


def actor(features: int, actions: int, hidden: Sequence[int], seed: int) -> Any:
    """Builds the actor.

    Args:
        features: Length F of an observation.
        actions: Number A of actions.
        hidden: Units of each hidden layer.
        seed: Decides the initial weights.

    Returns:
        A Keras model, (B, F) -> mean (B, A) and log standard deviation (B, A, not yet clipped to
        `LOG_STD_LIMITS`), both before squashing.
    """
    seeds = _layer_seeds(seed)
    inputs = keras.Input((features,), name="features")
    x = inputs
    for units in hidden:
        x = _dense(units, next(seeds), "relu")(x)
    mean = _dense(actions, next(seeds), name="mean")(x)
    log_std = _dense(actions, next(seeds), name="log_std")(x)
    return keras.Model(inputs, [mean, log_std], name="actor")


def critics(features: int, actions: int, hidden: Sequence[int], seed: int) -> Any:
    """Builds the twin critics as one model of two separate stacks.

    Two stacks run side by side on two cores; one stack with batched weights was 30 % slower.

    Args:
        features: Length F of an observation.
        actions: Number A of actions.
        hidden: Units of each hidden layer of each critic.
        seed: Decides the initial weights.

    Returns:
        A Keras model, observation and action side by side (B, F + A) -> values (B, 2).
    """
    seeds = _layer_seeds(seed)
    inputs = keras.Input((features + actions,), name="features_and_actions")
    values = []
    for _ in range(2):
        x = inputs
        for units in hidden:
            x = _dense(units, next(seeds), "relu")(x)
        values.append(_dense(1, next(seeds))(x))
    return keras.Model(inputs, keras.layers.Concatenate()(values), name="critics")


def deterministic(actor_model: Any) -> Any:
    """Returns the actor's most likely action as a model of its own, for a driver folder.

    Args:
        actor_model: Result of `actor`; the weights are shared, not copied.

    Returns:
        A Keras model, (B, F) -> actions in [-1, 1], (B, A).
    """
    mean, _ = actor_model.outputs
    outputs = keras.layers.Activation("tanh", name="action")(mean)
    return keras.Model(actor_model.inputs[0], outputs, name="driver")


def clipped(log_std: Any) -> Any:
    """Returns the logarithm of the standard deviation inside `LOG_STD_LIMITS`, (B, A)."""
    return tf.clip_by_value(log_std, *LOG_STD_LIMITS)
