"""Random changes of training frames: light, noise, shadows, and things in the way."""

from __future__ import annotations

from typing import Any

from donkey_rl.agents.encoders.config import TrainedEncoderConfig
from donkey_rl.agents.tensorflow_setup import tf

_NARROWEST, _WIDEST = 0.05, 0.3
"""Half the width of a shadow, share of the image's."""


def augmented(images: Any, seed: Any, config: TrainedEncoderConfig) -> Any:
    """Changes each image a little; amounts of zero cost nothing.

    Args:
        images: (B, h, w, C) in 0..255.
        seed: Two integers.
        config: Amounts.

    Returns:
        float32 (B, h, w, C), not bounded to 0..255.
    """
    images = tf.cast(images, tf.float32)
    if config.shadow > 0:
        images *= _shadows(tf.shape(images), seed + 2, config.shadow)
    if config.occlusion > 0:
        images = _occluded(images, seed + 3, config.occlusion)
    shape = tf.stack([tf.shape(images)[0], 1, 1, 1])
    drawn = tf.random.stateless_uniform(tf.concat([[3], shape], 0), seed, -1.0, 1.0)
    if config.gamma > 0:
        images = 255.0 * tf.pow(images / 255.0, 1.0 + config.gamma * drawn[2])
    scale = 1.0 + config.contrast * drawn[0]
    shift = 255.0 * config.brightness * drawn[1] + 127.5 * (1.0 - scale)
    images = images * scale + shift
    if config.noise > 0:
        noise = tf.random.stateless_normal(tf.shape(images), seed + 1)
        images += 255.0 * config.noise * noise
    return images


def _places(shape: Any) -> tuple[Any, Any]:
    """Returns each pixel's row (1, h, 1, 1) and column (1, 1, w, 1), from 0 to 1."""
    rows, columns = (tf.linspace(0.0, 1.0, shape[axis]) for axis in (1, 2))
    return rows[None, :, None, None], columns[None, None, :, None]


def _shadows(shape: Any, seed: Any, most: float) -> Any:
    """Returns a factor for each pixel: one slanted dark band in each image, (B, h, w, 1)."""
    drawn = tf.random.stateless_uniform((4, shape[0], 1, 1, 1), seed)
    rows, columns = _places(shape)
    middle = drawn[0] + (2.0 * drawn[1] - 1.0) * (rows - 0.5)
    half = _NARROWEST + (_WIDEST - _NARROWEST) * drawn[2]
    inside = tf.cast(tf.abs(columns - middle) < half, tf.float32)
    return 1.0 - most * drawn[3] * inside


def _occluded(images: Any, seed: Any, most: float) -> Any:
    """Covers one rectangle of each image, of sides up to a share of its, in one gray."""
    shape = tf.shape(images)
    drawn = tf.random.stateless_uniform((5, shape[0], 1, 1, 1), seed)
    rows, columns = _places(shape)
    inside = (tf.abs(rows - drawn[0]) < 0.5 * most * drawn[1]) & (
        tf.abs(columns - drawn[2]) < 0.5 * most * drawn[3]
    )
    return tf.where(inside, 255.0 * drawn[4], images)
