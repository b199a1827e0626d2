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
from donkey_rl.agents.imitation.cloning import Cloner, CloningReport, Demonstrations
from donkey_rl.agents.imitation.config import ImitationConfig
from donkey_rl.agents.observations import FloatArray, Parts
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.traffic import shown
from donkey_rl.experiments import recorded_drives
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import reference
from donkey_rl.experiments.progress import ProgressDisplay

_SEED_OFFSET = 15_485
"""Disturbances and batches are drawn from other streams than the episodes."""

_WHEEL_WEIGHT = 40.0
"""Lessons are given with calmer wheels than those that keep the line best, see `Pursuit`."""

_NOISE_MEMORY = 0.9
"""Share of a disturbance that is left after one step: it lasts for half a second."""

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
        joined = Parts(numbers, np.concatenate(images) if images else None)
        # The pieces give way to the whole, which is then not held twice.
        self._parts[kept] = [(joined, np.concatenate(actions))]
        return self._parts[kept][0]


def check(config: TrainingConfig, progress: ProgressDisplay) -> None:
    """Refuses a recording that cannot be learned from, before anything is trained.

    Args:
        config: The run.
        progress: Shows how far a data set is fetched.

    Raises:
        InputError: There is none, or it lacks something.
        StorageError: A data set cannot be fetched whole.
    """
    if config.imitation.data is not None:
        for place in reference.recordings(config.imitation.data, progress):
            recorded_drives.read(place, config.environment(), config.imitation.speed)


