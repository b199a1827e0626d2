"""Runs read back from MLflow: found by id, by the beginning of it, by name, or by their model."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from donkey_rl.errors import InputError, StorageError, UnknownNameError
from donkey_rl.experiments import mlflow_store, model_registry
from donkey_rl.experiments.driver_model import FOLDER_TAG, MODEL_TAG
from donkey_rl.experiments.mlflow_store import tracking_uri
from donkey_rl.experiments.spooling import leftovers, sender

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PREFIX_LENGTH = 4
_PAGE = 1000
_LISTED = "`donkey-rl leaderboard` and `donkey-rl dashboard` list the runs."


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A run read back from the store.

    Attributes:
        id: MLflow's run id.
        name: The name it was given.
        status: ``RUNNING``, ``FINISHED``, ``KILLED`` (stopped) or ``FAILED``.
        params: Its parameters, by flat key.
        tags: Its tags, MLflow's own left out.
        metrics: The last value of each metric.
        artifact_uri: Where its files lie.
    """

    id: str
    name: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    artifact_uri: str


def find(reference: str, *, uri: str | None = None) -> StoredRun:
    """Returns the run with this id, this beginning of an id (4 characters or more), or this name.

    Of several runs of one name the latest is meant. ``models:/NAME@ALIAS``, ``models:/NAME/3`` and
    ``models:/MODEL_ID`` mean the run that stored the model; its driver is then that model.

    Args:
        reference: Id, beginning of an id, name, or address of a model.
        uri: As in `start`.

    Raises:
        UnknownNameError: If there is none; it carries the nearest.
        InputError: If there is no store yet, several runs' ids begin so, or there is no such
            model.
        StorageError: If the store cannot be read.
    """
    path = mlflow_store.database_path(tracking_uri(uri))
    if path is not None and not path.exists():
        raise InputError(
            f"There is no run '{reference}': {path} does not exist yet. Start a run with "
            "`donkey-rl train --agent sac`, or set MLFLOW_TRACKING_URI to where your runs are."
        )
    client, experiment = _opened(uri)
    if reference.startswith(model_registry.SCHEME):
        model = model_registry.model(reference, client)
        with mlflow_store.guard("The runs could not be read"):
            found = _stored(client.get_run(str(model.source_run_id)))
        return dataclasses.replace(found, tags={**found.tags, MODEL_TAG: model.model_id})
    with mlflow_store.guard("The runs could not be read"):
        infos = [run.info for page in _pages(client, experiment) for run in page]
        exact = [info for info in infos if info.run_id == reference]
        named = [info for info in infos if info.run_name == reference]
        begun = [info for info in infos if info.run_id.startswith(reference)]
        if not exact and not named and len(begun) > 1 and len(reference) >= _PREFIX_LENGTH:
            ids = ", ".join(sorted(info.run_id for info in begun)[:5])
            raise InputError(f"Several runs begin with '{reference}': {ids}. Type more of it.")
        if len(reference) < _PREFIX_LENGTH:
            begun = []
        if not (exact or named or begun):
            choices = [i.run_id for i in infos] + [i.run_name for i in infos if i.run_name]
            raise UnknownNameError("run", reference, choices, remedy=_LISTED)
        # MLflow lists the latest run first.
        return _stored(client.get_run((exact or named or begun)[0].run_id))


def every(*, uri: str | None = None) -> Iterator[StoredRun]:
    """Yields all runs of the store, the latest first; none where there is no store yet.

    Args:
        uri: As in `start`.

    Raises:
        StorageError: If the store cannot be read.
    """
    path = mlflow_store.database_path(tracking_uri(uri))
    if path is not None and not path.exists():
        return
    client, experiment = _opened(uri)
    for page in _pages(client, experiment):
        yield from map(_stored, page)


def _pages(client: MlflowClient, experiment: str) -> Iterator[Iterable[Any]]:
    """Yields all runs of the store, some at a time, the latest first."""
    token: str | None = None
    while True:
        with mlflow_store.guard("The runs could not be read"):
            page = client.search_runs([experiment], max_results=_PAGE, page_token=token)
        yield page
        token = page.token
        if not token:
            return


def labels(runs: Iterable[StoredRun]) -> dict[str, str]:
    """Returns what to call runs, by id and in their order: their names, with the id where needed.

    No two runs are called alike.
    """
    different = {run.id: run for run in runs}
    names = Counter(run.name for run in different.values())

    def label(run: StoredRun) -> str:
        own = run.name and names[run.name] == 1
        return run.name if own else f"{run.name} {run.id[:8]}".strip()

    return {run.id: label(run) for run in different.values()}


