"""A task without a training, for tests of what hands trials out.

A worker of it leaves `PID.pid` in the folder, and each job a file with one byte for each step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import optuna

from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.attempt import Attempt
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage
from donkey_rl.experiments.sweeps.storage import open_storage
from donkey_rl.experiments.sweeps.worker import Order, Task


class Counting(Task):
    """Counts to `steps`, keeps the count in a file, and goes on from it.

    Where a file `gate` is named, jobs from number `free` on end once it is there.
    """

    def __init__(
        self, study: str, folder: Path, steps: int, step_s: float, gate: str = "", free: int = 0
    ) -> None:
        self._study = study
        self._folder = folder
        self._steps = steps
        self._step_s = step_s
        self._gate, self._free = gate, free

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Self:
        (Path(plan["folder"]) / f"{os.getpid()}.pid").touch()
        gate, free = plan.get("gate", ""), plan.get("free", 0)
        return cls(plan["study"], Path(plan["folder"]), plan["steps"], plan["step_s"], gate, free)

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
            is_held = self._gate and step == self._steps - 1 and int(place.name) >= self._free
            while is_held and not Path(self._gate).exists():
                time.sleep(0.02)
            with place.open("ab") as file:
                file.write(b".")
            attempt.report(x * step, step)
            attempt.advance(step + 1)
        attempt.complete(x)


def order(url: str, folder: Path, **changes: Any) -> Order:
    """Makes an empty study and returns what its workers are to do."""
    plan = {"study": "light", "folder": str(folder), "steps": 4, "step_s": 0.05}
    optuna.create_study(
        storage=open_storage(url), study_name="light", direction="maximize", load_if_exists=True
    )
    values = {"trials": 20, "workers": 3, "lease_s": 3.0} | changes
    task = f"{Counting.__module__}:{Counting.__name__}"
    return Order(storage=url, study="light", task=task, plan=plan, **values)
