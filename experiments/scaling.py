"""How a score grows with the compute that is spent, as far as the measurements say.

A saturating power law ``a - b s^-c`` in the environment steps *s* is fitted to scores along
training. It is what learning curves of many methods follow over a part of their length (Hestness
et al. 2017, "Deep learning scaling is predictable, empirically", arXiv:1712.00409), and not a law
of nature: it is used only where it describes the data better than no trend at all, and no further
than four times the steps that were measured.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float64]

FEWEST_POINTS = 6
FEWEST_RUNS = 3
"""Runs from which on the interval is that over runs; below, of one curve only."""

REACH = 4.0
"""How far beyond the measured steps a curve is drawn, as a multiple of them."""

_SPAN = 2.0
_EXPONENTS = np.geomspace(0.1, 3.0, 60)
_RESAMPLES = 500
_LEAST_SPREAD = 1e-9
_BETTER_BY = 2.0
"""Difference of the information criterion from which a model is preferred: Burnham and Anderson
2002, "Model selection and multimodel inference", section 2.6."""

_PARAMETERS, _CONSTANT = 4, 2
"""Parameters of the curve and of no trend, with the size of the scatter."""


class Estimate(NamedTuple):
    """The fitted score at some steps, with its 95 % interval."""

    steps: float
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Scores at steps, of one or several runs of one configuration; arrays of shape (n,).

    Attributes:
        steps: Environment steps, at least 1.
        values: The score after so many.
        runs: Index of the run that it is of.
        direction: Which way is better.
    """

    steps: FloatArray
    values: FloatArray
    runs: npt.NDArray[np.int64]
    direction: Literal["higher", "lower"]

    def __post_init__(self) -> None:
        """Checks the shapes.

        Raises:
            InputError: If lengths differ, a value is not finite, or a step is below 1.
        """
        lengths = {len(self.steps), len(self.values), len(self.runs)}
        if len(lengths) > 1 or not np.isfinite(self.values).all() or (self.steps < 1).any():
            raise InputError(
                "Samples need one finite value and one run for each number of steps from 1 on. "
                f"Received: lengths {sorted(lengths)}."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Trend:
    """A saturating curve through samples.

    Attributes:
        first: The fewest steps that were measured.
        last: The most steps that were measured.
        exponent: c.
        count: Samples.
        runs: Runs that they are of.
        coefficients: a and b (with ``s`` counted in `last`) of the fit.
        resampled: a, b and c of the fits to resampled data, shape (resamples, 3).
        widening: What the interval of the resampled fits is multiplied by, for small samples.
    """

    first: float
    last: float
    exponent: float
    count: int
    runs: int
    coefficients: tuple[float, float]
    resampled: FloatArray
    widening: float

    def at(self, steps: float) -> Estimate:
        """Returns the score after so many steps.

        Raises:
            InputError: Beyond `REACH` times the measured steps.
        """
        if not 0 < steps <= REACH * self.last:
            raise InputError(
                f"A curve is read up to {REACH:g} times the steps measured, {self.last:,.0f}. "
                f"Received: {steps:,.0f}."
            )
        share = steps / self.last
        value = self.coefficients[0] + self.coefficients[1] * share**-self.exponent
        others = self.resampled[:, 0] + self.resampled[:, 1] * share ** -self.resampled[:, 2]
        low, high = value + self.widening * (np.percentile(others, [2.5, 97.5]) - value)
        return Estimate(steps, value, float(min(low, value)), float(max(high, value)))


@dataclasses.dataclass(frozen=True)
class NoTrend:
    """Why there is no curve.

    Attributes:
        reason: In words, the end of a sentence that begins with "because".
    """

    reason: str


def fit(samples: Samples, seed: int = 0) -> Trend | NoTrend:
    """Fits a saturating curve where the data bears one.

    It takes six samples or more over a factor of two in the steps, and a curve that improves and
    is preferred to no trend by Akaike's criterion for small samples (by 2 or more). The interval
    is a percentile bootstrap: over runs where there are three or more, over the residuals of the
    one curve otherwise. It is widened as Student's distribution is wider than the normal one, and
    over n runs by ``sqrt(n / (n - 1))`` as well.

    Args:
        samples: What was measured.
        seed: Seed of the bootstrap.
    """
    count, runs = len(samples.steps), len(np.unique(samples.runs))
    if count < FEWEST_POINTS:
        return NoTrend(
            f"a curve takes {FEWEST_POINTS} measurements with a score, and there are {count}"
        )
    first, last = float(samples.steps.min()), float(samples.steps.max())
    if last < _SPAN * first:
        return NoTrend(
            "the measurements lie too close together: a curve takes some at twice the steps of "
            "others"
        )
    sign = -1.0 if samples.direction == "higher" else 1.0
    powers = (samples.steps[:, None] / last) ** -_EXPONENTS
    ones = np.ones((1, count))
    (a, b, exponent), *_ = _fits(ones, samples.values[None], powers, sign)
    fitted = a + b * (samples.steps / last) ** -exponent
    residuals, scatter = samples.values - fitted, samples.values - samples.values.mean()
    if not _criterion(scatter, _CONSTANT) - _criterion(residuals, _PARAMETERS) >= _BETTER_BY:
        return NoTrend(
            "the scores do not improve with the steps by more than they scatter from one "
            "measurement to the next"
        )
    draw = np.random.default_rng(seed)
    if runs >= FEWEST_RUNS:
        weights = _drawn_runs(samples, draw)
        resampled = _fits(weights, samples.values[None], powers, sign)
        widening = _student(runs - 1) * math.sqrt(runs / (runs - 1))
    else:
        # Residuals of a fit are smaller than the scatter that they come from.
        widened = residuals * math.sqrt(count / (count - _PARAMETERS + 1))
        values = fitted + widened[draw.integers(0, count, (_RESAMPLES, count))]
        resampled = _fits(ones, values, powers, sign)
        widening = _student(count - _PARAMETERS + 1)
    fit = (float(a), float(b))
    return Trend(first, last, float(exponent), count, runs, fit, resampled, widening)


def _student(degrees: int) -> float:
    """Returns how much wider a 95 % interval of Student's is than one of the normal."""
    return float(stats.t.ppf(0.975, degrees) / stats.norm.ppf(0.975))


def _fits(weights: FloatArray, values: FloatArray, powers: FloatArray, sign: float) -> FloatArray:
    """Fits ``a + b p`` by least squares for each exponent, and takes the best of them.

    Args:
        weights: Of each sample in each of several sets, shape (sets or 1, n).
        values: Shape (sets or 1, n).
        powers: ``s^-c``, shape (n, exponents).
        sign: Sign that b must have; otherwise it is zero.

    Returns:
        a, b and c of each set, shape (sets, 3).
    """
    middle = float(values.mean())
    weighted = weights * (values - middle)
    count = weights.sum(axis=1, keepdims=True)
    # Means over the samples of a set: of y, of y y, and for each exponent of p, p p and p y.
    y = weighted.sum(axis=1, keepdims=True) / count
    yy = (weighted * (values - middle)).sum(axis=1, keepdims=True) / count
    p, pp, py = (
        each / count for each in (weights @ powers, weights @ powers**2, weighted @ powers)
    )
    shared = py - p * y
    spread = pp - p * p
    # Samples at one size alone say nothing of a slope: what they spread by is rounding.
    told = (sign * shared > 0) & (spread > _LEAST_SPREAD * pp)
    b = np.where(told, shared / np.maximum(spread, 1e-300), 0.0)
    best = (yy - y * y - b * shared).argmin(axis=1)
    a = middle + y - b * p
    sets = np.arange(len(best))
    return np.stack([a[sets, best], b[sets, best], _EXPONENTS[best]], axis=1)


def _criterion(residuals: FloatArray, parameters: int) -> float:
    """Returns Akaike's criterion for small samples (Hurvich and Tsai 1989), lower is better."""
    count = len(residuals)
    variance = max(float(np.mean(residuals**2)), 1e-12)
    penalty = 2 * parameters * (1 + (parameters + 1) / (count - parameters - 1))
    return count * math.log(variance) + penalty


def _drawn_runs(samples: Samples, draw: np.random.Generator) -> FloatArray:
    """Returns how often each sample counts where runs are drawn with replacement.

    Returns:
        Shape (resamples, n).
    """
    names, members = np.unique(samples.runs, return_inverse=True)
    drawn = draw.integers(0, len(names), (_RESAMPLES, len(names)))
    counts = np.stack([(drawn == each).sum(axis=1) for each in range(len(names))], axis=1)
    return np.asarray(counts[:, members], np.float64)
