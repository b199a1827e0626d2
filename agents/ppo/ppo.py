"""Proximal policy optimisation: Stable-Baselines3's loop around Keras networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv

from donkey_rl.agents import memory, observations, schedules
from donkey_rl.agents.agent_folder import StoredAgent
from donkey_rl.agents.ppo import networks
from donkey_rl.agents.ppo import rollout as rollouts
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.learner import Learner
from donkey_rl.agents.ppo.policy import KerasActorCritic
from donkey_rl.agents.ppo.rollout import RolloutBuffer
from donkey_rl.errors import DivergedError, InputError


class PPO(StoredAgent, OnPolicyAlgorithm):  # type: ignore[misc]
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    It learns from flat observations, images, or both in a `Dict`. Stable-Baselines3 logs, calls
    back and holds the environment as it does for its own PPO; one compiled call goes through a
    rollout in all its epochs.

    Attributes:
        config: The settings.
        learner: Networks, optimiser and the compiled update.
    """

    NAME = "ppo"
    CONFIG = PPOConfig
    MODELS = ("cnn", "actor", "critic")

    policy: KerasActorCritic
    rollout_buffer: RolloutBuffer  # type: ignore[assignment]
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
            env: A vector environment, an environment or an id. Its observations are a flat Box,
                an image (uint8), or a Dict of flat boxes and one image; its actions a flat Box,
                or choices (`Discrete`). None when `load` only predicts.
            config: Settings; the defaults when None.
            seed: Decides weights, noise, order of batches and the environment's seed.
            verbose: 1 writes Stable-Baselines3's tables.
            tensorboard_log: Folder for TensorBoard files, or None.

        Raises:
            InputError: When a space is none of these.
        """
        self.config = config if config is not None else PPOConfig()
        self.seconds = {"act": 0.0, "update": 0.0}
        super().__init__(
            KerasActorCritic,
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
        self._layout = observations.layout(self.observation_space)
        actions = self.action_space
        choices = isinstance(actions, spaces.Discrete) and actions.start == 0
        if not choices and not (isinstance(actions, spaces.Box) and len(actions.shape) == 1):
            raise InputError(
                "Expected a flat Box, or choices from 0, as action space. "
                f"Received: {actions}. Flatten the space first."
            )
        entropy = self.seed if self.seed is not None else np.random.SeedSequence().entropy
        (seed,) = np.random.SeedSequence(entropy).generate_state(1)
        outputs = int(actions.n) if isinstance(actions, spaces.Discrete) else actions.shape[0]
        self.learner = Learner(self._layout, outputs, self.config, int(seed), choices=choices)
        self.policy = KerasActorCritic(self._layout, actions, self.learner)
        if self.env is not None:
            each = self.n_envs * rollouts.step_bytes(self._layout, outputs)
            memory.check("a rollout", "n_steps", self.n_steps, each)
        self.rollout_buffer = RolloutBuffer(
            self._layout, self.n_steps, self.n_envs, 1 if choices else outputs
        )
        self._clip_range = schedules.linear(self.config.clip_range, self.config.final_clip_range)

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """The generators that decide what it draws, by name."""
        return {"learner": self.learner.random}

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,  # type: ignore[override]
        n_rollout_steps: int,
    ) -> bool:
        """Drives all environments, as Stable-Baselines3 does, without its tensors.

        Callbacks find the same local names. Where episodes were cut, one call values all their
        last observations.

        Returns:
            False where a callback ended it.
        """
        callback.on_rollout_start()
        dones = np.zeros(env.num_envs, np.bool_)
        for step in range(n_rollout_steps):
            obs, _ = self._layout.split(self._last_obs)  # type: ignore[arg-type]
            started = time.perf_counter()
            actions, log_probs, values = self.learner.act(obs)
            self.seconds["act"] += time.perf_counter() - started
            clipped_actions = self.policy.inside(actions)
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            self.num_timesteps += env.num_envs
            n_steps = step + 1  # for callbacks, as `infos` and the others
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            rollout_buffer.add(step, obs, (actions, log_probs, values))
            rollout_buffer.rewards[step] = rewards + self._cut_values(infos, dones)
            rollout_buffer.ended[step] = dones
            self._last_obs, self._last_episode_starts = new_obs, dones  # type: ignore[assignment]
        last, _ = self._layout.split(self._last_obs)  # type: ignore[arg-type]
        rollout_buffer.advantages[:] = rollouts.advantages(
            rollout_buffer.rewards,
            rollout_buffer.values,
            rollout_buffer.ended,
            self.learner.values(last),
            (self.gamma, self.gae_lambda),
        )
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _cut_values(
        self, infos: list[dict[str, Any]], dones: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Returns the discounted value of where episodes were cut by time, 0 elsewhere, (E,)."""
        found = np.zeros(len(dones), np.float32)
        cut = [i for i in np.flatnonzero(dones) if infos[i].get("TimeLimit.truncated", False)]
        if cut:
            last = [self._layout.split(infos[i]["terminal_observation"])[0] for i in cut]
            images = [parts.image for parts in last if parts.image is not None]
            joined = observations.Parts(
                np.concatenate([parts.numbers for parts in last]),
                np.concatenate(images) if images else None,
            )
            found[cut] = self.gamma * self.learner.values(joined)
        return found

    def train(self) -> None:
        """Goes through the rollout, all epochs in one compiled call.

        Raises:
            DivergedError: When the losses are no longer finite.
        """
        started = time.perf_counter()
        remaining = self._current_progress_remaining
        learning_rate = float(self.lr_schedule(remaining))
        clip_range = _value(self._clip_range, remaining)
        steps = self.rollout_buffer.steps()
        if self.num_timesteps <= self.config.critic_steps:
            metrics = {"value_loss": self.learner.warm_up(steps, learning_rate)}
        else:
            metrics = self.learner.update(steps, learning_rate, clip_range)
        self.seconds["update"] += time.perf_counter() - started
        broken = {name: value for name, value in metrics.items() if not math.isfinite(value)}
        if broken:
            raise DivergedError(
                f"Expected finite losses. Received: {broken} at step {self.num_timesteps}. "
                "Lower ppo.learning_rate, or look for rewards that are not numbers."
            )
        self._n_updates += self.config.n_epochs
        for name, value in metrics.items():
            self.logger.record(f"train/{name}", value)
        buffer = self.rollout_buffer
        explained = explained_variance(buffer.values.ravel(), buffer.returns.ravel())
        self.logger.record("train/explained_variance", float(explained))
        if isinstance(self.action_space, spaces.Box):
            deviation = float(np.exp(self.learner.log_std.numpy()).mean())
            self.logger.record("train/std", deviation)
        if self.learner.anchor is not None:
            self.logger.record("train/anchor", float(self.learner.anchor.weight.numpy()))
        self.logger.record("train/learning_rate", learning_rate)
        self.logger.record("train/clip_range", clip_range)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        # Stable-Baselines3 logs before it trains: it would be told one rollout late, or never.
        self.logger.dump(self.num_timesteps)

    def checked(self, sure: bool) -> None:
        """Holds the policy less by what it was taught, or more again.

        Args:
            sure: Whether it passed a check, see `PPOConfig.least_anchor`.
        """
        if self.learner.anchor is not None:
            self.learner.anchor.give_way(sure)

    def deterministic_model(self) -> Any:
        """Returns features (B, D + F) -> action in [-1, 1] (B, A) as a Keras model.

        Without an image the features are the observation; with one those that `learner.cnn` makes
        of it stand before the numbers. The weights are shared with the actor that goes on
        learning; a driver folder copies them.

        Raises:
            InputError: When actions are choices, which no car takes.
        """
        if isinstance(self.action_space, spaces.Discrete):
            raise InputError(
                "A driver's actions are steering and throttle. Received: a policy of choices. "
                "Train in an environment with a Box as action space."
            )
        return networks.deterministic(self.learner.actor)


def _value(schedule: float | Callable[[float], float], remaining: float) -> float:
    return float(schedule(remaining) if callable(schedule) else schedule)
