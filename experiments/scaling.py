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
_EXPONENTS = np.geomspace(0.1, 3.0, 24)
_RESAMPLES = 500
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
    coefficients, residuals = _least_squares(powers, samples.values[:, None], sign)
    best = int(np.argmin((residuals[:, :, 0] ** 2).sum(axis=0)))
    scatter = samples.values - samples.values.mean()
    gain = _criterion(scatter, _CONSTANT) - _criterion(residuals[:, best, 0], _PARAMETERS)
    if not gain >= _BETTER_BY:
        return NoTrend(
            "the scores do not improve with the steps by more than they scatter from one "
            "measurement to the next"
        )
    draw = np.random.default_rng(seed)
    if runs >= FEWEST_RUNS:
        resampled = _over_runs(samples, powers, sign, draw)
        widening = _student(runs - 1) * math.sqrt(runs / (runs - 1))
    else:
        fitted = samples.values - residuals[:, best, 0]
        resampled = _over_residuals(fitted, residuals[:, best, 0], powers, sign, draw)
        widening = _student(count - _PARAMETERS + 1)
    a, b = map(float, coefficients[best, :, 0])
    return Trend(first, last, float(_EXPONENTS[best]), count, runs, (a, b), resampled, widening)


def _student(degrees: int) -> float:
    """Returns how much wider a 95 % interval of Student's is than one of the normal."""
    return float(stats.t.ppf(0.975, degrees) / stats.norm.ppf(0.975))


def _least_squares(
    powers: FloatArray, values: FloatArray, sign: float
) -> tuple[FloatArray, FloatArray]:
    """Fits ``a + b p`` for each exponent, b of the given sign or else zero.

    Args:
        powers: ``s^-c``, shape (n, exponents).
        values: Shape (n, sets): several sets of values at the same steps.
        sign: Sign that b must have.

    Returns:
        a and b, shape (exponents, 2, sets), and the residuals, shape (n, exponents, sets).
    """
    means, middle = powers.mean(axis=0), values.mean(axis=0)
    centred = powers - means
    spread = np.maximum((centred**2).sum(axis=0), 1e-300)
    slope = (centred.T @ values) / spread[:, None]
    slope = np.where(sign * slope > 0, slope, 0.0)
    level = middle - slope * means[:, None]
    residuals = values[:, None, :] - level - powers[:, :, None] * slope
    return np.stack([level, slope], axis=1), residuals


def _criterion(residuals: FloatArray, parameters: int) -> float:
    """Returns Akaike's criterion for small samples (Hurvich and Tsai 1989), lower is better."""
    count = len(residuals)
    variance = max(float(np.mean(residuals**2)), 1e-12)
    penalty = 2 * parameters * (1 + (parameters + 1) / (count - parameters - 1))
    return count * math.log(variance) + penalty


def _over_residuals(
    fitted: FloatArray,
    residuals: FloatArray,
    powers: FloatArray,
    sign: float,
    draw: np.random.Generator,
) -> FloatArray:
    """Returns a, b, c of fits to the curve with its residuals exchanged, shape (resamples, 3)."""
    count = len(fitted)
    # Residuals of a fit are smaller than the scatter that they come from.
    widened = residuals * math.sqrt(count / (count - _PARAMETERS + 1))
    chosen = widened[draw.integers(0, count, (count, _RESAMPLES))]
    coefficients, left = _least_squares(powers, fitted[:, None] + chosen, sign)
    best, sets = (left**2).sum(axis=0).argmin(axis=0), np.arange(_RESAMPLES)
    a, b = (coefficients[best, k, sets] for k in (0, 1))
    return np.stack([a, b, _EXPONENTS[best]], axis=1)


def _over_runs(
    samples: Samples, powers: FloatArray, sign: float, draw: np.random.Generator
) -> FloatArray:
    """Returns a, b, c of fits to runs drawn with replacement, shape (resamples, 3)."""
    names, members = np.unique(samples.runs, return_inverse=True)
    drawn = draw.integers(0, len(names), (_RESAMPLES, len(names)))
    weights = (drawn[:, :, None] == members).sum(axis=1).astype(np.float64)
    # Least squares with weights, for each resample and exponent, shape (resamples, exponents).
    values, count = samples.values[:, None], weights.sum(axis=1, keepdims=True)
    level, power = weights @ values / count, weights @ powers / count
    spread = np.maximum(weights @ powers**2 / count - power**2, 1e-300)
    shared = weights @ (powers * values) / count - power * level
    slope = np.where(sign * shared > 0, shared / spread, 0.0)
    left = weights @ values**2 / count - level**2 - slope * shared
    best, rows = left.argmin(axis=1), np.arange(_RESAMPLES)
    a = (level - slope * power)[rows, best]
    return np.stack([a, slope[rows, best], _EXPONENTS[best]], axis=1)
