"""A worker: it takes trials of a study until none is left."""

from __future__ import annotations

import abc
import importlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import optuna
import pydantic
from optuna.trial import TrialState

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.attempt import Attempt, LeaseLostError
from donkey_rl.experiments.sweeps.queue import LEASE_S, Queue, owner_name
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage
from donkey_rl.experiments.sweeps.storage import open_storage

MOST_GROWTH = 1_500_000_000
"""Bytes by which a worker's memory may grow over its trials before it has itself started again."""


class Task(abc.ABC):
    """What the trials of a study are.

    Whoever starts a worker names the class as ``module:Class``; no storage does. Its module may
    import TensorFlow, since threads and cores are set before.
    """

    @classmethod
    @abc.abstractmethod
    def of(cls, plan: Mapping[str, Any]) -> Self:
        """Returns the task that `Order.plan` describes.

        Raises:
            InputError: The plan does not fit.
        """

    @abc.abstractmethod
    def study(self, storage: SharedStorage) -> optuna.Study:
        """Opens the study, or makes it, with its sampler and its pruner."""

    @abc.abstractmethod
    def run(self, attempt: Attempt, progress: ProgressDisplay) -> None:
        """Works on one trial, and ends it: complete, pruned or failed.

        Raises:
            KeyboardInterrupt: It was stopped; the trial is then handed back.
            LeaseLostError: The trial is another's by now.
        """


class Order(Config):
    """What a worker is to do; it reaches the worker's process on its standard input.

    Attributes:
        storage: The storage's address, with its password.
        study: The study's name.
        trials: How many trials are wanted in all.
        workers: How many workers start on this machine.
        task: The class of the task, ``module:Class``.
        plan: What the task is made from.
        lease_s: See `Queue`.
        take_for_s: Seconds after which no trial is taken any more.
    """

    storage: str = pydantic.Field(repr=False)
    study: str
    trials: int = pydantic.Field(ge=1)
    workers: int = pydantic.Field(default=1, ge=1)
    task: str = pydantic.Field(
        default="donkey_rl.experiments.sweeps.trial:SweepTask", pattern=r"^[\w.]+:\w+$"
    )
    plan: dict[str, Any] = pydantic.Field(default_factory=dict)
    lease_s: float = pydantic.Field(default=LEASE_S, gt=0.0)
    take_for_s: float | None = pydantic.Field(default=None, ge=0.0)


class WorkerReport(Config):
    """What a worker did.

    Attributes:
        owner: Its name.
        complete: Trials that came to a score.
        pruned: Trials that were pruned.
        failed: Trials that failed by their own fault.
        lost: Trials that another had taken meanwhile.
        interrupted: Whether it was stopped; what it had was handed back.
        has_grown: Whether it ended because of its memory, and is to be started again.
    """

    owner: str
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    lost: int = 0
    interrupted: bool = False
    has_grown: bool = False


def work(
    order: Order,
    progress: ProgressDisplay,
    *,
    owner: str | None = None,
    taken: Callable[[int], object] = lambda number: None,
) -> WorkerReport:
    """Takes trials until none is left, it is late, or this process is stopped.

    Args:
        order: What to do.
        progress: Shows it.
        owner: A name that no other worker has; made up unless given.
        taken: Told the number of each trial when it is taken.

    Raises:
        InputError: The order does not fit.
        StorageError: The storage cannot be used.
    """
    began = time.monotonic()
    until = None if order.take_for_s is None else began + order.take_for_s
    storage = open_storage(order.storage, progress.message, workers=order.workers)
    task = _task(order)
    counts = dict.fromkeys(("complete", "pruned", "failed", "lost"), 0)
    name = owner or owner_name()
    interrupted = has_grown = False
    base: int | None = None
    try:
        with storage.admitted():
            queue = Queue(
                task.study(storage), storage, order.trials, lease_s=order.lease_s, owner=name
            )
            while not has_grown and (attempt := queue.take(until)) is not None:
                taken(attempt.number)
                counts[_run(task, attempt, progress)] += 1
                now = memory()
                base = now if base is None else base
                has_grown = now is not None and base is not None and now - base > MOST_GROWTH
    except KeyboardInterrupt:
        interrupted = True
    return WorkerReport(owner=name, **counts, interrupted=interrupted, has_grown=has_grown)


def _task(order: Order) -> Task:
    module, _, name = order.task.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise InputError(f"Expected the name of a task, module:Class. Received: '{order.task}'.")
    return found.of(order.plan)


def _run(task: Task, attempt: Attempt, progress: ProgressDisplay) -> str:
    """Works on one attempt and returns what became of it, a field of `WorkerReport`."""
    try:
        with attempt:
            task.run(attempt, progress)
    except LeaseLostError as error:
        progress.message(str(error))
        return "lost"
    ends = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    return ends.get(attempt.state or TrialState.FAIL, "failed")


def memory() -> int | None:
    """Returns the memory that this process holds (bytes), None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
