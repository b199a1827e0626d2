"""PPO as Stable-Baselines3's users know it: it learns, predicts, saves, stops and refuses."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl.agents.observations import Parts
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.configuration import validate
from donkey_rl.errors import ConfigurationError, DonkeyRLError, InputError
from tests.logged_metrics import Logged

SMALL = PPOConfig(n_steps=32, batch_size=64, n_epochs=2)


class Corridor(gymnasium.Env[np.ndarray, Any]):
    """One state, reward 1 a step; ends after one step, by its task or by the clock."""

    def __init__(self, *, terminates: bool) -> None:
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.Box(-2, 2, (1,), np.float32)
        self.terminates = terminates

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(np.asarray(action, np.float32))
        return np.zeros(1, np.float32), 1.0, self.terminates, not self.terminates, {}


class Broken(Corridor):
    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), float("nan"), False, False, {}


@pytest.mark.slow
def test_solves_cartpole() -> None:
    config = PPOConfig(
        n_steps=16, batch_size=256, n_epochs=20, gamma=0.98, gae_lambda=0.8,
        learning_rate=1e-3, final_learning_rate=1e-5, final_clip_range=1e-3,
    )  # fmt: skip
    model = PPO(make_vec_env("CartPole-v1", 16, seed=0), config, seed=0)
    model.learn(80_000)
    mean, _ = evaluate_policy(model, make_vec_env("CartPole-v1", 20, seed=100), 20)
    # A random policy comes to 22, and 195 is what is held to be a solution.
    assert mean >= 195.0


@pytest.mark.parametrize(("terminates", "expected"), [(True, 1.0), (False, 2.0)])
def test_time_limit_is_bootstrapped_and_termination_is_not(
    terminates: bool, expected: float
) -> None:
    # One state and a reward of 1: what ends is worth 1; what is only cut goes on for ever and is
    # worth 1 / (1 - 0.5) = 2.
    env = DummyVecEnv([lambda: Corridor(terminates=terminates)] * 4)
    config = PPOConfig(n_steps=64, batch_size=64, n_epochs=10, gamma=0.5, learning_rate=3e-3)
    model = PPO(env, config, seed=0)
    model.learn(3_000)
    assert model.learner.values(Parts(np.zeros((1, 1), np.float32), None))[0] == pytest.approx(
        expected, rel=0.05
    )


def test_same_seed_is_same_run() -> None:
    def run(seed: int) -> np.ndarray:
        model = PPO(make_vec_env("CartPole-v1", 2, seed=seed), SMALL, seed=seed)
        model.learn(256)
        return np.concatenate([w.ravel() for w in model.learner.actor.get_weights()])

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_saved_agent_predicts_and_goes_on_as_before(name: str, tmp_path: Path) -> None:
    env = make_vec_env(name, 2, seed=0)
    model = PPO(env, SMALL, seed=0)
    model.learn(128)
    model.save(tmp_path / "agent")
    loaded = PPO.load(tmp_path / "agent", make_vec_env(name, 2, seed=0))
    seen = np.stack([env.observation_space.sample() for _ in range(8)])
    seen = np.clip(seen, -3, 3)
    np.testing.assert_array_equal(
        model.predict(seen, deterministic=True)[0], loaded.predict(seen, deterministic=True)[0]
    )
    assert loaded.num_timesteps == 128
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 192
    assert not any(zipfile.is_zipfile(file) for file in (tmp_path / "agent").glob("*.json"))
    with pytest.raises(InputError, match="Expected the"):
        PPO.load(tmp_path / "agent", DummyVecEnv([lambda: Corridor(terminates=True)]))


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_predict_takes_one_observation_or_many(name: str) -> None:
    env = make_vec_env(name, 1, seed=0)
    model = PPO(env, SMALL, seed=0)
    one = np.zeros(env.observation_space.shape, np.float32)
    single, state = model.predict(one, deterministic=True)
    many, _ = model.predict(np.stack([one] * 3), deterministic=True)
    assert state is None
    assert np.shape(single) == env.action_space.shape
    assert env.action_space.contains(single if np.shape(single) else int(single))
    np.testing.assert_array_equal(many, np.stack([single] * 3))
    drawn = {tuple(np.ravel(model.predict(one)[0])) for _ in range(30)}
    assert len(drawn) > 1
    with pytest.raises(InputError, match="a batch of them"):
        model.predict(np.zeros((2, 2, 9)))


def test_update_stops_where_the_policy_has_moved_enough() -> None:
    env = make_vec_env("CartPole-v1", 4, seed=0)
    settings = {"n_steps": 64, "batch_size": 64, "n_epochs": 30, "learning_rate": 1e-2}
    free = PPO(env, PPOConfig(**settings), seed=0)
    held = PPO(env, PPOConfig(**settings, target_kl=0.003), seed=0)
    taken = []
    for model in (free, held):
        model.learn(256)
        taken.append(int(model.learner.state()["optimiser.step"]))
    assert taken[0] == 30 * 4
    assert 1 <= taken[1] < 60


def test_critic_learns_alone_at_first_and_the_actor_after_it() -> None:
    config = PPOConfig(n_steps=64, batch_size=64, learning_rate=3e-3, critic_steps=2_048)
    model = PPO(make_vec_env("CartPole-v1", 8, seed=0), config, seed=0)
    before = [weights.copy() for weights in model.learner.actor.get_weights()]
    model.learn(2_048)
    for now, then in zip(model.learner.actor.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    buffer = model.rollout_buffer
    assert explained_variance(buffer.values.ravel(), buffer.returns.ravel()) > 0.2
    model.learn(512, reset_num_timesteps=False)
    after = model.learner.actor.get_weights()
    assert all((now != then).any() for now, then in zip(after, before, strict=True))


def test_callback_can_stop_it_and_sees_each_step() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 100

    model = PPO(make_vec_env("CartPole-v1", 2, seed=0), SMALL, seed=0)
    model.learn(10_000, Stop())
    assert model.num_timesteps == 100


def test_an_update_is_logged_at_its_own_step_and_none_steps_beyond_the_last_rate() -> None:
    config = SMALL.model_copy(
        update={"learning_rate": 1e-3, "final_learning_rate": 1e-4, "final_clip_range": 0.02}
    )
    model = PPO(make_vec_env("CartPole-v1", 4, seed=0), config, seed=0)
    logged = Logged(model)
    # The rollout of 128 steps goes three times beyond the end.
    model.learn(32)
    assert logged.steps["train/learning_rate"] == 128
    assert logged.last["train/learning_rate"] == pytest.approx(1e-4)
    assert logged.last["train/clip_range"] == pytest.approx(0.02)


def test_rewards_that_are_no_numbers_end_it_with_the_remedy() -> None:
    model = PPO(DummyVecEnv([lambda: Broken(terminates=False)]), SMALL, seed=0)
    with pytest.raises(DonkeyRLError, match=r"finite losses.*ppo\.learning_rate"):
        model.learn(64)


def test_driver_model_is_the_most_likely_action() -> None:
    env = make_vec_env("Pendulum-v1", 2, seed=0)
    model = PPO(env, SMALL, seed=0)
    model.learn(128)
    seen = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    expected = np.clip(model.learner.decide(Parts(seen, None)), -1.0, 1.0)
    np.testing.assert_allclose(model.deterministic_model()(seen).numpy(), expected, atol=1e-6)
    choices = PPO(make_vec_env("CartPole-v1", 1), SMALL, seed=0)
    with pytest.raises(InputError, match="steering and throttle"):
        choices.deterministic_model()


@pytest.mark.parametrize(
    "env",
    [
        lambda: gymnasium.make("CliffWalking-v1"),
        lambda: gymnasium.make("FrozenLake-v1"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(env: Any) -> None:
    with pytest.raises(InputError, match="Expected a flat Box"):
        PPO(DummyVecEnv([env]), SMALL)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clip_range": 0.1, "final_clip_range": 0.2}, "must not exceed clip_range"),
        ({"gae_lambda": 1.5}, "gae_lambda"),
        ({"n_stesp": 3}, "Did you mean 'n_steps'"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        validate(PPOConfig, values)
