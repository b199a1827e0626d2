"""Speed of learning, beside Stable-Baselines3 and, where it is installed, SBX.

The environments do no work, so that nothing but the algorithms is measured.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.experiments import stock_agents
from donkey_rl.experiments.rounds import Party, rates

FEATURES = 29
HIDDEN = (256, 256)
BATCH = 256
UPDATES = 64
"""Gradient steps of a round."""

IMAGE = (64, 64, 3)
IMAGE_UPDATES = 4
"""Gradient steps of a round from images: Stable-Baselines3 takes a second for them."""

WIDE = CnnConfig(filters=(32, 64, 64), units=512)
"""Filters and units of Stable-Baselines3's NatureCNN, at three times its multiplications."""

PPO_CARS = 8
ROLLOUT = 256

_STORED = 2_000
"""Transitions in the buffers that updates are drawn from."""

_NEVER = 10**6

Rates = dict[str, float | None]


class _Idle(gymnasium.Env[np.ndarray, np.ndarray]):
    """A world without work: random observations and rewards."""

    def __init__(self, space: spaces.Box) -> None:
        self.observation_space = space
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._rng = np.random.default_rng(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), float(self._rng.normal()), False, False, {}


def numbers(count: int = 1, features: int = FEATURES) -> DummyVecEnv:
    """Returns environments that show so many numbers."""
    space = spaces.Box(-1.0, 1.0, (features,), np.float32)
    return DummyVecEnv([lambda: _Idle(space)] * count)


def images() -> DummyVecEnv:
    """Returns an environment that shows images of the shape `IMAGE`."""
    return DummyVecEnv([lambda: _Idle(spaces.Box(0, 255, IMAGE, np.uint8))])


def sac_updates() -> Rates:
    """Returns gradient steps per second from numbers, by party; None where it is not there."""
    stock_agents.without_triton()
    same: dict[str, Any] = {
        "batch_size": BATCH,
        "policy_kwargs": {"net_arch": list(HIDDEN)},
        "learning_starts": _NEVER,
    }
    config = SACConfig(hidden=HIDDEN, batch_size=BATCH, learning_starts=_NEVER)
    models: dict[str, Any] = {
        "ours": SAC(numbers(), config, seed=0),
        "sb3": stable_baselines3.SAC("MlpPolicy", numbers(), device="cpu", **same),
    }
    sbx = _sbx()
    if sbx is not None:
        models["sbx"] = sbx.SAC("MlpPolicy", numbers(), **same)
    parties = {name: _updates(model, UPDATES) for name, model in models.items()}
    return {"sbx": None} | rates(parties)


def sac_image_updates() -> Rates:
    """Returns gradient steps per second from images: `ours`, `ours_wide` (see `WIDE`), `sb3`."""
    stock_agents.without_triton()
    models: dict[str, Any] = {
        name: SAC(
            images(),
            SACConfig(
                cnn=cnn,
                hidden=HIDDEN,
                batch_size=BATCH,
                learning_starts=_NEVER,
                buffer_size=_STORED,
            ),
            seed=0,
        )
        for name, cnn in (("ours", CnnConfig()), ("ours_wide", WIDE))
    }
    models["sb3"] = stable_baselines3.SAC(
        "CnnPolicy",
        images(),
        batch_size=BATCH,
        policy_kwargs={"net_arch": list(HIDDEN)},
        learning_starts=_NEVER,
        buffer_size=_STORED,
        device="cpu",
    )
    return dict(rates({name: _updates(model, IMAGE_UPDATES) for name, model in models.items()}))


def ppo_samples() -> Rates:
    """Returns steps per second of whole rollouts with their updates, by party."""
    stock_agents.without_triton()
    same: dict[str, Any] = {"n_steps": ROLLOUT, "batch_size": 64}
    models: dict[str, Any] = {
        "ours": PPO(numbers(PPO_CARS), PPOConfig(n_steps=ROLLOUT, batch_size=64), seed=0),
        "sb3": stable_baselines3.PPO("MlpPolicy", numbers(PPO_CARS), device="cpu", **same),
    }
    sbx = _sbx()
    if sbx is not None:
        models["sbx"] = sbx.PPO("MlpPolicy", numbers(PPO_CARS), **same)
    return {"sbx": None} | rates({name: _rollouts(model) for name, model in models.items()})


def _sbx() -> Any:
    """Returns SBX (Stable-Baselines3 on JAX), or None where it is not installed.

    TensorFlow Probability, whose part for JAX it uses, asks for a package of TensorFlow's old
    Keras where it sees TensorFlow loaded: it is not to see it.
    """
    if importlib.util.find_spec("sbx") is None:
        return None
    hidden = sys.modules.pop("tensorflow")
    try:
        return importlib.import_module("sbx")
    finally:
        sys.modules["tensorflow"] = hidden


def _updates(model: Any, count: int) -> Party:
    """Fills a model's buffer; a round is then that many gradient steps."""
    model.set_logger(Logger(None, []))
    model.learn(_STORED)
    return lambda: model.train(gradient_steps=count, batch_size=BATCH), count


def _rollouts(model: Any) -> Party:
    steps = PPO_CARS * ROLLOUT
    model.set_logger(Logger(None, []))
    return lambda: model.learn(steps, reset_num_timesteps=False), steps
