"""Updates of soft actor-critic that run beside the environment."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from donkey_rl.agents import agent_state
from donkey_rl.agents.sac.sac import BACKLOG, SAC
from donkey_rl.errors import DonkeyRLError
from tests.test_sac import SMALL, Points, mean_return, weights

OVERLAPPED = SMALL.model_copy(update={"overlap": True})
STATES = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)


class Uneven(Points):
    """Points whose steps take a while now and then."""

    def step_wait(self):
        time.sleep(float(np.random.default_rng(int(self.steps.sum())).choice([0.0, 0.01])))
        return super().step_wait()


def test_the_same_seed_gives_the_same_weights_whatever_the_timing():
    agents = [SAC(env, OVERLAPPED, seed=5).learn(400) for env in (Points(), Uneven())]
    np.testing.assert_array_equal(weights(agents[0]), weights(agents[1]))
    # The policy acts one training later than without overlap, so another run it is.
    other = SAC(Points(), SMALL, seed=5).learn(400)
    assert np.abs(weights(agents[0]) - weights(other)).max() > 1e-4


def test_it_learns_as_without():
    agent = SAC(Points(), OVERLAPPED, seed=0).learn(4000)
    # As in test_sac: standing still earns -13.3, the best there is about -0.4.
    assert mean_return(agent) > -2


def acts_while_driving(agent):
    """What the policy does while an update may be under way."""
    parts, _ = agent.replay_buffer.layout.split(STATES)
    return agent._learner.act(parts, deterministic=True, apart=True)


def predicts(agent):
    return agent.policy.scale_action(agent.predict(STATES, deterministic=True)[0])


def test_the_policy_of_the_training_before_drives_and_predict_knows_the_newest():
    agent = SAC(Points(), OVERLAPPED, seed=0).learn(200)
    before = predicts(agent)
    np.testing.assert_allclose(acts_while_driving(agent), before, atol=1e-5)
    agent.train(gradient_steps=4, batch_size=64)
    np.testing.assert_allclose(acts_while_driving(agent), before, atol=1e-5)
    after = predicts(agent)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(acts_while_driving(agent), after, atol=1e-5)


def test_what_is_saved_is_finished(tmp_path):
    agent = SAC(Points(), OVERLAPPED, seed=0).learn(400)
    agent.save(tmp_path / "agent")
    loaded = SAC.load(tmp_path / "agent", Points())
    np.testing.assert_array_equal(predicts(loaded), predicts(agent))
    loaded.learn(0)
    np.testing.assert_allclose(acts_while_driving(loaded), predicts(agent), atol=1e-5)


def test_rewards_that_are_not_numbers_stop_the_run():
    with pytest.raises(DonkeyRLError, match="Expected finite losses"):
        SAC(Points(reward_factor=np.nan), OVERLAPPED, seed=0).learn(400)


def test_exploration_by_state_overlaps_as_well():
    agent = SAC(Points(), OVERLAPPED.model_copy(update={"sde": True}), seed=0).learn(200)
    assert agent.learner.get_std().shape == (32, 1)
    assert agent._n_updates == 13 * 4


class Passage(BaseCallback):
    """Begins anew after 200 steps, with what it is given or with what it then stores."""

    def __init__(self, stored=None):
        super().__init__()
        self.stored = stored
        self.passed = False

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        agent = self.model
        if self.passed or agent.num_timesteps < 200:
            return
        self.passed = True
        if self.stored is None:
            buffer = agent.replay_buffer.arrays()
            self.stored = agent_state.arrays(agent), agent_state.facts(agent), buffer
        else:
            arrays, facts, buffer = self.stored
            agent.replay_buffer.restore(buffer)
            agent_state.restore(agent, arrays, facts)
        agent_state.begin_anew(agent, 7)


def test_another_agent_goes_on_from_what_was_stored_bit_for_bit():
    options = {
        "sde": True,
        "sde_sample_frequency": -1,
        "train_frequency": 4,
        "critic_dropout": 0.1,
        "policy_delay": 3,
    }
    config = OVERLAPPED.model_copy(update=options)
    passage = Passage()
    old = SAC(Points(), config, seed=5).learn(400, passage)
    # Rollouts of 4 steps of 8 points: the seventh ends at 224.
    assert passage.stored[1]["steps"] == 224
    # Built by another seed, it has nothing in common but what was stored.
    new = SAC(Points(), config, seed=6)
    new.num_timesteps = 224
    new.learn(176, Passage(passage.stored), reset_num_timesteps=False)
    np.testing.assert_array_equal(acts_while_driving(new), acts_while_driving(old))
    # Trainings follow steps 128, 160, ... 416.
    assert agent_state.facts(new)["updates"] == agent_state.facts(old)["updates"] == 10 * 4
    expected, received = agent_state.arrays(old), agent_state.arrays(new)
    assert expected.keys() == received.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)


def test_a_real_time_environment_never_waits_for_an_update():
    recorded = {}

    class Spy(Logger):
        def record(self, key, value, exclude=None):
            recorded[key] = value

    agent = SAC(Points(), OVERLAPPED, seed=0, real_time=True)
    agent.set_logger(Spy(None, []))
    gate = threading.Event()
    prepared = agent._learner.prepared

    def slow(batch, learning_rate):
        update = prepared(batch, learning_rate)

        def take():
            if not gate.wait(60.0):
                raise TimeoutError
            return update()

        return take

    agent._learner.prepared = slow
    before = acts_while_driving(agent)
    agent.learn(400)
    # No update has ended and 400 steps are driven. 38 trainings follow steps 104 to 400, each of
    # four gradient steps: all but those of the backlog are left out, and said to be.
    np.testing.assert_array_equal(acts_while_driving(agent), before)
    assert agent.updates_dropped == recorded["train/updates_dropped"] == (38 - BACKLOG) * 4
    gate.set()
    assert np.abs(predicts(agent) - before).max() > 1e-4
    assert agent._n_updates == BACKLOG * 4
    assert {"train/actor_loss", "train/critic_loss"} <= set(recorded)
