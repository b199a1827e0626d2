"""Sweep workers on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import donkey_rl
from donkey_rl import errors
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.cluster import connection
from donkey_rl.experiments.cluster.connection import Node
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import addresses, worker, worker_process
from donkey_rl.experiments.sweeps.engine import Engine
from donkey_rl.experiments.sweeps.worker import Order, WorkerReport

_PASSED_ON = ("MLFLOW_TRACKING_", "PGPASSWORD")
_SOON_S = 30.0
_MOST_SOON_LOST = 5
_HAND_BACK_S = 60.0


class RayEngine(Engine):
    """Workers are tasks of a Ray cluster, each with its own share of the cores.

    A worker that is lost with its node is placed again on another. Its trial is handed on when
    its lease has run out, not before: a node that Ray calls dead may only be out of reach, and
    still at work.
    """

    def __init__(self, address: str | None = None, *, cpus: float = 1.0) -> None:
        """Prepares; Ray is imported when the engine runs.

        Args:
            address: ``HOST:PORT`` of the cluster; None for one of this machine alone, which
                ends with the sweep.
            cpus: Cores that a worker is given.
        """
        self._address, self._cpus = address, cpus

    def run(self, order: Order, progress: ProgressDisplay) -> tuple[WorkerReport, ...]:
        """See `Engine`."""
        with connection.connected(self._address, progress) as nodes:
            _check_shared(order.storage, nodes)
            _check_room(nodes, self._cpus, order.workers, progress)
            return _Placement(order, self._cpus, progress).run()


def _check_shared(storage: str, nodes: tuple[Node, ...]) -> None:
    """Refuses what only this machine can reach where others are to work with it."""
    if connection.is_this_machine(nodes):
        return
    hosts = ", ".join(sorted({node.host for node in nodes}))
    if addresses.scheme(storage) != "postgresql":
        raise InputError(
            f"The storage {addresses.shown(storage)} is a file, which the cluster's machines "
            f"({hosts}) do not share safely: locks of a file do not hold over networks. Give a "
            "PostgreSQL server: --storage postgresql://USER@HOST/STUDIES."
        )
    if not mlflow_store.tracking_uri().startswith(("http://", "https://")):
        raise InputError(
            f"The runs of the cluster's machines ({hosts}) would be scattered over databases of "
            "their own. Start `mlflow server` and name it in MLFLOW_TRACKING_URI."
        )


def _check_room(
    nodes: tuple[Node, ...], cpus: float, workers: int, progress: ProgressDisplay
) -> None:
    """Refuses workers that no node has room for, and says how many work at once."""
    room = sum(int(node.cpus / cpus) for node in nodes)
    if room == 0:
        largest = max((node.cpus for node in nodes), default=0.0)
        raise InputError(
            f"A worker wants {cpus:g} cores, and the largest node of the cluster has "
            f"{largest:g}. Give workers fewer cores, or add a node."
        )
    if room < workers:
        progress.message(
            f"{workers} workers are wanted and the cluster has room for {room} at a time; the "
            "others wait for it"
        )


class _Placement:
    """The workers of one order while they are at work."""

    def __init__(self, order: Order, cpus: float, progress: ProgressDisplay) -> None:
        import ray

        self._order, self._progress = order, progress
        threads = max(1, int(cpus))
        limits = worker_process.environment(threads)
        # A process of its own for each worker: libraries keep their threads until the end.
        self._task = ray.remote(
            num_cpus=cpus, max_retries=0, max_calls=1, runtime_env={"env_vars": limits}
        )(_work)
        self._at_work: dict[Any, float] = {}
        self._began = time.monotonic()
        self._lost_soon = 0

    def run(self) -> tuple[WorkerReport, ...]:
        """Places the workers and waits for what they report."""
        import ray

        for _ in range(self._order.workers):
            self._place()
        reports: list[WorkerReport] = []
        try:
            while self._at_work:
                done, _ = ray.wait(list(self._at_work), num_returns=1, timeout=1.0)
                for one in done:
                    report = self._collected(one)
                    if report is None or report.has_grown:
                        self._place()
                    if report is not None:
                        reports.append(report)
        except BaseException:
            self._stop()
            raise
        return tuple(reports)

    def _place(self) -> None:
        order = self._order
        if order.take_for_s is not None:
            left = max(0.0, order.take_for_s - (time.monotonic() - self._began))
            order = order.model_copy(update={"take_for_s": left})
        passed = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
        placed = self._task.remote(
            order.model_dump(mode="json"), os.getcwd(), passed, donkey_rl.__version__
        )
        self._at_work[placed] = time.monotonic()

    def _collected(self, one: Any) -> WorkerReport | None:
        """Returns what a worker reports, or None where it was lost.

        Raises:
            DonkeyRLError: Workers are lost again and again, or one refused its order.
        """
        import ray

        worked_s = time.monotonic() - self._at_work.pop(one)
        try:
            answer = ray.get(one)
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {lines[-1].strip() if lines else 'no reason'}"
            self._lost_soon = self._lost_soon + 1 if worked_s < _SOON_S else 0
            if self._lost_soon > _MOST_SOON_LOST * self._order.workers:
                raise DonkeyRLError(
                    f"Workers are lost as soon as they are placed ({reason[:300]}). What was "
                    f"complete is kept. Is donkey-rl {donkey_rl.__version__} installed on every "
                    "node, and is there memory enough?"
                ) from error
            self._progress.message(f"a worker is lost and is placed again ({reason[:200]})")
            return None
        self._lost_soon = 0
        return _report(answer)

    def _stop(self) -> None:
        """Lets the workers hand back their trials."""
        import ray

        for one in self._at_work:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                ray.cancel(one, force=False)
        if self._at_work:
            waiting = list(self._at_work)
            ray.wait(waiting, num_returns=len(waiting), timeout=_HAND_BACK_S)


def _report(answer: Mapping[str, Any]) -> WorkerReport:
    """Returns a worker's report, or raises the error that it came to."""
    if "report" in answer:
        return WorkerReport(**answer["report"])
    kind = getattr(errors, answer["error"], DonkeyRLError)
    known = kind in (errors.InputError, errors.ConfigurationError, errors.StorageError)
    raise (kind if known else DonkeyRLError)(f"A worker on {answer['host']}: {answer['text']}")


def _work(
    order: dict[str, Any], folder: str, environment: dict[str, str], version: str
) -> dict[str, Any]:
    """Works on a node: what comes back are plain values, never an error of ours as a pickle."""
    import socket

    host = socket.gethostname()
    if version != donkey_rl.__version__:
        text = f"donkey-rl is {donkey_rl.__version__} there and {version} here; install the same"
        return {"error": "InputError", "text": text, "host": host}
    if pathlib.Path(folder).is_dir():
        os.chdir(folder)
    os.environ.update(environment)
    try:
        with ProgressDisplay() as progress:
            report = worker.work(Order(**order), progress)
    except KeyboardInterrupt:
        return {"report": WorkerReport(owner=host, interrupted=True).model_dump(mode="json")}
    except DonkeyRLError as error:
        return {"error": type(error).__name__, "text": str(error), "host": host}
    return {"report": report.model_dump(mode="json")}
