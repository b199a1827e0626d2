"""Intervals over races, and whether one driver beats another."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from donkey_rl.errors import InputError
from donkey_rl.metrics import statistics

NAN = math.nan


def test_mean_median_and_the_middle_half_are_told_apart() -> None:
    # Sorted 1 2 3 4 5 6 7 100: the mean is 128 / 8, the median 4.5, and without the two at
    # either end 3 4 5 6 are left, which mean 4.5.
    summary = statistics.summarise([100, 1, 2, 3, 4, 5, 6, 7])
    assert (summary.mean.value, summary.median.value, summary.iqm.value) == (16.0, 4.5, 4.5)
    assert (summary.count, summary.left_out) == (8, 0)
    # The odd one out moves the mean's upper bound, and not that of the middle half.
    assert summary.mean.high > 30.0
    assert summary.iqm.high < 30.0
    # 1 2 3 5: one each is cut.
    assert statistics.summarise([1, 2, 3, 5]).iqm.value == 2.5


def test_undefined_scores_are_left_out_and_counted() -> None:
    summary = statistics.summarise([2.0, NAN, 3.0, math.inf, 4.0])
    assert (summary.count, summary.left_out) == (3, 2)
    assert summary == dataclasses.replace(statistics.summarise([2.0, 3.0, 4.0]), left_out=2)


@pytest.mark.parametrize(("values", "value"), [([], NAN), ([NAN, NAN], NAN), ([5.0, NAN], 5.0)])
def test_fewer_than_two_scores_have_no_interval(values: list[float], value: float) -> None:
    summary = statistics.summarise(values)
    for figure in (summary.mean, summary.median, summary.iqm):
        np.testing.assert_equal(tuple(figure), (value, NAN, NAN))


def test_the_draws_follow_from_the_seed() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert statistics.summarise(values, seed=3) == statistics.summarise(values, seed=3)
    assert statistics.summarise(values, seed=3) != statistics.summarise(values, seed=4)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_hold_the_truth_as_often_as_they_say(level: float) -> None:
    drawn = np.random.default_rng(5).normal(20.0, 0.5, (300, 30))
    held = np.zeros(3)
    for scores in drawn:
        found = statistics.summarise(scores, level=level, resamples=300)
        held += [x.low <= 20.0 <= x.high for x in (found.mean, found.median, found.iqm)]
    # 300 trials scatter by 0.013 at 0.95 and 0.023 at 0.8, and percentiles of 30 values are
    # a little narrow. An interval made for the other level, or for one tail, is 0.1 off.
    np.testing.assert_allclose(held / 300, level, atol=0.05)


def test_a_share_has_an_interval_at_its_ends_too() -> None:
    # 15 of 30: z^2 = 3.84, centre 0.5, half width 1.96 sqrt(0.25 / 30 + 3.84 / 3600) / 1.128.
    assert statistics.proportion(15, 30) == pytest.approx((0.5, 0.3315, 0.6685), abs=1e-4)
    all_of_them = statistics.proportion(30, 30)
    assert all_of_them == pytest.approx((1.0, 0.8865, 1.0), abs=1e-4)
    assert statistics.proportion(0, 0) == pytest.approx((NAN, NAN, NAN), nan_ok=True)


def test_a_paired_difference_is_worked_out_by_hand() -> None:
    # Differences -1 -2 +3 -4: ranks 1 2 3 4, so that lower being better the second wins ranks
    # 1 + 2 + 4 and loses 3: (7 - 3) / 10. Mean -1; deviations 0 -1 4 -3, squares 26, so that
    # s = sqrt(26 / 3) = 2.944 and d = 1 / 2.944.
    # Of the 16 ways to sign the ranks, the sum is 4 or more for +++-(2) ++-+(4) +-++(6) -+++(8)
    # ++++(10) and --++(4): all but the first, that is 5, and as many with -4 or less: 10 of 16.
    found = statistics.paired([10, 10, 10, 10], [9, 8, 13, 6], direction="lower")
    assert (found.count, found.both, found.only_first, found.only_second) == (4, 4, 0, 0)
    assert found.mean.value == -1.0
    assert found.improvement.value == 0.75
    assert found.rank_correlation == pytest.approx(0.4)
    assert found.effect_size == pytest.approx(0.3397, abs=1e-4)
    assert found.p_value == pytest.approx(10 / 16)
    assert found.verdict == "unclear"
    # t quantiles of 3 degrees of freedom: 3.182 and 0.978; (3.182 + 0.978) 2.944 / 2 is
    # 6.124; times sqrt(pi / 3) = 1.0233.
    assert found.detectable == pytest.approx(6.267, abs=0.01)
    other = statistics.paired([10, 10, 10, 10], [9, 8, 13, 6], direction="higher")
    assert other.improvement.value == 0.25
    assert other.rank_correlation == pytest.approx(-0.4)


def test_a_race_without_a_score_loses_against_one_with_one() -> None:
    # Only the second has a score in seven races, both in one, which it loses by 1 s; in the
    # ninth neither has. Ranks: the lost race 1, the seven won ones 5 each (2 to 8 tied).
    first = [NAN] * 7 + [20.0, NAN]
    second = [20.0] * 7 + [21.0, NAN]
    found = statistics.paired(first, second, direction="lower")
    assert (found.both, found.only_first, found.only_second) == (1, 0, 7)
    assert found.improvement.value == pytest.approx(7.5 / 9)
    assert found.rank_correlation == pytest.approx(34 / 36)
    # 2 of 256 ways reach 36, 2 reach 34: 4 / 256.
    assert found.p_value == pytest.approx(4 / 256)
    assert found.verdict == "better"
    assert found.mean.value == 1.0
    assert math.isnan(found.mean.low)
    assert statistics.paired(second, first, direction="lower").verdict == "worse"


def test_a_copy_is_the_same_and_a_constant_gain_is_no_division_by_zero() -> None:
    times = [20.0 + 0.1 * k for k in range(8)]
    copy = statistics.paired(times, times, direction="lower")
    assert copy.mean == (0.0, 0.0, 0.0)
    assert (copy.effect_size, copy.p_value, copy.verdict) == (0.0, 1.0, "same")
    gained = statistics.paired(times, [t - 0.3 for t in times], direction="lower")
    assert gained.effect_size == math.inf
    assert gained.detectable == 0.0
    assert gained.verdict == "better"
    # Scores that agree where both have one are not the same where one is missing.
    part = statistics.paired(times, [*times[:-1], NAN], direction="lower")
    assert part.verdict == "unclear"
    neither = statistics.paired([*times, NAN], [*times, NAN], direction="lower")
    assert neither.verdict == "same"
    swapped = statistics.paired([1.0, 2.0], [2.0, 1.0], direction="lower")
    assert swapped.mean.value == 0.0
    assert swapped.verdict == "unclear"


@pytest.mark.parametrize(("count", "verdict"), [(5, "unclear"), (6, "better")])
def test_a_verdict_takes_six_races(count: int, verdict: str) -> None:
    assert statistics.least_pairs() == 6
    found = statistics.paired([0.0] * count, [1.0 + k for k in range(count)], direction="higher")
    # All won: 2 of 2^count ways are as extreme.
    assert found.p_value == pytest.approx(2.0 ** (1 - count))
    assert found.verdict == verdict


def test_holms_correction_is_worked_out_by_hand() -> None:
    base = statistics.paired([0, 0, 0], [1, 2, 4], direction="higher")
    given = [dataclasses.replace(base, p_value=p) for p in (0.03, 0.01, 0.04, 0.5)]
    # 0.01 x 4, 0.03 x 3, then 0.04 x 2 = 0.08 is raised to 0.09, and 0.5 x 1.
    adjusted = statistics.adjust(given)
    assert [each.p_value for each in adjusted] == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert [each.verdict for each in adjusted] == ["unclear", "better", "unclear", "unclear"]
    # The test at 1 - 0.05 / 4 finds less: with 2 degrees of freedom t is 8.860, no more 4.303.
    low, high = stats.t.ppf([0.975, 0.99375], 2) + stats.t.ppf(0.8, 2)
    assert adjusted[0].detectable == pytest.approx(base.detectable * high / low)
    assert statistics.adjust([base]) == (base,)


def test_chance_alone_is_called_real_as_rarely_as_it_says_and_the_detectable_found() -> None:
    generator = np.random.default_rng(8)
    found, mistaken, nothing = 0, 0, np.zeros(8)
    planted = statistics.detectable(np.array([-1.0, 1.0] * 4) * math.sqrt(7 / 8))
    for _ in range(200):
        noise = generator.normal(0.0, 1.0, 8)
        mistaken += statistics.paired(nothing, noise, direction="higher").verdict != "unclear"
        better = statistics.paired(nothing, noise + planted, direction="higher")
        found += better.verdict == "better"
    # At most 10 of 256 ways of signing 8 ranks are beyond 5 %: 3.9 % of 200 are 8, with a scatter
    # of 2.7; 80 % are 160, with one of 5.7.
    assert 2 <= mistaken <= 16
    assert 143 <= found <= 177


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        statistics.summarise([1.0, 2.0], level=95)
    with pytest.raises(InputError, match="same races"):
        statistics.paired([1.0], [1.0, 2.0], direction="lower")
