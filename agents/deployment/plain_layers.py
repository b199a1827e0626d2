"""A driver's network in layers that Keras 2 has as well, and as a file that it reads.

donkeycar 5 asks for TensorFlow 2.15, which is the last with Keras 2. That reads no file of Keras
3: the operations in our networks are classes that it lacks, and what joins the layers is written
in another way. So the network is built anew of layers that both have, and the architecture in the
file is written as Keras 2 wrote it, which Keras 3 reads too.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from donkey_rl.agents import keras_files
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import DriverError

_SAME = (
    "Activation", "AveragePooling2D", "Conv2D", "Cropping2D", "Dense", "Flatten",
    "GlobalAveragePooling1D", "LayerNormalization", "Permute", "ReLU", "RepeatVector", "Rescaling",
    "Reshape", "UnitNormalization",
)  # fmt: skip
"""Layers that Keras 2 has under the same names, with the same settings."""

_JOINING = {
    kind.__name__: kind
    for kind in (
        keras.layers.Add, keras.layers.Average, keras.layers.Concatenate, keras.layers.Maximum,
        keras.layers.Minimum, keras.layers.Multiply, keras.layers.Subtract,
    )
}  # fmt: skip
"""The same of layers that take several tensors; operations of these names are something else."""

_LEAST_STEP = 1.0 / 256.0
"""Less than the step between means of up to 15 x 15 whole numbers, which is what is rounded."""

Tensor = Any


class _Translation:
    """Builds one model anew, from its outputs back to its inputs."""

    def __init__(self, prefix: str, model: Any, sources: Sequence[Tensor]) -> None:
        self._prefix = prefix
        self._made: dict[int, Tensor] = {
            id(old): new for old, new in zip(model.inputs, sources, strict=True)
        }
        self._count = 0

    def of(self, tensor: Tensor) -> Tensor:
        """Returns what stands for a tensor of the old model."""
        if id(tensor) not in self._made:
            self._made[id(tensor)] = self._translated(tensor)
        return self._made[id(tensor)]

    def _translated(self, tensor: Tensor) -> Tensor:
        operation, node_index, _ = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        name = type(operation).__name__
        given = node.arguments.args
        if isinstance(operation, keras.Model):
            inner = f"{self.name(operation.name)}_"
            return translated(operation, [self.of(each) for each in node.input_tensors], inner)
        if name in _SAME:
            return self._same(operation, self.of(node.input_tensors[0]))
        if isinstance(operation, _JOINING.get(name, ())):
            return self._same(operation, [self.of(each) for each in node.input_tensors])
        rule = _RULES.get(name)
        if rule is None:
            raise DriverError(
                f"Expected a network of layers that Keras 2 has. Received: one with '{name}'. "
                "Export it with --to litert."
            )
        return rule(self, given, operation)

    def _same(self, layer: Any, source: Tensor | list[Tensor]) -> Tensor:
        # Some layers take images in whole numbers here: the new input is in floats.
        config = {**layer.get_config(), "name": self.name(layer.name), "dtype": "float32"}
        copy = type(layer).from_config(config)
        result = copy(source)
        copy.set_weights([np.array(each) for each in layer.get_weights()])
        return result

    def name(self, of: str) -> str:
        """Returns a name that no other layer has."""
        self._count += 1
        return f"{self._prefix}{of}_{self._count}"

    def shifted(self, source: Tensor, scale: float, offset: float) -> Tensor:
        """Returns ``scale * source + offset``."""
        layer = keras.layers.Rescaling(scale, offset, name=self.name("scaled"), dtype="float32")
        return layer(source)


def translated(model: Any, sources: Sequence[Tensor], prefix: str = "") -> Tensor:
    """Applies a network to tensors, in layers that Keras 2 has.

    Args:
        model: Keras 3 model of one output; its weights are copied.
        sources: What it is applied to, in the order of its inputs. They may have another axis
            between the first and the last one where its layers take that.
        prefix: Begins the names of the layers.

    Raises:
        DriverError: It holds something that no layer stands for.
    """
    return _Translation(prefix, model, sources).of(model.outputs[0])


def _multiplied(build: _Translation, given: Any, _: Any) -> Tensor:
    first, second = given if _is_tensor(given[0]) else given[::-1]
    if not _is_tensor(second):
        return build.shifted(build.of(first), _number(second), 0.0)
    if _operation(second) == "Rsqrt":
        return _even_contrast(build, first, second)
    return keras.layers.Multiply(name=build.name("product"))([build.of(first), build.of(second)])


def _even_contrast(build: _Translation, centred: Tensor, root: Tensor) -> Tensor:
    """Stands for `lane_network.even_contrast`: (x - mean) / sqrt(variance + epsilon).

    That is layer normalisation over height and width without weights. Whether a network meant
    something else is found by comparing actions.
    """
    (variance,) = _node(root).input_tensors
    epsilon = _node(variance).arguments.args[1]
    images = _node(centred).arguments.args[0]
    if _operation(centred) != "Subtract" or _is_tensor(epsilon):
        raise DriverError(
            "Expected a root as in lane_network.even_contrast. Received: another network. "
            "Export it with --to litert."
        )
    layer = keras.layers.LayerNormalization(
        axis=[1, 2], epsilon=float(epsilon), center=False, scale=False,
        name=build.name("even_contrast"), dtype="float32",
    )  # fmt: skip
    return layer(build.of(images))


def _clipped(build: _Translation, given: Any, operation: Any) -> Tensor:
    low, high = float(operation.x_min), float(operation.x_max)
    layer = keras.layers.ReLU(high - low, name=build.name("clipped"), dtype="float32")
    return build.shifted(layer(build.shifted(build.of(given[0]), 1.0, -low)), 1.0, low)


def _rounded(build: _Translation, given: Any, _: Any) -> Tensor:
    """Stands for rounding of 0 or more, halves to the even number, as `keras.ops.round` does.

    Keras 2 has no layer for it, but casts to whole numbers, which cuts off what follows the point.
    """
    source = build.of(given[0])
    whole = truncated(source, build.name("whole"))
    pairs = truncated(build.shifted(source, 0.5, 0.0), build.name("pairs"))
    odd = keras.layers.Subtract(name=build.name("odd"))([whole, build.shifted(pairs, 2.0, 0.0)])
    raised = keras.layers.Add(name=build.name("raised"))(
        [build.shifted(source, 1.0, 0.5 - _LEAST_STEP), build.shifted(odd, 2.0 * _LEAST_STEP, 0.0)]
    )
    return truncated(raised, build.name("rounded"))


def truncated(source: Tensor, name: str) -> Tensor:
    """Returns numbers of 0 or more without what follows their point.

    Args:
        source: Of float32.
        name: Begins the names of the layers.
    """
    cut = keras.layers.Rescaling(1, 0, name=f"{name}_cut", dtype="int32")(source)
    return keras.layers.Rescaling(1.0, name=name, dtype="float32")(cut)


def _tanh(build: _Translation, given: Any, _: Any) -> Tensor:
    return keras.layers.Activation("tanh", name=build.name("tanh"))(build.of(given[0]))


def _added(sign: float) -> Callable[[_Translation, Any, Any], Tensor]:
    def rule(build: _Translation, given: Any, _: Any) -> Tensor:
        first, second = given
        if not _is_tensor(first):
            return build.shifted(build.of(second), sign, _number(first))
        if not _is_tensor(second):
            return build.shifted(build.of(first), 1.0, sign * _number(second))
        both = [build.of(first), build.of(second)]
        kind = keras.layers.Add if sign > 0.0 else keras.layers.Subtract
        return kind(name=build.name("sum"))(both)

    return rule


def _number(value: Any) -> float:
    if np.ndim(value):
        raise DriverError(
            f"Expected an encoder that adds and multiplies numbers and images alone. Received: "
            f"one with an array of shape {np.shape(value)}. Export it with --to litert."
        )
    return float(value)


def _unchanged(build: _Translation, given: Any, _: Any) -> Tensor:
    return build.of(given[0])


_RULES: dict[str, Callable[[_Translation, Any, Any], Tensor]] = {
    "Add": _added(1.0), "Cast": _unchanged, "Clip": _clipped, "Multiply": _multiplied,
    "Round": _rounded, "Subtract": _added(-1.0), "Tanh": _tanh,
}  # fmt: skip


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _node(tensor: Tensor) -> Any:
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def _operation(tensor: Tensor) -> str:
    return type(tensor._keras_history[0]).__name__


def save(model: Any, path: Path) -> None:
    """Writes a model of such layers as a ``.keras`` file for Keras 2.15 and Keras 3.

    Args:
        model: Functional, of float32 layers that are each called once.
        path: Where to.
    """
    keras_files.save_model(model, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = json.dumps(_of_keras_2(json.loads(parts["config.json"]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def _of_keras_2(architecture: dict[str, Any]) -> dict[str, Any]:
    """Returns an architecture of Keras 3 as Keras 2 writes it."""
    config = architecture["config"]
    config["layers"] = [_layer(each) for each in config["layers"]]
    return {
        "module": "keras", "class_name": "Model", "config": config,
        "registered_name": None,
    }  # fmt: skip


def _layer(layer: dict[str, Any]) -> dict[str, Any]:
    dtype = layer["config"]["dtype"]
    config = {**layer["config"], "dtype": dtype if isinstance(dtype, str) else _policy(dtype)}
    if layer["class_name"] == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
        config = {key: config[key] for key in ("batch_input_shape", "dtype", "name")}
    # How weights began says nothing of those in the file, and takes other words in Keras 2.
    config = {
        key: value
        for key, value in config.items()
        if key not in _ONLY_KERAS_3 and not key.endswith("initializer")
    }
    return {
        "module": layer["module"], "class_name": layer["class_name"], "config": config,
        "registered_name": None, "name": layer["name"], "inbound_nodes": _inbound(layer),
    }  # fmt: skip


def _policy(dtype: dict[str, Any]) -> str:
    name: str = dtype["config"]["name"]
    return name


_ONLY_KERAS_3 = ("quantization_config", "optional", "lora_rank", "lora_alpha", "rms_scaling")


def _inbound(layer: dict[str, Any]) -> list[Any]:
    """Returns what a layer is called on: for each call the layers whose output it takes."""
    calls = []
    for node in layer["inbound_nodes"]:
        (given,) = node["args"]
        tensors = given if isinstance(given, list) else [given]
        histories = [each["config"]["keras_history"] for each in tensors]
        calls.append([[name, index, output, {}] for name, index, output in histories])
    return calls
