"""Studies on a PostgreSQL server, or in an SQLite file.

A server may be away for a while: it is started again, or the network is down. What a worker trains
meanwhile goes on; what it wants to write waits here. Optuna's own tables are used as they are.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import random
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import exc

from donkey_rl.errors import DonkeyRLError, InputError, StorageError
from donkey_rl.experiments import file_locks
from donkey_rl.experiments.sweeps import addresses
from donkey_rl.experiments.sweeps.shared_storage import (
    MutexLostError,
    Say,
    SharedStorage,
    StorageAwayError,
)

PATIENCE_S = 600.0
"""Seconds for which a call waits for a server that was there before."""

LONGEST_PAUSE_S = 10.0

SECTION_S = 60.0
"""Seconds after which the server takes an exclusive section from a holder that stands still."""

_SECTION, _WORKER = ".queue", ".worker"
"""What the lock files of an SQLite file are called, behind its own name."""

_CONNECT = {
    "connect_timeout": 5,
    # A machine that is gone without a word is noticed in half a minute, at either end.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "donkey-rl",
}
_REPEATABLE = (
    "create_new_study",
    "delete_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "_set_trial_param",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "_get_trials",
    "_get_best_trial_id",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
)
"""Calls of Optuna that may be made again when it is not known whether they were carried out."""


class RelationalStudies(RDBStorage, SharedStorage):
    """The studies of one database.

    Calls wait while the database is away. Making a trial does not, nor taking one that waits: done
    twice there would be one trial too many, so these raise `StorageAwayError`, and who wanted it
    looks again first.
    """

    def __init__(self, url: sqlalchemy.URL, options: Mapping[str, Any], say: Say) -> None:
        """Opens the database and makes its tables where there are none."""
        self.shown = addresses.shown(_written(url))
        self.outages = 0
        self.address = url
        self._say = say
        super().__init__(_written(url), dict(options))
        # Optuna never closes its connections; a server would complain of each.
        weakref.finalize(self, self.engine.dispose)

    def beat(self, trial_id: int, key: str, value: Mapping[str, Any]) -> None:
        """See `SharedStorage`."""
        try:
            RDBStorage.set_trial_system_attr(self, trial_id, key, dict(value))
        except (optuna.exceptions.StorageInternalError, exc.SQLAlchemyError) as error:
            raise self.away(error) from None

    def _create_new_trial(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super()._create_new_trial(*arguments, **named)
        except (optuna.exceptions.StorageInternalError, exc.SQLAlchemyError) as error:
            raise self.away(error) from None

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See Optuna's; a trial that is taken already is refused with False."""

        def call() -> bool:
            return super(RelationalStudies, self).set_trial_state_values(trial_id, state, values)

        if state != TrialState.RUNNING:
            return bool(self.patiently(call))
        try:
            return call()
        except (optuna.exceptions.StorageInternalError, exc.SQLAlchemyError) as error:
            raise self.away(error) from None

    def away(self, error: Exception) -> StorageError:
        """Notes that the database is away, or says what else is wrong with it."""
        if _passes(error):
            self.outages += 1
            return StorageAwayError(
                f"The storage '{self.shown}' is away: {_reason(error, self.address)}."
            )
        return StorageError(
            f"The storage '{self.shown}' refused what was to be written: "
            f"{_reason(error, self.address)}. All that it holds is kept, and so are the drivers "
            "in MLflow and the checkpoints of trials that run. Type the same command again when "
            "it is mended."
        )

    def patiently(self, call: Callable[[], Any]) -> Any:
        """Makes a call that may be made twice, again and again while the database is away.

        Raises:
            StorageError: It was away for `PATIENCE_S`, or refused the call.
        """
        began, pause = time.monotonic(), 0.25
        told = False
        while True:
            try:
                result = call()
            except (optuna.exceptions.StorageInternalError, exc.SQLAlchemyError) as error:
                problem = self.away(error)
                spent = time.monotonic() - began
                if not isinstance(problem, StorageAwayError):
                    raise problem from None
                if spent > PATIENCE_S:
                    raise StorageError(
                        f"{problem} It was tried for {spent:.0f} s. What the trials trained is "
                        "kept; type the same command again when it is back."
                    ) from None
                if not told:
                    self._say(f"{problem} Trying again; training goes on meanwhile.")
                    told = True
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2.0 * pause, LONGEST_PAUSE_S)
            else:
                if told:
                    self._say(f"the storage is back after {time.monotonic() - began:.0f} s")
                return result


def _patient(name: str) -> Callable[..., Any]:
    original = getattr(RDBStorage, name)

    @functools.wraps(original)
    def call(self: RelationalStudies, *arguments: Any, **named: Any) -> Any:
        return self.patiently(lambda: original(self, *arguments, **named))

    return call


for _name in _REPEATABLE:
    setattr(RelationalStudies, _name, _patient(_name))


class _PostgreSQLStudies(RelationalStudies):
    """The studies on a server."""

    @contextlib.contextmanager
    def exclusive(self, name: str = "study") -> Iterator[Callable[[], None]]:
        """See `SharedStorage`: a lock of a transaction of its own."""
        with contextlib.ExitStack() as opened:
            connection = self.patiently(lambda: _enter(self.engine, name, opened))

            def check() -> None:
                try:
                    connection.execute(sqlalchemy.text("SELECT 1"))
                except exc.SQLAlchemyError as error:
                    raise MutexLostError(str(self.away(error))) from None

            yield check


