"""Soft actor-critic on pictures."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

from donkey_rl.agents import observations
from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.learner import Learner
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.errors import InputError

SMALL = SACConfig(
    hidden=(32,),
    batch_size=64,
    n_steps=1,
    learning_rate=3e-3,
    entropy=0.01,
    entropy_learned=False,
    learning_starts=100,
    gradient_steps=2,
    buffer_size=2000,
    augmentation=AugmentationConfig(shift=2),
    cnn=CnnConfig(filters=(8, 8), units=16),
)


class Stripes(gymnasium.Env):
    """Stripes that lie or stand, and with ``numbers`` a sign: the action is to be their product.

    Lying stripes count -0.5, standing ones 0.5. Reward: minus the distance. An episode is a step.
    """

    def __init__(self, numbers=True):
        image = spaces.Box(0, 255, (12, 16, 3), np.uint8)
        sign = spaces.Box(-1, 1, (1,), np.float32)
        self.observation_space = spaces.Dict(image=image, sign=sign) if numbers else image
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.numbers = numbers

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        standing, positive = self.np_random.integers(0, 2, 2)
        image = self.np_random.integers(0, 40, (12, 16, 3)).astype(np.uint8)
        (image[:, ::4] if standing else image[::4])[:] = 200
        sign = 2.0 * positive - 1.0 if self.numbers else 1.0
        self.target = sign * (standing - 0.5)
        self.seen = image
        if self.numbers:
            self.seen = {"image": image, "sign": np.array([sign], np.float32)}
        return self.seen, {}

    def step(self, action):
        return self.seen, -abs(float(action[0]) - self.target), True, False, {}


def vector(numbers=True, count=4):
    return DummyVecEnv([lambda: Stripes(numbers)] * count)


def mean_distance(agent, numbers=True):
    env = Stripes(numbers)
    env.reset(seed=123)
    found = []
    for _ in range(60):
        observation, _ = env.reset()
        action, _ = agent.predict(observation, deterministic=True)
        found.append(-env.step(action)[1])
    return np.mean(found)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [True, False])
def test_it_learns_from_what_it_sees(numbers):
    agent = SAC(vector(numbers), SMALL, seed=0)
    agent.learn(800)
    # Without the picture 0.5 is the best that can be done, at 0 or anywhere between the targets.
    assert mean_distance(agent, numbers) < 0.15


def weights_after_one_step(**settings):
    """The weights of cnn and actor after a single gradient step."""
    config = SMALL.model_copy(update={"gradient_steps": 1, **settings})
    agent = SAC(vector(), config, seed=0).learn(104)
    assert agent._n_updates == 1
    return [
        np.concatenate([w.ravel() for w in model.get_weights()])
        for model in (agent.learner.cnn, agent.learner.actor)
    ]


def test_only_the_critics_train_the_cnn():
    with_actor, without = weights_after_one_step(), weights_after_one_step(policy_delay=1000)
    np.testing.assert_array_equal(with_actor[0], without[0])
    assert np.abs(with_actor[1] - without[1]).max() > 1e-4
    untrained = SAC(vector(), SMALL, seed=0).learner.cnn.get_weights()
    assert np.abs(with_actor[0] - np.concatenate([w.ravel() for w in untrained])).max() > 1e-4


def test_pictures_are_shifted_while_it_learns():
    shifted, still = (
        weights_after_one_step(),
        weights_after_one_step(augmentation=AugmentationConfig()),
    )
    assert np.abs(shifted[0] - still[0]).max() > 1e-4


def test_predict_takes_single_pictures_and_batches_either_way_round():
    agent = SAC(vector(), SMALL, seed=0)
    env = vector()
    batch = env.reset()
    actions, _ = agent.predict(batch, deterministic=True)
    assert actions.shape == (4, 1)
    single = {name: part[2] for name, part in batch.items()}
    np.testing.assert_allclose(agent.predict(single, deterministic=True)[0], actions[2], atol=1e-6)
    turned = VecTransposeImage(env).transpose_observations(batch)
    assert turned["image"].shape == (4, 3, 12, 16)
    np.testing.assert_allclose(agent.predict(turned, deterministic=True)[0], actions, atol=1e-6)
    with pytest.raises(InputError, match="Expected a dict of image, sign"):
        agent.predict(batch["image"])


def test_save_and_load_with_the_cnn(tmp_path):
    agent = SAC(vector(), SMALL, seed=0).learn(200)
    agent.save(tmp_path / "agent")
    assert (tmp_path / "agent" / "cnn.weights.h5").is_file()
    observation = vector().reset()
    expected, _ = agent.predict(observation, deterministic=True)
    assert np.abs(expected).max() > 0
    loaded = SAC.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.predict(observation, deterministic=True)[0], expected)
    agent.save_replay_buffer(tmp_path / "replay.npz")
    going_on = SAC.load(tmp_path / "agent", vector())
    going_on.load_replay_buffer(tmp_path / "replay.npz")
    assert going_on.replay_buffer.size() == agent.replay_buffer.size() == 200
    going_on.learn(40, reset_num_timesteps=False)
    assert going_on.num_timesteps == 240


def test_pictures_too_small_for_the_cnn_are_refused():
    config = SMALL.model_copy(update={"cnn": CnnConfig(filters=(8,) * 4)})
    with pytest.raises(InputError, match="Expected images large enough for 4 convolutions"):
        SAC(vector(), config, seed=0)


def test_mirrored_transitions_have_mirrored_actions():
    seen = spaces.Dict(
        image=spaces.Box(0, 255, (12, 16, 3), np.uint8),
        numbers=spaces.Box(-np.inf, np.inf, (4,), np.float32),
    )
    config = SMALL.model_copy(update={"augmentation": AugmentationConfig(mirror=True)})
    learner = Learner(observations.layout(seen), 2, config, 0)
    images = np.random.default_rng(0).integers(0, 256, (40, 2, 12, 16, 3)).astype(np.uint8)
    # Speed, yaw rate, last action; action; return and discount; the numbers after.
    rows = np.tile(np.arange(1.0, 13.0, dtype=np.float32), (40, 1))
    found, turned = (part.numpy() for part in learner._changed(rows, images, np.int32([1, 2])))
    mirrored = (turned == images[..., ::-1, :]).all(axis=(1, 2, 3, 4))
    assert 8 < mirrored.sum() < 32
    assert (turned[~mirrored] == images[~mirrored]).all()
    assert (found[~mirrored] == rows[~mirrored]).all()
    assert found[mirrored][0].tolist() == [1, -2, -3, 4, -5, 6, 7, 8, 9, -10, -11, 12]
    with pytest.raises(InputError, match="to mirror them"):
        SAC(vector(), config, seed=0)
