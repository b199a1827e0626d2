"""A worker: one process that takes trials of a study until none is left. (Signatures.)"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, Self

import optuna
import pydantic

from donkey_rl.configuration import Config
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.queue import Attempt
from donkey_rl.experiments.sweeps.storage import SharedStorage


class Task(abc.ABC):
    """What the trials of a study are.

    The process that starts a worker names the class as ``module:Class``; it never comes out of a
    storage. It may import TensorFlow: threads are set before its module is imported.
    """

    @classmethod
    @abc.abstractmethod
    def of(cls, plan: Mapping[str, Any]) -> Self:
        """Builds the task from what `Order.plan` holds (JSON values)."""

    @abc.abstractmethod
    def study(self, storage: SharedStorage) -> optuna.Study:
        """Opens the study, or makes it, with its sampler and pruner."""

    @abc.abstractmethod
    def run(self, attempt: Attempt, progress: ProgressDisplay) -> None:
        """Works on one trial and ends it by complete, prune or fail.

        Raises KeyboardInterrupt when it was stopped, so that the trial is handed back.
        """


class Order(Config):
    """What a worker gets, on its standard input or as an argument of a cluster's actor."""

    storage: str = pydantic.Field(repr=False, description="URL with password")
    trials: int = pydantic.Field(ge=1)
    workers: int = pydantic.Field(
        default=1, ge=1, description="workers that start on this machine"
    )
    task: str = pydantic.Field(default="donkey_rl.experiments.sweeps.trial:SweepTask")
    plan: dict[str, Any] = pydantic.Field(default={}, description="what the task is built from")
    lease_s: float = pydantic.Field(default=60.0, gt=0)
    take_for_s: float | None = pydantic.Field(
        default=None, ge=0, description="no trial is taken after so long (s)"
    )


class WorkerReport(Config):
    """What a worker did."""

    owner: str
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    lost: int = 0
    interrupted: bool = False


def work(
    order: Order,
    progress: ProgressDisplay,
    *,
    owner: str | None = None,
    taken: Callable[[int], object] = lambda number: None,
) -> WorkerReport:
    """Takes trials until none is left. Threads and cores must have been set before.

    Args:
        order: What to do.
        progress: Shows it.
        owner: A name of its own for this worker, made up unless given.
        taken: Told the number of each trial when it is taken.
    """
    raise NotImplementedError
