"""What drivers see is the same whether the embedded simulator asks for it or a race does."""

from __future__ import annotations

import numpy as np
import pytest

from donkey_rl.envs import observing
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.sensors import CameraConfig
from tests.embedded_source import EmbeddedSource

STEPS = 40


@pytest.mark.parametrize("vehicle", ["donkey_2021", "donkey_2022"])
def test_a_race_shows_what_training_shows(vehicle: str) -> None:
    config = EnvironmentConfig(
        vehicle=vehicle, throttle_max=0.4, camera=CameraConfig(img_w=32, img_h=24)
    )
    source = EmbeddedSource(config)
    trained = Batch(config, 1, world=RemoteWorld(config, [source]))
    trained.reset(np.array([0]))
    sent = np.zeros(2 * config.history, np.float32)
    rng = np.random.default_rng(3)
    for _ in range(STEPS):
        action = rng.uniform([-1.0, 0.0], [1.0, 1.0]).astype(np.float32)
        seen = {name: value[0] for name, value in trained.step(action[None]).observation.items()}
        sent = np.concatenate([sent[2:], action])
        sight = trained.world.sights[0]  # type: ignore[attr-defined]
        # What training knows beside it, a race does not send.
        told = sight.telemetry
        raced = observing.observed_by(told, sight.image, sent)
        assert {name: value.dtype for name, value in raced.items()} == {
            name: value.dtype for name, value in seen.items()
        }
        for name, value in seen.items():
            assert raced[name].shape == value.shape
            assert raced[name] == pytest.approx(value, rel=1e-3, abs=2e-3), name
    assert float(seen["speed"][0]) > 0.2
    assert abs(float(seen["imu"][4])) > 0.01
