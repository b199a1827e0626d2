"""What settings of PPO do to an update: each holds still what it should, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from donkey_rl.agents import observations
from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.observations import Parts
from donkey_rl.agents.ppo import rollout
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.learner import Learner
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.ppo.rollout import Rollout

RATE = 1e-3
SMALL = PPOConfig(hidden=(16,), batch_size=32, n_epochs=2)


def fresh(**settings: Any) -> Learner:
    """Returns a learner of two actions that sees three numbers, always of the same weights."""
    space = spaces.Box(-1, 1, (3,), np.float32)
    config = SMALL.model_copy(update=settings)
    return Learner(observations.layout(space), 2, config, 0, choices=False)


def driven(learner: Learner, count: int = 64) -> Rollout:
    """Returns steps of the policy as it is, of advantages and errors of the critic by chance."""
    random = np.random.default_rng(1)
    seen = Parts(random.normal(size=(count, 3)).astype(np.float32), None)
    actions, density, values = learner.act(seen)
    advantages, errors = random.normal(size=(2, count)).astype(np.float32)
    return Rollout(rollout.seen(seen), actions, density, advantages, values + errors, values)


def moved(learner: Learner, steps: Rollout, *, warm_up: bool = False) -> tuple[float, float]:
    """Returns the largest change of a weight of actor and critic in an update."""
    models = (learner.actor, learner.critic)
    before = [[w.copy() for w in model.get_weights()] for model in models]
    if warm_up:
        learner.warm_up(steps, RATE)
    else:
        learner.update(steps, RATE, 0.2)
    actor, critic = (
        max(float(np.abs(now - then).max()) for now, then in zip(after, old, strict=True))
        for after, old in zip((model.get_weights() for model in models), before, strict=True)
    )
    return actor, critic


def steps_taken(learner: Learner) -> int:
    return int(learner.state()["optimiser.step"])


def test_actor_and_critic_both_learn_where_nothing_holds_them() -> None:
    learner = fresh()
    assert min(moved(learner, driven(learner))) > RATE


def test_a_critic_whose_loss_weighs_nothing_stays_as_it_is() -> None:
    learner = fresh(value_coefficient=0.0)
    actor, critic = moved(learner, driven(learner))
    assert critic == 0.0
    assert actor > RATE


@pytest.mark.parametrize("warm_up", [False, True])
def test_gradients_are_scaled_down_to_their_largest_length(warm_up: bool) -> None:
    # Adam undoes any scale, but for what it adds to a gradient's size, 1e-5: of its length of 1e-9
    # four steps of about 1e-9 / 1e-5 of the learning rate remain.
    learner = fresh(max_gradient_norm=1e-9)
    assert 0.0 < max(moved(learner, driven(learner), warm_up=warm_up)) < 1e-2 * RATE


def test_a_critic_beyond_its_clip_range_goes_no_farther() -> None:
    learner = fresh(clip_range_values=0.1)
    steps = driven(learner)
    # It said one less of everything when the steps were taken.
    actor, critic = moved(learner, steps._replace(values=steps.values - np.float32(1.0)))
    assert critic == 0.0
    assert actor > RATE


@pytest.mark.parametrize("normalise", [True, False])
def test_equal_advantages_teach_only_where_they_are_taken_as_they_are(normalise: bool) -> None:
    learner = fresh(normalise_advantage=normalise)
    steps = driven(learner)
    actor, critic = moved(learner, steps._replace(advantages=np.ones(64, np.float32)))
    # Less their mean all of them are 0.
    assert (actor == 0.0) if normalise else (actor > RATE)
    assert critic > RATE


def test_a_new_agent_explores_as_widely_as_it_is_told() -> None:
    config = SMALL.model_copy(update={"initial_log_std": -1.0})
    learner = PPO(make_vec_env("Pendulum-v1", 1, seed=0), config, seed=0).learner
    assert learner.log_std.numpy().tolist() == [-1.0]
    seen = Parts(np.random.default_rng(0).normal(size=(4_000, 3)).astype(np.float32), None)
    strayed = learner.act(seen)[0] - learner.decide(seen)
    # The standard error of a deviation of 4,000 is 1.1 % of it.
    assert strayed.std() == pytest.approx(np.exp(-1.0), rel=0.06)


def test_advantages_are_of_the_settings_and_of_what_follows_the_last_step() -> None:
    # So small a step changes no weight of the critic; no episode ends within 200 steps.
    config = SMALL.model_copy(
        update={"n_steps": 16, "gamma": 0.5, "gae_lambda": 0.25, "learning_rate": 1e-12}
    )
    model = PPO(make_vec_env("Pendulum-v1", 2, seed=0), config, seed=0)
    model.learn(32)
    buffer = model.rollout_buffer
    assert not buffer.ended.any()
    last = model.learner.values(Parts(np.asarray(model._last_obs, np.float32), None))
    assert np.abs(last).min() > 1e-3
    np.testing.assert_allclose(
        buffer.advantages,
        rollout.advantages(buffer.rewards, buffer.values, buffer.ended, last, (0.5, 0.25)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_no_step_is_taken_with_a_policy_that_has_moved_too_far() -> None:
    learner = fresh(target_kl=0.01, n_epochs=1)
    steps = driven(learner, 32)
    # Of actions that were likelier by e^s when they were taken the estimate is e^-s - 1 + s:
    # 0.368, 0.0187 and 0.0119. An update ends beyond 1.5 times the target.
    for shift, taken in ((1.0, 0), (0.2, 0), (0.158, 1)):
        changes = moved(learner, steps._replace(log_density=steps.log_density + np.float32(shift)))
        assert steps_taken(learner) == taken
        assert (min(changes) > 0.5 * RATE) if taken else (max(changes) == 0.0)


def test_an_update_ends_for_good_where_it_finds_the_policy_moved_too_far() -> None:
    learner = fresh(target_kl=0.01, n_epochs=1, batch_size=1)
    steps = driven(learner)
    shifts = np.tile(np.array([0, 1], np.float32), 32)
    # A step so small that only the shifts move it.
    learner.update(steps._replace(log_density=steps.log_density + shifts), 1e-9, 0.2)
    # One step each, every second too far: were the others taken all the same, they would be 32.
    assert 0 < steps_taken(learner) < 16


def test_the_critic_is_to_say_of_changed_images_what_it_says_of_them_as_they_are() -> None:
    road = spaces.Dict(
        image=spaces.Box(0, 255, (16, 24, 3), np.uint8),
        numbers=spaces.Box(-np.inf, np.inf, (4,), np.float32),
    )
    config = PPOConfig(
        hidden=(16,), batch_size=32, n_epochs=1, cnn=CnnConfig(filters=(4, 8), units=16),
        normalise_advantage=False, value_coefficient=0.0,
        agreement=1.0, augmentation=AugmentationConfig(mirror=True),
    )  # fmt: skip
    learner = Learner(observations.layout(road), 2, config, 0, choices=False)
    random = np.random.default_rng(1)
    numbers = np.tile(random.normal(size=4).astype(np.float32), (32, 1))
    image = np.tile(random.integers(0, 256, (16, 24, 3)).astype(np.uint8), (32, 1, 1, 1))
    actions, density, values = learner.act(Parts(numbers, image))
    # Speed, yaw rate and the last action, of which steering is mirrored.
    turned = Parts(numbers * np.array([1, -1, -1, 1], np.float32), image[:, :, ::-1])
    gap = float((values - learner.values(turned))[0])
    assert abs(gap) > 0.01
    # Worth nothing, so that agreement alone is learned.
    nothing = np.zeros(32, np.float32)
    steps = Rollout((numbers, image), actions, density, nothing, values, values)
    learner.update(steps, RATE, 0.2)
    # What is added to all values is in both; it only moves where one of them is the aim.
    assert learner.critic.get_weights()[-1][0] == pytest.approx(np.sign(gap) * RATE, rel=0.05)
