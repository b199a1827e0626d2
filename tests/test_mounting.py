"""Cameras mounted on cars beside the world's own."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.mounting import Mount
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.world import World
from donkey_rl.errors import ConfigurationError

Frames = npt.NDArray[np.uint8]
SMALL = CameraConfig(img_w=48, img_h=32)
OTHERS = (
    CameraConfig(img_w=64, img_h=48, fov=120.0),
    CameraConfig(img_w=48, img_h=32, rot_y=180.0, rot_z=10.0),
    CameraConfig(img_w=40, img_h=40, img_d=1, fish_eye_x=0.4, fish_eye_y=0.4),
)
ASKEW = Randomisation(
    camera_offset=0.2, camera_pitch=3.0, fov=5.0, camera_roll=3.0, camera_yaw=3.0, noise=8.0,
    bonnet=0.5,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("coarse_ground")


@functools.cache
def road() -> track.Track:
    return dataclasses.replace(track.load("generated_track"))


def world(camera: CameraConfig = SMALL, **arguments: Any) -> World:
    """Three cars of one group that have driven a bit, each leaning its own way."""
    made = World(
        road(), vehicles.load("donkey_2021"), camera, 3, groups=[0, 0, 0], seed=5, **arguments
    )
    for k in range(20):
        made.step([[0.04 * k, 0.5], [-0.6, 0.6], [0.1, 0.7]])
    return made


def drawn(made: World) -> Frames:
    out = np.zeros((3, *made.camera.shape), dtype=np.uint8)
    made.render(out)
    return out


def photographed(made: World, camera: CameraConfig, chosen: npt.ArrayLike = (0, 1, 2)) -> Frames:
    mount = Mount(camera, made.vehicle, made.randomise, len(made))
    cars = np.asarray(chosen, dtype=np.int64)
    out = np.zeros((len(cars), *camera.shape), dtype=np.uint8)
    made.photograph(mount, out, cars)
    return out


@pytest.mark.parametrize("randomise", [None, ASKEW], ids=["plain", "randomised"])
@pytest.mark.parametrize("camera", OTHERS, ids=["wide", "backwards", "fish-eye"])
def test_a_photograph_is_what_a_world_with_that_camera_renders(
    camera: CameraConfig, randomise: Randomisation | None
) -> None:
    expected = drawn(world(camera, randomise=randomise))
    assert expected.std() > 10.0
    assert (expected[0] != expected[1]).any()
    made = world(randomise=randomise)
    assert (photographed(made, camera) == expected).all()
    # Only some of them, in another order.
    assert (photographed(made, camera, [2, 0]) == expected[[2, 0]]).all()
    # The world's own camera is as it was.
    assert (photographed(made, SMALL) == drawn(made)).all()


def test_a_randomised_mount_follows_the_next_episode() -> None:
    made = world(randomise=ASKEW)
    mount = Mount(SMALL, made.vehicle, made.randomise, 3)
    out, before = np.zeros((3, *SMALL.shape), dtype=np.uint8), drawn(made)
    made.photograph(mount, out, np.arange(3))
    assert (out == before).all()
    made.reset(np.arange(3))
    made.photograph(mount, out, np.arange(3))
    assert (out == drawn(made)).all()
    assert (out != before).any()


def test_a_mount_or_image_that_does_not_fit_is_refused() -> None:
    made = world()
    mount = Mount(OTHERS[0], made.vehicle, None, 3)
    for out in (np.zeros((3, 32, 48, 3), np.uint8), np.zeros((3, 48, 64, 3), np.float32)):
        with pytest.raises(ConfigurationError, match=r"\(3, 48, 64, 3\)"):
            made.photograph(mount, out, np.arange(3))  # type: ignore[arg-type]
    other = Mount(SMALL, made.vehicle, None, 4)
    with pytest.raises(ConfigurationError, match="Received: one for 4"):
        made.photograph(other, np.zeros((3, *SMALL.shape), np.uint8), np.arange(3))
