"""How figures are written in a table."""

from __future__ import annotations

import math
import statistics as numbers
from collections.abc import Mapping, Sequence

from donkey_rl.metrics import statistics

Rows = list[dict[str, str]]
"""Rows of a table: texts by the heads of their columns."""

UNKNOWN = "-"

MEDIAN = "median"
"""What the last row of a table over seeds is called."""


def share(part: int, count: int) -> str:
    """Returns a share of races with Wilson's interval, in per cent.

    >>> share(9, 10)
    '9 of 10 (60% to 98%)'
    """
    found = statistics.proportion(part, count)
    return f"{part} of {count} ({found.low:.0%} to {found.high:.0%})"


def percent(figure: Mapping[str, float | None]) -> str:
    """Returns a share, `value`, and its interval, `low` and `high`, in per cent."""
    value, low, high = (100.0 * (figure[name] or 0.0) for name in ("value", "low", "high"))
    return f"{value:.0f} % ({low:.0f} to {high:.0f})"


def figure(values: Mapping[str, float | None]) -> str:
    """Returns a figure, `value`, with its interval, `low` and `high`."""
    return interval(values["value"], values["low"], values["high"], 3)


def mean(values: Mapping[str, float | None], digits: int = 3) -> str:
    """Returns the mean of an evaluation's metric with its interval."""
    return interval(values["mean"], values["ci_low"], values["ci_high"], digits)


def interval(value: float | None, low: float | None, high: float | None, digits: int) -> str:
    """Returns a figure with its interval, where it has one."""
    if value is None or low is None or high is None:
        return number(value, digits)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def number(value: float | None, digits: int = 0) -> str:
    """Returns a number with so many digits behind the point.

    >>> number(5120), number(20.444, 1), number(-0.001, 2), number(None)
    ('5,120', '20.4', '0.00', '-')
    """
    return UNKNOWN if value is None else f"{value:z,.{digits}f}"


def middle(values: Sequence[float | None]) -> float | None:
    """Returns the median, where what never came counts as the worst; None if that is it.

    >>> middle([3.0, None, 1.0]), middle([3.0, None])
    (3.0, None)
    """
    found = numbers.median(math.inf if value is None else value for value in values)
    return found if math.isfinite(found) else None


def with_median(rows: Rows) -> Rows:
    """Returns rows of seeds and below them the median of each column but the first.

    Args:
        rows: Their cells as `number` writes them.
    """
    if not rows:
        return rows
    name, *heads = rows[0]
    last = {name: MEDIAN}
    for head in heads:
        cells = [row[head] for row in rows]
        known = [None if cell == UNKNOWN else float(cell.replace(",", "")) for cell in cells]
        digits = max(len(cell.partition(".")[2]) for cell in cells)
        last[head] = number(middle(known), digits)
    return [*rows, last]
