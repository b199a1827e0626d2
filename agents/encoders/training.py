"""Training of the encoders: many batches in one compiled call."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.adam import Adam
from donkey_rl.agents.encoders.config import TrainedEncoderConfig
from donkey_rl.agents.tensorflow_setup import batch_parts, tf
from donkey_rl.errors import DivergedError

FloatArray = npt.NDArray[np.float32]

_BATCHES_PER_CALL = 25
_OUTPUT_BATCH = 256


def cosine(step: npt.NDArray[np.int64], steps: int, start: float, end: float) -> FloatArray:
    """Returns the step size at each step, from ``start`` down to ``end`` along half a cosine.

    >>> cosine(np.array([0, 50, 100]), 100, 2.0, 1.0).tolist()
    [2.0, 1.5, 1.0]
    """
    share = 0.5 * (1.0 + np.cos(math.pi * step / max(steps, 1)))
    return (end + (start - end) * share).astype(np.float32)


Loss = Callable[[Sequence[Any], Any], Any]
"""Mean loss () of some rows of the data, an array each, and a seed of two integers."""

Data = Sequence[npt.NDArray[Any]]
"""Images and whatever else a loss reads, n rows each."""


class _Trainer:
    """The compiled training step of one network."""

    def __init__(
        self, variables: Sequence[Any], loss: Loss, rows: Sequence[Any], cut: int
    ) -> None:
        """Fixes the signature.

        Args:
            variables: What is trained.
            loss: What is made small.
            rows: Specifications of some batches of the data, (steps, B, ...) each.
            cut: Into how many parts a batch is cut.
        """
        self._loss, self._adam, self._cut = loss, Adam(variables), cut
        rates, seeds = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((None, 2), tf.int32)
        self.steps = tf.function(self._steps, input_signature=[list(rows), rates, seeds])

    def _steps(self, batches: Any, learning_rates: Any, seeds: Any) -> Any:
        """Takes one gradient step per batch and returns the mean loss."""
        count = tf.shape(learning_rates)[0]
        total = 0.0
        for step in tf.range(count):
            rows = [array[step] for array in batches]
            total += self._step(rows, learning_rates[step], seeds[step])
        return total / tf.cast(count, tf.float32)

    def _step(self, rows: Sequence[Any], learning_rate: Any, seed: Any) -> Any:
        """Takes one gradient step; the parts of the batch run side by side on the cores."""
        edges = np.linspace(0, rows[0].shape[0], self._cut + 1).astype(int)
        found = [
            self._gradients([array[first:end] for array in rows], seed + part)
            for part, (first, end) in enumerate(itertools.pairwise(edges))
        ]
        shares = np.diff(edges) / edges[-1]
        gradients = [
            tf.add_n([share * one for share, one in zip(shares, same, strict=True)])
            for same in zip(*(gradients for _, gradients in found), strict=True)
        ]
        self._adam.apply(gradients, learning_rate)
        return tf.add_n([share * loss for share, (loss, _) in zip(shares, found, strict=True)])

    def _gradients(self, rows: Sequence[Any], seed: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._adam.variables)
            loss = self._loss(rows, seed)
        return loss, tape.gradient(loss, self._adam.variables)


def train(
    variables: Sequence[Any],
    data: Data,
    loss: Loss,
    config: TrainedEncoderConfig,
    progress: Callable[[float, float], None] | None,
    anew: Callable[[], Data] | None = None,
    repeats: int = 1,
) -> tuple[tuple[float, ...], float]:
    """Trains a network in place.

    Args:
        variables: What is trained.
        data: What it is trained on.
        loss: What is made small.
        config: Settings.
        progress: Called with the share done and the loss of the last batches.
        anew: Returns other data, as many rows, after some epochs; without it all have the same.
        repeats: How many epochs have the same data where there is other.

    Returns:
        Mean loss of each epoch, and the wall time in seconds.

    Raises:
        DonkeyRLError: When the loss is no longer finite.
    """
    started = time.perf_counter()
    random = np.random.default_rng(config.seed or 0)
    count = len(data[0])
    per_epoch = count // config.batch_size
    steps = per_epoch * config.epochs
    specs = [
        tf.TensorSpec((None, config.batch_size, *each.shape[1:]), each.dtype) for each in data
    ]
    cut = batch_parts(config.batch_size)
    trainer = _Trainer(variables, loss, specs, cut)
    done, history = 0, []
    for epoch in range(config.epochs):
        if epoch and epoch % repeats == 0 and anew is not None:
            data = anew()
        order = random.permutation(count)[: per_epoch * config.batch_size]
        order = order.reshape(per_epoch, config.batch_size)
        total = 0.0
        for first in range(0, per_epoch, _BATCHES_PER_CALL):
            rows = order[first : first + _BATCHES_PER_CALL]
            at = done + np.arange(len(rows))
            rates = cosine(at, steps, config.learning_rate, config.final_learning_rate)
            seeds = np.stack([np.full(len(rows), config.seed or 0), cut * at], axis=1).astype(
                np.int32
            )
            batches = [array[rows] for array in data]
            mean = float(trainer.steps(batches, rates, seeds).numpy())
            _check_finite(mean, done)
            done += len(rows)
            total += mean * len(rows)
            if progress is not None:
                progress(done / steps, mean)
        history.append(total / per_epoch)
    return tuple(history), time.perf_counter() - started


def _check_finite(loss: float, batches: int) -> None:
    """Ends a training whose loss is no longer finite."""
    if not math.isfinite(loss):
        raise DivergedError(
            f"Expected a finite loss. Received: {loss} after {batches} batches. "
            "Lower encoder.learning_rate."
        )


def outputs(model: Any, images: npt.NDArray[Any]) -> FloatArray:
    """Returns a model's outputs for any number of images, (n, ...)."""
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, *images.shape[1:]))])
    return np.concatenate(
        [
            compiled(images[first : first + _OUTPUT_BATCH].astype(np.float32)).numpy()
            for first in range(0, len(images), _OUTPUT_BATCH)
        ]
    )
