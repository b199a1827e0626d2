"""What starts workers and looks after them."""

from __future__ import annotations

import abc

import optuna

from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.crew import Crew
from donkey_rl.experiments.sweeps.queue import Queue
from donkey_rl.experiments.sweeps.storage import open_storage
from donkey_rl.experiments.sweeps.worker import Order, WorkerReport


class Engine(abc.ABC):
    """Starts the workers of an order, and starts one again that died while trials are left."""

    @abc.abstractmethod
    def run(self, order: Order, progress: ProgressDisplay) -> tuple[WorkerReport, ...]:
        """Runs `Order.workers` workers until nothing is left to do.

        Args:
            order: What they do; the study exists.
            progress: Shows what they say.

        Returns:
            The reports of all workers that came to their end.

        Raises:
            KeyboardInterrupt: After Ctrl-C, when all workers have handed back their trials.
            InputError: The workers refused the order.
            StorageError: The storage cannot be used.
            DonkeyRLError: A worker died again and again.
        """


class LocalEngine(Engine):
    """Workers are processes on this machine, each with its own share of the cores."""

    def __init__(self, cores_each: int | None = None) -> None:
        """Prepares; nothing is started.

        Args:
            cores_each: Cores that each worker is held to. By default they share all.
        """
        self._cores_each = cores_each

    def run(self, order: Order, progress: ProgressDisplay) -> tuple[WorkerReport, ...]:
        """See `Engine`. A second Ctrl-C kills the workers; then their leases have to run out."""
        storage = open_storage(order.storage, progress.message, workers=order.workers)
        study = optuna.load_study(study_name=order.study, storage=storage)
        trials = Queue(study, storage, order.trials, lease_s=order.lease_s)
        crew = Crew(order, trials, progress, self._cores_each)
        try:
            crew.start()
            crew.watch()
        except KeyboardInterrupt:
            progress.message("stopping: workers hand back their trials; Ctrl-C again kills them")
            crew.stop()
            raise
        finally:
            crew.kill()
        return tuple(crew.reports)
