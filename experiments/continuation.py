"""The callback that writes checkpoints while a policy learns, and goes on from one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from donkey_rl import formatting
from donkey_rl.agents import agent_state
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.ring import Ring
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.errors import ActionError, DivergedError, InputError, StorageError
from donkey_rl.experiments.checkpoints import Checkpoint, Checkpoints
from donkey_rl.experiments.checks import Checks
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.progress import ProgressDisplay

_ARRAYS, _BEST, _FACTS = "arrays.npz", "best.npz", "facts.json"

_LOWER = "The last losses were {}: lower the learning rate."


class Continuation(BaseCallback):
    """Writes a checkpoint every so many steps, where the next rollout is about to begin.

    There all episodes start anew, by a seed of the checkpoint, in the run that goes on as in the
    one that is taken up again: both then do the same, bit for bit where the environment is
    deterministic, and nothing of the simulator has to be stored.

    Attributes:
        seconds: Wall time that the checkpoints took.
        resumed_at: Step of the checkpoint that it goes on from, None in a run that begins.
    """

    def __init__(
        self,
        config: TrainingConfig,
        run: Run,
        checkpoints: Checkpoints,
        checks: Checks,
        progress: ProgressDisplay,
    ) -> None:
        """Looks for a checkpoint to go on from.

        Args:
            config: What to train.
            run: Its curves are written up to each checkpoint.
            checkpoints: Those that there are.
            checks: Their findings are part of a checkpoint.
            progress: Told of what could not be written.
        """
        super().__init__()
        self.seconds = 0.0
        self._steps, self._seed = config.steps, config.seed
        self._limit_s = math.inf if config.minutes is None else 60.0 * config.minutes
        self._every = config.steps_between_checkpoints
        self._run = run
        self._checkpoints, self._checks, self._progress = checkpoints, checks, progress
        self._number = 0
        self._next = self._every
        self._taken_up = checkpoints.newest(progress.message)
        self.resumed_at = None if self._taken_up is None else self._taken_up.step

    def learn(self, agent: SAC | PPO) -> None:
        """Has an agent learn, from the checkpoint on where there is one.

        Args:
            agent: The agent, not yet trained.

        Raises:
            DivergedError: A loss or a weight is no longer finite.
        """
        if self.resumed_at is not None:
            agent.num_timesteps = self.resumed_at
            self._progress.message(f"resumed at step {self.resumed_at:,}")
        try:
            self._learn(agent)
        except DivergedError as error:
            good = self._checkpoints.newest(lambda _: None)
            where = "none" if good is None else f"'{good.folder}', of step {good.step:,}"
            raise DivergedError(
                f"{error} It was at step {agent.num_timesteps:,}; the last good checkpoint is "
                f"{where}. Continued, the run would come to the same: start a new one."
            ) from error

    def _learn(self, agent: SAC | PPO) -> None:
        try:
            agent.learn(
                self._steps - agent.num_timesteps,
                CallbackList([self._checks, self]),
                # Counted in episodes by the one, in rollouts by the other.
                log_interval=agent.n_envs if isinstance(agent, SAC) else 1,
                reset_num_timesteps=self.resumed_at is None,
            )
        except ActionError as error:
            # An update can leave a policy that gives no numbers, after losses that are some.
            raise DivergedError(f"{error} {_LOWER.format(agent_state.losses(agent))}") from error

    def _on_step(self) -> bool:
        over = self._checks.wall_s >= self._limit_s
        if over:
            minutes, step = self._limit_s / 60.0, self.model.num_timesteps
            self._progress.message(f"{minutes:g} minutes are over at step {step:,}")
        return not over

    def _on_rollout_start(self) -> None:
        started = time.perf_counter()
        step = self.model.num_timesteps
        if self._taken_up is not None:
            self._number = self._taken_up.number
            try:
                self._restore(self._taken_up)
            except (TypeError, LookupError, ValueError) as error:
                # Its files are what they were when it was written: what is in them differs.
                raise InputError(
                    f"The checkpoint '{self._taken_up.folder}' is of a version of donkey-rl that "
                    f"this one does not read ({formatting.reason(error)}). Use that version, or "
                    "start a new run."
                ) from error
            self._taken_up = None
        elif step >= self._next:
            self._number += 1
            self._write(step)
        else:
            return
        self._next = (step // self._every + 1) * self._every
        entropy = np.random.SeedSequence([self._seed, self._number])
        agent_state.begin_anew(self.model, int(entropy.generate_state(1)[0]) >> 1)
        self.seconds += time.perf_counter() - started

    def _write(self, step: int) -> None:
        """Writes a checkpoint; where the disk is full, the training goes on without it."""
        agent: Any = self.model
        arrays: dict[str, Any] = agent_state.arrays(agent)
        if not all(np.isfinite(values).all() for values in arrays.values()):
            losses = agent_state.losses(agent)
            raise DivergedError(
                f"Expected finite weights. Received: others. {_LOWER.format(losses)}"
            )
        stored = {"agent": agent_state.facts(agent), "checks": self._checks.state()}

        def fill(folder: Path) -> None:
            np.savez(folder / _ARRAYS, **arrays)
            best = self._checks.findings.best_weights
            if best is not None:
                np.savez(folder / _BEST, *best)
            (folder / _FACTS).write_text(json.dumps(stored), encoding="utf-8")

        self._run.flush()
        try:
            self._checkpoints.write(self._number, step, fill, _rings(agent))
        except StorageError as error:
            self._progress.message(f"no checkpoint at step {step:,}: {error}")

    def _restore(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint.folder
        said = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            agent_state.restore(self.model, arrays, said["agent"])
        best = None
        if (folder / _BEST).exists():
            with np.load(folder / _BEST, allow_pickle=False) as arrays:
                best = [arrays[f"arr_{index}"] for index in range(len(arrays.files))]
        self._checks.restore(said["checks"], best)
        checkpoint.restore(_rings(self.model))


def _rings(agent: Any) -> Mapping[str, Ring]:
    """Returns the rings of an agent's replay buffer; those of an agent without one are none."""
    buffer = getattr(agent, "replay_buffer", None)
    rings: Mapping[str, Ring] = {} if buffer is None else buffer.rings
    return rings
