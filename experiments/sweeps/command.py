"""A whole sweep: the study is made or joined, workers work on it, and its results are stored."""

from __future__ import annotations

import shlex
from typing import Literal

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.experiments import tracking
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import storage as storages
from donkey_rl.experiments.sweeps import studies, summary
from donkey_rl.experiments.sweeps.engine import Engine, LocalEngine
from donkey_rl.experiments.sweeps.plan import SweepPlan
from donkey_rl.experiments.sweeps.summary import SweepResult
from donkey_rl.experiments.sweeps.worker import Order


class Work(Config):
    """How a sweep is worked on from here; others may work on it otherwise.

    Attributes:
        storage: Address of the study, by default a journal in the current folder.
        trials: Trials that the study is to have, all workers together.
        workers: Processes to start.
        minutes: After so many no trial is begun any more.
        engine: What starts the workers.
        address: Of the cluster.
    """

    storage: str | None = Field(default=None, repr=False)
    trials: int = Field(default=20, ge=1, le=100_000)
    workers: int = Field(default=1, ge=1, le=1_000)
    minutes: float | None = Field(default=None, ge=0.0)
    engine: Literal["local", "ray"] = "local"
    address: str | None = None


def sweep(plan: SweepPlan, work: Work, progress: ProgressDisplay) -> SweepResult:
    """Works on a study until it has its trials, or it is late.

    After Ctrl-C what there is by then is reported; trials that ran wait for whoever comes next.

    Args:
        plan: What the study tries.
        work: How it is worked on.
        progress: Shows how far it is.

    Raises:
        InputError: The storage is refused, or there is another study of this name in it.
        StorageError: The study or the runs cannot be read or written.
    """
    url = work.storage or storages.default(plan.study)
    storage = storages.open_storage(url, progress.message, workers=work.workers)
    study = studies.join(plan, storage)
    run_id = studies.run_of(study, storage, plan)
    progress.message(
        f"study {plan.study} in {storage.shown}, run {run_id}; watch it: {dashboard(storage.shown)}"
    )
    order = Order(
        storage=url,
        study=plan.study,
        trials=work.trials,
        workers=work.workers,
        plan=plan.model_dump(mode="json"),
        take_for_s=None if work.minutes is None else 60.0 * work.minutes,
    )
    stopped = False
    with tracking.reopen(run_id) as run:
        try:
            _engine(work).run(order, progress)
        except KeyboardInterrupt:
            stopped = True
            progress.message("stopped: trials that ran go on where the sweep is started again")
        result = summary.summarise(study, plan, run)
        run.end("KILLED" if stopped else "FINISHED")
    return result.model_copy(update={"stopped": stopped, "dashboard": dashboard(storage.shown)})


def dashboard(shown: str) -> str:
    """Returns the line that opens the pages of a storage.

    Args:
        shown: Its address without the password.
    """
    return f"optuna-dashboard {shlex.quote(shown)}"


def _engine(work: Work) -> Engine:
    if work.engine == "local":
        return LocalEngine()
    from donkey_rl.experiments.cluster import RayEngine

    return RayEngine(work.address)
