"""Agents beside each other: the same track, cars, seed and wall time, raced by the same protocol.

Each party trains its encoder and its policy within one budget of wall time, or until it has taken
the steps of its configuration, is checked as a training is, and its best checked policy then
drives ten races of three laps.
"""

from __future__ import annotations

import contextlib
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import stable_baselines3
from stable_baselines3.common.logger import Logger

from donkey_rl import configuration
from donkey_rl.agents import driving
from donkey_rl.configuration import Config
from donkey_rl.envs import vec_env
from donkey_rl.errors import UnknownNameError
from donkey_rl.experiments import (
    algorithms,
    checks,
    encoder_training,
    evaluation_races,
    racing,
    sight,
    stock_agents,
)
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import Phase, ProgressDisplay

PARTIES = {
    "sac lane": ("agent=sac", "encoder.name=lane"),
    "sac autoencoder": ("agent=sac", "encoder.name=autoencoder"),
    "sac cnn": ("agent=sac", "encoder.name=cnn"),
    "ppo lane": ("agent=ppo", "encoder.name=lane"),
    "ppo cnn": ("agent=ppo", "encoder.name=cnn"),
    "sb3 sac autoencoder": ("agent=sac", "encoder.name=autoencoder"),
}
"""Settings of each party, over the defaults of a training."""

RACES, LAPS = 10, 3
_STOCK = "sb3 "
_RECIPES = {"ppo cnn": "ppo_pixels"}
"""Parties that drive by a recipe's settings; the steps stay those of all."""


class DrivingResult(Config):
    """How far a party came.

    Attributes:
        party: Of `PARTIES`.
        seed: Of the run.
        seconds: Wall time that it had at most, encoder included.
        steps: Environment steps that it took in that time.
        first_clean_lap_s: Wall time from the start of its encoder to the first clean lap.
        first_clean_lap_steps: Environment steps to it.
        races_clean: Races of `RACES` of which all laps were clean.
        best_lap_s: Best clean lap of those races.
        mean_lap_s: Mean of their clean laps.
        steering_change: Mean change of the steering command per step in those races.
    """

    party: str
    seed: int
    seconds: float
    steps: int
    first_clean_lap_s: float | None
    first_clean_lap_steps: int | None
    races_clean: int
    best_lap_s: float | None
    mean_lap_s: float | None
    steering_change: float


class _Over(Exception):  # noqa: N818
    """The time of a party is up."""


class _StockSAC(stable_baselines3.SAC):
    """Stable-Baselines3's own SAC, with what the checks keep of a policy."""

    learner = types.SimpleNamespace(cnn=None)

    def deterministic_model(self) -> _TorchNetwork:
        return _TorchNetwork(self.actor)


class _TorchNetwork:
    """The weights of a PyTorch network, by the names that Keras gives them."""

    def __init__(self, network: Any) -> None:
        self._network = network

    @property
    def weights(self) -> list[Any]:
        return list(self._network.state_dict().values())

    def get_weights(self) -> list[npt.NDArray[Any]]:
        return [value.detach().numpy().copy() for value in self.weights]

    def set_weights(self, kept: Sequence[npt.NDArray[Any]]) -> None:
        for value, array in zip(self.weights, kept, strict=True):
            value.copy_(value.new_tensor(array))


class _Unlogged:
    """Stands where a run would be logged."""

    def log_metrics(self, values: object, step: int) -> None:
        """Logs nothing."""


def compare(
    base: TrainingConfig, parties: Sequence[str], seconds: float, progress: ProgressDisplay
) -> list[DrivingResult]:
    """Trains and races each party.

    Args:
        base: What all have in common: track, car, seed, and the steps that schedules end at and
            that nobody goes beyond.
        parties: Names of `PARTIES`.
        seconds: Wall time of each, at most.
        progress: Shows how far it is.

    Raises:
        UnknownNameError: There is no such party.
    """
    for party in parties:
        if party not in PARTIES:
            raise UnknownNameError("party", party, tuple(PARTIES))
    found = []
    for party in parties:
        progress.message(f"{party}, seed {base.seed}")
        config = configuration.with_settings(base, [*PARTIES[party], *_of_recipe(party)])
        found.append(_train(party, config, seconds, progress))
    return found


