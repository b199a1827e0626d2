"""The policy that the updates begin with, which they are not to leave without reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import cnn
from donkey_rl.agents.tensorflow_setup import keras, tf

FloatArray = npt.NDArray[np.float32]

_WEIGHT = "weight"


class Anchor:
    """A copy of the networks that decide, from when it was told to hold them.

    What a policy was taught before it learns by reward can be lost where nothing holds it. So its
    divergence from the policy at the beginning is a part of the loss (Schmitt et al. 2018,
    "Kickstarting Deep Reinforcement Learning", arXiv:1803.03835, section 3.1, with the student's
    own beginning as its teacher). A policy that has become sure of itself is held less, so that
    it can leave what is merely safe.

    Attributes:
        weight: Of the divergence in the loss, a variable ().
        log_std: Logarithm of the deviation that is held, (A,).
        held: Whether there is a copy yet.
    """

    def __init__(
        self, actor: Any, images: Any | None, log_std: Any, weights: tuple[float, float]
    ) -> None:
        """Prepares the copies.

        Args:
            actor: Keras model, features -> outputs.
            images: Keras model that makes features of images, None without images.
            log_std: Logarithm of the actions' deviation, a variable (A,).
            weights: The least weight and the one to begin with, which is the most.
        """
        self._least, self._most = weights
        self.weight = tf.Variable(self._most, trainable=False, dtype=tf.float32)
        self._deviation, self.log_std = log_std, tf.Variable(log_std, trainable=False)
        self._from = [actor] if images is None else [actor, images]
        self._copies = [keras.models.clone_model(each) for each in self._from]
        for copy in self._copies:
            copy.trainable = False
        self.held = False

    def hold(self) -> None:
        """Copies the weights as they are now."""
        for source, copy in zip(self._from, self._copies, strict=True):
            copy.set_weights(source.get_weights())
        self.log_std.assign(self._deviation)
        self.held = True

    def give_way(self, sure: bool) -> None:
        """Halves the weight of a policy that is sure, doubles that of another, in its limits.

        Nothing before it holds: until the first update the policy is what it was taught.
        """
        if not self.held:
            return
        wanted = float(self.weight.numpy()) * (0.5 if sure else 2.0)
        self.weight.assign(min(max(wanted, self._least), self._most))

    def outputs(self, numbers: Any, *image: Any) -> Any:
        """Returns what the policy that is held answers, (B, A).

        Args:
            numbers: (B, F).
            image: (B, h, w, c), where there is one.
        """
        if not image:
            return self._copies[0](numbers)
        seen = cnn.in_parts(self._copies[1], *image)
        return self._copies[0](tf.concat([seen, numbers], axis=-1))

    def state(self) -> dict[str, FloatArray]:
        """Returns what is held and how firmly, by name; nothing before it holds."""
        if not self.held:
            return {}
        weights = [self.log_std.numpy()]
        weights += [each for copy in self._copies for each in copy.get_weights()]
        return {f"{k:02d}": each for k, each in enumerate(weights)} | {
            _WEIGHT: self.weight.numpy()
        }

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Puts back what `state` returned."""
        weights = [state[name] for name in sorted(state) if name != _WEIGHT]
        # Agents that were stored before it could give way held as firmly as at first.
        self.weight.assign(state.get(_WEIGHT, self._most))
        self.held = bool(weights)
        if not weights:
            return
        self.log_std.assign(weights.pop(0))
        for copy in self._copies:
            count = len(copy.get_weights())
            copy.set_weights(weights[:count])
            weights = weights[count:]
