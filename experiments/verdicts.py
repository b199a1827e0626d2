"""What a comparison of two drivers comes to, in plain sentences."""

from __future__ import annotations

import math
import re

from donkey_rl.formatting import number
from donkey_rl.metrics import statistics
from donkey_rl.metrics.registry import Metric
from donkey_rl.metrics.statistics import Difference, Interval

_LAP_TIME = re.compile(r"(best|mean|median)_lap_s")


def sentence(
    difference: Difference, metric: Metric, first: str, second: str, *, comparisons: int = 1
) -> str:
    """Returns whether the second driver is really better or worse than the first, and by what.

    Args:
        difference: The second against the first, `statistics.adjust` done.
        metric: What was compared.
        first: What the first driver is called.
        second: What the second is called.
        comparisons: How many comparisons the verdict allows for.
    """
    if difference.verdict == "same":
        count = _races(difference.both)
        text = f"{second} and {first} have the very same {metric.name} in each of {count}."
    elif difference.verdict == "unclear":
        text = _unclear(difference, metric, first, second, comparisons)
    else:
        text = _real(difference, metric, first, second)
    return " ".join([text, *_missing(difference, metric, first, second)])


def bounds(interval: Interval, digits: int = 3) -> str:
    """Returns an interval's bounds, or a dash where they are not known."""
    if math.isnan(interval.low):
        return "-"
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}"


def percentages(share: Interval) -> str:
    """Returns the bounds of a share as percentages, or a dash where they are not known."""
    if math.isnan(share.low):
        return "-"
    return f"{100 * share.low:.0f} to {100 * share.high:.0f} %"


def _real(difference: Difference, metric: Metric, first: str, second: str) -> str:
    """Returns the sentence on a difference that is no chance."""
    better, mean = difference.verdict == "better", difference.mean
    gains = mean.low > 0.0 if (metric.direction == "higher") == better else mean.high < 0.0
    level = f"{100 * difference.level:.0f} %"
    if not gains:
        share, verb = difference.improvement, "beats" if better else "loses to"
        if not better:
            share = Interval(1 - share.value, 1 - share.high, 1 - share.low)
        return (
            f"{second} {verb} {first} by {metric.name} in {100 * share.value:.0f} % of races "
            f"({level}: {percentages(share)}): real."
        )
    size = mean if mean.value > 0 else Interval(-mean.value, -mean.high, -mean.low)
    by, span = number(size.value), f"({level}: {bounds(size)})"
    if _LAP_TIME.fullmatch(metric.name):
        best = " in its best lap" if metric.name.startswith("best") else " a lap"
        pace = "faster" if better else "slower"
        return f"{second} is {pace} than {first} by {by} s{best} {span}: real."
    quality, way = "better" if better else "worse", "higher" if mean.value > 0 else "lower"
    unit = f" {metric.unit}" if metric.unit else ""
    return (
        f"{second} is {quality} than {first}, its {metric.name} {way} by {by}{unit} {span}: real."
    )


def _unclear(
    difference: Difference, metric: Metric, first: str, second: str, comparisons: int
) -> str:
    """Returns the sentence on races that do not tell the drivers apart."""
    races = _races(difference.count)
    least = statistics.least_pairs(difference.level, comparisons)
    text = f"No difference between {second} and {first} in {metric.name} can be told from {races}"
    if difference.count < least:
        return f"{text}: a verdict takes {least} at least."
    if math.isnan(difference.detectable):
        return f"{text}: fewer than two have a score of both."
    unit = f" {metric.unit}" if metric.unit else ""
    mean = f"{100 * difference.level:.0f} %: {bounds(difference.mean)}{unit}"
    if (
        difference.both < difference.count
        and not difference.mean.low <= 0.0 <= difference.mean.high
    ):
        return (
            f"{text}: they differ where both have a score ({mean}), and whoever alone has one "
            "wins that race."
        )
    found = f"one of {number(difference.detectable)}{unit} would be found four times in five"
    return f"{text} ({mean}); {found}."


def _missing(difference: Difference, metric: Metric, first: str, second: str) -> list[str]:
    """Returns what there is to say of races without a score."""
    neither = difference.count - difference.both - difference.only_first - difference.only_second
    counts = {
        f"only {second} has": difference.only_second,
        f"only {first} has": difference.only_first,
        "neither has": neither,
    }
    told = [f"in {_races(count)} {who}" for who, count in counts.items() if count]
    if not told:
        return []
    text = ", ".join(told)
    return [f"{text[0].upper()}{text[1:]} a {metric.name}."]


def _races(count: int) -> str:
    return "1 race" if count == 1 else f"{count:,} races"
