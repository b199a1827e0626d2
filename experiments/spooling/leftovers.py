"""Spools of processes that have ended: sent by the next command that opens the same store."""

from __future__ import annotations

import threading
from pathlib import Path

from donkey_rl.configuration import Config
from donkey_rl.errors import StorageError, StoreAwayError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.sealed import DamagedError
from donkey_rl.experiments.spooling import sender, spool
from donkey_rl.experiments.spooling.delivery import Delivery
from donkey_rl.experiments.spooling.spool import PLACE, Spool

_lock = threading.Lock()
_asked: set[tuple[str, Path]] = set()


class Leftover(Config):
    """What became of a spool.

    Attributes:
        folder: Where it lies, or lay.
        run_id: The run that it is of; empty where the folder does not say.
        sent: Entries that the store has now and did not have before.
        waiting: Entries that it does not have yet.
        refused: Entries that it will never take, or that are damaged.
        reason: Why entries are waiting or were refused; empty where none are.
    """

    folder: str
    run_id: str
    sent: int
    waiting: int
    refused: int
    reason: str


def send(uri: str | None = None, place: Path = PLACE) -> tuple[Leftover, ...]:
    """Sends what is kept in a folder, the oldest first; what a process still writes is left to it.

    Args:
        uri: The store, as in `tracking.start`; what is kept for another one stays.
        place: Folder of all spools.

    Raises:
        StorageError: The store cannot be opened.
    """
    found = [_send(folder, uri) for folder in spool.found(place)]
    return tuple(each for each in found if each is not None)


def send_once(uri: str | None = None) -> None:
    """Sends what is kept below the current folder, once in a process, and says so in one line.

    Args:
        uri: As in `send`.

    Raises:
        StorageError: As in `send`.
    """
    key = (mlflow_store.tracking_uri(uri), PLACE.resolve())
    with _lock:
        if key in _asked:
            return
        _asked.add(key)
        send_and_tell(uri)


def send_and_tell(uri: str | None = None, place: Path = PLACE) -> None:
    """Sends what is kept in a folder, and says so in one line for each run.

    Args:
        uri: As in `send`.
        place: Folder of all spools, by default below the current one.

    Raises:
        StorageError: As in `send`.
    """
    for each in send(uri, place):
        if each.sent:
            sender.LOGGER.warning(
                "What was kept of run %s in %s is in the run store now (entries: %d).",
                *(each.run_id, each.folder, each.sent),
            )


def _send(folder: Path, uri: str | None) -> Leftover | None:
    """Sends one spool; returns None for what another process holds or has just sent."""
    try:
        opened = Spool.opened(folder)
    except (DamagedError, OSError) as error:
        return _lost(folder, str(error)) if folder.exists() else None
    if opened is None:
        return None
    try:
        before, refused = opened.waiting(), opened.refused()
    except FileNotFoundError:
        # Another process sent it, and took it away, while it was opened here.
        opened.close()
        return None
    reasons: list[str] = []
    about = opened.about
    here = mlflow_store.shown(mlflow_store.tracking_uri(uri))
    try:
        if about.store != here and not _known(about.run_id, uri):
            reasons.append(f"they are for the run store {about.store}, not for {here}.")
        elif before:
            client = mlflow_store.client(uri)
            delivery = Delivery(client, about.run_id, about.experiment_id)
            reasons += sender.send(opened, delivery)
    except (StoreAwayError, OSError) as error:
        reasons.append(str(error))
    finally:
        waiting, refused_now = opened.waiting(), opened.refused()
        opened.close()
    return Leftover(
        folder=str(folder),
        run_id=about.run_id,
        sent=before - waiting - (refused_now - refused),
        waiting=waiting,
        refused=refused_now,
        reason=reasons[-1] if reasons else "",
    )


def _known(run_id: str, uri: str | None) -> bool:
    """Whether a store has a run. Ids are drawn: it is the run's store then, at another address."""
    store = mlflow_store.client(uri)
    try:
        with mlflow_store.guard("The run could not be looked up"):
            store.get_run(run_id)
    except StoreAwayError:
        raise
    except StorageError:
        return False
    return True


def _lost(folder: Path, reason: str) -> Leftover:
    return Leftover(folder=str(folder), run_id="", sent=0, waiting=0, refused=0, reason=reason)
