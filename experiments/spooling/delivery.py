"""Entries brought to the run store, so that one that comes twice is there once."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from donkey_rl.errors import InputError, StorageError, StoreAwayError
from donkey_rl.experiments import driver_model, mlflow_store
from donkey_rl.experiments.spooling import spool
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

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.tracking import MlflowClient

MARK_TAG = "donkey_rl.entry"
"""Tag of a model: the word of its entry."""

_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000
"""Bounds of MLflow's own for one call."""


class Delivery:
    """Brings the entries of one run to its store."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        """Names the run.

        Args:
            client: The store.
            run_id: MLflow's run id.
            experiment_id: The run's experiment.
        """
        self._client = client
        self._run_id = run_id
        self._experiment_id = experiment_id

    def send(self, entries: Sequence[AnyEntry], root: Path) -> None:
        """Brings entries to the store: one of any kind, or some points of curves.

        Args:
            entries: The entries.
            root: The folder that places of files are given from.

        Raises:
            StoreAwayError: The store does not answer; the same may be sent again.
            StorageError: It will never take this, or a file of it is not what it was.
        """
        what = _named(entries[0])
        with _guarded(f"Run {self._run_id}: {what} could not be stored"):
            if isinstance(entries[0], Metrics):
                self._metrics(each for each in entries if isinstance(each, Metrics))
                return
            for entry in entries:
                self._one(entry, root)

    def _one(self, entry: AnyEntry, root: Path) -> None:
        match entry:
            case Params(values=values):
                self._params(values)
            case Tags(values=values):
                for key, value in values.items():
                    self._client.set_tag(self._run_id, key, value)
            case Files(folder=folder):
                place = spool.staged(root, entry)
                self._client.log_artifact(self._run_id, str(place), folder)
            case DriverModel():
                self._driver(entry, spool.staged(root, entry))
            case Input():
                self._input(entry)
            case State(status="RUNNING"):
                self._client.update_run(self._run_id, status="RUNNING")
            case State(status=status, time_ms=time_ms):
                self._client.set_terminated(self._run_id, status, time_ms)

    def _metrics(self, entries: Iterable[Metrics]) -> None:
        """Sends points; MLflow's databases take a point that they have once only."""
        from mlflow.entities import Metric

        points = [
            Metric(name, value, entry.time_ms, entry.step)
            for entry in entries
            for name, value in entry.values.items()
        ]
        for first in range(0, len(points), _METRICS_PER_CALL):
            part = points[first : first + _METRICS_PER_CALL]
            self._client.log_batch(self._run_id, metrics=part)

    def _params(self, values: dict[str, str]) -> None:
        from mlflow.entities import Param

        entries = [Param(key, value) for key, value in values.items()]
        for first in range(0, len(entries), _PARAMS_PER_CALL):
            self._client.log_batch(self._run_id, params=entries[first : first + _PARAMS_PER_CALL])

    def _input(self, entry: Input) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        kind = entry.source.partition("://")[0] if "://" in entry.source else "local"
        source = json.dumps({"uri": entry.source})
        dataset = Dataset(entry.name, entry.digest, kind, source)
        tags = [InputTag("mlflow.data.context", entry.context)]
        self._client.log_inputs(self._run_id, [DatasetInput(dataset, tags)])

    def _driver(self, entry: DriverModel, folder: Path) -> None:
        """Stores a driver as a model; the one before stays the run's until this one is whole."""
        from mlflow.entities import LoggedModelOutput

        model = self._begun(entry.mark)
        with tempfile.TemporaryDirectory(prefix="donkey-rl-") as temporary:
            local = Path(temporary) / "driver"
            driver_model.save(folder, local, entry.signature, model, self._run_id)
            self._client.log_model_artifacts(model.model_id, str(local))
        self._client.finalize_logged_model(model.model_id, "READY")
        outputs: Any = self._client.get_run(self._run_id).outputs
        if model.model_id not in {each.model_id for each in outputs.model_outputs}:
            self._client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._client.set_tag(self._run_id, driver_model.FOLDER_TAG, f"data/{folder.name}")
        self._client.set_tag(self._run_id, driver_model.MODEL_TAG, model.model_id)

    def _begun(self, mark: str) -> LoggedModel:
        """Returns the model of an entry, begun now or by an attempt that came to no end."""
        found = self._client.search_logged_models(
            [self._experiment_id], f"tags.`{MARK_TAG}` = '{mark}'", max_results=1
        )
        if found:
            return found[0]
        return self._client.create_logged_model(
            self._experiment_id, name="driver", source_run_id=self._run_id, tags={MARK_TAG: mark}
        )


@contextlib.contextmanager
def _guarded(what: str) -> Iterator[None]:
    """As `mlflow_store.guard`, and what no one has foreseen may pass as well."""
    try:
        with mlflow_store.guard(what):
            yield
    except StorageError:
        raise
    except InputError as error:
        raise StorageError(f"{what}: {error}.") from error
    except Exception as error:
        raise StoreAwayError(f"{what}: {mlflow_store.reason(error)}.") from error


def _named(entry: AnyEntry) -> str:
    match entry:
        case Files(place=place):
            return Path(place).name
        case DriverModel():
            return "the driver"
        case Params():
            return "parameters"
        case State():
            return "the status"
        case Input(name=name):
            return f"the input '{name}'"
    return entry.kind
