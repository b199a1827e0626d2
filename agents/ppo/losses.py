"""The equations of proximal policy optimisation, as pure functions of tensors.

Source: Schulman et al., "Proximal Policy Optimization Algorithms", arXiv:1707.06347 (2017).
Shapes: B steps. Every tensor is float32.
"""

from __future__ import annotations

from typing import Any

from donkey_rl.agents.tensorflow_setup import tf

Tensor = Any


def normalised(advantages: Tensor) -> Tensor:
    """Returns advantages with mean 0 and deviation 1 over the batch, (B,).

    The deviation is that of a sample (B - 1), and a single advantage stays as it is, both as in
    Stable-Baselines3.
    """
    centred = advantages - tf.reduce_mean(advantages)
    count = tf.cast(tf.size(advantages), tf.float32)
    variance = tf.reduce_sum(tf.square(centred)) / tf.maximum(count - 1.0, 1.0)
    return tf.where(count > 1.0, centred / (tf.sqrt(variance) + 1e-8), advantages)


def policy_loss(ratio: Tensor, advantages: Tensor, clip_range: Tensor) -> Tensor:
    """Returns the clipped surrogate loss.

    Equation 7, negated: ``-E[min(r A, clip(r, 1 - e, 1 + e) A)]``.

    Args:
        ratio: Probability of the actions now over that when they were taken, (B,).
        advantages: (B,).
        clip_range: e, ().

    Returns:
        The loss, ().
    """
    clipped = tf.clip_by_value(ratio, 1.0 - clip_range, 1.0 + clip_range)
    return -tf.reduce_mean(tf.minimum(ratio * advantages, clipped * advantages))


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float | None
) -> Tensor:
    """Returns the critic's mean squared error.

    Args:
        values: What the critic says now, (B,).
        old_values: What it said when the steps were taken, (B,).
        returns: What followed, (B,).
        clip_range: How far it may move from what it said; None for freely.

    Returns:
        The loss, ().
    """
    if clip_range is not None:
        values = old_values + tf.clip_by_value(values - old_values, -clip_range, clip_range)
    return tf.reduce_mean(tf.square(returns - values))


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Returns how far the policy has moved: ``E[(r - 1) - log r]``, ().

    Source: Schulman, "Approximating KL divergence" (2020), the estimator k3, which is never
    negative.

    Args:
        log_ratio: Logarithm of the ratio of `policy_loss`, (B,).
    """
    return tf.reduce_mean(tf.exp(log_ratio) - 1.0 - log_ratio)


def clip_fraction(ratio: Tensor, clip_range: Tensor) -> Tensor:
    """Returns the share of steps whose ratio is outside the clip range, ()."""
    return tf.reduce_mean(tf.cast(tf.abs(ratio - 1.0) > clip_range, tf.float32))
