"""The API reference: which names of which modules are public, and their pages."""

from __future__ import annotations

from collections.abc import Mapping

import site_text as rst

API: dict[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "envs": (
        "Environments, tracks and cars",
        {
            "donkey_rl.envs.environment": ("DonkeyEnv",),
            "donkey_rl.envs.vector": ("DonkeyVectorEnv",),
            "donkey_rl.envs.vec_env": ("SB3View", "make"),
            "donkey_rl.envs.registration": ("make", "make_vector"),
            "donkey_rl.envs.settings": ("EnvironmentConfig",),
            "donkey_rl.envs.tasks": ("TaskConfig", "Facts", "endings", "reward_terms"),
            "donkey_rl.envs.rewards": ("OwnReward", "load"),
            "donkey_rl.envs.latency": ("LatencyConfig",),
            "donkey_rl.envs.opponents": ("OpponentConfig",),
            "donkey_rl.envs.pursuit": ("Pursuit",),
            "donkey_rl.envs.simulator.track": ("Track", "names", "load"),
            "donkey_rl.envs.simulator.vehicle": ("Vehicle", "names", "load"),
            "donkey_rl.envs.simulator.sensors": ("CameraConfig",),
            "donkey_rl.envs.simulator.randomisation": ("Randomisation",),
            "donkey_rl.envs.simulator.world": ("World",),
            "donkey_rl.envs.simulator.interface": ("Simulator",),
        },
    ),
    "agents": (
        "Agents, encoders and drivers",
        {
            "donkey_rl.agents.sac.sac": ("SAC",),
            "donkey_rl.agents.sac.config": ("SACConfig",),
            "donkey_rl.agents.ppo.ppo": ("PPO",),
            "donkey_rl.agents.ppo.config": ("PPOConfig",),
            "donkey_rl.agents.imitation.config": ("ImitationConfig",),
            "donkey_rl.agents.augmentation.config": ("AugmentationConfig",),
            "donkey_rl.agents.encoders.base": ("Encoder", "names", "encoder_class"),
            "donkey_rl.agents.encoders.config": (
                "LaneEncoderConfig",
                "AutoencoderConfig",
                "CnnEncoderConfig",
                "OwnEncoderConfig",
            ),
            "donkey_rl.agents.encoders.lane": ("LaneEncoder",),
            "donkey_rl.agents.encoders.autoencoder": ("Autoencoder",),
            "donkey_rl.agents.encoders.cnn": ("CnnEncoder",),
            "donkey_rl.agents.driver": ("Driver",),
            "donkey_rl.agents.lite_driver": ("LiteDriver",),
            "donkey_rl.agents.ensemble": ("Ensemble", "load"),
            "donkey_rl.agents.manifest": ("Manifest", "DriverDescription", "read"),
        },
    ),
    "metrics": (
        "Races and metrics",
        {
            "donkey_rl.metrics.race": ("Race", "RaceRecorder", "columns_of"),
            "donkey_rl.metrics.race_header": ("RaceHeader", "HostTiming", "Crossing"),
            "donkey_rl.metrics.race_file": ("save", "load", "frames"),
            "donkey_rl.metrics.registry": (
                "Metric",
                "metric",
                "names",
                "load",
                "from_file",
                "score",
                "score_races",
                "Table",
                "Failure",
            ),
            "donkey_rl.metrics.conformance": ("check_metric",),
            "donkey_rl.metrics.laps": ("Lap", "laps", "crossings", "completion", "best_clean_lap"),
            "donkey_rl.metrics.heat": ("Heat", "heat", "checkpoints"),
            "donkey_rl.metrics.limits": ("OptimalLine", "lap_s", "line"),
            "donkey_rl.metrics.statistics": (
                "Interval",
                "Summary",
                "Difference",
                "summarise",
                "proportion",
                "paired",
                "adjust",
                "detectable",
                "least_pairs",
            ),
            "donkey_rl.metrics.robustness": ("score_kept", "robustness"),
        },
    ),
    "experiments": (
        "Experiments: training, evaluating, comparing",
        {
            "donkey_rl.experiments.config": ("TrainingConfig", "RaceConfig", "StartConfig"),
            "donkey_rl.experiments.check_config": ("CheckConfig",),
            "donkey_rl.experiments.training": ("train", "resume"),
            "donkey_rl.experiments.training_result": ("TrainingResult",),
            "donkey_rl.experiments.evaluation": ("EvaluationRequest", "evaluate"),
            "donkey_rl.experiments.evaluation_result": ("EvaluationResult",),
            "donkey_rl.experiments.comparison": ("ComparisonRequest", "Comparison", "compare"),
            "donkey_rl.experiments.leaderboard": (
                "LeaderboardRequest",
                "Leaderboard",
                "leaderboard",
            ),
            "donkey_rl.experiments.pictures": ("PicturesRequest", "PicturesResult", "draw"),
            "donkey_rl.experiments.reporting.report": ("ReportRequest", "ReportResult", "write"),
            "donkey_rl.experiments.stored_races": ("StoredRaces", "read"),
            "donkey_rl.experiments.stored_runs": ("StoredRun", "find"),
        },
    ),
    "errors": (
        "Errors and configurations",
        {
            "donkey_rl.errors": (),
            "donkey_rl.configuration": (
                "Config",
                "validate",
                "with_settings",
                "read_recipe",
                "recipes",
                "keys",
            ),
        },
    ),
}
"""The API reference: for each page its title and, by module, the names it shows; () for all."""


_DRIVERS = (".agents.driver", ".agents.lite_driver", ".agents.ensemble")


def api_page(title: str, modules: Mapping[str, tuple[str, ...]]) -> str:
    """Returns a page of the API reference.

    Args:
        title: Its title.
        modules: The names it shows by module, () for all that the module defines.
    """
    lines = rst.title(title, "=")
    for module, names in modules.items():
        lines += rst.title(module, "-")
        lines += [f".. automodule:: {module}"]
        if names:
            lines += [f"   :members: {', '.join(names)}", "   :member-order: bysource"]
            # What all drivers share is nowhere else.
            lines += ["   :inherited-members: ABC"] if module.endswith(_DRIVERS) else []
            lines += [""]
        else:
            lines += ["   :members:", "   :show-inheritance:", ""]
    return "\n".join(lines)
