"""Who works on which of the wanted trials: none is lost, and none is done twice.

A *job* is one of the N wanted trials. An *attempt* is one Optuna trial that works on it. Whoever
works on one changes the attempt's lease every now and then; one whose lease has not changed for
`lease_s` is lost. Then it becomes a failed Optuna trial, with the reason, and a waiting one with
the same parameters continues the job. A job is done when one of its attempts is complete, pruned
or failed by its own fault, and Optuna ends a trial only once, so a job is done at most once.

Leases are compared by the clock of the one who looks, and only as "has it changed": clocks of
machines may differ. A look at the queue and what follows from it are one exclusive section, and
everything is read back from the trials, so a process may be killed between any two writes.
"""

from __future__ import annotations

import contextlib
import enum
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from donkey_rl.experiments.sweeps.attempt import (
    BASE,
    FRUITLESS,
    LEASE,
    LOST,
    PROGRESS,
    REASON,
    RETRY_OF,
    Attempt,
)
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage, StorageAwayError

LEASE_S = 60.0
"""Seconds without a sign of life after which an attempt is lost."""

MOST_FRUITLESS = 5
"""Attempts in a row that are lost without having come further: then the job has failed."""

_BEATS = 6
"""Signs of life in the time of a lease."""

_LOOKS = 30
"""Looks at the queue in the time of a lease, by a worker that waits."""

_STANDSTILL_S = 5.0
"""A process that has not run for less has not stood still, however short a lease is."""

_FIXED = "fixed_params"
"""Where Optuna keeps the parameters of a trial that `enqueue_trial` has made."""


class Standing(enum.Enum):
    """How things stand when there is nothing to take."""

    WAIT = "others work, and may still lose what they work on"
    DONE = "nothing is left"


