"""The metrics of laps, way and road."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import metric


@metric(unit="", direction="higher", low=0.0)
def laps(race: Race) -> float:
    """Laps driven, clean or not.

    Number of start lines met after the first, by the way along the path, each at least
    ``min_lap_s`` after the last accepted one.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> laps(drive(steady(16.0, 40.0)))  # 200 u a lap: the line at 0.125, 12.625, 25.125, 37.625 s
    3.0
    """
    return float(len(lap_times.laps(race)))


@metric(unit="", direction="higher", low=0.0)
def clean_laps(race: Race) -> float:
    """Laps with every node passed, on the road, without a hit or a reset.

    Number of laps without an entry in ``Lap.reasons``.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> way = steady(16.0, 40.0)
    >>> clean_laps(drive(way, off_track=(way > 210.0) & (way < 215.0)))  # in the second of three
    2.0
    """
    return float(len(_clean(race)))


@metric(unit="s", direction="lower", low=0.0)
def best_lap_s(race: Race) -> float:
    """Time of the quickest clean lap.

    Least ``T`` of the clean laps; NaN without one.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> round(best_lap_s(drive(steady(16.0, 40.0))), 2)  # 200 u at 16 u/s
    12.5
    """
    return _over_clean_laps(race, min)


@metric(unit="s", direction="lower", low=0.0)
def mean_lap_s(race: Race) -> float:
    """Mean time of the clean laps.

    Sum of ``T`` by the number of clean laps; NaN without one.

    >>> from donkey_rl.metrics.examples import drive, stints
    >>> race = drive(stints((10.0, 20.2), (16.0, 25.05)))  # laps of 20, 12.5 and 12.5 s
    >>> round(mean_lap_s(race), 2)
    15.0
    """
    return _over_clean_laps(race, np.mean)


@metric(unit="s", direction="lower", low=0.0)
def median_lap_s(race: Race) -> float:
    """Median time of the clean laps.

    Middle ``T`` of the clean laps, of an even number the mean of the two in the middle; NaN
    without one.

    >>> from donkey_rl.metrics.examples import drive, stints
    >>> race = drive(stints((10.0, 20.2), (16.0, 25.05)))  # laps of 20, 12.5 and 12.5 s
    >>> round(median_lap_s(race), 2)
    12.5
    """
    return _over_clean_laps(race, np.median)


@metric(unit="", direction="higher", low=0.0, high=1.0)
def completion(race: Race) -> float:
    """Share of the race's laps that was driven.

    Way behind the first start line by ``laps * lap_length``, at most 1; what was driven of a lap
    before a reset counts only if no other unfinished lap came further.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> round(completion(drive(steady(10.0, 30.2))), 3)  # 302 u, 300 u behind the line, of 600 u
    0.5
    """
    return lap_times.completion(race)


@metric(unit="u", direction="higher", low=0.0)
def distance_u(race: Race) -> float:
    """Way driven.

    Sum of the straight ways from row to row, none over a reset.

    >>> from donkey_rl.metrics.examples import drive
    >>> distance_u(drive([0.0, 1.0, 2.0], x=[0.0, 3.0, 3.0], z=[0.0, 4.0, 5.0]))  # 5 u and 1 u
    6.0
    """
    return lap_times.distance(race)


@metric(unit="u/s", direction="higher")
def progress_per_s(race: Race) -> float:
    """Way gained along the path by the time taken.

    Sum of the changes of ``progress`` from row to row, none over a reset, by the time from the
    first row to the last; NaN for a single row.

    >>> from donkey_rl.metrics.examples import drive
    >>> progress_per_s(drive([0.0, 1.0, 0.5], [0.0, 0.5, 1.0]))  # 0.5 u in 1 s
    0.5
    """
    if not race.duration_s:
        return math.nan
    return float(np.diff(race["progress"])[lap_times.driven(race)].sum()) / race.duration_s


@metric(unit="u/s", direction="higher", low=0.0)
def mean_speed(race: Race) -> float:
    """Way driven by the time taken.

    ``distance_u`` by the time from the first row to the last; NaN for a single row.

    >>> from donkey_rl.metrics.examples import drive
    >>> mean_speed(drive([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], x=[0.0, 3.0, 3.0], z=[0.0, 4.0, 5.0]))
    3.0
    """
    return lap_times.mean_speed(race)


@metric(unit="u/s", direction="higher", low=0.0)
def top_speed(race: Race) -> float:
    """Highest speed of any row.

    Greatest ``speed``.

    >>> from donkey_rl.metrics.examples import drive
    >>> top_speed(drive([0.0, 0.1, 0.2], speed=[1.0, 3.0, 2.0]))
    3.0
    """
    return lap_times.top_speed(race)


@metric(unit="", direction="lower", low=0.0)
def off_tracks(race: Race) -> float:
    """How often the car left the road.

    Number of rows off the track whose row before is not.

    >>> from donkey_rl.metrics.examples import drive
    >>> off_tracks(drive([0.0, 0.1, 0.2, 0.3, 0.4], off_track=[0, 1, 1, 0, 1]))
    2.0
    """
    return float(lap_times.off_track_count(race))


@metric(unit="s", direction="lower", low=0.0)
def off_track_s(race: Race) -> float:
    """Time off the road.

    Sum of the times from each row off the track to the next row; NaN for a single row.

    >>> from donkey_rl.metrics.examples import drive
    >>> off_track_s(drive([0.0, 1.0, 2.0, 3.0], [0.0, 0.5, 1.25, 2.0], off_track=[0, 1, 1, 0]))
    1.5
    """
    if not race.duration_s:
        return math.nan
    return float(np.diff(race["time_s"])[race["off_track"][:-1]].sum())


@metric(unit="", direction="lower", low=0.0)
def hits(race: Race) -> float:
    """How often the car touched something.

    Number of rows with a name in ``hit`` that the row before has not.

    >>> from donkey_rl.metrics.examples import drive
    >>> hits(drive([0.0, 0.1, 0.2, 0.3], hit=["", "cone", "cone", "wall"]))
    2.0
    """
    return float(lap_times.hits(race))


@metric(unit="u", direction="lower", low=0.0)
def cte_rms(race: Race) -> float:
    """Root mean square of the cross-track error.

    ``sqrt(mean(cte^2))`` over the rows.

    A racing line is not the middle of the road: this says how far from it a driver keeps, not how
    good that is.

    >>> from donkey_rl.metrics.examples import drive
    >>> cte_rms(drive([0.0, 0.1, 0.2, 0.3], cte=[1.0, -1.0, 3.0, -5.0]))  # sqrt(36 / 4)
    3.0
    """
    return float(np.sqrt(np.mean(race["cte"].astype(np.float64) ** 2)))


@metric(unit="u", direction="lower", low=0.0)
def cte_p95(race: Race) -> float:
    """Cross-track error that 95 % of the rows keep within.

    95th percentile of ``abs(cte)`` over the rows, interpolated between them.

    >>> from donkey_rl.metrics.examples import drive
    >>> cte_p95(drive([0.0, 0.1, 0.2], cte=[0.0, -2.0, 1.0]))  # 0.9 of the way from 1 to 2
    1.9
    """
    return float(np.percentile(np.abs(race["cte"].astype(np.float64)), 95.0))


def _clean(race: Race) -> list[float]:
    """Returns the times of the clean laps (s)."""
    return [lap.time_s for lap in lap_times.laps(race) if lap.clean]


def _over_clean_laps(race: Race, figure: Callable[[Sequence[float]], float]) -> float:
    """Returns a figure of the times of the clean laps, NaN without one."""
    times = _clean(race)
    return float(figure(times)) if times else math.nan
