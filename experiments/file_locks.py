"""Locks on files that the operating system gives free when their holder ends, however it ends."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_RETRY_S = 0.01
"""Seconds between two tries where the system cannot wait for a lock (Windows)."""


def lock(descriptor: int, *, wait: bool) -> None:
    """Locks an open file for its descriptor; closing the file gives it free.

    Args:
        descriptor: The file's.
        wait: Whether to wait for another holder.

    Raises:
        BlockingIOError: Another holds it and `wait` is false.
        OSError: The file system knows no locks.
    """
    if sys.platform == "win32":
        while True:
            try:
                return msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError as error:
                if not wait:
                    raise BlockingIOError(*error.args) from error
                time.sleep(_RETRY_S)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def take(descriptor: int) -> bool:
    """Locks an open file as `lock` does without waiting; returns whether it could.

    Raises:
        OSError: The file system knows no locks.
    """
    try:
        lock(descriptor, wait=False)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def held(path: Path, *, wait: bool = True, keep: bool = True) -> Iterator[None]:
    """Holds a lock file, which stays behind empty.

    Two threads of one process exclude each other as two processes do.

    Args:
        path: The lock file; its folder exists.
        wait: Whether to wait for another holder.
        keep: Whether it stays behind. Else it is removed, where the system lets go of a file that
            is open: for places that are looked at before something is put there.

    Raises:
        BlockingIOError: Another holds it and `wait` is false.
        OSError: The place cannot be written, or its file system knows no locks.
    """
    with path.open("a+b") as file:
        lock(file.fileno(), wait=wait)
        try:
            yield
        finally:
            if not keep:
                with contextlib.suppress(OSError):
                    path.unlink()
