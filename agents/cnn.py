"""The convolutional network through which a policy sees, trained together with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.tensorflow_setup import keras, tf

__all__ = ["CnnConfig", "in_halves", "network", "shifted"]


def network(image: tuple[int, int, int], config: CnnConfig, seed: int) -> Any:
    """Builds the network.

    Convolutions with ReLU, then a dense layer, layer normalisation and tanh, which keep the
    features bounded however the convolutions grow (Yarats et al. 2021, "Image Augmentation Is All
    You Need", arXiv:2004.13649, appendix).

    Args:
        image: Height, width and channels.
        config: Settings.
        seed: Decides the initial weights.

    Returns:
        A Keras model, images (B, h, w, c) in 0..255 (uint8 or float) -> features (B, units).

    Raises:
        InputError: When the images are too small.
    """
    config.check_image(image)
    seeds = np.random.default_rng(seed)

    def initialiser() -> Any:
        return keras.initializers.Orthogonal(float(np.sqrt(2.0)), seed=int(seeds.integers(2**31)))

    inputs = keras.Input(image, name="image")
    x = keras.layers.Rescaling(1.0 / 127.5, offset=-1.0)(inputs)
    for index, filters in enumerate(config.filters):
        x = keras.layers.Conv2D(
            filters,
            5 if index == 0 else 3,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer=initialiser(),
        )(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(config.units, kernel_initializer=initialiser())(x)
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(inputs, keras.ops.tanh(x), name="cnn")


def in_halves(model: Any, images: Any) -> Any:
    """Returns the features of a batch whose halves go through the network side by side.

    With one thread for each operation (see `tensorflow_setup`) that is how two cores share the
    convolutions, forth and back.

    Args:
        model: As `network` built it.
        images: (B, h, w, c).

    Returns:
        Features (B, D).
    """
    middle = (tf.shape(images)[0] + 1) // 2
    return tf.concat([model(images[:middle]), model(images[middle:])], axis=0)


def shifted(images: Any, pixels: int, seed: Any) -> Any:
    """Moves each image of a batch by a random number of whole pixels, its edge repeated.

    DrQ's augmentation (Yarats et al. 2021, arXiv:2004.13649, section 3): padding on all sides,
    then a crop of the old size anywhere.

    Args:
        images: (B, h, w, c), any type.
        pixels: The farthest each way.
        seed: Two integers, (2,).

    Returns:
        Shape and type of ``images``.
    """
    shape = tf.shape(images)
    count, height, width = shape[0], shape[1], shape[2]
    by = tf.random.stateless_uniform((2, count, 1), seed, -pixels, pixels + 1, tf.int32)
    rows = tf.clip_by_value(tf.range(height)[None] + by[0], 0, height - 1)
    columns = tf.clip_by_value(tf.range(width)[None] + by[1], 0, width - 1)
    moved = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(moved, columns, axis=2, batch_dims=1)
