"""What the checks of a run found while it learned, read back from the store."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from donkey_rl.experiments import learning_curves, mlflow_store
from donkey_rl.experiments.stored_runs import StoredRun

FloatArray = npt.NDArray[np.float64]

FIGURES = ("clean_share", "counted_share", "completion", "mean_lap_s", "best_lap_s", "race_score")
"""Scores of a check that are read, where it logged them."""

_PREFIX = "check/"
_WALL, _CPU, _ALWAYS = "wall_s", "cpu_s", "clean_share"


@dataclasses.dataclass(frozen=True, eq=False)
class CheckHistory:
    """The checks of one run, in the order of its steps; every array is of shape (checks,).

    Attributes:
        steps: Environment steps before each check.
        wall_s: Wall time since the run began (s).
        wall_estimated: Whether it was taken from the clock of the store, for want of a record.
        cpu_s: Processor time (s), NaN where it was not recorded.
        figures: Scores by name, NaN where there was none.
        began_ms: When the run began (Unix time, ms).
    """

    steps: FloatArray
    wall_s: FloatArray
    wall_estimated: bool
    cpu_s: FloatArray
    figures: Mapping[str, FloatArray]
    began_ms: int

    def __len__(self) -> int:
        """Returns the number of checks."""
        return len(self.steps)


def read(run: StoredRun, *, uri: str | None = None) -> CheckHistory:
    """Returns the checks of a run; one without any has none.

    Checks that a resumed run logged a second time count once, as they were logged last.

    Args:
        run: The run.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: If the store cannot be read.
    """
    curves = {
        name: learning_curves.history(run, _PREFIX + name, uri=uri)
        for name in (*FIGURES, _WALL, _CPU)
        if _PREFIX + name in run.metrics
    }
    client = mlflow_store.client(uri)
    with mlflow_store.guard(f"The checks of run {run.id} could not be read"):
        began = int(client.get_run(run.id).info.start_time)
        logged = client.get_metric_history(run.id, _PREFIX + _ALWAYS) if curves else []
    times = {each.step: each.timestamp for each in sorted(logged, key=lambda each: each.timestamp)}
    steps = sorted(times)

    def column(name: str) -> FloatArray:
        found = dict(zip(*curves[name], strict=True)) if name in curves else {}
        return np.array([found.get(step, math.nan) for step in steps], np.float64)

    wall = column(_WALL)
    estimated = bool(np.isnan(wall).any())
    if estimated:
        wall = np.array([(times[step] - began) / 1000 for step in steps], np.float64)
    return CheckHistory(
        steps=np.array(steps, np.float64),
        wall_s=wall,
        wall_estimated=estimated,
        cpu_s=column(_CPU),
        figures={name: column(name) for name in FIGURES},
        began_ms=began,
    )
