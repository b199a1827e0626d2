"""A second task in training: which kind of ground lies where.

From every map of the convolutions but the first a weight for each class is read, and those of the
smaller maps are added to those of the largest (Long et al. 2015, "Fully Convolutional Networks for
Semantic Segmentation", arXiv:1411.4038, section 4.2). It shapes the convolutions while they are
trained; a driver does not have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.tensorflow_setup import keras, tf

FloatArray = npt.NDArray[np.float32]

CELL = 4
"""Pixels of a reduced image along each side of a cell: what two convolutions of stride 2 leave."""

_KNOWN = 0.5
"""Cells with less ground in them than this are not counted."""


def network(reader: Any, classes: int, seed: int) -> Any:
    """Builds the network that is trained on both tasks, around one that has the first.

    Args:
        reader: Model with the layers ``conv_0`` and following, at least two.
        classes: Number of classes K.
        seed: Decides the initial weights.

    Returns:
        A Keras model, images (B, h, w, C) -> the reader's output, and logits of the classes
        (B, h / 4, w / 4, K), rounded up.
    """
    seeds = np.random.default_rng([seed, 2])
    layers = [layer for layer in reader.layers if layer.name.startswith("conv_")][1:]
    largest = layers[0].output
    rows, columns = largest.shape[1:3]
    logits = []
    for index, layer in enumerate(layers):
        initialiser = keras.initializers.GlorotUniform(seed=int(seeds.integers(2**31)))
        read = keras.layers.Conv2D(classes, 1, kernel_initializer=initialiser)(layer.output)
        if index:
            read = keras.layers.UpSampling2D(2**index)(read)[:, :rows, :columns]
        logits.append(read)
    return keras.Model(reader.inputs, [reader.output, sum(logits[1:], logits[0])])


def cells(reduced: Any) -> Any:
    """Averages what is known of each pixel over the cells, (B, h, w, K) -> (B, h/4, w/4, K)."""
    return tf.nn.avg_pool2d(tf.cast(reduced, tf.float32), CELL, CELL, "SAME")


def cross_entropy(logits: Any, shares: Any) -> Any:
    """Returns the mean cross-entropy of cells, each counted by how much ground is in it.

    Args:
        logits: (B, r, c, K).
        shares: How much of each cell is of each class, together at most 1, (B, r, c, K).
    """
    losses = -tf.reduce_sum(shares * tf.nn.log_softmax(logits), axis=-1)
    return tf.reduce_sum(losses) / tf.maximum(tf.reduce_sum(shares), 1.0)


def intersection_over_union(logits: FloatArray, shares: FloatArray) -> FloatArray:
    """Returns, for each class, the cells that are of it and read so by those that are either.

    A cell is of the class that it has most of. NaN where no cell is of a class nor read so.

    Args:
        logits: (n, r, c, K).
        shares: As for `cross_entropy`.

    Returns:
        Shape (K,).
    """
    known = shares.sum(axis=-1) >= _KNOWN
    true, read = shares.argmax(axis=-1)[known], logits.argmax(axis=-1)[known]
    found = np.full(shares.shape[-1], np.nan, np.float32)
    for kind in range(shares.shape[-1]):
        either = np.count_nonzero((true == kind) | (read == kind))
        if either:
            found[kind] = np.count_nonzero((true == kind) & (read == kind)) / either
    return found
