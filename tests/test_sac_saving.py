"""What SAC writes to disk comes back; what is not whole is refused."""

import zipfile

import numpy as np
import pytest

from donkey_rl.agents import named_arrays
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.errors import InputError
from tests.points import SMALL, Points, weights


def test_save_and_load(tmp_path):
    agent = SAC(Points(), SMALL, seed=0).learn(400)
    agent.save(tmp_path / "agent")
    batch = np.random.default_rng(0).uniform(-1, 1, (9, 2)).astype(np.float32)
    loaded = SAC.load(tmp_path / "agent")
    np.testing.assert_array_equal(
        agent.predict(batch, deterministic=True)[0], loaded.predict(batch, deterministic=True)[0]
    )
    assert loaded.config == SMALL
    assert loaded.num_timesteps == agent.num_timesteps
    expected, received = agent.learner.state(), loaded.learner.state()
    assert expected.keys() == received.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, received[name], err_msg=name)
    going_on = SAC.load(tmp_path / "agent", Points())
    going_on.learn(200, reset_num_timesteps=False)
    assert going_on.num_timesteps == 600
    assert np.abs(weights(going_on) - weights(agent)).max() > 0


def test_saving_again_replaces_the_folder(tmp_path):
    agent = SAC(Points(), SMALL, seed=0)
    agent.save(tmp_path / "agent")
    agent.learn(200)
    agent.save(tmp_path / "agent")
    assert SAC.load(tmp_path / "agent").num_timesteps == 200
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]


def test_nothing_saved_is_a_pickle(tmp_path):
    SAC(Points(), SMALL, seed=0).save(tmp_path / "agent")
    files = sorted(tmp_path.glob("agent/*"))
    assert [path.name for path in files] == [
        "actor.weights.h5",
        "agent.json",
        "critics.weights.h5",
        "optimisers.npz",
        "target_critics.weights.h5",
    ]
    with zipfile.ZipFile(tmp_path / "agent" / "optimisers.npz") as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load(tmp_path / "agent" / "optimisers.npz", allow_pickle=False) as arrays:
        assert {name for name in arrays if arrays[name].dtype != np.float32} == {"steps"}


def test_arrays_that_are_too_large_are_refused_before_they_are_read(tmp_path, monkeypatch):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    head += " " * (117 - len(head)) + "\n"
    with zipfile.ZipFile(tmp_path / "one.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00\x76\x00" + head.encode() + b"1234")
    with pytest.raises(ValueError, match=r"not a whole \.npz file|reshape"):
        named_arrays.read(tmp_path / "one.npz")
    np.savez_compressed(tmp_path / "two.npz", a=np.zeros(10_000))
    monkeypatch.setattr(named_arrays, "_MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="would have 80128 bytes"):
        named_arrays.read(tmp_path / "two.npz")


def test_steps_that_no_car_has_driven_are_not_kept():
    agent = SAC(Points(), SMALL, seed=0).learn(200)
    before, buffer = agent.replay_buffer.size(), agent.replay_buffer
    cars = agent.n_envs
    moved = np.zeros((cars, 1), np.float32)
    words = (buffer, moved, agent._last_obs, np.zeros(cars), np.ones(cars, bool))
    agent._store_transition(*words, [{"undriven": True}] * cars)
    assert buffer.size() == before
    assert not buffer._lengths.any()
    agent._store_transition(*words, [{} for _ in range(cars)])
    assert buffer.size() == before + cars


def test_the_replay_buffer_is_plain_arrays(tmp_path):
    agent = SAC(Points(), SMALL, seed=0).learn(200)
    agent.save_replay_buffer(tmp_path / "replay.npz")
    other = SAC(Points(), SMALL, seed=1)
    other.load_replay_buffer(tmp_path / "replay.npz")
    size = agent.replay_buffer.size()
    assert other.replay_buffer.size() == size > 0
    np.testing.assert_array_equal(
        other.replay_buffer.rings["rows"].rows[:size],
        agent.replay_buffer.rings["rows"].rows[:size],
    )


def test_what_is_no_replay_buffer_is_refused(tmp_path):
    agent = SAC(Points(), SMALL, seed=0)
    (tmp_path / "text").write_text("no arrays")
    np.savez(tmp_path / "narrow.npz", rows=np.zeros((4, 3), np.float32))
    with pytest.raises(InputError, match="Expected a replay buffer"):
        agent.load_replay_buffer(tmp_path / "text")
    with pytest.raises(InputError, match="Expected a replay buffer"):
        agent.load_replay_buffer(tmp_path / "missing.npz")
    with pytest.raises(InputError, match=r"Expected 'rows' as float32 of shape \(k, 7\)"):
        agent.load_replay_buffer(tmp_path / "narrow.npz")


@pytest.mark.parametrize("missing", ["agent.json", "actor.weights.h5", "optimisers.npz"])
def test_an_incomplete_folder_is_refused(tmp_path, missing):
    SAC(Points(), SMALL, seed=0).save(tmp_path / "agent")
    (tmp_path / "agent" / missing).unlink()
    with pytest.raises(InputError, match=r"Expected .* agent folder"):
        SAC.load(tmp_path / "agent")


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_folder_with_damaged_moments_is_refused(tmp_path, size):
    SAC(Points(), SMALL, seed=0).save(tmp_path / "agent")
    file = tmp_path / "agent" / "optimisers.npz"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match=r"Expected a complete agent folder.*not a whole \.npz"):
        SAC.load(tmp_path / "agent")


def test_exploration_of_another_size_is_refused(tmp_path):
    SAC(Points(), SMALL.model_copy(update={"sde": True}), seed=0).save(tmp_path / "agent")
    file = tmp_path / "agent" / "optimisers.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    # Eight environments, 32 hidden units, one action.
    np.savez(file, **arrays | {"matrices": np.zeros((8, 31, 1), np.float32)})
    with pytest.raises(InputError, match=r"matrices of shape \(8, 31, 1\)"):
        SAC.load(tmp_path / "agent")
