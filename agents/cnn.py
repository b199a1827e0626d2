"""The convolutional network through which a policy sees, trained together with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.tensorflow_setup import keras, tf

SEEN_IN = 4
"""Parts of a batch that is only looked at; SAC's policy takes its few images whole.

Whatever the machine: rounding hangs on a batch's size, and races are to come out alike. On two
cores 64 images are seen as fast in four parts as in two, and 256 faster.
"""


def convolutions(x: Any, filters: Sequence[int], initialiser: Callable[[], Any]) -> Any:
    """Applies convolutions of stride 2 with ReLU; the first is 5x5, the others 3x3.

    Args:
        x: Images, (B, h, w, c), as a Keras tensor.
        filters: Of each convolution.
        initialiser: Returns the initialiser of the next layer's weights.
    """
    for index, count in enumerate(filters):
        x = keras.layers.Conv2D(
            count,
            5 if index == 0 else 3,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer=initialiser(),
            name=f"conv_{index}",
        )(x)
    return x


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
    x = keras.layers.Flatten()(convolutions(x, config.filters, initialiser))
    x = keras.layers.Dense(config.units, kernel_initializer=initialiser())(x)
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(inputs, keras.ops.tanh(x), name="cnn")


def in_parts(model: Any, images: Any, parts: int = SEEN_IN) -> Any:
    """Returns the features of a batch whose parts go through the network side by side.

    With one thread for each operation (see `tensorflow_setup`) that is how cores share the
    convolutions, forth and back.

    Args:
        model: As `network` built it.
        images: (B, h, w, c), one at least.
        parts: How many.

    Returns:
        Features (B, D).
    """
    count = tf.shape(images)[0]
    each = (count + parts - 1) // parts
    # What is past the end sees the last image again: TensorFlow's fused convolutions fail on none.
    firsts = [tf.minimum(part * each, count - 1) for part in range(parts)]
    seen = [model(images[first : first + each]) for first in firsts]
    return tf.concat(seen, axis=0)[:count]
