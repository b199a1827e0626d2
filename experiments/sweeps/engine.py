"""What starts workers and looks after them. (Signatures.)"""

from __future__ import annotations

import abc

from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.worker import Order, WorkerReport


class Engine(abc.ABC):
    """Starts the workers of an order, and starts one again that died while trials are left."""

    @abc.abstractmethod
    def run(self, order: Order, progress: ProgressDisplay) -> tuple[WorkerReport, ...]:
        """Runs ``order.workers`` workers until nothing is left to do.

        Raises:
            KeyboardInterrupt: After Ctrl-C, when all workers have handed back their trials.
            InputError: The workers refused what they were given.
            StorageError: The storage cannot be used.
        """


class LocalEngine(Engine):
    """Workers are processes on this machine, each with its own share of the cores."""

    def run(self, order: Order, progress: ProgressDisplay) -> tuple[WorkerReport, ...]:
        """See `Engine`."""
        raise NotImplementedError
