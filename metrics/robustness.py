"""Robustness: how much of its score a driver keeps when the conditions change.

A condition is what a race was driven under on purpose: latency, light, camera, grip. Each is a
set of races of its own; a driver that is as good under all of them as without has robustness 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from donkey_rl.errors import InputError
from donkey_rl.metrics import registry
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import Metric


def score_kept(
    usual: Sequence[Race], changed: Sequence[Race], metric: Metric | None = None
) -> float:
    """Returns the share of the score that is left under changed conditions.

    Mean score of the changed races by the mean score of the usual ones: 1 where nothing is lost,
    0 where all is, above 1 where the change helped. NaN where the usual races score 0 or a mean
    is not defined.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> usual = [drive(steady(16.0, 40.0))] * 2  # all three laps
    >>> late = [drive(steady(16.0, 40.0)), drive(steady(10.0, 30.2))]  # half of them in one race
    >>> round(score_kept(usual, late, registry.load("completion")), 3)
    0.75

    Args:
        usual: Races as driven without a change.
        changed: Races under the change; on the same track with the same car.
        metric: By which metric, one where higher is better and 0 is the worst. Defaults to
            `race_score`.

    Raises:
        InputError: If a set is empty, the races are not of one track and one car, or lower values
            of the metric are better.
    """
    metric = metric or registry.load("race_score")
    if metric.direction != "higher" or metric.low != 0.0:
        raise InputError(
            "The score kept is a share: choose a metric from 0 up where higher is better. "
            f"Received: '{metric.name}'."
        )
    driven = {(race.header.track, race.header.vehicle) for race in (*usual, *changed)}
    if not usual or not changed or len(driven) > 1:
        raise InputError(
            "The score kept compares races with and without a change, on one track with one car. "
            f"Received: {len(usual)} and {len(changed)} races, of {sorted(driven)}."
        )
    before, after = (
        float(np.mean([metric(race) for race in races])) for races in (usual, changed)
    )
    return after / before if before else math.nan


def robustness(
    usual: Sequence[Race], changed: Mapping[str, Sequence[Race]], metric: Metric | None = None
) -> float:
    """Returns the mean share of the score that is left over several changes of the conditions.

    Mean of `score_kept`, at most 1 each, so that a change that helps does not hide one that hurts;
    NaN where one of them is.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> usual, half = [drive(steady(16.0, 40.0))], [drive(steady(10.0, 30.2))]
    >>> kept = robustness(usual, {"latency": half, "dusk": usual}, registry.load("completion"))
    >>> round(kept, 3)
    0.75

    Args:
        usual: Races as driven without a change.
        changed: Races under each change, by its name.
        metric: As for `score_kept`.

    Raises:
        InputError: As for `score_kept`, or if there is no change.
    """
    if not changed:
        raise InputError("Robustness is over changes of the conditions. Received: none.")
    kept = [min(score_kept(usual, races, metric), 1.0) for races in changed.values()]
    return float(np.mean(kept))
