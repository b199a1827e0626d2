"""How much two workers of a sweep do, beside twice what one does.

Real sweeps run, in a folder of their own, by the command that users type: real trainings, races,
MLflow and journal. One worker and two take turns; each worker is held to one core.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from donkey_rl.configuration import Config
from donkey_rl.cores import usable
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import attempt, storage

ROUNDS = 2
"""How often one worker and two take turns."""

LEAST_CYCLES = 4
"""Trials that each side has to be timed by."""

_NAMES = {1: "one", 2: "two"}
_SPACE = "sac.gamma: {low: 0.97, high: 0.98}\n"
"""Something has to be varied; this changes nothing of what a training computes on."""

_TRIAL = (
    *("--agent", "sac", "--seeds", "1", "--pruner", "none", "--trials", "100000"),
    *("--set", "steps=12_000", "--set", "evaluation.races=4"),
)


class Efficiency(Config):
    """What two workers do beside one.

    Attributes:
        efficiency: Trials per hour of two workers, divided by twice those of one.
        trials_per_h: Trials per hour and worker, from the median time between the beginnings
            of two, by the number of workers.
        trials: How many trials that is the median of, by the number of workers.
    """

    efficiency: float
    trials_per_h: dict[int, float]
    trials: dict[int, int]


def efficiency(minutes: float, progress: ProgressDisplay) -> Efficiency:
    """Measures it with short trainings on the embedded simulator.

    Args:
        minutes: How long in all, the start of the processes included.
        progress: Shows how far it is.

    Raises:
        InputError: This machine has one core only, or cannot hold a process to a core.
        DonkeyRLError: A sweep failed, or there were too few trials in that time.
    """
    cores = usable()
    if len(cores) < 2 or not hasattr(os, "sched_setaffinity"):
        raise InputError(
            f"Two workers are compared with one on two cores, on Linux. Received: {len(cores)} "
            "cores that this process may use."
        )
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = Path(name)
        (folder / "space.yaml").write_text(_SPACE, encoding="utf-8")
        with progress.phase("sweeping", 2 * ROUNDS, "sweeps") as phase:
            for turn in range(2 * ROUNDS):
                workers = 1 + turn % 2
                _sweep(folder, workers, cores[:workers], minutes / (2 * ROUNDS))
                phase.update(turn + 1)
        times = {workers: _cycles(folder, workers) for workers in _NAMES}
    if min(map(len, times.values())) < LEAST_CYCLES:
        raise DonkeyRLError(
            f"Expected at least {LEAST_CYCLES} trials of one worker and of two. Received: "
            f"{len(times[1])} and {len(times[2])}. Give it more minutes."
        )
    medians = {workers: statistics.median(found) for workers, found in times.items()}
    return Efficiency(
        efficiency=medians[1] / medians[2],
        trials_per_h={workers: 3600.0 / median for workers, median in medians.items()},
        trials={workers: len(found) for workers, found in times.items()},
    )


def _sweep(folder: Path, workers: int, cores: Sequence[int], minutes: float) -> None:
    """Sweeps for some time, on some cores, in the study of so many workers."""
    held = f"import os, sys; os.sched_setaffinity(0, {list(cores)}); from donkey_rl import cli; "
    options = [
        *("--study", _NAMES[workers], "--workers", str(workers), "--minutes", str(minutes)),
        *("--space", "space.yaml"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", held + "sys.exit(cli.main())", "sweep", *_TRIAL, *options],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise DonkeyRLError(f"A sweep failed: {done.stderr.strip()[-500:]}")


def _environment() -> Mapping[str, str]:
    """Returns an environment in which runs are stored where the sweep is."""
    return {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}


def _cycles(folder: Path, workers: int) -> list[float]:
    """Returns the times between the beginnings of two trials of the same process (s)."""
    name = _NAMES[workers]
    opened = storage.open_storage(str(folder / storage.default(name)))
    study = optuna.load_study(study_name=name, storage=opened)
    return cycles(study.trials)


def cycles(trials: Sequence[FrozenTrial]) -> list[float]:
    """Returns the times between the beginnings of two trials of the same process (s).

    The first trial of a process is left out: it compiles what the others use.

    Args:
        trials: All trials of a study.
    """
    by_owner: dict[str, list[float]] = {}
    for trial in sorted(trials, key=lambda each: each.number):
        lease = trial.system_attrs.get(attempt.LEASE)
        if lease and trial.datetime_start and trial.state == TrialState.COMPLETE:
            began = by_owner.setdefault(lease["owner"], [])
            began.append(trial.datetime_start.timestamp())
    return [
        later - earlier
        for began in by_owner.values()
        for earlier, later in itertools.pairwise(began[1:])
    ]
