"""What races were driven under that was changed on purpose, as their records tell it."""

from __future__ import annotations

from collections.abc import Sequence

from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments import race_latency

Conditions = dict[str, float | int | str]


def of(latency: LatencyConfig, settings: Sequence[str], config: EnvironmentConfig) -> Conditions:
    """Returns how late commands were, what settings changed, and who else was on the road.

    >>> of(LatencyConfig(), ["steer_limit=0.8"], EnvironmentConfig())
    {'steer_limit': '0.8'}

    Args:
        latency: Of the commands.
        settings: Assignments `key=value`; the car stands in the records by itself.
        config: What the cars drive in.
    """
    pairs = (setting.partition("=")[::2] for setting in settings)
    changed = {key.strip(): value.strip() for key, value in pairs if key.strip() != "vehicle"}
    others = config.opponents
    road = {"opponents": ",".join(others.drivers)} if others.count else {}
    return race_latency.told(latency) | changed | road
