"""Speed of learning, beside Stable-Baselines3 and, where it is installed, SBX.

The environments do no work, so that nothing but the algorithms is measured. Where PyTorch or JAX
sees a GPU, theirs are measured on it as well, as `sb3_gpu` and `sbx_gpu`; ours never use one
(`agents.tensorflow_setup` says why).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
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
    parties = {"ours": _updates(SAC(numbers(), config, seed=0), UPDATES)}
    parties |= _on_torch(
        lambda device: _updates(
            stable_baselines3.SAC("MlpPolicy", numbers(), device=device, **same), UPDATES
        )
    )
    parties |= _on_jax(lambda sbx: _updates(sbx.SAC("MlpPolicy", numbers(), **same), UPDATES))
    return {"sbx": None} | rates(parties)


def sac_image_updates() -> Rates:
    """Returns gradient steps per second from images: `ours`, `ours_wide` (see `WIDE`), `sb3`."""
    stock_agents.without_triton()
    same: dict[str, Any] = {
        "batch_size": BATCH,
        "learning_starts": _NEVER,
        "buffer_size": _STORED,
    }
    parties = {
        name: _updates(
            SAC(images(), SACConfig(cnn=cnn, hidden=HIDDEN, **same), seed=0), IMAGE_UPDATES
        )
        for name, cnn in (("ours", CnnConfig()), ("ours_wide", WIDE))
    }
    same["policy_kwargs"] = {"net_arch": list(HIDDEN)}
    parties |= _on_torch(
        lambda device: _updates(
            stable_baselines3.SAC("CnnPolicy", images(), device=device, **same), IMAGE_UPDATES
        )
    )
    return dict(rates(parties))


def ppo_samples() -> Rates:
    """Returns steps per second of whole rollouts with their updates, by party."""
    stock_agents.without_triton()
    same: dict[str, Any] = {"n_steps": ROLLOUT, "batch_size": 64}
    parties = {"ours": _rollouts(PPO(numbers(PPO_CARS), PPOConfig(**same), seed=0))}
    parties |= _on_torch(
        lambda device: _rollouts(
            stable_baselines3.PPO("MlpPolicy", numbers(PPO_CARS), device=device, **same)
        )
    )
    parties |= _on_jax(lambda sbx: _rollouts(sbx.PPO("MlpPolicy", numbers(PPO_CARS), **same)))
    return {"sbx": None} | rates(parties)


def _on_torch(party: Callable[[str], Party]) -> Mapping[str, Party]:
    """Returns Stable-Baselines3's party on the processor, and on a GPU where PyTorch sees one."""
    devices = {"sb3": "cpu"} | ({"sb3_gpu": "cuda"} if torch.cuda.is_available() else {})
    return {name: party(device) for name, device in devices.items()}


def _on_jax(party: Callable[[Any], Party]) -> Mapping[str, Party]:
    """Returns SBX's party on the processor, and on a GPU where JAX sees one; none without SBX."""
    sbx = _sbx()
    if sbx is None:
        return {}
    jax = importlib.import_module("jax")
    devices = {"sbx": jax.devices("cpu")[0]}
    if jax.default_backend() == "gpu":
        devices["sbx_gpu"] = jax.devices()[0]

    def held(device: Any) -> Party:
        def on() -> contextlib.AbstractContextManager[None]:
            place: contextlib.AbstractContextManager[None] = jax.default_device(device)
            return place

        with on():
            work, units = party(sbx)

        def on_device() -> None:
            with on():
                work()

        return on_device, units

    return {name: held(device) for name, device in devices.items()}


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
