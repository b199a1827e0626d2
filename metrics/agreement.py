"""How well one driver's commands agree with another's on the same frames.

Frames that follow each other are alike, so intervals come of blocks of frames that are drawn with
replacement, not of single ones (Künsch 1989, "The jackknife and the bootstrap for general
stationary observations", Annals of Statistics 17).
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError
from donkey_rl.metrics.statistics import Interval

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BLOCK: Final = 100
"""Frames of a block: 5 s at 20 Hz, longer than a bend."""

MOST_LAG: Final = 40
"""Frames by which one driver may be behind the other."""

RESAMPLES: Final = 1000
_AT_ONCE = 100


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Commands held against those of a reference.

    Attributes:
        frames: Pairs of commands.
        correlation: Pearson's, of both on the same frame.
        rmse: Root of the mean squared difference.
        bias: Mean difference, the driver's minus the reference's.
        lag_frames: By how many frames the driver is behind, where they correlate most; negative
            where it is ahead.
        lagged_correlation: The correlation there.
        by_lag: Correlation for each lag from ``-MOST_LAG`` to ``MOST_LAG``.
    """

    frames: int
    correlation: Interval
    rmse: Interval
    bias: Interval
    lag_frames: Interval
    lagged_correlation: float
    by_lag: FloatArray


def measure(
    reference: FloatArray,
    driver: FloatArray,
    drive: IntArray,
    *,
    block: int = BLOCK,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Compares commands.

    >>> import numpy as np
    >>> steering = np.sin(np.arange(400) / 15.0)
    >>> behind = np.roll(steering, 3)
    >>> found = measure(steering, behind, np.zeros(400, np.int64))
    >>> int(found.lag_frames.value)
    3

    Args:
        reference: Commands of who is held to be right, NaN where unknown, (n,).
        driver: Commands on the same frames, (n,).
        drive: Number of the drive that each frame is of, (n,): frames of two are no neighbours.
        block: Frames of a block.
        level: Confidence of the intervals.
        seed: Of the draws.

    Raises:
        InputError: The arrays are of different lengths, or no frame has both commands.
    """
    if not len(reference) == len(driver) == len(drive):
        raise InputError(
            f"Expected commands and drives of one length. Received: {len(reference)}, "
            f"{len(driver)} and {len(drive)}."
        )
    sums = _sums(reference, driver, drive, _blocks(drive, block))
    total = sums.sum(axis=1)
    if total[MOST_LAG, 0] == 0:
        raise InputError("Expected a frame with both commands. Received: none.")
    by_lag = _correlation(total)
    lag = _best(by_lag[None])[0]
    drawn = _drawn(sums, np.random.default_rng(seed))
    tails = (0.5 - 0.5 * level, 0.5 + 0.5 * level)

    def interval(value: float, values: FloatArray) -> Interval:
        known = values[np.isfinite(values)]
        low, high = np.quantile(known, tails) if len(known) else (np.nan, np.nan)
        return Interval(value, float(low), float(high))

    at_zero, drawn_at_zero = total[MOST_LAG], drawn[:, MOST_LAG]
    return Agreement(
        frames=int(at_zero[0]),
        correlation=interval(float(by_lag[MOST_LAG]), _correlation(drawn_at_zero)),
        rmse=interval(float(_rmse(at_zero)), _rmse(drawn_at_zero)),
        bias=interval(float(_bias(at_zero)), _bias(drawn_at_zero)),
        lag_frames=interval(float(lag), _best(_correlation(drawn))),
        lagged_correlation=float(by_lag[int(lag) + MOST_LAG]) if np.isfinite(lag) else np.nan,
        by_lag=by_lag,
    )


def _blocks(drive: IntArray, block: int) -> IntArray:
    """Returns the number of the block that each frame is of; no block is of two drives."""
    index = np.arange(len(drive))
    begins = np.flatnonzero(np.diff(drive, prepend=drive[:1] - 1))
    start = begins[np.searchsorted(begins, index, side="right") - 1]
    inside = (index - start) // block
    changed = np.flatnonzero((np.diff(inside, prepend=-1) != 0) | (index == start))
    return np.asarray(np.searchsorted(changed, index, side="right") - 1, np.int64)


def _sums(
    reference: FloatArray, driver: FloatArray, drive: IntArray, blocks: IntArray
) -> FloatArray:
    """Returns counts and sums for each lag and block, (lags, blocks, 6).

    They are of 1, a, b, a a, b b and a b, a the reference's command and b the driver's.
    """
    count = int(blocks[-1]) + 1 if len(blocks) else 0
    sums = np.zeros((2 * MOST_LAG + 1, count, 6))
    for lag in range(-MOST_LAG, MOST_LAG + 1):
        later = slice(max(lag, 0), max(0, len(drive) + min(lag, 0)))
        earlier = slice(max(-lag, 0), max(0, len(drive) + min(-lag, 0)))
        a, b = reference[earlier], driver[later]
        known = np.isfinite(a) & np.isfinite(b) & (drive[earlier] == drive[later])
        a, b, where = a[known], b[known], blocks[later][known]
        for index, values in enumerate((np.ones(len(a)), a, b, a * a, b * b, a * b)):
            sums[lag + MOST_LAG, :, index] = np.bincount(where, values, count)
    return sums


def _drawn(sums: FloatArray, random: np.random.Generator) -> FloatArray:
    """Returns sums over blocks drawn with replacement, (resamples, lags, 6)."""
    lags, blocks, _ = sums.shape
    if blocks < 2:
        return np.full((0, lags, 6), np.nan)
    flat = sums.transpose(1, 0, 2).reshape(blocks, -1)
    parts = []
    for _ in range(0, RESAMPLES, _AT_ONCE):
        counts = random.multinomial(blocks, np.full(blocks, 1.0 / blocks), _AT_ONCE)
        parts.append(counts @ flat)
    return np.concatenate(parts).reshape(-1, lags, 6)


def _correlation(sums: FloatArray) -> FloatArray:
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (n * aa - a * a) * (n * bb - b * b)
        found = (n * ab - a * b) / np.sqrt(np.where(spread > 1e-12 * n**4, spread, np.nan))
    return np.asarray(found)


def _rmse(sums: FloatArray) -> FloatArray:
    n, _, _, aa, bb, ab = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.maximum(aa + bb - 2.0 * ab, 0.0) / n))


def _bias(sums: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((sums[..., 2] - sums[..., 1]) / sums[..., 0])


def _best(correlations: FloatArray) -> FloatArray:
    """Returns the lag at which each row is largest, NaN where nothing is known, (n,)."""
    known = np.isfinite(correlations).any(axis=1)
    filled = np.where(np.isfinite(correlations), correlations, -np.inf)
    return np.where(known, filled.argmax(axis=1) - MOST_LAG, np.nan)
