"""A start by imitation: demonstrations are driven or read, and the policy is trained on them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import observations
from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.imitation.augmentation import Augmentation
from donkey_rl.agents.imitation.cloning import CloningReport, Demonstrations, clone
from donkey_rl.agents.observations import FloatArray, Parts
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.replay import NStepBuffer
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.vec_env import SB3View
from donkey_rl.experiments import recorded_drives
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay

_SEED_OFFSET = 15_485
"""Disturbances and batches are drawn from other streams than the episodes."""

_NOISE_MEMORY = 0.9
"""Share of a disturbance that is left after one step: it lasts for half a second."""

_MARGIN = 2.0
"""The expert keeps so far (u) from the edges: its pupil will not be as exact."""

_FRAMES_AT_A_TIME = 256

Observation = Mapping[str, npt.NDArray[Any]]


class _Collection:
    """Demonstrations as the policy reads them, with augmented copies of those to learn from."""

    def __init__(self, config: TrainingConfig, environment: ExtractedVecEnv) -> None:
        self._extractor = environment.extractor
        self._layout = observations.layout(environment.observation_space)
        self._copies = config.imitation.copies
        self._augmentation = Augmentation(config.imitation, config.camera.shape, config.seed)
        self._parts: dict[bool, list[tuple[Parts, FloatArray]]] = {False: [], True: []}

    def add(self, observation: Observation, actions: FloatArray, *, kept: bool) -> None:
        """Adds what some cars saw, and what they were to do, (N, 2)."""
        pairs = [(observation, actions)]
        if not kept:
            pairs += [self._augmentation(observation, actions) for _ in range(self._copies)]
        for seen, wanted in pairs:
            parts, _ = self._layout.split(self._extractor(seen))
            self._parts[kept].append((parts, wanted))

    def joined(self) -> Demonstrations:
        """Returns all of them."""
        return Demonstrations(*self._joined(False), *self._joined(True))

    def _joined(self, kept: bool) -> tuple[Parts, FloatArray]:
        parts, actions = [seen for seen, _ in self._parts[kept]], [a for _, a in self._parts[kept]]
        if not parts:
            none = np.zeros((0, 2), np.float32)
            return Parts(none, None), none
        numbers = np.concatenate([part.numbers for part in parts])
        images = [part.image for part in parts if part.image is not None]
        return Parts(numbers, np.concatenate(images) if images else None), np.concatenate(actions)


def check(config: TrainingConfig) -> None:
    """Refuses a recording that cannot be learned from, before anything is trained.

    Raises:
        InputError: There is none, or it lacks something.
    """
    if config.imitation.data is not None:
        recorded_drives.read(pathlib.Path(config.imitation.data), config.environment())


def imitate(
    config: TrainingConfig,
    environment: ExtractedVecEnv,
    cars: SB3View,
    model: SAC | PPO,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> dict[str, float]:
    """Trains a policy on demonstrations, before it drives by itself.

    Args:
        config: The run.
        environment: What the policy learns in; its episodes are begun anew afterwards.
        cars: The same, with images and the cars' state.
        model: The agent, changed in place.
        progress: Shows how far it is.
        between: Called between two pieces of work; what it raises ends the training.

    Returns:
        Metrics for the run, by name.

    Raises:
        InputError: A recording cannot be learned from.
    """
    setting = config.imitation
    collection = _Collection(config, environment)
    metrics: dict[str, float] = {}
    if setting.data is not None:
        metrics["imitation/records"] = float(
            _read(config, pathlib.Path(setting.data), collection, between)
        )
    if setting.expert == "pursuit":
        buffer = model.replay_buffer if isinstance(model, SAC) and setting.seed_replay else None
        with progress.phase("driving demonstrations", setting.steps) as phase:

            def show(steps: int) -> None:
                phase.update(steps)
                between()

            steps, reward = _drive(config, environment, cars, (collection, buffer), show)
        metrics |= {"imitation/steps": float(steps), "imitation/reward_per_step": reward}
    report = _clone(config, model, collection.joined(), progress, between)
    return metrics | {
        "imitation/rows": float(report.rows),
        "imitation/loss": report.loss[-1],
        "imitation/steering_rmse": report.rmse[0],
        "imitation/throttle_rmse": report.rmse[1],
    }


def _clone(
    config: TrainingConfig,
    model: SAC | PPO,
    shown: Demonstrations,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> CloningReport:
    """Trains the policy on what was shown."""
    with progress.phase("imitating", 100, "%") as phase:

        def show(share: float, loss: float) -> None:
            phase.update(round(100 * share), loss=loss)
            between()

        return clone(
            model.learner.actor if isinstance(model, PPO) else model.deterministic_model(),
            model.learner.cnn,
            shown,
            config.imitation,
            seed=config.seed + _SEED_OFFSET,
            progress=show,
        )


def _read(
    config: TrainingConfig,
    path: pathlib.Path,
    collection: _Collection,
    between: Callable[[], None],
) -> int:
    """Adds what was recorded; returns how many records could be learned from."""
    drives = recorded_drives.read(path, config.environment())
    records = 0
    for drive in drives:
        learned = round((1.0 - config.imitation.validation_share) * len(drive))
        for first, last in ((0, learned), (learned, len(drive))):
            for start in range(first, last, _FRAMES_AT_A_TIME):
                rows = np.arange(start, min(start + _FRAMES_AT_A_TIME, last))
                observation, actions = drive.observations(rows)
                if len(actions):
                    collection.add(observation, actions, kept=first > 0)
                records += len(actions)
                between()
    return records


def _drive(
    config: TrainingConfig,
    environment: ExtractedVecEnv,
    cars: SB3View,
    keepers: tuple[_Collection, NStepBuffer | None],
    show: Callable[[int], None],
) -> tuple[int, float]:
    """Lets the expert drive, disturbed, and keeps what it wanted to do.

    The disturbance takes the cars to where a policy's own mistakes will take them, and what is
    learned there is the expert's way back (Laskey et al. 2017, "DART: Noise Injection for Robust
    Imitation Learning", arXiv:1703.09327). The replay buffer gets what was really driven.

    Returns:
        The environment steps driven, and the mean reward of a step.
    """
    setting, (collection, buffer) = config.imitation, keepers
    expert = Pursuit(config.environment(), margin=_MARGIN)
    random = np.random.default_rng([config.seed, _SEED_OFFSET])
    count = cars.num_envs
    rounds = -(-setting.steps // count)
    learned = round((1.0 - setting.validation_share) * rounds)
    fresh = np.sqrt(1.0 - _NOISE_MEMORY**2) * setting.noise
    disturbance, total = np.zeros((count, 2)), 0.0
    seen: Any = environment.reset()
    for done in range(rounds):
        wanted = expert.act(cars.batch)
        collection.add(cars.batch.observation(), wanted, kept=done >= learned)
        disturbance = _NOISE_MEMORY * disturbance + fresh * random.standard_normal((count, 2))
        driven = np.clip(wanted + disturbance, -1.0, 1.0).astype(np.float32)
        following: Any
        following, rewards, ended, infos = environment.step(driven)
        if buffer is not None:
            buffer.add(seen, _last(following, infos), driven, rewards, ended, infos)
        total += float(rewards.sum())
        seen = following
        show((done + 1) * count)
    return rounds * count, total / (rounds * count)


def _last(following: Any, infos: list[dict[str, Any]]) -> Any:
    """Returns what was seen after a step: of ended episodes their last observation."""
    ended = [i for i, info in enumerate(infos) if "terminal_observation" in info]
    if not ended:
        return following
    if isinstance(following, dict):
        last = {name: np.array(part) for name, part in following.items()}
        for i in ended:
            for name, part in infos[i]["terminal_observation"].items():
                last[name][i] = part
        return last
    flat = np.array(following)
    for i in ended:
        flat[i] = infos[i]["terminal_observation"]
    return flat
