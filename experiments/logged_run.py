"""A run that is being logged, whether its store answers or not."""

from __future__ import annotations

import contextlib
import math
import pathlib
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import gymnasium
import numpy as np

from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.sealed import Entry
from donkey_rl.experiments.spooling import spool
from donkey_rl.experiments.spooling.delivery import Delivery
from donkey_rl.experiments.spooling.entries import (
    AnyEntry,
    DriverModel,
    Files,
    Input,
    Metrics,
    Params,
    State,
    Tags,
)
from donkey_rl.experiments.spooling.sender import LOGGER, Sender
from donkey_rl.experiments.spooling.spool import About, Spool
from donkey_rl.experiments.system_metrics import SystemMetrics

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Status = Literal["FINISHED", "KILLED", "FAILED"]

_PARAM_LENGTH = 6000
"""Characters of a parameter that MLflow takes."""

_DIGEST_LENGTH = 36
"""Characters of a data set's digest that MLflow takes."""

_INTERVAL_S = 2.0
"""Between two looks of the sender."""

_FLUSH_S = 2.0
"""How long `Run.flush` waits for the store before it trusts the disk."""

_END_S = 10.0
"""How long `Run.end` waits for a store that is away."""


class LoggingCost(NamedTuple):
    """What logging has taken so far.

    Attributes:
        wall_s: Wall time inside the calls of a run (s).
        cpu_s: Processor time of the threads that called (s).
        sender_cpu_s: Processor time of the thread that sends (s).
    """

    wall_s: float
    cpu_s: float
    sender_cpu_s: float

    def figures(self) -> dict[str, float]:
        """Returns them as metrics of a run."""
        return {
            "result/logging_wall_s": self.wall_s,
            "result/logging_cpu_s": self.cpu_s,
            "result/sending_cpu_s": self.sender_cpu_s,
        }


