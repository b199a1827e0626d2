"""A road, a car, a camera and colours of known measures, and poses written by hand."""

from __future__ import annotations

import dataclasses

import numpy as np

from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.experiments.fidelity.poses import Poses

TRACK = "generated_track"
CAMERA = CameraConfig(rot_x=12.0, fov=80.0, offset_y=1.27)
YELLOW, WHITE, ROAD = (226.0, 180.0, 78.0), (240.0, 244.0, 244.0), (140.0, 145.0, 152.0)
CAR = vehicles.load("donkey_2021")


def pose(**values: float) -> Poses:
    fields = {field.name: np.array([0.0]) for field in dataclasses.fields(Poses)}
    given = {name: np.array([value]) for name, value in values.items()}
    return dataclasses.replace(Poses(**{**fields, "record": np.array([0])}), **given)
