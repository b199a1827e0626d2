"""What names a driver, and where it lies: a folder, a run, a registered model.

Drivers that came from a run store are kept in a folder beside the race, so that the evening needs
no store.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
import queue
import re
import shutil
import threading
import time
from pathlib import Path

import pydantic

from donkey_rl import configuration, user_paths
from donkey_rl.agents import folders, manifest
from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError, DriverError, InputError, StorageError, StoreAwayError
from donkey_rl.race_server.garage import checks

MODELS = "models:/"
"""How the address of a registered model begins."""

_FETCH_S = 10.0
"""So long a store may take where a driver is kept already (s)."""

_LISTENS_S = 1.0

_ORIGIN, _DRIVER = "origin.json", "driver"


@dataclasses.dataclass(frozen=True)
class Found:
    """A driver folder.

    Attributes:
        name: What its driver is called.
        folder: Where it lies.
        warning: Why it may not be the newest, empty if it is.
        is_store_away: Whether the run store did not answer.
    """

    name: str
    folder: Path
    warning: str = ""
    is_store_away: bool = False


class _Origin(Config):
    """Where a kept driver came from."""

    reference: str = pydantic.Field(max_length=1000)
    run_id: str = pydantic.Field(pattern="^[0-9a-f]{32}$")
    hash: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    fetched: datetime.datetime


def find(reference: str, kept: Path, *, is_store_away: bool = False) -> Found:
    """Returns the folder of a driver.

    A run's or a model's is fetched from the run store and kept. If the store cannot give it, what
    was kept is used, as long as it is what it was.

    Args:
        reference: A driver folder; a run's id, the beginning of it or its name; a model,
            `models:/donkey-driver@race`.
        kept: Folder that keeps drivers.
        is_store_away: Whether the store is known not to answer: then a driver that was kept is
            taken at once.

    Raises:
        InputError: There is no such driver, and none was kept.
        DriverError: What was fetched holds something that no driver folder holds, or what was
            kept was changed.
        StorageError: The store cannot be read and the driver was never fetched before, or it
            cannot be kept.
    """
    folder = user_paths.path_of(reference)
    registered = reference.startswith(MODELS)
    if not registered:
        if folder.is_dir():
            return Found(folder.resolve().name, folder)
        if len(folder.parts) > 1:
            raise InputError(
                f"There is no driver folder '{reference}'. Give a folder with a "
                f"{manifest.FILE_NAME}, a run, or {MODELS}NAME@ALIAS."
            )
    place, warning = _place(reference, kept), ""
    is_kept = (place / _ORIGIN).is_file()
    try:
        if is_store_away and is_kept:
            raise StoreAwayError("The run store does not answer.")
        _fetch(reference, place, _FETCH_S if is_kept else None)
    except DonkeyRLError as error:
        if isinstance(error, DriverError) or not is_kept:
            raise
        is_store_away = isinstance(error, StoreAwayError)
        warning = f"{error} So '{reference}' is raced as it was kept."
    origin = _origin(place)
    name = reference.removeprefix(MODELS) if registered else f"run {origin.run_id[:8]}"
    return Found(name, place / _DRIVER, warning, is_store_away)


def _place(reference: str, kept: Path) -> Path:
    """Returns where a driver is kept: named for people, and told apart by all of its reference."""
    plain = re.sub("[^A-Za-z0-9_@-]+", "-", reference.removeprefix(MODELS))[:40].strip("-")
    return kept / f"{plain}-{hashlib.sha256(reference.encode()).hexdigest()[:12]}"


def _fetch(reference: str, place: Path, within_s: float | None) -> None:
    """Fetches a driver and keeps it.

    Args:
        reference: A run or a model.
        place: Where it is kept.
        within_s: How long the store may take; None for as long as MLflow waits.

    Raises:
        StoreAwayError: It takes longer.
    """
    answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def fetch() -> None:
        try:
            _keep(reference, place)
        except BaseException as error:
            answers.put(error)
        else:
            answers.put(None)

    threading.Thread(target=fetch, name="fetch driver", daemon=True).start()
    end = math.inf if within_s is None else time.monotonic() + within_s
    while True:
        try:
            # In turns: without a time, Ctrl-C would not be heard on Windows.
            error = answers.get(timeout=max(0.0, min(_LISTENS_S, end - time.monotonic())))
            break
        except queue.Empty:
            if time.monotonic() >= end:
                raise StoreAwayError("The run store did not answer in time.") from None
    if error is not None:
        raise error


def _keep(reference: str, place: Path) -> None:
    """Fetches a driver, looks at it, and puts it where it is kept."""
    try:
        from donkey_rl.experiments import stored_runs

        run = stored_runs.find(reference)
        source = stored_runs.download_driver(run)
    except ModuleNotFoundError as error:
        raise InputError(
            f"A run's driver comes from MLflow, which is not installed here (there is no "
            f"'{error.name}'). Received: '{reference}'. Give a driver folder."
        ) from error
    driver = checks.load(source)
    origin = _Origin(
        reference=reference,
        run_id=run.id,
        hash=driver.hash,
        fetched=datetime.datetime.now(datetime.UTC),
    )
    with folders.replaced(place) as draft:
        shutil.copytree(source, draft / _DRIVER, symlinks=True)
        (draft / _ORIGIN).write_text(origin.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _origin(place: Path) -> _Origin:
    """Returns where a kept driver came from, once it is seen to be that one."""
    try:
        text = configuration.read_file(place / _ORIGIN, "driver's origin")
        origin = _Origin.model_validate_json(text)
    except (InputError, ValueError) as error:
        raise StorageError(
            f"Expected a driver that was kept in '{place}'. Received: {_line(error)}. Delete that "
            "folder and start again while the run store can be reached."
        ) from error
    kept = manifest.read(place / _DRIVER).hash
    if kept != origin.hash:
        raise DriverError(
            f"Expected the driver {origin.hash[:12]} in '{place}'. Received: {kept[:12]}. Delete "
            "that folder and start again while the run store can be reached."
        )
    return origin


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
