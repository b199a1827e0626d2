"""What the calls of sweep workers take, measured: the inputs of `scaling_model`."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from donkey_rl import process_groups
from donkey_rl.errors import StorageError
from donkey_rl.experiments import dashboard, mlflow_store
from donkey_rl.experiments.cluster.scaling_model import Cost, Costs
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.attempt import LEASE, Attempt
from donkey_rl.experiments.sweeps.engine import LocalEngine
from donkey_rl.experiments.sweeps.queue import Queue
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage
from donkey_rl.experiments.sweeps.storage import open_storage
from donkey_rl.experiments.sweeps.worker import Order, Task

THERE = (0, 300, 1200)
"""Trials in the study at which calls are measured."""

PARAMETERS = 8
"""Parameters of a trial: as many as the search space of SAC has, about."""

CALLS = 24
METRICS = 20
"""Points of a batch of metrics."""

UPLOAD = (100_000,) * 12
"""Bytes of the files that a trial leaves: its driver, records of races, plots; no video."""


def storage_costs(
    url: str,
    there: Sequence[int] = THERE,
    calls: int = CALLS,
    progress: Callable[[str], object] = lambda line: None,
) -> Costs:
    """Measures the calls of one worker to a storage while a study grows.

    Of each kind of call the quickest counts: whatever else the machine does makes one slower and
    none faster. Against the number of trials a line is fitted that does not fall.

    Args:
        url: The storage; a study of its own is made in it, and deleted afterwards.
        there: Numbers of trials at which to measure.
        calls: Calls of each kind at each number.
        progress: Told how far it is.

    Raises:
        InputError: The address is none.
        StorageError: The storage cannot be used.
    """
    storage = open_storage(url)
    name = f"measured {uuid.uuid4().hex}"
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=TPESampler(seed=0), direction="maximize"
    )
    spent: dict[str, list[tuple[int, float]]] = {}
    try:
        for count in there:
            progress(f"{storage.shown}: {count} trials")
            _fill(study, count)
            now = len(study.get_trials(deepcopy=False))
            for what, seconds in _calls(study, storage, calls).items():
                spent.setdefault(what, []).append((now, min(seconds)))
    finally:
        optuna.delete_study(study_name=name, storage=storage)
    # Parameters that are drawn at random cost no more than that they are kept.
    drawn = dict(spent["write"])
    spent["sample"] = [(at, max(0.0, each - drawn[at])) for at, each in spent["sample"]]
    return Costs(**{what: _line(points) for what, points in spent.items()})


def _fill(study: optuna.Study, count: int) -> None:
    """Adds finished trials until there are so many."""
    draw = np.random.default_rng(0)
    space: dict[str, BaseDistribution] = {
        f"p{k}": FloatDistribution(0.0, 1.0) for k in range(PARAMETERS)
    }
    for _ in range(count - len(study.get_trials(deepcopy=False))):
        values = draw.uniform(size=PARAMETERS).tolist()
        study.add_trial(
            optuna.create_trial(
                params=dict(zip(space, values, strict=True)),
                distributions=space,
                value=float(np.sum(values)),
                intermediate_values={k: float(k) for k in range(5)},
                system_attrs={LEASE: {"owner": "measured", "beat": 1}},
            )
        )


def _calls(study: optuna.Study, storage: SharedStorage, calls: int) -> dict[str, list[float]]:
    """Works through some trials, and returns what each kind of call took (s)."""
    spent: dict[str, list[float]] = {
        name: [] for name in ("take", "sample", "write", "report", "beat", "finish")
    }
    samplers = {"sample": study.sampler, "write": RandomSampler(seed=0)}
    for k in range(2 * calls):
        proposing = tuple(samplers)[k % 2]
        study.sampler = samplers[proposing]
        wanted = len(study.get_trials(deepcopy=False)) + 1
        queue = Queue(study, storage, wanted, lease_s=3600.0)
        with _timed(spent["take"]):
            attempt = queue.look()
        if not isinstance(attempt, Attempt):
            raise StorageError(f"Somebody else works in the study to be measured: {attempt}.")
        with _timed(spent[proposing]):
            score = sum(attempt.trial.suggest_float(f"p{i}", 0.0, 1.0) for i in range(PARAMETERS))
        for step in range(5):
            with _timed(spent["report"]):
                attempt.report(float(step), step)
        with _timed(spent["beat"]):
            storage.beat(attempt.trial_id, LEASE, {"owner": queue.owner, "beat": k})
        with _timed(spent["finish"]):
            attempt.complete(score)
    study.sampler = samplers["sample"]
    return spent


@contextlib.contextmanager
def _timed(spent: list[float]) -> Iterator[None]:
    """Adds the time that the block takes (s)."""
    began = time.perf_counter()
    yield
    spent.append(time.perf_counter() - began)


def _line(points: Sequence[tuple[int, float]]) -> Cost:
    """Fits a line that neither falls nor begins below nought."""
    there, seconds = np.array(points, np.float64).T
    if len(points) < 2:
        return Cost(fixed_s=float(seconds[0]))
    slope, fixed = np.polyfit(there, seconds, 1)
    if slope <= 0.0 or fixed < 0.0:
        slope = max(0.0, float((there @ seconds) / max(there @ there, 1.0))) if fixed < 0 else 0.0
        fixed = float(seconds.mean()) if slope == 0.0 else 0.0
    return Cost(fixed_s=float(fixed), per_trial_s=float(slope))


def tracking_costs(calls: int = CALLS) -> dict[str, Cost]:
    """Measures a tracking server of this machine, with one client: a batch, and an upload.

    By calls to the server itself: what a run logs goes to the disk first, and from there later.

    Returns:
        The costs `log` and `upload` of `Costs`.

    Raises:
        StorageError: The server does not come up.
    """
    spent: dict[str, list[float]] = {"log": [], "upload": []}
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name)
        files = folder / "files"
        files.mkdir()
        for k, size in enumerate(UPLOAD):
            (files / f"{k}.bin").write_bytes(os.urandom(size))
        with _tracking_server(folder) as uri:
            _track(uri, files, calls, spent)
    return {what: Cost(fixed_s=min(each)) for what, each in spent.items()}


def _track(uri: str, files: pathlib.Path, calls: int, spent: dict[str, list[float]]) -> None:
    """Sends what a run sends, each call waited for."""
    from mlflow.entities import Metric

    store = mlflow_store.client(uri)
    run_id = store.create_run(mlflow_store.experiment_id(store, uri)).info.run_id
    for k in range(calls):
        points = [Metric(f"train/m{i}", float(i), 0, k) for i in range(METRICS)]
        with _timed(spent["log"]):
            store.log_batch(run_id, metrics=points)
        with _timed(spent["upload"]):
            store.log_artifacts(run_id, str(files), f"{k}")


@contextlib.contextmanager
def _tracking_server(folder: pathlib.Path) -> Iterator[str]:
    """Runs a tracking server with one process, on the loopback; yields its address."""
    mlflow_store.set_environment()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}"),
                *("--artifacts-destination", str(folder / "artifacts")),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        dashboard.wait_until_up(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process_groups.end(server, grace_s=10.0)


class Idle(Task):
    """Trials that wait as long as they are told: all that they cost is the storage's."""

    def __init__(self, study: str, wait_s: float) -> None:
        """Prepares.

        Args:
            study: Name of the study.
            wait_s: How long a trial is (s).
        """
        self._study, self._wait_s = study, wait_s

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Self:
        """See `Task`."""
        return cls(str(plan["study"]), float(plan["wait_s"]))

    def study(self, storage: SharedStorage) -> optuna.Study:
        """See `Task`."""
        return optuna.create_study(
            storage=storage,
            study_name=self._study,
            sampler=RandomSampler(),
            direction="maximize",
            load_if_exists=True,
        )

    def run(self, attempt: Attempt, progress: ProgressDisplay) -> None:
        """See `Task`."""
        score = sum(attempt.trial.suggest_float(f"p{k}", 0.0, 1.0) for k in range(PARAMETERS))
        time.sleep(self._wait_s)
        attempt.complete(score)


