"""The composite score: what a race is worth in the virtual races.

What wins there is the best single lap of three, and no disqualification; `donkey_rl.metrics.heat`
has the rules. So a heat that is driven to its end is worth ``1 + 99 * p^3`` points, where ``p`` is
the reference lap by the best clean lap of the heat, and one that is not is worth the share of the
way that was driven, at most 1. The mean over races is what a heat may be expected to bring. It
compares drivers on one track: what a lap at 20 u/s is worth differs from track to track.

Why so:

- **A disqualification costs the whole heat**, as in qualifying and in stage 1 of a race evening;
  in the ladder a disqualified racer would keep the lap. Every racer must first get that far.
- **Cubed**, because heats are won by little: one percent of lap time weighs as much as three
  percent more disqualifications. A higher power would weigh speed still more, and leave the
  progress of a driver that is far from the front invisible.
- **Clean laps only**, although the race server counts any: a lap over the grass is one that the
  next wall, cone or missed checkpoint ends. So leaving the road never pays.
- **Any finish beats any disqualification**, and without a finish whoever comes further scores
  more, so that the score says something from the first steps of a training on.
"""

from __future__ import annotations

import math

from donkey_rl.metrics import heat as heats
from donkey_rl.metrics import laps
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import metric

REFERENCE_SPEED = 20.0
"""Speed of the lap that is worth 100 points (u/s), the same for all tracks and cars."""

STEEPNESS = 3
"""So many percent of disqualifications weigh as much as one percent of lap time."""


@metric(unit="", direction="higher", low=0.0)
def race_score(race: Race) -> float:
    """What the race is worth as a heat: 100 for a clean lap at 20 u/s.

    ``1 + 99 * (reference / best clean lap)^3`` for a heat driven to its end, 1 without a clean
    lap; ``completion`` for a disqualification, of whole laps where a host told no more.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> round(race_score(drive(steady(16.0, 40.0))), 3)  # 12.5 s against 10 s: 1 + 99 * 0.8^3
    51.688
    >>> round(race_score(drive(steady(10.0, 30.2))), 3)  # 300 u of 600 u, then nothing
    0.5
    """
    heat = heats.heat(race)
    if heat.fault:
        if "progress" in race.header.unknown:
            # A host tells whole laps alone.
            return min(len(heat.laps) / race.header.laps, 1.0)
        return laps.completion(race)
    best = min((lap.time_s for lap in heat.laps if lap.clean), default=math.inf)
    if "track_length" in race.header.unknown:
        return math.nan
    reference = race.header.lap_length / REFERENCE_SPEED
    return 1.0 + 99.0 * (reference / best) ** STEEPNESS


@metric(unit="s", direction="lower", low=0.0)
def heat_lap_s(race: Race) -> float:
    """Result of the race as a heat: the best of its laps, clean or not.

    Least ``T`` of the heat's laps; NaN for a disqualification, which has no result.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> way = steady(16.0, 40.0)
    >>> round(heat_lap_s(drive(way, off_track=way > 0.0)), 2)  # off the road, but within bounds
    12.5
    """
    heat = heats.heat(race)
    return math.nan if heat.fault else min(lap.time_s for lap in heat.laps)


@metric(unit="", direction="lower", low=0.0, high=1.0)
def disqualified(race: Race) -> float:
    """Whether the race server would have disqualified the car: 1 or 0.

    1 for a start line met later than 10 s after the start, a checkpoint met later than 20 s after
    the one before, more than 20 u from the path, or a race that was not driven to its end.

    The mean over races is the rate of disqualifications.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> disqualified(drive(steady(2.0, 40.0)))  # 50 u from checkpoint to checkpoint take 25 s
    1.0
    """
    return float(heats.heat(race).fault != "")
