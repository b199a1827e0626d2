"""Pilots: what stands between a driver and its cars."""

from __future__ import annotations

import numpy as np
import pytest

from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments.pilots import Delayed, Noisy, Pilot, Timed, delayed, neutral, noisy

CONFIG = EnvironmentConfig(history=2)


def observation(step: int) -> dict[str, np.ndarray]:
    return {
        "speed": np.full((1, 1), step, np.float32),
        "last_actions": np.full((1, 4), 9.0, np.float32),
    }


def test_commands_arrive_as_many_steps_late_as_the_delay_has() -> None:
    told: list[list[float]] = []

    def act(seen: dict[str, np.ndarray]) -> np.ndarray:
        told.append(seen["last_actions"][0].tolist())
        return np.array([[seen["speed"][0, 0] / 10.0, 0.5]], np.float32)

    pilot = Delayed(Pilot(act), 2, CONFIG)
    everyone = np.ones(1, np.bool_)
    for _ in range(2):
        told.clear()
        pilot.begin(1)
        arrived = [pilot.drive(observation(step), everyone)[0].tolist() for step in range(1, 5)]
        # Two steps it stands, throttle 0 being action -1; then the answers to frames 1 and 2.
        np.testing.assert_allclose(arrived, [[0, -1], [0, -1], [0.1, 0.5], [0.2, 0.5]])
        # The driver knows what it sent, not what the car did, oldest first.
        np.testing.assert_allclose(
            told, [[0, 0, 0, 0], [0, 0, 0.1, 0.5], [0.1, 0.5, 0.2, 0.5], [0.2, 0.5, 0.3, 0.5]]
        )
        assert pilot.latency_ms.tolist() == [100.0]


def test_a_delay_adds_to_the_time_that_the_driver_takes_and_passes_on_its_failures() -> None:
    class Slow(Pilot):
        def drive(self, observation: object, driving: np.ndarray) -> np.ndarray:
            self.latency_ms[:] = 20.0
            self.lost[:] = self.missed[:] = [False, True]
            return np.zeros((2, 2), np.float32)

    pilot = Delayed(Slow(lambda _: np.zeros((2, 2), np.float32)), 1, CONFIG)
    pilot.begin(2)
    pilot.drive({"last_actions": np.zeros((2, 4), np.float32)}, np.ones(2, np.bool_))
    assert pilot.latency_ms.tolist() == [70.0, 70.0]
    assert pilot.lost.tolist() == pilot.missed.tolist() == [False, True]


def test_without_a_delay_there_is_nothing_in_between() -> None:
    pilot = Pilot(lambda _: np.zeros((1, 2), np.float32))
    assert delayed(pilot, 0, CONFIG) is pilot


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