def download_driver(run: StoredRun | str, *, uri: str | None = None) -> pathlib.Path:
    """Returns the folder of a run's driver, fetched first where the store is on a server.

    Args:
        run: The run, or a reference as in `find`.
        uri: As in `start`.

    Raises:
        InputError: If there is no such run, or it has no driver.
        StorageError: If the driver cannot be fetched.
    """
    from mlflow import artifacts

    stored = find(run, uri=uri) if isinstance(run, str) else run
    if MODEL_TAG not in stored.tags:
        check_holds_driver(stored)
        if stored.tags.get("kind") == "evaluation":
            raise InputError(
                f"Run {stored.id} holds no driver, only the races of {stored.name}. Evaluate "
                "that, or compare over the races that are stored of both, with --races."
            )
        raise InputError(
            f"Run {stored.id} ({stored.name}, {stored.status}) holds no driver: it ended before "
            "one was stored. Choose another run in `donkey-rl dashboard`."
        )
    with mlflow_store.guard(f"The driver of run {stored.id} could not be fetched"):
        model = mlflow_store.client(uri).get_logged_model(stored.tags[MODEL_TAG])
        location = f"{model.artifact_location}/{stored.tags[FOLDER_TAG]}"
        local = artifacts.download_artifacts(location, tracking_uri=tracking_uri(uri))
    return pathlib.Path(local)


def check_holds_driver(run: StoredRun) -> None:
    """Refuses a run that is of a race at a host: it holds what was driven, and no driver.

    Raises:
        InputError: It is one; the message names the run that trained the driver, if it is known.
    """
    if run.tags.get("kind") == "race":
        trained = run.tags.get("trained_by", "")
        whose = f"run {trained}, which trained it" if trained else "the run that trained it"
        raise InputError(
            f"Run {run.id} is a race at {run.tags.get('host', 'a race host')}: it holds the "
            f"record of what was driven, no driver. Take {whose}."
        )


def search(condition: str, most: int, *, by: str = "", uri: str | None = None) -> list[StoredRun]:
    """Returns the runs that fulfil a condition of MLflow's; none where there is no store yet.

    Args:
        condition: Such as ``"tags.`track` = 'warren'"``.
        most: Runs at most.
        by: Metric whose highest values come first; by default the latest run does.
        uri: As in `start`.

    Raises:
        StorageError: If the store cannot be read.
    """
    path = mlflow_store.database_path(tracking_uri(uri))
    if path is not None and not path.exists():
        return []
    client, experiment = _opened(uri)
    order = [f"metrics.`{by}` DESC"] if by else None
    with mlflow_store.guard("The runs could not be searched"):
        found = client.search_runs([experiment], condition, max_results=most, order_by=order)
    return [_stored(run) for run in found]


def download(run: StoredRun, place: str, *, uri: str | None = None) -> pathlib.Path:
    """Returns a file or folder of a run, fetched first where the store is on a server.

    Args:
        run: The run.
        place: Path inside the run.
        uri: As in `start`.

    Raises:
        StorageError: If it is not there or cannot be fetched, or `place`, which may come from a
            tag of the store, leads out of the run.
    """
    from mlflow import artifacts

    if not place or place.startswith("/") or {"..", "."} & set(re.split(r"[/\\]", place)):
        raise StorageError(
            f"A file of a run lies inside it. Received: '{place}' of run {run.id}. "
            "Evaluate the run again."
        )
    with mlflow_store.guard(f"'{place}' of run {run.id} could not be fetched"):
        local = artifacts.download_artifacts(
            artifact_uri=f"{run.artifact_uri}/{place}", tracking_uri=tracking_uri(uri)
        )
    return pathlib.Path(local)


def _opened(uri: str | None) -> tuple[MlflowClient, str]:
    """Returns store and experiment, once the store has what this and ended processes logged."""
    leftovers.send_once(uri)
    sender.settle_all()
    client = mlflow_store.client(uri)
    return client, mlflow_store.experiment_id(client, uri)


def _stored(run: Run) -> StoredRun:
    return StoredRun(
        id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        params=dict(run.data.params),
        tags={k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
        metrics=dict(run.data.metrics),
        artifact_uri=run.info.artifact_uri or "",
    )
