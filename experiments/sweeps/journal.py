"""Studies in Optuna's journal, a file of lines, mended after a crash.

Optuna's own locks are links that a killed process leaves behind: all others then wait for half a
minute, and take it that the holder has died. Here the system holds the lock (`file_locks`). And a
process that is killed while it writes, or that fills the disk, leaves half a line, to which the
next would add its own: that half is cut off before anything is written behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from donkey_rl.errors import StorageError
from donkey_rl.experiments import file_locks
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage

WRITE_LOCK, STUDY_LOCK = ".writing", ".queue"
"""What the lock files of a journal are called, behind its own name."""

_BLOCK = 4096


class JournalStudies(JournalStorage, SharedStorage):
    """The studies of one journal."""

    def __init__(self, path: Path) -> None:
        """Reads the journal; see `open_journal`."""
        self.shown = str(path)
        self.outages = 0
        self._path = path
        super().__init__(_Lines(path))

    @contextlib.contextmanager
    def exclusive(self, name: str = "study") -> Iterator[Callable[[], None]]:
        """See `SharedStorage`. A process that stands still keeps the section."""
        with _explained(self._path):
            section = contextlib.ExitStack()
            section.enter_context(file_locks.held(_beside(self._path, STUDY_LOCK)))
        with section:
            yield lambda: None

    def beat(self, trial_id: int, key: str, value: Mapping[str, Any]) -> None:
        """See `SharedStorage`."""
        self.set_trial_system_attr(trial_id, key, dict(value))


def open_journal(path: Path) -> JournalStudies:
    """Opens a journal, and makes it where there is none.

    Raises:
        StorageError: It cannot be read or written, or a line of it is damaged.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStudies(path)


class _Lines(JournalFileBackend):
    """The file, with errors that name it."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _WriteLock(path))
        self._path = path

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        with _explained(self._path):
            try:
                yield from super().read_logs(log_number_from)
            except ValueError as error:
                raise StorageError(_damage(self._path)) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _explained(self._path):
            super().append_logs(logs)


class _WriteLock(JournalFileOpenLock):
    """Held while a line is written; what another left half written is cut off."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._held = contextlib.ExitStack()

    def acquire(self) -> bool:
        self._held.enter_context(file_locks.held(_beside(self._path, WRITE_LOCK)))
        try:
            _cut_off_half_a_line(self._path)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        self._held.close()


def _cut_off_half_a_line(path: Path) -> None:
    """Cuts a file behind its last line end."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        file.truncate(end)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _damage(path: Path) -> str:
    """Says which line of a journal is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                json.loads(line)
            except ValueError:
                return (
                    f"Line {number} of the journal '{path}' is damaged. Nothing was changed: the "
                    f"{number - 1} lines before it are whole. Copy the file, delete that line "
                    "from it, and start again."
                )
    return f"The journal '{path}' could not be read. Start again."


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what the system says of the journal into one error that says what was kept."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Expected to read and write the journal '{path}'. Received: "
            f"{error.strerror or error}. All that it holds is kept, and so are the drivers in "
            "MLflow and the checkpoints of trials that run. Free some space, or name a file that "
            "you may write to, and type the same command again."
        ) from error
