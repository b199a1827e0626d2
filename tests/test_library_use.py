"""What a program that uses the environments as a library may do, and how its mistakes are told."""

from __future__ import annotations

import copy
import json
import pathlib
import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

import donkey_rl.envs
from donkey_rl.envs import registration
from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.envs.vector import DonkeyVectorEnv
from donkey_rl.errors import ActionError, ConfigurationError, LinkClosed, StorageError, TrackError
from tests import served_car

CAMERA = {"img_h": 24, "img_w": 32}
ROOT = pathlib.Path(__file__).parents[1]


def config(**values: Any) -> EnvironmentConfig:
    return EnvironmentConfig.model_validate({"camera": CAMERA, **values})


def printed(program: str) -> str:
    """Returns what a program prints in a process of its own."""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"opponents": {"count": 2}},
        {"opponents": {"count": 1}, "latency": {"low_ms": 80.0, "high_ms": 90.0}},
    ],
)
def test_a_copy_drives_on_as_the_original(again: Any, values: dict[str, Any]) -> None:
    first = DonkeyEnv(config(**values))
    first.reset(seed=3)
    for _ in range(5):
        first.step([0.1, 0.3])
    second = again(first)
    for _ in range(30):
        seen, reward, *_, info = first.step([0.05, 0.4])
        too, as_much, *_, told = second.step([0.05, 0.4])
        assert reward == as_much
        assert (info["time"], info["pos"]) == (told["time"], told["pos"])
        np.testing.assert_array_equal(seen["image"], too["image"])
    assert info["speed"] > 0.5


def test_environments_without_a_seed_differ_and_with_one_are_alike() -> None:
    wanted = config(randomisation={"start_anywhere": True})
    places = [DonkeyEnv(wanted).reset()[1]["pos"] for _ in range(3)]
    assert len(set(places)) == 3
    seeded = [DonkeyEnv(wanted).reset(seed=1)[1]["pos"] for _ in range(2)]
    assert seeded[0] == seeded[1]


def test_stock_ids_are_joined_with_their_own_spaces() -> None:
    program = (
        "import gymnasium, donkey_rl.envs.stock\n"
        "many = gymnasium.make_vec('donkey-warehouse-v0', 2)\n"
        "one = gymnasium.make('donkey-warehouse-v0')\n"
        "assert many.single_action_space == one.action_space, many.single_action_space\n"
        "assert many.single_observation_space == one.observation_space\n"
        "print(many.reset(seed=0)[0].shape)\n"
    )
    assert printed(program) == "(2, 120, 160, 3)"


def test_stock_spaces_are_none_of_the_vector_environment() -> None:
    with pytest.raises(ConfigurationError, match="vectorization_mode='sync'"):
        registration.make_vector({"track": "warehouse"}, 2, stock_spaces=True)


def test_gymnasium_knows_what_is_drawn() -> None:
    env = gymnasium.make("donkey-warehouse-v0", render_mode="rgb_array_list", config=config())
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    frames = env.render()
    assert isinstance(frames, list)
    assert len(frames) == 2
    assert np.asarray(frames[0]).shape == (24, 32, 3)
    assert env.unwrapped.spec is not None
    for wrong in (lambda: DonkeyEnv(config(), render_mode="qwerty"),
                  lambda: DonkeyVectorEnv(config(), 2, render_mode="human")):  # fmt: skip
        with pytest.raises(ConfigurationError, match="None or 'rgb_array'"):
            wrong()


def test_the_view_of_stable_baselines_draws() -> None:
    view = DonkeyVectorEnv(config(), 2).as_vec_env()
    view.reset()
    assert view.render_mode == "rgb_array"
    drawn = view.render()
    assert drawn is not None
    assert drawn.shape[-1] == 3


@pytest.mark.slow
def test_a_closed_environment_does_not_connect_again() -> None:
    with served_car.serving() as server:
        link = {"answer_timeout_s": 60.0, "connect_timeout_s": 60.0}
        env = DonkeyEnv(config(simulator=f"127.0.0.1:{server.port}", camera={}, link=link))
        env.reset(seed=0)
        env.step([0.0, 0.1])
        env.close()
        for late in (lambda: env.step([0.0, 0.1]), lambda: env.reset()):
            with pytest.raises(LinkClosed, match="The environment was closed"):
                late()