def _enter(
    engine: sqlalchemy.Engine, name: str, opened: contextlib.ExitStack
) -> sqlalchemy.Connection:
    """Waits for the lock; it is given free when `opened` is closed or the connection breaks."""
    with contextlib.ExitStack() as attempt:
        connection = engine.connect()
        attempt.callback(_leave, connection)
        for limit in (
            f"idle_in_transaction_session_timeout = {round(1000 * SECTION_S)}",
            "lock_timeout = 0",
        ):
            connection.execute(sqlalchemy.text(f"SET LOCAL {limit}"))
        connection.execute(
            sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(name)}
        )
        opened.push(attempt.pop_all())
        return connection


def _leave(connection: sqlalchemy.Connection) -> None:
    """Ends the transaction with its lock, which a broken connection has ended already."""
    try:
        connection.close()
    except exc.SQLAlchemyError:
        connection.invalidate()
        connection.close()


def _key(name: str) -> int:
    """Returns the number of a lock, 64 bits with their sign."""
    digest = hashlib.sha256(f"donkey-rl {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class _SQLiteStudies(RelationalStudies):
    """The studies in a file, for one worker."""

    @contextlib.contextmanager
    def exclusive(self, name: str = "study") -> Iterator[Callable[[], None]]:
        """See `SharedStorage`: a lock file beside the database."""
        with file_locks.held(_beside(self.address, _SECTION)):
            yield lambda: None

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """See `SharedStorage`."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(file_locks.held(_beside(self.address, _WORKER), wait=False))
            except BlockingIOError:
                raise InputError(
                    f"SQLite takes one worker, and one works on '{self.shown}' already. Leave "
                    "--storage out for a journal file, or name a PostgreSQL server."
                ) from None
            yield


def _beside(url: sqlalchemy.URL, suffix: str) -> Path:
    """Returns a lock file of an SQLite file."""
    path = Path(url.database or "")
    return path.with_name(path.name + suffix)


def open_sqlite(url: sqlalchemy.URL, say: Say) -> SharedStorage:
    """Opens an SQLite file, and makes it where there is none.

    Raises:
        InputError: The address names no file.
        StorageError: The file cannot be read or written.
    """
    if not url.database or url.database == ":memory:":
        raise InputError(f"{addresses.KNOWN} Received: '{url}', which names no file.")
    with _explained(url):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        # Two that make the tables at the same time would both fail.
        with file_locks.held(_beside(url, _SECTION)):
            return _SQLiteStudies(url, {"connect_args": {"timeout": 30}}, say)


def open_postgresql(url: sqlalchemy.URL, say: Say) -> SharedStorage:
    """Opens a database of a server, and makes its tables where there are none.

    Raises:
        InputError: The driver is not installed, or the server knows no such user, password or
            database.
        StorageError: The server cannot be reached in some seconds.
    """
    driver = url.get_driver_name()
    if importlib.util.find_spec(driver) is None:
        raise InputError(
            f"A PostgreSQL storage needs the package '{driver}', which is not installed. Type: "
            'pip install "donkey-rl[cluster]".'
        )
    # One connection stays open; the section and the heartbeat have theirs only while they need it.
    options = {
        "connect_args": _CONNECT,
        "pool_pre_ping": True,
        "pool_size": 1,
        "max_overflow": 9,
        "pool_use_lifo": True,
    }
    with _explained(url), contextlib.ExitStack() as opened:
        # Two that make the tables at the same time would both fail.
        engine = sqlalchemy.create_engine(
            url, connect_args=_CONNECT, poolclass=sqlalchemy.NullPool
        )
        _enter(engine, "tables", opened)
        return _PostgreSQLStudies(url, options, say)


@contextlib.contextmanager
def _explained(url: sqlalchemy.URL) -> Iterator[None]:
    """Turns what is wrong with a database that is opened into one line without its password."""
    try:
        yield
    except DonkeyRLError:
        raise
    except (exc.SQLAlchemyError, optuna.exceptions.OptunaError, OSError, RuntimeError) as error:
        reason, place = _reason(error, url), addresses.shown(_written(url))
        refused = ("password", "authentication", "does not exist", "pg_hba")
        if isinstance(_cause(error), exc.OperationalError) and any(w in reason for w in refused):
            raise InputError(
                f"The server of '{place}' refused: {reason}. Mend the user, the password or the "
                "database in --storage; the password may also be in PGPASSWORD or ~/.pgpass."
            ) from None
        remedy = (
            "Name a file in a folder that you may write to, on a disk with some space"
            if url.get_backend_name() == "sqlite"
            else "Check that the server runs and that the address is right"
        )
        raise StorageError(
            f"The storage '{place}' cannot be used: {reason}. Nothing was changed. {remedy}, and "
            "type the same command again."
        ) from None


def _written(url: sqlalchemy.URL) -> str:
    """Returns an address with its password, for those who connect."""
    return url.render_as_string(hide_password=False)


def _cause(error: BaseException) -> BaseException:
    """Returns what the database said, from below what Optuna makes of it."""
    wrapped = isinstance(error, optuna.exceptions.StorageInternalError)
    return error.__cause__ if wrapped and error.__cause__ is not None else error


def _passes(error: Exception) -> bool:
    """Whether an error is of a kind that goes away by itself: no connection, a busy file."""
    cause = _cause(error)
    if isinstance(cause, exc.DBAPIError) and isinstance(cause.orig, sqlite3.Error):
        return "locked" in str(cause.orig)
    broken = isinstance(cause, exc.DBAPIError) and cause.connection_invalidated
    return broken or isinstance(
        cause, exc.OperationalError | exc.InterfaceError | exc.TimeoutError
    )


def _reason(error: Exception, url: sqlalchemy.URL) -> str:
    cause = _cause(error)
    said = cause.orig if isinstance(cause, exc.DBAPIError) and cause.orig is not None else cause
    return addresses.scrubbed(str(said), url)
