"""Who works on which trial. (Signatures; the bodies follow.)"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import optuna

from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments.sweeps.storage import SharedStorage


class LeaseLostError(DonkeyRLError):
    """Somebody else works on this trial by now; what this attempt came to does not count."""


class Attempt:
    """One Optuna trial that works on one of the wanted trials; a context manager.

    ``with queue.take() as attempt:`` it beats while it is entered. Left by KeyboardInterrupt it is
    handed back at once, by `optuna.TrialPruned` it is pruned, by another exception it counts as
    lost. It must be left complete, pruned or failed.

    Attributes:
        trial: The Optuna trial: ``attempt.trial.suggest_float(...)`` and so on.
        earlier: What the attempt that this one continues had noted; empty for a first one.
    """

    trial: optuna.Trial
    earlier: Mapping[str, Any]

    def note(self, key: str, value: Any) -> None:
        """Keeps a JSON value with the trial (a user attribute), for whoever continues it.

        Raises:
            LeaseLostError: See `check`.
        """

    def report(self, value: float, step: int) -> None:
        """As `optuna.Trial.report`; a step that an earlier attempt has reported is passed over."""

    def advance(self, progress: float) -> None:
        """Says how far it is, in any unit that grows (environment steps over all seeds).

        Call it whenever something is kept that another attempt would continue from (a
        checkpoint, a seed that is done): an attempt that came further than the one before does
        not count as a vain one when it is lost.
        """

    def check(self) -> None:
        """Raises `LeaseLostError` when the lease is known to be lost; costs nothing."""

    def complete(self, score: float, constraints: Mapping[str, float] | None = None) -> None:
        """Ends it with its score; a constraint is met at or below 0.

        Raises:
            LeaseLostError: The lease was lost: the result is refused.
        """

    def prune(self) -> None:
        """Ends it as pruned. Raises LeaseLostError as `complete`."""

    def fail(self, reason: str) -> None:
        """Ends it as failed by the trial's own fault (diverged): it is not tried again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Queue:
    """The wanted trials of a study."""

    def __init__(
        self,
        study: optuna.Study,
        storage: SharedStorage,
        trials: int,
        *,
        lease_s: float = 60.0,
        owner: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None: ...

    def take(self, until: float | None = None) -> Attempt | None:
        """Returns what to do next; waits while others may still lose what they work on.

        None: nothing is left and nothing runs, or `until` (s, of the clock) has passed.
        """
        raise NotImplementedError

    def bury(self, owner: str, reason: str) -> None:
        """Hands on at once what a worker had that is known to be dead."""
