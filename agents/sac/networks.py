"""The actor and the critics, as Keras models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.tensorflow_setup import keras, tf

LOG_STD_LIMITS = (-20.0, 2.0)
"""Bounds of the logarithm of the actor's standard deviation before squashing."""

LOG_STD = "log_std"
"""Name of the actor's layer of that logarithm."""

_PRECISIONS = {"float32": None, "bfloat16": "mixed_bfloat16"}
_INITIAL_LOG_WEIGHT = -3.0
_VARIANCE_FLOOR = 1e-6


def _layer_seeds(seed: int) -> Iterator[int]:
    """Yields one independent seed per layer."""
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2**31))


def _dense(units: int, seed: int, **settings: Any) -> Any:
    initialiser = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(units, kernel_initializer=initialiser, **settings)


class Dropout(keras.layers.Layer):  # type: ignore[misc]
    """Dropout whose choice is a function of a seed that is handed in.

    Keras's own layer keeps its state; a compiled update must be pure.
    """

    def __init__(self, rate: float, index: int) -> None:
        """Sets the share of inputs that become 0, and what tells this layer from its sisters."""
        super().__init__()
        self._rate, self._index = rate, index

    def call(self, inputs: Any, seed: Any) -> Any:
        """Returns inputs (B, n), some of them 0 and the others as much larger.

        Args:
            inputs: (B, n).
            seed: Two integers, (2,).
        """
        drawn = tf.random.stateless_uniform(tf.shape(inputs), tf.add(seed, (self._index, 0)))
        return tf.where(drawn >= self._rate, inputs / (1.0 - self._rate), 0.0)


