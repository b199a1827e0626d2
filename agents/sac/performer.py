"""A policy that acts: cnn and actor in one compiled call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import cnn
from donkey_rl.agents.observations import Layout, Parts
from donkey_rl.agents.sac import losses, networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.tensorflow_setup import tf

FloatArray = npt.NDArray[np.float32]


class Performer:
    """What turns observations into actions.

    Attributes:
        actor: Keras model, features (B, D) -> mean and log standard deviation, (B, A) each.
        cnn: Keras model, images (B, h, w, c) -> features, or None without images.
    """

    def __init__(
        self, layout: Layout, actions: int, config: SACConfig, seeds: tuple[int, int]
    ) -> None:
        """Builds both networks; compiles at the first use.

        Args:
            layout: What observations are made of.
            actions: Number A of actions.
            config: Settings.
            seeds: Decide the initial weights of actor and cnn.

        Raises:
            InputError: When images are too small for the cnn.
        """
        self.cnn: Any = None
        self.features = layout.numbers
        if layout.image is not None:
            self.cnn = cnn.network(layout.image, config.cnn, seeds[1])
            self.features += config.cnn.units
        self.actor = networks.actor(self.features, actions, config, seeds[0])
        image = [] if layout.image is None else [tf.TensorSpec((None, *layout.image), tf.uint8)]
        seen = [tf.TensorSpec((None, layout.numbers), tf.float32), *image]
        noise = tf.TensorSpec((None, actions), tf.float32)
        self._act = tf.function(self._draw, input_signature=[seen, noise])
        if config.sde:
            self._explorer = networks.explorer(self.actor)
            matrices = tf.TensorSpec((None, config.hidden[-1], actions), tf.float32)
            self._explore = tf.function(self._draw_by_state, input_signature=[seen, matrices])

    def act(self, parts: Parts, noise: FloatArray) -> FloatArray:
        """Returns actions in [-1, 1], (B, A), for B observations and as much noise, (B, A)."""
        actions: FloatArray = self._act(_given(parts), noise).numpy()
        return actions

    def explore(self, parts: Parts, matrices: FloatArray) -> FloatArray:
        """Returns actions (B, A) with state-dependent noise of matrices (B, H, A) or (1, H, A)."""
        actions: FloatArray = self._explore(_given(parts), matrices).numpy()
        return actions

    def weights(self) -> list[FloatArray]:
        """Returns a copy of all weights."""
        return [variable.value.numpy() for variable in self._variables()]

    def adopt(self, weights: Sequence[FloatArray]) -> None:
        """Takes the `weights` of a performer of the same settings."""
        for variable, value in zip(self._variables(), weights, strict=True):
            variable.value.assign(value)

    def _variables(self) -> list[Any]:
        return [*self.actor.weights, *([] if self.cnn is None else self.cnn.weights)]

    def read(self, numbers: Any, image: Any, cut: int = 1) -> Any:
        """Returns the features that actor and critics read, (B, D), as a tensor.

        Args:
            numbers: (B, F).
            image: (B, h, w, c), or None.
            cut: Parts of the batch that the cnn sees side by side; pays for many images.
        """
        if image is None:
            return numbers
        return tf.concat([cnn.in_parts(self.cnn, image, cut), numbers], axis=-1)

    def squashed(self, features: Any, noise: Any) -> tuple[Any, Any]:
        """Returns actions (B, A) drawn at features (B, D), and their log density (B,)."""
        mean, log_std = self.actor(features)
        return losses.squashed_gaussian(mean, networks.clipped(log_std), noise)

    def _draw(self, seen: Any, noise: Any) -> Any:
        actions, _ = self.squashed(self.read(*both(seen)), noise)
        return actions

    def _draw_by_state(self, seen: Any, matrices: Any) -> Any:
        mean, latent = self._explorer(self.read(*both(seen)))
        shape = (tf.shape(latent)[0], *matrices.shape[1:])
        layer = self.actor.get_layer(networks.LOG_STD)
        return tf.tanh(mean + layer.noise(latent, tf.broadcast_to(matrices, shape)))


def both(parts: Any) -> tuple[Any, Any]:
    """Returns numbers and image of a list that may hold only the numbers."""
    return parts[0], (parts[1] if len(parts) > 1 else None)


def _given(parts: Parts) -> list[npt.NDArray[Any]]:
    return [part for part in parts if part is not None]
