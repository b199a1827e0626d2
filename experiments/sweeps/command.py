"""A whole sweep: the study is made or joined, workers work on it, and its results are stored."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self

import optuna
import pydantic
from pydantic import Field

from donkey_rl import shell
from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError, StorageError
from donkey_rl.experiments import beginning, splits, stored_runs, tracking
from donkey_rl.experiments.cluster import placement
from donkey_rl.experiments.progress import Phase, ProgressDisplay
from donkey_rl.experiments.sweeps import results, studies, summary
from donkey_rl.experiments.sweeps import storage as storages
from donkey_rl.experiments.sweeps.engine import Engine, LocalEngine
from donkey_rl.experiments.sweeps.plan import SweepPlan
from donkey_rl.experiments.sweeps.queue import Queue
from donkey_rl.experiments.sweeps.summary import SweepResult
from donkey_rl.experiments.sweeps.worker import Order

_PAUSE_S = 2.0

_MOST_DRIVERS = 16
"""The study's best drivers so many are tried as members of a committee."""


class Work(Config):
    """How a sweep is worked on from here; others may work on it otherwise.

    Attributes:
        storage: Address of the study, by default a journal in the current folder.
        trials: Trials that the study is to have, all workers together.
        workers: Processes to start.
        minutes: After so many no trial is begun any more.
        engine: What starts the workers.
        address: Of the cluster.
        ensemble: Whether the best committee of the study's drivers is made at the end.
    """

    storage: str | None = Field(default=None, repr=False)
    trials: int = Field(default=20, ge=1, le=100_000)
    workers: int = Field(default=1, ge=1, le=1_000)
    minutes: float | None = Field(default=None, ge=0.0)
    engine: placement.Engine = "local"
    address: str | None = None
    ensemble: bool = False

    @pydantic.model_validator(mode="after")
    def _cluster_is_wanted(self) -> Self:
        placement.check(self.engine, self.address)
        return self


def sweep(plan: SweepPlan, work: Work, progress: ProgressDisplay) -> SweepResult:
    """Works on a study until it has its trials, or it is late.

    After Ctrl-C what there is by then is reported; trials that ran wait for whoever comes next.

    Args:
        plan: What the study tries.
        work: How it is worked on.
        progress: Shows how far it is.

    Raises:
        InputError: The storage is refused, there is another study of this name in it, or no
            trial could begin with what the plan names.
        StorageError: The study or the runs cannot be read or written.
    """
    plan = _prepared(plan, progress)
    # The study's name is that of a file wherever the study is: its best settings.
    usual = storages.default(plan.study)
    url = work.storage or usual
    storage = storages.open_storage(url, progress.message, workers=work.workers)
    study = studies.join(plan, storage)
    run_id = studies.run_of(study, storage, plan)
    pages = dashboard(storage.shown)
    progress.message(f"study {plan.study}, run {run_id}; watch it: {pages}")
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
            with _shown(study, work.trials, progress):
                reports = _engine(work).run(order, progress)
            trials = Queue(study, storage, work.trials)
            if any(each.interrupted for each in reports) and trials.has_more():
                stopped = True
                progress.message(
                    "a worker was asked to end, and trials are left: start the sweep again"
                )
        except KeyboardInterrupt:
            stopped = True
            progress.message("stopped: trials that ran go on where the sweep is started again")
        result = summary.summarise(study, plan, run)
        run.end("KILLED" if stopped else "FINISHED")
    made = None
    if work.ensemble and not stopped:
        try:
            made = _committee(study, plan, run_id, progress)
        except DonkeyRLError as error:
            progress.message(f"no ensemble: {error}")
        except KeyboardInterrupt:
            stopped = True
            progress.message("stopped while the ensemble was sought; all trials are complete")
    return result.model_copy(update={"stopped": stopped, "dashboard": pages, "ensemble": made})


def _prepared(plan: SweepPlan, progress: ProgressDisplay) -> SweepPlan:
    """Returns a plan whose runs, drivers and recordings were looked at and named for good."""
    if not beginning.names_more(plan.config):
        return plan
    # TensorFlow, which takes seconds and memory to load.
    from donkey_rl.experiments import prerequisites

    found = prerequisites.checked(plan.config, progress)
    return plan.model_copy(update={"config": beginning.lasting(found)})


def dashboard(shown: str) -> str:
    """Returns the line that opens the pages of a storage.

    Args:
        shown: Its address without the password.
    """
    return shell.quoted("optuna-dashboard", shown)


def _engine(work: Work) -> Engine:
    if work.engine == "local":
        return LocalEngine()
    from donkey_rl.experiments.cluster.ray_engine import RayEngine

    return RayEngine(work.address)


@contextlib.contextmanager
def _shown(study: optuna.Study, wanted: int, progress: ProgressDisplay) -> Iterator[None]:
    """Shows on a terminal how many trials are done; elsewhere the workers' lines say it."""
    if not progress.is_interactive:
        yield
        return
    done = threading.Event()

    def watch(phase: Phase) -> None:
        # What is wrong with the storage the engine says.
        with contextlib.suppress(StorageError):
            while not done.wait(_PAUSE_S):
                counts = results.count(study.get_trials(deepcopy=False))
                phase.update(
                    counts.complete + counts.pruned + counts.failed, running=counts.running
                )

    with progress.phase("sweep", wanted, "trials") as phase:
        thread = threading.Thread(target=watch, args=(phase,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _committee(
    study: optuna.Study, plan: SweepPlan, run_id: str, progress: ProgressDisplay
) -> dict[str, Any] | None:
    """Makes the best committee of the study's drivers, where there are any."""
    from donkey_rl.experiments.sweeps import committee

    known = {run.id for run in stored_runs.every()}
    trained = results.drivers(study.get_trials(deepcopy=False))
    # Runs can be deleted in MLflow's pages.
    drivers = [each for each in trained if each in known][:_MOST_DRIVERS]
    if len(drivers) < 2:
        progress.message("no committee: it takes two drivers of complete trials at least")
        return None
    wanted = committee.CommitteePlan(
        tracks=splits.tracks(",".join(plan.tracks)), highest_disqualified=plan.most_disqualified
    )
    found = committee.choose(drivers, wanted, progress)
    made = committee.keep(found, f"committee of {plan.study}", run_id)
    return {**made.model_dump(mode="json"), "committee": found.as_json()}
