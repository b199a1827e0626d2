"""The equations of PPO against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from donkey_rl.agents.ppo import losses
from donkey_rl.agents.ppo.distributions import Categorical, Gaussian
from donkey_rl.agents.tensorflow_setup import tf


def test_normalised_advantages_have_mean_0_and_sample_deviation_1() -> None:
    found = losses.normalised(tf.constant([1.0, 2.0, 3.0, 6.0])).numpy()
    # Mean 3, squares 4 + 1 + 0 + 9 = 14, sample deviation sqrt(14 / 3) = 2.1602.
    np.testing.assert_allclose(found, np.array([-2, -1, 0, 3]) / math.sqrt(14 / 3), rtol=1e-5)


def test_a_single_advantage_is_not_taken_away() -> None:
    # Less its own mean it would be 0, and with batches of one the policy would never learn.
    assert losses.normalised(tf.constant([-3.0])).numpy().tolist() == [-3.0]


def test_policy_loss_is_clipped_on_the_side_that_would_profit() -> None:
    ratio = tf.constant([1.5, 1.5, 0.5, 0.5])
    advantages = tf.constant([1.0, -1.0, 1.0, -1.0])
    # min(1.5, 1.2) + min(-1.5, -1.2) + min(0.5, 0.8) + min(-0.5, -0.8) = 1.2 - 1.5 + 0.5 - 0.8.
    found = losses.policy_loss(ratio, advantages, tf.constant(0.2)).numpy()
    assert found == pytest.approx(-(1.2 - 1.5 + 0.5 - 0.8) / 4)


@pytest.mark.parametrize(("clip", "expected"), [(None, (4 + 1) / 2), (0.5, (2.5**2 + 1) / 2)])
def test_value_loss_is_the_mean_square_with_or_without_clipping(
    clip: float | None, expected: float
) -> None:
    values, old = tf.constant([1.0, 0.0]), tf.constant([0.0, 0.0])
    # Clipped, the first value moves to 0.5 only: 3 - 0.5 = 2.5.
    found = losses.value_loss(values, old, tf.constant([3.0, 1.0]), clip).numpy()
    assert found == pytest.approx(expected)


def test_kl_is_0_for_the_same_policy_and_grows_both_ways() -> None:
    assert losses.approximate_kl(tf.constant([0.0, 0.0])).numpy() == 0.0
    # (e^0.1 - 1 - 0.1 + e^-0.1 - 1 + 0.1) / 2 = cosh(0.1) - 1.
    found = losses.approximate_kl(tf.constant([0.1, -0.1])).numpy()
    assert found == pytest.approx(math.cosh(0.1) - 1.0, rel=1e-3)


def test_clip_fraction_counts_ratios_outside() -> None:
    ratio = tf.constant([0.7, 0.9, 1.1, 1.3])
    assert losses.clip_fraction(ratio, tf.constant(0.2)).numpy() == 0.5


def test_gaussian_density_and_entropy() -> None:
    log_std = np.array([0.0, math.log(2.0)], np.float32)
    policy = Gaussian(tf.constant(log_std))
    outputs = tf.constant([[1.0, -1.0]])
    actions = tf.constant([[2.0, 1.0]])
    # z = 1 and (1 + 1) / 2 = 1: -0.5 (1 + 1) - log 2 - log(2 pi).
    expected = -1.0 - math.log(2.0) - math.log(2.0 * math.pi)
    assert policy.log_density(outputs, actions).numpy()[0] == pytest.approx(expected, rel=1e-5)
    # Entropy of a normal: log(std) + 0.5 log(2 pi e), twice.
    entropy = math.log(2.0) + math.log(2.0 * math.pi * math.e)
    assert policy.entropy(outputs).numpy()[0] == pytest.approx(entropy, rel=1e-5)
    drawn = policy.draw(outputs, tf.constant([[0.5, 0.5]])).numpy()
    np.testing.assert_allclose(drawn, [[1.5, 0.0]], atol=1e-6)
    np.testing.assert_array_equal(policy.most_likely(outputs), outputs)


def test_choices_are_drawn_by_their_probabilities() -> None:
    policy = Categorical()
    logits = np.log(np.array([0.1, 0.6, 0.3], np.float32))
    outputs = tf.constant(np.tile(logits, (20_000, 1)))
    noise = np.random.default_rng(0).uniform(1e-7, 1 - 1e-7, (20_000, 3)).astype(np.float32)
    drawn = policy.draw(outputs, tf.constant(noise)).numpy()[:, 0]
    shares = np.bincount(drawn, minlength=3) / 20_000
    # Standard error 0.0035; four of them.
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.014)
    density = policy.log_density(outputs[:3], tf.constant([[0.0], [1.0], [2.0]])).numpy()
    np.testing.assert_allclose(np.exp(density), [0.1, 0.6, 0.3], rtol=1e-5)
    entropy = -(0.1 * math.log(0.1) + 0.6 * math.log(0.6) + 0.3 * math.log(0.3))
    assert policy.entropy(outputs[:1]).numpy()[0] == pytest.approx(entropy, rel=1e-5)
    assert policy.most_likely(outputs[:1]).numpy().tolist() == [[1]]


def test_divergence_of_gaussians_is_that_of_their_means() -> None:
    gaussian = Gaussian(tf.Variable([0.0, math.log(2.0)]))
    wanted, outputs = tf.constant([[1.0, 2.0], [0.0, 0.0]]), tf.constant([[0.0, 0.0], [0.0, 0.0]])
    # (1 / 1)^2 / 2 + (2 / 2)^2 / 2 = 1.
    np.testing.assert_allclose(gaussian.divergence(wanted, outputs), [1.0, 0.0], atol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch([wanted, outputs])
        total = tf.reduce_sum(gaussian.divergence(wanted, outputs))
    fixed, moved = tape.gradient(total, [wanted, outputs])
    assert fixed is None
    np.testing.assert_allclose(moved, [[-1.0, -0.5], [0.0, 0.0]], atol=1e-6)


def test_divergence_of_gaussians_of_two_deviations() -> None:
    gaussian = Gaussian(tf.constant([0.0]))
    wanted, outputs = tf.constant([[0.5]]), tf.constant([[0.0]])
    # KL(N(0.5, e) | N(0, 1)) = -1 + (e^2 + 0.25) / 2 - 1/2
    found = gaussian.divergence(wanted, outputs, tf.constant([1.0]))
    np.testing.assert_allclose(found, [-1.5 + 0.5 * (np.e**2 + 0.25)], rtol=1e-5)


def test_divergence_of_choices() -> None:
    wanted, outputs = tf.math.log([[0.5, 0.5]]), tf.math.log([[0.9, 0.1]])
    # 0.5 ln(0.5 / 0.9) + 0.5 ln(0.5 / 0.1)
    found = Categorical().divergence(wanted, outputs)
    np.testing.assert_allclose(found, [0.510826], atol=1e-5)
