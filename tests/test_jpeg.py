"""JPEG's loss against the library that writes real ones."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Picture

from donkey_rl.envs.simulator import jpeg

Image = npt.NDArray[np.uint8]


def scene(height: int, width: int, noise: float) -> Image:
    """Sky, road and a yellow line, with or without grain."""
    rng = np.random.default_rng(7)
    image = np.zeros((height, width, 3))
    image[: height // 3] = (110.0, 140.0, 190.0)
    image[height // 3 :] = (140.0, 145.0, 150.0)
    row, column = np.mgrid[:height, :width]
    line = (np.abs(column - width // 2 + row // 3) < 4) & (row >= height // 3)
    image[line] = (240.0, 215.0, 140.0)
    image += 20.0 * np.sin(column / 9.0)[..., None] + rng.normal(0.0, noise, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def through_library(image: Image, quality: int) -> npt.NDArray[np.int64]:
    stored = io.BytesIO()
    Picture.fromarray(image).save(stored, "JPEG", quality=quality)
    return np.asarray(Picture.open(stored), dtype=np.int64)


def through_kernel(image: Image, quality: int) -> npt.NDArray[np.int64]:
    done = image.copy()
    jpeg.degrade(done, jpeg.ALL_FACTORS[quality], jpeg.room(image.shape[0]))
    return done.astype(np.int64)


@pytest.mark.parametrize("quality", [5, 20, 50, 75, 90, 95])
@pytest.mark.parametrize("noise", [0.0, 10.0])
def test_an_image_loses_what_the_library_takes_from_it(quality: int, noise: float) -> None:
    image = scene(120, 160, noise)
    expected, found = through_library(image, quality), through_kernel(image, quality)
    loss = np.abs(expected - image).mean()
    assert loss > 0.5
    # Only roundings on the edge between two steps differ.
    assert np.abs(found - expected).mean() < 0.25 * loss
    assert np.abs(found - expected).mean() < 1.1
    assert np.abs(found - image).mean() == pytest.approx(loss, rel=0.05)
    # What changed, changed the same way.
    ours, theirs = (found - image).ravel(), (expected - image).ravel()
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (101, 77), (32, 48), (512, 512)])
def test_every_size_is_taken(size: tuple[int, int]) -> None:
    image = scene(*size, noise=3.0)
    expected, found = through_library(image, 60), through_kernel(image, 60)
    assert np.abs(found - expected).mean() < 0.25 * np.abs(expected - image).mean()
    # To the last row and column.
    assert np.abs(found - expected)[-8:].mean() < 1.5
    assert np.abs(found - expected)[:, -8:].mean() < 1.5


def test_an_even_area_stays_and_a_worse_quality_takes_more() -> None:
    even = np.full((48, 64, 3), (128, 128, 128), dtype=np.uint8)
    assert (through_kernel(even, 50) == 128).all()
    image = scene(120, 160, 5.0)
    losses = [np.abs(through_kernel(image, q) - image).mean() for q in (95, 70, 40, 15)]
    assert (np.diff(losses) > 0.3).all()


def test_the_result_depends_on_the_image_alone() -> None:
    # The room may hold anything from an earlier image.
    planes = jpeg.room(48)
    for plane in planes:
        plane[:] = 201
    image = scene(48, 50, 4.0)
    again = image.copy()
    jpeg.degrade(again, jpeg.ALL_FACTORS[30], planes)
    assert (again == through_kernel(image, 30)).all()


def test_quantisation_steps_are_the_standards_at_quality_50_and_ones_at_100() -> None:
    luminance, chroma = jpeg.steps(50)
    assert luminance[0].tolist() == [16, 11, 10, 16, 24, 40, 51, 61]
    assert chroma[3].tolist() == [47, 66, 99, 99, 99, 99, 99, 99]
    assert (jpeg.steps(100) == 1).all()
    # Quality 10: 5000 / 10 = 500 %: 16 becomes 80, and 61 is cut off at 255.
    assert jpeg.steps(10)[0, 0].tolist() == [80, 55, 50, 80, 120, 200, 255, 255]
