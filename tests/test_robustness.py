"""How much of its score a driver keeps under changed conditions."""

from __future__ import annotations

import math

import pytest

from donkey_rl.errors import InputError
from donkey_rl.metrics.robustness import robustness, score_kept


def test_the_share_kept_is_of_the_means() -> None:
    # 30 points on average before, 15 after.
    assert score_kept([20.0, 40.0], [30.0, 0.0, 15.0]) == pytest.approx(0.5)
    assert score_kept([20.0], [0.0]) == 0.0
    assert score_kept([20.0], [25.0]) == 1.25


def test_where_there_is_nothing_to_keep_the_share_is_not_defined() -> None:
    assert math.isnan(score_kept([0.0, 0.0], [10.0]))
    assert math.isnan(score_kept([10.0, math.nan], [10.0]))
    assert math.isnan(score_kept([10.0], [math.nan]))


def test_robustness_is_the_mean_and_no_gain_hides_a_loss() -> None:
    # 0.5, 1 and 1 of 3: the last counts as 1.
    changed = {"latency": [20.0], "light": [40.0], "grip": [120.0]}
    assert robustness([40.0], changed) == pytest.approx(2.5 / 3.0)
    assert math.isnan(robustness([40.0], changed | {"camera": [math.nan]}))


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="Received: 1 and 0 races"):
        score_kept([1.0], [])
    with pytest.raises(InputError, match=r"from 0 up. Received: -2\.0"):
        score_kept([1.0], [-2.0])
    with pytest.raises(InputError, match="Received: none"):
        robustness([1.0], {})
