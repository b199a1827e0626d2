"""How far an exported driver's answers are from the original's, and how long they take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl.agents.deployment.pilots import Pilot
from donkey_rl.configuration import Config
from donkey_rl.experiments.deployment.frames import Observations
from donkey_rl.experiments.driver_bench import on_one_core

FLOAT_TOLERANCE, EIGHT_BIT_TOLERANCE = 1e-3, 2e-2
"""By how much an action may change, of a range of 2."""

_TIMED, _TIMED_S = 300, 3.0
_WARM_UP = 20


class Times(Config):
    """How long one answer takes on one core (ms)."""

    p50: float
    p95: float
    p99: float


class Checked(Config):
    """One exported model, held against the original.

    Attributes:
        largest_action_difference: Over all frames, of steering and throttle in [-1, 1].
        ms: Processor time, which other programs on the machine do not lengthen.
        wall_ms: The same by the clock on the wall.
        highest_rate_hz: Answers per second, of processor time, that 99 of 100 keep up with.
    """

    largest_action_difference: float
    frames: int = Field(ge=1)
    ms: Times
    wall_ms: Times
    highest_rate_hz: float


def check(
    pilot: Pilot,
    expected: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float64],
    seen: Observations,
    show: Callable[[int], None],
) -> Checked:
    """Asks an exported model what it does on each frame.

    Args:
        pilot: The model.
        expected: What it is to answer, (n, 2).
        scale: Of its answers for one of action, (2,): 1 where it answers actions.
        seen: Of n frames.
        show: Called with the frames done.
    """
    largest = 0.0
    for index in range(len(seen)):
        answer = pilot(seen.single(index))
        difference = np.abs(answer - expected[index]) / scale
        largest = max(largest, float(np.where(np.isfinite(difference), difference, np.inf).max()))
        show(index + 1)
    processor, wall = _times(pilot, seen)
    return Checked(
        largest_action_difference=largest,
        frames=len(seen),
        ms=_percentiles(processor),
        wall_ms=_percentiles(wall),
        highest_rate_hz=round(1000.0 / max(float(np.percentile(processor, 99)), 1e-3), 1),
    )


def _times(pilot: Pilot, seen: Observations) -> tuple[list[float], list[float]]:
    """Returns the times of single answers on one core (ms): processor's, and wall's."""
    processor, wall = [], []
    end = time.perf_counter() + _TIMED_S
    with on_one_core():
        for index in range(_WARM_UP + _TIMED):
            if index > 2 * _WARM_UP and time.perf_counter() > end:
                break
            observation = seen.single(index % len(seen))
            began, spent = time.perf_counter(), _processor_time()
            pilot(observation)
            processor.append(1000.0 * (_processor_time() - spent))
            wall.append(1000.0 * (time.perf_counter() - began))
    return processor[_WARM_UP:], wall[_WARM_UP:]


def _processor_time() -> float:
    """Returns the processor's time, or the wall's on Windows, which counts by 15.6 ms (s)."""
    return time.perf_counter() if os.name == "nt" else time.process_time()


def _percentiles(times: list[float]) -> Times:
    p50, p95, p99 = (round(float(each), 3) for each in np.percentile(times, [50, 95, 99]))
    return Times(p50=p50, p95=p95, p99=p99)
