"""How the simulator writes what it says: one line of JSON, numbers as .NET writes them."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def wire_number(value: float) -> str:
    """Returns a number as .NET writes single precision: seven digits, quoted infinity.

    >>> wire_number(1 / 3), wire_number(1.23e-05), wire_number(2.0), wire_number(math.inf)
    ('0.3333333', '1.23E-05', '2', '"INFINITY"')
    """
    if math.isnan(value):
        return '"NaN"'
    if math.isinf(value):
        return '"INFINITY"' if value > 0 else '"-INFINITY"'
    return f"{float(np.float32(value)):.7G}"


_CLOCKS = frozenset({"time", "timeStamp"})
_LONG_S = 10_000.0
"""From here on seven digits are too few to tell the messages of a long drive apart."""


def encode(fields: Mapping[str, Any]) -> bytes:
    """Returns the fields of a message as the simulator writes them, with its newline."""
    return (_written(fields) + "\n").encode("utf-8")


_quoted = functools.lru_cache(maxsize=256)(json.dumps)
"""Names in quotes; a scan of a lidar has thousands, of three kinds."""


def _named(key: str, value: Any) -> str:
    if key in _CLOCKS and isinstance(value, float) and _LONG_S <= value < math.inf:
        return f"{value:.3f}"
    return _written(value)


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return wire_number(float(value))
    if isinstance(value, Mapping):
        inner = (f"{_quoted(str(key))}:{_named(key, each)}" for key, each in value.items())
        return "{" + ",".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_written(each) for each in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)
