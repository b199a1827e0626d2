"""Soft actor-critic: Stable-Baselines3's loop around Keras networks."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from donkey_rl.agents import memory, named_arrays, observations, replay, schedules
from donkey_rl.agents.agent_folder import StoredAgent
from donkey_rl.agents.background import Background
from donkey_rl.agents.observations import Parts
from donkey_rl.agents.replay import Batch, NStepBuffer
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.learner import Learner, Update
from donkey_rl.agents.sac.policy import KerasPolicy
from donkey_rl.agents.tensorflow_setup import in_this_thread
from donkey_rl.errors import DivergedError, DonkeyRLError, InputError

_CALL_BYTES = 2**28
"""Sampled transitions that one compiled call gets, at most; the rest goes into further calls."""

BACKLOG = 4
"""Trainings that may wait where the environment does not: what comes after is dropped."""


class SAC(StoredAgent, OffPolicyAlgorithm):  # type: ignore[misc]
    """Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) on numbers and images.

    Stable-Baselines3 collects, logs and calls back as it does for its own SAC; the buffer sums
    n-step returns, and one compiled call takes all the gradient steps of a training.

    With ``config.overlap`` that call runs in a thread of its own while the environment steps, and
    the policy of the training before acts meanwhile. Each training waits for the one before, so
    that the same seed does the same whatever the timing. In a real-time environment nothing
    waits: the policy has new weights as soon as a training is finished, and what acts and sees
    stays out of the queue of the update's operations.

    Attributes:
        config: The settings.
        seconds: Wall time spent so far, by ``act``, ``store``, ``sample`` and ``update`` (with
            overlap, only the wait for it). What is left of a run went to the environment and the
            callbacks.
        updates_dropped: Gradient steps left out because a real-time environment went on faster
            than the learner.
        begins_by_chance: Whether all actions before ``config.learning_starts`` are random; else
            the policy explores from the first one.
    """

    NAME = "sac"
    CONFIG = SACConfig
    MODELS = ("actor", "critics", "target_critics", "cnn")

    policy: KerasPolicy
    replay_buffer: NStepBuffer | None  # type: ignore[assignment]

    def __init__(
        self,
        env: GymEnv | str | None,
        config: SACConfig | None = None,
        *,
        seed: int | None = None,
        verbose: int = 0,
        tensorboard_log: str | None = None,
        real_time: bool = False,
    ) -> None:
        """Builds networks and an empty buffer.

        Args:
            env: A vector environment, an environment or an id, with observations as
                `donkey_rl.agents.observations` describes them and a flat, bounded Box as action
                space. None when `load` only predicts.
            config: Settings; the defaults when None.
            seed: Decides weights, noise, sampling and the environment's seed.
            verbose: 1 writes Stable-Baselines3's tables.
            tensorboard_log: Folder for TensorBoard files, or None.
            real_time: Whether the environment goes on by itself, so that no action may wait for
                an update unless ``config.overlap`` is False.

        Raises:
            InputError: When a space is not such a space, images are too small for the cnn, the
                replay buffer is larger than the memory, or several environments are to be
                trained by episodes.
        """
        self.config = config if config is not None else SACConfig()
        self.seconds = dict.fromkeys(("act", "store", "sample", "update"), 0.0)
        self.updates_dropped = 0
        self.begins_by_chance = True
        self._overlap = real_time if self.config.overlap is None else self.config.overlap
        self._waits = not (real_time and self._overlap)
        self._driving = False
        self._background: Background[Update] = Background()
        super().__init__(
            KerasPolicy,
            env,  # type: ignore[arg-type]
            learning_rate=schedules.linear(
                self.config.learning_rate, self.config.final_learning_rate
            ),
            buffer_size=self.config.buffer_size,
            learning_starts=self.config.learning_starts,
            batch_size=self.config.batch_size,
            tau=self.config.tau,
            gamma=self.config.gamma,
            train_freq=(self.config.train_frequency, self.config.train_unit),
            gradient_steps=self.config.gradient_steps,
            n_steps=self.config.n_steps,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            support_multi_env=True,
            seed=seed,
            use_sde=self.config.sde,
            sde_sample_freq=self.config.sde_sample_frequency,
        )
        if env is not None:
            self._setup_model()

    def _setup_model(self) -> None:
        """Makes schedule, buffer, networks and policy."""
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        if self.config.train_unit == "episode" and self.n_envs > 1:
            raise InputError(
                "Expected one environment, to train by episodes. "
                f"Received: {self.n_envs}. Set train_unit to step."
            )
        entropy = self.seed if self.seed is not None else np.random.SeedSequence().entropy
        buffer_seed, learner_seed = np.random.SeedSequence(entropy).generate_state(2)
        layout = observations.layout(self.observation_space)
        width = math.prod(self.action_space.shape or ())
        if self.env is not None:
            each = replay.stored_bytes(layout, width)
            memory.check("a replay buffer", "buffer_size", self.buffer_size, each)
        self.replay_buffer = NStepBuffer(
            self.buffer_size,
            self.observation_space,
            self.action_space,
            device=self.device,
            n_envs=self.n_envs,
            n_steps=self.config.n_steps,
            gamma=self.config.gamma,
            seed=int(buffer_seed),
        )
        self._learner = Learner(layout, width, self.config, int(learner_seed), apart=self._overlap)
        self.actor = self._learner
        self.policy = KerasPolicy(layout, self.action_space, self._act)
        self._convert_train_freq()

    def _act(self, parts: Parts, deterministic: bool) -> npt.NDArray[np.float32]:
        if self._driving:
            return self._learner.act(parts, deterministic=deterministic, apart=True)
        return self.learner.act(parts, deterministic=deterministic)

    @property
    def learner(self) -> Learner:
        """Networks, optimisers and the compiled update, once all that was begun is finished."""
        started = time.perf_counter()
        self._take(self._background.join())
        self.seconds["update"] += time.perf_counter() - started
        return self._learner

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """What draws random numbers: noise, samples, and actions before learning starts."""
        if self.replay_buffer is None:
            raise DonkeyRLError("Expected a replay buffer. Received: none. Build the agent anew.")
        return {
            "learner": self._learner.random,
            "buffer": self.replay_buffer.random,
            "actions": self.action_space.np_random,
        }

    def learn(self, *args: Any, **kwargs: Any) -> Self:
        """Learns as Stable-Baselines3 does; see the class for what runs beside it."""
        with contextlib.nullcontext() if self._waits else in_this_thread():
            return super().learn(*args, **kwargs)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        if self.replay_buffer is not None and (reset_num_timesteps or self._last_obs is None):
            self.replay_buffer.forget_recent()
        self.learner.adopt()
        return super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )

    def _sample_action(self, learning_starts: int, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        self._take(self._background.finished() if not self._waits else [])
        self._driving = True
        try:
            random_until = learning_starts if self.begins_by_chance else 0
            actions = super()._sample_action(random_until, *args, **kwargs)
        finally:
            self._driving = False
        self.seconds["act"] += time.perf_counter() - started
        return actions

    def _store_transition(
        self,
        replay_buffer: Any,
        buffer_action: npt.NDArray[Any],
        new_obs: Any,
        reward: npt.NDArray[Any],
        dones: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        started = time.perf_counter()
        if any(info.get("undriven") for info in infos):
            # Somebody else drove all cars: no action led from the one observation to the other.
            replay_buffer.forget_recent()
            self._last_obs = new_obs
        else:
            super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self.seconds["store"] += time.perf_counter() - started

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Samples everything at once and takes all gradient steps in one compiled call.

        Args:
            gradient_steps: Gradient steps.
            batch_size: Transitions of each.

        Raises:
            DivergedError: When the losses are no longer finite.
        """
        buffer = self.replay_buffer
        if buffer is None or buffer.size() == 0:
            return
        learning_rate = float(self.lr_schedule(self._current_progress_remaining))
        most = max(1, _CALL_BYTES // (batch_size * buffer.row_bytes))
        for done in range(0, gradient_steps, most):
            steps = min(most, gradient_steps - done)
            if self._waits or self._background.waiting < BACKLOG:
                self._begin(buffer, steps, batch_size, learning_rate)
            else:
                self.updates_dropped += steps
        self.logger.record("train/learning_rate", learning_rate)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if not self._waits:
            self.logger.record("train/updates_dropped", self.updates_dropped)
        for name, value in self.seconds.items():
            self.logger.record(f"time/{name}_s", round(value, 3), exclude="tensorboard")

    def _begin(
        self, buffer: NStepBuffer, steps: int, batch_size: int, learning_rate: float
    ) -> None:
        """Samples, and begins gradient steps in one compiled call."""
        started = time.perf_counter()
        rows, images = buffer.draw(steps * batch_size)
        batch = Batch(
            rows.reshape(steps, batch_size, -1),
            None if images is None else images.reshape(steps, batch_size, *images.shape[1:]),
        )
        update = self._learner.prepared(batch, learning_rate)
        self._n_updates += steps
        sampled = time.perf_counter()
        self.seconds["sample"] += sampled - started
        if self._waits:
            self._take(self._background.join())
        if self._overlap:
            self._background.give(update)
        else:
            self._take([update()])
        self.seconds["update"] += time.perf_counter() - sampled

    def _take(self, updates: list[Update]) -> None:
        """Logs finished updates, and lets the policy that acts have their weights.

        Raises:
            DivergedError: When the losses are no longer finite.
        """
        totals: dict[str, list[float]] = {}
        for update in updates:
            for name, value in update.metrics.items():
                totals.setdefault(name, []).append(value)
        means = {name: float(np.mean(values)) for name, values in totals.items()}
        broken = {name: value for name, value in means.items() if not math.isfinite(value)}
        if broken:
            # Who stores the best driver before would wait for these, and fail as they do.
            self._background.drop()
            raise DivergedError(
                f"Expected finite losses. Received: {broken} at step {self.num_timesteps}, after "
                f"{self._n_updates} updates. Lower sac.learning_rate, or look for rewards that "
                "are not numbers."
            )
        for name, value in means.items():
            self.logger.record(f"train/{name}", value)
        if updates:
            self._learner.adopt(updates[-1].weights)

    def deterministic_model(self) -> Any:
        """Returns features (B, D) -> action in [-1, 1] (B, A) as a Keras model.

        Without an image the features are the observation; with one those that `learner.cnn` makes
        of it, then the numbers. The weights are shared with the actor that goes on learning; a
        driver folder copies them.
        """
        return networks.deterministic(self.learner.actor)

    @property
    def has_learned(self) -> bool:
        """Whether the critics have taken a gradient step."""
        return self._n_updates > 0

    def action_value_model(self) -> Any:
        """Returns features and action (B, D + A) -> value (B, 1) as a Keras model.

        The features are those of `deterministic_model`; the weights are copied.
        """
        width = math.prod(self.action_space.shape or ())
        critics = self.learner.critics
        first = critics.inputs[0]
        return networks.value(critics, first.shape[-1] - width, width, self.config)

    def save_replay_buffer(self, path: Any) -> None:
        """Writes the buffer's rows and frames as plain arrays, a ``.npz`` file."""
        if self.replay_buffer is not None:
            with Path(path).open("wb") as file:
                np.savez(file, allow_pickle=False, **self.replay_buffer.arrays())

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """Puts back what `save_replay_buffer` wrote, its newest rows if it held more than fit.

        Args:
            path: The file.
            truncate_last_traj: Not used; unfinished n-step sums are never stored.

        Raises:
            InputError: When the file cannot be read or the buffer does not fit this agent.
        """
        if self.replay_buffer is None:
            return
        try:
            arrays = named_arrays.read(path)
        except (OSError, ValueError) as error:
            raise InputError(
                f"Expected a replay buffer. Received: '{path}' ({error}). "
                "Give the file that SAC.save_replay_buffer wrote."
            ) from error
        self.replay_buffer.restore(arrays)
