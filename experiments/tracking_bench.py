"""What logging costs a training."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from donkey_rl import configuration
from donkey_rl.configuration import Config
from donkey_rl.experiments import process_clock, stored_runs, training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay

_VARIABLE = "MLFLOW_TRACKING_URI"


class LoggingShare(Config):
    """What logging took of one training, over that of the whole training.

    Attributes:
        wall: Wall time inside the calls that log, which the training waits for.
        cpu: Processor time of the threads that call.
        total_cpu: The same with the thread that sends.
        wall_s: Wall time of the training (s).
        cpu_s: Processor time of the training (s).
    """

    wall: float
    cpu: float
    total_cpu: float
    wall_s: float
    cpu_s: float


def measure(progress: ProgressDisplay, uri: str | None = None) -> LoggingShare:
    """Trains by the recipe `first_lap`, which logs more often than longer ones.

    Args:
        progress: Shows how far it is.
        uri: The store; one of its own in a temporary folder by default.

    Raises:
        StorageError: The store cannot be written.
    """
    config = configuration.validate(TrainingConfig, configuration.read_recipe("first_lap"))
    # Windows cannot delete the database, which stays open.
    with tempfile.TemporaryDirectory(prefix="donkey-rl-", ignore_cleanup_errors=True) as name:
        store = uri or f"sqlite:///{Path(name) / 'mlflow.db'}"
        with _store(store):
            wall, cpu = time.perf_counter(), process_clock.spent_s()
            result = training.train(config, progress)
            wall_s = time.perf_counter() - wall
            cpu_s = process_clock.spent_s() - cpu
            found = stored_runs.find(result.run_id).metrics
    called_s = found["result/logging_cpu_s"]
    return LoggingShare(
        wall=found["result/logging_wall_s"] / wall_s,
        cpu=called_s / cpu_s,
        total_cpu=(called_s + found["result/sending_cpu_s"]) / cpu_s,
        wall_s=wall_s,
        cpu_s=cpu_s,
    )


@contextlib.contextmanager
def _store(uri: str) -> Iterator[None]:
    """Makes a store the one that runs are kept in."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