def imitate(
    config: TrainingConfig,
    environment: ExtractedVecEnv,
    cars: Cars,
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
        places = reference.recordings(setting.data, progress)
        records = sum(_read(config, place, collection, between) for place in places)
        metrics["imitation/records"] = float(records)
    policy = model.learner.actor if isinstance(model, PPO) else model.deterministic_model()
    cloner = Cloner(policy, model.learner.cnn, setting, seed=config.seed + _SEED_OFFSET)
    if setting.expert == "pursuit":
        school = _School(config, environment, cars, collection, model)
        with progress.phase("driving demonstrations", setting.steps) as phase:

            def show(steps: int) -> None:
                phase.update(steps)
                between()

            reward = school.show(show)
        metrics |= {"imitation/steps": float(school.steps), "imitation/reward_per_step": reward}
    report = _clone(setting, cloner, collection, progress, between)
    if setting.rounds:
        report = _correct(setting, school, cloner, collection, progress, between)
        metrics |= {"imitation/own_steps": float(school.steps - metrics["imitation/steps"])}
    return metrics | {
        "imitation/rows": float(report.rows),
        "imitation/loss": report.loss[-1],
        "imitation/steering_rmse": report.rmse[0],
        "imitation/throttle_rmse": report.rmse[1],
    }


def _clone(
    setting: ImitationConfig,
    cloner: Cloner,
    collection: _Collection,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> CloningReport:
    """Lets the policy learn from all that was shown."""
    with progress.phase("imitating", 100, "%") as phase:

        def show(share: float, loss: float) -> None:
            phase.update(round(100 * share), loss=loss)
            between()

        return cloner.fit(
            collection.joined(),
            epochs=setting.epochs,
            learning_rate=setting.learning_rate,
            progress=show,
        )


def _correct(
    setting: ImitationConfig,
    school: _School,
    cloner: Cloner,
    collection: _Collection,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> CloningReport:
    """Lets the policy drive and learn what the expert would have done, round by round."""
    with progress.phase("driving under the expert's eye", setting.rounds, "rounds") as phase:
        for done in range(setting.rounds):
            school.correct(lambda _: between())
            report = cloner.fit(
                collection.joined(),
                epochs=setting.round_epochs,
                learning_rate=setting.rate_after(done + 1),
                progress=lambda share, loss: between(),
            )
            phase.update(done + 1, loss=report.loss[-1])
    return report


def _read(
    config: TrainingConfig,
    path: pathlib.Path,
    collection: _Collection,
    between: Callable[[], None],
) -> int:
    """Adds what was recorded; returns how many records could be learned from."""
    drives = recorded_drives.read(path, config.environment(), config.imitation.speed)
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


class _School:
    """The expert, the cars, and what is kept of their drives.

    Attributes:
        steps: Environment steps driven so far.
    """

    def __init__(
        self,
        config: TrainingConfig,
        environment: ExtractedVecEnv,
        cars: Cars,
        collection: _Collection,
        model: SAC | PPO,
    ) -> None:
        setting = config.imitation
        self.steps = 0
        self._setting, self._environment, self._cars = setting, environment, cars
        self._collection, self._model = collection, model
        self._buffer = None
        if isinstance(model, SAC) and setting.seed_replay:
            self._buffer = model.replay_buffer
        self._experts = [
            Pursuit(
                each,
                grip=setting.grip,
                margin=setting.margin,
                motion=setting.motion,
                wheel_weight=_WHEEL_WEIGHT,
            )
            for each in config.environments()
        ]
        self._random = np.random.default_rng([config.seed, _SEED_OFFSET])
        self._seen: Any = environment.reset()

    def show(self, progress: Callable[[int], None]) -> float:
        """Lets the expert drive, disturbed, and keeps what it wanted to do.

        The disturbance takes the cars to where a policy's own mistakes will take them, and what is
        learned there is the expert's way back (Laskey et al. 2017, "DART: Noise Injection for
        Robust Imitation Learning", arXiv:1703.09327). The replay buffer gets what was really
        driven.

        Args:
            progress: Called with the steps driven.

        Returns:
            The mean reward of a step.
        """
        shape = (self._cars.num_envs, 2)
        fresh = np.sqrt(1.0 - _NOISE_MEMORY**2) * self._setting.noise
        disturbance = np.zeros(shape)

        def disturbed(wanted: FloatArray) -> FloatArray:
            nonlocal disturbance
            disturbance = _NOISE_MEMORY * disturbance + fresh * self._random.standard_normal(shape)
            driven: FloatArray = np.clip(wanted + disturbance, -1.0, 1.0).astype(np.float32)
            return driven

        return self._drive(self._setting.steps, disturbed, progress)

    def correct(self, progress: Callable[[int], None]) -> float:
        """Lets the policy drive, and keeps what the expert would have done in its place.

        Source: Ross et al. 2011, "A Reduction of Imitation Learning and Structured Prediction to
        No-Regret Online Learning" (DAgger), arXiv:1011.0686, algorithm 3.1 with the expert driving
        in the first round only.

        Args:
            progress: Called with the steps driven.

        Returns:
            The mean reward of a step.
        """

        def own(_: FloatArray) -> FloatArray:
            actions: FloatArray = self._model.predict(self._seen, deterministic=True)[0]
            return actions

        return self._drive(self._setting.round_steps, own, progress)

    def _drive(
        self,
        steps: int,
        driver: Callable[[FloatArray], FloatArray],
        progress: Callable[[int], None],
    ) -> float:
        """Drives at least `steps` steps by what `driver` makes of the expert's actions."""
        count = self._cars.num_envs
        rounds = -(-steps // count)
        learned = round((1.0 - self._setting.validation_share) * rounds)
        total = 0.0
        for done in range(rounds):
            pairs = zip(self._experts, self._cars.views, strict=True)
            wanted = np.concatenate([shown(expert, view.batch) for expert, view in pairs])
            observation = self._cars.observation()
            self._collection.add(observation, wanted, kept=done >= learned)
            driven = driver(wanted)
            following: Any
            following, rewards, ended, infos = self._environment.step(driven)
            if self._buffer is not None:
                last = _last(following, infos)
                self._buffer.add(self._seen, last, driven, rewards, ended, infos)
            total += float(rewards.sum())
            self._seen = following
            self.steps += count
            progress((done + 1) * count)
        return total / (rounds * count)


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
