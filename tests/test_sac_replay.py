import os

import numpy as np
import pytest
from gymnasium import spaces

from donkey_rl.agents import memory, replay
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
    np.testing.assert_allclose(replay.rings["rows"].rows[0], [0, 0.0, 3, 0.125, 3])
    drive(replay, 3, 8.0, following=9, done=True)
    # From 1: 2 + 4/2 + 8/4 = 6; from 2: 4 + 8/2 = 8; from 3: 8. All end: discount 0.
    stored = replay.rings["rows"].rows[1 : replay.size()]
    stored = stored[stored[:, 0].argsort()]
    np.testing.assert_allclose(
        stored, [[1, 0.1, 6, 0, 9], [2, 0.2, 8, 0, 9], [3, 0.3, 8, 0, 9]], rtol=1e-6
    )


def test_a_time_limit_bootstraps_over_the_steps_that_there_were():
    replay = buffer()
    drive(replay, 0, 1.0)
    drive(replay, 1, 2.0, following=7, done=True, truncated=True)
    stored = replay.rings["rows"].rows[: replay.size()]
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
    np.testing.assert_allclose(replay.rings["rows"].rows[1], [10, 1.0, 175, 0.125, 13])


def test_a_reset_from_outside_drops_the_steps_that_wait():
    replay = buffer()
    drive(replay, 0, 1.0)
    drive(replay, 1, 1.0)
    replay.forget_recent()
    for step in (20, 21, 22):
        drive(replay, step, 0.0)
    assert replay.rings["rows"].rows[: replay.size(), 0].tolist() == [20]


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
    stored = replay.rings["rows"].rows[: replay.size()]
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
    assert sorted(replay.rings["rows"].rows[:, 0].tolist()) == [2, 3, 4, 5]


def test_samples_are_whole_rows_drawn_evenly_and_by_seed():
    replay, twin = buffer(n_steps=1), buffer(n_steps=1)
    for step in range(10):
        drive(replay, step, 2.0 * step)
        drive(twin, step, 2.0 * step)
    rows = replay.draw(5000).rows
    np.testing.assert_array_equal(rows, twin.draw(5000).rows)
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


def seen(number):
    """A picture, 2 x 2, all pixels of which are a number, and a tenth of it beside."""
    return {
        "image": np.full((1, 2, 2, 3), number, np.uint8),
        "tenth": np.full((1, 1), number / 10, np.float32),
    }


def picture_buffer(n_steps=2, size=100):
    space = spaces.Dict(
        image=spaces.Box(0, 255, (2, 2, 3), np.uint8),
        tenth=spaces.Box(-100, 100, (1,), np.float32),
    )
    action = spaces.Box(-1, 1, (1,), np.float32)
    return NStepBuffer(size, space, action, "cpu", n_steps=n_steps, gamma=0.5, seed=0)


def see(replay, number, following, *, done=False):
    zeros = np.zeros((1, 1)), np.ones(1), np.array([done])
    replay.add(seen(number), seen(following), *zeros, [{}])


def test_a_picture_is_stored_once_and_found_from_both_ends():
    replay = picture_buffer()
    see(replay, 1, 2)
    see(replay, 2, 3)
    see(replay, 3, 9, done=True)  # the last observation of the episode
    see(replay, 20, 21)
    see(replay, 21, 22)
    # Stored: 1 2 3 9, then 20 21 22, each once.
    assert replay.rings["frames"].since(0)[:, 0, 0, 0].tolist() == [1, 2, 3, 9, 20, 21, 22]
    rows, images = replay.draw(2000)
    assert (images == images[:, :, :1, :1, :1]).all()
    numbers = images[:, :, 0, 0, 0]
    np.testing.assert_allclose(rows[:, 0] * 10, numbers[:, 0], rtol=1e-6)
    np.testing.assert_allclose(rows[:, -1] * 10, numbers[:, 1], rtol=1e-6)
    # Two steps each, one for the last step before the end.
    assert {tuple(pair) for pair in numbers.tolist()} == {(1, 3), (2, 9), (3, 9), (20, 22)}


def test_a_reset_from_outside_begins_a_new_row_of_pictures():
    replay = picture_buffer(n_steps=1)
    see(replay, 1, 2)
    replay.forget_recent()
    see(replay, 50, 51)
    images = replay.draw(100).images
    assert {tuple(pair) for pair in images[:, :, 0, 0, 0].tolist()} == {(1, 2), (50, 51)}


