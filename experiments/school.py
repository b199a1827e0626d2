"""The expert that teaches: it drives, or says what it would have done in the driver's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.imitation.config import ImitationConfig
from donkey_rl.agents.observations import FloatArray
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import reference as references
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.pursuit import GRIP, Pursuit
from donkey_rl.envs.reference import Reference
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.envs.traffic import shown
from donkey_rl.experiments.collection import Collection
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.late_labels import AtOnce, Landed, Lesson, Seen, Shifted
from donkey_rl.metrics import heat, limits

SEED_OFFSET = 15_485
"""Disturbances and batches are drawn from other streams than the episodes."""

_DELAY_STREAM = 1

_WHEEL_WEIGHT = 40.0
"""Lessons are given with calmer wheels than those that keep the line best, see `Pursuit`."""

_IN_TIME = 0.75
"""Share of the time from checkpoint to checkpoint that the expert takes at most: who learns from
it and misreads the road is slower."""

_MORE_GRIP = 1.1
"""By this the grip grows until the expert is quick enough."""

_POINTS = 100
"""Places of each such stretch at which its speed is taken."""

_PIECES = 40
"""Such stretches of a lap whose time is taken as a whole."""

_CRAWL = 1.0
"""No reference is slower than this (u/s)."""

_NOISE_MEMORY = 0.9
"""Share of a disturbance that is left after one step: it lasts for half a second."""

IntArray = npt.NDArray[np.int64]


def teacher(config: EnvironmentConfig, setting: ImitationConfig) -> Pursuit:
    """Returns the expert of a track, with so much more grip that a race's checkpoints are met.

    Lessons that a race would disqualify teach to be disqualified: on roboracingleague_1 a heat
    asks for more speed than little grip gives.

    Args:
        config: Track, car and the limits of its commands.
        setting: How the expert is to drive elsewhere.
    """

    def with_grip(grip: float) -> Pursuit:
        return Pursuit(
            config,
            grip=grip,
            margin=setting.margin,
            motion=setting.motion,
            wheel_weight=_WHEEL_WEIGHT,
        )

    length = track.load(config.track).length
    allowed_s = setting.slowest * _IN_TIME * heat.CHECKPOINT_S
    grip, expert = setting.grip, with_grip(setting.grip)
    while grip < GRIP and longest_stretch_s(expert.reference, length) > allowed_s:
        grip = min(GRIP, _MORE_GRIP * grip)
        expert = with_grip(grip)
    return expert


def longest_stretch_s(reference: Reference, length: float) -> float:
    """Returns the time that a lap's slowest stretch between two checkpoints takes (s).

    Args:
        reference: What is driven.
        length: Of the lap (u).
    """
    return float(_stretches_s(reference, length, heat.checkpoints(length) + 1).max())


def reserve(expert: Pursuit, config: EnvironmentConfig) -> float:
    """Returns the expert's lap by the time-optimal one, 1 where that is not known.

    Times the share of the limit that is wanted, it is the share of the expert's own speeds.

    Args:
        expert: Of the track.
        config: Track and car.
    """
    road = track.load(config.track)
    # Of what is shipped alone: who goes on with the run has perhaps another file.
    optimal = limits.line(road.name, config.vehicle, road.digest, own=False)
    if optimal is None:
        return 1.0
    return float(_stretches_s(expert.reference, road.length, _PIECES).sum()) / optimal.lap_s


def _stretches_s(reference: Reference, length: float, count: int) -> FloatArray:
    """Returns the times that so many stretches of a lap, of one length, take (s)."""
    arcs = (np.arange(_POINTS * count) + 0.5) * length / (_POINTS * count)
    rows = reference.at(arcs)
    along = np.maximum(rows[:, references.FORWARD] * rows[:, references.ADVANCE], _CRAWL)
    times: FloatArray = (length / len(arcs) / along).reshape(count, _POINTS).sum(axis=1)
    return times


class School:
    """The expert, the cars, and what is kept of their drives.

    The expert is privileged and acts on the present. Where commands are late, the label of a
    frame is what it does when the command for that frame arrives.

    Attributes:
        steps: Environment steps driven so far.
    """

    def __init__(
        self,
        config: TrainingConfig,
        environment: ExtractedVecEnv,
        cars: Cars,
        collection: Collection,
        model: SAC | PPO,
    ) -> None:
        """Puts all cars on new starts.

        Args:
            config: The run.
            environment: What the policy learns in.
            cars: The same, with images and the cars' state.
            collection: Takes what is learned from.
            model: The agent.
        """
        setting = config.imitation
        self.steps = 0
        self._setting, self._environment, self._cars = setting, environment, cars
        self._collection, self._model = collection, model
        self._buffer = None
        if isinstance(model, SAC) and setting.seed_replay:
            self._buffer = model.replay_buffer
        environments = config.environments()
        self._experts = [teacher(each, setting) for each in environments]
        of_limit = setting.pace_of == "limit"
        self._reserves = [
            reserve(expert, each) if of_limit else 1.0
            for expert, each in zip(self._experts, environments, strict=True)
        ]
        self._random = np.random.default_rng([config.seed, SEED_OFFSET])
        self._latency = config.latency
        self._delays = np.random.default_rng([config.seed, SEED_OFFSET, _DELAY_STREAM])
        self._seen: Any = environment.reset()

    def show(self, progress: Callable[[int], None]) -> float:
        """Lets the expert drive, disturbed, and keeps what it wanted to do.

        The disturbance takes the cars to where a policy's own mistakes will take them, and what is
        learned there is the expert's way back (Laskey et al. 2017, "DART: Noise Injection for
        Robust Imitation Learning", arXiv:1703.09327). The replay buffer gets what was really
        driven.

        The expert drives without latency. Its drive becomes one under a delay of D steps when
        the frame of step k - D is given the commands that a driver would have sent up to then,
        the K before step k, and the expert's action at step k. D is drawn anew for each episode.
        The replay buffer gets nothing then: nobody drove like that.

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

        if not self._latency.wanted:
            at_once = AtOnce(self._collection, self._cars)
            return self._drive(self._setting.steps, disturbed, at_once, progress)
        lesson = Shifted(self._collection, self._cars, self._latency, self._delays)
        buffer, self._buffer = self._buffer, None
        self._pause(True)
        try:
            return self._drive(self._setting.steps, disturbed, lesson, progress)
        finally:
            self._pause(False)
            self._buffer = buffer

    def correct(self, progress: Callable[[int], None]) -> float:
        """Lets the policy drive, and keeps what the expert would have done in its place.

        Source: Ross et al. 2011, "A Reduction of Imitation Learning and Structured Prediction to
        No-Regret Online Learning" (DAgger), arXiv:1011.0686, algorithm 3.1 with the expert driving
        in the first round only. Under latency the policy drives with it, and a frame waits for its
        label until its command has arrived; frames whose episode ends before are left out.

        Args:
            progress: Called with the steps driven.

        Returns:
            The mean reward of a step.
        """

        def own(_: FloatArray) -> FloatArray:
            actions: FloatArray = self._model.predict(self._seen, deterministic=True)[0]
            return actions

        lesson: Lesson = AtOnce(self._collection, self._cars)
        if self._latency.wanted:
            lesson = Landed(self._collection, self._cars, self._latency)
        return self._drive(self._setting.round_steps, own, lesson, progress)

    def _wanted(self, delay_ms: npt.NDArray[np.float64]) -> FloatArray:
        """Returns what the expert does, slower where commands are later, (N, 2)."""
        late = self._latency.share_of_range(delay_ms)
        pace = self._setting.pace + late * (self._setting.slowest - self._setting.pace)
        counts = [view.num_envs for view in self._cars.views]
        pace = np.minimum(pace * np.repeat(self._reserves, counts), 1.0)
        paces = np.split(pace, np.cumsum(counts)[:-1])
        pairs = zip(self._experts, self._cars.views, paces, strict=True)
        return np.concatenate([shown(expert, view.batch, each) for expert, view, each in pairs])

    def _pause(self, paused: bool) -> None:
        """Lets nothing be late for a while, or again; all episodes begin anew."""
        for view in self._cars.views:
            if view.batch.link is not None:
                view.batch.link.paused = paused
        self._seen = self._environment.reset()

    def _drive(
        self,
        steps: int,
        driver: Callable[[FloatArray], FloatArray],
        lesson: Lesson,
        progress: Callable[[int], None],
    ) -> float:
        """Drives at least `steps` steps by what `driver` makes of the expert's actions."""
        count = self._cars.num_envs
        rounds = -(-steps // count)
        learned = min(round((1.0 - self._setting.validation_share) * rounds), rounds - 1)
        total = 0.0
        for done in range(rounds):
            wanted = self._wanted(lesson.delay_ms)
            seen = Seen(self._cars.observation(), self._seen)
            lesson.see(seen, wanted, kept=done >= learned)
            driven = driver(wanted)
            following: Any
            following, rewards, ended, infos = self._environment.step(driven)
            lesson.go_on(ended)
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
