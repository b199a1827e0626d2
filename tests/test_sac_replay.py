import numpy as np
import pytest
from gymnasium import spaces

from donkey_rl.agents.replay import NStepBuffer
from donkey_rl.errors import InputError


def buffer(n_envs=1, n_steps=3, gamma=0.5, size=100):
    return NStepBuffer(
        size,
        spaces.Box(-100, 100, (1,), np.float32),
        spaces.Box(-1, 1, (1,), np.float32),
        device="cpu",
        n_envs=n_envs,
        n_steps=n_steps,
        gamma=gamma,
        seed=0,
    )


def drive(replay, observation, reward, *, following=None, done=False, truncated=False):
    """One step of a single environment whose action is a tenth of its observation."""
    replay.add(
        np.array([[observation]]),
        np.array([[observation + 1 if following is None else following]]),
        np.array([[observation / 10]]),
        np.array([reward]),
        np.array([done]),
        [{"TimeLimit.truncated": truncated}],
    )


def test_three_step_returns_of_an_episode_that_terminates():
    replay = buffer()
    for step, reward in enumerate([1.0, 2.0, 4.0]):
        drive(replay, step, reward)
    # 1 + 2/2 + 4/4 = 3 from observation 0 to 3, discount 1/8.
    assert replay.size() == 1
    np.testing.assert_allclose(replay.rows[0], [0, 0.0, 3, 0.125, 3])
    drive(replay, 3, 8.0, following=9, done=True)
    # From 1: 2 + 4/2 + 8/4 = 6; from 2: 4 + 8/2 = 8; from 3: 8. All end: discount 0.
    stored = replay.rows[1 : replay.size()]
    stored = stored[stored[:, 0].argsort()]
    np.testing.assert_allclose(
        stored, [[1, 0.1, 6, 0, 9], [2, 0.2, 8, 0, 9], [3, 0.3, 8, 0, 9]], rtol=1e-6
    )


def test_a_time_limit_bootstraps_over_the_steps_that_there_were():
    replay = buffer()
    drive(replay, 0, 1.0)
    drive(replay, 1, 2.0, following=7, done=True, truncated=True)
    stored = replay.rows[: replay.size()]
    stored = stored[stored[:, 0].argsort()]
    # From 0: 1 + 2/2 = 2 over two steps, discount 1/4; from 1: 2 over one, 1/2.
    np.testing.assert_allclose(stored, [[0, 0.0, 2, 0.25, 7], [1, 0.1, 2, 0.5, 7]], rtol=1e-6)


def test_no_return_reaches_into_the_next_episode():
    replay = buffer()
    drive(replay, 0, 1.0, done=True)
    drive(replay, 10, 100.0)
    drive(replay, 11, 100.0)
    assert replay.size() == 1
    drive(replay, 12, 100.0)
    # 100 + 50 + 25 = 175.
    np.testing.assert_allclose(replay.rows[1], [10, 1.0, 175, 0.125, 13])


def test_a_reset_from_outside_drops_the_steps_that_wait():
    replay = buffer()
    drive(replay, 0, 1.0)
    drive(replay, 1, 1.0)
    replay.forget_recent()
    for step in (20, 21, 22):
        drive(replay, step, 0.0)
    assert replay.rows[: replay.size(), 0].tolist() == [20]


def test_environments_do_not_mix():
    replay = buffer(n_envs=2, n_steps=2)
    for step in range(3):
        replay.add(
            np.array([[step], [100 + step]]),
            np.array([[step + 1], [101 + step]]),
            np.zeros((2, 1)),
            np.array([1.0, 10.0]),
            np.array([False, step == 1]),
            [{}, {}],
        )
    stored = replay.rows[: replay.size()]
    stored = stored[stored[:, 0].argsort()][:, [0, 2, 3, 4]]
    np.testing.assert_allclose(
        stored,
        [
            [0, 1.5, 0.25, 2],
            [1, 1.5, 0.25, 3],
            [100, 15, 0, 102],  # 10 + 10/2, the episode ended at 102
            [101, 10, 0, 102],
        ],
    )


def test_the_oldest_rows_give_way():
    replay = buffer(n_steps=1, size=4)
    for step in range(6):
        drive(replay, step, 0.0)
    assert replay.full
    assert replay.size() == 4
    assert sorted(replay.rows[:, 0].tolist()) == [2, 3, 4, 5]


def test_samples_are_whole_rows_drawn_evenly_and_by_seed():
    replay, twin = buffer(n_steps=1), buffer(n_steps=1)
    for step in range(10):
        drive(replay, step, 2.0 * step)
        drive(twin, step, 2.0 * step)
    rows = replay.sample_rows(5000)
    np.testing.assert_array_equal(rows, twin.sample_rows(5000))
    np.testing.assert_allclose(rows[:, 2], 2 * rows[:, 0])
    counts = np.bincount(rows[:, 0].astype(int), minlength=10)
    # 500 each, standard deviation 21.
    assert (np.abs(counts - 500) < 110).all()


def test_stable_baselines_reads_the_same_rows():
    replay = buffer(n_steps=1)
    drive(replay, 1, 5.0, done=True)
    sample = replay.sample(3)
    assert sample.rewards.tolist() == [[5.0]] * 3
    assert sample.dones.tolist() == [[1.0]] * 3
    assert sample.next_observations.tolist() == [[2.0]] * 3


def test_images_are_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"Expected a flat Box as observation space.*FeatureVec"):
        NStepBuffer(
            10,
            spaces.Box(0, 255, (8, 8, 3), np.uint8),
            spaces.Box(-1, 1, (1,), np.float32),
        )
