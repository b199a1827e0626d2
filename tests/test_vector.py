"""Vector environments: Gymnasium's and Stable-Baselines3's view of the same cars."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from donkey_rl import errors
from donkey_rl.envs import DonkeyVectorEnv, EnvironmentConfig, TaskConfig
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.vec_env import SB3View, make

Array = npt.NDArray[Any]
# Cars stand for 0.5 s (10 steps) at most, and an episode takes 1 s.
CONFIG = EnvironmentConfig(
    camera=CameraConfig(img_w=32, img_h=24), task=TaskConfig(time_limit_s=1.0, stuck_s=0.5)
)


def actions(count: int, parked: int | None = None) -> npt.NDArray[np.float32]:
    """Straight on at half throttle; the car `parked` stands still."""
    chosen = np.zeros((count, 2), dtype=np.float32)
    if parked is not None:
        chosen[parked, 1] = -1.0
    return chosen


def test_spaces_and_autoreset_mode_are_declared() -> None:
    env = DonkeyVectorEnv(CONFIG, 3)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observed, infos = env.reset(seed=0)
    assert env.observation_space.contains(observed)
    assert env.single_observation_space["image"].shape == (24, 32, 3)
    assert env.action_space.shape == (3, 2)
    assert infos["speed"].tolist() == [0.0] * 3
    assert infos["_speed"].all()
    moved, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(moved)
    assert reward.shape == terminated.shape == truncated.shape == (3,)


def test_gymnasium_makes_it_by_id() -> None:
    env = gymnasium.make_vec(
        "donkey-waveshare-v0", num_envs=2, vectorization_mode="vector_entry_point",
        conf={"cam_resolution": (24, 32, 3)},
    )  # fmt: skip
    observed, _ = env.reset(seed=1)
    assert observed["image"].shape == (2, 24, 32, 3)


def test_an_ended_episode_restarts_in_its_last_step() -> None:
    env = DonkeyVectorEnv(CONFIG, 3)
    env.reset(seed=0)
    spawn = env.batch.motion[1].copy()
    for step in range(1, 11):
        observed, _, terminated, truncated, infos = env.step(actions(3, parked=1))
        assert terminated.tolist() == [False, step == 10, False]
        assert not truncated.any()
        assert ("final_obs" in infos) == (step == 10)
    assert infos["_final_obs"].tolist() == [False, True, False]
    assert infos["final_obs"][0] is None
    assert infos["final_info"]["ending"][1] == "stuck"
    # The final observation still knows the last actions, the new one starts afresh.
    assert infos["final_obs"][1]["last_actions"].tolist() == [0.0, -1.0] * 3
    assert not observed["last_actions"][1].any()
    assert infos["time"][1] == 0.0
    assert infos["final_info"]["time"][1] == pytest.approx(0.5)
    assert (env.batch.motion[1] == spawn).all()
    assert infos["time"][0] == pytest.approx(0.5)


def test_the_final_image_is_the_last_of_the_old_episode() -> None:
    env = DonkeyVectorEnv(CONFIG, 2)
    start, _ = env.reset(seed=0)
    first = start["image"][0].copy()
    for _ in range(20):
        observed, _, _, truncated, infos = env.step(actions(2))
    assert truncated.all()
    assert infos["final_info"]["ending"].tolist() == ["time_limit"] * 2
    last = infos["final_obs"][0]["image"]
    # After 1 s of driving the view differs from that of the start, which is seen again now.
    assert (last != first).any()
    assert (observed["image"][0] == first).all()


def test_rewards_terms_and_infos_cover_all_cars() -> None:
    env = DonkeyVectorEnv(CONFIG, 4)
    env.reset(seed=0)
    for _ in range(5):
        _, reward, _, _, infos = env.step(actions(4))
    parts = [value for key, value in infos["reward_terms"].items() if not key.startswith("_")]
    assert len(parts) == 6
    assert np.sum(parts, axis=0) == pytest.approx(reward)
    assert infos["distance"].shape == (4,)
    assert (infos["progress"] > 0.0).all()


def test_copies_stay_and_shared_frames_last_one_more_step() -> None:
    for copy in (True, False):
        env = DonkeyVectorEnv(CONFIG, 2, copy=copy)
        observed, _ = env.reset(seed=0)
        kept = [(observed["image"], observed["image"].copy())]
        for _ in range(6):
            observed, *_ = env.step(actions(2) + 0.5)
            # The observation of the step before is intact.
            assert (kept[-1][0] == kept[-1][1]).all()
            kept.append((observed["image"], observed["image"].copy()))
        intact = [(image == saved).all() for image, saved in kept]
        assert all(intact) == copy


@pytest.mark.parametrize("bad", [np.full((2, 2), np.nan), np.zeros((3, 2)), np.zeros(2)])
def test_bad_actions_are_refused_before_anything_moves(bad: Array) -> None:
    env = DonkeyVectorEnv(CONFIG, 2)
    env.reset(seed=0)
    before = env.batch.motion.copy()
    with pytest.raises(errors.ActionError, match="Received"):
        env.step(bad)
    assert (env.batch.motion == before).all()
    assert env.batch.steps.tolist() == [0, 0]


def test_the_sb3_view_shares_the_frames_of_the_batch() -> None:
    env = DonkeyVectorEnv(CONFIG, 3)
    view = env.as_vec_env()
    assert isinstance(view, VecEnv)
    first = view.reset()
    assert np.shares_memory(first["image"], env.batch._frames)
    before = first["image"].copy()
    second, *_ = view.step(actions(3) + 0.4)
    assert np.shares_memory(second["image"], env.batch._frames)
    assert not np.shares_memory(second["image"], first["image"])
    # What the replay memory stores next to the new frames is still the old one.
    assert (first["image"] == before).all()
    assert (second["image"] != before).any()


def test_the_sb3_view_drives_like_the_vector_environment() -> None:
    env, view = DonkeyVectorEnv(CONFIG, 3, seed=2), make(CONFIG, 3, 2)
    one, _ = env.reset(seed=2)
    view.seed(2)
    other = view.reset()
    rng = np.random.default_rng(0)
    for _ in range(45):
        chosen = rng.uniform(-1.0, 1.0, (3, 2)).astype(np.float32)
        one, reward, terminated, truncated, _ = env.step(chosen)
        other, rewards, dones, _ = view.step(chosen)
        assert (reward.astype(np.float32) == rewards).all()
        assert ((terminated | truncated) == dones).all()
        for name, value in one.items():
            assert (value == other[name]).all()


def test_the_sb3_view_tells_how_an_episode_ended() -> None:
    view = make(CONFIG, 2, 0)
    view.reset()
    total = np.zeros(2)
    for _ in range(10):
        observed, rewards, dones, infos = view.step(actions(2, parked=1))
        total += rewards
    assert dones.tolist() == [False, True]
    assert "terminal_observation" not in infos[0]
    assert infos[1]["TimeLimit.truncated"] is False
    assert infos[1]["ending"] == "stuck"
    assert infos[1]["episode"]["l"] == 10
    assert infos[1]["episode"]["r"] == pytest.approx(total[1])
    assert infos[1]["terminal_observation"]["last_actions"].tolist() == [0.0, -1.0] * 3
    assert not observed["last_actions"][1].any()
    for _ in range(10):
        _, _, dones, infos = view.step(actions(2, parked=1))
    assert dones.tolist() == [True, True]
    assert infos[0]["TimeLimit.truncated"] is True
    assert infos[0]["ending"] == "time_limit"
    assert infos[0]["episode"]["l"] == 20
    assert {"speed", "distance", "progress"} <= set(infos[0])


def test_the_terminal_observation_is_not_overwritten() -> None:
    view = make(CONFIG, 1, 0)
    view.reset()
    for _ in range(20):
        _, _, dones, infos = view.step(actions(1))
    assert dones.all()
    image = infos[0]["terminal_observation"]["image"]
    kept = image.copy()
    for _ in range(3):
        view.step(actions(1) + 0.3)
    assert (image == kept).all()


def test_cars_that_drive_together_meet() -> None:
    apart = DonkeyVectorEnv(CONFIG, 2)
    together = DonkeyVectorEnv(CONFIG, 2, together=True)
    first, _ = apart.reset(seed=0)
    second, _ = together.reset(seed=0)
    places = together.batch.motion[:, [physics.X, physics.Z]]
    assert np.hypot(*(places[0] - places[1])) > 2.0
    assert (apart.batch.motion[0] == apart.batch.motion[1]).all()
    assert (first["image"][0] == first["image"][1]).all()
    assert (second["image"][0] != second["image"][1]).any()


def test_the_view_answers_stable_baselines3s_questions() -> None:
    view = make(CONFIG, 2, 0)
    assert isinstance(view, SB3View)
    assert view.get_attr("render_mode") == ["rgb_array", "rgb_array"]
    assert view.env_is_wrapped(gymnasium.Wrapper) == [False, False]
    assert len(view.env_method("get_attr", "num_envs", indices=[0])) == 1
    view.reset()
    assert [image.shape for image in view.get_images() if image is not None] == [(24, 32, 3)] * 2
    # For whoever films it.
    assert view.metadata["render_fps"] == 20
    view.close()
