"""Speed on this machine, beside what Stable-Baselines3 does in the same run.

Rounds of all parties alternate, so that a busy machine slows them alike; the medians count.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
from gymnasium import spaces
from pydantic import Field
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.configuration import Config
from donkey_rl.envs import batch as batches
from donkey_rl.envs import labels
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.vector import DonkeyVectorEnv
from donkey_rl.errors import UnknownNameError
from donkey_rl.experiments import link_bench
from donkey_rl.experiments.progress import ProgressDisplay

ROUNDS = 5
CARS = 64
FEATURES = 29
UPDATES = 64
HIDDEN = (256, 256)
BATCH = 256
PREDICTIONS = 400
PPO_CARS = 8
ROLLOUT = 256


class BenchResult(Config):
    """Speeds of this machine; a figure is None where the party is not installed or not built.

    Attributes:
        sim_steps_per_s: Environment steps of 64 cars with images of 160 x 120, with physics,
            telemetry, task and infos.
        sim_steps_per_s_one_car: The same of one car.
        carracing_steps_per_s: Steps of Gymnasium's CarRacing-v3 with images, if installed.
        sac_updates_per_s: Gradient steps of 2 x 256 units, batches of 256, by party.
        ppo_samples_per_s: Environment steps per second of whole rollouts and updates, eight
            environments without work, batches of 64, ten epochs, 2 x 64 units, by party.
        predict_ms: Image to action of one car, median and 99th percentile.
        link_delay_ms: What a connection to a real-time simulator adds to a command on its way
            out and a frame on its way in, beside a bare socket, see `link_bench.delays`.
        served_hz: Telemetry messages per second and client of the served simulator with 16
            clients, see `link_bench.served_rates`.
    """

    sim_steps_per_s: float | None = None
    sim_steps_per_s_one_car: float | None = None
    carracing_steps_per_s: float | None = None
    sac_updates_per_s: dict[str, float | None] = Field(default_factory=dict)
    ppo_samples_per_s: dict[str, float | None] = Field(default_factory=dict)
    predict_ms: dict[str, float] = Field(default_factory=dict)
    link_delay_ms: dict[str, float] = Field(default_factory=dict)
    served_hz: dict[str, float] = Field(default_factory=dict)
    machine: str


class _Features(gymnasium.Env[np.ndarray, np.ndarray]):
    """A world without work: random features, for measuring updates alone."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (FEATURES,), np.float32)
        self.action_space = batches.action_space()
        self._rng = np.random.default_rng(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), float(self._rng.normal()), False, False, {}


PARTS = ("simulator", "learning", "driver", "link")
"""What can be measured by itself."""


def run(
    progress: ProgressDisplay, parts: Sequence[str] = PARTS, seconds: float = 10.0
) -> BenchResult:
    """Measures; all parts together take about a minute on two cores.

    Args:
        progress: Shows how far it is.
        parts: Of `PARTS`.
        seconds: How long each measurement of the connection takes.

    Raises:
        UnknownNameError: There is no such part.
    """
    for part in parts:
        if part not in PARTS:
            raise UnknownNameError("part", part, PARTS)
    work = {"simulator": _simulators, "learning": _learning, "driver": _driver}
    found: dict[str, Any] = {}
    with progress.phase("measuring", len(parts), "parts") as phase:
        for done, part in enumerate(parts):
            found |= _link(seconds) if part == "link" else work[part]()
            phase.update(done + 1)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return BenchResult(**found, machine=machine)


def _simulators() -> dict[str, Any]:
    many, one = _simulator()
    return {
        "sim_steps_per_s": many,
        "sim_steps_per_s_one_car": one,
        "carracing_steps_per_s": _carracing(),
    }


def _learning() -> dict[str, Any]:
    return {"sac_updates_per_s": _updates(), "ppo_samples_per_s": _samples()}


def _driver() -> dict[str, Any]:
    return {"predict_ms": _prediction()}


def _link(seconds: float) -> dict[str, Any]:
    return {
        "link_delay_ms": link_bench.delays(seconds),
        "served_hz": link_bench.served_rates(seconds),
    }


