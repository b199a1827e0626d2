"""What the models of a driver folder may be made of, read without loading or running them.

A model is code: a Keras layer may hold some of its own, a LiteRT operator may name some. So who
races a driver that came from elsewhere first looks at what its models are made of, and takes only
what this package's encoders and policies are.
"""

from __future__ import annotations

import json
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ai_edge_litert import schema_py_generated as schema

from donkey_rl.errors import DriverError

LARGEST_LITE_MODEL: Final = 100_000_000
"""Bytes; the default driver has 0.6 million, and an ensemble so many for each member."""

KERAS_PARTS: Final = frozenset(
    {
        # Layers, and models inside models.
        "Activation", "Average", "AveragePooling2D", "Concatenate", "Conv2D", "Cropping2D",
        "Dense", "Flatten", "Functional", "InputLayer", "LayerNormalization", "Minimum", "Permute",
        "ReLU", "Rescaling",
        # Operations.
        "Add", "Cast", "Clip", "Maximum", "Mean", "Multiply", "Round", "Rsqrt", "Square",
        "Subtract", "Tanh",
        # How weights began, how numbers are kept, and what joins the parts.
        "DTypePolicy", "GlorotUniform", "HeUniform", "Ones", "Orthogonal", "OrthogonalInitializer",
        "Zeros", "__keras_tensor__", "__tuple__",
    }
)  # fmt: skip
"""Classes that the Keras models of encoders, policies and critics name."""

LITE_OPERATORS: Final = frozenset(
    {
        "ADD", "ADD_N", "AVERAGE_POOL_2D", "CAST", "CONCATENATION", "CONV_2D", "DIV",
        "FULLY_CONNECTED", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "NEG", "PAD", "RELU", "RESHAPE",
        "ROUND", "RSQRT", "SOFTMAX", "SQUARE", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM",
        "TANH", "TILE", "TRANSPOSE",
    }
)  # fmt: skip
"""Operators that LiteRT's conversion makes of them."""

_KERAS_FILES = {"metadata.json", "config.json", "model.weights.h5"}
_LARGEST_ARCHITECTURE = 2_000_000
_LARGEST_KERAS_MODEL = 500_000_000
_MOST_OPERATORS = 10_000
_LARGEST_TENSOR = 50_000_000
_MOST_AXES = 8
_REMEDY = "Race drivers of people you trust, and copy this one again from where it was trained."
_UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, IndexError, KeyError, MemoryError
)  # fmt: skip
"""What readers raise on bytes that are not what they should be."""

_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}


def check_keras(path: Path) -> None:
    """Checks what a ``.keras`` file is made of; its weights are not read.

    Raises:
        DriverError: It is no such file, too large, or holds something that no driver needs.
    """
    try:
        for name, module in _parts(_architecture(path)):
            if name not in KERAS_PARTS or not _ours(module):
                shown = f"{module}.{name}" if module else name
                raise ValueError(f"a part '{shown[:100]}', which no encoder or policy uses")
    except (*_UNREADABLE, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise _unfit(path, error) from error


def foreign_parts(path: Path) -> list[str]:
    """Returns what in a ``.keras`` file only its author's own code can read, or is such code.

    Raises:
        DriverError: It is no such file, or too large.
    """
    try:
        parts = list(_parts(_architecture(path)))
    except (*_UNREADABLE, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise _unfit(path, error) from error
    # `package>name` is what a program has registered; a `Lambda` holds code.
    code = [n for n, module in parts if ">" in n or n == "Lambda" or not _ours(module)]
    return list(dict.fromkeys(code))


def check_lite(content: bytes, name: str) -> None:
    """Checks what a LiteRT model is made of, before anything else reads it.

    Args:
        content: Of the file.
        name: What errors call it.

    Raises:
        DriverError: It is no such model, too large, or holds something that no driver needs.
    """
    try:
        if len(content) > LARGEST_LITE_MODEL:
            raise ValueError(f"{len(content):,} bytes, {LARGEST_LITE_MODEL:,} at most")
        if not schema.Model.ModelBufferHasIdentifier(content, 0):
            raise ValueError("no LiteRT model")
        model = schema.Model.GetRootAs(content, 0)
        for operator in _operators(model):
            if operator not in LITE_OPERATORS:
                raise ValueError(f"an operator '{operator[:100]}', which no driver uses")
        _check_size(model)
    except (*_UNREADABLE, struct.error) as error:
        raise _unfit(name, error) from error


def _architecture(path: Path) -> Any:
    """Returns the architecture in a ``.keras`` file, which is a ZIP archive, as JSON values."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = sorted(entry.filename for entry in entries)
        if names != sorted(_KERAS_FILES):
            raise ValueError(f"an archive of {', '.join(names[:5])[:200] or 'nothing'}")
        if sum(entry.file_size for entry in entries) > _LARGEST_KERAS_MODEL:
            raise ValueError(f"a model of over {_LARGEST_KERAS_MODEL:,} bytes")
        with archive.open("config.json") as file:
            text = file.read(_LARGEST_ARCHITECTURE + 1)
    if len(text) > _LARGEST_ARCHITECTURE:
        raise ValueError(f"an architecture of over {_LARGEST_ARCHITECTURE:,} bytes")
    return json.loads(text)


def _parts(architecture: Any) -> Iterator[tuple[str, str | None]]:
    """Yields class and module of everything that an architecture names."""
    waiting = [architecture]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if "class_name" in value:
                yield _text(value["class_name"]), _text(value.get("module") or "") or None
            if value.get("registered_name"):
                # Keras looks there first: `package>name` of classes that a program has registered.
                yield _text(value["registered_name"]), None


def _ours(module: str | None) -> bool:
    """Whether a module is Keras's, or nothing is said of it."""
    return module is None or module == "keras" or module.startswith("keras.")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _operators(model: Any) -> Iterator[str]:
    """Yields the operators of a LiteRT model; custom ones by the name of their code."""
    if not 0 < model.OperatorCodesLength() <= _MOST_OPERATORS:
        raise ValueError("operator codes")
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        if code.CustomCode() is not None:
            yield f"custom {code.CustomCode().decode(errors='replace')}"
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        yield _NAMES.get(builtin, f"number {builtin}")


def _check_size(model: Any) -> None:
    """Checks that a model is one graph of a reasonable size, all of it in this file."""
    if model.SubgraphsLength() != 1 or model.ExternalBuffersLength():
        raise ValueError("several graphs, or one with other files")
    graph = model.Subgraphs(0)
    if max(graph.OperatorsLength(), graph.TensorsLength()) > _MOST_OPERATORS:
        raise ValueError(f"over {_MOST_OPERATORS:,} operators or tensors")
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        shape = [tensor.Shape(axis) for axis in range(min(tensor.ShapeLength(), _MOST_AXES + 1))]
        if len(shape) > _MOST_AXES or math.prod(map(abs, shape)) > _LARGEST_TENSOR:
            raise ValueError(f"a tensor of the shape {shape}")


def _unfit(what: Path | str, error: Exception) -> DriverError:
    received = " ".join(str(error).split())[:300] or type(error).__name__
    return DriverError(
        f"Expected in '{what}' a model of this package's parts. Received: {received}. {_REMEDY}"
    )
