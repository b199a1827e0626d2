"""Policies that see by themselves: small images to learn from, and the driver they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl import cli
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders import base
from donkey_rl.agents.encoders.cnn import CnnEncoder
from donkey_rl.agents.encoders.config import CnnEncoderConfig
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.agents.image_env import ImageExtractor, ImageVecEnv
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.envs import batch as batches
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import DriverError, InputError
from donkey_rl.experiments import stored_runs

SHAPE = (24, 32, 3)
SPACE = spaces.Dict(
    image=spaces.Box(0, 255, SHAPE, np.uint8),
    imu=spaces.Box(-9, 9, (6,), np.float32),
    last_actions=spaces.Box(-1, 1, (4,), np.float32),
    speed=spaces.Box(0, 99, (1,), np.float32),
)
REDUCED = CnnEncoderConfig(crop=1 / 3, pool=2)
SCALING = FeatureScaling(speed=5.0, yaw_rate=2.0)
SMALL = PPOConfig(
    n_steps=8, batch_size=16, n_epochs=1, hidden=(8,), cnn=CnnConfig(filters=(4, 8), units=6)
)
ABOUT = DriverDescription(
    agent="ppo", vehicle="donkey_2022", tracks=("generated_track",), simulator="none", camera={}
)


def observation(clock: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(clock)
    return {
        "image": random.integers(0, 256, SHAPE).astype(np.uint8),
        "imu": np.arange(6, dtype=np.float32) + clock,
        "last_actions": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
        "speed": np.array([20.0 + clock], np.float32),
    }


def many(count: int) -> dict[str, np.ndarray]:
    rows = [observation(clock) for clock in range(count)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class Clock(gymnasium.Env[Any, Any]):
    """Its observations count from 0; an episode ends with the third step."""

    observation_space = SPACE
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.clock = 0
        return observation(0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        return observation(self.clock), float(action[0]), self.clock == 3, False, {}


def learned(steps: int = 32) -> tuple[PPO, ImageVecEnv]:
    env = ImageVecEnv(DummyVecEnv([Clock, Clock]), REDUCED, SCALING)
    model = PPO(env, SMALL, seed=0)
    model.learn(steps)
    return model, env


@pytest.fixture(scope="module")
def trained() -> tuple[PPO, ImageVecEnv]:
    return learned()


def test_images_are_cropped_and_averaged() -> None:
    extractor = ImageExtractor(REDUCED, SPACE, SCALING)
    assert extractor.space["image"] == spaces.Box(0, 255, (8, 16, 3), np.uint8)
    seen = many(3)
    found = extractor(seen)
    # A third of 24 rows is cut off; means of 2 x 2 pixels, halves to the even number.
    blocks = seen["image"][:, 8:].reshape(3, 8, 2, 16, 2, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(found["image"], np.rint(blocks).astype(np.uint8))
    # Speed 20 / 5, yaw rate imu[4] = 4 over 2, the actions as they are; a second later + 1.
    expected = [[4.0, 2.0, 0.1, 0.2, 0.3, 0.4], [4.2, 2.5, 0.1, 0.2, 0.3, 0.4]]
    np.testing.assert_allclose(found["numbers"][:2], expected, rtol=1e-6)
    single = extractor(observation(2))
    for name in ("image", "numbers"):
        np.testing.assert_array_equal(single[name], found[name][2])
        assert extractor.space[name].contains(single[name])


def test_ends_of_episodes_are_reduced_too() -> None:
    env = ImageVecEnv(DummyVecEnv([Clock, Clock]), REDUCED, SCALING)
    expected = env.extractor(many(4))
    seen = env.reset()
    np.testing.assert_array_equal(seen["image"][1], expected["image"][0])
    for _ in range(3):
        seen, _, dones, infos = env.step(np.zeros((2, 2), np.float32))
    assert dones.all()
    for name in ("image", "numbers"):
        np.testing.assert_array_equal(seen[name][0], expected[name][0])
        np.testing.assert_array_equal(infos[1]["terminal_observation"][name], expected[name][3])
    assert env.seconds["encode"] > 0.0


def test_driver_drives_as_its_policy(trained: tuple[PPO, ImageVecEnv], tmp_path: Path) -> None:
    model, env = trained
    encoder = CnnEncoder.of_policy(model.learner.cnn, SHAPE, REDUCED)
    driver = Driver(encoder, model.deterministic_model(), ABOUT, history=2, scaling=SCALING)
    seen = many(5)
    expected = model.predict(env.extractor(seen), deterministic=True)[0]
    assert np.abs(expected[0] - expected[1]).max() > 1e-4
    np.testing.assert_allclose(driver.act(seen), expected, atol=1e-5)
    driver.save(tmp_path / "driver")
    loaded = Driver.load(tmp_path / "driver")
    assert loaded.encoder.name == "cnn"
    assert loaded.hash == driver.hash
    np.testing.assert_allclose(loaded.act(observation(3)), expected[3], atol=1e-5)


def test_encoder_keeps_the_weights_of_its_moment() -> None:
    model, env = learned()
    images = many(3)["image"]
    encoder = CnnEncoder.of_policy(model.learner.cnn, SHAPE, REDUCED)
    before = encoder.encode(images)
    reduced = env.extractor(many(3))["image"]
    np.testing.assert_allclose(before, np.asarray(model.learner.cnn(reduced)), atol=1e-5)
    model.learn(64, reset_num_timesteps=False)
    np.testing.assert_array_equal(encoder.encode(images), before)
    assert np.abs(np.asarray(model.learner.cnn(reduced)) - before).max() > 1e-4
    assert encoder.encode(images[:0]).shape == (0, 6)
    with pytest.raises(InputError, match="uint8 images"):
        encoder.encode(images.astype(np.float32))


def test_what_does_not_fit_is_refused(trained: tuple[PPO, ImageVecEnv], tmp_path: Path) -> None:
    network = trained[0].learner.cnn
    with pytest.raises(InputError, match=r"network for images \(16, 32, 3\)"):
        CnnEncoder.of_policy(network, SHAPE, CnnEncoderConfig(crop=1 / 3, pool=1))
    with pytest.raises(InputError, match="that something is left of"):
        ImageExtractor(
            CnnEncoderConfig(pool=8),
            spaces.Dict({**SPACE.spaces, "image": spaces.Box(0, 255, (8, 32, 3), np.uint8)}),
        )
    with pytest.raises(InputError, match="Expected a Dict of image"):
        ImageExtractor(REDUCED, SPACE["image"])
    with pytest.raises(InputError, match="Expected 'imu'"):
        ImageExtractor(REDUCED, spaces.Dict({k: v for k, v in SPACE.spaces.items() if k != "imu"}))
    encoder = CnnEncoder.of_policy(network, SHAPE, REDUCED)
    encoder.save(tmp_path)
    (tmp_path / "encoder.keras").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DriverError, match="Expected the cnn encoder of format 1"):
        base.encoder_class("cnn").load(tmp_path)


@pytest.mark.usefixtures("own_store")
@pytest.mark.slow
@pytest.mark.parametrize("agent", ["ppo", "sac"])
def test_a_trained_driver_has_the_eyes_of_its_policy(
    agent: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = (
        "encoder.name=cnn", "encoder.pool=4", "cars=4", "check.every=300", "check.races=2",
        "evaluation.races=1", "evaluation.laps=1", "ppo.n_steps=16", "ppo.cnn.units=7",
        "sac.cnn.units=7", "sac.learning_starts=100", "sac.gradient_steps=1", "sac.batch_size=64",
        "ppo.batch_size=64", "ppo.n_epochs=2",
    )  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    assert cli.main(["train", "--json", "--agent", agent, "--steps", "600", *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] >= 600
    assert {"environment", "encode", "act", "update"} <= set(result["time_split"])
    driver = Driver.load(stored_runs.download_driver(result["run_id"]))
    assert driver.encoder.name == "cnn"
    assert driver.critic is None
    assert (driver.encoder.image_shape, driver.encoder.features) == ((120, 160, 3), 7)
    # A camera that sees something else makes it do something else.
    space = batches.observation_space(EnvironmentConfig())
    dark = {name: np.zeros(part.shape, part.dtype) for name, part in space.spaces.items()}
    seen = {**dark, "image": space["image"].sample()}
    assert np.abs(driver.act(seen) - driver.act(dark)).max() > 0.0


def test_a_description_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text('{"format": 1, "encoder": "cnn"}' + " " * 1_000_000)
    with pytest.raises(DriverError, match=r"'encoder.json' of 1,000,031 bytes"):
        CnnEncoder.load(tmp_path)
