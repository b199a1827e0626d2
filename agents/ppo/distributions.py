"""What a policy draws its actions from, as pure functions of tensors.

Shapes: B observations, A numbers of an action, or A choices.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from donkey_rl.agents.tensorflow_setup import tf

Tensor = Any

_LOG_TWO_PI = math.log(2.0 * math.pi)


class Distribution(Protocol):
    """Actions for the outputs of an actor."""

    def draw(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Returns actions, (B, A) or (B, 1).

        Args:
            outputs: Of the actor, (B, A).
            noise: Standard normal numbers for a Gaussian, uniform ones in (0, 1) for choices,
                (B, A).
        """

    def most_likely(self, outputs: Tensor) -> Tensor:
        """Returns the most likely actions, (B, A) or (B, 1)."""

    def log_density(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Returns the logarithm of the actions' density or probability, (B,)."""

    def entropy(self, outputs: Tensor) -> Tensor:
        """Returns the entropy in nats, (B,)."""

    def divergence(self, wanted: Tensor, outputs: Tensor, log_std: Tensor = None) -> Tensor:
        """Returns how far what is drawn is from what is wanted, KL(wanted | drawn) in nats, (B,).

        Args:
            wanted: Outputs of the actor, which get no gradient, (B, A).
            outputs: Outputs of the actor, (B, A).
            log_std: Logarithm of a Gaussian's wanted deviation, (A,); None for what it is now.
        """


class Gaussian:
    """Independent normal actions whose deviation does not depend on the observation."""

    def __init__(self, log_std: Any) -> None:
        """Takes the learned logarithm of the deviation, (A,)."""
        self.log_std = log_std

    def draw(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """See `Distribution.draw`."""
        return outputs + tf.exp(self.log_std) * noise

    def most_likely(self, outputs: Tensor) -> Tensor:
        """Returns the mean, (B, A)."""
        return outputs

    def log_density(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """See `Distribution.log_density`."""
        scaled = (actions - outputs) * tf.exp(-self.log_std)
        return -0.5 * tf.reduce_sum(tf.square(scaled) + 2.0 * self.log_std + _LOG_TWO_PI, axis=-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """See `Distribution.entropy`."""
        one = tf.reduce_sum(self.log_std + 0.5 * (1.0 + _LOG_TWO_PI))
        return tf.fill(tf.shape(outputs)[:1], one)

    def divergence(self, wanted: Tensor, outputs: Tensor, log_std: Tensor = None) -> Tensor:
        """See `Distribution.divergence`; what is wanted gets no gradient."""
        fixed = tf.stop_gradient(self.log_std if log_std is None else log_std)
        gap = tf.square(tf.stop_gradient(wanted) - outputs) + tf.exp(2.0 * fixed)
        each = self.log_std - fixed + 0.5 * gap * tf.exp(-2.0 * self.log_std) - 0.5
        return tf.reduce_sum(each, axis=-1)


class Categorical:
    """One of A choices, by the softmax of the outputs."""

    def draw(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Draws by the Gumbel-max trick: the largest of ``logit - log(-log(uniform))``."""
        gumbel = -tf.math.log(-tf.math.log(noise))
        return tf.argmax(outputs + gumbel, axis=-1, output_type=tf.int32)[:, None]

    def most_likely(self, outputs: Tensor) -> Tensor:
        """Returns the likeliest choice, (B, 1)."""
        return tf.argmax(outputs, axis=-1, output_type=tf.int32)[:, None]

    def log_density(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """See `Distribution.log_density`; actions are numbers of choices, (B, 1)."""
        chosen = tf.cast(actions[:, 0], tf.int32)
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(chosen, outputs)

    def entropy(self, outputs: Tensor) -> Tensor:
        """See `Distribution.entropy`."""
        return -tf.reduce_sum(tf.nn.softmax(outputs) * tf.nn.log_softmax(outputs), axis=-1)

    def divergence(self, wanted: Tensor, outputs: Tensor, log_std: Tensor = None) -> Tensor:
        """See `Distribution.divergence`."""
        fixed = tf.nn.log_softmax(tf.stop_gradient(wanted))
        return tf.reduce_sum(tf.exp(fixed) * (fixed - tf.nn.log_softmax(outputs)), axis=-1)
