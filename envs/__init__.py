"""Environments: a simulator and a task, as Gymnasium and Stable-Baselines3 see them.

Importing this package registers gym-donkeycar's environment ids with Gymnasium. The embedded
simulator is imported when an environment is first asked for: who drives in another one, as in a
race, needs none of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from donkey_rl.envs import registration

if TYPE_CHECKING:
    from donkey_rl.envs.environment import DonkeyEnv
    from donkey_rl.envs.settings import EnvironmentConfig
    from donkey_rl.envs.tasks import TaskConfig
    from donkey_rl.envs.vector import DonkeyVectorEnv

registration.register()

__all__ = ["DonkeyEnv", "DonkeyVectorEnv", "EnvironmentConfig", "TaskConfig"]

_MODULES = {
    "DonkeyEnv": "environment",
    "DonkeyVectorEnv": "vector",
    "EnvironmentConfig": "settings",
    "TaskConfig": "tasks",
}


def __getattr__(name: str) -> Any:
    """Imports one of the names of this package when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
