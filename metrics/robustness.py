"""Robustness: how much of its score a driver keeps when the conditions change.

A condition is what races were driven under on purpose: latency, light, camera, grip. Each has
scores of its own; a driver that is as good under all of them as without has robustness 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError


def score_kept(usual: npt.ArrayLike, changed: npt.ArrayLike) -> float:
    """Returns the share of the score that is left under changed conditions.

    ``mean(changed) / mean(usual)``: 1 where nothing is lost, 0 where all is, above 1 where the
    change helped. NaN where the usual races are worth nothing, or a score is not defined.

    >>> score_kept([40.0, 40.0], [40.0, 20.0])
    0.75

    Args:
        usual: Scores of the races without a change, by a metric from 0 up where higher is better,
            such as `race_score`; shape (races,).
        changed: Those of the races under the change, on the same track with the same car.

    Raises:
        InputError: If there are no races, or a score is below 0.
    """
    before, after = np.asarray(usual, np.float64), np.asarray(changed, np.float64)
    if not before.size or not after.size:
        raise InputError(
            "The score kept is of races without a change and with it. "
            f"Received: {before.size} and {after.size} races."
        )
    if min(before.min(), after.min()) < 0.0:
        raise InputError(
            "The score kept is a share of scores from 0 up. "
            f"Received: {min(before.min(), after.min())}. Choose another metric."
        )
    return float(after.mean() / before.mean()) if before.any() else math.nan


def robustness(usual: npt.ArrayLike, changed: Mapping[str, npt.ArrayLike]) -> float:
    """Returns the mean share of the score that is left over several changes of the conditions.

    Mean of `score_kept`, at most 1 each, so that a change that helps does not hide one that hurts;
    NaN where one of them is.

    >>> robustness([40.0], {"latency": [20.0], "dusk": [44.0]})  # 0.5, and 1 of 1.1
    0.75

    Args:
        usual: Scores of the races without a change.
        changed: Scores of the races under each change, by its name.

    Raises:
        InputError: As for `score_kept`, or if there is no change.
    """
    if not changed:
        raise InputError("Robustness is over changes of the conditions. Received: none.")
    kept = (score_kept(usual, scores) for scores in changed.values())
    return float(np.mean([min(share, 1.0) for share in kept]))
