"""Spaces as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl.errors import InputError

_LARGEST = 100_000_000
"""Numbers of an observation that are believed."""


def to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """Describes a Box, choices from 0, or a Dict of them, in what JSON can hold.

    Raises:
        InputError: On another space.

    >>> to_json(spaces.Box(-1, 1, (2,), np.float32))
    {'shape': [2], 'dtype': 'float32', 'low': [-1.0, -1.0], 'high': [1.0, 1.0]}
    >>> to_json(spaces.Dict(image=spaces.Box(0, 255, (4, 5, 3), np.uint8)))
    {'parts': {'image': {'shape': [4, 5, 3], 'dtype': 'uint8', 'low': [0.0], 'high': [255.0]}}}
    """
    if isinstance(space, spaces.Dict):
        return {"parts": {name: to_json(part) for name, part in space.spaces.items()}}
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return {"choices": int(space.n)}
    if not isinstance(space, spaces.Box):
        raise InputError(f"Expected a Box. Received: {space}. Flatten the space first.")
    return {
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "low": _numbers(space.low),
        "high": _numbers(space.high),
    }


def _numbers(bounds: Any) -> list[float | str]:
    """Returns bounds as numbers; infinities, which JSON lacks, as words.

    The bounds of an image are the same for each pixel, and are then one number.
    """
    values = bounds.ravel()
    if bounds.ndim > 1 and (values == values[0]).all():
        values = values[:1]
    return [float(b) if np.isfinite(b) else str(b) for b in values]


def from_json(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """Builds the space that `to_json` described.

    Raises:
        InputError: When a key is missing or a number does not fit.

    >>> from_json(to_json(spaces.Box(-np.inf, 3, (1,), np.float32)))
    Box(-inf, 3.0, (1,), float32)
    """
    try:
        if "parts" in data:
            return spaces.Dict({name: from_json(part) for name, part in data["parts"].items()})
        if "choices" in data:
            return spaces.Discrete(int(data["choices"]))
        shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
        if math.prod(shape) > _LARGEST:
            raise ValueError(f"{math.prod(shape)} numbers")
        low, high = (
            np.broadcast_to(_bounds(data[side], shape), shape).astype(dtype)
            for side in ("low", "high")
        )
        return spaces.Box(low, high, shape, dtype.type)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"Expected shape, dtype, low and high of a Box. Received: {dict(data)} ({error}). "
            "Save the agent again."
        ) from error


def _bounds(numbers: Sequence[float | str], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Returns bounds of one number each, or one for all."""
    values = np.array([float(b) for b in numbers])
    return values if len(values) == 1 else values.reshape(shape)
