"""Encoders that several trainings of a sweep share, each trained once.

An encoder depends on its settings, the environment and the seed, and not on how the policy learns.
So trials that vary only the latter would all train the same one again; here the first that needs
it does, and the result stays in a folder that is called by a hash of all that it depends on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from donkey_rl.agents import folders
from donkey_rl.agents.encoders import base
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import file_locks, sealed
from donkey_rl.experiments.membership import Figures, TrainEncoder

_PAUSE_S = 0.2


class EncoderShelf:
    """Trained encoders in a folder.

    Attributes:
        path: The folder; it is made by the first encoder.
    """

    def __init__(self, path: Path) -> None:
        """Names the folder."""
        self.path = path

    def get(
        self, key: str, train: TrainEncoder, between: Callable[[], None]
    ) -> tuple[Encoder, Figures]:
        """Returns an encoder and the figures of its training.

        Args:
            key: SHA-256 of all that it depends on.
            train: Trains it, where no process on this machine has yet.
            between: Called while another process trains it.

        Raises:
            StorageError: The folder cannot be written.
        """
        place, lock = self.path / key, self.path / f"{key}.lock"
        while True:
            with contextlib.ExitStack() as held:
                with folders.writing(self.path):
                    self.path.mkdir(parents=True, exist_ok=True)
                    file = held.enter_context(lock.open("a+b"))
                    taken = file_locks.take(file.fileno())
                if taken:
                    return _read(place) or _trained(place, train)
            between()
            time.sleep(_PAUSE_S)


def _read(place: Path) -> tuple[Encoder, Figures] | None:
    """Returns what is in a folder, None where there is none that is whole."""
    if not place.exists():
        return None
    try:
        facts = sealed.read(place)
        return base.encoder_class(str(facts.get("name"))).load(place), facts["figures"]
    except (InputError, KeyError):
        return None


def _trained(place: Path, train: TrainEncoder) -> tuple[Encoder, Figures]:
    encoder, figures = train()
    # Others train it again then.
    with contextlib.suppress(StorageError):
        sealed.write(place, encoder.save, lambda: {"name": encoder.name, "figures": dict(figures)})
    return encoder, figures
