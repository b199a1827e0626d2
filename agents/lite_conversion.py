"""A compiled driver as a LiteRT model, for computers without TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from donkey_rl.agents.tensorflow_setup import tf

_SIGNATURE = "serving_default"
"""Of the only function of a model; donkeycar looks for it under this name."""


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
    """Converts a driver for one car, with LiteRT's own operations only.

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
    content: bytes = converter.convert()
    return content


def of_keras(model: Any) -> bytes:
    """Converts a Keras model for one car; its inputs and outputs keep their names.

    Args:
        model: Of float32 inputs, each output made by a layer of its own.

    Returns:
        The file's content, with a signature by those names.
    """
    specs = [tf.TensorSpec((1, *each.shape[1:]), tf.float32, each.name) for each in model.inputs]
    names = model.output_names

    def call(*inputs: Any) -> dict[str, Any]:
        return dict(zip(names, model(list(inputs)), strict=True))

    function = tf.function(call, input_signature=specs).get_concrete_function()
    module = tf.Module()
    # What a saved model does not hold, a converter cannot make part of the graph.
    module.held = [variable.value for variable in model.variables]
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as folder:
        tf.saved_model.save(module, folder, signatures={_SIGNATURE: function})
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content
