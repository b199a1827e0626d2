"""What scores of several races say: intervals, and whether one driver beats another.

A score may be undefined (NaN), such as the best lap of a race without a lap. Over one driver's
races, undefined scores are left out and counted. Between two drivers, who has a score beats who
has none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float64]

Verdict = Literal["better", "worse", "same", "unclear"]
"""Of the second driver: whether it is better or worse for sure, drove the very same scores, or no
difference can be told."""

RESAMPLES = 2000
_PERMUTATIONS = 9999
_POWER = 0.8
_TRIMMED = 0.25
_RANKS_COST = math.sqrt(math.pi / 3)


class Interval(NamedTuple):
    """A figure with the bounds of its confidence interval, NaN where they are not known."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Summary:
    """The scores of one driver over several races.

    Attributes:
        count: Races with a score.
        left_out: Races without one.
        mean: Their mean.
        median: Their median.
        iqm: Their inter-quartile mean: the mean of the middle half.
    """

    count: int
    left_out: int
    mean: Interval
    median: Interval
    iqm: Interval


@dataclasses.dataclass(frozen=True)
class Difference:
    """How the second of two drivers does against the first, over the same races.

    Attributes:
        count: Pairs of races.
        both: Pairs in which both have a score.
        only_first: Pairs in which only the first has one.
        only_second: Pairs in which only the second has one.
        mean: Mean of second minus first, in the metric's unit, where both have a score.
        improvement: Probability that the second beats the first in a race; a tie counts half.
        effect_size: Mean difference by the differences' standard deviation (Cohen's d of paired
            samples), positive where the second is better.
        rank_correlation: Matched-pairs rank-biserial correlation, -1 to 1: ranks of the pairs
            that the second wins minus those that it loses, by all ranks. The test's statistic.
        p_value: How often chance alone would make a difference as large in either direction.
        detectable: The smallest mean difference that as many races find four times in five.
        level: Confidence of the intervals, and of the verdict.
    """

    count: int
    both: int
    only_first: int
    only_second: int
    mean: Interval
    improvement: Interval
    effect_size: float
    rank_correlation: float
    p_value: float
    detectable: float
    level: float

    @property
    def verdict(self) -> Verdict:
        """Whether the second driver is better or worse at the level, the same, or neither."""
        if self.p_value <= 1 - self.level:
            return "better" if self.rank_correlation > 0 else "worse"
        paired = not (self.only_first or self.only_second)
        return "same" if paired and self.mean == (0.0, 0.0, 0.0) else "unclear"


def summarise(
    values: Iterable[float], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Summary:
    """Returns mean, median and inter-quartile mean of a metric over races, each with an interval.

    The intervals are percentile bootstraps (Efron 1979, "Bootstrap methods: another look at the
    jackknife"); the inter-quartile mean follows Agarwal et al. 2021, "Deep Reinforcement Learning
    at the Edge of the Statistical Precipice". The bounds of a single value are NaN.

    >>> summarise([2.0, 2.0, 2.0]).mean
    Interval(value=2.0, low=2.0, high=2.0)

    Args:
        values: One score per race, NaN where there is none.
        level: Share of the resampled figures inside the interval, between 0 and 1.
        resamples: How often the races are drawn with replacement.
        seed: Seed of the draws.

    Raises:
        InputError: If `level` is not between 0 and 1.
    """
    scores = np.array(list(values), np.float64)
    defined = scores[np.isfinite(scores)]

    def interval(figure: Callable[..., FloatArray]) -> Interval:
        return _bootstrap(defined, figure, level, resamples, seed)

    return Summary(
        count=len(defined),
        left_out=len(scores) - len(defined),
        mean=interval(np.mean),
        median=interval(np.median),
        iqm=interval(_inter_quartile_mean),
    )


def proportion(wins: float, count: int, *, level: float = 0.95) -> Interval:
    """Returns a share with Wilson's score interval, which is not empty at 0 and 1 either.

    (Wilson 1927, "Probable inference, the law of succession, and statistical inference".) With
    z = 1.96 and no win in 30, the share lies between 0 and z^2 / (30 + z^2) = 0.114:

    >>> print("{:.3f} {:.3f} {:.3f}".format(*proportion(0, 30)))
    0.000 0.000 0.114

    Args:
        wins: How often it happened; a tie may count half.
        count: Out of how many.
        level: Confidence of the interval, between 0 and 1.

    Raises:
        InputError: If `level` is not between 0 and 1.
    """
    _check_level(level)
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    z, share = float(stats.norm.ppf(0.5 + 0.5 * level)), wins / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half /= 1 + z * z / count
    return Interval(
        share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)
    )