class Rate(NamedTuple):
    """What workers that wait came to.

    Attributes:
        workers: How many.
        per_s: Trials per second while all were at work.
        trials: How many were counted.
    """

    workers: int
    per_s: float
    trials: int


def rate(url: str, workers: int, wait_s: float, progress: ProgressDisplay, each: int = 20) -> Rate:
    """Has workers, processes of this machine, work through trials that only wait.

    Args:
        url: The storage; a study of its own is made in it, and deleted afterwards.
        workers: How many.
        wait_s: How long a trial waits (s).
        progress: Shows what they say.
        each: Trials for each worker.

    Raises:
        StorageError: The storage cannot be used.
    """
    storage = open_storage(url)
    name = f"measured {uuid.uuid4().hex}"
    task = Idle(name, wait_s)
    study = task.study(storage)
    order = Order(
        storage=url,
        study=name,
        trials=workers * each,
        workers=workers,
        task=f"{Idle.__module__}:{Idle.__name__}",
        plan={"study": name, "wait_s": wait_s},
    )
    try:
        LocalEngine().run(order, progress)
        return _steady(study.get_trials(deepcopy=False), workers)
    finally:
        optuna.delete_study(study_name=name, storage=storage)


def _steady(trials: Sequence[optuna.trial.FrozenTrial], workers: int) -> Rate:
    """Counts the trials that began while all workers were at work: neither first nor last ones."""
    begun: dict[str, list[float]] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.datetime_start is not None:
            begun.setdefault(trial.system_attrs[LEASE]["owner"], []).append(
                trial.datetime_start.timestamp()
            )
    first = max(min(each) for each in begun.values())
    last = min(max(each) for each in begun.values())
    counted = sum(first <= moment < last for each in begun.values() for moment in each)
    if len(begun) < workers or last <= first:
        raise StorageError(
            f"Of {workers} workers {len(begun)} worked at the same time, too few to be measured. "
            "Give each more trials."
        )
    return Rate(workers, counted / (last - first), counted)
