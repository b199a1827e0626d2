"""One attempt at one of the wanted trials, which shows that it is alive while it goes on."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from donkey_rl.errors import DonkeyRLError, InputError, StorageError
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage

LEASE, LOST, FRUITLESS = "donkey_rl:lease", "donkey_rl:lost", "donkey_rl:fruitless"
BASE, PROGRESS = "donkey_rl:base", "donkey_rl:progress"
"""System attributes of a trial: who works on it; what became of it; attempts in vain before it;
how far the attempts before it came, and how far it came itself."""

REASON, RETRY_OF = "reason", "retry_of"
"""User attributes of a trial: why it failed; the number of the attempt that it continues."""

_JOIN_S = 30.0


class LeaseLostError(DonkeyRLError):
    """Somebody else may work on this trial by now; what this attempt came to does not count."""


class _Taker(Protocol):
    """What an attempt needs of the queue that it was taken from."""

    owner: str

    def hand_back(self, attempt: Attempt, reason: str, *, vain: bool) -> None: ...

    def awake(self) -> None: ...


class Attempt:
    """One Optuna trial of this worker's; a context manager, within which it shows that it lives.

    It is to be left complete, pruned or failed. Left by `KeyboardInterrupt` it is handed back at
    once and continued by another attempt, by `optuna.TrialPruned` it is pruned, by another
    exception it counts as lost, all of which pass on but `optuna.TrialPruned`.

    Attributes:
        trial: The Optuna trial, to suggest parameters and to ask for pruning.
        trial_id: Its id in the storage.
        number: Its number in the study.
        earlier: What the attempt that this one continues had noted; empty for a first one.
        state: How it was ended, None while it was not.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        frozen: FrozenTrial,
        storage: SharedStorage,
        taker: _Taker,
        *,
        beat_s: float,
    ) -> None:
        """Prepares; see `Queue.take`.

        Args:
            trial: The trial, which runs and has this worker's lease.
            frozen: The same, as it is stored.
            storage: Where it is kept.
            taker: Whose it is.
            beat_s: Seconds between two signs of life.
        """
        self.trial = trial
        self.trial_id = frozen._trial_id
        self.number = frozen.number
        continued = RETRY_OF in frozen.user_attrs
        self.earlier: Mapping[str, Any] = dict(frozen.user_attrs) if continued else {}
        self.state: TrialState | None = None
        self._reported = set(frozen.intermediate_values)
        self._storage = storage
        self._taker = taker
        self._beat_s = beat_s
        self._lost = False
        self._ended = threading.Event()
        self._pulse: threading.Thread | None = None

    def note(self, key: str, value: Any) -> None:
        """Keeps a JSON value with the trial, as a user attribute, for whoever continues it.

        Raises:
            LeaseLostError: See `check`.
            StorageError: It could not be written.
        """
        self._write(lambda: self._storage.set_trial_user_attr(self.trial_id, key, value))

    def report(self, value: float, step: int) -> None:
        """Reports an intermediate value, unless an attempt before has reported this step.

        Raises:
            LeaseLostError: See `check`.
            StorageError: It could not be written.
        """
        if step in self._reported:
            return
        self._reported.add(step)
        self._write(lambda: self.trial.report(value, step))

    def advance(self, progress: float) -> None:
        """Says how far this attempt is, in a unit that grows, such as steps over all seeds.

        To be called when something is kept that the next attempt would go on from: a checkpoint,
        a seed that is done. An attempt that came further than those before was not in vain.

        Raises:
            LeaseLostError: See `check`.
            StorageError: It could not be written.
        """
        self._write(
            lambda: self._storage.set_trial_system_attr(self.trial_id, PROGRESS, float(progress))
        )

    def check(self) -> None:
        """Does nothing while the lease is held, as far as is known; costs no time.

        Raises:
            LeaseLostError: It was lost: this process stood still, or the storage was away, for
                too long.
        """
        if self._lost:
            raise LeaseLostError(
                f"Trial {self.number} was given to another worker, since this one gave no sign "
                "of life for too long; what it came to here does not count."
            )

    def complete(self, score: float, constraints: Mapping[str, float] | None = None) -> None:
        """Ends the trial with its score.

        Args:
            score: What is maximised or minimised.
            constraints: Values by name; one is met at 0 and below.

        Raises:
            InputError: The score is no finite number.
            LeaseLostError: The lease was lost: the score is refused.
            StorageError: It could not be written.
        """
        if not math.isfinite(score):
            raise InputError(f"Expected a finite score of a trial. Received: {score}.")
        for name, value in (constraints or {}).items():
            self._write(functools.partial(self.trial.set_constraint, name, value))
        self._end(TrialState.COMPLETE, score)

    def prune(self) -> None:
        """Ends the trial as pruned, with its last intermediate value.

        Raises:
            LeaseLostError: The lease was lost.
            StorageError: It could not be written.
        """
        self._end(TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """Ends the trial as failed by its own fault, such as diverging; nobody tries it again.

        Raises:
            LeaseLostError: The lease was lost.
            StorageError: It could not be written.
        """
        self.note(REASON, reason)
        self._end(TrialState.FAIL)

    def _write(self, call: Callable[[], None]) -> None:
        self.check()
        try:
            call()
        except UpdateFinishedTrialError:
            self._lost = True
            self.check()

    def _end(self, state: TrialState, score: float | None = None) -> None:
        """Ends the trial in the storage, where only the first end counts."""
        self.check()
        try:
            self.trial.study.tell(self.trial, score, state)
        except (UpdateFinishedTrialError, ValueError):
            # Optuna refuses a trial that has ended with either. It may be this very end, of which
            # only the answer was lost.
            found = self._storage.get_trial(self.trial_id)
            same = found.state == state and (score is None or found.value == score)
            if not same or found.system_attrs.get(LOST):
                self._lost = found.state.is_finished()
                self.check()
                raise
        self.state = state
        self._ended.set()

    def _live(self) -> None:
        """Gives signs of life until the end."""
        beat = 0
        while not self._ended.wait(self._beat_s):
            beat += 1
            self._taker.awake()
            try:
                self._storage.beat(
                    self.trial_id, LEASE, {"owner": self._taker.owner, "beat": beat}
                )
            except UpdateFinishedTrialError:
                self._lost = not self._ended.is_set()
                return
            except StorageError:
                # The next one may come through; if none does, the lease is lost.
                continue

    def __enter__(self) -> Self:
        """Starts to give signs of life."""
        self._pulse = threading.Thread(
            target=self._live, name=f"lease of trial {self.number}", daemon=True
        )
        self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Ends the attempt if nobody has; see the class."""
        pruned = isinstance(error, optuna.TrialPruned)
        try:
            if not self._ended.is_set() and not self._lost:
                self._leave(error)
        finally:
            self._ended.set()
            if self._pulse is not None:
                self._pulse.join(_JOIN_S)
        return pruned

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            self.fail("it ended without a score")
        elif isinstance(error, optuna.TrialPruned):
            self.prune()
        elif isinstance(error, KeyboardInterrupt):
            self._taker.hand_back(self, "handed back: the worker was stopped", vain=False)
        else:
            what = f"{type(error).__name__}: {error}".rstrip(".")
            self._taker.hand_back(self, f"lost by an error: {what[:500]}", vain=True)
