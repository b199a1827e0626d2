from __future__ import annotations

import numpy as np

from donkey_rl.experiments import saliency_pictures


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
