"""Small drivers with weights that nobody trained, and tubs of noise for them to look at."""

from __future__ import annotations

import io
import pathlib

import numpy as np
from PIL import Image

from donkey_rl.agents import cnn
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders import cnn as cnn_encoder
from donkey_rl.agents.encoders.config import CnnEncoderConfig, LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.ppo import networks as ppo_networks
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from tests import small_tubs

SHAPE = (60, 80, 3)
HISTORY = 2
SCALING = FeatureScaling(speed=4.0, yaw_rate=2.0)


def description(shape: tuple[int, int, int] = SHAPE) -> DriverDescription:
    return DriverDescription(
        agent="sac",
        vehicle="donkey_2022",
        tracks=("generated_track",),
        simulator="embedded 0.1.0",
        camera={"img_w": shape[1], "img_h": shape[0]},
        steering_limits=(-0.9, 0.9),
        throttle_limits=(-0.2, 0.6),
    )


def lane(
    seed: int = 0,
    shape: tuple[int, int, int] = SHAPE,
    critic: SACConfig | None = None,
    *,
    mirror: bool = False,
) -> Driver:
    """A driver of a lane encoder and SAC's policy, with critics where their settings are given."""
    config = LaneEncoderConfig(filters=(4, 8), dense=16, seed=seed, mirror=mirror)
    encoder = LaneEncoder(shape, ("left", "right", "heading"), config)
    actor = networks.actor(3 + 2 + 2 * HISTORY, 2, SACConfig(hidden=(16,)), seed=seed)
    random = np.random.default_rng(seed)
    actor.set_weights([random.normal(0, 0.3, each.shape) for each in actor.get_weights()])
    policy = networks.deterministic(actor)
    judge = None
    if critic is not None:
        features = policy.input_shape[1]
        critics = networks.critics(features, 2, critic, seed)
        critics.set_weights([random.normal(0, 0.3, each.shape) for each in critics.get_weights()])
        judge = networks.value(critics, features, 2, critic)
    return Driver(
        encoder, policy, description(shape), history=HISTORY, scaling=SCALING, critic=judge
    )


def seeing(seed: int = 0) -> Driver:
    """A driver that sees by itself, with PPO's policy; its images are rounded in between."""
    settings = CnnEncoderConfig(pool=2)
    reduced = cnn_encoder.reducer(SHAPE, settings).output_shape[1:]
    network = cnn.network(reduced, CnnConfig(units=6), seed)
    encoder = cnn_encoder.CnnEncoder.of_policy(network, SHAPE, settings)
    actor = ppo_networks.network(6 + 2 + 2 * HISTORY, 2, (16,), 1.0, seed)
    policy = ppo_networks.deterministic(actor)
    return Driver(encoder, policy, description(), history=HISTORY, scaling=SCALING)


def noise(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> dict[str, np.ndarray]:
    """Observations of as many cars."""
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (count, *shape), dtype=np.uint8),
        "speed": random.uniform(0, 6, (count, 1)).astype(np.float32),
        "imu": random.normal(size=(count, 6)).astype(np.float32),
        "last_actions": random.uniform(-1, 1, (count, 2 * HISTORY)).astype(np.float32),
    }


def tub(folder: pathlib.Path, records: int, *, gap: int | None = None) -> pathlib.Path:
    """A tub of noise, smooth enough for JPEG, without speed; a pause of a minute before `gap`."""
    random = np.random.default_rng(1)
    late = [60_000 if gap is not None and k >= gap else 0 for k in range(records)]
    small_tubs.write(
        folder,
        [
            small_tubs.record(k, _timestamp_ms=small_tubs.BEGAN_MS + 50 * k + late[k])
            for k in range(records)
        ],
        length=1000,
    )
    for k in range(records):
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        content = io.BytesIO()
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(content, "JPEG")
        (folder / "images" / f"{k}_cam_image_array_.jpg").write_bytes(content.getvalue())
    return folder
