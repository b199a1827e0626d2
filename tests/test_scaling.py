"""Curves of a score against the steps spent: where there is one, where none, and how sure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from donkey_rl.errors import InputError
from donkey_rl.experiments import scaling
from donkey_rl.experiments.scaling import NoTrend, Samples, Trend

STEPS = np.geomspace(5_000, 80_000, 9)


def lap_s(steps: float) -> float:
    """A lap of 24 s after 5,000 steps that comes down to 18 s in the end."""
    return 18.0 + 6.0 * (steps / 5_000) ** -0.7


def samples(noise: float, runs: int = 1, seed: int = 0, *, learns: bool = True) -> Samples:
    draw = np.random.default_rng(seed)
    steps = np.tile(STEPS, runs)
    values = np.array([lap_s(each) if learns else 20.0 for each in steps])
    apart = draw.normal(0.0, noise, runs) if runs > 1 else np.zeros(1)
    which = np.repeat(np.arange(runs), len(STEPS))
    return Samples(
        steps, values + draw.normal(0.0, noise, len(steps)) + apart[which], which, "lower"
    )


def fitted(found: Trend | NoTrend) -> Trend:
    assert isinstance(found, Trend)
    return found


def test_a_curve_without_scatter_is_found_again_and_goes_on() -> None:
    trend = fitted(scaling.fit(samples(0.0)))
    assert (trend.last, trend.count, trend.runs) == (pytest.approx(80_000), 9, 1)
    # 18 + 6 * 16^-0.7 = 18.861; twice as far 18 + 6 * 32^-0.7 = 18.530. The exponents tried are
    # 6 % apart, so 0.7 is met within 3 %.
    assert trend.exponent == pytest.approx(0.7, rel=0.03)
    assert trend.at(80_000).value == pytest.approx(18.861, abs=0.015)
    assert trend.at(160_000).value == pytest.approx(18.530, abs=0.02)
    with pytest.raises(InputError, match="up to 4 times the steps measured, 80,000"):
        trend.at(320_001)


def test_a_rising_score_is_the_same_upside_down() -> None:
    falling = samples(0.2)
    rising = Samples(falling.steps, -falling.values, falling.runs, "higher")
    down, up = (fitted(scaling.fit(each)).at(160_000) for each in (falling, rising))
    assert up.value == pytest.approx(-down.value)
    assert (up.low, up.high) == (
        pytest.approx(-down.high, abs=0.1),
        pytest.approx(-down.low, abs=0.1),
    )


@pytest.mark.parametrize("runs", [1, 3])
def test_the_interval_holds_the_truth_as_often_as_it_says(runs: int) -> None:
    truth, held = lap_s(160_000), 0
    for seed in range(40):
        estimate = fitted(scaling.fit(samples(0.3, runs, seed), seed)).at(160_000)
        held += estimate.low <= truth <= estimate.high
    # Of 40 trials at 95 % one expects 38; 33 or fewer come once in 300 times (binomial).
    assert held >= 34


def test_scatter_alone_is_no_trend() -> None:
    found = [scaling.fit(samples(0.5, seed=seed, learns=False)) for seed in range(60)]
    reasons = {each.reason for each in found if isinstance(each, NoTrend)}
    # One that gets worse is none either.
    assert len([each for each in found if isinstance(each, Trend)]) <= 2
    assert reasons == {
        "the scores do not improve with the steps by more than they scatter from one measurement "
        "to the next"
    }
    worse = samples(0.0)
    assert isinstance(
        scaling.fit(Samples(worse.steps, worse.values, worse.runs, "higher")), NoTrend
    )


def test_too_few_and_too_close_measurements_bear_no_curve() -> None:
    whole = samples(0.0)
    few = Samples(whole.steps[:5], whole.values[:5], whole.runs[:5], "lower")
    assert scaling.fit(few) == NoTrend(
        "a curve takes 6 measurements with a score, and there are 5"
    )
    close = Samples(np.linspace(50_000, 80_000, 9), whole.values, whole.runs, "lower")
    found = scaling.fit(close)
    assert isinstance(found, NoTrend)
    assert "too close together" in found.reason
    none = Samples(np.empty(0), np.empty(0), np.empty(0, np.int64), "lower")
    assert isinstance(scaling.fit(none), NoTrend)


@pytest.mark.parametrize(
    ("steps", "values"), [([1.0, 2.0], [1.0]), ([1.0], [math.nan]), ([0.0], [1.0])]
)
def test_samples_that_make_no_sense(steps: list[float], values: list[float]) -> None:
    with pytest.raises(InputError, match="one finite value and one run for each"):
        Samples(np.array(steps), np.array(values), np.zeros(len(steps), np.int64), "lower")


@pytest.mark.parametrize("seed", range(5))
def test_a_run_with_one_measurement_widens_no_interval_beyond_measure(seed: int) -> None:
    draw = np.random.default_rng(seed)
    steps = np.concatenate([STEPS[:7], STEPS[:7], STEPS[3:4]])
    values = np.array([lap_s(each) for each in steps]) + draw.normal(0.0, 0.2, len(steps))
    found = scaling.fit(Samples(steps, values, np.repeat([0, 1, 2], [7, 7, 1]), "lower"))
    at = fitted(found).at(2.0 * steps.max())
    assert 10.0 < at.low < at.value < at.high < 30.0
