import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError, InputError
from tests.points import SMALL, Points, weights


def mean_return(agent, count=50):
    """Mean return per episode of the deterministic policy."""
    env = Points(count)
    env.seed(123)
    observation, total = env.reset(), 0.0
    for _ in range(20):
        observation, rewards, _, _ = env.step(agent.predict(observation, deterministic=True)[0])
        total += rewards.mean()
    return total


def test_it_learns_to_reach_a_point():
    agent = SAC(Points(), SMALL, seed=0)
    before = mean_return(agent)
    agent.learn(4000)
    after = mean_return(agent)
    # The mean distance of two even draws in [-1, 1] is 2/3, so standing still earns -13.3. A push
    # covers 0.5: at best 0.28 is left after the first, 0.08 and 0.01 after the next two, -0.37.
    assert before < -4
    assert after > -2


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    agents = [SAC(Points(), SMALL, seed=seed).learn(400) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(weights(agents[0]), weights(agents[1]))
    assert np.abs(weights(agents[0]) - weights(agents[2])).max() > 0.01


def test_predict_takes_one_observation_or_many():
    agent = SAC(Points(), SMALL, seed=0)
    batch = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    actions, state = agent.predict(batch, deterministic=True)
    assert actions.shape == (5, 1)
    assert state is None
    single, _ = agent.predict(batch[3], deterministic=True)
    np.testing.assert_allclose(single, actions[3], atol=1e-6)
    np.testing.assert_array_equal(agent.predict(batch, deterministic=True)[0], actions)
    drawn = np.concatenate([agent.predict(batch)[0] for _ in range(200)])
    assert drawn.std() > 0.1
    assert np.abs(drawn).max() <= 0.5  # the bound of the action space


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((2, 5)), {"image": np.zeros(2)}])
def test_predict_refuses_another_shape(wrong):
    with pytest.raises(InputError, match=r"Expected one observation of shape \(2,\)"):
        SAC(Points(), SMALL, seed=0).predict(wrong)


def test_it_logs_what_stable_baselines_logs():
    recorded = {}

    class Spy(Logger):
        def record(self, key, value, exclude=None):
            recorded[key] = value

    agent = SAC(Points(), SMALL, seed=0)
    agent.set_logger(Spy(None, []))
    agent.learn(400)
    assert {"train/actor_loss", "train/critic_loss", "train/ent_coef"} <= set(recorded)
    # Training follows every vector step after the 100th environment step, 104 to 400: 38 times
    # four gradient steps.
    assert recorded["train/n_updates"] == 38 * 4
    assert recorded["time/update_s"] > 0
    assert recorded["train/learning_rate"] == pytest.approx(1e-3)


def test_the_learning_rate_falls_linearly():
    config = SMALL.model_copy(update={"final_learning_rate": 1e-4})
    agent = SAC(Points(), config, seed=0)
    assert agent.lr_schedule(1.0) == pytest.approx(1e-3)
    assert agent.lr_schedule(0.5) == pytest.approx(5.5e-4)
    assert agent.lr_schedule(0.0) == pytest.approx(1e-4)


def test_a_fixed_entropy_coefficient_stays():
    config = SMALL.model_copy(update={"entropy_learned": False, "entropy": 0.25})
    agent = SAC(Points(), config, seed=0).learn(200)
    assert np.exp(agent.learner.state()["log_alpha"]) == pytest.approx(0.25)


def test_targets_follow_the_critics_by_tau():
    config = SMALL.model_copy(update={"tau": 1.0})
    learner = SAC(Points(), config, seed=0).learn(200).learner
    for target, critic in zip(
        learner.target_critics.get_weights(), learner.critics.get_weights(), strict=True
    ):
        np.testing.assert_allclose(target, critic, atol=1e-6)


def test_rewards_that_are_not_numbers_stop_the_run():
    agent = SAC(Points(reward_factor=np.nan), SMALL, seed=0)
    # The first training follows the 104th step.
    with pytest.raises(DonkeyRLError, match=r"finite losses.*critic_loss.*at step 104, after 4"):
        agent.learn(400)


def test_an_environment_that_does_not_fit_is_refused(tmp_path):
    SAC(Points(), SMALL, seed=0).save(tmp_path / "agent")
    with pytest.raises(InputError, match="Expected the observation_space"):
        SAC.load(tmp_path / "agent", gymnasium.make("Pendulum-v1"))


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0}, {"gamma": 1.0}, {"hidden": ()}, {"n_step": 3}, {"tau": 1.5}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SACConfig(**wrong)


