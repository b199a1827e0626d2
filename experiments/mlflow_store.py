"""The MLflow store: where it lies, how it is opened, and what its errors mean.

MLflow is imported on first use only: the import takes about a second, and the first opening of a
new database another one and a half.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from donkey_rl.errors import StorageError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
EXPERIMENT = "donkey-rl"
ARTIFACTS = "mlartifacts"
"""Folder of videos, plots and drivers, beside the database."""

_KIND = "custom_model_development"
"""Without it MLflow's pages open with what belongs to language models."""

_SQLITE = "sqlite:///"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_lock = threading.Lock()
_clients: dict[str, MlflowClient] = {}


def tracking_uri(uri: str | None = None) -> str:
    """Returns the store's address: `uri`, or ``MLFLOW_TRACKING_URI``, or the default.

    The path of an SQLite store is made absolute, so that it stays the same store wherever the
    process goes.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = database_path(chosen)
    return f"{_SQLITE}{path.as_posix()}" if path else chosen


def database_path(uri: str) -> pathlib.Path | None:
    """Returns the absolute path of an SQLite store, or None for any other."""
    if not uri.startswith(_SQLITE):
        return None
    return pathlib.Path(uri.removeprefix(_SQLITE).split("?")[0]).resolve()


def client(uri: str | None = None) -> MlflowClient:
    """Returns the store's client; the store is created where there is none.

    Raises:
        StorageError: If the store cannot be opened or written.
    """
    address = tracking_uri(uri)
    with _lock:
        if address not in _clients:
            path = database_path(address)
            if path is not None:
                _check_database(path)
            with guard(f"The run store {address} could not be opened"):
                _clients[address] = _open(address)
        return _clients[address]


def experiment_id(store: MlflowClient, uri: str | None = None) -> str:
    """Returns the id of this package's experiment, which is created where it is missing."""
    with guard("The run store could not be used"):
        from mlflow.exceptions import MlflowException

        found = store.get_experiment_by_name(EXPERIMENT)
        if found is None:
            path = database_path(tracking_uri(uri))
            location = (path.parent / ARTIFACTS / EXPERIMENT).as_uri() if path else None
            try:
                tags = {"mlflow.experimentKind": _KIND}
                return str(store.create_experiment(EXPERIMENT, location, tags))
            except MlflowException:
                # Another thread or process may have been quicker.
                found = store.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        return str(found.experiment_id)


def prepare_in_background(uri: str | None = None) -> threading.Thread:
    """Imports MLflow and opens the store beside other work.

    Start it after TensorFlow has been imported: two threads that import large packages at once
    wait for each other. `client` waits for it by itself.
    """

    def prepare() -> None:
        # Whoever needs the store meets the same error again, in a thread that can report it.
        with contextlib.suppress(Exception):
            experiment_id(client(uri), uri)

    thread = threading.Thread(target=prepare, name="mlflow-store", daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def guard(what: str) -> Iterator[None]:
    """Turns the errors of the disk, the database and MLflow into one `StorageError`.

    Args:
        what: What failed, as the beginning of a sentence.
    """
    _silence()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError, MlflowException) as error:
        raise StorageError(f"{what}: {_first_line(error)}.") from error


def set_environment() -> None:
    """Keeps MLflow and its servers from calling home and from writing to standard output."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _silence() -> None:
    """Keeps MLflow's hints for its own users off the terminal.

    The filter is set for good: a ``catch_warnings`` block is not safe beside other threads.
    """
    set_environment()
    for module in ("mlflow", "alembic", "sqlalchemy"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?$")
        logging.getLogger(module).setLevel(logging.ERROR)


def _open(address: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    store = MlflowClient(tracking_uri=address)
    store.search_experiments(max_results=1)
    return store


def _check_database(path: pathlib.Path) -> None:
    """Opens the database for writing, since MLflow tries for minutes before it gives up."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"The run store {path} cannot be written: {_first_line(error)}. "
            "Free the disk, or set MLFLOW_TRACKING_URI to another place."
        ) from error


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