def _of_recipe(party: str) -> list[str]:
    """Returns the settings of a party's recipe, if it has one."""
    if party not in _RECIPES:
        return []
    values = configs.flat(configuration.read_recipe(_RECIPES[party]))
    return [f"{key}={value}" for key, value in values.items() if key != "steps"]


def _train(
    party: str, config: TrainingConfig, seconds: float, progress: ProgressDisplay
) -> DrivingResult:
    started = time.perf_counter()

    def within_time() -> None:
        if time.perf_counter() - started > seconds:
            raise _Over

    first: list[float] = []
    encoder = None
    if config.encoder.name != "cnn":
        encoder, _ = encoder_training.train_encoder(config, progress, _nothing)
    with contextlib.closing(vec_env.make(config.environment(), config.cars, config.seed)) as cars:
        env = sight.environment(config, cars, encoder, sight.scaling(config))
        model = _agent(party, config, env)
        model.set_logger(Logger(None, []))
        with progress.phase("training driver", config.steps) as phase:
            check = _checks(config, env, phase, within_time, first, started)
            with contextlib.suppress(_Over):
                model.learn(config.steps, check, log_interval=10**9)
        if check.findings.best_weights is not None:
            driving.put_back(model, check.findings.best_weights)
        field = racing.Field(config.environment(), RACES, seed=evaluation_races.FIRST_SEED)
        races = field.race(
            lambda seen: model.predict(env.extractor(seen), deterministic=True)[0], LAPS
        )
    return _result(party, config, seconds, model.num_timesteps, check.findings, first, races)


def _agent(party: str, config: TrainingConfig, env: Any) -> Any:
    if not party.startswith(_STOCK):
        return algorithms.agent(config, env)
    stock_agents.without_triton()
    sac = config.sac
    # What a user of Stable-Baselines3 would set: its own defaults, but as many updates as ours.
    return _StockSAC(
        "MlpPolicy",
        env,
        gradient_steps=sac.gradient_steps,
        learning_starts=sac.learning_starts,
        buffer_size=sac.buffer_size,
        seed=config.seed,
        device="cpu",
    )


def _checks(
    config: TrainingConfig,
    env: Any,
    phase: Phase,
    within_time: Callable[[], None],
    first: list[float],
    started: float,
) -> checks.Checks:
    return checks.Checks(
        config.check,
        [racing.Field(config.environment(), config.check.races, seed=checks.CHECK_SEED)],
        env.extractor,
        _Unlogged(),  # type: ignore[arg-type]
        phase,
        checks.Hooks(lambda: first.append(time.perf_counter() - started), within_time, _nothing),
    )


def _nothing() -> None:
    """What happens between two steps where no time limit is kept."""


def _result(
    party: str,
    config: TrainingConfig,
    seconds: float,
    steps: int,
    findings: checks.Findings,
    first: list[float],
    races: Sequence[Any],
) -> DrivingResult:
    found = checks.summary(races)
    lapped = found["clean_laps"] > 0.0
    return DrivingResult(
        party=party,
        seed=config.seed,
        seconds=seconds,
        steps=steps,
        first_clean_lap_s=round(first[0], 1) if first else None,
        first_clean_lap_steps=findings.first_clean_lap_steps,
        races_clean=sum(checks.summary([race])["clean_share"] == 1.0 for race in races),
        best_lap_s=round(found["best_lap_s"], 2) if lapped else None,
        mean_lap_s=round(found["mean_lap_s"], 2) if lapped else None,
        steering_change=round(float(np.nan_to_num(found["steering_change"])), 3),
    )
