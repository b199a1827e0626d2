"""Behaviour cloning: a policy trained to do what somebody else did.

Source: Pomerleau 1991, "Efficient Training of Artificial Neural Networks for Autonomous
Navigation", Neural Computation 3; the loss is the mean squared error of the actions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from donkey_rl.agents import features
from donkey_rl.agents.adam import Adam
from donkey_rl.agents.augmentation import layers, mirroring
from donkey_rl.agents.imitation.config import ImitationConfig
from donkey_rl.agents.observations import FloatArray, Parts
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import DivergedError, InputError

_BATCHES_PER_CALL = 32
_OUTPUT_BATCH = 1024

_FARTHEST = 0.95
"""Actions are taken as no larger: a policy squashed by tanh would grow without end for 1."""


@dataclasses.dataclass(frozen=True)
class Demonstrations:
    """What was seen and what was done, in the order in which it was driven.

    Attributes:
        seen: Observations to learn from, n of them, as the policy reads them.
        actions: What was done, (n, A).
        kept_seen: Observations kept for the report, from later in the drives.
        kept_actions: What was done there.
    """

    seen: Parts
    actions: FloatArray
    kept_seen: Parts
    kept_actions: FloatArray


@dataclasses.dataclass(frozen=True)
class CloningReport:
    """How well a policy does what was shown.

    Attributes:
        rmse: Root mean square error of each action on what it was not trained on, (A,).
        loss: Training loss of each epoch.
        rows: Observations trained on, augmented copies among them, those made in the update too.
    """

    rmse: tuple[float, ...]
    loss: tuple[float, ...]
    rows: int


class Cloner:
    """The training of one policy, on demonstrations that may grow from call to call."""

    def __init__(self, policy: Any, cnn: Any, config: ImitationConfig, *, seed: int) -> None:
        """Prepares the training; the policy is changed in place.

        Args:
            policy: Keras model, features (B, D + F) -> actions (B, A): of SAC the squashed mean,
                of PPO the mean.
            cnn: Keras model, image -> features (B, D); None where observations hold no image.
            config: Settings.
            seed: Decides the order of the batches.
        """
        self._policy, self._cnn, self._config = policy, cnn, config
        networks = [policy] if cnn is None else [policy, cnn]
        self._adam = Adam([v for network in networks for v in network.trainable_variables])
        self._random = np.random.default_rng(seed)
        self._seed, self._taken = seed % 2**31, 0
        change = config.augmentation
        # Where observations hold no image, their copies were made and encoded before.
        self._copies = 0 if cnn is None else config.copies
        self._change = layers.Augmentation(change)
        self._mirror = change.mirror
        self._compiled = tf.function(self._steps, reduce_retracing=True)
        self._act = tf.function(self._actions, reduce_retracing=True)

    def fit(
        self,
        data: Demonstrations,
        *,
        epochs: int,
        learning_rate: float,
        progress: Callable[[float, float], None],
    ) -> CloningReport:
        """Trains on demonstrations.

        Args:
            data: What to do.
            epochs: Passes over them.
            learning_rate: Adam's step size.
            progress: Called with the share done and the loss of the last batches.

        Raises:
            InputError: There are fewer rows than a batch takes.
            DonkeyRLError: The loss is no longer finite.
        """
        count, size = len(data.actions), self._config.batch_size
        rows_each = count * (1 + self._copies)
        per_epoch = rows_each // size
        if not per_epoch or not len(data.kept_actions):
            raise InputError(
                f"Expected at least one batch of {size} demonstrations, and some to check by. "
                f"Received: {rows_each} and {len(data.kept_actions)}. Record a longer drive, "
                "or lower imitation.batch_size."
            )
        with tf.device("CPU"):
            seen = [tf.constant(part) for part in data.seen if part is not None]
            wanted = tf.constant(np.clip(data.actions, -_FARTHEST, _FARTHEST))
        rate = tf.constant(learning_rate, tf.float32)
        history = []
        for epoch in range(epochs):
            order = self._random.permutation(rows_each)[: per_epoch * size]
            order = order.reshape(per_epoch, size).astype(np.int32)
            total = 0.0
            for first in range(0, per_epoch, _BATCHES_PER_CALL):
                rows = order[first : first + _BATCHES_PER_CALL]
                compiled = self._compiled(seen, wanted, tf.constant(rows), self._seeds(rows), rate)
                loss = float(compiled.numpy())
                if not math.isfinite(loss):
                    raise DivergedError(
                        f"Expected a finite loss. Received: {loss} in epoch {epoch + 1}. "
                        "Lower imitation.learning_rate."
                    )
                total += loss * len(rows)
                progress((epoch + (first + len(rows)) / per_epoch) / epochs, loss)
            history.append(total / per_epoch)
        return CloningReport(self._errors(data), tuple(history), rows_each)

    def _seeds(self, rows: Any) -> Any:
        """Returns two integers for each batch, (len(rows), 2), none of them used before."""
        # Layers add less than 32 to a seed.
        second = 32 * (self._taken + np.arange(len(rows), dtype=np.int64))
        self._taken += len(rows)
        return tf.constant(np.stack([np.full(len(rows), self._seed), second], 1).astype(np.int32))

    def _actions(self, numbers: Any, image: Any = None) -> Any:
        if image is None:
            return self._policy(numbers)
        return self._policy(tf.concat([self._cnn(image), numbers], axis=-1))

    def _changed(self, seen: Any, aim: Any, copied: Any, seed: Any) -> tuple[Any, Any]:
        """Returns a batch with some of its observations changed at random.

        Args:
            seen: Numbers (B, F) and images (B, h, w, c).
            aim: What is to be done, (B, 2).
            copied: Which ones, (B,), booleans.
            seed: Two integers, (2,).
        """
        numbers, images = seen
        images = tf.cast(images, tf.float32)
        changed = tf.cast(self._change(images, seed), tf.float32)
        images = tf.where(copied[:, None, None, None], changed, images)
        if not self._mirror:
            return [numbers, images], aim
        chosen = copied & mirroring.every_second(tf.shape(aim)[0], seed + layers.MIRROR)
        numbers = mirroring.numbers(numbers, features.mirror_signs(numbers.shape[1]), chosen)
        aim = mirroring.numbers(aim, mirroring.ACTION_SIGNS, chosen)
        return [numbers, mirroring.images(images, chosen)], aim

    def _steps(self, seen: Any, wanted: Any, order: Any, seeds: Any, learning_rate: Any) -> Any:
        """Takes one gradient step per row of ``order`` and returns the mean loss."""
        count, rows = tf.shape(order)[0], tf.shape(wanted)[0]
        total = 0.0
        for step in tf.range(count):
            chosen = order[step] % rows
            batch = [tf.gather(part, chosen) for part in seen]
            aim = tf.gather(wanted, chosen)
            if self._copies:
                batch, aim = self._changed(batch, aim, order[step] >= rows, seeds[step])
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._adam.variables)
                loss = tf.reduce_mean(tf.square(self._actions(*batch) - aim))
            self._adam.apply(tape.gradient(loss, self._adam.variables), learning_rate)
            total += loss
        return total / tf.cast(count, tf.float32)

    def _errors(self, data: Demonstrations) -> tuple[float, ...]:
        """Returns the root mean square error of each action on what was kept back."""
        seen = [part for part in data.kept_seen if part is not None]
        pieces = [
            self._act(*(tf.constant(part[first : first + _OUTPUT_BATCH]) for part in seen)).numpy()
            for first in range(0, len(data.kept_actions), _OUTPUT_BATCH)
        ]
        gaps = np.clip(np.concatenate(pieces), -1.0, 1.0) - data.kept_actions
        return tuple(np.sqrt(np.mean(np.square(gaps), axis=0, dtype=np.float64)).tolist())