def _rates(parties: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Returns the median rate of each party over alternating rounds.

    Args:
        parties: For each, what a round does and how many units it makes.
    """
    found: dict[str, list[float]] = {name: [] for name in parties}
    for work, _ in parties.values():
        work()
    for _ in range(ROUNDS):
        for name, (work, units) in parties.items():
            started = time.perf_counter()
            work()
            found[name].append(units / (time.perf_counter() - started))
    return {name: round(float(np.median(rates)), 1) for name, rates in found.items()}


def _simulator() -> tuple[float, float]:
    config = EnvironmentConfig(throttle_max=0.2)
    fleet = DonkeyVectorEnv(config, CARS, copy=False)
    single = DonkeyVectorEnv(config, 1, copy=False)
    for env in (fleet, single):
        env.reset(seed=0)
    wanted = np.tile(np.array([0.1, 0.0], dtype=np.float32), (CARS, 1))

    def drive(env: DonkeyVectorEnv, steps: int) -> None:
        for _ in range(steps):
            env.step(wanted[: env.num_envs])

    rates = _rates(
        {
            "fleet": (lambda: drive(fleet, 100), 100 * CARS),
            "single": (lambda: drive(single, 1000), 1000),
        }
    )
    return rates["fleet"], rates["single"]


def _carracing() -> float | None:
    """Steps per second of the usual image environment, if Box2D is there to run it."""
    if importlib.util.find_spec("Box2D") is None:
        return None
    env = gymnasium.make("CarRacing-v3")
    env.reset(seed=0)

    def drive() -> None:
        for _ in range(100):
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()

    rate = _rates({"carracing": (drive, 100)})["carracing"]
    env.close()
    return rate


def _updates() -> dict[str, float | None]:
    ours = SAC(
        DummyVecEnv([_Features]),
        SACConfig(hidden=HIDDEN, batch_size=BATCH, gradient_steps=1, learning_starts=10**6),
        seed=0,
    )
    theirs = stable_baselines3.SAC(
        "MlpPolicy",
        DummyVecEnv([_Features]),
        batch_size=BATCH,
        policy_kwargs={"net_arch": list(HIDDEN)},
        learning_starts=10**6,
        device="cpu",
    )
    parties: dict[str, tuple[Callable[[], object], int]] = {}
    for name, model in (("ours", ours), ("sb3", theirs)):
        model.set_logger(Logger(None, []))
        model.learn(2_000)
        parties[name] = (_trainer(model), UPDATES)
    found: dict[str, float | None] = dict(_rates(parties))
    return found | {"sbx": _sbx_updates()}


def _trainer(model: object) -> Callable[[], object]:
    return lambda: model.train(gradient_steps=UPDATES, batch_size=BATCH)  # type: ignore[attr-defined]


def _samples() -> dict[str, float | None]:
    """Rollouts and updates of PPO, ours beside Stable-Baselines3's."""
    ours = PPO(
        DummyVecEnv([_Features] * PPO_CARS), PPOConfig(n_steps=ROLLOUT, batch_size=64), seed=0
    )
    theirs = stable_baselines3.PPO(
        "MlpPolicy",
        DummyVecEnv([_Features] * PPO_CARS),
        n_steps=ROLLOUT,
        batch_size=64,
        device="cpu",
    )
    parties: dict[str, tuple[Callable[[], object], int]] = {}
    for name, model in (("ours", ours), ("sb3", theirs)):
        model.set_logger(Logger(None, []))
        parties[name] = (_rollouts(model), PPO_CARS * ROLLOUT)
    return dict(_rates(parties))


def _rollouts(model: Any) -> Callable[[], object]:
    return lambda: model.learn(PPO_CARS * ROLLOUT, reset_num_timesteps=False)


def _sbx_updates() -> float | None:
    """The same of SBX (Stable-Baselines3 on JAX), where it is installed."""
    if importlib.util.find_spec("sbx") is None:
        return None
    sbx = importlib.import_module("sbx")
    model = sbx.SAC(
        "MlpPolicy",
        DummyVecEnv([_Features]),
        batch_size=BATCH,
        policy_kwargs={"net_arch": list(HIDDEN)},
        learning_starts=10**6,
    )
    model.set_logger(Logger(None, []))
    model.learn(2_000)
    return _rates({"sbx": (_trainer(model), UPDATES)})["sbx"]


def _prediction() -> dict[str, float]:
    """Image to action of one car, with an untrained driver of the usual size."""
    config = EnvironmentConfig()
    encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS)
    space = batches.observation_space(config)
    agent = SAC(DummyVecEnv([_Features]), SACConfig(), seed=0)
    about = DriverDescription(
        agent="sac", vehicle=config.vehicle, tracks=(config.track,), simulator="none", camera={}
    )
    driver = Driver(encoder, agent.deterministic_model(), about, history=config.history)
    driver.check_observation_space(space)
    observation = space.sample()
    times = []
    for _ in range(PREDICTIONS):
        started = time.perf_counter()
        driver.act(observation)
        times.append(1000.0 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times[20:], [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
