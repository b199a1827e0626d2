"""What a car is asked to do: reward and end of an episode, as pure functions of telemetry.

Reward is progress along the road, or what a function of the user's own makes of a step
(`donkey_rl.envs.rewards`). By the first whoever leaves the road, stands still or drives back
earns nothing for it, so that circling on the start line, driving to and fro, reversing, parking
and cutting across the grass all score below a slow honest lap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from donkey_rl import own_code
from donkey_rl.configuration import Config
from donkey_rl.errors import ConfigurationError

FloatArray = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

STEP_S = 0.05
"""Simulation time between two telemetry messages, on average."""

ENDINGS = ("off_track", "max_cte", "hit", "stuck", "reverse")
"""Why an episode may be terminated, in `info["ending"]`."""


class TaskConfig(Config):
    """Lap driving: progress without leaving the road.

    Attributes:
        reward: A function of the user's own in place of all terms of the reward, `PATH.py:NAME`;
            what ends an episode stays. See `rewards.OwnReward`.
        progress_reward: Reward for each unit of path gained (1/u).
        off_track_penalty: Taken once when the car leaves the road.
        hit_penalty: Taken at each hit.
        stuck_penalty: Taken when an episode ends because the car stands or drives back.
        smoothness_penalty: Taken for the square of the change of the steering command.
        wheel_penalty: Taken for each wheel outside the road, each step.
        whole_car: Whether a car has left the road as soon as one wheel has; else when its centre
            has.
        end_off_track: Whether leaving the road ends the episode.
        end_hit: Whether a hit ends the episode.
        max_cte: Distance from the path that ends the episode (u), if any.
        stuck_s: Seconds without `stuck_speed` that end the episode.
        stuck_speed: Speed that counts as moving (u/s).
        reverse_limit: Way driven back from the best progress that ends the episode (u).
        time_limit_s: After so many steps of 0.05 s an episode is cut; in another simulator a step
            may take longer.
    """

    reward: str | None = None
    progress_reward: float = Field(default=0.3, ge=0.0, le=100.0)
    off_track_penalty: float = Field(default=4.0, ge=0.0, le=1000.0)
    hit_penalty: float = Field(default=4.0, ge=0.0, le=1000.0)
    stuck_penalty: float = Field(default=4.0, ge=0.0, le=1000.0)
    smoothness_penalty: float = Field(default=0.0, ge=0.0, le=100.0)
    wheel_penalty: float = Field(default=0.0, ge=0.0, le=100.0)
    whole_car: bool = False
    end_off_track: bool = True
    end_hit: bool = True
    max_cte: float | None = Field(default=None, gt=0.0, le=1000.0)
    stuck_s: float = Field(default=2.0, gt=0.0, le=600.0)
    stuck_speed: float = Field(default=0.5, ge=0.0, le=10.0)
    reverse_limit: float = Field(default=4.0, gt=0.0, le=1000.0)
    time_limit_s: float = Field(default=60.0, gt=0.0, le=86400.0)

    @field_validator("reward")
    @classmethod
    def _names_a_function(cls, value: str | None) -> str | None:
        if value is not None:
            own_code.parse(value, "reward")
        return value

    @field_validator("time_limit_s")
    @classmethod
    def _whole_steps(cls, value: float) -> float:
        count_steps(value)
        return value


class Facts(NamedTuple):
    """What a step brought, one entry a car: all arrays have the shape (N,).

    Attributes:
        gain: Progress made along the path in the step (u).
        setback: Way behind the best progress so far (u).
        off_track: Whether it is outside the road, see `TaskConfig.whole_car`.
        left_track: Whether it left the road in this step.
        wheels_off: Wheels outside the road.
        cte: Cross-track error (u).
        hit: Whether a contact began that was not an opponent's fault.
        still_s: Seconds since the car last moved.
        steering_change: Change of the steering command.
        steering: The action that was decided on, in [-1, 1]; `throttle` likewise.
        speed: Speed (u/s), whatever units the car reports it in.
        heading: Angle of the car to the path (rad), positive where it points to the right of it.
        left_edge: Distance of the car's centre from the left edge of the road (u), negative
            beyond it; `right_edge` likewise.
    """

    gain: FloatArray
    setback: FloatArray
    off_track: Flags
    left_track: Flags
    wheels_off: npt.NDArray[np.int64]
    cte: FloatArray
    hit: Flags
    still_s: FloatArray
    steering_change: FloatArray
    steering: FloatArray
    throttle: FloatArray
    speed: FloatArray
    heading: FloatArray
    left_edge: FloatArray
    right_edge: FloatArray


def count_steps(seconds: float) -> int:
    """Returns how many steps a time takes.

    Raises:
        ConfigurationError: The time is not a whole number of steps of 0.05 s.

    >>> count_steps(20.0)
    400
    """
    steps = round(seconds / STEP_S)
    if abs(steps * STEP_S - seconds) > 1e-6 or steps < 1:
        raise ConfigurationError(
            f"A duration must be a multiple of {STEP_S} s, one step at least. "
            f"Received: {seconds} s."
        )
    return steps


def endings(task: TaskConfig, facts: Facts) -> dict[str, Flags]:
    """Returns which episodes end in this step, by the reason of `ENDINGS`."""
    never = np.zeros(facts.off_track.shape, dtype=np.bool_)
    far = np.abs(facts.cte) > task.max_cte if task.max_cte is not None else never
    return {
        "off_track": facts.off_track if task.end_off_track else never,
        "max_cte": far,
        "hit": facts.hit if task.end_hit else never,
        "stuck": facts.still_s >= task.stuck_s - 1e-9,
        "reverse": facts.setback > task.reverse_limit,
    }


def reward_terms(task: TaskConfig, facts: Facts, ended: dict[str, Flags]) -> dict[str, FloatArray]:
    """Returns the named terms of the reward; the reward is their sum.

    Off the road progress is not earned, but going back still costs: otherwise a car could gain
    on the road and go back on the grass, over and over.

    Args:
        task: The weights.
        facts: What the step brought.
        ended: The result of `endings`.
    """
    earned = np.where(facts.off_track, np.minimum(facts.gain, 0.0), facts.gain)
    gave_up = ended["stuck"] | ended["reverse"]
    left = facts.left_track | ended["max_cte"]
    weighed = {
        "progress": (task.progress_reward, earned),
        "off_track": (-task.off_track_penalty, left),
        "hit": (-task.hit_penalty, facts.hit),
        "stuck": (-task.stuck_penalty, gave_up),
        "smoothness": (-task.smoothness_penalty, facts.steering_change**2),
        "wheels": (-task.wheel_penalty, facts.wheels_off),
    }
    return {name: weight * np.asarray(x, np.float64) for name, (weight, x) in weighed.items()}
