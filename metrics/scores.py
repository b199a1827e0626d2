"""The metrics of laps, road and way, and intervals over several races."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from donkey_rl.errors import InputError
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import metric


class Interval(NamedTuple):
    """A mean with the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def confidence_interval(
    values: Iterable[float], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Returns the mean of a metric over races with a percentile bootstrap interval.

    Races are drawn with replacement, and the interval holds the middle `level` of the means
    (Efron 1979, "Bootstrap methods: another look at the jackknife"). NaN, an undefined score, is
    left out; without any value left all three numbers are NaN.

    >>> confidence_interval([2.0, 2.0, 2.0])
    Interval(mean=2.0, low=2.0, high=2.0)

    Args:
        values: One score per race.
        level: Share of the means inside the interval, between 0 and 1.
        resamples: How often the races are drawn.
        seed: Seed of the draws.

    Raises:
        InputError: If `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"`level` must lie between 0 and 1. Received: level={level}.")
    array = np.array([value for value in values if not math.isnan(value)], np.float64)
    if not len(array):
        return Interval(math.nan, math.nan, math.nan)
    draws = np.random.default_rng(seed).integers(0, len(array), (resamples, len(array)))
    tail = 50 * (1 - level)
    low, high = np.percentile(array[draws].mean(axis=1), [tail, 100 - tail])
    return Interval(float(array.mean()), float(low), float(high))


@metric(unit="", direction="higher")
def laps(race: Race) -> float:
    """Laps driven, clean or not."""
    return float(len(lap_times.laps(race)))


@metric(unit="", direction="higher")
def clean_laps(race: Race) -> float:
    """Laps with every node passed, on the road, without a hit or a reset."""
    return float(sum(lap.clean for lap in lap_times.laps(race)))


@metric(unit="s", direction="lower")
def best_lap_s(race: Race) -> float:
    """Time of the quickest clean lap."""
    lap = lap_times.best_clean_lap(race)
    return lap.time_s if lap else math.nan


@metric(unit="s", direction="lower")
def mean_lap_s(race: Race) -> float:
    """Mean time of the clean laps."""
    times = [lap.time_s for lap in lap_times.laps(race) if lap.clean]
    return float(np.mean(times)) if times else math.nan


@metric(unit="", direction="lower")
def off_tracks(race: Race) -> float:
    """How often the car left the road."""
    return float(lap_times.off_track_count(race))


@metric(unit="", direction="lower")
def hits(race: Race) -> float:
    """How often the car touched something."""
    return float(lap_times.hits(race))


@metric(unit="u", direction="higher")
def distance_u(race: Race) -> float:
    """Way driven."""
    return lap_times.distance(race)


@metric(unit="u/s", direction="higher")
def mean_speed(race: Race) -> float:
    """Way driven by the time taken."""
    return lap_times.mean_speed(race)


@metric(unit="u/s", direction="higher")
def top_speed(race: Race) -> float:
    """Highest speed of any step."""
    return lap_times.top_speed(race)


@metric(unit="", direction="higher")
def completion(race: Race) -> float:
    """Share of the race's laps that was driven."""
    return lap_times.completion(race)


@metric(unit="", direction="lower")
def steering_change(race: Race) -> float:
    """Mean change of the steering command from one step to the next.

    Over rows of one drive: a car that is put back begins anew. Commands are in [-1, 1], so 2 is
    the most; a step is 0.05 s.
    """
    change = np.abs(np.diff(race["steering"]))[~race["reset"][1:]]
    return float(np.mean(change)) if len(change) else math.nan
