"""One learner that is fed by several simulators at the other end of connections."""

from __future__ import annotations

import contextlib

import numpy as np
from stable_baselines3.common.logger import Logger

from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.feature_env import FeatureVecEnv
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import vec_env
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.camera import CameraConfig

SERVED = ServerConfig(track="generated_track", port=0, private_port=None, time_scale="max")
CAMERA = CameraConfig(img_w=32, img_h=24)
SETTINGS = SACConfig(hidden=(16,), batch_size=16, gradient_steps=1, n_steps=1, learning_starts=20)


def test_two_simulators_feed_one_learner() -> None:
    with background.running(SERVED) as first, background.running(SERVED) as second:
        config = EnvironmentConfig(
            camera=CAMERA,
            link=LinkConfig(config_spacing_s=0.01),
            throttle_max=0.2,
            simulator=f"127.0.0.1:{first.port},127.0.0.1:{second.port}",
        )
        encoder = LaneEncoder(CAMERA.shape, ("a",), LaneEncoderConfig(filters=(4,), dense=4))
        with contextlib.closing(vec_env.make(config, 2, 0)) as cars:
            agent = SAC(FeatureVecEnv(cars, encoder), SETTINGS, seed=0, real_time=True)
            agent.set_logger(Logger(None, []))
            before = agent.deterministic_model().get_weights()
            agent.learn(80)
            after = agent.deterministic_model().get_weights()
            assert first.statistics().clients == second.statistics().clients == 1
    rows = agent.replay_buffer.rings["rows"].since(0)
    # 40 steps of both cars, whose own noise leads them apart: no two rows are alike.
    assert agent.replay_buffer.size() == 80
    assert len(np.unique(rows, axis=0)) == 80
    # Trainings follow the steps of both cars from the 22nd transition on: one gradient step each
    # unless it was left out.
    assert agent._n_updates + agent.updates_dropped == 30
    assert any(not np.array_equal(b, a) for b, a in zip(before, after, strict=True))
