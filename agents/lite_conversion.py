"""A compiled driver as a LiteRT model, for computers without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from donkey_rl.agents.tensorflow_setup import tf


def signature(shapes: Mapping[str, tuple[int, ...]], cars: int | None) -> list[Any]:
    """Returns what a driver's graph takes, by name.

    Args:
        shapes: Of the parts of one observation, as `ObservationSpec.shapes` has them.
        cars: How many cars at once; any number when None.
    """
    return [
        tf.TensorSpec((cars, *shape), tf.uint8 if name == "image" else tf.float32, name)
        for name, shape in shapes.items()
    ]


def converted(graph: Callable[..., Any], shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Converts a driver for one car, in single precision and with LiteRT's own operations only.

    Args:
        graph: Parts of an observation, in the order of `shapes`, -> actions (n, 2).
        shapes: Of the parts of one observation.

    Returns:
        The file's content; its inputs are named as the parts.
    """
    compiled = tf.function(graph, input_signature=signature(shapes, 1))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [compiled.get_concrete_function()], tf.Module()
    )
    model: bytes = converter.convert()
    return model
