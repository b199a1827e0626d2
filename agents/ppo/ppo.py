"""Proximal policy optimisation: Stable-Baselines3's loop around Keras networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance

from donkey_rl.agents import schedules
from donkey_rl.agents.agent_folder import StoredAgent
from donkey_rl.agents.ppo import networks
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.learner import Learner, Rollout
from donkey_rl.agents.ppo.policy import KerasActorCritic
from donkey_rl.errors import DivergedError, InputError


class PPO(StoredAgent, OnPolicyAlgorithm):  # type: ignore[misc]
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) on flat observations.

    Stable-Baselines3 collects, bootstraps cut episodes, logs and calls back as it does for its
    own PPO; one compiled call goes through a rollout in all its epochs.

    Attributes:
        config: The settings.
        learner: Networks, optimiser and the compiled update.
    """

    NAME = "ppo"
    CONFIG = PPOConfig
    MODELS = ("actor", "critic")

    policy: KerasActorCritic  # type: ignore[assignment]
    learner: Learner

    def __init__(
        self,
        env: GymEnv | str | None,
        config: PPOConfig | None = None,
        *,
        seed: int | None = None,
        verbose: int = 0,
        tensorboard_log: str | None = None,
    ) -> None:
        """Builds networks and an empty rollout.

        Args:
            env: A vector environment, an environment or an id, with a flat Box as observation
                and a flat Box or choices (`Discrete`) as action space. None when `load` only
                predicts.
            config: Settings; the defaults when None.
            seed: Decides weights, noise, order of batches and the environment's seed.
            verbose: 1 writes Stable-Baselines3's tables.
            tensorboard_log: Folder for TensorBoard files, or None.

        Raises:
            InputError: When a space is none of these.
        """
        self.config = config if config is not None else PPOConfig()
        self._update_s = 0.0
        super().__init__(
            KerasActorCritic,  # type: ignore[arg-type]
            env,  # type: ignore[arg-type]
            learning_rate=schedules.linear(
                self.config.learning_rate, self.config.final_learning_rate
            ),
            n_steps=self.config.n_steps,
            gamma=self.config.gamma,
            gae_lambda=self.config.gae_lambda,
            ent_coef=self.config.entropy_coefficient,
            vf_coef=self.config.value_coefficient,
            max_grad_norm=self.config.max_gradient_norm,
            use_sde=False,
            sde_sample_freq=-1,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            seed=seed,
            _init_setup_model=False,
        )
        if env is not None:
            self._setup_model()

    def _setup_model(self) -> None:
        """Makes schedules, rollout buffer, networks and policy."""
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        observations, actions = self.observation_space, self.action_space
        _check(observations, actions)
        self.rollout_buffer = RolloutBuffer(
            self.n_steps,
            observations,
            actions,
            device=self.device,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            n_envs=self.n_envs,
        )
        entropy = self.seed if self.seed is not None else np.random.SeedSequence().entropy
        (seed,) = np.random.SeedSequence(entropy).generate_state(1)
        choices = isinstance(actions, spaces.Discrete)
        width = int(actions.n) if isinstance(actions, spaces.Discrete) else actions.shape[0]
        features = math.prod(observations.shape or ())
        self.learner = Learner(features, width, self.config, int(seed), choices=choices)
        self.policy = KerasActorCritic(observations, actions, self.learner)
        self._clip_range = schedules.linear(self.config.clip_range, self.config.final_clip_range)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time spent so far, by ``act`` and ``update``."""
        return {"act": self.policy.seconds, "update": self._update_s}

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """What draws random numbers, by name."""
        return {"learner": self.learner.random}

    def train(self) -> None:
        """Goes through the rollout, all epochs in one compiled call.

        Raises:
            DivergedError: When the losses are no longer finite.
        """
        started = time.perf_counter()
        remaining = self._current_progress_remaining
        learning_rate = float(self.lr_schedule(remaining))
        clip_range = _value(self._clip_range, remaining)
        done = self.learner.update(self._rollout(), learning_rate, clip_range)
        self._update_s += time.perf_counter() - started
        if not all(math.isfinite(value) for value in done.metrics.values()):
            raise DivergedError(
                f"Expected finite losses. Received: {done.metrics} after {self.num_timesteps} "
                "steps. Lower ppo.learning_rate, or look for rewards that are not numbers."
            )
        self._n_updates += self.config.n_epochs
        for name, value in done.metrics.items():
            self.logger.record(f"train/{name}", value)
        buffer = self.rollout_buffer
        explained = explained_variance(buffer.values.ravel(), buffer.returns.ravel())
        self.logger.record("train/explained_variance", float(explained))
        if isinstance(self.action_space, spaces.Box):
            deviation = float(np.exp(self.learner.log_std.numpy()).mean())
            self.logger.record("train/std", deviation)
        self.logger.record("train/learning_rate", learning_rate)
        self.logger.record("train/clip_range", clip_range)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _rollout(self) -> Rollout:
        """Returns the buffer's steps in one line."""
        buffer = self.rollout_buffer
        count = buffer.buffer_size * buffer.n_envs
        parts = (
            buffer.observations.reshape(count, -1),
            buffer.actions.reshape(count, -1),
            buffer.log_probs.reshape(count),
            buffer.advantages.reshape(count),
            buffer.returns.reshape(count),
            buffer.values.reshape(count),
        )
        return Rollout(*(np.ascontiguousarray(part, dtype=np.float32) for part in parts))

    def deterministic_model(self) -> Any:
        """Returns observation (B, F) -> action in [-1, 1] (B, A) as a Keras model.

        The weights are shared with the actor that goes on learning; a driver folder copies them.

        Raises:
            InputError: When actions are choices, which no car takes.
        """
        if isinstance(self.action_space, spaces.Discrete):
            raise InputError(
                "A driver's actions are steering and throttle. Received: a policy of choices. "
                "Train in an environment with a Box as action space."
            )
        return networks.deterministic(self.learner.actor)


def _check(observations: Any, actions: Any) -> None:
    flat = isinstance(observations, spaces.Box) and len(observations.shape) == 1
    choices = isinstance(actions, spaces.Discrete) and actions.start == 0
    numbers = isinstance(actions, spaces.Box) and len(actions.shape) == 1
    if not flat or not (choices or numbers):
        raise InputError(
            "PPO wants a flat Box as observation, and a flat Box or choices from 0 as action. "
            f"Received: {observations} and {actions}. Flatten the space first."
        )


def _value(schedule: float | Callable[[float], float], remaining: float) -> float:
    return float(schedule(remaining) if callable(schedule) else schedule)
