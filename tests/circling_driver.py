"""A driver that does the same whatever it sees, and the round track that it laps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig

SHAPE = (48, 64, 3)
RADIUS = 16.7
STEERING, THROTTLE = 0.4, 0.12
"""With these the car of 2022 drives circles of that radius (u), 10.8 s each."""


def save(folder: Path, steering: float = STEERING, throttle: float = THROTTLE) -> str:
    """Writes its folder, and returns the path."""
    encoder = LaneEncoder(SHAPE, ("left",), LaneEncoderConfig(filters=(4,), dense=4, seed=0))
    actor = networks.actor(1 + 2 + 2, 2, SACConfig(hidden=(4,)), seed=0)
    weights = [np.zeros_like(each) for each in actor.get_weights()]
    action = np.arctanh([steering, throttle])
    # The only layers with two outputs: the mean, and the deviation, which nobody looks at.
    weights = [action.astype(np.float32) if each.shape == (2,) else each for each in weights]
    actor.set_weights(weights)
    about = DriverDescription(
        agent="sac",
        vehicle="donkey_2022",
        tracks=("generated_track",),
        simulator="embedded",
        camera={"img_w": SHAPE[1], "img_h": SHAPE[0]},
    )
    Driver(encoder, networks.deterministic(actor), about, history=1).save(folder)
    return str(folder)


def track(folder: Path) -> str:
    """Writes the file of the track, and returns the path."""
    angles = 2.0 * np.pi * np.arange(36) / 36
    waypoints = [[-RADIUS * math.cos(each), RADIUS * math.sin(each)] for each in angles]
    file = folder / "ring.json"
    road = {"left": -6.0, "right": 6.0}
    file.write_text(json.dumps({"waypoints": waypoints, "road": road, "min_lap_s": 4.0}))
    return str(file)
