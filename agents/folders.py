"""Folders that appear whole or not at all, and files that are what they were."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from donkey_rl import moving
from donkey_rl.errors import StorageError


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yields a temporary sibling that takes the folder's place when the block succeeds.

    An older folder of that name stays readable until then, and stays if the block fails.

    Args:
        folder: What to write; its parents are made.

    Raises:
        StorageError: When the disk is full or the place cannot be written.
    """
    draft: Path | None = None
    with writing(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = sibling(folder)
            yield draft
            _swap(draft, folder)
        finally:
            if draft is not None:
                shutil.rmtree(draft, ignore_errors=True)


def sibling(folder: Path) -> Path:
    """Makes an empty folder beside another, hidden, that may be read as any new one.

    One of `tempfile` is its owner's alone, which on Windows no `chmod` changes.

    Raises:
        OSError: It cannot be made.
    """
    made = folder.parent / f".{folder.name}.{secrets.token_hex(6)}"
    made.mkdir()
    return made


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what the system says while a folder is written into one error that names it.

    Raises:
        StorageError: When the disk is full or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Expected to write the folder '{folder}'. Received: {error.strerror or error}. "
            "Free some space, or choose a folder that you may write to."
        ) from error


def _swap(draft: Path, folder: Path) -> None:
    """Puts the draft where the folder is; systems cannot replace a full folder in one move."""
    if not folder.exists():
        moving.moved(draft, folder)
        return
    old = sibling(folder)
    try:
        moving.moved(folder, old / folder.name)
        moving.moved(draft, folder)
    except BaseException:
        # Also of a second Ctrl-C: the old one comes back, or stays beside.
        if not folder.exists():
            moving.moved(old / folder.name, folder)
        with contextlib.suppress(OSError):
            old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def synchronise(path: Path) -> None:
    """Has the system write a file, or the names in a folder, to the disk before it goes on.

    Windows has no such thing for folders; there only files are.
    """
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
