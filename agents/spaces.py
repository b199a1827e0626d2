"""Spaces as JSON, and whether two of them agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from donkey_rl.errors import InputError


def to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """Describes a Box, or choices from 0, in numbers and words that JSON can hold.

    Raises:
        InputError: On another space.

    >>> to_json(spaces.Box(-1, 1, (2,), np.float32))
    {'shape': [2], 'dtype': 'float32', 'low': [-1.0, -1.0], 'high': [1.0, 1.0]}
    """
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
    """Returns bounds as numbers; infinities, which JSON lacks, as words."""
    return [float(b) if np.isfinite(b) else str(b) for b in bounds.ravel()]


def from_json(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """Builds the space that `to_json` described.

    Raises:
        InputError: When a key is missing or a number does not fit.

    >>> from_json(to_json(spaces.Box(-np.inf, 3, (1,), np.float32)))
    Box(-inf, 3.0, (1,), float32)
    """
    try:
        if "choices" in data:
            return spaces.Discrete(int(data["choices"]))
        shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
        low, high = (
            np.array([float(b) for b in data[side]]).reshape(shape).astype(dtype)
            for side in ("low", "high")
        )
        return spaces.Box(low, high, shape, dtype.type)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"Expected shape, dtype, low and high of a Box. Received: {dict(data)} ({error}). "
            "Save the agent again."
        ) from error
