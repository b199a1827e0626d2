"""The equations of soft actor-critic, as pure functions of tensors.

Source: Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", arXiv:1812.05905 (2018),
unless a function names another. Shapes: B transitions, A actions, N critics, M quantiles of each.
Every tensor is float32.
"""

from __future__ import annotations

import math
from typing import Any

from donkey_rl.agents.tensorflow_setup import tf

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_LOG_TWO = math.log(2.0)

Tensor = Any


def squashed_gaussian(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draws actions from a Gaussian squashed by tanh, and their log-density.

    Appendix C, equation 26: ``log pi(a|s) = log mu(u|s) - sum_i log(1 - tanh(u_i)^2)`` with
    ``u = mean + std * noise`` and ``a = tanh(u)``. The correction is computed as
    ``2 (log 2 - u - softplus(-2 u))``, which is equal and stays finite for a large ``u``.

    Args:
        mean: Mean before squashing, (B, A).
        log_std: Logarithm of the standard deviation before squashing, (B, A).
        noise: Standard normal numbers, (B, A).

    Returns:
        Actions in [-1, 1], (B, A), and their log-density, (B,).
    """
    unsquashed = mean + tf.exp(log_std) * noise
    gaussian = -0.5 * tf.square(noise) - log_std - _HALF_LOG_TWO_PI
    correction = 2.0 * (_LOG_TWO - unsquashed - tf.nn.softplus(-2.0 * unsquashed))
    return tf.tanh(unsquashed), tf.reduce_sum(gaussian - correction, axis=-1)


def soft_target(
    returns: Tensor,
    discounts: Tensor,
    next_values: Tensor,
    next_log_density: Tensor,
    alpha: Tensor,
) -> Tensor:
    """Returns what the critics should have said.

    Equations 2 and 3 with the minimum of the target critics (section 5) and n-step returns:
    ``y = R + d (min_i Q_i(s', a') - alpha log pi(a'|s'))``.

    Args:
        returns: Discounted sum of the rewards between s and s', (B,).
        discounts: Discount of what follows s', (B,): gamma to the number of steps between s and
            s', and 0 where the episode **terminated** at s'. A time limit does not make it 0.
        next_values: Target critics at (s', a'), (B, N).
        next_log_density: log pi(a'|s'), (B,).
        alpha: Entropy coefficient, ().

    Returns:
        The targets, (B,).
    """
    return returns + discounts * (tf.reduce_min(next_values, axis=-1) - alpha * next_log_density)


def quantile_target(
    returns: Tensor,
    discounts: Tensor,
    next_quantiles: Tensor,
    next_log_density: Tensor,
    alpha: Tensor,
    dropped: int,
) -> Tensor:
    """Returns the quantiles that the critics should have told.

    Kuznetsov et al. 2020, arXiv:2005.04269, equations 10 and 11: those of all target critics
    together, less the highest, ``y_i = R + d (z_(i) - alpha log pi(a'|s'))``.

    Args:
        returns: As for `soft_target`, (B,).
        discounts: As for `soft_target`, (B,).
        next_quantiles: Target critics at (s', a'), (B, N, M).
        next_log_density: log pi(a'|s'), (B,).
        alpha: Entropy coefficient, ().
        dropped: How many to leave out per critic.

    Returns:
        The targets in ascending order, (B, N (M - dropped)).
    """
    _, critics, quantiles = next_quantiles.shape
    kept = critics * (quantiles - dropped)
    pooled = tf.sort(tf.reshape(next_quantiles, (-1, critics * quantiles)), axis=-1)[:, :kept]
    soft = pooled - alpha * next_log_density[:, None]
    return returns[:, None] + discounts[:, None] * soft


def critic_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Returns half the squared error of the critics, averaged over the batch.

    Equation 5, summed over the critics.

    Args:
        values: The critics at the stored (s, a), (B, N).
        targets: Result of `soft_target`, (B,).

    Returns:
        The loss, ().
    """
    errors = values - targets[:, None]
    return 0.5 * tf.reduce_sum(tf.reduce_mean(tf.square(errors), axis=0))


def quantile_loss(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Returns the quantile Huber loss, averaged over all pairs, summed over the critics.

    Kuznetsov et al. 2020, arXiv:2005.04269, equations 12 and 13, at the middles of M equal shares,
    ``tau_m = (2 m - 1) / (2 M)``, and with a Huber threshold of 1.

    Args:
        quantiles: The critics at the stored (s, a), (B, N, M).
        targets: Result of `quantile_target`, (B, K).

    Returns:
        The loss, ().
    """
    count = quantiles.shape[-1]
    shares = (tf.range(count, dtype=tf.float32) + 0.5) / count
    errors = targets[:, None, None, :] - quantiles[..., None]
    size = tf.abs(errors)
    huber = tf.where(size > 1.0, size - 0.5, 0.5 * tf.square(errors))
    weights = tf.abs(shares[:, None] - tf.cast(errors < 0.0, tf.float32))
    return tf.reduce_sum(tf.reduce_mean(tf.stop_gradient(weights) * huber, axis=(0, 2, 3)))


def actor_loss(log_density: Tensor, values: Tensor, alpha: Tensor) -> Tensor:
    """Returns how far the actor is from the critics' soft optimum.

    Equation 9 with the minimum of the critics: ``E[alpha log pi(a|s) - min_i Q_i(s, a)]``.

    Args:
        log_density: log pi(a|s) of actions drawn now, (B,).
        values: The critics at (s, a), (B, N).
        alpha: Entropy coefficient, ().

    Returns:
        The loss, ().
    """
    return tf.reduce_mean(alpha * log_density - tf.reduce_min(values, axis=-1))


def quantile_actor_loss(log_density: Tensor, quantiles: Tensor, alpha: Tensor) -> Tensor:
    """Returns the same where the critics tell quantiles, of which none is dropped.

    Kuznetsov et al. 2020, arXiv:2005.04269, equation 14:
    ``E[alpha log pi(a|s) - mean_nm theta_nm(s, a)]``.

    Args:
        log_density: log pi(a|s) of actions drawn now, (B,).
        quantiles: The critics at (s, a), (B, N, M).
        alpha: Entropy coefficient, ().

    Returns:
        The loss, ().
    """
    return tf.reduce_mean(alpha * log_density - tf.reduce_mean(quantiles, axis=(1, 2)))


def entropy_loss(log_alpha: Tensor, log_density: Tensor, target_entropy: float) -> Tensor:
    """Returns the loss that holds the entropy at its target.

    Equation 18, with ``log alpha`` in place of ``alpha``: the sign of the gradient is the same
    and alpha stays positive.

    Args:
        log_alpha: Logarithm of the entropy coefficient, ().
        log_density: log pi(a|s) of actions drawn now, (B,); no gradient flows into it.
        target_entropy: Entropy to hold, in nats.

    Returns:
        The loss, ().
    """
    return -log_alpha * tf.stop_gradient(tf.reduce_mean(log_density) + target_entropy)
