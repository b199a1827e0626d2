"""Runs in MLflow: parameters, curves against environment steps, files, the driver as a model.

```python
with tracking.start("sac on generated_track", params={"sac.gamma": 0.99}) as run:
    run.log_metrics({"train/critic_loss": 0.2}, step=1000)
    run.log_driver("driver", observation_space, action_space)
```
"""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import gymnasium
import numpy as np

import donkey_rl
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.dashboard import open_dashboard
from donkey_rl.experiments.mlflow_store import prepare_in_background, tracking_uri
from donkey_rl.experiments.stored_runs import (
    FOLDER_TAG,
    MODEL_TAG,
    StoredRun,
    download_driver,
    find,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

__all__ = [
    "Run",
    "StoredRun",
    "attach",
    "download_driver",
    "find",
    "open_dashboard",
    "prepare_in_background",
    "reopen",
    "start",
    "tracking_uri",
]

Status = Literal["FINISHED", "KILLED", "FAILED"]

_PARENT_TAG = "mlflow.parentRunId"
# Bounds of MLflow's own: parameters and metrics per call, characters per parameter.
_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000
_PARAM_LENGTH = 6000


class Run:
    """A run that is being logged.

    Metrics are gathered and written together every `interval_s`, so that training does not wait
    for the database at each step. As a context manager it ends by itself: ``KILLED`` after
    Ctrl-C, ``FAILED`` after any other error.

    Args:
        client: The store.
        run_id: MLflow's run id.
        experiment_id: The run's experiment.
        ends: Whether `end` sets the run's status.
        interval_s: Time between two writes of metrics (s).
    """

    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        experiment_id: str,
        *,
        ends: bool = True,
        interval_s: float = 2.0,
    ) -> None:
        """Begins with nothing to write."""
        self.id = run_id
        self._client = client
        self._experiment_id = experiment_id
        self._ends = ends
        self._interval_s = interval_s
        self._ended = False
        self._waiting: list[Metric] = []
        self._written_s = time.monotonic()

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Adds one point to each curve; NaN, a score that is undefined, is left out.

        Args:
            values: Value by metric name, such as ``train/actor_loss``.
            step: Environment steps so far.

        Raises:
            StorageError: If gathered points are due and cannot be written.
        """
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        self._waiting += [
            Metric(name, float(value), now, step)
            for name, value in values.items()
            if not np.isnan(value)
        ]
        if (
            time.monotonic() - self._written_s >= self._interval_s
            or len(self._waiting) >= _METRICS_PER_CALL
        ):
            self.flush()

    def flush(self) -> None:
        """Writes the gathered points.

        Raises:
            StorageError: If they cannot be written; they are dropped then.
        """
        waiting, self._waiting = self._waiting, []
        self._written_s = time.monotonic()
        with self._writing("metrics"):
            for first in range(0, len(waiting), _METRICS_PER_CALL):
                part = waiting[first : first + _METRICS_PER_CALL]
                self._client.log_batch(self.id, metrics=part)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Stores settings by flat key; a key can be given once in a run.

        Raises:
            StorageError: If they cannot be written.
        """
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:_PARAM_LENGTH]) for key, value in params.items()]
        with self._writing("parameters"):
            for first in range(0, len(entries), _PARAMS_PER_CALL):
                part = entries[first : first + _PARAMS_PER_CALL]
                self._client.log_batch(self.id, params=part)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags, which can be changed later.

        Raises:
            StorageError: If they cannot be written.
        """
        with self._writing("tags"):
            for key, value in tags.items():
                self._client.set_tag(self.id, key, str(value))

    def log_artifact(self, path: str | pathlib.Path, folder: str | None = None) -> None:
        """Copies a file, or a folder with all it holds, into the run.

        Args:
            path: The file or folder.
            folder: Folder inside the run; its root by default.

        Raises:
            InputError: If there is nothing at `path`.
            StorageError: If it cannot be copied.
        """
        source = pathlib.Path(path)
        if not source.exists():
            raise InputError(f"A file to log must exist. Received: {source}.")
        with self._writing(source.name):
            self._client.log_artifact(self.id, str(source), folder)

    def log_driver(
        self,
        folder: str | pathlib.Path,
        observation_space: gymnasium.spaces.Dict,
        action_space: gymnasium.spaces.Box,
    ) -> str:
        """Stores a driver folder as an MLflow model with a signature, and returns the model's id.

        ``mlflow.pyfunc.load_model("models:/<id>").predict(observation)`` drives by it. Nothing
        is pickled. The last driver stored is the run's driver; the one before stays the run's
        driver until this one is whole.

        Args:
            folder: The folder that ``Driver.save`` wrote.
            observation_space: What the driver sees.
            action_space: What it answers.

        Raises:
            InputError: If `folder` is no folder.
            StorageError: If it cannot be stored.
        """
        source = pathlib.Path(folder)
        if not source.is_dir():
            raise InputError(f"A driver to log must be a folder. Received: {source}.")
        with self._writing("driver"):
            model_id = self._store_model(source, _signature(observation_space, action_space))
        self.set_tags({MODEL_TAG: model_id, FOLDER_TAG: f"data/{source.name}"})
        return model_id

    def end(self, status: Status = "FINISHED") -> None:
        """Writes what waits and sets the run's status; again has no effect but a new status.

        Raises:
            StorageError: If it cannot be written.
        """
        self.flush()
        self._ended = True
        if self._ends:
            with self._writing("status"):
                self._client.set_terminated(self.id, status)

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

    def _writing(self, what: str) -> contextlib.AbstractContextManager[None]:
        return mlflow_store.guard(f"Run {self.id}: {what} could not be stored")

    def _store_model(self, folder: pathlib.Path, signature: ModelSignature) -> str:
        """Writes the model beside the run and returns its id."""
        from mlflow import pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        model = self._client.create_logged_model(
            self._experiment_id, name="driver", source_run_id=self.id
        )
        with tempfile.TemporaryDirectory() as temporary:
            local = pathlib.Path(temporary) / "driver"
            pyfunc.save_model(
                str(local),
                loader_module="donkey_rl.experiments.driver_model",
                data_path=str(folder),
                mlflow_model=Model(
                    artifact_path=model.artifact_location,
                    model_uuid=model.model_id,
                    model_id=model.model_id,
                    run_id=self.id,
                ),
                signature=signature,
                pip_requirements=[f"donkey-rl=={donkey_rl.__version__}"],
            )
            self._client.log_model_artifacts(model.model_id, str(local))
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(self.id, [LoggedModelOutput(model.model_id, step=0)])
        return str(model.model_id)


def start(
    name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    parent: str | None = None,
    uri: str | None = None,
) -> Run:
    """Starts a run in the experiment ``donkey-rl``.

    Args:
        name: Name shown in the pages.
        params: Settings by flat key.
        tags: Labels, such as the track.
        parent: Id of the run that this one belongs to.
        uri: The store; ``MLFLOW_TRACKING_URI`` or ``sqlite:///mlflow.db`` by default.

    Raises:
        StorageError: If the store cannot be written.
    """
    client = mlflow_store.client(uri)
    experiment = mlflow_store.experiment_id(client, uri)
    labels = {key: str(value) for key, value in (tags or {}).items()}
    labels |= {"mlflow.source.name": "donkey-rl"} | ({_PARENT_TAG: parent} if parent else {})
    with mlflow_store.guard("The run could not be started"):
        created = client.create_run(experiment, tags=labels, run_name=name)
    run = Run(client, created.info.run_id, experiment)
    run.log_params(params or {})
    return run


def attach(reference: str, *, uri: str | None = None) -> Run:
    """Returns a stored run to log more into; its status stays what it is.

    Args:
        reference: As in `find`.
        uri: As in `start`.

    Raises:
        InputError: If there is no such run.
        StorageError: If the store cannot be opened.
    """
    stored = find(reference, uri=uri)
    client = mlflow_store.client(uri)
    return Run(client, stored.id, mlflow_store.experiment_id(client, uri), ends=False)


def reopen(run_id: str, *, uri: str | None = None) -> Run:
    """Returns a run that ended early, to go on with it: it is ``RUNNING`` again.

    Args:
        run_id: MLflow's run id.
        uri: As in `start`.

    Raises:
        StorageError: If the store cannot be written.
    """
    client = mlflow_store.client(uri)
    with mlflow_store.guard(f"Run {run_id} could not be reopened"):
        client.update_run(run_id, status="RUNNING")
    return Run(client, run_id, mlflow_store.experiment_id(client, uri))


def _signature(
    observation_space: gymnasium.spaces.Dict, action_space: gymnasium.spaces.Box
) -> ModelSignature:
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
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
