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


def test_the_highest_quantiles_are_left_out_of_the_target():
    targets = losses.quantile_target(
        returns=tf.constant([1.0, 1.0]),
        discounts=tf.constant([0.5, 0.0]),
        next_quantiles=tf.constant([[[4.0, 1.0, 9.0], [2.0, 8.0, 6.0]], [[7.0] * 3] * 2]),
        next_log_density=tf.constant([-2.0, -2.0]),
        alpha=tf.constant(0.5),
        dropped=1,
    )
    # Together 1 2 4 6 8 9; one per critic is dropped: 1 2 4 6. Soft: one more each, -0.5 * -2.
    # 1 + 0.5 (2, 3, 5, 7); the second episode terminated.
    np.testing.assert_allclose(targets, [[2.0, 2.5, 3.5, 4.5], [1.0] * 4], rtol=1e-6)


def test_the_quantile_losses_agree_with_numpy():
    random = np.random.default_rng(0)
    quantiles = random.normal(size=(5, 3, 4)) * 2
    targets = random.normal(size=(5, 6)) * 2
    total = 0.0
    for b in range(5):
        for n in range(3):
            for m in range(4):
                for k in range(6):
                    error = targets[b, k] - quantiles[b, n, m]
                    huber = error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
                    # The middles of four equal shares: 1/8, 3/8, 5/8, 7/8.
                    total += abs((2 * m + 1) / 8 - (error < 0)) * huber
    found = losses.quantile_loss(
        tf.constant(quantiles, tf.float32), tf.constant(targets, tf.float32)
    )
    np.testing.assert_allclose(found, total / (5 * 4 * 6), rtol=1e-5)

    log_density = random.normal(size=5)
    actor = losses.quantile_actor_loss(
        tf.constant(log_density, tf.float32), tf.constant(quantiles, tf.float32), tf.constant(0.2)
    )
    expected = np.mean(0.2 * log_density - quantiles.reshape(5, 12).mean(axis=1))
    np.testing.assert_allclose(actor, expected, rtol=1e-5)


def test_the_quantile_loss_finds_the_quantiles():
    # Of the numbers 0 to 9 each as often, the middles of five equal shares.
    quantiles, targets = tf.Variable(tf.zeros((1, 1, 5))), tf.range(10.0)[None]
    adam = Adam([quantiles])
    for _ in range(400):
        with tf.GradientTape() as tape:
            loss = losses.quantile_loss(quantiles, targets)
        adam.apply([tape.gradient(loss, quantiles)], 0.1)
    # 0.5 2.5 4.5 6.5 8.5, which the Huber threshold of 1 draws inwards a little.
    np.testing.assert_allclose(quantiles[0, 0], [0.5, 2.5, 4.5, 6.5, 8.5], atol=0.5)


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


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_critics_are_different_networks(count):
    model = networks.critics(3, 2, SACConfig(hidden=(16, 16), critics=count), seed=0)
    inputs = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    values = model(inputs).numpy()
    assert values.shape == (9, count)
    for one in range(1, count):
        assert np.abs(values[:, one] - values[:, one - 1]).min() > 1e-4


def test_critics_tell_quantiles():
    model = networks.critics(3, 2, SACConfig(hidden=(16,), quantiles=7), seed=0)
    assert model(np.zeros((4, 5), np.float32)).shape == (4, 2, 7)


def test_dropout_is_a_function_of_its_seed():
    config = SACConfig(hidden=(64, 64), critic_dropout=0.25, critic_layer_norm=True)
    model = networks.critics(3, 2, config, seed=0)
    inputs = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    one, again, other = (
        model([inputs, np.array(seed, np.int32)]).numpy() for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


def test_dropout_keeps_the_mean():
    layer = networks.Dropout(0.25, index=3)
    dropped = layer(tf.ones((100, 400)), tf.constant([5, 6])).numpy()
    # 40,000 draws: the share has a standard deviation of 0.002.
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert np.unique(dropped[dropped > 0]) == pytest.approx(4 / 3)
    other = networks.Dropout(0.25, index=4)(tf.ones((100, 400)), tf.constant([5, 6])).numpy()
    # Two independent choices agree in 0.25^2 + 0.75^2 = 0.625 of the places.
    assert (dropped == other).mean() == pytest.approx(0.625, abs=0.02)


def test_layer_normalisation_bounds_what_critics_say_of_far_states():
    random = np.random.default_rng(0)
    far = (1e4 * random.normal(size=(20, 5))).astype(np.float32)
    plain, normalised = (
        networks.critics(3, 2, SACConfig(critic_layer_norm=norm), seed=0)(far).numpy()
        for norm in (False, True)
    )
    assert np.abs(plain).max() > 1e2
    assert np.abs(normalised).max() < 10


def test_exploration_by_state_has_the_deviation_that_the_actor_says():
    model = networks.actor(4, 2, SACConfig(hidden=(8,), sde=True), seed=3)
    layer = model.get_layer(networks.LOG_STD)
    layer.log_weight.assign(np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32))
    features = np.random.default_rng(1).normal(size=(1, 4)).astype(np.float32)
    mean, log_std = model(features)
    again, latent = networks.explorer(model)(features)
    np.testing.assert_allclose(again, mean, rtol=1e-6)
    matrices = np.random.default_rng(2).normal(size=(20_000, 8, 2)).astype(np.float32)
    noise = layer.noise(tf.repeat(latent, 20_000, axis=0), matrices).numpy()
    # The standard error of a deviation from 20,000 draws is 0.5 %.
    np.testing.assert_allclose(noise.std(axis=0), np.exp(log_std)[0], rtol=0.03)


def test_the_deterministic_actor_is_the_tanh_of_the_mean():
    actor = networks.actor(4, 2, SACConfig(hidden=(8,)), seed=3)
    inputs = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    mean, _ = actor(inputs)
    np.testing.assert_allclose(
        networks.deterministic(actor)(inputs), np.tanh(mean.numpy()), atol=1e-6
    )
