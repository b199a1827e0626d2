"""Cars that drive on a Ray cluster for one learner.

The policy stays with the learner, and each step goes once round: actions to the collectors,
features back. So nothing is ever driven by old weights, and what is learned from is what a single
machine would have learned from. The encoder runs where the pictures are: of a car some thirty
numbers go over the network in a step, not 58 kB of picture.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

import donkey_rl
from donkey_rl.agents.encoders import base
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.envs import joined_view, simulators
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.experiments import sight
from donkey_rl.experiments.cluster import connection
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.membership import ALONE, Membership
from donkey_rl.experiments.progress import ProgressDisplay

LOST = "collector lost"
"""`info["ending"]` of episodes that were cut because the node that drove them is gone."""

_MOST_LOST = 20


@contextlib.contextmanager
def collecting(
    address: str | None, collectors: int, progress: ProgressDisplay, member: Membership = ALONE
) -> Iterator[Membership]:
    """Has the cars of a training driven on a cluster.

    Args:
        address: ``HOST:PORT`` of the cluster; None for one of this machine's cores.
        collectors: How many processes drive, with a core each; each drives a share of the cars.
        progress: Shows what is waited for, and when one is lost.
        member: What else the training is told.

    Yields:
        What `training.train` is to be told.

    Raises:
        InputError: The cluster is refused, or it has no core for a collector.
        DonkeyRLError: The cluster cannot be reached.
    """
    with connection.connected(address, progress) as nodes:
        cores = sum(int(node.cpus) for node in nodes)
        if cores < collectors:
            raise InputError(
                f"{collectors} collectors want a core each, and the cluster has {cores}. Take "
                "fewer, or add a node."
            )

        def environment(
            config: TrainingConfig, local: ExtractedVecEnv, encoder: Encoder | None
        ) -> ExtractedVecEnv:
            return _spread(config, local, encoder, collectors, progress.message)

        yield dataclasses.replace(member, environment=environment, collectors=collectors)


def _spread(
    config: TrainingConfig,
    local: ExtractedVecEnv,
    encoder: Encoder | None,
    collectors: int,
    say: Callable[[str], object],
) -> CollectedVecEnv:
    """Returns what a policy learns in, its cars spread over collectors."""
    check(config, collectors)
    import ray

    shares = [len(part) for part in np.array_split(np.arange(local.num_envs), collectors)]
    remote = ray.remote(num_cpus=1, max_restarts=0)(Collector)
    values, files = config.model_dump(mode="json"), _files(encoder)
    name = None if encoder is None else encoder.name

    def start(number: int) -> Any:
        return remote.remote(donkey_rl.__version__, values, name, files, shares[number])

    return CollectedVecEnv(local, shares, start, say)


def check(config: TrainingConfig, collectors: int) -> None:
    """Refuses a training that collectors cannot drive for.

    Raises:
        InputError: It drives elsewhere, beside learned drivers, or in too few cars.
    """
    if simulators.parse(config.simulator):
        raise InputError(
            "Collectors drive in the embedded simulator. Leave --simulator out, or the collectors."
        )
    if config.opponents.learned:
        given = ",".join(config.opponents.drivers)
        raise InputError(
            "Collectors drive beside opponents that need no driver. Received: opponents.drivers="
            f"{given}. Choose of pursuit, passing and parked, or leave the collectors out."
        )
    if config.driven < collectors * len(config.environments()):
        raise InputError(
            f"{collectors} collectors want a car each on every track. Received: "
            f"{config.driven} cars. Give more with --set cars=N."
        )


def _files(encoder: Encoder | None) -> dict[str, bytes]:
    if encoder is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name)
        encoder.save(folder)
        return {each.name: each.read_bytes() for each in folder.iterdir()}


class Collector:
    """Drives a share of the cars, on a node of the cluster."""

    def __init__(
        self,
        version: str,
        config: dict[str, Any],
        encoder: str | None,
        files: dict[str, bytes],
        cars: int,
    ) -> None:
        """Builds the cars.

        Args:
            version: Of the learner's donkey-rl.
            config: The training.
            encoder: Name of its encoder; None where the policy sees by itself.
            files: What `Encoder.save` wrote.
            cars: How many.
        """
        if version != donkey_rl.__version__:
            raise InputError(
                f"donkey-rl is {donkey_rl.__version__} on a node and {version} at the learner. "
                "Install the same."
            )
        training = TrainingConfig(**config)
        loaded = None
        if encoder is not None:
            with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
                for file, content in files.items():
                    (pathlib.Path(name) / pathlib.Path(file).name).write_bytes(content)
                loaded = base.encoder_class(encoder).load(pathlib.Path(name))
        driven = joined_view.make(training.environments(), cars, training.seed)
        self._env = sight.environment(training, driven, loaded, sight.scaling(training))

    def reset(self, seed: int | None) -> VecEnvObs:
        """Starts all episodes anew, from a seed if one is given."""
        if seed is not None:
            self._env.seed(seed)
        return self._env.reset()

    def step(self, actions: npt.NDArray[Any]) -> VecEnvStepReturn:
        """Drives all cars for one step."""
        return self._env.step(actions)


class CollectedVecEnv(ExtractedVecEnv):
    """The cars of all collectors, one collector after the other.

    A collector that is lost is placed again. Its episodes are cut where they were, as at a time
    limit, and new ones begin.
    """

    def __init__(
        self,
        local: ExtractedVecEnv,
        shares: Sequence[int],
        start: Callable[[int], Any],
        say: Callable[[str], object],
    ) -> None:
        """Starts the collectors.

        Args:
            local: The same cars on this machine, which stay where they are: their spaces and
                what extracts from their observations count here.
            shares: Cars of each collector.
            start: Starts a collector, by its number.
            say: Told when one is lost.
        """
        super().__init__(local.venv, local.extractor)
        self._start, self._say = start, say
        self._collectors = [start(number) for number in range(len(shares))]
        self._cuts = np.cumsum(shares)[:-1]
        self._shares = tuple(shares)
        self._seen: list[Any] = [None] * len(shares)
        self._answers: list[Any] = []
        self._lost = 0
        self._generation = 0
        self._seeds = [None] * self.num_envs

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Takes the seed of the next `reset`; each collector draws from one of its own."""
        return VecEnv.seed(self, seed)

    def reset(self) -> VecEnvObs:
        """Starts every episode anew and returns what is seen."""
        seeds = [self._seed_of(number) for number in range(len(self._shares))]
        self._reset_seeds()
        asked = [
            each.reset.remote(seed) for each, seed in zip(self._collectors, seeds, strict=True)
        ]
        for number, (one, seed) in enumerate(zip(asked, seeds, strict=True)):
            self._seen[number] = self._got(number, one, functools.partial(self._anew, seed))
        return _joined(self._seen)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Hands each collector its actions."""
        started = time.perf_counter()
        parts = np.split(actions, self._cuts)
        self._answers = [
            each.step.remote(part) for each, part in zip(self._collectors, parts, strict=True)
        ]
        self.seconds["environment"] += time.perf_counter() - started

    def step_wait(self) -> VecEnvStepReturn:
        """Returns what is seen, rewards, ends of episodes and infos of all cars."""
        started = time.perf_counter()
        moved = [self._got(number, one, self._cut) for number, one in enumerate(self._answers)]
        # Collectors encode what they see: waiting for them is all that is left of it here.
        self.seconds["environment"] += time.perf_counter() - started
        observed, rewards, dones, infos = zip(*moved, strict=True)
        self._seen = list(observed)
        return (
            _joined(observed),
            np.concatenate(rewards),
            np.concatenate(dones),
            [info for part in infos for info in part],
        )

    def _seed_of(self, number: int) -> int | None:
        """Returns the seed that the cars of a collector start from, None to go on as they are."""
        first = self._seeds[0]
        if first is None:
            return None
        entropy = np.random.SeedSequence([first, number, self._generation])
        return int(entropy.generate_state(1)[0]) >> 1

    def _got(self, number: int, asked: Any, otherwise: Callable[[int], Any]) -> Any:
        """Returns an answer; where its collector is lost, another one's."""
        import ray

        while True:
            try:
                return ray.get(asked) if asked is not None else otherwise(number)
            except ray.exceptions.RayError as error:
                # Another node would raise the same.
                own = isinstance(error, ray.exceptions.RayTaskError)
                if own or getattr(error, "actor_init_failed", False):
                    lines = str(error).strip().splitlines()
                    told = lines[-1][:300].removesuffix(".")
                    raise DonkeyRLError(f"A collector failed: {told}.") from error
                self._lost += 1
                kind = type(error).__name__
                if self._lost > _MOST_LOST:
                    raise DonkeyRLError(
                        f"Collectors are lost again and again ({kind}). The driver so far is "
                        "kept; see Ray's logs, and the memory of its nodes."
                    ) from error
                self._say(f"a collector is lost with its node ({kind}) and is placed again")
                self._collectors[number] = self._start(number)
                asked = None

    def _anew(self, seed: int | None, number: int) -> VecEnvObs:
        import ray

        found: VecEnvObs = ray.get(self._collectors[number].reset.remote(seed))
        return found

    def _cut(self, number: int) -> VecEnvStepReturn:
        """Begins new episodes in place of those that were lost, which end where they were seen."""
        count, before = self._shares[number], self._seen[number]
        self._generation += 1
        entropy = np.random.SeedSequence([number, self._generation])
        seen = self._anew(int(entropy.generate_state(1)[0]) >> 1, number)
        infos: list[dict[str, Any]] = [
            {
                "terminal_observation": _row(before, i),
                "TimeLimit.truncated": True,
                "ending": LOST,
            }
            for i in range(count)
        ]
        return seen, np.zeros(count, np.float32), np.ones(count, np.bool_), infos


def _joined(parts: Sequence[Any]) -> VecEnvObs:
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    joined: npt.NDArray[Any] = np.concatenate(list(parts))
    return joined


def _row(observed: Any, index: int) -> Any:
    if isinstance(observed, dict):
        return {name: part[index] for name, part in observed.items()}
    return observed[index]
