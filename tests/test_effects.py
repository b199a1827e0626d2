"""Bonnet, sharpening and shadows: where they lie and what they do to an image."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.simulator import effects, leaning, patches, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.world import World

FloatArray = npt.NDArray[np.float64]


def with_bonnet(bonnet: list[float]) -> npt.NDArray[np.int64]:
    image = np.full((120, 160, 3), 90, dtype=np.uint8)
    effects.draw_bonnet(image, np.array(bonnet))
    return image.astype(np.int64)


def test_a_bonnet_is_the_upper_half_of_an_ellipse_on_the_lower_edge() -> None:
    # 0.25 of 160 to each side of the middle, 0.1 of 120 high.
    image = with_bonnet([0.25, 0.1, 0.0, 200.0, 0.0, 0.0, 0.0, 0.0])
    red = image[..., 0] > image[..., 1] + 15
    rows, columns = np.nonzero(red)
    assert rows.min() == pytest.approx(108, abs=1)
    assert rows.max() == 119
    assert columns.min() == pytest.approx(40, abs=2)
    assert columns.max() == pytest.approx(119, abs=2)
    # Half an ellipse: pi / 2 * 40 * 12 = 754 pixels.
    assert red.sum() == pytest.approx(754, rel=0.08)
    assert (image[~red & (np.arange(120) < 107)[:, None]] == 90).all()
    assert (with_bonnet([0.0] * 8) == 90).all()


def test_a_bonnet_is_brighter_towards_the_light() -> None:
    image = with_bonnet([0.4, 0.15, 0.0, 150.0, 150.0, 150.0, 1.0, 0.0])
    assert image[116, 120:140].mean() > image[116, 20:40].mean() + 10
    moved = with_bonnet([0.2, 0.1, 0.25, 0.0, 0.0, 200.0, 0.0, 0.0])
    blue = np.nonzero(moved[..., 2] > moved[..., 1] + 15)[1]
    assert blue.mean() == pytest.approx(119.5, abs=1.5)


def test_negative_blur_sharpens_and_strong_blur_blurs_twice() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(60, 190, (40, 50, 3)).astype(np.uint8)

    def roughness(weight: float) -> float:
        done = image.copy()
        effects.blur(done, weight)
        return float(np.abs(np.diff(done.astype(float), axis=1)).mean())

    assert roughness(-0.5) > 1.3 * roughness(0.0)
    assert roughness(1.6) < roughness(0.8) < roughness(0.0)
    twice = image.copy()
    effects.blur(twice, 0.8)
    effects.blur(twice, 0.8)
    once = image.copy()
    effects.blur(once, 1.6)
    assert (once == twice).all()
    # Weight -1: twice the pixel less the mean of its neighbours, and never beyond 0 to 255.
    sharp = image.copy()
    effects.blur(sharp, -1.0)
    near = image.astype(float)
    around = (near[9, 20] + near[11, 20] + near[10, 19] + near[10, 21]) / 4.0
    assert sharp[10, 20] == pytest.approx((2.0 * near[10, 20] - around).clip(0, 255), abs=1.0)


@pytest.fixture(scope="module")
def road() -> track.Track:
    return dataclasses.replace(track.load("generated_track"))


pytestmark = pytest.mark.usefixtures("coarse_ground")


def world(road: track.Track, **settings: Any) -> World:
    car = vehicles.load("donkey_2022")
    return World(road, car, CameraConfig(), 1, randomise=Randomisation(**settings), seed=3)


def seen(made: World, x: float, z: float, yaw: float) -> npt.NDArray[np.int64]:
    made.place(np.array([0]), [[x, z, yaw, 0.0, 0.0, 0.0]])
    image = np.zeros((1, *made.camera.shape), dtype=np.uint8)
    made.render(image)
    result: npt.NDArray[np.int64] = image[0].astype(np.int64)
    return result


def lying(x: float, z: float, yaw: float, key: int = 5, share: float = 0.5) -> FloatArray:
    """The corners of the patches ahead, on the ground, shape (k, 4, 2), in order of place."""
    found = np.zeros((patches.MOST, patches.WIDTH))
    count = patches.find(found, (x, z, math.sin(yaw), math.cos(yaw)), key, share)
    right, ahead = found[:count, 0:8:2], found[:count, 1:8:2]
    corners = np.stack(
        [x + right * math.cos(yaw) + ahead * math.sin(yaw),
         z - right * math.sin(yaw) + ahead * math.cos(yaw)], axis=-1,
    )  # fmt: skip
    return corners[np.lexsort(corners.mean(axis=1).T)]


def test_patches_lie_still_while_a_car_drives_and_turns() -> None:
    first = lying(3.0, -40.0, 0.3)
    assert len(first) >= 3
    for moved in (lying(3.5, -38.5, 0.35), lying(2.0, -41.0, -0.4)):
        gaps = np.abs(first[:, None] - moved[None]).max(axis=(2, 3))
        # Most are still in sight, at exactly their place.
        assert (gaps.min(axis=1) < 1e-9).sum() >= 2
    assert not np.isclose(lying(3.0, -40.0, 0.3, key=6)[0], first[0]).any()
    assert (lying(3.0, -40.0, 0.3) == first).all()


def test_patches_are_convex_of_their_size_and_as_many_as_asked() -> None:
    counts, sizes = [], []
    share = 3.0 / patches.CELLS_AHEAD
    for k in range(300):
        corners = lying(37.0 * k, -91.0 * k, 0.7 * k, share=share)
        heading = np.array([math.sin(0.7 * k), math.cos(0.7 * k)])
        place = corners.mean(axis=1) - (37.0 * k, -91.0 * k)
        ahead = (place @ heading > 0.0) & (np.hypot(*place.T) < patches.SIGHT)
        counts.append(ahead.sum())
        for one in corners:
            edges = np.roll(one, -1, axis=0) - one
            then = np.roll(edges, -1, axis=0)
            turns = np.sign(edges[:, 0] * then[:, 1] - edges[:, 1] * then[:, 0])
            assert (turns == turns[0]).all()
            sizes.append(np.hypot(*(one[:, None] - one[None]).reshape(-1, 2).T).max())
    assert np.mean(counts) == pytest.approx(3.0, abs=0.4)
    assert max(sizes) <= 8.0 + 1e-9
    assert max(sizes) > 7.0


@pytest.mark.parametrize("roll", [0.0, 5.0])
def test_a_patch_darkens_the_ground_it_lies_on(
    road: track.Track, monkeypatch: pytest.MonkeyPatch, roll: float
) -> None:
    x, z, yaw = (float(value) for value in road.path.at(175.0))
    made = World(road, vehicles.load("donkey_2021"), CameraConfig(), 1)
    lean = [[math.radians(roll), 0.0, 0.0, 0.0]]
    images = []
    for share in (0.0, 0.6):
        made._looks.shadows[0], made._looks.shadow_key[0] = share, 5
        made.place(np.array([0]), [[x, z, yaw, 0.0, 0.0, 0.0]], lean)
        image = np.zeros((1, 120, 160, 3), dtype=np.uint8)
        made.render(image)
        images.append(image[0].astype(float))
    plain, dark = images
    changed = (plain != dark).any(axis=2)
    assert 50 < changed.sum() < 0.6 * changed.size
    # 20 to 60 % darker, less where a patch covers a far row in part; overlaps are darker.
    ratio = dark[changed].sum(axis=1) / plain[changed].sum(axis=1)
    assert np.quantile(ratio, 0.02) > 0.15
    assert np.median(ratio) < 0.81
    # Where the projection says: the middles of the patches before the camera.
    eye, _, height, turn = leaning.look(
        made.cars.motion[0], made.cars.lean[0], made._mount.views.pose[0]
    )
    found = np.zeros((patches.MOST, patches.WIDTH))
    count = patches.find(found, eye, 5, 0.6)
    pitch, hits, tried = math.radians(15.0) + turn[0], 0, 0
    for patch in found[:count]:
        right, ahead = patch[0:8:2].mean(), patch[1:8:2].mean()
        depth = ahead * math.cos(pitch) + height * math.sin(pitch)
        up = (ahead * math.sin(pitch) - height * math.cos(pitch)) / depth
        side, up = (
            right / depth * math.cos(turn[1]) + up * math.sin(turn[1]),
            up * math.cos(turn[1]) - right / depth * math.sin(turn[1]),
        )
        column, row = 80.0 + 60.0 * side, 60.0 - 60.0 * up
        if 3.0 < ahead < 18.0 and 2 < column < 157 and row < 117:
            tried += 1
            near = changed[int(row) - 1 : int(row) + 2, int(column) - 2 : int(column) + 3]
            hits += bool(near.any())
    assert tried >= 1
    assert hits == tried


def test_episodes_with_shadows_and_bonnets_repeat_with_their_seed(road: track.Track) -> None:
    x, z, yaw = (float(value) for value in road.path.at(30.0))
    first, again = (
        seen(world(road, shadows=6.0, bonnet=1.0, jpeg=40), x, z, yaw) for _ in range(2)
    )
    assert (first == again).all()
    plain = seen(world(road), x, z, yaw)
    assert (first != plain).any(axis=2).mean() > 0.3