def test_the_vector_environment_tells_what_its_page_says() -> None:
    many = DonkeyVectorEnv(config(task={"time_limit_s": 0.2}), 2)
    many.reset(seed=0)
    for _ in range(4):
        *_, cut, infos = many.step(np.zeros((2, 2)))
        if cut.any():
            break
        assert infos["missed_deadlines"].tolist() == [0, 0]
        terms = infos["reward_terms"]
        np.testing.assert_array_equal(terms["progress"], infos["reward_progress"])
        assert terms["_progress"].all()
    assert cut.all()
    assert infos["final_info"]["reward_terms"]["_progress"].all()


def test_a_reset_leaves_the_frames_that_were_returned() -> None:
    many = DonkeyVectorEnv(config(randomisation={"start_anywhere": True}), 2, copy=False)
    many.reset(seed=0)
    seen, *_ = many.step(np.zeros((2, 2)))
    before = seen["image"].copy()
    many.reset()
    np.testing.assert_array_equal(seen["image"], before)


@pytest.mark.parametrize(
    "link", [{"answer_timeout_s": 30.0}, LinkConfig(answer_timeout_s=30.0)], ids=["keys", "object"]
)
def test_a_link_that_is_named_in_part_keeps_the_rest(link: Any) -> None:
    found = EnvironmentConfig(link=link).link
    assert (found.answer_timeout_s, found.reconnect_attempts) == (30.0, 3)
    assert EnvironmentConfig(link=LinkConfig(reconnect_attempts=0)).link.reconnect_attempts == 0


def test_a_reward_of_ones_own_goes_to_another_process(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.py").write_text("def quick(facts, failed):\n    return facts.speed\n")
    env = DonkeyEnv(config(task={"reward": f"{tmp_path / 'mine.py'}:quick"}))
    env.reset(seed=0)
    (tmp_path / "env.pickle").write_bytes(pickle.dumps(env))
    program = (
        "import pickle, pathlib\n"
        f"env = pickle.loads(pathlib.Path({str(tmp_path / 'env.pickle')!r}).read_bytes())\n"
        "print(list(env.step([0.0, 1.0])[-1]['reward_terms']))\n"
    )
    assert printed(program) == "['quick']"


@pytest.mark.parametrize("action", ["left", [[0.0], [0.0, 1.0]], None])
def test_an_action_that_is_none_is_told(action: Any) -> None:
    env = DonkeyEnv(config())
    env.reset(seed=0)
    with pytest.raises(ActionError, match=r"two numbers|shape"):
        env.step(action)
    many = DonkeyVectorEnv(config(), 2)
    many.reset(seed=0)
    with pytest.raises(ActionError):
        many.step(action)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"cam_config": 3}, "cam_config"),
        ({"host": "localhost", "car_config": 3}, "car_config"),
        ({"host": "localhost", "body_rgb": 3}, "body_rgb"),
        ({"host": "localhost", "body_rgb": (1, 2)}, "body_rgb"),
    ],
)
def test_a_conf_of_the_wrong_kind_is_told(conf: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        DonkeyEnv(conf=conf)


@pytest.mark.parametrize("wrong", [{"track": "warehouse"}, "warehouse"])
def test_what_is_no_configuration_is_told(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="EnvironmentConfig"):
        DonkeyEnv(wrong)
    with pytest.raises(ConfigurationError, match="EnvironmentConfig"):
        DonkeyVectorEnv(wrong)
    with pytest.raises(ConfigurationError, match="one car or more"):
        DonkeyVectorEnv(config(), -1)


def test_a_step_after_the_end_is_told(tmp_path: pathlib.Path) -> None:
    env = DonkeyEnv(config(), telemetry_log=tmp_path / "log.csv")
    env.reset(seed=0)
    env.close()
    with pytest.raises(StorageError, match="closed"):
        env.step([0.0, 0.0])


def test_a_random_road_has_a_length_too(tmp_path: pathlib.Path) -> None:
    assert donkey_rl.envs
    values = json.loads((track.FOLDER / "generated_road.json").read_text())
    values["random_road"] |= {"nodes": 8, "span": 0.5}
    (tmp_path / "short.json").write_text(json.dumps(values))
    with pytest.raises(TrackError, match="a road of 10 to"):
        track.load(str(tmp_path / "short.json"))
