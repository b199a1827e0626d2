"""The camera's geometry and settings, by formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from donkey_rl import errors
from donkey_rl.configuration import validate
from donkey_rl.envs.simulator import camera
from donkey_rl.envs.simulator.camera import CameraConfig


def views(**settings: Any) -> camera.Views:
    config = CameraConfig(**settings)
    made = camera.empty_views(1, config)
    camera.point(made, 0, camera.pose_of(config))
    return made


def test_the_defaults_are_the_simulators() -> None:
    config = CameraConfig()
    assert config.shape == (120, 160, 3)
    assert (config.fov, config.rot_x) == (90.0, 15.0)
    place = (config.offset_x, config.offset_y, config.offset_z)
    assert place == (0.0, 1.1203952, 0.5528488)


@pytest.mark.parametrize(
    ("fov", "pitch", "height", "horizon"),
    [
        # Focal length 60 px for 90 degrees over 120 rows. The horizon is tan(15) * 60 = 16.08 px
        # above the middle, at 43.92: row 44, whose centre is at 44.5, is the first below it.
        (90.0, 15.0, 120, 44),
        (90.0, 0.0, 120, 60),
        # Looking up by 10 degrees: tan(10) * 60 = 10.58 below the middle, 70.58: row 71
        # (its centre is at 71.5; that of row 70 at 70.5 is above).
        (90.0, -10.0, 120, 71),
        # Focal 30 / tan(30) = 51.96 for 60 degrees over 60 rows: 30 - 51.96 tan(15) = 16.08:
        # row 16, whose centre 16.5 is below it.
        (60.0, 15.0, 60, 16),
        # Everything is ground: 60 tan(60) = 103.9 px above the middle.
        (90.0, 60.0, 120, 0),
    ],
)
def test_the_row_of_the_horizon(fov: float, pitch: float, height: int, horizon: int) -> None:
    made = views(fov=fov, rot_x=pitch, img_h=height)
    assert made.horizon[0] == horizon
    assert made.pose[0, 5] == pytest.approx(height / 2.0 / math.tan(math.radians(fov) / 2.0))


def test_each_row_sees_the_ground_at_one_distance() -> None:
    made = views()
    # The camera is 1.1204 + 0.525 = 1.6454 u above the ground. The centre of the last row lies
    # 59.5 px below the middle: atan(59.5 / 60) = 44.76 degrees below an axis of -15 degrees.
    below = math.radians(15.0) + math.atan(59.5 / 60.0)
    assert made.ahead[0, 119] == pytest.approx(1.6454 / math.tan(below), rel=1e-4)
    below = math.radians(15.0) + math.atan(0.5 / 60.0)
    assert made.ahead[0, 60] == pytest.approx(1.6454 / math.tan(below), rel=1e-4)
    assert (np.diff(made.ahead[0, 44:]) < 0.0).all()
    # A pixel is as wide as the depth along the axis says, over the focal length.
    depth = math.hypot(1.6454, made.ahead[0, 119]) * math.cos(math.atan(59.5 / 60.0))
    assert made.across[0, 119] == pytest.approx(depth / 60.0, rel=1e-4)


def test_the_sky_is_looked_up_by_direction() -> None:
    made = views()
    row, column = np.divmod(made.sky[0].astype(np.int64), camera.PANORAMA_WIDTH)
    # The top row's middle looks atan(59.5 / 60) - 15 = 29.76 degrees up: of 160 rows to 80
    # degrees, row 59.
    assert row[0, 80] == 59
    assert (np.diff(row[:44, 80]) <= 0).all()
    # Row 43 has y = 16.5 / 60, and forward is cos 15 + y sin 15 = 1.0371. Pixel 80 is half a pixel
    # to the right: atan2(0.5 / 60, 1.0371) = 0.46 degrees, of 1024 columns a turn 1.3. Pixel 79
    # mirrors it at -1.3, a turn less.
    assert column[43, 80] == 1
    assert column[43, 79] == camera.PANORAMA_WIDTH - 2
    # The last pixel: atan2(79.5 / 60, 1.0371) = 51.95 degrees, 147.8 columns.
    assert column[43, 159] == 147


@pytest.mark.parametrize(("width", "height"), [(16, 16), (512, 512), (16, 512), (37, 101)])
def test_sizes_from_16_to_512_are_taken(width: int, height: int) -> None:
    config = CameraConfig(img_w=width, img_h=height)
    assert config.shape == (height, width, 3)
    assert views(img_w=width, img_h=height).sky.shape == (1, height, width)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("img_w", 15), ("img_w", 513), ("img_h", 0), ("img_h", -120), ("img_h", 1000),
        ("img_d", 2), ("fov", 9.0), ("fov", 201.0), ("fov", math.nan), ("rot_x", 120.0),
        ("fish_eye_x", 1.5), ("fish_eye_y", -0.1), ("img_w", 99.5), ("offset_y", "high"),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=key):
        validate(CameraConfig, {key: value})


def test_fish_eye_by_hand() -> None:
    # 160 by 120 and both strengths 1: k = 80 / 512 = 0.15625, a = 4 / 3.
    source = camera.fish_eye_source(CameraConfig(fish_eye_x=1.0, fish_eye_y=0.5))
    assert source is not None
    # Pixel (row 30, column 120): u = 120.5 / 160, c_x = 0.50625; v = 30.5 / 120, c_y = -0.49167.
    # u' = 0.753125 - (1 - 0.24174) * 0.5 * 0.15625 * 0.50625 = 0.723135: column 115.7.
    # v' = 0.254167 + (1 - 0.25629) * 1.0 * 4/3 * 0.15625 * 0.49167 = 0.330343: row 39.6.
    assert source[30 * 160 + 120] == 39 * 160 + 115
    # The middle of the image stays, and no source lies outside.
    assert source[60 * 160 + 80] == 60 * 160 + 80
    assert source.min() >= 0
    assert source.max() < 160 * 120
    assert camera.fish_eye_source(CameraConfig()) is None
