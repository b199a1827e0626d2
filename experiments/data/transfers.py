"""Files on their way between a store and this machine: several at once, checked, continued."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import hashlib
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TypeVar

from donkey_rl import moving
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.data.backends import Backend, TransferError
from donkey_rl.experiments.data.manifest import OBJECTS, Entry

AT_ONCE = 4
"""Files that are on their way at the same time."""

PART = ".part"
_LOOK_S = 0.2

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class DamagedError(TransferError):
    """The store holds other bytes than its manifest says, or none."""


class Counter:
    """Bytes that have arrived so far, counted by several threads, and whether to stop."""

    def __init__(self) -> None:
        """Begins at 0."""
        self.bytes = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def add(self, count: int) -> None:
        """Counts some more.

        Raises:
            InterruptedError: The others have stopped.
        """
        if self._stopped.is_set():
            raise InterruptedError(errno.EINTR, "stopped")
        with self._lock:
            self.bytes += count

    def stop(self) -> None:
        """Ends all work that counts here."""
        self._stopped.set()


def object_path(sha256: str) -> str:
    """Returns where a store keeps the bytes of this hash.

    >>> object_path("ab" + 62 * "0")[:20]
    'objects/ab/ab0000000'
    """
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def in_parallel(
    work: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    counter: Counter,
    show: Callable[[int], None],
) -> Iterator[tuple[ItemT, ResultT | DamagedError]]:
    """Does one thing with each of many files, some at a time.

    Args:
        work: What to do, in a thread; it counts its bytes.
        items: The files.
        counter: Stops the threads when something ends this early.
        show: Told how many bytes have arrived.

    Yields:
        Each file with what came of it, as they end; damage to one file is no reason to stop.

    Raises:
        StorageError: The store cannot be used any more.
    """
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(work, item): item for item in items}
        try:
            while running:
                done, _ = concurrent.futures.wait(
                    running, _LOOK_S, concurrent.futures.FIRST_COMPLETED
                )
                show(counter.bytes)
                # What has come is counted before an error of another ends this.
                for future in sorted(done, key=lambda each: each.exception() is not None):
                    item = running.pop(future)
                    error = future.exception()
                    if isinstance(error, DamagedError):
                        yield item, error
                    else:
                        yield item, future.result()
        finally:
            counter.stop()
            for future in running:
                future.cancel()


def fetch(backend: Backend, entry: Entry, target: pathlib.Path, counter: Counter) -> None:
    """Fetches a file; what an earlier try left of it is continued.

    It appears under its name once its bytes are those that the manifest names. Until then they
    lie in ``.NAME.part`` beside it.

    Args:
        backend: Where from.
        entry: Which.
        target: Where to; its folder is there.
        counter: Counts bytes.

    Raises:
        DamagedError: The store has no such file or other bytes.
        TransferError: It ended early; what came is kept.
        StorageError: It cannot be written.
    """
    part = _part_of(target)
    with _writing(target):
        resumed = _continued(backend, entry, part, counter)
        if _digest(part) != entry.sha256 and resumed:
            # What was left of the earlier try may be what is damaged.
            part.unlink()
            _continued(backend, entry, part, counter)
        if _digest(part) != entry.sha256:
            part.unlink()
            raise DamagedError(f"{entry.path} is damaged in the store")
        moving.moved(part, target)


def _part_of(target: pathlib.Path) -> pathlib.Path:
    return target.with_name(f".{target.name}{PART}")


def missing_bytes(folder: pathlib.Path, entries: Sequence[Entry]) -> int:
    """Returns how many bytes of some files are still to come into a folder."""
    missing = 0
    for entry in entries:
        target = folder / entry.path
        if target.exists():
            continue
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            missing -= min(_part_of(target).lstat().st_size, entry.bytes)
        missing += entry.bytes
    return missing


def _continued(backend: Backend, entry: Entry, part: pathlib.Path, counter: Counter) -> bool:
    """Fetches what is missing of a file, and returns whether something was there."""
    with _opened(part) as file:
        have = file.seek(0, os.SEEK_END)
        if have > entry.bytes:
            have = file.seek(0)
            file.truncate()
        counter.add(have)
        resumed, arrived = have > 0, have
        try:
            for chunk in _missing(backend, entry, have):
                arrived += len(chunk)
                if arrived > entry.bytes:
                    break
                file.write(chunk)
                counter.add(len(chunk))
        except FileNotFoundError as error:
            raise DamagedError(f"{entry.path} is missing in the store") from error
        file.flush()
        os.fsync(file.fileno())
    if arrived > entry.bytes:
        part.unlink()
        raise DamagedError(f"{entry.path} has more bytes in the store than {entry.bytes:,}")
    if arrived < entry.bytes:
        size = backend.size(object_path(entry.sha256))
        if size is not None and size < entry.bytes:
            part.unlink()
            raise DamagedError(f"{entry.path} is cut off in the store")
        raise TransferError(f"{entry.path} ended early.")
    return resumed


def _missing(backend: Backend, entry: Entry, have: int) -> Iterator[bytes]:
    if have < entry.bytes:
        yield from backend.chunks(object_path(entry.sha256), have)


def _opened(part: pathlib.Path) -> IO[bytes]:
    """Opens an unfinished file to write on, never what a link leads to."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, 0o644), "r+b")


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same(path: pathlib.Path, entry: Entry) -> bool:
    """Whether a file has the bytes that a manifest names.

    Raises:
        StorageError: It cannot be read.
    """
    with _writing(path):
        if path.is_symlink() or not path.is_file() or path.stat().st_size != entry.bytes:
            return False
        return _digest(path) == entry.sha256


