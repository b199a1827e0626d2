"""Weights in 8 bits, rounded so that the actions stay what they were.

Rounding each weight to the nearest of 255 levels moves the actions of a usual driver by up to
0.05, and LiteRT's own conversion, which rounds what flows between the layers as well, by more
than 0.1. So weights are rounded one input after another, and those that follow make up for the
error on frames that the driver saw (Frantar et al. 2023, "GPTQ: Accurate Post-Training
Quantization for Generative Pre-trained Transformers", arXiv:2210.17323, equations 2 and 3). That
is done again with more weight on the frames where the actions have moved most, since the largest
change is what counts. The largest layer comes first; one whose rounding would still move the
actions too far stays in single precision, as does all that is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from donkey_rl.agents import features
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.tensorflow_setup import keras, tf
from donkey_rl.errors import DriverError

FloatArray = npt.NDArray[np.float32]
Parts = Mapping[str, npt.NDArray[Any]]

LEVELS: Final = 127
"""The largest level; the smallest is its negative."""

_DAMPING = 0.01
"""Share of the inputs' mean square that is added to each, for weights of inputs rarely seen."""

_ROUNDS = 4
_LEAST_COUNT = 0.1
"""By how much less, at the least, a frame counts in the next round than the worst one does."""

_BATCH = 128
_WEIGHT = 1
"""Which input of a convolution or a dense layer its weights are, in LiteRT."""


class Rounded(NamedTuple):
    """A layer's weights in 8 bits.

    Attributes:
        values: What they are worth, as LiteRT keeps them: by output first, float32.
        levels: Of the same shape, -127 to 127.
        scale: Worth of a level, for each output.
    """

    values: FloatArray
    levels: npt.NDArray[np.int8]
    scale: FloatArray


def rounded(
    driver: Driver | Ensemble,
    seen: Parts,
    tolerance: float,
    progress: Callable[[int], None],
) -> tuple[list[Rounded], float]:
    """Rounds the weights of a driver, which is another one from then on.

    Args:
        driver: A copy of the original.
        seen: What it saw on its drives, of n cars, one drive after another; the more, the better.
        tolerance: By how much its actions on them may change.
        progress: Called with the layers done.

    Returns:
        The layers that are rounded, and their share of all weights.

    Raises:
        DriverError: No layer can be rounded.
    """
    before = _acted(driver, seen)
    layers = [found for _, member in driver.shares for found in _layers(member, seen)]
    layers.sort(key=lambda each: -each.layer.count_params())
    kept, weights = [], 0
    for number, each in enumerate(layers):
        kernel, *rest = each.layer.get_weights()
        error, found = _best(driver, each, seen, before)
        if error > tolerance:
            each.layer.set_weights([kernel, *rest])
        else:
            each.layer.set_weights([found.values.transpose(_by_input(kernel)), *rest])
            kept.append(found)
            weights += kernel.size
        progress(number + 1)
    if not kept:
        raise DriverError(
            f"Expected a driver of which a layer can be rounded to 8 bits without changing its "
            f"actions by more than {tolerance:g}. Received: one without. Export it in single "
            "precision: leave --quantise out."
        )
    return kept, weights / sum(each.layer.get_weights()[0].size for each in layers)


def _best(
    driver: Driver | Ensemble, each: _Layer, seen: Parts, before: FloatArray
) -> tuple[float, Rounded]:
    """Rounds a layer's weights several times, and returns the least largest change of actions."""
    kernel, *rest = each.layer.get_weights()
    flat = kernel.reshape(-1, kernel.shape[-1])
    # The last fifth takes no part but in the judgement.
    counts = (np.arange(len(before)) < 0.8 * len(before)).astype(np.float64)
    tried = []
    for _ in range(_ROUNDS):
        levels, scale = _nearest_in_sum(flat, _second_moments(each, counts))
        values = (levels * scale).astype(np.float32).reshape(kernel.shape)
        each.layer.set_weights([values, *rest])
        changed = np.abs(_acted(driver, seen) - before).max(axis=1)
        by_output = (len(kernel.shape) - 1, *range(len(kernel.shape) - 1))
        found = Rounded(
            values.transpose(by_output),
            levels.astype(np.int8).reshape(kernel.shape).transpose(by_output),
            scale.astype(np.float32),
        )
        tried.append((float(changed.max()), found))
        counts = counts * (_LEAST_COUNT + changed / max(float(changed.max()), 1e-12))
    return min(tried, key=lambda one: one[0])