def paired(
    first: Sequence[float],
    second: Sequence[float],
    *,
    direction: Literal["higher", "lower"],
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compares two drivers over the same races.

    A pair in which only one driver has a score is won by that driver, and by more than any other
    pair; in one in which neither has, they tie. The p-value is that of a permutation test: the
    drivers of each pair change places, and the signed ranks of the differences are summed
    (Wilcoxon 1945, "Individual comparisons by ranking methods"), so that the undefined scores
    take part in it.

    Args:
        first: Score of the first driver in each race, NaN where it has none.
        second: Those of the second, in the same order of races.
        direction: Which scores are better.
        level: Confidence, between 0 and 1.
        seed: Seed of the draws.

    Raises:
        InputError: If the two differ in length, or `level` is not between 0 and 1.
    """
    _check_level(level)
    a, b = np.array(first, np.float64), np.array(second, np.float64)
    if a.shape != b.shape:
        raise InputError(
            f"Two drivers are compared over the same races. Received: {len(a)} and {len(b)}."
        )
    has_a, has_b = np.isfinite(a), np.isfinite(b)
    both = has_a & has_b
    differences = b[both] - a[both]
    sign = 1.0 if direction == "higher" else -1.0
    gains = np.where(has_b, np.inf, -np.inf)
    gains[both] = sign * differences
    gains[~has_a & ~has_b] = 0.0
    correlation, p_value = _signed_rank_test(gains, seed)
    return Difference(
        count=len(a),
        both=int(both.sum()),
        only_first=int((has_a & ~has_b).sum()),
        only_second=int((has_b & ~has_a).sum()),
        mean=_bootstrap(differences, np.mean, level, RESAMPLES, seed),
        improvement=proportion(float(0.5 * (1 + np.sign(gains)).sum()), len(a), level=level),
        effect_size=_standardised(sign * differences),
        rank_correlation=correlation,
        p_value=p_value,
        detectable=detectable(differences, level=level),
        level=level,
    )


def adjust(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Returns the comparisons with p-values that allow for their number.

    (Holm 1979, "A simple sequentially rejective multiple test procedure".) The smallest of m
    p-values is multiplied by m, the next by m - 1, and so on, and none falls below the one before
    it. `detectable` is that of a test at the m-th part of the error, which is on the safe side.
    """
    count = len(differences)
    order = sorted(range(count), key=lambda k: differences[k].p_value)
    adjusted = list(differences)
    reached = 0.0
    for rank, k in enumerate(order):
        reached = max(reached, min(1.0, differences[k].p_value * (count - rank)))
        each = differences[k]
        strict = 1 - (1 - each.level) / count
        spread = each.detectable / _noncentrality(each.both, each.level)
        adjusted[k] = dataclasses.replace(
            each, p_value=reached, detectable=spread * _noncentrality(each.both, strict)
        )
    return tuple(adjusted)


def detectable(differences: FloatArray, *, level: float = 0.95) -> float:
    """Returns the smallest mean difference that as many races find four times in five.

    From Student's distribution with n - 1 degrees of freedom: (t_(1 - a/2) + t_0.8) s / sqrt(n),
    s the standard deviation of the differences, a the error allowed; times sqrt(pi / 3), since
    ranks use 3 / pi of what normal differences tell (Lehmann 1975, "Nonparametrics"). NaN below
    two pairs.

    Args:
        differences: Second minus first, shape (pairs,).
        level: Confidence of the test, between 0 and 1.
    """
    if len(differences) < 2:
        return math.nan
    return _spread(differences) * _noncentrality(len(differences), level)


def least_pairs(level: float = 0.95, comparisons: int = 1) -> int:
    """Returns how many races a verdict takes at least.

    The second driver wins all n by chance alone, or loses all, in 2 of 2^n cases.

    >>> least_pairs()
    6
    """
    return 1 + math.ceil(math.log2(comparisons / (1 - level)) - 1e-9)


def _noncentrality(count: int, level: float) -> float:
    """Returns by how many standard deviations of a difference a mean must differ to be found."""
    if count < 2:
        return math.nan
    quantiles = stats.t.ppf([0.5 + 0.5 * level, _POWER], count - 1)
    return float(quantiles.sum()) / math.sqrt(count) * _RANKS_COST


def _signed_rank_test(gains: FloatArray, seed: int) -> tuple[float, float]:
    """Returns the rank-biserial correlation and the p-value; ties of a pair take no part."""
    moved = gains[gains != 0.0]
    if not len(moved):
        return 0.0, 1.0
    ranks = stats.rankdata(np.abs(moved)) * np.sign(moved)
    correlation = float(ranks.sum() / np.abs(ranks).sum())
    if len(moved) == 1:
        return correlation, 1.0
    test = stats.permutation_test(
        (ranks,),
        np.sum,
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        vectorized=True,
        random_state=np.random.default_rng(seed),
    )
    return correlation, float(test.pvalue)


def _standardised(differences: FloatArray) -> float:
    """Returns Cohen's d of paired samples: infinite where every pair differs by as much."""
    if len(differences) < 2:
        return math.nan
    mean, spread = float(differences.mean()), _spread(differences)
    if spread:
        return mean / spread
    return math.copysign(math.inf, mean) if mean else 0.0


def _spread(differences: FloatArray) -> float:
    """Returns the standard deviation, 0 where it is rounding alone."""
    spread = float(differences.std(ddof=1))
    return spread if spread > 1e-12 * float(np.abs(differences).max()) else 0.0


def _inter_quartile_mean(values: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(stats.trim_mean(values, _TRIMMED, axis=axis), np.float64)


def _bootstrap(
    values: FloatArray,
    figure: Callable[..., FloatArray],
    level: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Returns a figure of the values with its percentile bootstrap interval."""
    _check_level(level)
    if len(values) < 2:
        return Interval(float(values[0]) if len(values) else math.nan, math.nan, math.nan)
    found = stats.bootstrap(
        (values,),
        figure,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(figure(values)), float(found.low), float(found.high))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"`level` must lie between 0 and 1. Received: level={level}.")
