"""A reward of your own: a car that keeps to a walking pace, learned from images by PPO.

python examples/own_reward.py 40000

Other weights of the usual terms need no code: `donkey-rl train --set task.smoothness_penalty=0.5`.
"""

import sys

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper

from donkey_rl.agents.encoders.config import EncoderConfig
from donkey_rl.agents.image_env import ImageVecEnv
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.envs import DonkeyVectorEnv, EnvironmentConfig

PACE = 0.6  # m/s as the car reports it.


class KeepPace(VecEnvWrapper):
    """Pays up to 1 a step for the pace, and takes 10 where an episode fails."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        seen, _, ended, infos = self.venv.step_wait()
        self.speeds = np.array([info["speed"] for info in infos])
        failed = ended & [not info.get("TimeLimit.truncated", True) for info in infos]
        return seen, 1.0 - abs(self.speeds - PACE) / PACE - 10.0 * failed, ended, infos


cars = KeepPace(DonkeyVectorEnv(EnvironmentConfig(throttle_max=0.3), 64, seed=0).as_vec_env())
env = ImageVecEnv(cars, EncoderConfig(pool=4))
model = PPO(env, PPOConfig(n_steps=16, batch_size=256, n_epochs=4, gamma=0.98), seed=0)
model.learn(int(sys.argv[1]))
print(f"mean speed {cars.speeds.mean():.2f} m/s, wanted {PACE} m/s")
