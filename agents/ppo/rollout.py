"""What a policy went through between two updates, and what it is worth."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.observations import Layout, Parts

FloatArray = npt.NDArray[np.float32]


class Rollout(NamedTuple):
    """Steps to learn from, N of them.

    Attributes:
        seen: The observations: their numbers (N, F), then their images (N, h, w, c), uint8, where
            there are any.
        actions: Shape (N, A), or (N, 1) for choices.
        log_density: Of the actions when they were taken, (N,).
        advantages: (N,).
        returns: What followed, (N,).
        values: What the critic said then, (N,).
    """

    seen: tuple[Any, ...]
    actions: FloatArray
    log_density: FloatArray
    advantages: FloatArray
    returns: FloatArray
    values: FloatArray


def seen(parts: Parts) -> tuple[Any, ...]:
    """Returns the parts of observations that there are; compiled functions take no None."""
    return (parts.numbers,) if parts.image is None else (parts.numbers, parts.image)


def advantages(
    rewards: FloatArray,
    values: FloatArray,
    ended: npt.NDArray[np.bool_],
    last_values: FloatArray,
    discounts: tuple[float, float],
) -> FloatArray:
    """Returns how much better each action was than what the critic expected, (T, E).

    Generalised advantage estimation: Schulman et al. 2016, arXiv:1506.02438, equation 16.

    Args:
        rewards: Of T steps of E environments, (T, E); of an episode that was cut, its last one
            holds the discounted value of where it was cut.
        values: What the critic said before each step, (T, E).
        ended: Whether the episode ended with the step, (T, E).
        last_values: What the critic says after the last step, (E,).
        discounts: gamma and lambda.
    """
    gamma, lambda_ = discounts
    following = np.concatenate([values[1:], last_values[None]])
    goes_on = 1.0 - ended.astype(np.float32)
    errors = rewards + np.float32(gamma) * goes_on * following - values
    decay = np.float32(gamma * lambda_) * goes_on
    found: FloatArray = np.empty_like(errors)
    later = np.zeros_like(last_values)
    for step in reversed(range(len(errors))):
        later = found[step] = errors[step] + decay[step] * later
    return found


def step_bytes(layout: Layout, width: int) -> int:
    """Returns what a step of one environment takes in a rollout.

    Args:
        layout: Of the observations.
        width: Numbers of an action.
    """
    image = 0 if layout.image is None else math.prod(layout.image)
    return 4 * (layout.numbers + width + 4) + 1 + image


class RolloutBuffer:
    """T steps of E environments; images stay uint8, each stored once.

    Attributes:
        numbers: Of the observations, (T, E, F).
        image: Of the observations, uint8 (T, E, h, w, c), or None.
        actions: (T, E, A).
        rewards: (T, E).
        ended: Whether the episode ended with the step, (T, E).
        values: (T, E).
        log_density: (T, E).
        advantages: (T, E), once the rollout is complete.
    """

    def __init__(self, layout: Layout, steps: int, environments: int, width: int) -> None:
        """Makes room.

        Args:
            layout: Of the observations.
            steps: T.
            environments: E.
            width: Numbers A of an action.
        """
        lead = (steps, environments)
        self.numbers = np.zeros((*lead, layout.numbers), np.float32)
        self.image = None if layout.image is None else np.zeros((*lead, *layout.image), np.uint8)
        self.actions = np.zeros((*lead, width), np.float32)
        self.rewards = np.zeros(lead, np.float32)
        self.ended = np.zeros(lead, np.bool_)
        self.values = np.zeros(lead, np.float32)
        self.log_density = np.zeros(lead, np.float32)
        self.advantages = np.zeros(lead, np.float32)

    @property
    def returns(self) -> FloatArray:
        """What followed each step, (T, E), once the rollout is complete."""
        return self.advantages + self.values

    def add(self, step: int, observations: Parts, drawn: tuple[FloatArray, ...]) -> None:
        """Stores what was seen and done; rewards and ends are written into their arrays.

        Args:
            step: Which step.
            observations: Of all environments.
            drawn: What `Learner.act` returned: actions, log-densities and values.
        """
        self.numbers[step] = observations.numbers
        if self.image is not None and observations.image is not None:
            self.image[step] = observations.image
        self.actions[step], self.log_density[step], self.values[step] = drawn

    def steps(self) -> Rollout:
        """Returns all steps in one line, without copies of the images."""
        count = self.rewards.size

        def line(values: Any) -> Any:
            return values.reshape(count, *values.shape[2:])

        return Rollout(
            seen(Parts(line(self.numbers), None if self.image is None else line(self.image))),
            line(self.actions),
            line(self.log_density),
            line(self.advantages),
            line(self.returns),
            line(self.values),
        )
