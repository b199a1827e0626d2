"""Domain randomisation: nothing by default, everything in its range, from one stream."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from donkey_rl import errors
from donkey_rl.configuration import validate
from donkey_rl.envs.simulator import randomisation, track
from donkey_rl.envs.simulator.camera import CameraConfig, pose_of
from donkey_rl.envs.simulator.randomisation import Randomisation

ROAD = track.load("generated_track")


def drawn(seed: int = 0, **setting: Any) -> randomisation.Look:
    return randomisation.draw_look(Randomisation(**setting), ROAD, np.random.default_rng(seed))


def colours(palette: Any) -> Any:
    """Red, green and blue of a packed palette, shape (256, 3)."""
    return np.stack([palette & 255, palette >> 8 & 255, palette >> 16 & 255], axis=-1).astype(int)


def test_by_default_every_episode_looks_the_same() -> None:
    first, other = drawn(0), drawn(1)
    assert (first.ground == other.ground).all()
    assert (first.sky == other.sky).all()
    assert (first.noise, first.blur, first.sky_turn) == (0.0, 0.0, 0)
    assert (first.jpeg, first.shadows, first.shadow_key) == (0, 0.0, 0)
    assert not first.bonnet.any()
    assert first.light.tolist() == [1.0, 1.0, 1.0]
    # The plain bytes of the palette are the track's own colours: byte 0 is the road alone.
    assert colours(first.ground)[0].tolist() == list(ROAD.look.colours["road"])
    nominal, _ = randomisation.nominal_colours(ROAD)
    assert nominal[2].tolist() == list(ROAD.look.colours["edge_line"])


@pytest.mark.parametrize("key", ["colours", "light", "texture", "gamma", "contrast"])
def test_each_setting_changes_the_colours_and_repeats_with_its_seed(key: str) -> None:
    plain, one, again, other = (
        drawn(),
        drawn(5, **{key: 0.5}),
        drawn(5, **{key: 0.5}),
        drawn(6, **{key: 0.5}),
    )
    assert (one.ground != plain.ground).any()
    assert (one.ground == again.ground).all()
    assert (one.ground != other.ground).any()


def test_a_small_share_of_colour_stays_near_the_nominal_one() -> None:
    nominal = colours(drawn().ground)[:252]
    for seed in range(20):
        moved = colours(drawn(seed, colours=0.1).ground)[:252]
        # At most a tenth of the way to a colour within -60..315.
        assert np.abs(moved - nominal).max() <= 0.1 * 315 + 1


def test_light_is_one_factor_for_all_but_its_warmth() -> None:
    for seed in range(50):
        light = drawn(seed, light=0.4).light
        # Brightness 1 + 0.4 * (-1..0.7), warmth +-0.35 * 0.4 = 0.14 on red and blue.
        assert 0.6 - 1e-9 <= light[1] <= 1.28 + 1e-9
        assert light[0] / light[1] == pytest.approx(2.0 - light[2] / light[1])
        assert abs(light[0] / light[1] - 1.0) <= 0.14 + 1e-9


def test_texture_changes_the_contrast_and_keeps_the_mean_of_road_and_grain() -> None:
    nominal, _ = randomisation.nominal_colours(ROAD)
    for seed in range(10):
        moved = colours(drawn(seed, texture=0.8).ground).astype(float)
        # Byte 0 is the road, byte 8 its grain, byte 4 half of each.
        assert moved[4] == pytest.approx(nominal[[0, 1]].mean(axis=0), abs=1.5)


def test_noise_and_blur_fill_their_ranges() -> None:
    looks = [drawn(seed, noise=10.0, blur=0.6) for seed in range(300)]
    noise, blur = np.array([look.noise for look in looks]), np.array([k.blur for k in looks])
    assert noise.min() >= 0.0
    assert 9.5 < noise.max() <= 10.0
    assert blur.min() >= 0.0
    assert 0.57 < blur.max() <= 0.6


def test_a_blur_may_turn_into_sharpening() -> None:
    blur = np.array([drawn(seed, blur=1.5, sharpen=0.5).blur for seed in range(300)])
    assert -0.5 <= blur.min() < -0.47
    assert 1.45 < blur.max() <= 1.5
    assert drawn(3, sharpen=0.5).blur < 0.0


def test_jpeg_qualities_fill_their_range() -> None:
    quality = np.array([drawn(seed, jpeg=40).jpeg for seed in range(600)])
    assert set(quality) == set(range(40, 96))


def test_gamma_bends_the_colours_and_keeps_black_and_white() -> None:
    nominal, _ = randomisation.nominal_colours(ROAD)
    exponents = []
    for seed in range(60):
        road = colours(drawn(seed, gamma=0.5).ground)[0]
        # byte = 255 * (nominal / 255) ** exponent, within e^-0.5 to e^0.5.
        exponents.append(np.log(road / 255.0) / np.log(nominal[0] / 255.0))
    found = np.array(exponents)
    assert np.ptp(found, axis=1).max() < 0.05
    assert math.exp(-0.5) - 0.03 < found.min() < 0.68
    assert 1.55 < found.max() < math.exp(0.5) + 0.03


def test_contrast_moves_colours_from_and_to_the_middle() -> None:
    nominal, _ = randomisation.nominal_colours(ROAD)
    factors = []
    for seed in range(60):
        road = colours(drawn(seed, contrast=0.4).ground)[0].astype(float)
        factors.append((road - 127.5) / (nominal[0] - 127.5))
    # The channel that lies farthest from the middle tells the factor best.
    found = np.array(factors)[:, np.abs(nominal[0] - 127.5).argmax()]
    assert 0.55 < found.min() < 0.67
    assert 1.33 < found.max() < 1.45


def test_bonnets_come_as_often_as_asked_and_stay_small() -> None:
    bonnets = np.array([drawn(seed, bonnet=0.3).bonnet for seed in range(500)])
    there = bonnets[:, 0] > 0.0
    # 150 of 500, standard deviation 10.
    assert 115 < there.sum() < 185
    assert bonnets[there, 1].max() <= 0.15
    assert bonnets[there, 1].min() >= 0.03
    assert np.ptp(bonnets[there, 3]) > 200.0
    assert not bonnets[~there].any()


def test_settings_that_are_off_draw_nothing_from_the_stream() -> None:
    # What was drawn with a seed before a setting existed is still drawn.
    plain = np.random.default_rng(4)
    randomisation.draw_look(Randomisation(), ROAD, plain)
    assert plain.random() == np.random.default_rng(4).random()


def test_the_camera_stays_within_its_reach() -> None:
    config = CameraConfig()
    nominal = pose_of(config)
    setting = Randomisation(
        camera_offset=0.2, camera_pitch=3.0, fov=5.0, camera_yaw=4.0, camera_roll=2.0
    )
    rng = np.random.default_rng(0)
    poses = [randomisation.draw_pose(setting, config, rng) for _ in range(400)]
    gaps = np.array(poses) - np.array(nominal)
    reach = np.array([0.2, 0.2, 0.2, 3.0, 5.0, 4.0, 2.0])
    assert (np.abs(gaps) <= reach + 1e-9).all()
    assert (np.abs(gaps).max(axis=0) > 0.95 * reach).all()
    assert setting.moves_camera
    assert Randomisation(camera_roll=1.0).moves_camera
    assert Randomisation(camera_yaw=1.0).moves_camera
    assert not Randomisation(colours=0.3, mass=0.2).moves_camera


@pytest.mark.parametrize(
    ("key", "value"),
    [("colours", 1.5), ("light", -0.1), ("noise", 100.0), ("mass", 0.9), ("blur", math.nan),
     ("jpeg", 96), ("jpeg", 40.5), ("bonnet", 1.2), ("shadows", -1.0), ("shadows", 7.0),
     ("sharpen", 1.5), ("camera_roll", 11.0), ("camera_yaw", -1.0), ("gamma", 1.5),
     ("contrast", 1.0), ("start_yaw", 120.0), ("start_anywhere", "often"), ("colour", 0.5)],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=key):
        validate(Randomisation, {key: value})