def test_rows_whose_picture_has_given_way_do_not_count():
    replay = picture_buffer(n_steps=1, size=6)
    for episode in range(4):
        # Two steps and three pictures each: 12 pictures for 8 transitions.
        see(replay, 10 * episode, 10 * episode + 1)
        see(replay, 10 * episode + 1, 10 * episode + 2, done=True)
    # Of six rows, those of episodes 1 to 3, only 2 and 3 still have their six pictures.
    assert replay.size() == 4
    pairs = replay.draw(500).images[:, :, 0, 0, 0]
    assert {tuple(pair) for pair in pairs.tolist()} == {(20, 21), (21, 22), (30, 31), (31, 32)}


def test_pictures_of_many_environments_do_not_mix():
    space = spaces.Box(0, 255, (2, 2, 1), np.uint8)
    action = spaces.Box(-1, 1, (1,), np.float32)
    replay = NStepBuffer(100, space, action, "cpu", n_envs=2, n_steps=2, seed=0)

    def pictures(*numbers):
        return np.stack([np.full((2, 2, 1), number, np.uint8) for number in numbers])

    for step in range(4):
        replay.add(
            pictures(step, 100 + step),
            pictures(step + 1, 101 + step),
            np.zeros((2, 1)),
            np.zeros(2),
            np.array([step == 1, False]),
            [{}, {}],
        )
    pairs = {tuple(pair) for pair in replay.draw(500).images[:, :, 0, 0, 0].tolist()}
    # The first ended at 2, and began anew with what is there called 2.
    assert pairs == {(0, 2), (1, 2), (2, 4), (100, 102), (101, 103), (102, 104)}
    assert replay.draw(3).rows.shape == (3, 3)


@pytest.mark.parametrize("size", [6, 4])
def test_pictures_survive_being_put_away(size):
    old = picture_buffer(n_steps=1, size=6)
    for episode in range(4):
        see(old, 10 * episode, 10 * episode + 1)
        see(old, 10 * episode + 1, 10 * episode + 2, done=True)
    new = picture_buffer(n_steps=1, size=size)
    new.restore(old.arrays())
    rows, images = new.draw(500)
    pairs = images[:, :, 0, 0, 0]
    expected = {(20, 21), (21, 22), (30, 31), (31, 32)}
    # The rows of episode 1, whose pictures have given way, are not put away.
    assert new.size() == (4 if size == 6 else 2)
    np.testing.assert_allclose(rows[:, 0] * 10, pairs[:, 0], rtol=1e-6)
    # Room for four pictures: 22 and the three of the last episode.
    assert {tuple(pair) for pair in pairs.tolist()} == (
        expected if size == 6 else {(30, 31), (31, 32)}
    )
    see(new, 40, 41)
    assert (40, 41) in {tuple(pair) for pair in new.draw(500).images[:, :, 0, 0, 0].tolist()}


def test_links_that_lead_nowhere_are_refused():
    replay = picture_buffer(n_steps=1)
    see(replay, 1, 2)
    arrays = replay.arrays()
    with pytest.raises(InputError, match="Expected links of 1 rows to 2 frames"):
        replay.restore(arrays | {"links": arrays["links"] + 1})
    with pytest.raises(InputError, match="Expected links of 1 rows to 2 frames"):
        replay.restore(arrays | {"links": arrays["links"] - 1})
    with pytest.raises(InputError, match="Expected 'frames' as uint8"):
        replay.restore({name: arrays[name] for name in ("rows", "links")})


def test_a_drawn_transition_takes_the_bytes_that_it_says():
    replay = picture_buffer()
    see(replay, 1, 2)
    see(replay, 2, 3)
    rows, images = replay.draw(10)
    # Five floats: number, action, return, discount, number; two pictures of 12 bytes.
    assert replay.row_bytes == 5 * 4 + 2 * 12 == (rows.nbytes + images.nbytes) // 10


def test_more_than_the_memory_holds_is_refused_with_a_size_that_fits(monkeypatch):
    # Five floats, a picture of twelve bytes, two links of eight: 48 bytes.
    each = replay.stored_bytes(picture_buffer().layout, 1)
    assert each == sum(ring.rows[0].nbytes for ring in picture_buffer().rings.values()) == 48
    sizes = {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 24}
    monkeypatch.setattr(os, "sysconf_names", sizes)
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    memory.check("a replay buffer", "buffer_size", 500, each)
    with pytest.raises(InputError, match=r"buffer_size 1,000.*Lower it, for example to 250"):
        memory.check("a replay buffer", "buffer_size", 1000, each)


@pytest.mark.parametrize(
    ("observation", "action"),
    [
        (spaces.Discrete(3), spaces.Box(-1, 1, (1,), np.float32)),
        (spaces.Box(-1, 1, (1,), np.float32), spaces.Discrete(3)),
    ],
)
def test_other_spaces_are_refused_with_the_remedy(observation, action):
    with pytest.raises(InputError, match=r"Expected a flat Box.*Flatten the space"):
        NStepBuffer(10, observation, action)
