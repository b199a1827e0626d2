"""What the workers of a study share: its trials, and a mutex."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from optuna.storages import BaseStorage

from donkey_rl.errors import StorageError

Say = Callable[[str], object]


class StorageAwayError(StorageError):
    """The storage does not answer now; whether the last call was carried out is not known."""


class MutexLostError(StorageAwayError):
    """An exclusive section was taken away in the middle, after its holder was gone too long."""


class SharedStorage(BaseStorage):
    """A storage of studies that several workers share.

    Attributes:
        shown: Its address without the password, as `optuna-dashboard` takes it.
        outages: How often it was found away; what was seen before says nothing of who lives.
    """

    shown: str
    outages: int

    @abc.abstractmethod
    def exclusive(
        self, name: str = "study"
    ) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Returns a section that one process at a time is in, on whichever machine.

        The system or the server gives it free when its holder dies. It is for a second or so,
        and never within another one.

        Args:
            name: Sections of different names may exclude each other, but need not.

        Returns:
            A context manager. Its value is to be called before each write that must not be done
            twice: it raises `MutexLostError` when another may be in the section by now.
        """

    @abc.abstractmethod
    def beat(self, trial_id: int, key: str, value: Mapping[str, Any]) -> None:
        """Writes an attribute of a trial, at once or not at all.

        Raises:
            StorageAwayError: It could not be written now.
            optuna.exceptions.UpdateFinishedTrialError: The trial has ended.
        """

    def admitted(self) -> contextlib.AbstractContextManager[None]:
        """Returns what a worker is within as long as it works.

        Raises:
            InputError: On entering: the storage takes no further worker.
        """
        return contextlib.nullcontext()
