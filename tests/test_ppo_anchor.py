"""`ppo.anchor`: a policy that learns by reward is held by what it was taught before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from tests.logged_metrics import Logged
from tests.test_ppo_images import SMALL, envs

QUICK = {"n_steps": 32, "batch_size": 64, "n_epochs": 8, "learning_rate": 3e-3}


def moved(anchor: float, name: str = "CartPole-v1") -> float:
    """Returns how far a policy goes from its beginning: of its outputs, root mean square."""
    model = PPO(make_vec_env(name, 4, seed=0), PPOConfig(**QUICK, anchor=anchor), seed=0)
    seen = np.random.default_rng(0).normal(size=(64, model.observation_space.shape[0]))
    before = model.learner.actor(seen.astype(np.float32)).numpy()
    model.learn(1_024)
    after = model.learner.actor(seen.astype(np.float32)).numpy()
    return float(np.sqrt(np.mean((after - before) ** 2)))


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_the_more_it_weighs_the_nearer_the_policy_stays(name: str) -> None:
    free, light, heavy = (moved(anchor, name) for anchor in (0.0, 1.0, 30.0))
    assert heavy < light < free
    assert heavy < 0.3 * free


def test_the_deviation_is_held_as_well() -> None:
    settings = {"n_steps": 64, "batch_size": 64, "n_epochs": 8, "learning_rate": 1e-2}
    widths = {}
    for anchor in (0.0, 100.0):
        config = PPOConfig(**settings, anchor=anchor, entropy_coefficient=0.3)
        model = PPO(make_vec_env("Pendulum-v1", 4, seed=0), config, seed=0)
        model.learn(1_024)
        widths[anchor] = float(model.learner.log_std.numpy().item())
    assert widths[0.0] > 0.2
    assert abs(widths[100.0]) < 0.05


def test_it_holds_what_the_policy_was_when_its_first_update_began() -> None:
    config = PPOConfig(**QUICK, anchor=1.0, critic_steps=512)
    model = PPO(make_vec_env("Pendulum-v1", 4, seed=0), config, seed=0)
    logged = Logged(model)
    taught = [0.5 + each for each in model.learner.actor.get_weights()]
    model.learner.actor.set_weights(taught)
    model.learn(512)
    assert not any(key.startswith("anchor.") for key in model.learner.state())
    model.learn(512, reset_num_timesteps=False)
    held = [model.learner.state()[f"anchor.{k + 1:02d}"] for k in range(len(taught))]
    for now, then in zip(held, taught, strict=True):
        np.testing.assert_array_equal(now, then)
    assert any(
        (now != then).any()
        for now, then in zip(model.learner.actor.get_weights(), taught, strict=True)
    )
    assert logged.last["train/anchor_kl"] > 0.0


def test_it_gives_way_to_a_policy_that_is_sure_and_takes_hold_again() -> None:
    settings = QUICK | {"anchor": 0.4, "least_anchor": 0.15}
    model = PPO(make_vec_env("CartPole-v1", 4, seed=0), PPOConfig(**settings), seed=0)
    logged = Logged(model)
    # The policy is still what it was taught: there is nothing to give way from.
    model.checked(sure=True)
    model.learn(128)
    found = [logged.last["train/anchor"]]
    for sure in (True, True, True, False, False):
        model.checked(sure)
        model.learn(128, reset_num_timesteps=False)
        found.append(logged.last["train/anchor"])
    np.testing.assert_allclose(found, [0.4, 0.2, 0.15, 0.15, 0.3, 0.4], rtol=1e-6)


def test_a_weight_that_has_fallen_counts_in_the_next_update() -> None:
    went = {}
    for least in (None, 1e-4):
        config = PPOConfig(**QUICK, anchor=30.0, least_anchor=least)
        model = PPO(make_vec_env("CartPole-v1", 4, seed=0), config, seed=0)
        logged = Logged(model)
        model.learn(128)
        for _ in range(20):
            model.checked(sure=True)
        model.learn(1_024, reset_num_timesteps=False)
        went[least] = logged.last["train/anchor_kl"]
    assert went[1e-4] > 10.0 * went[None]


def test_a_least_weight_above_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="least_anchor must not exceed anchor, received 0"):
        PPOConfig(anchor=0.1, least_anchor=0.2)


@pytest.mark.parametrize("flagged", [True, False])
def test_stored_agents_are_held_by_the_same_policy(flagged: bool, tmp_path: Path) -> None:
    kwargs: dict[str, Any] = {"flagged": flagged, "choices": False}
    model = PPO(
        envs(**kwargs), SMALL.model_copy(update={"anchor": 0.1, "least_anchor": 0.01}), seed=0
    )
    model.learn(64)
    model.checked(sure=True)
    model.save(tmp_path / "agent")
    loaded = PPO.load(tmp_path / "agent", envs(**kwargs))
    stored, found = model.learner.state(), loaded.learner.state()
    held = [key for key in stored if key.startswith("anchor.")]
    assert len(held) == 2 + len(model.learner.actor.weights) + len(model.learner.cnn.weights)
    assert stored["anchor.weight"] == np.float32(0.05)
    for key in held:
        np.testing.assert_array_equal(found[key], stored[key])
    loaded.learn(64, reset_num_timesteps=False)
    for key in held:
        np.testing.assert_array_equal(loaded.learner.state()[key], stored[key])
