"""Environments: a simulator and a task, as Gymnasium and Stable-Baselines3 see them.

Importing this package registers gym-donkeycar's environment ids with Gymnasium.
"""

from donkey_rl.envs import registration
from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.tasks import TaskConfig
from donkey_rl.envs.vector import DonkeyVectorEnv

registration.register()

__all__ = ["DonkeyEnv", "DonkeyVectorEnv", "EnvironmentConfig", "TaskConfig"]
