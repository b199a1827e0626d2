import math

import numpy as np
import pytest

from donkey_rl.agents.adam import Adam
from donkey_rl.agents.sac import losses, networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.tensorflow_setup import keras, tf


def test_a_draw_without_noise_is_the_tanh_of_the_mean():
    actions, log_density = losses.squashed_gaussian(
        tf.constant([[0.5, -1.0]]), tf.zeros((1, 2)), tf.zeros((1, 2))
    )
    np.testing.assert_allclose(actions, [[0.462117, -0.761594]], atol=1e-6)
    # Two standard normal densities at their peak: 2 * -0.918939 = -1.837877.
    # Less log(1 - 0.462117^2) = -0.240229 and log(1 - 0.761594^2) = -0.867562.
    np.testing.assert_allclose(log_density, [-1.837877 + 0.240229 + 0.867562], atol=1e-5)


def test_the_density_of_squashed_actions_is_a_density():
    # Summed over all actions in (-1, 1), exp(log pi) da must be 1.
    noise = np.linspace(-6, 6, 20_001, dtype=np.float32)[:, None]
    actions, log_density = losses.squashed_gaussian(
        tf.fill(noise.shape, 0.3), tf.fill(noise.shape, -0.5), tf.constant(noise)
    )
    total = np.trapezoid(np.exp(log_density.numpy()), actions.numpy()[:, 0])
    assert total == pytest.approx(1.0, abs=1e-3)


def test_the_density_stays_finite_where_tanh_saturates():
    _, log_density = losses.squashed_gaussian(
        tf.constant([[40.0]]), tf.zeros((1, 1)), tf.zeros((1, 1))
    )
    # -0.918939 - 2 (log 2 - 40 - 0) = -0.918939 - 1.386294 + 80.
    np.testing.assert_allclose(log_density, [77.694767], rtol=1e-5)


def test_the_target_bootstraps_from_the_lower_critic_and_stops_where_the_episode_ended():
    targets = losses.soft_target(
        returns=tf.constant([1.0, 1.0]),
        discounts=tf.constant([0.9, 0.0]),
        next_values=tf.constant([[4.0, 3.0], [100.0, 200.0]]),
        next_log_density=tf.constant([-2.0, -2.0]),
        alpha=tf.constant(0.5),
    )
    # 1 + 0.9 (3 - 0.5 * -2) = 4.6; the second episode terminated: 1.
    np.testing.assert_allclose(targets, [4.6, 1.0], rtol=1e-6)


def test_losses_agree_with_numpy():
    random = np.random.default_rng(0)
    values, targets = random.normal(size=(7, 2)), random.normal(size=7)
    log_density = random.normal(size=7)
    tensors = [tf.constant(x, tf.float32) for x in (values, targets, log_density)]

    critic = 0.5 * sum(np.mean((values[:, k] - targets) ** 2) for k in range(2))
    np.testing.assert_allclose(losses.critic_loss(tensors[0], tensors[1]), critic, rtol=1e-5)

    actor = np.mean(0.2 * log_density - np.minimum(values[:, 0], values[:, 1]))
    np.testing.assert_allclose(
        losses.actor_loss(tensors[2], tensors[0], tf.constant(0.2)), actor, rtol=1e-5
    )

    entropy = -math.log(0.2) * (log_density.mean() - 2.0)
    np.testing.assert_allclose(
        losses.entropy_loss(tf.constant(math.log(0.2)), tensors[2], -2.0), entropy, rtol=1e-5
    )


@pytest.mark.parametrize(("log_density", "sign"), [(1.0, -1), (3.0, 1)])
def test_the_entropy_coefficient_moves_towards_the_target(log_density, sign):
    # Entropy -1 is above the target of -2: alpha must fall; entropy -3 is below: it must rise.
    log_alpha = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        loss = losses.entropy_loss(log_alpha, tf.constant([log_density]), -2.0)
    step = -float(tape.gradient(loss, log_alpha))
    assert np.sign(step) == sign


def test_adam_takes_the_steps_of_keras():
    start = np.array([1.0, -2.0, 3.0], np.float32)
    ours, theirs = keras.Variable(start), keras.Variable(start)
    adam = Adam([ours])
    reference = keras.optimizers.Adam(0.1, epsilon=1e-8)
    reference.build([theirs])
    for gradient in ([1.0, 2.0, -3.0], [0.5, -1.0, 0.0], [0.1, 0.1, 9.0]):
        adam.apply([tf.constant(gradient)], 0.1)
        reference.apply([tf.constant(gradient)], [theirs])
    np.testing.assert_allclose(ours.value.numpy(), theirs.value.numpy(), rtol=1e-5)
    assert not np.allclose(ours.value.numpy(), start, atol=0.05)


def test_the_critics_are_two_different_networks():
    model = networks.critics(3, 2, SACConfig(hidden=(16, 16)), seed=0)
    inputs = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    values = model(inputs).numpy()
    assert values.shape == (9, 2)
    assert np.abs(values[:, 0] - values[:, 1]).min() > 1e-4


def test_the_deterministic_actor_is_the_tanh_of_the_mean():
    actor = networks.actor(4, 2, SACConfig(hidden=(8,)), seed=3)
    inputs = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    mean, _ = actor(inputs)
    np.testing.assert_allclose(
        networks.deterministic(actor)(inputs), np.tanh(mean.numpy()), atol=1e-6
    )
