"""The network of the encoders that are trained before the policy, as a Keras model.

The lane encoder and the auto-encoder share it, so that one can start from the other's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import cnn
from donkey_rl.agents.encoders.config import (
    EncoderConfig,
    LaneEncoderConfig,
    TrainedEncoderConfig,
)
from donkey_rl.agents.tensorflow_setup import keras

_LEAST_VARIANCE = 1e-3
"""Contrast below its root (1.6 % of the range) is left as weak as it is."""


def reducer(image_shape: tuple[int, int, int], config: EncoderConfig) -> Any:
    """Builds the part that crops and shrinks.

    Args:
        image_shape: Height, width, channels.
        config: Settings.

    Returns:
        A Keras model, uint8 (B, H, W, C) -> float32 (B, h, w, C) in 0..255, without weights.
    """
    inputs = keras.Input(image_shape, dtype="uint8", name="image")
    top = round(image_shape[0] * config.crop)
    x = keras.layers.Cropping2D(((top, 0), (0, 0)))(inputs)
    x = keras.layers.Rescaling(1.0, name="as_float")(x)
    x = keras.layers.AveragePooling2D(config.pool)(x)
    return keras.Model(inputs, x, name="reducer")


def reader(
    reduced_shape: tuple[int, int, int], features: int, config: TrainedEncoderConfig
) -> Any:
    """Builds the part that is trained.

    Args:
        reduced_shape: Height, width and channels of reduced images.
        features: Number of features F.
        config: Settings; the seed decides the initial weights.

    Returns:
        A Keras model, (B, h, w, C) in 0..255 -> features (B, F), with the layers ``conv_0`` and
        following, ``dense`` and ``features``.
    """
    seeds = np.random.default_rng(config.seed or 0)

    def initialiser() -> Any:
        return keras.initializers.HeUniform(seed=int(seeds.integers(2**31)))

    inputs = keras.Input(reduced_shape, name="reduced")
    seen = shown(inputs, config) if isinstance(config, LaneEncoderConfig) else inputs
    x = cnn.convolutions(even_contrast(seen), config.filters, initialiser)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(config.dense, "relu", kernel_initializer=initialiser(), name="dense")(x)
    outputs = keras.layers.Dense(features, kernel_initializer=initialiser(), name="features")(x)
    return keras.Model(inputs, outputs, name="reader")


_PAIRS = np.array([(1, -1, 0), (0, 1, -1), (-1, 0, 1)]).T
_BETWEEN = np.array([(1, 1, -2), (-2, 1, 1), (1, -2, 1)]).T / np.sqrt(3)
_COLOURS = np.c_[_PAIRS, -_PAIRS, _BETWEEN, -_BETWEEN]
"""Directions among the colours of one brightness, of one length, 30 degrees apart; of each and its
opposite the rectifier leaves the one that a colour lies in."""

_STRENGTH = 3 / _COLOURS.shape[1]
"""Times the sum over them, how colourful a pixel is."""

_GREY = 127.5
"""Of no colour: the middle of the range, where `even_contrast` loses no digits of small ones."""


def shown(images: Any, config: LaneEncoderConfig) -> Any:
    """Says of each pixel what the convolutions see: (B, h, w, 3) -> (B, h, w, 2 to 4)."""
    seen = images if config.hues else without_hues(images)
    return keras.layers.Concatenate()([seen, unlike_ground(images)]) if config.ground else seen


def without_hues(images: Any) -> Any:
    """Says of each pixel how bright it is and how colourful, whatever its hue.

    That is the mean of red, green and blue, and how far the colour lies from the grey of that
    brightness, to 2 % the same whatever its hue: about the largest less the smallest of the
    three. Both are fixed convolutions, so that every format of an export has them.

    Args:
        images: (B, h, w, 3).

    Returns:
        (B, h, w, 2); gray is 127.5 in the second.
    """
    parts = _mixed(images, np.c_[_COLOURS, np.ones(3)], "differences", "relu")
    weights = np.array([[0, _STRENGTH]] * _COLOURS.shape[1] + [[1 / 3, 0]])
    return _mixed(parts, weights, "colourless", None, (0.0, _GREY))


def unlike_ground(images: Any) -> Any:
    """Says of each pixel how far its colour is from that of the ground just ahead of the car.

    Roads and what lies beside them may differ in hue alone; which hues those are does not matter
    here. Brighter or darker of the same colour is alike; the rest is measured as `without_hues`
    does. The ground ahead is the mean of the lowest quarter of the image, in the middle quarter of
    its width.

    Args:
        images: (B, h, w, 3).

    Returns:
        (B, h, w, 1); what is like the ground is 127.5.
    """
    height, width = images.shape[1:3]
    beside = 3 * width // 8
    ground = keras.layers.Cropping2D(((3 * height // 4, 0), (beside, beside)))(images)
    mean = keras.layers.AveragePooling2D(ground.shape[1:3])(ground)
    parts = _mixed(
        keras.layers.Subtract()([images, mean]), _COLOURS, "differences_to_ground", "relu"
    )
    weights = np.full((_COLOURS.shape[1], 1), _STRENGTH)
    return _mixed(parts, weights, "unlike_ground", None, (_GREY,))


def _mixed(
    images: Any,
    weights: npt.NDArray[Any],
    name: str,
    activation: str | None,
    bias: Sequence[float] = (),
) -> Any:
    """Mixes the channels of each pixel (B, h, w, C) by fixed weights (C, D) into (B, h, w, D)."""
    layer = keras.layers.Conv2D(
        weights.shape[1], 1, activation=activation, use_bias=bool(bias), trainable=False, name=name
    )
    mixed = layer(images)
    fixed = [weights[None, None], np.array(bias)] if bias else [weights[None, None]]
    layer.set_weights([each.astype(np.float32) for each in fixed])
    return mixed


def even_contrast(images: Any) -> Any:
    """Gives each channel of each image mean 0 and variance 1, whatever light it was taken in.

    What carries most from the embedded simulator to the frames of another one, see
    docs/fidelity.md. A channel of one colour stays 0.

    Args:
        images: (B, h, w, C) in 0..255.
    """
    images = keras.ops.cast(images, "float32") * (1.0 / 127.5) - 1.0
    mean = keras.ops.mean(images, axis=(1, 2), keepdims=True)
    squares = keras.ops.mean(keras.ops.square(images), axis=(1, 2), keepdims=True)
    variance = keras.ops.maximum(squares - keras.ops.square(mean), 0.0)
    return (images - mean) * keras.ops.rsqrt(variance + _LEAST_VARIANCE)


def encoder(image_shape: tuple[int, int, int], features: int, config: TrainedEncoderConfig) -> Any:
    """Builds the whole encoder from `reducer` and `reader`.

    Args:
        image_shape: Height, width, channels.
        features: Number of features F.
        config: Settings.

    Returns:
        A Keras model, uint8 (B, H, W, C) -> features within ``config.clip``, (B, F).

    Raises:
        InputError: When the images are too small for the convolutions.
    """
    config.check_image(image_shape)
    inputs = keras.Input(image_shape, dtype="uint8", name="image")
    reduce = reducer(image_shape, config)
    read = reader(reduce.output_shape[1:], features, config)
    reduced = reduce(inputs)
    turned = keras.layers.Dense(features, trainable=False, name=MIRRORED)
    found = []
    for view in views(reduced.shape[1:], config):
        one = read(_taken(_taken(reduced, 1, view.rows), 2, view.columns))
        found.append(turned(one) if view.mirrored else one)
    mean = keras.layers.Average()(found) if len(found) > 1 else found[0]
    outputs = keras.ops.clip(mean, -config.clip, config.clip)
    return keras.Model(inputs, outputs, name="encoder")


MIRRORED = "mirrored_features"
"""The layer that makes of the features of a mirror image those of the image."""


def mirrored(
    order: npt.NDArray[np.int64],
    signs: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
    spread: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns weights (F, F) and bias (F,) of the layer `MIRRORED`.

    Args:
        order: Which label of a mirror image each label of the image is, (F,).
        signs: What it is multiplied by, (F,).
        mean: Of the labels, (F,): features are ``(label - mean) / spread``.
        spread: Their standard deviations, (F,).
    """
    weights = np.zeros((len(order), len(order)), np.float32)
    weights[order, np.arange(len(order))] = signs * spread[order] / spread
    return weights, (signs * mean[order] - mean) / spread