@contextlib.contextmanager
def _writing(path: pathlib.Path) -> Iterator[None]:
    """Says of which file the disk speaks."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror or error}.") from error


def check_space(folder: pathlib.Path, needed: int) -> None:
    """Refuses to begin what the disk cannot hold.

    Raises:
        StorageError: There are fewer bytes free than needed.
    """
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise StorageError(
            f"{needed / 1e6:,.1f} MB do not fit into {folder}: {free / 1e6:,.1f} MB are free. "
            "Free some space, or choose another folder with --out."
        )


def target_of(folder: pathlib.Path, entry: Entry) -> pathlib.Path:
    """Returns where a file goes, after its folder was made.

    Raises:
        InputError: A link leads out of the folder, or something else lies there.
        StorageError: The folder cannot be made.
    """
    target = folder / entry.path
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        inside = target.parent.resolve().is_relative_to(folder.resolve())
    if not inside or target.is_symlink():
        raise InputError(
            f"{target} leads out of {folder} by a link. Choose an empty folder with --out."
        )
    return target


def read_back(backend: Backend, entry: Entry, count: Callable[[int], None]) -> None:
    """Reads a file of a store, and compares it with its hash.

    Args:
        backend: The store.
        entry: The file.
        count: Told of each piece how many bytes it has.

    Raises:
        DamagedError: There is none, or it has other bytes.
    """
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in backend.chunks(object_path(entry.sha256)):
            digest.update(chunk)
            size += len(chunk)
            count(len(chunk))
            if size > entry.bytes:
                break
    except FileNotFoundError as error:
        raise DamagedError(f"{entry.path} is missing") from error
    if digest.hexdigest() != entry.sha256:
        what = "is damaged" if size == entry.bytes else f"has not {entry.bytes:,} bytes"
        raise DamagedError(f"{entry.path} {what} ({object_path(entry.sha256)})")


def bytes_of(entries: Sequence[Entry]) -> int:
    """Returns the size of some files (bytes)."""
    return sum(entry.bytes for entry in entries)


def phase_name(verb: str, count: int) -> str:
    """Returns what a bar says.

    >>> phase_name("sending", 1), phase_name("sending", 12)
    ('sending 1 file', 'sending 12 files')
    """
    return f"{verb} {count:,} file{'' if count == 1 else 's'}"
