"""Small hand-built races: for the worked examples of the metrics, for `check_metric`, for tests.

All are driven on a circle of 200 u with 100 nodes, 2 u apart, from 2 u before the start line; the
road reaches 5 u to each side.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from donkey_rl.metrics.race import COLUMNS, OPTIONAL, RIVALS, Race, RaceHeader

LENGTH = 200.0
"""Length of the path (u)."""

FloatArray = npt.NDArray[np.float64]

_NODES = 100
_STEP_S = 0.05


def steady(speed: float, seconds: float) -> FloatArray:
    """Returns the progress (u) of a steady drive, one row each 50 ms.

    >>> steady(10.0, 0.1)
    array([0. , 0.5, 1. ])
    """
    return stints((speed, seconds))


def stints(*parts: tuple[float, float]) -> FloatArray:
    """Returns the progress (u) of steady drives one after the other, one row each 50 ms.

    >>> stints((10.0, 0.1), (-10.0, 0.05))
    array([0. , 0.5, 1. , 0.5])

    Args:
        *parts: Speed (u/s), negative for driving back, and duration (s) of each.
    """
    counts = [round(seconds / _STEP_S) for _, seconds in parts]
    speeds = np.repeat([speed for speed, _ in parts], counts)
    return np.asarray(np.concatenate([[0.0], np.cumsum(speeds * _STEP_S)]), np.float64)


def drive(progress: npt.ArrayLike, time_s: npt.ArrayLike | None = None, **changes: object) -> Race:
    """Returns a race along the middle of the road.

    >>> len(drive([0.0, 0.5, 1.0], steering=[0.0, 0.2, 0.2], laps=1))
    3

    Args:
        progress: Way along the path since the spawn (u), one number for each row.
        time_s: Times of the rows (s). Defaults to one each 50 ms.
        **changes: Columns, and fields of the header, that differ from an undisturbed drive.
    """
    way = np.asarray(progress, np.float64)
    time = np.arange(len(way)) * _STEP_S if time_s is None else np.asarray(time_s, np.float64)
    header = RaceHeader.model_validate(
        {
            "track": "circle",
            "track_length": LENGTH,
            "nodes": _NODES,
            "start_line": 2.0,
            "start_line_progress": 2.0,
            "road_left": -5.0,
            "road_right": 5.0,
        }
        | {name: value for name, value in changes.items() if name not in COLUMNS | RIVALS}
    )
    radius = LENGTH / (2.0 * math.pi)
    columns: dict[str, object] = {
        name: np.zeros(len(way)) for name in COLUMNS if name not in OPTIONAL
    }
    columns |= {
        "time_s": time,
        "progress": way,
        "x": radius * np.sin(way / radius),
        "z": radius * np.cos(way / radius),
        "yaw": math.pi / 2.0 + way / radius,
        "node": np.floor(way / LENGTH * _NODES) % _NODES,
        "speed": np.abs(np.gradient(way, time)) if len(way) > 1 else np.zeros(len(way)),
    }
    columns |= {name: value for name, value in changes.items() if name in COLUMNS | RIVALS}
    return Race(header, columns)  # type: ignore[arg-type]
