"""Tables of numbers that come from outside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import ConfigurationError

FloatArray = npt.NDArray[np.float64]


def finite(name: str, values: npt.ArrayLike, count: int, width: int) -> FloatArray:
    """Returns `values` as an array of shape (count, width).

    Raises:
        ConfigurationError: The shape is another one or a value is not finite.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.shape != (count, width) or not np.isfinite(rows).all():
        raise ConfigurationError(
            f"`{name}` must be finite numbers of shape ({count}, {width}), one row for each "
            f"chosen car. Received: shape {rows.shape}, {int((~np.isfinite(rows)).sum())} of "
            f"them not finite."
        )
    return rows
