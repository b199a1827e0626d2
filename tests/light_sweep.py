"""A task without a training, for tests of what hands trials out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import optuna

from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.attempt import Attempt
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage
from donkey_rl.experiments.sweeps.worker import Task


class Counting(Task):
    """Counts to `steps`, keeps the count in a file, and goes on from it."""

    def __init__(self, study: str, folder: Path, steps: int, step_s: float) -> None:
        self._study = study
        self._folder = folder
        self._steps = steps
        self._step_s = step_s

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Self:
        return cls(plan["study"], Path(plan["folder"]), plan["steps"], plan["step_s"])

    def study(self, storage: SharedStorage) -> optuna.Study:
        return optuna.create_study(
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),
            study_name=self._study,
            direction="maximize",
            load_if_exists=True,
        )

    def run(self, attempt: Attempt, progress: ProgressDisplay) -> None:
        x = attempt.trial.suggest_float("x", 0.0, 1.0)
        place = Path(attempt.earlier.get("place", self._folder / f"{attempt.number}"))
        attempt.note("place", str(place))
        done = len(place.read_bytes()) if place.exists() else 0
        for step in range(done, self._steps):
            time.sleep(self._step_s)
            with place.open("ab") as file:
                file.write(b".")
            attempt.report(x * step, step)
            attempt.advance(step + 1)
        attempt.complete(x)
        with (self._folder / "completed").open("a") as file:
            file.write(f"{place.name}\n")
