import numpy as np
import pytest
from scipy import stats

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.cnn import CnnEncoder
from donkey_rl.agents.saliency import Saliency, differentiable
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import DriverError, InputError
from tests import small_drivers
from tests.test_driver import DESCRIPTION, make, observations

SHAPE = (24, 32, 3)
ROWS, COLUMNS = slice(8, 16), slice(4, 20)


def reader_of_a_patch(weight=1.0, rounded=False):
    """A driver that steers by tanh(weight * red), red of one patch, from 0 to 1."""
    image = keras.Input(SHAPE, dtype="uint8", name="image")
    x = keras.layers.Cropping2D(((8, 8), (4, 12)))(image)
    x = keras.layers.Rescaling(1.0)(x)
    if rounded:
        x = keras.ops.round(x)
    reduced = keras.Model(image, x, name="reducer")
    x = keras.layers.Rescaling(1.0 / 255.0)(reduced(image))
    encoder = CnnEncoder(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)))
    features = keras.Input((3 + 2 + 2,))
    actor = keras.Model(features, keras.layers.Dense(2, "tanh", use_bias=False)(features))
    kernel = np.zeros((7, 2), np.float32)
    kernel[0, 0] = weight
    kernel[1, 1] = 1.0  # green moves the throttle alone
    actor.set_weights([kernel])
    return Driver(encoder, actor, DESCRIPTION, history=1)


def seen(red, count=1):
    image = np.zeros((count, *SHAPE), np.uint8)
    image[..., 0] = red
    zero = np.zeros((count, 1), np.float32)
    return {
        "image": image,
        "speed": zero,
        "imu": np.zeros((count, 6), np.float32),
        "last_actions": np.zeros((count, 2), np.float32),
    }


@pytest.mark.parametrize("rounded", [False, True])
def test_the_map_is_on_the_patch_that_the_driver_reads(rounded):
    # Red 102 is 0.4, tanh'(0.4) = 1 - 0.379949^2 = 0.855639, and a pixel of the 8 x 16 is one of
    # 128 that are averaged: 0.855639 / 255 / 128 for each step of its value.
    found = Saliency(reader_of_a_patch(rounded=rounded), noise=0.0).maps(seen(102))
    assert found.shape == (1, 24, 32)
    inside = np.zeros(SHAPE[:2], bool)
    inside[ROWS, COLUMNS] = True
    np.testing.assert_allclose(found[0][inside], 0.855639 / 255 / 128, rtol=1e-4)
    assert not found[0][~inside].any()


def test_a_single_observation_has_a_single_map():
    saliency = Saliency(reader_of_a_patch(), samples=3)
    both = seen(102, count=2)
    both["image"][1] += np.arange(32, dtype=np.uint8)[None, :, None]
    maps = saliency.maps(both)
    single = saliency.maps({name: part[1] for name, part in both.items()})
    assert single.shape == (24, 32)
    np.testing.assert_allclose(single, maps[1], rtol=1e-5)


def test_a_driver_at_its_lock_has_an_empty_map():
    assert not Saliency(reader_of_a_patch(weight=100.0)).maps(seen(255)).any()


def test_what_is_differentiated_is_what_drives():
    driver, _ = make()
    batch = observations(3)
    features = differentiable(driver.encoder.model)(batch["image"].astype(np.float32))
    np.testing.assert_allclose(features, driver.encoder.encode(batch["image"]), atol=1e-4)


def test_the_map_changes_with_the_weights():
    """The randomisation test of Adebayo et al. 2018, section 3: a map of edges would stay."""
    (driver, _), (other, _) = make(0), make(1)
    batch = observations(1)
    rows, columns = np.mgrid[:48, :64]
    disc = (np.hypot(columns - 20, rows - 30) < 9) * 150 + 40
    batch["image"][0] = disc[..., None]
    here, again, random = (
        Saliency(each, samples=count).maps(batch)[0]
        for each, count in ((driver, 16), (driver, 24), (other, 16))
    )
    read = here > 0  # the upper part is cropped
    assert 0.5 < read.mean() < 0.8
    assert stats.spearmanr(here[read], again[read])[0] > 0.95
    assert stats.spearmanr(here[read], random[read])[0] < 0.5


def test_what_cannot_be_is_refused():
    driver = reader_of_a_patch()
    for settings in ({"samples": 0}, {"noise": -0.1}, {"noise": float("nan")}):
        with pytest.raises(InputError, match="at least one sample"):
            Saliency(driver, **settings)
    observation = seen(0)
    del observation["speed"]
    with pytest.raises(DriverError, match="'speed'"):
        Saliency(driver).maps(observation)


def test_a_reader_that_looks_twice_is_one_layer():
    driver = small_drivers.lane(mirror=True)
    images = small_drivers.noise(3)["image"]
    found = np.asarray(differentiable(driver.encoder.model)(images.astype(np.float32)))
    np.testing.assert_allclose(found, driver.encoder.encode(images), atol=0.05)
    maps = Saliency(driver, samples=2).maps(small_drivers.noise(2))
    assert maps.shape == (2, *small_drivers.SHAPE[:2])
    assert maps.any()