def _acted(driver: Driver | Ensemble, seen: Parts) -> FloatArray:
    """Returns a driver's actions, some frames at a time."""
    firsts = range(0, len(seen["image"]), _BATCH)
    batches = ({name: part[k : k + _BATCH] for name, part in seen.items()} for k in firsts)
    return np.concatenate([driver.act(each) for each in batches])


def _by_input(kernel: FloatArray) -> tuple[int, ...]:
    """Returns the order of axes that puts a kernel's outputs last again."""
    return (*range(1, len(kernel.shape)), 0)


class _Layer(NamedTuple):
    """A layer with weights, the model that it is in, and what that is given."""

    layer: Any
    model: Any
    given: FloatArray


def _layers(member: Driver, seen: Parts) -> list[_Layer]:
    """Returns the convolutions and the dense layers of features.

    A dense layer of images is another operator in LiteRT, whose weights are not kept as here. Of
    an encoder of the user's own, what models inside it are given is not known.
    """
    found = []
    inputs = np.asarray(seen["image"])
    inner = [] if member.encoder.name == "own" else _inner(member.encoder.model)
    for model in (member.encoder.model, *inner):
        found += [_Layer(each, model, inputs) for each in model.layers if _roundable(each)]
        inputs = inputs if model is member.encoder.model else _applied(model, inputs)
    measured = features.measurements(seen, member.observation.scaling)
    policy = np.concatenate([member.encoder.encode(np.asarray(seen["image"])), measured], axis=1)
    acting = (each for each in member.actor.layers if isinstance(each, keras.layers.Dense))
    return found + [_Layer(layer, member.actor, policy) for layer in acting]


def _roundable(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Conv2D):
        return layer.groups == 1 and set(layer.dilation_rate) == {1}
    return isinstance(layer, keras.layers.Dense) and len(layer.input.shape) == 2


def _inner(model: Any) -> list[Any]:
    """Returns the models that a model is made of, in the order in which they are called."""
    return [layer for layer in model.layers if isinstance(layer, keras.Model)]


def _applied(model: Any, inputs: npt.NDArray[Any]) -> FloatArray:
    batches = range(0, len(inputs), _BATCH)
    return np.concatenate([np.asarray(model(inputs[k : k + _BATCH])) for k in batches])


