"""Kinds of ground: drawn by the simulator, learned beside the lane, and what is reported."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
from PIL import Image

from donkey_rl import configuration
from donkey_rl.agents.encoders import segmentation
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import SURFACES, LaneEncoder
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.envs import EnvironmentConfig, labels
from donkey_rl.envs.simulator import surfaces, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.world import Start
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import encoder_pictures, lane_training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay

SMALL = CameraConfig(img_w=80, img_h=60)


def test_classes_are_those_that_the_encoder_names() -> None:
    assert surfaces.CLASSES == SURFACES


@pytest.mark.parametrize("depth", [1, 3])
def test_kinds_of_ground_are_where_the_road_is(depth: int) -> None:
    camera = CameraConfig(img_w=160, img_h=120, img_d=depth)  # type: ignore[arg-type]
    road = track.load("generated_track")
    # Whatever changes colours, light and noise changes nothing of what lies where.
    look = Randomisation(colours=0.5, light=0.5, noise=20.0, shadows=4.0, blur=1.0)
    world = surfaces.SurfaceWorld(
        road, vehicles.load("donkey_2022"), camera, 2, randomise=look, seed=3
    )
    start = (np.full(2, value) for value in (4.0, -6.2, 0.0, 0.0))
    world.reset(np.arange(2), Start(*start))
    kinds = np.empty((2, *camera.shape), np.uint8)
    world.surfaces(kinds, np.arange(2))
    assert (kinds[0] == kinds[1]).all()
    image = kinds[0]
    # The horizon is 15 degrees above the middle: 60 - 60 tan 15 / tan 45 = row 43.9.
    assert not image[:40].any()
    assert (image[50:].sum(axis=-1) > 0).mean() > 0.8
    # The camera is 1.12 + 0.525 = 1.645 u above the ground. Row 110 looks 15 degrees and
    # atan(50.5 / 60) down, where the depth is 1.645 / (sin 15 + 50.5 / 60 cos 15) = 1.535 u and a
    # pixel 1.535 / 60 = 0.0256 u wide. From the car at -6.2 the gravel (-7.2 to -6.4) reaches from
    # column 41 to 72, the edge line (-6.31 to -6.0) from 76 to 88, then there is road to -2.32.
    row = image[110].argmax(axis=-1)
    assert (row[44:69] == 2).all()
    assert (row[78:85] == 1).all()
    assert (row[91:150] == 0).all()


def test_sheen_and_things_are_of_no_class() -> None:
    config = EnvironmentConfig(camera=SMALL)
    (part,) = labels.sample_frames(config, 50, seed=1, with_surfaces=True)
    assert part.surfaces is not None
    assert part.surfaces.shape == part.images.shape
    # Every pixel is ground, of which the shares make 255 (rounded), or is none, or was mixed
    # with one that is.
    total = part.surfaces.astype(int).sum(axis=-1)
    assert total.max() <= 257
    assert np.isin(total, [0, 254, 255, 256]).mean() > 0.95
    share = part.surfaces.reshape(-1, 3).mean(axis=0) / 255.0
    assert share[0] > 0.1
    assert 0.002 < share[1] < 0.1
    assert share[2] > 0.1


def test_frames_are_the_same_with_and_without_kinds_of_ground() -> None:
    config = EnvironmentConfig(camera=SMALL, randomisation=Randomisation(colours=0.5, noise=5.0))
    (plain,) = labels.sample_frames(config, 8, seed=1)
    (both,) = labels.sample_frames(config, 8, seed=1, with_surfaces=True)
    assert plain.surfaces is None
    assert (plain.images == both.images).all()
    assert (plain.labels == both.labels).all()


def test_cells_are_means_of_sixteen_reduced_pixels() -> None:
    encoder = LaneEncoder(SMALL.shape, ("x",), LaneEncoderConfig(filters=(8, 16), pool=1))
    kinds = np.zeros((1, 60, 80, 3), np.uint8)
    kinds[0, 20:24, 0:3, 0] = 255  # 12 of 16 pixels of the first cell below the sky
    kinds[0, 20:24, 3, 2] = 255
    cells = encoder.cells(kinds)
    assert cells.shape == (1, 10, 20, 3)
    assert cells[0, 0, 0].tolist() == [0.75, 0.0, 0.25]
    assert cells.sum() == 1.0


def test_cross_entropy_by_hand() -> None:
    # Two cells: all road, read as 1/2, 1/4, 1/4; and sky, which does not count.
    logits = np.log([[[[0.5, 0.25, 0.25], [0.9, 0.05, 0.05]]]]).astype(np.float32)
    shares = np.array([[[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]], np.float32)
    assert float(segmentation.cross_entropy(logits, shares)) == pytest.approx(math.log(2.0))


def test_intersection_over_union_by_hand() -> None:
    # True 0 0 1 2 and a cell of sky; read 0 1 1 2 2: 1 of 2 (0), 1 of 2 (1), 1 of 1 (2).
    true, read = np.array([0, 0, 1, 2, 0]), np.array([0, 1, 1, 2, 2])
    shares = np.eye(4, dtype=np.float32)[true]
    shares[4] = 0.0
    found = segmentation.intersection_over_union(
        np.eye(4, dtype=np.float32)[read][None, None], shares[None, None]
    )
    assert found[:3].tolist() == [0.5, 0.5, 1.0]
    assert math.isnan(found[3])


@pytest.mark.slow
def test_it_learns_what_is_road_and_the_picture_shows_it(tmp_path: pathlib.Path) -> None:
    settings = ["camera.img_w=80", "camera.img_h=60", "encoder.pool=1", "encoder.frames=2000",
                "encoder.segmentation=1", "encoder.epochs=4"]  # fmt: skip
    config = configuration.with_settings(TrainingConfig(), settings)
    assert isinstance(config.encoder, LaneEncoderConfig)
    with ProgressDisplay() as progress:
        encoder, report = lane_training.train_encoder(
            config, config.encoder, progress, lambda: None
        )
    # Calling everything by the commonest kind finds none of the others.
    assert report.iou["road"] > 0.6
    assert report.iou["off_road"] > 0.6
    assert report.mean_r2 > 0.4
    assert report.metrics()["encoder/iou_road"] == report.iou["road"]
    picture = encoder_pictures.draw(encoder, config, tmp_path / "encoder.png")
    assert picture is not None
    with Image.open(picture) as image:
        assert image.width > 800
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24) or []) > 1000


def test_marks_are_where_the_labels_are() -> None:
    camera = CameraConfig(img_w=160, img_h=120)
    values = np.zeros((1, 21), np.float32)
    # The optical axis meets the ground at height / tan 15 degrees ahead of the camera.
    height = 1.1203952 + vehicles.RIDE_HEIGHT
    values[0, 12:] = 0.5528488 + height / math.tan(math.radians(15.0))
    found = encoder_pictures.road_points(values, camera)
    assert found.shape == (1, 9, 2)
    assert found[0] == pytest.approx(np.tile([80.0, 60.0], (9, 1)), abs=1e-3)


def test_segmentation_needs_what_it_is_trained_on() -> None:
    encoder = LaneEncoder(
        SMALL.shape, ("x",), LaneEncoderConfig(filters=(8, 16), pool=1, segmentation=1.0)
    )
    reduced = np.zeros((100, *encoder.reduced_shape), np.uint8)
    with pytest.raises(InputError, match=r"kinds of ground of 100 images.*Received: none"):
        encoder.fit(reduced, np.zeros((100, 1), np.float32))
    with pytest.raises(InputError, match=r"just trained with encoder\.segmentation"):
        encoder.predict_cells(reduced)
    with pytest.raises(ConfigurationError, match="two convolutions or more"):
        configuration.with_settings(
            TrainingConfig(), ["encoder.filters=8,", "encoder.segmentation=1"]
        )


def test_the_second_task_leaves_the_first_network_as_it_was() -> None:
    encoder = LaneEncoder(SMALL.shape, ("x",), LaneEncoderConfig(filters=(8, 16, 16), pool=1))
    both = segmentation.network(encoder.reader, 3, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 80, 3)).astype(np.float32)
    read, logits = both(tf.constant(images))
    np.testing.assert_array_equal(read, encoder.reader(tf.constant(images)))
    assert logits.shape == (4, 10, 20, 3)


def test_the_second_task_counts_as_much_as_it_is_told() -> None:
    random, seed = np.random.default_rng(0), tf.constant([0, 0], tf.int32)
    images = tf.constant(random.integers(0, 256, (4, 40, 80, 3)).astype(np.float32))
    labels = tf.constant(random.normal(size=(4, 1)).astype(np.float32))
    cells = np.eye(3, dtype=np.float32)[random.integers(0, 3, (4, 10, 20))]
    added = []
    for weight in (0.5, 1.0):
        config = LaneEncoderConfig(filters=(8, 16), pool=1, segmentation=weight)
        encoder = LaneEncoder(SMALL.shape, ("x",), config)
        encoder._both = segmentation.network(encoder.reader, 3, seed=0)
        alone = float(encoder._loss((images, labels), seed))
        both = float(encoder._loss_of_both((images, labels, tf.constant(cells)), seed))
        added.append(both - alone)
    _, logits = encoder._both(encoder._looks(images, seed))
    whole = float(segmentation.cross_entropy(logits, cells))
    assert whole > 0.5
    assert added == pytest.approx([0.5 * whole, whole], rel=1e-3)
