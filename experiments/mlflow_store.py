"""The MLflow store: where it lies, how it is opened, and what its errors mean.

MLflow is imported on first use only: the import takes about a second, and the first opening of a
new database another one and a half.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pathlib
import re
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib import parse

from donkey_rl.errors import InputError, StorageError, StoreAwayError
from donkey_rl.experiments import file_locks

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
    # Errors are raised, and said once; MLflow would log each attempt with its traceback.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # By default a request is repeated for four minutes, and each waits for two.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Seven processes of a server for jobs on traces, which a driver has none of.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    }
)
"""What MLflow answers to what it will never take; everything else may pass."""

_PASSING_STATUS = frozenset({401, 403, 404, 408, 429})
"""Answers of a server of files below 500 that may pass."""

_PASSING_FAULTS = ("locked", "busy", "full", "readonly", "read-only", "disk i/o")
"""Words of what SQLite says of a database that may be well again."""

_REMEDY = "{}, or set MLFLOW_TRACKING_URI to another one."
_UNKNOWN_USER = (
    "the server does not know this user and password; set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD"
)
_SECRET = re.compile(r"(?<=://)[^/\s'\"]*@")
_SECRET_PARAMETER = re.compile(r"(?i)(?<=[?&])((?:ssl)?password=)[^&\s'\"]*")
_lock = threading.Lock()
_clients: dict[str, MlflowClient] = {}


def tracking_uri(uri: str | None = None) -> str:
    """Returns the store's address: `uri`, or ``MLFLOW_TRACKING_URI``, or the default.

    The path of an SQLite store is made absolute, so that it stays the same store wherever the
    process goes.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = database_path(chosen)
    if path is None:
        return chosen
    # What SQLAlchemy would read as something else than a name.
    return _SQLITE + path.as_posix().replace("%", "%25").replace("?", "%3F")


def database_path(uri: str) -> pathlib.Path | None:
    """Returns the absolute path of an SQLite store, or None for any other."""
    if not uri.startswith(_SQLITE):
        return None
    return pathlib.Path(parse.unquote(uri.removeprefix(_SQLITE).split("?")[0])).resolve()


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
            try:
                with guard(f"The run store {shown(address)} could not be opened"), _alone(path):
                    _clients[address] = _open(address)
            except StoreAwayError as error:
                remedy = _REMEDY.format("Start it" if path is None else _mended(path, error))
                raise StoreAwayError(f"{error} {remedy}") from error
        return _clients[address]


def _mended(path: pathlib.Path, error: StoreAwayError) -> str:
    """Returns what helps a database that could not be opened."""
    # Without the path of the store, which may have any words in it.
    text = reason(error.__cause__ or error).lower()
    if any(word in text for word in _PASSING_FAULTS):
        return f"Try again once nobody else writes to {path.name} and its disk has room"
    if "mlflow db upgrade" in text:
        return f"Take the MLflow again that wrote {path.name}, or keep a copy and upgrade it"
    # Half made, or of a revision that this version of MLflow does not know.
    return f"Move {path.name} away"


@contextlib.contextmanager
def _alone(path: pathlib.Path | None) -> Iterator[None]:
    """Lets one process at a time make or bring up to date an SQLite store.

    MLflow does so step by step; two that did it at once left a database that nobody could open.
    """
    with contextlib.ExitStack() as stack:
        if path is not None:
            digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
            file = pathlib.Path(tempfile.gettempdir()) / f"donkey-rl-{digest[:16]}.lock"
            # Another user's file, or a file system that knows no locks.
            with contextlib.suppress(OSError):
                stack.enter_context(file_locks.held(file))
        yield


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
    """Turns the errors of the disk, the database, the network and MLflow into one of ours.

    Args:
        what: What failed, as the beginning of a sentence.

    Raises:
        StoreAwayError: The store does not answer, or takes nothing for now.
        StorageError: It refuses what was asked of it.
    """
    _silence()
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError, MlflowException, CommandError) as error:
        kind = StorageError if is_refusal(error) else StoreAwayError
        raise kind(f"{what}: {reason(error)}.") from error


