"""What a driver's folder says of where it comes from."""

from __future__ import annotations

import donkey_rl
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.envs import simulators
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.config import TrainingConfig


def of(
    config: TrainingConfig, run_id: str, steps: int, before: Driver | None
) -> DriverDescription:
    """Returns the description of the driver of a run.

    Args:
        config: The run.
        run_id: Its id.
        steps: Environment steps that the policy has learned from.
        before: The driver that the run began with, whose tracks have been seen as well.
    """
    environment = config.environment()
    tracks = (*map(configs.lasting, config.tracks), *(before.description.tracks if before else ()))
    embedded = config.simulator == simulators.EMBEDDED
    return DriverDescription(
        agent=config.agent,
        vehicle=config.vehicle,
        tracks=tuple(dict.fromkeys(tracks)),
        simulator=f"{simulators.EMBEDDED} {donkey_rl.__version__}"
        if embedded
        else config.simulator,
        camera=config.camera.model_dump(),
        steering_limits=(-environment.steer_limit, environment.steer_limit),
        throttle_limits=(environment.throttle_min, environment.throttle_max),
        latency_ms=config.latency.range_ms,
        notes={"run_id": run_id, "seed": config.seed, "steps": steps},
    )