def _second_moments(each: _Layer, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the mean products of what a layer's weights are multiplied by, (F, F).

    Args:
        each: The layer.
        counts: How much each frame counts, (n,).
    """
    layer, model, given = each
    before = keras.Model(model.inputs[0], layer.input)
    total: Any = 0.0
    for first in range(0, len(given), _BATCH):
        inputs = before(given[first : first + _BATCH])
        if isinstance(layer, keras.layers.Conv2D):
            size, step = (1, *layer.kernel_size, 1), (1, *layer.strides, 1)
            padding = layer.padding.upper()
            inputs = tf.image.extract_patches(inputs, size, step, (1, 1, 1, 1), padding)
        flat = np.asarray(inputs).reshape(-1, inputs.shape[-1])
        count = np.repeat(counts[first : first + _BATCH], len(flat) // inputs.shape[0])
        total = total + (flat * count[:, None].astype(np.float32)).T @ flat
    return np.asarray(total, np.float64)


def _nearest_in_sum(
    kernel: FloatArray, moments: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rounds weights so that their sums over the inputs change least; see this module.

    Args:
        kernel: (F, O).
        moments: Mean products of the inputs, (F, F).

    Returns:
        Levels (F, O), and their scale (O,).
    """
    scale = np.maximum(np.abs(kernel).max(axis=0), 1e-12) / LEVELS
    power = np.diag(moments).copy()
    # An input that is always 0, or nearly, takes the nearest level.
    damped = moments + np.diag(np.full(len(power), _DAMPING * power.mean() + 1e-12))
    order = np.argsort(-power)
    left = kernel[order].astype(np.float64)
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    levels = np.empty_like(left)
    for index in range(len(left)):
        levels[index] = np.clip(np.round(left[index] / scale), -LEVELS, LEVELS)
        error = (left[index] - levels[index] * scale) / upper[index, index]
        left[index + 1 :] -= np.outer(upper[index, index + 1 :], error)
    return levels[np.argsort(order)], scale


def packed(content: bytes, layers: Sequence[Rounded]) -> bytes:
    """Returns a LiteRT model with the weights of some layers kept in 8 bits.

    Each is made single precision again by one ``DEQUANTIZE``, once when the model is loaded.

    Args:
        content: A model in single precision, with the rounded weights.
        layers: What was rounded.

    Raises:
        DriverError: A layer's weights are not in the model.
    """
    model = schema.ModelT.InitFromPackedBuf(content)
    (graph,) = model.subgraphs
    model.operatorCodes.append(_dequantize())
    code = len(model.operatorCodes) - 1
    # A layer may be called more than once, by the same weights or by equal ones.
    made: dict[int, Any] = {}
    missing = set(range(len(layers)))
    for operator in graph.operators:
        index = operator.inputs[_WEIGHT] if len(operator.inputs) > _WEIGHT else -1
        if index >= 0 and index not in made:
            held = [k for k, layer in enumerate(layers) if _holds(model, index, layer)]
            if not held:
                continue
            made[index] = _unpacking(model, index, layers[held[0]], code)
            missing -= set(held)
        if index in made:
            operator.inputs = np.array(operator.inputs)
            operator.inputs[_WEIGHT] = made[index].outputs[0]
    if missing:
        raise DriverError(
            f"Expected the weights of {len(layers)} layers in the LiteRT model. Received: one "
            f"without {len(missing)} of them. Leave --quantise out."
        )
    graph.operators = [*made.values(), *graph.operators]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _dequantize() -> Any:
    code = schema.OperatorCodeT()
    # The fifth version knows a scale for each output.
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 5
    return code


def _holds(model: Any, index: int, layer: Rounded) -> bool:
    """Whether a tensor of a model is the weights of a layer."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None:
        return False
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
    return values.size == layer.values.size and np.array_equal(values, layer.values.ravel())


def _unpacking(model: Any, index: int, layer: Rounded, code: int) -> Any:
    """Makes a tensor of weights one of 8 bits, and returns the operator that unpacks it."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[index]
    result = schema.TensorT()
    result.shape, result.type, result.name = tensor.shape, tensor.type, tensor.name + b"_float"
    # The first buffer is that of everything which is no constant.
    result.buffer = 0
    graph.tensors.append(result)
    data = np.frombuffer(layer.levels.tobytes(), np.uint8)
    if sum(each.buffer == tensor.buffer for each in graph.tensors) > 1:
        # Equal constants may share one.
        model.buffers.append(schema.BufferT())
        tensor.buffer = len(model.buffers) - 1
    model.buffers[tensor.buffer].data = data
    tensor.type = schema.TensorType.INT8
    quantisation = schema.QuantizationParametersT()
    quantisation.scale = layer.scale
    quantisation.zeroPoint = np.zeros(len(layer.scale), np.int64)
    quantisation.quantizedDimension = 0
    tensor.quantization = quantisation
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs = np.array([index], np.int32)
    operator.outputs = np.array([len(graph.tensors) - 1], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    return operator
