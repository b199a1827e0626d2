from __future__ import annotations

import pathlib

import numpy as np
import pytest
from matplotlib.figure import Figure

from donkey_rl.agents.saliency import Saliency
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import InputError
from donkey_rl.experiments import figures, saliency_pictures
from tests.test_driver import make


@pytest.fixture(scope="module")
def seen() -> saliency_pictures.Seen:
    """A driver that was never trained, until its race is given up."""
    driver, _ = make()
    camera = CameraConfig(img_w=64, img_h=48)
    config = EnvironmentConfig(track="warehouse", vehicle="donkey_2022", camera=camera)
    return saliency_pictures.drive(driver, config, seed=5)


def test_the_race_and_what_was_seen_belong_together(seen: saliency_pictures.Seen) -> None:
    # The record ends with the row that the last action led to.
    assert len(seen.race) == len(seen.observations) + 1
    assert seen.race.header.seed == 5
    for row in (0, 20):
        action = seen.driver.act(seen.observations[row])
        # A command stands in the row that it led to; no limit of steering is set.
        assert seen.race["steering"][row + 1] == pytest.approx(action[0], abs=1e-6)
    assert seen.race["speed"][20] > 0


def test_the_sheet_shows_frames_above_their_maps(
    seen: saliency_pictures.Seen, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))
    short = seen._replace(observations=seen.observations[:21])
    saliency_pictures.sheet(short, tmp_path / "saliency.png", "title", count=2)
    panels = [axes for axes in drawn[0].axes if axes.get_images()]
    assert [axes.get_ylabel() for axes in panels] == ["seen", "", "moves the steering", ""]
    # Two of 21 steps, evenly chosen: the 11th and the last.
    for column, row in ((0, 10), (1, 20)):
        image = seen.observations[row]["image"]
        above, below = (panels[k].get_images()[0].get_array() for k in (column, column + 2))
        np.testing.assert_array_equal(above, image)
        found = Saliency(seen.driver).maps(seen.observations[row])
        np.testing.assert_array_equal(below, saliency_pictures.blend(image, found))
    with pytest.raises(InputError, match="without a step"):
        saliency_pictures.sheet(seen._replace(observations=[]), tmp_path / "x.png", "title")


def test_a_video_has_the_maps_blended_in(
    seen: saliency_pictures.Seen, tmp_path: pathlib.Path
) -> None:
    short = seen._replace(observations=seen.observations[:4])
    path = saliency_pictures.write_video(tmp_path / "saliency.mp4", short, (128, 96))
    assert b"ftyp" in path.read_bytes()[:12]


def test_a_map_is_shown_relative_to_its_strong_pixels() -> None:
    found = np.zeros((60, 80), np.float32)
    found[20:40, 20:60] = 3e-5  # wide enough that smoothing leaves its middle
    shares = saliency_pictures.relative(found)
    np.testing.assert_allclose(shares[25:35, 25:55], 1.0)
    assert not shares[:10].any()
    assert not saliency_pictures.relative(np.zeros((60, 80), np.float32)).any()
    # A single pixel is below the 99th percentile, and still the strongest.
    point = np.zeros((60, 80), np.float32)
    point[30, 40] = 1.0
    assert saliency_pictures.relative(point).max() == 1.0


def test_a_blend_is_grey_where_nothing_counts() -> None:
    image = np.full((60, 80, 3), (30, 60, 90), np.uint8)
    found = np.zeros((60, 80), np.float32)
    found[20:40, 20:60] = 1.0
    mixed = saliency_pictures.blend(image, found)
    assert mixed.dtype == np.uint8
    np.testing.assert_array_equal(mixed[5, 5], [45, 45, 45])  # three quarters of the mean, 60
    np.testing.assert_array_equal(mixed[30, 40], [252, 255, 164])  # the end of inferno
    gray = saliency_pictures.blend(image[..., :1], np.zeros((60, 80), np.float32))
    np.testing.assert_array_equal(gray[5, 5], [22, 22, 22])  # of 30: 22.5, to the even number