class Queue:
    """The wanted trials of a study."""

    def __init__(
        self,
        study: optuna.Study,
        storage: SharedStorage,
        trials: int,
        *,
        lease_s: float = LEASE_S,
        owner: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the queue; trials that others have enqueued are jobs of it.

        Args:
            study: The study, with sampler and pruner.
            storage: Where it is kept.
            trials: How many jobs are wanted.
            lease_s: Seconds without a sign of life after which an attempt is lost; the same for
                all workers of the study.
            owner: The name of this worker, one of its own; made up unless given.
            clock: Returns seconds that pass while this process does.
        """
        self.owner = owner or owner_name()
        self._study = study
        self._storage = storage
        self._trials = trials
        self._lease_s = lease_s
        self._clock = clock
        self._seen: dict[int, tuple[Any, float]] = {}
        self._awake_at, self._stood = clock(), False
        self._outages = storage.outages

    def awake(self) -> None:
        """Notes that this process runs; after a standstill all leases are looked at anew."""
        now = self._clock()
        self._stood |= now - self._awake_at > max(0.5 * self._lease_s, _STANDSTILL_S)
        self._awake_at = now

    def take(self, until: float | None = None) -> Attempt | None:
        """Returns what to do next; waits while others may still lose what they work on.

        Args:
            until: When to take nothing more (s, of the clock). Defaults to never.

        Returns:
            An attempt to enter; None when nothing is left and nothing runs, or it is late.

        Raises:
            StorageError: The storage cannot be used.
        """
        while until is None or self._clock() < until:
            try:
                found = self.look()
            except StorageAwayError:
                # The next look waits for it.
                continue
            if isinstance(found, Attempt):
                return found
            if found is Standing.DONE:
                return None
            time.sleep(self._lease_s / _LOOKS)
        return None

    def look(self) -> Attempt | Standing:
        """Hands on what was lost and takes something, if there is something now.

        Raises:
            StorageAwayError: The storage was away in the middle; look again.
        """
        with self._exclusive() as still_mine:
            started = self._clock()
            trials = self._read()
            if self._hand_on_lost(trials, started, still_mine):
                trials = self._read()
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if not waiting and _jobs(trials) < self._trials:
                still_mine()
                self._study.add_trial(optuna.create_trial(state=TrialState.WAITING))
                trials = self._read()
                waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if waiting:
                still_mine()
                return self._begin()
            running = any(trial.state == TrialState.RUNNING for trial in trials)
            return Standing.WAIT if running else Standing.DONE

    def bury(self, owner: str, reason: str) -> None:
        """Hands on at once what a worker had that is known to be dead.

        Args:
            owner: The worker's name.
            reason: What has become of it.
        """

        def hand_on(still_mine: Callable[[], None]) -> None:
            for trial in self._read():
                lease = trial.system_attrs.get(LEASE)
                if trial.state == TrialState.RUNNING and lease and lease["owner"] == owner:
                    self._lose(trial, reason, still_mine)

        self._surely(hand_on)

    def has_more(self) -> bool:
        """Whether a worker would find something to do or to wait for."""
        trials = self._read()
        open_states = (TrialState.RUNNING, TrialState.WAITING)
        return _jobs(trials) < self._trials or any(trial.state in open_states for trial in trials)

    def hand_back(self, attempt: Attempt, reason: str, *, vain: bool) -> None:
        """Ends an attempt of this worker's and has its job continued.

        Args:
            attempt: The attempt.
            reason: Why.
            vain: Whether it counts among those that were lost without having come further.
        """

        def hand_on(still_mine: Callable[[], None]) -> None:
            trial = self._storage.get_trial(attempt.trial_id)
            if trial.state == TrialState.RUNNING:
                self._lose(trial, reason, still_mine, vain=vain)

        self._surely(hand_on)

    def _surely(self, work: Callable[[Callable[[], None]], None]) -> None:
        """Does something in the exclusive section, again if the storage was away meanwhile."""
        while True:
            try:
                with self._exclusive() as still_mine:
                    return work(still_mine)
            except StorageAwayError:
                # To enter the section again waits for it, and gives up when that takes too long.
                continue

    def _exclusive(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        return self._storage.exclusive(f"queue of {self._study.study_name}")

    def _read(self) -> Sequence[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _begin(self) -> Attempt:
        """Makes the first waiting trial one of this worker's."""
        trial = self._study.ask()
        trial_id = trial._trial_id
        self._storage.set_trial_system_attr(trial_id, LEASE, {"owner": self.owner, "beat": 0})
        frozen = self._storage.get_trial(trial_id)
        return Attempt(trial, frozen, self._storage, self, beat_s=self._lease_s / _BEATS)

    def _hand_on_lost(
        self, trials: Sequence[FrozenTrial], now: float, still_mine: Callable[[], None]
    ) -> bool:
        """Ends the attempts that are lost, and sees to it that each lost one is continued.

        Args:
            trials: All trials.
            now: When they were about to be read (s).
            still_mine: Raises when the section is not this process's any more.

        Returns:
            Whether anything was changed.
        """
        self.awake()
        if self._storage.outages != self._outages or self._stood:
            # Nobody could give a sign of life, or this process stood still, perhaps as all did.
            self._outages, self._stood = self._storage.outages, False
            self._seen.clear()
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        self._seen = {
            trial._trial_id: self._seen[trial._trial_id]
            for trial in running
            if trial._trial_id in self._seen
        }
        changed = False
        read = self._clock()
        for trial in running:
            lease = trial.system_attrs.get(LEASE)
            before, since = self._seen.get(trial._trial_id, (None, read))
            if trial._trial_id not in self._seen or before != lease:
                self._seen[trial._trial_id] = (lease, read)
            elif now - since > self._lease_s:
                whose = f"worker {lease['owner']}" if lease else "the worker that took it"
                reason = f"lost: no sign of life of {whose} for {now - since:.0f} s"
                changed = self._lose(trial, reason, still_mine) or changed
        continued = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        for trial in trials:
            lost = trial.system_attrs.get(LOST)
            if trial.state == TrialState.FAIL and lost and trial.number not in continued:
                changed = self._continue(trial, lost["fruitless"], still_mine) or changed
        return changed

    def _lose(
        self,
        trial: FrozenTrial,
        reason: str,
        still_mine: Callable[[], None],
        *,
        vain: bool = True,
    ) -> bool:
        """Ends an attempt as failed, and enqueues the next one of its job."""
        attributes = trial.system_attrs
        fruitless = attributes.get(FRUITLESS, 0)
        if attributes.get(PROGRESS, 0.0) > attributes.get(BASE, 0.0):
            fruitless = 0
        elif vain and LEASE in attributes:
            fruitless += 1
        if fruitless >= MOST_FRUITLESS:
            reason += f"; it was the {fruitless}th time without having come further: given up"
        trial_id = trial._trial_id
        still_mine()
        try:
            self._storage.set_trial_user_attr(trial_id, REASON, reason)
            self._storage.set_trial_system_attr(trial_id, LOST, {"fruitless": fruitless})
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            # Its worker was alive after all, and has just ended it.
            return True
        self._continue(self._storage.get_trial(trial_id), fruitless, still_mine)
        return True

    def _continue(self, lost: FrozenTrial, fruitless: int, still_mine: Callable[[], None]) -> bool:
        """Enqueues the next attempt of a lost one's job, unless it is given up."""
        if fruitless >= MOST_FRUITLESS:
            return False
        notes = {key: value for key, value in lost.user_attrs.items() if key != REASON}
        attributes: dict[str, Any] = {FRUITLESS: fruitless}
        reached = max(lost.system_attrs.get(key, 0.0) for key in (PROGRESS, BASE))
        if reached:
            attributes[BASE] = reached
        if _FIXED in lost.system_attrs:
            attributes[_FIXED] = lost.system_attrs[_FIXED]
        still_mine()
        self._study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=lost.params,
                distributions=lost.distributions,
                user_attrs=notes | {RETRY_OF: lost.number},
                system_attrs=attributes,
                intermediate_values=lost.intermediate_values,
            )
        )
        return True


def owner_name() -> str:
    """Returns a name for a worker that no other has."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _jobs(trials: Sequence[FrozenTrial]) -> int:
    """Counts the jobs that trials work on: those that continue none."""
    return sum(RETRY_OF not in trial.user_attrs for trial in trials)


def attempts(trials: Sequence[FrozenTrial]) -> Mapping[int, Sequence[FrozenTrial]]:
    """Returns the attempts of each job in their order, by the number of the first.

    Args:
        trials: All trials of a study.
    """
    first: dict[int, int] = {}
    jobs: dict[int, list[FrozenTrial]] = {}
    for trial in sorted(trials, key=lambda each: each.number):
        before = trial.user_attrs.get(RETRY_OF)
        first[trial.number] = trial.number if before is None else first[before]
        jobs.setdefault(first[trial.number], []).append(trial)
    return jobs
