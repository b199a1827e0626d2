"""A program written for gym-donkeycar: one import differs, everything else stays as it was.

python examples/gym_donkeycar_code.py
"""

import uuid

import gymnasium as gym
import numpy as np

# Was: import gym_donkeycar
import donkey_rl.envs.stock  # noqa: F401

conf = {
    # With "host" and "port", or "exe_path", it drives in that simulator, as it did before.
    "body_style": "donkey",
    "body_rgb": (128, 128, 128),
    "car_name": "me",
    "font_size": 100,
    "racer_name": "Ada",
    "country": "Earth",
    "bio": "Learning to drive with SAC",
    "guid": str(uuid.uuid4()),
    "max_cte": 10,
    "cam_resolution": (120, 160, 3),
}
env = gym.make("donkey-warehouse-v0", conf=conf)

obs, info = env.reset()
for _ in range(100):
    action = np.array([0.0, 0.3])  # drive straight with small speed
    obs, reward, terminated, truncated, info = env.step(action)
    if terminated or truncated:
        obs, info = env.reset()
print(obs.shape, env.action_space, f"cte {info['cte']:.2f}", f"speed {info['speed']:.2f}")
env.close()
