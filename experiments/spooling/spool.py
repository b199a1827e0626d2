"""A folder that keeps what a run logs until the run store has it.

```
runs/unsent/RUN_ID-PID-XXXX/
  about.json    the run, the experiment, the store
  lock          held by the process that writes or sends
  entries       one line for each entry, in order; see `entries`
  sent          how many bytes of `entries` the store has
  files/        copies of files that are on their way
  refused       lines that the store refused or that are damaged, each below its reason
```
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self

import pydantic

from donkey_rl import formatting
from donkey_rl.agents import folders
from donkey_rl.configuration import Config
from donkey_rl.experiments import file_locks
from donkey_rl.experiments.sealed import DamagedError, Entry
from donkey_rl.experiments.spooling import entries
from donkey_rl.experiments.spooling.entries import AnyEntry, DriverModel, Files

PLACE = Path("runs", "unsent")
"""Folder of all spools, below the one where runs are started."""

_ABOUT, _LOCK, _ENTRIES, _SENT, _FILES, _REFUSED = (
    "about.json", "lock", "entries", "sent", "files", "refused",
)  # fmt: skip
_LARGEST_ABOUT = 100_000
_RECYCLED = 4_000_000
"""Bytes of entries that the store has, from which on the file is begun anew."""


class About(Config):
    """What a spool belongs to.

    Attributes:
        format: Version of the folder.
        run_id: MLflow's run id.
        experiment_id: The run's experiment.
        store: Address of the store, without a password.
    """

    format: Literal[1] = 1
    run_id: str = pydantic.Field(pattern="^[0-9a-zA-Z]{1,64}$")
    experiment_id: str
    store: str


class Line(NamedTuple):
    """A line that was read back.

    Attributes:
        content: Its bytes.
        end: Bytes of the file up to its end.
    """

    content: bytes
    end: int


class Spool:
    """A spool that this process holds.

    Threads may use it at once: one sends what another writes.

    Attributes:
        folder: Where it lies.
        about: What it belongs to.
        end: Bytes written.
        sent: Bytes of them that the store has.
    """

    def __init__(self, folder: Path, about: About, lock: IO[bytes]) -> None:
        """Opens the files of a folder whose lock is held; see `create` and `opened`."""
        self.folder = folder
        self.about = about
        self._lock = lock
        self._file = (folder / _ENTRIES).open("ab", buffering=0)
        self._marker = os.open(folder / _SENT, os.O_RDWR | os.O_CREAT, 0o644)
        self._guard = threading.Lock()
        self._synchronised: set[Path] = set()
        self.end = self._file.tell()
        noted = os.read(self._marker, 20)
        self.sent = min(int(noted), self.end) if noted.strip().isdigit() else 0

    @classmethod
    def create(cls, about: About, place: Path) -> Self:
        """Makes an empty spool.

        Args:
            about: What it belongs to.
            place: Folder of all spools.

        Raises:
            OSError: The place cannot be written; nothing of it stays.
        """
        folder = place.resolve() / f"{about.run_id}-{os.getpid()}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        with contextlib.ExitStack() as failed:
            failed.callback(shutil.rmtree, folder, ignore_errors=True)
            lock = failed.enter_context((folder / _LOCK).open("ab"))
            file_locks.lock(lock.fileno(), wait=False)
            # Whoever looks for spools takes a folder for one when this file is there.
            (folder / _ABOUT).write_text(about.model_dump_json() + "\n", encoding="utf-8")
            made = cls(folder, about, lock)
            failed.pop_all()
        return made

    @classmethod
    def opened(cls, folder: Path) -> Self | None:
        """Opens the spool of a process that has ended, None while one holds it.

        Raises:
            DamagedError: The folder does not say what it belongs to.
            OSError: It cannot be written.
        """
        about = read_about(folder)
        lock = (folder / _LOCK).open("ab")
        if not file_locks.take(lock.fileno()):
            lock.close()
            return None
        return cls(folder, about, lock)

    def append(self, entry: AnyEntry) -> None:
        """Adds an entry; a process that is killed afterwards does not lose it.

        Raises:
            OSError: The disk is full or broken; the file is as it was before.
        """
        content = entries.line(entry)
        with self._guard:
            try:
                left = content
                while left:
                    left = left[self._file.write(left) :]
                self.end += len(content)
            except BaseException:
                # Also Ctrl-C while the disk is slow: what follows is read from `end` on.
                self._file.truncate(self.end)
                raise

    def stage(self, source: Path) -> tuple[str, dict[str, Entry]]:
        """Copies a file or folder into the spool; returns `place` and `checks` of its entry.

        Raises:
            OSError: The disk is full; nothing of the copy stays.
        """
        place = Path(_FILES, secrets.token_hex(8), source.name)
        target = self.folder / place
        target.parent.mkdir(parents=True)
        try:
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
        except OSError:
            shutil.rmtree(target.parent, ignore_errors=True)
            raise
        return place.as_posix(), checks(target)

    def lines(self) -> Iterator[Line]:
        """Yields what the store does not have yet, up to what is written now."""
        with (self.folder / _ENTRIES).open("rb") as file:
            with self._guard:
                end, position = self.end, self.sent
            file.seek(position)
            while position < end:
                content = file.readline(min(entries.LONGEST, end - position))
                if not content:
                    # Cut off by someone else: there is no more to come.
                    return
                position += len(content)
                yield Line(content, position)

    def acknowledge(self, line: Line, entry: AnyEntry | None = None) -> None:
        """Notes that the store has an entry and all before it; its files are deleted.

        Args:
            line: The entry's line.
            entry: What it says; None keeps its files.
        """
        with self._guard:
            self.sent = line.end
            if self.sent == self.end >= _RECYCLED:
                # Noted first: after a crash between the two all is sent again, not left out.
                self._note(0)
                self._file.truncate(0)
                self.sent = self.end = 0
            else:
                self._note(self.sent)
        if isinstance(entry, Files | DriverModel):
            shutil.rmtree((self.folder / entry.place).parent, ignore_errors=True)

    def _note(self, sent: int) -> None:
        os.lseek(self._marker, 0, os.SEEK_SET)
        os.write(self._marker, b"%020d" % sent)

    def set_aside(self, line: Line, reason: str) -> None:
        """Moves an entry out of the way, which the store will never take; its files stay.

        Raises:
            OSError: The disk is full.
        """
        with (self.folder / _REFUSED).open("ab") as file:
            file.write(f"# {' '.join(reason.split())}\n".encode() + line.content.rstrip() + b"\n")
        self.acknowledge(line)

    def synchronise(self) -> None:
        """Has the system write all that waits to the disk.

        Raises:
            OSError: The disk is broken.
        """
        staged = {path for path in (self.folder / _FILES).rglob("*") if path.is_file()}
        for path in staged - self._synchronised:
            # The store may have got it in the meantime; Windows refuses what is being deleted.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                folders.synchronise(path)
        self._synchronised = staged
        os.fsync(self._file.fileno())
        folders.synchronise(self.folder)

    def waiting(self) -> int:
        """Returns the number of entries that the store does not have."""
        return sum(1 for _ in self.lines())

    def refused(self) -> int:
        """Returns the number of entries that were set aside."""
        path = self.folder / _REFUSED
        if not path.exists():
            return 0
        with path.open("rb") as file:
            return sum(1 for line in file if line.startswith(b"# "))

    def close(self) -> None:
        """Gives the folder free, and deletes it where nothing is kept in it."""
        keeps = self.sent < self.end or (self.folder / _REFUSED).exists()
        for part in (self._file, self._lock):
            part.close()
        os.close(self._marker)
        if not keeps:
            shutil.rmtree(self.folder, ignore_errors=True)
            for parent in (self.folder.parent, self.folder.parent.parent):
                with contextlib.suppress(OSError):
                    parent.rmdir()


def found(place: Path) -> tuple[Path, ...]:
    """Returns the folders of all spools, those of the oldest runs first.

    Args:
        place: Folder of all spools.
    """
    changed: dict[Path, float] = {}
    for path in place.glob(f"*/{_ABOUT}"):
        # Another process may send it and take it away meanwhile.
        with contextlib.suppress(FileNotFoundError):
            changed[path.parent] = path.stat().st_mtime
    return tuple(sorted(changed, key=changed.__getitem__))


def read_about(folder: Path) -> About:
    """Returns what a spool belongs to.

    Raises:
        DamagedError: It does not say.
    """
    path = folder / _ABOUT
    try:
        if path.stat().st_size > _LARGEST_ABOUT:
            raise DamagedError(f"'{path}' is larger than {_LARGEST_ABOUT:,} bytes")
        return About.model_validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise DamagedError(f"'{path}' cannot be read: {formatting.reason(error)}") from error


def checks(place: Path) -> dict[str, Entry]:
    """Describes a file, or the files of a folder by their paths in it."""
    if place.is_file():
        return {".": Entry.of(place)}
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return {path.relative_to(place).as_posix(): Entry.of(path) for path in files}


def staged(root: Path, entry: Files | DriverModel) -> Path:
    """Returns where the files of an entry lie, once they are what they were.

    Args:
        root: The folder that the entry belongs to.
        entry: The entry.

    Raises:
        DamagedError: A file is missing or another, or lies elsewhere.
    """
    place = root / entry.place
    for name, check in entry.checks.items():
        path = place / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise DamagedError(f"'{path}' is outside '{root}'")
        check.check(path)
    return place
