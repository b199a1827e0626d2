"""Where a study is kept. (Signatures; the bodies follow.)"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from optuna.storages import BaseStorage


class SharedStorage(BaseStorage):
    """A storage that waits while its server is away, and that has a mutex.

    Attributes:
        url: Where it is, with its password.
        shown: The same without the password.
    """

    url: str
    shown: str

    @contextlib.contextmanager
    def exclusive(self, name: str = "study") -> Iterator[None]:
        """A section that one process at a time is in, on whichever machine.

        Freed by the system or the server when its holder dies. For a second or so, not for long
        work, and never inside another one.
        """
        raise NotImplementedError


def open_storage(
    url: str, say: Callable[[str], object] = lambda _: None, *, workers: int = 1
) -> SharedStorage:
    """Opens a storage: a journal's path, ``journal:///PATH``, ``sqlite:///PATH``, ``postgresql://...``.

    Raises:
        InputError: It is none of these, the password is wrong, SQLite with more than one worker.
        StorageError: It cannot be reached or written.
    """
    raise NotImplementedError


def shown(url: str) -> str:
    """Returns a storage's address without its password, as ``optuna-dashboard`` takes it."""
    raise NotImplementedError
