"""Agents beside each other in the same time."""

from __future__ import annotations

import io
import time

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl import configuration
from donkey_rl.agents import driving
from donkey_rl.errors import UnknownNameError
from donkey_rl.experiments import driving_bench
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay


def progress() -> ProgressDisplay:
    return ProgressDisplay(io.StringIO())


def test_what_drives_of_a_stock_agent_can_be_kept_and_put_back() -> None:
    env = DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")])
    agent = driving_bench._StockSAC("MlpPolicy", env, seed=0, device="cpu")
    seen = np.array([[0.5, 0.5, 1.0]], np.float32)
    before = agent.predict(seen, deterministic=True)[0]
    kept = driving.weights(agent)
    with torch.no_grad():
        for weights in agent.actor.parameters():
            weights.add_(0.5)
    assert np.abs(agent.predict(seen, deterministic=True)[0] - before).max() > 1e-3
    driving.put_back(agent, kept)
    np.testing.assert_array_equal(agent.predict(seen, deterministic=True)[0], before)


def test_an_unknown_party_answers_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'sac lane'"):
        driving_bench.compare(TrainingConfig(), ["sac lan"], 1.0, progress())


@pytest.mark.slow
@pytest.mark.parametrize("party", ["sac lane", "sb3 sac autoencoder"])
def test_a_party_trains_until_its_time_is_up_and_is_raced(party: str) -> None:
    base = configuration.validate(TrainingConfig, {"cars": 4, "check": {"every": 200}})
    settings = ("encoder.frames=512", "encoder.epochs=1")
    parties = {party: (*driving_bench.PARTIES[party], *settings)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driving_bench, "PARTIES", parties)
        began = time.monotonic()
        (found,) = driving_bench.compare(base, [party], 4.0, progress())
    assert time.monotonic() - began >= 4.0
    assert found.party == party
    # Far from the 200,000 steps of the run: the time ended it, after some driving.
    assert 0 < found.steps < 100_000
    assert 0 <= found.races_clean <= driving_bench.RACES
    assert 0.0 <= found.steering_change <= 2.0


def test_ppo_from_pixels_has_the_settings_of_its_recipe_but_the_steps_of_all() -> None:
    party = "ppo cnn"
    settings = [*driving_bench.PARTIES[party], *driving_bench._of_recipe(party)]
    config = configuration.with_settings(TrainingConfig(steps=123), settings)
    assert (config.agent, config.encoder.name, config.steps) == ("ppo", "cnn", 123)
    recipe = configuration.read_recipe("pixels")
    assert config.cars == recipe["cars"]
    assert config.ppo.n_steps == recipe["ppo"]["n_steps"]
    assert driving_bench._of_recipe("sac lane") == []
