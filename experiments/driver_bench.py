"""How long a driver takes from camera image to action, on one core."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.envs import batch as batches
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments import drivers
from donkey_rl.experiments.rounds import ROUNDS

PREDICTIONS = 300
"""Of each party and round."""

Act = Callable[[Mapping[str, npt.NDArray[Any]]], object]


def predict_ms() -> dict[str, float]:
    """Returns the median and the 99th percentile of image to action, in ms.

    An untrained driver of the usual size answers one image after another. Of both percentiles
    the medians over rounds are taken, in which the parties answer in turn.

    Returns:
        `p50` and `p99` through Keras, which `train` and `evaluate` drive by, `lite_p50` and
        `lite_p99` through LiteRT.
    """
    config = EnvironmentConfig()
    observation = batches.observation_space(config).sample()
    driver = drivers.usual_driver(config)
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        driver.save(pathlib.Path(name) / "driver")
        lite = LiteDriver.load(pathlib.Path(name) / "driver")
    parties: dict[str, Act] = {"": driver.act, "lite_": lite.act}
    found: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in parties}
    for act in parties.values():
        _times(act, observation)
    with on_one_core():
        for _ in range(ROUNDS):
            for name, act in parties.items():
                found[name].append(np.percentile(_times(act, observation), [50, 99]))
    return {
        f"{name}{which}": round(float(value), 3)
        for name, rounds in found.items()
        for which, value in zip(("p50", "p99"), np.median(rounds, axis=0), strict=True)
    }


def _times(act: Act, observation: Mapping[str, npt.NDArray[Any]]) -> list[float]:
    times = []
    for _ in range(PREDICTIONS):
        started = time.perf_counter()
        act(observation)
        times.append(1000.0 * (time.perf_counter() - started))
    return times


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Keeps all threads of this process on one core, where the system can do that."""
    tasks = pathlib.Path("/proc/self/task")
    if not hasattr(os, "sched_setaffinity") or not tasks.is_dir():
        yield
        return
    before = os.sched_getaffinity(0)
    threads = [int(task.name) for task in tasks.iterdir()]
    try:
        _pin(threads, {min(before)})
        yield
    finally:
        _pin(threads, before)


def _pin(threads: list[int], cores: set[int]) -> None:
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cores)