def test_settings_survive_json():
    config = SACConfig(hidden=(64, 32), final_learning_rate=1e-4)
    assert isinstance(config, Config)
    assert SACConfig.model_validate_json(config.model_dump_json()) == config


def test_every_setting_is_described():
    assert all(field.description for field in SACConfig.model_fields.values())


class Forks(gymnasium.Env):
    """One step from a fixed observation earns 1; then the end, or a time limit."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, terminates):
        self.terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, self.terminates, not self.terminates, {}


@pytest.mark.parametrize(("terminates", "expected"), [(True, 1.0), (False, 2.0)])
def test_an_end_is_worth_nothing_more_and_a_time_limit_what_would_have_followed(
    terminates, expected
):
    config = SMALL.model_copy(
        update={
            "gamma": 0.5,
            "entropy": 1e-6,
            "entropy_learned": False,
            "learning_rate": 3e-3,
            "tau": 0.1,
        }
    )
    agent = SAC(Forks(terminates), config, seed=0).learn(200)
    # The end: 1. A time limit: 1 + 1/2 + 1/4 + ... = 2, if the critics bootstrap there.
    values = agent.learner.critics(np.array([[0.0, -0.5], [0.0, 0.5]], np.float32)).numpy()
    np.testing.assert_allclose(values, expected, atol=0.1)


@pytest.mark.slow
def test_it_solves_the_pendulum():
    config = SACConfig(
        hidden=(64, 64),
        learning_rate=3e-3,
        gamma=0.98,
        learning_starts=200,
        train_frequency=8,
        gradient_steps=8,
    )
    agent = SAC(gymnasium.make("Pendulum-v1"), config, seed=0).learn(4000)
    pendulums = DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")] * 20)
    pendulums.seed(100)
    observations, total = pendulums.reset(), 0.0
    for _ in range(200):
        actions, _ = agent.predict(observations, deterministic=True)
        observations, rewards, _, _ = pendulums.step(actions)
        total += rewards.mean()
    # A random policy earns about -1200; perfect control, from all starts, about -150.
    assert total >= -400


def test_an_agent_goes_on_in_another_environment():
    agent = SAC(Points(), SMALL, seed=0).learn(200)
    stored = agent.replay_buffer.size()
    before = weights(agent)
    agent.set_env(Points())
    agent.learn(200, reset_num_timesteps=False)
    assert agent.num_timesteps == 400
    # 25 steps of 8 cars each time; of each, the last two still waited for their third reward.
    assert stored == 8 * 23
    assert agent.replay_buffer.size() == 2 * stored
    assert np.abs(weights(agent) - before).max() > 0


def test_learning_twice_counts_anew_or_goes_on():
    agent = SAC(Points(), SMALL, seed=0)
    agent.learn(80).learn(80)
    assert agent.num_timesteps == 80
    agent.learn(80, reset_num_timesteps=False)
    assert agent.num_timesteps == 160


def test_a_callback_sees_each_step_and_can_stop():
    class Stop(BaseCallback):
        steps = 0

        def _on_step(self):
            self.steps += 1
            return self.num_timesteps < 160

    callback = Stop()
    agent = SAC(Points(), SMALL, seed=0).learn(800, callback)
    assert (callback.steps, agent.num_timesteps) == (20, 160)


def test_actions_are_scaled_to_the_space_and_stored_as_drawn():
    agent = SAC(Points(), SMALL.model_copy(update={"n_steps": 1}), seed=0).learn(80)
    rows = agent.replay_buffer.draw(200).rows
    # Columns: two numbers, the action in [-1, 1], return, discount, two numbers. The point moves
    # by the action in the bounds of the space, half as much.
    np.testing.assert_allclose(rows[:, 5] - rows[:, 0], 0.5 * rows[:, 2], atol=1e-6)
    assert np.abs(rows[:, 2]).max() > 0.9


def test_many_gradient_steps_go_through_several_calls(monkeypatch):
    one, other = SAC(Points(), SMALL, seed=0), SAC(Points(), SMALL, seed=0)
    one.learn(160)
    # Room for three batches of 64 rows of 28 bytes: four steps become three and one.
    monkeypatch.setattr("donkey_rl.agents.sac.sac._CALL_BYTES", 3 * 64 * 28)
    other.learn(160)
    assert one._n_updates == other._n_updates == 8 * 4
    np.testing.assert_array_equal(weights(one), weights(other))


def test_a_buffer_larger_than_the_memory_is_refused_before_it_is_made():
    with pytest.raises(InputError, match="Expected a replay buffer that fits into"):
        SAC(Points(), SMALL.model_copy(update={"buffer_size": 10**13}), seed=0)
