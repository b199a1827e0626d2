"""Checks that a metric keeps to what every metric must: `check_metric`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from donkey_rl import own_code
from donkey_rl.errors import InputError
from donkey_rl.metrics.examples import drive, steady, stints
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import Metric

_OFFSET_S = 1000.0
_TOLERANCE = 1e-6


def check_metric(metric: Metric) -> None:
    """Checks a metric on small races: without a row, with one, without a lap, with several.

    It must have a description; give a number or NaN, within its range; give the same number for
    the same race, and leave the race as it is; and not depend on when the recording began.

    >>> from donkey_rl.metrics import registry
    >>> check_metric(registry.load("best_lap_s"))

    Raises:
        InputError: A check failed; the message says which, on which race, with what value.
    """
    if not metric.description.strip():
        raise _failed(metric, "described", "its docstring is empty. Say what it measures.")
    for name, race in _races().items():
        for title, check in _CHECKS.items():
            complaint = check(metric, race)
            if complaint:
                raise _failed(metric, title, f"on a race {name} it {complaint}")


def _failed(metric: Metric, title: str, complaint: str) -> InputError:
    return InputError(
        f"Metric '{metric.name}' ({metric.source}) fails the check '{title}': {complaint}"
    )


def _races() -> dict[str, Race]:
    """Returns the races that metrics are checked on, by what they are."""
    way = stints((10.0, 30.0), (-4.0, 3.0), (18.0, 40.0))
    count = len(way)
    eventful = {
        "steering": np.sin(0.3 * np.arange(count)),
        "throttle": np.cos(0.1 * np.arange(count)),
        "lateral": 6.0 * np.sin(0.01 * np.arange(count)),
        "cte": 6.0 * np.sin(0.01 * np.arange(count)),
        "off_track": np.abs(6.0 * np.sin(0.01 * np.arange(count))) > 5.0,
        "hit": np.where(np.arange(count) % 400 == 7, "cone", ""),
        "reset": np.arange(count) == 900,
        "latency_ms": np.where(np.arange(count) > 0, 20.0 + np.arange(count) % 50, math.nan),
        "missed": np.arange(count) % 50 == 49,
    }
    nearest = 15.0 + 14.0 * np.sin(0.02 * np.arange(count))
    among = {
        "opponents": ("red", "blue"),
        "gap": np.where(nearest > 25.0, math.nan, nearest),
        "gap_speed": np.where(nearest > 25.0, math.nan, 10.0),
        "passed": np.arange(count) // 300,
        "hit": np.where(np.arange(count) % 500 == 7, "red", ""),
        "blameless": np.arange(count) % 1000 == 7,
    }
    return {
        "without a row": drive([]),
        "of one row": drive([0.0]),
        "of two rows": drive([0.0, 0.5]),
        "without a lap": drive(steady(8.0, 12.0)),
        "with a car that stands": drive(np.zeros(100)),
        "of three laps": drive(steady(16.0, 40.0)),
        "with excursions, hits and a reset": drive(way, **eventful),
        "among other cars": drive(way, **among),
    }


def _gives_a_number(metric: Metric, race: Race) -> str:
    try:
        value: object = metric(race)
    except (Exception, SystemExit) as error:
        return f"raises {own_code.describe(error, metric.source)}."
    if not isinstance(value, float):
        return f"gives {type(value).__name__}. Return a float, NaN where it is undefined."
    if math.isinf(value):
        return f"gives {value}. Return NaN where it is undefined."
    return ""


def _keeps_its_range(metric: Metric, race: Race) -> str:
    value = metric(race)
    if math.isnan(value) or metric.low <= value <= metric.high:
        return ""
    return f"gives {value}, but its range is {metric.low} to {metric.high}. Mend one of them."


def _is_pure(metric: Metric, race: Race) -> str:
    before = {name: values.copy() for name, values in race.columns.items()}
    first, second = metric(race), metric(race)
    if not _same(first, second, 0.0):
        return f"gives {first} and then {second}. It may depend on nothing but the race."
    for name, values in before.items():
        if not np.array_equal(values, race[name], equal_nan=values.dtype.kind == "f"):
            return f"changes the column '{name}'. Work on a copy."
    return ""


def _ignores_the_clock(metric: Metric, race: Race) -> str:
    later = Race(race.header, {**race.columns, "time_s": race["time_s"] + _OFFSET_S})
    first, second = metric(race), metric(later)
    if _same(first, second, _TOLERANCE):
        return ""
    return (
        f"gives {first}, and {second} where all times are {_OFFSET_S:.0f} s later. Use "
        "differences of times only."
    )


_CHECKS: dict[str, Callable[[Metric, Race], str]] = {
    "gives a number": _gives_a_number,
    "keeps its range": _keeps_its_range,
    "is pure": _is_pure,
    "does not depend on the clock": _ignores_the_clock,
}
"""By title, what tests a metric on a race and returns what is wrong, or nothing."""


def _same(first: float, second: float, tolerance: float) -> bool:
    close = math.isclose(first, second, rel_tol=tolerance, abs_tol=tolerance)
    return close or (math.isnan(first) and math.isnan(second))
