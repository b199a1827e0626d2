"""What soft actor-critic can be told beside its plain form."""

import itertools

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.errors import InputError

SMALL = SACConfig(
    hidden=(32, 32), batch_size=64, learning_starts=50, gradient_steps=2, buffer_size=5000
)


class Line(gymnasium.Env):
    """A point on a line that is to be pushed to its target; four steps, then the end.

    Reward: minus the distance after the push.
    """

    observation_space = spaces.Box(-4, 4, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        self.steps = 0
        return self.state.copy(), {}

    def step(self, action):
        self.state[0] = np.clip(self.state[0] + action[0], -4, 4)
        self.steps += 1
        reward = -abs(float(self.state[0] - self.state[1]))
        return self.state.copy(), reward, self.steps == 4, False, {}


def settings(**changes):
    return SMALL.model_copy(update=changes)


def mean_return(agent, count=40):
    env = Line()
    env.reset(seed=123)
    total = 0.0
    for _ in range(count):
        observation, _ = env.reset()
        over = False
        while not over:
            action, _ = agent.predict(observation, deterministic=True)
            observation, reward, over, _, _ = env.step(action)
            total += reward
    return total / count


def weights(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


OPTIONS = {
    "droq": {
        "critic_dropout": 0.01,
        "critic_layer_norm": True,
        "gradient_steps": 8,
        "policy_delay": 4,
    },
    "tqc": {"quantiles": 11, "dropped_quantiles": 1},
    "many critics": {"critics": 4},
    "one critic": {"critics": 1},
    "bfloat16": {"critic_precision": "bfloat16"},
    "sde": {"sde": True, "sde_sample_frequency": 4, "train_frequency": 8, "gradient_steps": 16},
    "episodes": {"train_unit": "episode", "gradient_steps": -1},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_it_learns_with_each_option(name):
    agent = SAC(Line(), settings(learning_rate=3e-3, **OPTIONS[name]), seed=0)
    agent.learn(800)
    # Standing still earns four times the mean distance, 2/3: -2.7. At best the first push covers
    # 1 and the second the rest. Distances d are spread as 1 - d/2, so the first leaves the
    # integral of (d - 1) (1 - d/2) from 1 to 2, 1/12: -0.08.
    assert mean_return(agent) > -0.8


class Spy(BaseCallback):
    """Notes how many updates there were after each step, and each action."""

    def __init__(self):
        super().__init__()
        self.updates = []
        self.actions = []

    def _on_step(self):
        self.updates.append(self.model._n_updates)
        self.actions.append(self.locals["actions"].copy())
        return True


def test_minus_one_takes_a_gradient_step_for_each_environment_step():
    spy = Spy()
    env = DummyVecEnv([Line] * 3)
    agent = SAC(env, settings(gradient_steps=-1, train_frequency=5, learning_starts=30), seed=0)
    agent.learn(90, spy)
    # Collections of 5 steps of 3 environments end at 15, 30, 45, ...; the first above 30 trains.
    assert agent._n_updates == 4 * 15
    assert spy.updates == [0] * 15 + [15] * 5 + [30] * 5 + [45] * 5


def test_training_by_episodes_waits_for_their_ends():
    spy = Spy()
    config = settings(train_unit="episode", train_frequency=2, learning_starts=1)
    SAC(Line(), config, seed=0).learn(24, spy)
    # Two episodes of four steps, then two gradient steps.
    assert spy.updates == [0] * 8 + [2] * 8 + [4] * 8


def test_training_many_environments_by_episodes_is_refused():
    with pytest.raises(InputError, match=r"Expected one environment.*Received: 2"):
        SAC(DummyVecEnv([Line] * 2), settings(train_unit="episode"), seed=0)


def test_the_actor_steps_once_for_several_steps_of_the_critics():
    agent = SAC(Line(), settings(gradient_steps=1, policy_delay=3), seed=0)
    seen = []

    class Watch(BaseCallback):
        def _on_step(self):
            learner = self.model.learner
            seen.append((weights(learner.actor), weights(learner.critics)))
            return True

    agent.learn(60, Watch())
    # Updates follow steps 51 to 60, so steps 52 to 60 see 1 to 9 of them.
    actors, critics = (
        [bool(np.any(a[part] != b[part])) for a, b in itertools.pairwise(seen[50:])]
        for part in (0, 1)
    )
    assert critics == [True] * 9
    assert actors == [False, False, True] * 3


def test_metrics_of_the_actor_are_means_over_its_own_steps():
    agent = SAC(Line(), settings(gradient_steps=2, policy_delay=4), seed=0).learn(60)
    batch = agent.replay_buffer.draw(2 * 64)
    rows = batch.rows.reshape(2, 64, -1)
    done = agent.learner.state()["steps"]
    # 10 trainings of 2: 20 steps so far; the actor steps with the 24th.
    assert done == 20
    first = agent.learner.update(batch._replace(rows=rows), 1e-3)
    second = agent.learner.update(batch._replace(rows=rows), 1e-3)
    assert set(first) == {"critic_loss", "q_mean"}
    assert second["ent_coef"] == pytest.approx(
        np.exp(agent.learner.state()["log_alpha"]), rel=0.01
    )


def test_noise_by_state_stays_until_it_is_drawn_anew():
    config = settings(
        sde=True, sde_sample_frequency=5, train_frequency=15, learning_starts=0, gradient_steps=1
    )
    agent = SAC(Line(), config, seed=0)
    agent.learn(1)
    observation = np.array([0.5, -0.5], np.float32)
    drawn = []
    for _ in range(3):
        same = [agent.predict(observation)[0] for _ in range(3)]
        np.testing.assert_array_equal(same[0], same[1])
        drawn.append(same[0])
        agent.learner.reset_noise(1)
    assert len(np.unique(drawn)) == 3
    many = agent.predict(np.stack([observation] * 4))[0]
    assert many.shape == (4, 1)
    different = SAC(DummyVecEnv([Line] * 4), config, seed=0)
    different.learner.reset_noise(4)
    assert len(np.unique(different.predict(np.stack([observation] * 4))[0])) == 4


@pytest.mark.parametrize("frequency", [5, -1])
def test_noise_by_state_is_drawn_as_often_as_told(frequency):
    drawn = []
    config = settings(sde=True, sde_sample_frequency=frequency, train_frequency=15)
    agent = SAC(Line(), config, seed=0)
    draw = agent.learner.reset_noise
    agent.learner.reset_noise = lambda count: (drawn.append(agent.num_timesteps), draw(count))
    agent.learn(30)
    # At the start of each collection of 15 steps, and every fifth step of it.
    expected = [0, 0, 5, 10, 15, 15, 20, 25] if frequency == 5 else [0, 15]
    assert drawn == expected


@pytest.mark.parametrize("name", ["droq", "sde"])
def test_an_agent_put_back_goes_on_bit_for_bit(tmp_path, name):
    old = SAC(Line(), settings(**OPTIONS[name]), seed=0).learn(80)
    old.save(tmp_path / "agent")
    new = SAC.load(tmp_path / "agent", Line())
    new.replay_buffer.restore(old.replay_buffer.arrays())
    states = {key: one.bit_generator.state for key, one in old.generators.items()}
    assert set(states) == {"learner", "buffer", "actions"}
    for key, generator in new.generators.items():
        generator.bit_generator.state = states[key]
    for agent in (old, new):
        agent.set_env(Line())
        agent.env.seed(7)
        agent.learn(40, reset_num_timesteps=False)
    for model in ("actor", "critics", "target_critics"):
        one, other = (weights(getattr(agent.learner, model)) for agent in (old, new))
        np.testing.assert_array_equal(one, other)
    expected, received = old.learner.state(), new.learner.state()
    assert expected.keys() == received.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(value, received[key], err_msg=key)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"gradient_steps": 0}, "gradient_steps must be -1"),
        ({"sde_sample_frequency": 0}, "sde_sample_frequency must be -1"),
        ({"gradient_steps": -2}, "gradient_steps"),
        ({"quantiles": 2, "dropped_quantiles": 2}, "dropped_quantiles must be below"),
        ({"train_unit": "epoch"}, "train_unit"),
        ({"critics": 0}, "critics"),
        ({"critic_dropout": 1.0}, "critic_dropout"),
    ],
)
def test_options_are_checked(wrong, match):
    with pytest.raises(ValueError, match=match):
        SACConfig(**wrong)