class StateDependentLogStd(keras.layers.Layer):  # type: ignore[misc]
    """The deviation that generalised state-dependent exploration has at a state.

    The noise of an action is ``latent @ (weight * Z)`` with standard normal ``Z`` (H, A), so its
    variance is ``latent^2 @ weight^2`` (Raffin et al. 2021, arXiv:2005.05719).

    Attributes:
        log_weight: Logarithm of the learned weights, (H, A).
    """

    def __init__(self, actions: int, name: str) -> None:
        """Sets the number A of actions."""
        super().__init__(name=name)
        self._actions = actions

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for a latent of length H."""
        self.log_weight = self.add_weight(
            shape=(input_shape[-1], self._actions),
            initializer=keras.initializers.Constant(_INITIAL_LOG_WEIGHT),
            name="log_weight",
        )

    def call(self, latent: Any) -> Any:
        """Returns the logarithm of the standard deviation, (B, A), at a latent (B, H)."""
        variance = tf.matmul(tf.square(latent), tf.exp(2.0 * self.log_weight))
        return 0.5 * tf.math.log(variance + _VARIANCE_FLOOR)

    def noise(self, latent: Any, matrices: Any) -> Any:
        """Returns the noise (B, A) that matrices (B, H, A), or one for all, make of a latent."""
        return tf.einsum("bh,bha->ba", latent, tf.exp(self.log_weight) * matrices)


def actor(features: int, actions: int, config: SACConfig, seed: int) -> Any:
    """Builds the actor.

    Args:
        features: Length F of what it reads.
        actions: Number A of actions.
        config: Settings.
        seed: Decides the initial weights.

    Returns:
        A Keras model, (B, F) -> mean (B, A) and log standard deviation (B, A, not yet clipped to
        `LOG_STD_LIMITS`), both before squashing.
    """
    seeds = _layer_seeds(seed)
    inputs = keras.Input((features,), name="features")
    x = inputs
    for units in config.hidden:
        x = _dense(units, next(seeds), activation="relu")(x)
    mean = _dense(actions, next(seeds), name="mean")(x)
    if config.sde:
        log_std = StateDependentLogStd(actions, LOG_STD)(x)
    else:
        log_std = _dense(actions, next(seeds), name=LOG_STD)(x)
    return keras.Model(inputs, [mean, log_std], name="actor")


def explorer(actor_model: Any) -> Any:
    """Returns what state-dependent exploration reads, (B, F) -> mean (B, A) and latent (B, H)."""
    mean, _ = actor_model.outputs
    latent = actor_model.get_layer(LOG_STD).input
    return keras.Model(actor_model.inputs[0], [mean, latent], name="explorer")


def critics(features: int, actions: int, config: SACConfig, seed: int) -> Any:
    """Builds the critics as one model of separate stacks.

    Two stacks run side by side on two cores; one stack with batched weights was 30 % slower.
    Dropout and layer normalisation stand between a layer and its ReLU (Hiraoka et al. 2022,
    arXiv:2110.02034). With ``critic_precision`` bfloat16 what is multiplied between hidden layers
    is rounded, weights and moments are not: soft actor-critic in 16 bits throughout fails without
    further measures (Bjorck et al. 2021, arXiv:2102.13565).

    Args:
        features: Length F of what they read.
        actions: Number A of actions.
        config: Settings.
        seed: Decides the initial weights.

    Returns:
        A Keras model, features and action side by side (B, F + A), and with dropout a seed (2,)
        -> values (B, N) of N critics, or their quantiles (B, N, M).
    """
    inputs = keras.Input((features + actions,), name="features_and_actions")
    choice = keras.Input(batch_shape=(2,), dtype="int32", name="seed")
    values = _stacks(inputs, choice, config, seed)
    joined = keras.layers.Concatenate()(values) if len(values) > 1 else values[0]
    if config.quantiles:
        joined = keras.layers.Reshape((config.critics, config.quantiles))(joined)
    return keras.Model(
        [inputs, choice] if config.critic_dropout else inputs, joined, name="critics"
    )


def _stacks(inputs: Any, choice: Any, config: SACConfig, seed: int) -> list[Any]:
    """Returns what each critic says of features and action, (B, 1) or its quantiles (B, M)."""
    seeds = _layer_seeds(seed)
    plain = not (config.critic_dropout or config.critic_layer_norm)
    values = []
    dropped = 0
    for _ in range(config.critics):
        x = inputs
        for index, units in enumerate(config.hidden):
            # The first layer reads observations as they are.
            dtype = None if index == 0 else _PRECISIONS[config.critic_precision]
            x = _dense(units, next(seeds), activation="relu" if plain else None, dtype=dtype)(x)
            if config.critic_dropout:
                x = Dropout(config.critic_dropout, dropped)(x, choice)
                dropped += 1
            if config.critic_layer_norm:
                x = keras.layers.LayerNormalization()(x)
            if not plain:
                x = keras.layers.ReLU()(x)
        values.append(_dense(max(1, config.quantiles), next(seeds))(x))
    return values


def value(critics_model: Any, features: int, actions: int, config: SACConfig) -> Any:
    """Returns what the critics think of an action as a model of its own, for a driver folder.

    That is what the actor learns to raise: the lowest of the critics (Haarnoja et al. 2018,
    arXiv:1812.05905, equation 9), or the mean of all quantiles (Kuznetsov et al. 2020,
    arXiv:2005.04269, TQC). Nothing drops out of it, and it is of single precision.

    Args:
        critics_model: Result of `critics`; the weights are copied.
        features: Length F of what they read.
        actions: Number A of actions.
        config: Settings that the critics were built by.

    Returns:
        A Keras model, features and action side by side (B, F + A) -> value (B, 1).
    """
    inputs = keras.Input((features + actions,), name="features_and_actions")
    sober = config.model_copy(update={"critic_dropout": 0.0, "critic_precision": "float32"})
    said = _stacks(inputs, None, sober, seed=0)
    joined = keras.layers.Concatenate()(said) if len(said) > 1 else said[0]
    keras.Model(inputs, joined).set_weights(critics_model.get_weights())
    if not config.quantiles:
        lowest = keras.layers.Minimum(name="value")(said) if len(said) > 1 else joined
        return keras.Model(inputs, lowest, name="critic")
    mean = keras.layers.Dense(1, use_bias=False, name="value")
    model = keras.Model(inputs, mean(joined), name="critic")
    mean.set_weights([np.full((joined.shape[-1], 1), 1.0 / joined.shape[-1], np.float32)])
    return model


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
