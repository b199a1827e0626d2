"""Pilots: what stands between a driver and its cars."""

from __future__ import annotations

import numpy as np
import pytest

from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments.pilots import Noisy, Pilot, Timed, neutral, noisy

CONFIG = EnvironmentConfig(history=2)


def observation(step: int) -> dict[str, np.ndarray]:
    return {
        "speed": np.full((1, 1), step, np.float32),
        "last_actions": np.full((1, 4), 9.0, np.float32),
    }


def test_noise_is_drawn_anew_and_its_mean_is_what_the_pilot_wants() -> None:
    wanted = Pilot(lambda _: np.full((1000, 2), 0.2, np.float32))
    pilot = noisy(wanted, 0.1, seed=4)
    assert isinstance(pilot, Noisy)
    pilot.begin(1000)
    everyone = np.ones(1000, np.bool_)
    first, second = (pilot.drive(observation(0), everyone) for _ in range(2))
    # The standard error of 2,000 numbers is 0.0022.
    assert first.mean() == pytest.approx(0.2, abs=0.01)
    assert first.std() == pytest.approx(0.1, abs=0.01)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    assert noisy(wanted, 0.0, seed=4) is wanted


def test_a_timed_pilot_gives_up_with_the_step_that_reaches_its_limit() -> None:
    time_s = np.zeros(2)
    pilot = Timed(Pilot(lambda _: np.zeros((2, 2), np.float32)), 1.0, lambda: time_s)
    pilot.begin(2)
    lost = []
    for now in (0.0, 0.94, 0.96):
        time_s[:] = [now, 0.0]
        pilot.drive(observation(0), np.ones(2, np.bool_))
        lost.append(pilot.lost.tolist())
    assert lost == [[False, False], [False, False], [True, False]]


@pytest.mark.parametrize(
    ("low", "high", "action"),
    [
        (0.0, 1.0, -1.0),
        (-1.0, 1.0, 0.0),
        (-0.5, 1.0, -1.0 / 3.0),  # middle 0.25, half 0.75
        (0.2, 1.0, -1.0),  # it cannot stand; the least throttle comes nearest
    ],
)
def test_the_neutral_action_is_no_throttle_within_the_limits(
    low: float, high: float, action: float
) -> None:
    config = EnvironmentConfig(throttle_min=low, throttle_max=high)
    np.testing.assert_allclose(neutral(config), [0.0, action], atol=1e-7)
