"""A task that SAC learns within seconds, and what is asked of an agent that learns it."""

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from donkey_rl.agents.sac.config import SACConfig

SMALL = SACConfig(
    hidden=(32, 32), batch_size=64, learning_starts=100, gradient_steps=4, buffer_size=5000
)


class Points(VecEnv):
    """Eight points on a line, each to be brought to its own target by pushing.

    Reward: minus the distance. An episode is cut after 20 steps and never terminates.
    """

    def __init__(self, count=8, reward_factor=1.0):
        super().__init__(
            count,
            spaces.Box(-4, 4, (2,), np.float32),
            spaces.Box(-0.5, 0.5, (1,), np.float32),
        )
        self.random = np.random.default_rng(0)
        self.reward_factor = reward_factor

    def seed(self, seed=None):
        self.random = np.random.default_rng(seed)
        return [seed] * self.num_envs

    def _start(self, which):
        self.state[which] = self.random.uniform(-1, 1, (len(which), 2))
        self.steps[which] = 0

    def reset(self):
        self.state = np.zeros((self.num_envs, 2), np.float32)
        self.steps = np.zeros(self.num_envs, int)
        self._start(np.arange(self.num_envs))
        return self.state.copy()

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        self.state[:, 0] = np.clip(self.state[:, 0] + self.actions[:, 0], -4, 4)
        self.steps += 1
        rewards = -self.reward_factor * np.abs(self.state[:, 0] - self.state[:, 1])
        done = self.steps >= 20
        infos = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(done):
            infos[index] = {
                "terminal_observation": self.state[index].copy(),
                "TimeLimit.truncated": True,
            }
        self._start(np.flatnonzero(done))
        return self.state.copy(), rewards, done, infos

    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        return [getattr(self, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name, value, indices=None):
        setattr(self, attr_name, value)

    def env_method(self, method_name, *args, indices=None, **kwargs):
        return []

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs


def weights(agent):
    return np.concatenate([w.ravel() for w in agent.learner.actor.get_weights()])
