"""What a training learns from beside driving, as data sets that its run notes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import reference
from donkey_rl.experiments.spooling import spool

_CONTEXTS = {"imitation": "imitation", "encoder": "encoder"}


class RunInput(NamedTuple):
    """A data set; see `logged_run.Run.log_input`."""

    name: str
    source: str
    digest: str
    context: str


def of(config: TrainingConfig) -> Iterator[RunInput]:
    """Yields the data sets of `imitation.data` and `encoder.data`.

    The digest of one that a team shares is its version; that of recordings on this machine is a
    SHA-256 over the names and contents of their files.

    Args:
        config: The run; its data sets have their versions already.
    """
    for group, context in _CONTEXTS.items():
        # Not every encoder learns from recordings.
        text = getattr(getattr(config, group), "data", None)
        if text is None:
            continue
        if reference.is_reference(text):
            known = reference.parse(text)
            yield RunInput(known.name, text, known.version or "newest", context)
        elif Path(text).exists():
            place = Path(text).resolve()
            yield RunInput(place.name, str(place), digest(place), context)


def digest(place: Path) -> str:
    """Returns a SHA-256 over the names and contents of a file, or of all files of a folder."""
    found = hashlib.sha256()
    for name, entry in spool.checks(place).items():
        found.update(f"{name} {entry.sha256}\n".encode())
    return found.hexdigest()
