"""Training of the lane encoder: many batches in one compiled call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.adam import Adam
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import DonkeyRLError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

_BATCHES_PER_CALL = 25
_OUTPUT_BATCH = 256


def cosine(step: npt.NDArray[np.int64], steps: int, start: float, end: float) -> FloatArray:
    """Returns the step size at each step, from ``start`` down to ``end`` along half a cosine.

    >>> cosine(np.array([0, 50, 100]), 100, 2.0, 1.0).tolist()
    [2.0, 1.5, 1.0]
    """
    share = 0.5 * (1.0 + np.cos(math.pi * step / max(steps, 1)))
    return (end + (start - end) * share).astype(np.float32)


def huber(errors: Any, delta: float) -> Any:
    """Returns the mean Huber loss of errors of any shape: quadratic up to delta, then linear."""
    size = tf.abs(errors)
    quadratic = tf.minimum(size, delta)
    return tf.reduce_mean(quadratic * (size - 0.5 * quadratic))


def augmented(images: Any, seed: Any, config: LaneEncoderConfig) -> Any:
    """Changes the light of each image a little; amounts of zero cost nothing.

    Args:
        images: (B, h, w, C) in 0..255.
        seed: Two integers.
        config: Amounts.

    Returns:
        float32 (B, h, w, C), not bounded to 0..255.
    """
    shape = tf.stack([tf.shape(images)[0], 1, 1, 1])
    drawn = tf.random.stateless_uniform(tf.concat([[3], shape], 0), seed, -1.0, 1.0)
    images = tf.cast(images, tf.float32)
    if config.gamma > 0:
        images = 255.0 * tf.pow(images / 255.0, 1.0 + config.gamma * drawn[2])
    scale = 1.0 + config.contrast * drawn[0]
    shift = 255.0 * config.brightness * drawn[1] + 127.5 * (1.0 - scale)
    images = images * scale + shift
    if config.noise > 0:
        noise = tf.random.stateless_normal(tf.shape(images), seed + 1)
        images += 255.0 * config.noise * noise
    return images


class _Trainer:
    """The compiled training step of one network."""

    def __init__(self, reader: Any, images: Any, labels: Any, config: LaneEncoderConfig) -> None:
        self._reader, self._images, self._labels = reader, images, labels
        self._config = config
        self._adam = Adam(reader.trainable_variables)
        self.steps = tf.function(
            self._steps,
            input_signature=[
                tf.TensorSpec((None, config.batch_size), tf.int32),
                tf.TensorSpec((None,), tf.float32),
                tf.TensorSpec((None, 2), tf.int32),
            ],
        )

    def _steps(self, order: Any, learning_rates: Any, seeds: Any) -> Any:
        """Takes one gradient step per row of ``order`` and returns the mean loss."""
        count = tf.shape(order)[0]
        total = 0.0
        for step in tf.range(count):
            total += self._step(order[step], learning_rates[step], seeds[step])
        return total / tf.cast(count, tf.float32)

    def _step(self, chosen: Any, learning_rate: Any, seed: Any) -> Any:
        """Takes one gradient step; the halves of the batch run side by side on two cores."""
        images = tf.gather(self._images, chosen)
        labels = tf.gather(self._labels, chosen)
        middle = self._config.batch_size // 2
        halves = [slice(0, middle), slice(middle, None)] if middle else [slice(None)]
        parts = [
            self._gradients(images[half], labels[half], seed + index)
            for index, half in enumerate(halves)
        ]
        share = 1.0 / len(parts)
        gradients = [
            tf.add_n(list(same)) * share for same in zip(*(g for _, g in parts), strict=True)
        ]
        self._adam.apply(gradients, learning_rate)
        return tf.add_n([loss for loss, _ in parts]) * share

    def _gradients(self, images: Any, labels: Any, seed: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._adam.variables)
            errors = self._reader(augmented(images, seed, self._config)) - labels
            loss = huber(errors, self._config.huber)
        return loss, tape.gradient(loss, self._adam.variables)


def train(
    reader: Any,
    images: ImageArray,
    labels: FloatArray,
    config: LaneEncoderConfig,
    progress: Callable[[float, float], None] | None,
) -> tuple[tuple[float, ...], float]:
    """Trains the network in place.

    Args:
        reader: Keras model, (B, h, w, C) -> (B, L).
        images: (n, h, w, C).
        labels: Standardised, (n, L).
        config: Settings.
        progress: Called with the share done and the loss of the last batches.

    Returns:
        Mean loss of each epoch, and the wall time in seconds.

    Raises:
        DonkeyRLError: When the loss is no longer finite.
    """
    started = time.perf_counter()
    random = np.random.default_rng(config.seed or 0)
    per_epoch = len(images) // config.batch_size
    steps = per_epoch * config.epochs
    with tf.device("CPU"):
        trainer = _Trainer(reader, tf.constant(images), tf.constant(labels), config)
    done, history = 0, []
    for _ in range(config.epochs):
        order = random.permutation(len(images))[: per_epoch * config.batch_size]
        order = order.reshape(per_epoch, config.batch_size).astype(np.int32)
        total = 0.0
        for first in range(0, per_epoch, _BATCHES_PER_CALL):
            rows = order[first : first + _BATCHES_PER_CALL]
            at = done + np.arange(len(rows))
            rates = cosine(at, steps, config.learning_rate, config.final_learning_rate)
            seeds = np.stack([np.full(len(rows), config.seed or 0), 2 * at], axis=1).astype(
                np.int32
            )
            loss = float(trainer.steps(rows, rates, seeds).numpy())
            if not math.isfinite(loss):
                raise DonkeyRLError(
                    f"Expected a finite loss. Received: {loss} after {done} batches. "
                    "Lower encoder.learning_rate."
                )
            done += len(rows)
            total += loss * len(rows)
            if progress is not None:
                progress(done / steps, loss)
        history.append(total / per_epoch)
    return tuple(history), time.perf_counter() - started


def outputs(reader: Any, images: ImageArray) -> FloatArray:
    """Returns the network's outputs for any number of images, (n, L)."""
    compiled = tf.function(reader, input_signature=[tf.TensorSpec((None, *images.shape[1:]))])
    return np.concatenate(
        [
            compiled(images[first : first + _OUTPUT_BATCH].astype(np.float32)).numpy()
            for first in range(0, len(images), _OUTPUT_BATCH)
        ]
    )
