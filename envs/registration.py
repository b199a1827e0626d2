"""gym-donkeycar's environment ids, registered with Gymnasium.

After ``import donkey_rl.envs``, ``gymnasium.make("donkey-generated-track-v0")`` works; it is then
that the simulator is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from donkey_rl.configuration import validate
from donkey_rl.envs import rendering
from donkey_rl.errors import ConfigurationError

IDS = {
    "donkey-generated-roads-v0": "generated_road",
    "donkey-warehouse-v0": "warehouse",
    "donkey-avc-sparkfun-v0": "sparkfun_avc",
    "donkey-generated-track-v0": "generated_track",
    "donkey-mountain-track-v0": "mountain_track",
    "donkey-roboracingleague-track-v0": "roboracingleague_1",
    "donkey-waveshare-v0": "waveshare",
    "donkey-minimonaco-track-v0": "mini_monaco",
    "donkey-warren-track-v0": "warren",
    "donkey-thunderhill-track-v0": "thunderhill",
    "donkey-circuit-launch-track-v0": "circuit_launch",
}
"""gym-donkeycar's environment ids and the scene of each."""

_DEFAULT_MAX_CTE = 8.0


def register() -> None:
    """Registers all ids with Gymnasium, unless they are there already."""
    for identifier in IDS:
        if identifier not in gymnasium.registry:
            register_one(identifier, f"{__name__}:make", f"{__name__}:make_vector")


def register_one(identifier: str, entry_point: str, many: str | None = None) -> None:
    """Registers an id with Gymnasium, in place of what has it.

    As in gym-donkeycar an episode goes on beside the road until `max_cte`, 8 by default.

    Args:
        identifier: Of `IDS`.
        entry_point: What makes one environment.
        many: What makes a vector environment; None where Gymnasium joins several of one.
    """
    task = {"end_off_track": False, "max_cte": _DEFAULT_MAX_CTE}
    gymnasium.registry.pop(identifier, None)
    gymnasium.register(
        id=identifier,
        entry_point=entry_point,
        vector_entry_point=many,
        kwargs={"settings": {"track": IDS[identifier], "task": task}},
    )


def make(
    settings: Mapping[str, Any], *, stock_spaces: bool = False, **arguments: Any
) -> gymnasium.Env[Any, Any]:
    """Builds the environment of an id.

    Args:
        settings: The environment's configuration.
        stock_spaces: Whether observation and action are gym-donkeycar's own, see `StockSpaces`.
        arguments: Those of `DonkeyEnv`; a `config` counts in place of the settings.
    """
    from donkey_rl.envs.environment import DonkeyEnv
    from donkey_rl.envs.settings import EnvironmentConfig
    from donkey_rl.envs.stock_spaces import StockSpaces

    config = arguments.pop("config", None) or validate(EnvironmentConfig, dict(settings))
    env = DonkeyEnv(config, **arguments)
    return StockSpaces(env) if stock_spaces else env


def make_vector(
    settings: Mapping[str, Any], num_envs: int = 1, **arguments: Any
) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """Builds the vector environment of an id; `arguments` are those of `DonkeyVectorEnv`.

    Raises:
        ConfigurationError: gym-donkeycar's spaces are asked for, which it does not have.
    """
    if arguments.pop("stock_spaces", False):
        raise ConfigurationError(
            "stock_spaces is of single environments. Join them by "
            "gymnasium.make_vec(..., vectorization_mode='sync')."
        )
    from donkey_rl.envs import gym_donkeycar
    from donkey_rl.envs.settings import EnvironmentConfig
    from donkey_rl.envs.vector import DonkeyVectorEnv

    config = arguments.pop("config", None) or validate(EnvironmentConfig, dict(settings))
    config = gym_donkeycar.applied(config, arguments.pop("conf", None) or {})
    return DonkeyVectorEnv(config, num_envs, **arguments)


make.metadata = rendering.METADATA  # type: ignore[attr-defined]
