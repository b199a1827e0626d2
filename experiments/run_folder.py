"""The folder of a run that goes on: its settings, its encoder, its checkpoints, and a lock.

```
runs/RUN_ID/
  lock            held by the process that trains
  settings/       the configuration, and the versions that wrote it
  encoder/        once it is trained
  checkpoints/    see `donkey_rl.experiments.checkpoints`
  driver_steps    of the training whose driver the run holds
```
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from donkey_rl import moving
from donkey_rl.agents import folders
from donkey_rl.agents.encoders import base
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.errors import InputError, RunBusyError, StorageError
from donkey_rl.experiments import file_locks, sealed
from donkey_rl.experiments.checkpoints import Checkpoints
from donkey_rl.experiments.spooling import spool

PLACE = "runs"
"""Folder of all runs, below the one where they are started."""

_SETTINGS, _ENCODER, _LOCK, _STORED = "settings", "encoder", "lock", "driver_steps"
_DIGITS = 16


class RunFolder:
    """What a run needs to go on in another process.

    Attributes:
        path: The folder.
        checkpoints: Its checkpoints.
    """

    def __init__(self, path: Path) -> None:
        """Names the folder."""
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")

    def keep_settings(self, facts: Mapping[str, Any]) -> None:
        """Stores what the run was started with, as JSON knows it.

        Raises:
            StorageError: When the place cannot be written.
        """
        sealed.write(self.path / _SETTINGS, lambda _: None, lambda: dict(facts))

    def settings(self) -> Mapping[str, Any]:
        """Returns what `keep_settings` stored.

        Raises:
            DamagedError: When it is missing or damaged.
        """
        return sealed.read(self.path / _SETTINGS)

    @property
    def spools(self) -> Path:
        """Where the run's process keeps what the store of runs has not taken."""
        return self.path.parent / spool.PLACE.name

    @property
    def has_encoder(self) -> bool:
        """Whether the encoder is trained and stored."""
        return (self.path / _ENCODER).exists()

    def keep_encoder(self, encoder: Encoder, complain: Callable[[str], object]) -> None:
        """Stores the trained encoder, or goes on without.

        Args:
            encoder: What was trained.
            complain: Told when it cannot be written.
        """
        try:
            sealed.write(self.path / _ENCODER, encoder.save, lambda: {"name": encoder.name})
        except StorageError as error:
            complain(f"the encoder is not kept for --resume: {error}")

    def note_stored(self, steps: int) -> None:
        """Notes that the run holds a driver of a training of so many environment steps."""
        # Without, a process that goes on and is stopped early may store a lesser one.
        with contextlib.suppress(OSError):
            moving.write(self.path / _STORED, f"{steps}\n")

    @property
    def stored_steps(self) -> int | None:
        """Environment steps of the training whose driver the run holds, None for no driver."""
        try:
            text = (self.path / _STORED).read_text("ascii", "replace").strip()
        except OSError:
            return None
        return int(text) if text.isdecimal() and len(text) < _DIGITS else None

    def encoder(self, complain: Callable[[str], object]) -> Encoder | None:
        """Returns the stored encoder, None where there is none that is whole.

        Args:
            complain: Told when it is damaged.
        """
        folder = self.path / _ENCODER
        if not folder.exists():
            return None
        try:
            return base.encoder_class(str(sealed.read(folder).get("name"))).load(folder)
        except InputError as error:
            complain(f"the stored encoder is damaged and is trained again: {error}")
            return None

    def remove(self) -> None:
        """Deletes all that is stored, and the folder of all runs if it was the last."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the folder for this process; the system gives it free however the process ends.

        Raises:
            RunBusyError: Another process trains this run.
            StorageError: When the place cannot be written.
        """
        path = self.path / _LOCK
        with contextlib.ExitStack() as opened:
            with folders.writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                file = opened.enter_context(path.open("a+b"))
                taken = file_locks.take(file.fileno())
            if not taken:
                raise RunBusyError(
                    f"Run {self.path.name} is being trained by another process, which holds "
                    f"'{path}'. Wait until it ends, or stop it."
                )
            yield