class Run:
    """A run that is being logged.

    Every call writes to a file on the disk, from where a thread sends it on every two seconds. As
    a context manager the run ends by itself: ``KILLED`` after Ctrl-C, ``FAILED`` after any other
    error. What the store refuses, such as another value of a parameter, is raised by a later
    call.

    Attributes:
        id: MLflow's run id.
    """

    def __init__(self, client: MlflowClient, about: About, *, started_ms: int | None) -> None:
        """Begins with nothing to write.

        Args:
            client: The store.
            about: The run and its store.
            started_ms: When it started, milliseconds since 1970; the run's machine is measured
                and `end` sets its status. None for a run that only gets more.
        """
        self.id = about.run_id
        self._about = about
        self._delivery = Delivery(client, about.run_id, about.experiment_id)
        self._ends = started_ms is not None
        self._ended = False
        self._spool: Spool | None = None
        self._sender: Sender | None = None
        self._reported = 0
        self._opening = threading.Lock()
        self._wall_s = self._cpu_s = self._sender_cpu_s = 0.0
        self._machine = (
            None if started_ms is None else SystemMetrics(self._log_machine, started_ms)
        )

    @property
    def cost(self) -> LoggingCost:
        """What logging has taken so far."""
        sender = self._sender.cpu_s if self._sender is not None else 0.0
        return LoggingCost(self._wall_s, self._cpu_s, self._sender_cpu_s + sender)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Adds one point to each curve; NaN, a score that is undefined, is left out.

        Args:
            values: Value by metric name, such as ``train/actor_loss``.
            step: Environment steps so far.

        Raises:
            StorageError: If they can be kept nowhere, or the store has refused something.
        """
        known = {k: float(v) for k, v in values.items() if not math.isnan(v)}
        if known:
            self._log(Metrics(time_ms=_now_ms(), step=step, values=known))

    def flush(self) -> None:
        """Waits until what was logged is in the store, or on the disk where the store is away.

        Raises:
            StorageError: If the disk is broken, or the store has refused something.
        """
        if self._spool is None or self._sender is None:
            return
        with self._measured():
            done = self._sender.settle(_FLUSH_S) if not self._sender.away else False
            if not done:
                try:
                    self._spool.synchronise()
                except OSError as error:
                    raise StorageError(
                        f"Run {self.id}: what was logged could not be kept in "
                        f"{self._spool.folder}: {mlflow_store.reason(error)}."
                    ) from error
            self._report()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Stores settings by flat key; a key can be given once in a run.

        Raises:
            StorageError: As in `log_metrics`.
        """
        values = {key: str(value)[:_PARAM_LENGTH] for key, value in params.items()}
        if values:
            self._log(Params(values=values))

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags, which can be changed later.

        Raises:
            StorageError: As in `log_metrics`.
        """
        self._log(Tags(values={key: str(value) for key, value in tags.items()}))

    def log_input(self, name: str, source: str, digest: str, context: str = "training") -> None:
        """Notes a data set that the run learns from.

        Args:
            name: Its name, shown in the pages.
            source: Its path or address; a password in it is left out.
            digest: What tells its content from another, such as a SHA-256; 36 characters of it
                are kept.
            context: What it is used for.

        Raises:
            StorageError: As in `log_metrics`.
        """
        source, digest = mlflow_store.shown(source), digest[:_DIGEST_LENGTH]
        self._log(Input(name=name, source=source, digest=digest, context=context))

    def log_artifact(self, path: str | pathlib.Path, folder: str | None = None) -> None:
        """Copies a file, or a folder with all it holds, into the run.

        Args:
            path: The file or folder; it may be changed or deleted afterwards.
            folder: Folder inside the run; its root by default.

        Raises:
            InputError: If there is nothing at `path`.
            StorageError: As in `log_metrics`.
        """
        source = pathlib.Path(path)
        if not source.exists():
            raise InputError(f"A file to log must exist. Received: {source}.")

        def entry(place: str, checks: dict[str, Entry]) -> Files:
            return Files(place=place, checks=checks, folder=folder)

        self._log_files(source, entry)

    def log_driver(
        self,
        folder: str | pathlib.Path,
        observation_space: gymnasium.spaces.Dict,
        action_space: gymnasium.spaces.Box,
    ) -> None:
        """Stores a driver folder as an MLflow model with a signature.

        ``mlflow.pyfunc.load_model("models:/<id>").predict(observation)`` drives by it. Nothing
        is pickled. The last driver stored is the run's driver; the one before stays the run's
        driver until this one is whole.

        Args:
            folder: The folder that ``Driver.save`` wrote.
            observation_space: What the driver sees.
            action_space: What it answers.

        Raises:
            InputError: If `folder` is no folder.
            StorageError: As in `log_metrics`.
        """
        source = pathlib.Path(folder)
        if not source.is_dir():
            raise InputError(f"A driver to log must be a folder. Received: {source}.")
        signature = _signature(observation_space, action_space)

        def entry(place: str, checks: dict[str, Entry]) -> DriverModel:
            mark = secrets.token_hex(16)
            return DriverModel(place=place, checks=checks, mark=mark, signature=signature)

        self._log_files(source, entry)

    def end(self, status: Status = "FINISHED") -> None:
        """Sets the run's status and waits until the store has everything; again: a new status.

        A store that is away is waited for some seconds. What it does not get stays on the disk,
        and a line of the log says where.

        Raises:
            StorageError: As in `log_metrics`.
        """
        self._ended = True
        if self._machine is not None:
            self._machine.stop()
        try:
            if self._ends:
                self._log(State(status=status, time_ms=_now_ms()))
        finally:
            self._close()

    def _close(self) -> None:
        """Waits for the sender and gives the spool free."""
        sender, kept = self._sender, self._spool
        if sender is None or kept is None:
            return
        with self._measured():
            done = sender.finish(_END_S)
            sender.close()
        self._sender_cpu_s += sender.cpu_s
        waiting = 0 if done else kept.waiting()
        kept.close()
        if waiting:
            LOGGER.warning(
                "What run %s could not send is kept in %s (entries: %d). `donkey-rl runs send` "
                "sends it, and so does the next command that opens this run store from this "
                "folder.",
                *(self.id, kept.folder, waiting),
            )
        try:
            self._report()
        finally:
            self._sender = self._spool = None
            self._reported = 0

    def __enter__(self) -> Self:
        """Returns the run."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the run by what happened in it."""
        if kind is None:
            if not self._ended:
                self.end()
            return
        try:
            self.end("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")
        except StorageError as failure:
            # The error on its way up says more than that its status could not be noted.
            if error is not None:
                error.add_note(str(failure))

    @contextlib.contextmanager
    def _measured(self) -> Iterator[None]:
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self._wall_s += time.perf_counter() - wall_s
            self._cpu_s += time.thread_time() - cpu_s

    def _log(self, entry: AnyEntry) -> None:
        with self._measured():
            try:
                self._opened().append(entry)
            except OSError as error:
                self._send_directly(entry, pathlib.Path(), error)
            # Behind it, so that an older refusal does not cost this entry.
            self._report()

    def _log_machine(self, values: Mapping[str, float], step: int) -> None:
        """Logs what is left out where the disk is full; nothing is raised."""
        with contextlib.suppress(OSError):
            self._opened().append(Metrics(time_ms=_now_ms(), step=step, values=dict(values)))

    def _log_files(self, source: pathlib.Path, entry: Any) -> None:
        with self._measured():
            try:
                held = self._opened()
                held.append(entry(*held.stage(source)))
            except OSError as error:
                whole = source.resolve()
                self._send_directly(entry(whole.name, spool.checks(whole)), whole.parent, error)
            self._report()

    def _opened(self) -> Spool:
        """Returns the spool, made with its sender when the first entry comes."""
        with self._opening:
            if self._spool is None:
                self._spool = Spool.create(self._about, spool.PLACE)
                self._sender = Sender(self._spool, self._delivery, _INTERVAL_S)
            return self._spool

    def _send_directly(self, entry: AnyEntry, root: pathlib.Path, why: OSError) -> None:
        """Sends what the disk has no space for, after all that was logged before."""
        full = f"nothing can be kept here ({mlflow_store.reason(why)})"
        if self._sender is not None and not self._sender.settle(_FLUSH_S):
            raise StorageError(
                f"Run {self.id}: {full}, and the run store does not take it. Free some space here."
            )
        try:
            self._delivery.send([entry], root)
        except StorageError as error:
            raise StorageError(f"{error} And {full}.") from error

    def _report(self) -> None:
        """Raises what the store has refused since the last call."""
        if self._sender is None or self._spool is None:
            return
        new = self._sender.refusals[self._reported :]
        self._reported += len(new)
        if new:
            more = f" And {len(new) - 1} more." if len(new) > 1 else ""
            raise StorageError(f"{new[0]}{more} It is kept in {self._spool.folder}.")


def _now_ms() -> int:
    return round(time.time() * 1000)


def _signature(
    observation_space: gymnasium.spaces.Dict, action_space: gymnasium.spaces.Box
) -> dict[str, Any]:
    """Returns the driver's inputs and outputs, batched, as MLflow's tensors."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype(space.dtype), (-1, *(space.shape or ())), name)
        for name, space in observation_space.spaces.items()
    ]
    outputs: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype(action_space.dtype), (-1, *action_space.shape))
    ]
    signature = ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
    found: dict[str, Any] = signature.to_dict()
    return found