class View(NamedTuple):
    """A way to look at a reduced image: from which of its rows and columns each one is taken."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    mirrored: bool = False


_MOVES = ((2, 1), (-2, -1))
"""Pixels to the right and down, either way alike: what that adds to a reading cancels."""


def views(shape: tuple[int, int, int], config: TrainedEncoderConfig) -> tuple[View, ...]:
    """Returns how reduced images (h, w, C) are looked at; the features are the mean of all.

    Test-time augmentation: each reading errs in its own way.
    """
    rows, columns = (np.arange(size) for size in shape[:2])
    if not isinstance(config, LaneEncoderConfig):
        return (View(rows, columns),)
    found = [View(rows, columns)]
    if config.shifted:
        found += [
            View(np.clip(rows - down, 0, rows[-1]), np.clip(columns - right, 0, columns[-1]))
            for right, down in _MOVES
        ]
    if config.mirror:
        found += [View(each.rows, columns[::-1][each.columns], mirrored=True) for each in found]
    return tuple(found)


def _taken(images: Any, axis: int, source: npt.NDArray[np.int64]) -> Any:
    """Takes each row (axis 1) or column (axis 2) of images from another, by what exports have."""
    size = len(source)
    if np.array_equal(source, np.arange(size)):
        return images
    order = (2, 3, 1) if axis == 1 else (1, 3, 2)
    back = (3, 1, 2) if axis == 1 else (1, 3, 2)
    move = keras.layers.Dense(size, use_bias=False, trainable=False)
    moved = move(keras.layers.Permute(order)(images))
    move.set_weights([np.eye(size, dtype=np.float32)[:, source]])
    return keras.layers.Permute(back)(moved)


def copy_trunk(source: Any, target: Any) -> None:
    """Gives a reader the weights of another one, but for the last layer.

    Args:
        source: Model with the layers ``conv_0`` and following, and ``dense``.
        target: The reader that is changed.

    Raises:
        ValueError: The layers have other names or shapes; nothing has changed.
    """
    layers = [layer for layer in target.layers if layer.weights and layer.name != "features"]
    found = {layer.name: layer for layer in source.layers if layer.weights}
    for layer in layers:
        if layer.name not in found:
            raise ValueError(f"no layer '{layer.name}'")
        shapes = [[w.shape for w in each.weights] for each in (found[layer.name], layer)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"'{layer.name}' with weights {shapes[0]} in place of {shapes[1]}")
    for layer in layers:
        layer.set_weights(found[layer.name].get_weights())
