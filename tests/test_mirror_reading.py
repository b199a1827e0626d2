"""`encoder.mirror` and `encoder.shifted`: encoders that look at images in several ways."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from donkey_rl.agents.deployment import plain_layers
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder, Mirror
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.envs import labels
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.world import Start, World
from donkey_rl.errors import InputError

SHAPE = (24, 32, 3)
NAMES = ("left_edge", "right_edge", "heading_error", "right_9", "ahead_9", "car_side")
SETTINGS = LaneEncoderConfig(
    filters=(4, 8), dense=8, epochs=3, batch_size=16, crop=0, pool=1, mirror=True
)
FARTHER = (40.0,)


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


SHIFTED = SETTINGS.model_copy(update={"shifted": True})


def trained(settings: LaneEncoderConfig = SETTINGS) -> tuple[LaneEncoder, Mirror]:
    encoder, mirror = LaneEncoder(SHAPE, NAMES, settings), Mirror(*labels.mirrored(NAMES))
    spread = np.array([2.0, 3.0, 0.3, 4.0, 1.0, 0.5])
    truth = np.random.default_rng(1).normal([5, 4, 0.1, -1, 8, 0], spread, (96, 6))
    encoder.fit(images(96), truth.astype(np.float32), mirror=mirror)
    return encoder, mirror


def test_labels_of_a_mirrored_track_are_those_of_the_track() -> None:
    camera, car = CameraConfig(img_w=32, img_h=24), vehicles.load("donkey_2022")
    found = []
    for name, side in (("generated_track", 1.0), ("generated_track:mirror", -1.0)):
        road = track.load(name)
        world = World(road, car, camera, 3)
        place = Start(
            arc=np.array([4.0, 40.0, 90.0]), lateral=side * np.array([1.0, -3.0, 0.5]),
            turn=side * np.array([0.2, -0.1, 0.3]), speed=np.zeros(3),
        )  # fmt: skip
        world.reset(np.arange(3), place)
        found.append(labels.lane(road, world.cars.sensed, world.cars.motion, FARTHER))
    order, signs = labels.mirrored(labels.names(FARTHER))
    assert np.abs(found[1] - found[0]).max() > 1.0
    np.testing.assert_allclose(found[1][:, order] * signs, found[0], atol=0.02)


def test_where_another_car_is_turns_and_how_near_does_not() -> None:
    known = labels.names(cars=True)
    order, signs = labels.mirrored(known)
    assert [known[i] for i in order[-3:]] == ["car_near", "car_right", "car_side"]
    assert signs[-3:].tolist() == [1.0, -1.0, -1.0]


def test_the_mirror_image_is_read_as_the_mirror_of_the_image() -> None:
    encoder, (order, signs) = trained()
    plain = encoder.predict_labels(images())
    turned = encoder.predict_labels(np.ascontiguousarray(images()[:, :, ::-1]))
    assert np.abs(turned - plain).max() > 0.1
    np.testing.assert_allclose(turned[:, order] * signs, plain, atol=2e-3)
    alone = LaneEncoder(SHAPE, NAMES, SETTINGS.model_copy(update={"mirror": False}))
    alone.reader.set_weights(encoder.reader.get_weights())
    reduced = encoder.preprocess(images())
    read = [np.asarray(alone.reader(each)) for each in (reduced, reduced[:, :, ::-1])]
    # Of ahead_9, which the mirror image shares with the image.
    np.testing.assert_allclose(
        encoder.encode(images())[:, 4], 0.5 * (read[0] + read[1])[:, 4], atol=1e-4
    )


def moved(rows: np.ndarray, right: int, down: int) -> np.ndarray:
    """Images moved by pixels; their edges are repeated."""
    padded = np.pad(rows, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    height, width = rows.shape[1:3]
    return padded[:, 2 - down : 2 - down + height, 2 - right : 2 - right + width]


def test_an_image_is_read_moved_to_either_side_as_well() -> None:
    settings = SHIFTED.model_copy(update={"mirror": False})
    encoder = LaneEncoder(SHAPE, NAMES, settings)
    rows = images()
    places = [(0, 0), (2, 1), (-2, -1)]
    read = [np.asarray(encoder.reader(moved(rows, *each).astype(np.float32))) for each in places]
    assert np.abs(read[1] - read[0]).max() > 0.01
    np.testing.assert_allclose(encoder.encode(rows), np.mean(read, axis=0), atol=1e-4)


def test_the_mirror_image_of_moved_images_is_read_as_the_mirror_of_the_image() -> None:
    encoder, (order, signs) = trained(SHIFTED)
    plain = encoder.predict_labels(images())
    turned = encoder.predict_labels(np.ascontiguousarray(images()[:, :, ::-1]))
    np.testing.assert_allclose(turned[:, order] * signs, plain, atol=2e-3)
    alone = LaneEncoder(SHAPE, NAMES, SETTINGS)
    alone.model.set_weights(trained(SETTINGS)[0].model.get_weights())
    assert np.abs(alone.encode(images()) - encoder.encode(images())).max() > 0.01


@pytest.mark.parametrize("settings", [SETTINGS, SHIFTED])
def test_it_is_stored_and_exported_as_it_is(
    tmp_path: pathlib.Path, settings: LaneEncoderConfig
) -> None:
    encoder, _ = trained(settings)
    encoder.save(tmp_path)
    loaded = LaneEncoder.load(tmp_path)
    assert loaded.config == settings
    np.testing.assert_allclose(loaded.encode(images()), encoder.encode(images()), atol=1e-5)
    source = keras.Input(SHAPE)
    plain = keras.Model(source, plain_layers.translated(loaded.model, [source]))
    names = [layer.name for layer in plain.layers]
    assert len(set(names)) == len(names)
    found = plain(images().astype(np.float32)).numpy()
    np.testing.assert_allclose(found, encoder.encode(images()), atol=1e-3)
    plain_layers.save(plain, tmp_path / "plain.keras")
    read = keras.models.load_model(tmp_path / "plain.keras")
    np.testing.assert_allclose(read(images().astype(np.float32)), found, atol=1e-4)


@pytest.mark.parametrize("settings", [SETTINGS, SHIFTED])
def test_the_report_is_of_all_readings(settings: LaneEncoderConfig) -> None:
    mirror = Mirror(*labels.mirrored(NAMES))
    rows = images(64)
    truth = np.random.default_rng(2).normal(size=(64, 6)).astype(np.float32)
    again = LaneEncoder(SHAPE, NAMES, settings)
    report = again.fit(rows, truth, mirror=mirror)
    kept = SETTINGS.kept_back(64)
    errors = again.predict_labels(rows[-kept:]) - truth[-kept:]
    expected = np.sqrt((errors.astype(float) ** 2).mean(axis=0))
    assert list(report.rmse.values()) == pytest.approx(expected.tolist(), rel=1e-3)


def test_labels_of_mirror_images_must_be_known() -> None:
    with pytest.raises(InputError, match=r"in a mirror image, for encoder\.mirror"):
        LaneEncoder(SHAPE, NAMES, SETTINGS).fit(images(64), np.zeros((64, 6), np.float32))