def is_refusal(error: BaseException) -> bool:
    """Whether the store would answer the same at any later time."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError
    from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
    from sqlalchemy.exc import TimeoutError as NoConnectionLeft

    for cause in _causes(error):
        # MLflow calls these a bad request.
        broken = isinstance(cause, DBAPIError) and cause.connection_invalidated
        if broken or isinstance(cause, NoConnectionLeft):
            return False
    if isinstance(error, MlflowException):
        return error.error_code in _REFUSALS
    if isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
        return 400 <= status < 500 and status not in _PASSING_STATUS
    return isinstance(error, SQLAlchemyError) and not isinstance(error, OperationalError)


def shown(uri: str) -> str:
    """Returns an address without the name and password in it.

    >>> shown("postgresql://team:secret@db:5432/mlflow")
    'postgresql://***@db:5432/mlflow'
    >>> shown("http://team:sec@ret@host:5000")
    'http://***@host:5000'
    >>> shown("postgresql://db/mlflow?user=team&password=secret")
    'postgresql://db/mlflow?user=team&password=***'
    """
    return _SECRET_PARAMETER.sub(r"\1***", _SECRET.sub("***@", uri))


def set_environment() -> None:
    """Keeps MLflow and its servers from calling home and from writing to standard output."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _silence() -> None:
    """Keeps MLflow's hints for its own users off the terminal.

    The filter is set for good: a ``catch_warnings`` block is not safe beside other threads.
    """
    set_environment()
    for module in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?$")
        logging.getLogger(module).setLevel(logging.CRITICAL)


def _open(address: str) -> MlflowClient:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    # MLflow makes the folder of an SQLite file by its address as it is written, '%25' and all.
    written = pathlib.Path(address.removeprefix(_SQLITE)).parent
    strays = [each for each in (written, *written.parents) if not each.exists()]
    try:
        store = MlflowClient(tracking_uri=address)
    except MlflowException as error:
        if "unsupported URI" not in str(error):
            raise
        raise InputError(
            f"MLFLOW_TRACKING_URI should be sqlite:///PATH, http://HOST:PORT or another address "
            f"that MLflow knows. Received: '{shown(address)}'. Unset it for the file mlflow.db "
            "here."
        ) from error
    store.search_experiments(max_results=1)
    with contextlib.suppress(OSError):
        for each in strays if address.startswith(_SQLITE) else ():
            each.rmdir()
    return store


def _check_database(path: pathlib.Path) -> None:
    """Opens the database for writing, since MLflow tries for minutes before it gives up."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise StoreAwayError(
                f"The run store {path} is locked by another process. Try again once nobody else "
                "writes to it; on a network drive, it has to know locks."
            ) from error
        raise StorageError(
            f"The run store {path} cannot be written: {reason(error)}. "
            "Free the disk, or set MLFLOW_TRACKING_URI to another place."
        ) from error


def reason(error: BaseException) -> str:
    """Returns what an error says in one line, without a password."""
    text = _said(error)
    return shown((text.strip().splitlines() or [type(error).__name__])[0].rstrip("."))


def _said(error: BaseException) -> str:
    from requests import ConnectionError as NoConnection
    from requests import HTTPError, Timeout
    from sqlalchemy.exc import DBAPIError

    if getattr(error, "error_code", "") in ("CUSTOMER_UNAUTHORIZED", "UNAUTHENTICATED"):
        return _UNKNOWN_USER
    for cause in _causes(error):
        if isinstance(cause, Timeout):
            return "the server did not answer in time"
        if isinstance(cause, NoConnection):
            refused = "refused" in str(cause)
            return "nobody answers there" if refused else "the connection broke or was not made"
        if isinstance(cause, HTTPError) and cause.response is not None:
            status = cause.response.status_code
            return _UNKNOWN_USER if status == 401 else f"the server answered with status {status}"
        if isinstance(cause, DBAPIError) and cause.orig is not None:
            # What the database said, without what SQLAlchemy says about it.
            return str(cause.orig)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and those that led to it, each once."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        yield following
        seen.append(following)
        following = following.__cause__ or following.__context__
