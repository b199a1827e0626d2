"""What a training learns from beside driving, as data sets that its run notes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import lessons, reference
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.spooling import spool


def log(config: TrainingConfig, run: Run) -> None:
    """Notes the data sets of `imitation.data` and `encoder.data`.

    The digest of one that a team shares is its version; that of recordings on this machine is a
    SHA-256 over the names and contents of their files.

    Args:
        config: What the run is told; its data sets have their versions already.
        run: The run.

    Raises:
        StorageError: They can be kept nowhere.
    """
    for group, text in lessons.recorded(config).items():
        if reference.is_reference(text):
            known = reference.parse(text)
            run.log_input(known.name, text, known.version or "newest", group)
        else:
            place = Path(text).resolve()
            run.log_input(place.name, str(place), digest(place), group)


def digest(place: Path) -> str:
    """Returns a SHA-256 over the names and contents of a file, or of all files of a folder."""
    found = hashlib.sha256()
    for name, entry in spool.checks(place).items():
        found.update(f"{name} {entry.sha256}\n".encode())
    return found.hexdigest()
