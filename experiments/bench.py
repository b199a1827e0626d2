"""Speed on this machine, beside what Stable-Baselines3 and SBX do in the same run."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.vector import DonkeyVectorEnv
from donkey_rl.errors import UnknownNameError
from donkey_rl.experiments import (
    driver_bench,
    driving_bench,
    ensemble_bench,
    learning_bench,
    link_bench,
    process_clock,
    race_bench,
    sweep_bench,
    tracking_bench,
)
from donkey_rl.experiments.cluster import scaling_study
from donkey_rl.experiments.cluster.scaling_study import ScalingResult
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.rounds import rates

CARS = 64


class BenchResult(Config):
    """Speeds of this machine; a figure is None where the party is not installed or not built.

    Attributes:
        sim_steps_per_s: Environment steps of 64 cars with images of 160 x 120, with physics,
            telemetry, task and infos.
        sim_steps_per_s_one_car: The same of one car.
        carracing_steps_per_s: Steps of Gymnasium's CarRacing-v3 with images, if installed.
        sac_updates_per_s: Gradient steps of 2 x 256 units, batches of 256, by party.
        sac_image_updates_per_s: The same from images of 64 x 64, `ours_wide` with a network as
            wide as Stable-Baselines3's.
        ppo_samples_per_s: Environment steps per second of whole rollouts and updates, eight
            environments without work, batches of 64, ten epochs, 2 x 64 units, by party.
        predict_ms: Image to action of one car on one core, see `driver_bench.predict_ms`.
        link_delay_ms: What a connection to a real-time simulator adds to a command on its way
            out and a frame on its way in, beside a bare socket, see `link_bench.delays`.
        served_hz: Telemetry messages per second and client of the served simulator with 16
            clients, see `link_bench.served_rates`.
        driving: How far each agent comes in the same time, see `driving_bench`.
        ensemble: Ensembles beside their members, see `ensemble_bench`.
        scaling: How far a sweep scales, see `cluster.scaling_study`.
        sweep: What two workers of a sweep do beside twice what one does, see `sweep_bench`.
        logging: What logging costs a training, see `tracking_bench`.
        race: How fast a race server answers with its page open and its record on the disk.
        soak: What hours of racing do to its memory, threads and files.
    """

    sim_steps_per_s: float | None = None
    sim_steps_per_s_one_car: float | None = None
    carracing_steps_per_s: float | None = None
    sac_updates_per_s: dict[str, float | None] = Field(default_factory=dict)
    sac_image_updates_per_s: dict[str, float | None] = Field(default_factory=dict)
    ppo_samples_per_s: dict[str, float | None] = Field(default_factory=dict)
    predict_ms: dict[str, float] = Field(default_factory=dict)
    link_delay_ms: dict[str, float] = Field(default_factory=dict)
    served_hz: dict[str, float] = Field(default_factory=dict)
    driving: tuple[driving_bench.DrivingResult, ...] = ()
    ensemble: tuple[ensemble_bench.EnsembleRow, ...] = ()
    sweep: sweep_bench.Efficiency | None = None
    logging: tracking_bench.LoggingShare | None = None
    race: race_bench.RaceFigures | None = None
    soak: race_bench.SoakFigures | None = None
    scaling: ScalingResult | None = None
    machine: str


PARTS = ("simulator", "learning", "driver", "link")
"""What is measured in some minutes."""

LONG = ("driving", "ensemble", "sweep", "logging", "race", "soak", "scaling")
"""What takes as long as trainings or races do, and is only measured when asked for."""


def run(
    progress: ProgressDisplay,
    parts: Sequence[str] = PARTS,
    seconds: float = 10.0,
    seeds: int = 1,
    hours: float = 6.0,
) -> BenchResult:
    """Measures; all parts together take some minutes on two cores.

    Args:
        progress: Shows how far it is.
        parts: Of `PARTS` and `LONG`.
        seconds: How long each measurement of the connection takes, each agent's training, the
            race, and all sweeps together.
        seeds: How often each agent is trained, with seeds from 0 on.
        hours: Simulation time of the soak (h).

    Raises:
        UnknownNameError: There is no such part.
    """
    for part in parts:
        if part not in (*PARTS, *LONG):
            raise UnknownNameError("part", part, (*PARTS, *LONG))
    work = {"simulator": _simulators, "learning": _learning, "driver": _driver}
    found: dict[str, Any] = {}
    if "driving" in parts:
        found["driving"] = _driving(seconds, seeds, progress)
    if "ensemble" in parts:
        found["ensemble"] = tuple(
            ensemble_bench.measure((), ensemble_bench.EnsemblePlan(), progress)
        )
    if "sweep" in parts:
        found["sweep"] = sweep_bench.efficiency(seconds / 60.0, progress)
    if "logging" in parts:
        found["logging"] = tracking_bench.measure(progress)
    if "race" in parts:
        found["race"] = race_bench.latencies(seconds, progress)
    if "soak" in parts:
        found["soak"] = race_bench.soak(hours, progress)
    if "scaling" in parts:
        found["scaling"] = scaling_study.run(progress)
    parts = [part for part in parts if part not in LONG]
    if parts:
        with progress.phase("measuring", len(parts), "parts") as phase:
            for done, part in enumerate(parts):
                found |= _link(seconds) if part == "link" else work[part]()
                phase.update(done + 1)
    return BenchResult(**found, machine=process_clock.machine_in_words())


def _driving(
    seconds: float, seeds: int, progress: ProgressDisplay
) -> tuple[driving_bench.DrivingResult, ...]:
    parties = tuple(driving_bench.PARTIES)
    return tuple(
        result
        for seed in range(seeds)
        for result in driving_bench.compare(TrainingConfig(seed=seed), parties, seconds, progress)
    )


def _simulators() -> dict[str, Any]:
    many, one = _simulator()
    return {
        "sim_steps_per_s": many,
        "sim_steps_per_s_one_car": one,
        "carracing_steps_per_s": _carracing(),
    }


def _learning() -> dict[str, Any]:
    return {
        "sac_updates_per_s": learning_bench.sac_updates(),
        "sac_image_updates_per_s": learning_bench.sac_image_updates(),
        "ppo_samples_per_s": learning_bench.ppo_samples(),
    }


def _driver() -> dict[str, Any]:
    return {"predict_ms": driver_bench.predict_ms()}


def _link(seconds: float) -> dict[str, Any]:
    return {
        "link_delay_ms": link_bench.delays(seconds),
        "served_hz": link_bench.served_rates(seconds),
    }


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

    found = rates(
        {
            "fleet": (lambda: drive(fleet, 100), 100 * CARS),
            "single": (lambda: drive(single, 1000), 1000),
        }
    )
    return found["fleet"], found["single"]


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

    rate = rates({"carracing": (drive, 100)})["carracing"]
    env.close()
    return rate
