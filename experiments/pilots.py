"""Who drives the cars of a race: a function of what they see, or one that can fail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.observing import Observation
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.tasks import STEP_S

Actions = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

Act = Callable[[Observation], Actions]
"""Observation of N cars to their actions, (N, 2)."""


_NOISE_STREAM = 90_001
"""Noise is drawn from another stream than the races of the same seed."""


class Pilot:
    """Drives all cars of a field by a function, at once and without fail.

    Attributes:
        lost: Cars whose driver will not answer any more in this race, shape (N,).
        missed: Cars that got an earlier command in the last step, since their driver took longer
            than a frame lasts, shape (N,).
        latency_ms: Time from the frame to its command in the last step (ms), NaN where it is not
            known, shape (N,).
    """

    def __init__(self, act: Act) -> None:
        """Takes the function."""
        self._act = act
        self.begin(0)

    def begin(self, cars: int) -> None:
        """Gets ready for a race with each of some cars."""
        self.lost: Flags = np.zeros(cars, np.bool_)
        self.missed: Flags = np.zeros(cars, np.bool_)
        self.latency_ms = np.full(cars, np.nan, np.float32)

    def drive(self, observation: Observation, driving: Flags) -> Actions:
        """Returns the actions of all cars, (N, 2).

        Args:
            observation: What the cars see.
            driving: Cars that still race, shape (N,); what the others do is of no matter.
        """
        return self._act(observation)


class Noisy(Pilot):
    """A pilot whose actions reach the car with noise, anew in each step.

    It is drawn anew because learners see the last actions: of noise that lasts they would learn
    to carry it on, of this they learn the mean, which is what the pilot wanted.
    """

    def __init__(self, pilot: Pilot, deviation: float, seed: int) -> None:
        """Puts the noise between a pilot and its cars.

        Args:
            pilot: Who drives.
            deviation: Standard deviation of what is added to actions in [-1, 1].
            seed: Of the noise.
        """
        self._pilot, self._deviation = pilot, deviation
        self._random = np.random.default_rng([seed, _NOISE_STREAM])
        super().begin(0)

    def begin(self, cars: int) -> None:
        """See `Pilot.begin`."""
        self._pilot.begin(cars)
        self._take_over()

    def drive(self, observation: Observation, driving: Flags) -> Actions:
        """Returns the actions that reach the cars, (N, 2); see `Pilot.drive`."""
        wanted = self._pilot.drive(observation, driving)
        self._take_over()
        noise = self._deviation * self._random.standard_normal(wanted.shape)
        return np.clip(wanted + noise, -1.0, 1.0).astype(np.float32)

    def _take_over(self) -> None:
        inner = self._pilot
        self.lost, self.missed, self.latency_ms = inner.lost, inner.missed, inner.latency_ms


def noisy(pilot: Pilot, deviation: float, seed: int) -> Pilot:
    """Returns a pilot behind noise, the pilot itself where there is none."""
    return Noisy(pilot, deviation, seed) if deviation else pilot


class Timed(Pilot):
    """A pilot that gives its races up after some time.

    Attributes:
        share: Share of the time that is over.
    """

    def __init__(
        self, pilot: Pilot, limit_s: float, clock: Callable[[], npt.NDArray[np.float64]]
    ) -> None:
        """Puts the limit on a pilot.

        Args:
            pilot: Who drives.
            limit_s: Simulation time of each race (s).
            clock: Returns that of all cars (s), shape (N,).
        """
        self._pilot, self._limit_s, self._clock = pilot, limit_s, clock
        self.share = 0.0
        super().begin(0)

    def begin(self, cars: int) -> None:
        """See `Pilot.begin`."""
        super().begin(cars)
        self._pilot.begin(cars)

    def drive(self, observation: Observation, driving: Flags) -> Actions:
        """Returns the actions of all cars, (N, 2); see `Pilot.drive`."""
        actions = self._pilot.drive(observation, driving)
        time_s = self._clock()
        self.missed, self.latency_ms = self._pilot.missed, self._pilot.latency_ms
        # The step that is driven now reaches the limit.
        self.lost = self._pilot.lost | (time_s + STEP_S >= self._limit_s)
        self.share = float(np.min(time_s)) / self._limit_s
        return actions


def neutral(config: EnvironmentConfig) -> Actions:
    """Returns the action that neither steers nor accelerates, as far as the limits let it, (2,).

    >>> bool((neutral(EnvironmentConfig(throttle_min=-1.0)) == 0.0).all())
    True
    >>> neutral(EnvironmentConfig())[1]
    np.float32(-1.0)
    """
    middle = 0.5 * (config.throttle_max + config.throttle_min)
    half = 0.5 * (config.throttle_max - config.throttle_min)
    return np.array([0.0, np.clip(-middle / half, -1.0, 1.0)], np.float32)
