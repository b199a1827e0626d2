"""What brings a spool to the run store, beside the training or after it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Final

from donkey_rl.errors import StorageError, StoreAwayError
from donkey_rl.experiments.sealed import DamagedError
from donkey_rl.experiments.spooling import entries
from donkey_rl.experiments.spooling.delivery import Delivery
from donkey_rl.experiments.spooling.entries import AnyEntry, Metrics
from donkey_rl.experiments.spooling.spool import Line, Spool

LOGGER = logging.getLogger("donkey_rl.experiments")

_POINTS: Final = 1000
"""Points of curves that are sent together, as many as MLflow takes in one call."""

_LONGEST_PAUSE_S = 15.0
"""Between two attempts while the store is away."""

_LONGEST_WAIT_S = 600.0
"""At the end of a run, for a store that is at work and has taken nothing meanwhile."""

_PAUSE_S = 0.5

_live: weakref.WeakSet[Sender] = weakref.WeakSet()


class Sender:
    """Sends what is appended to a spool, in order, from a thread of its own.

    Attributes:
        refusals: What the store refused, one line each.
        cpu_s: Processor time of the thread so far (s).
    """

    def __init__(self, spool: Spool, delivery: Delivery, interval_s: float) -> None:
        """Starts the thread.

        Args:
            spool: What is sent.
            delivery: What takes it to the store.
            interval_s: Time between two looks into the spool (s).
        """
        self.refusals: list[str] = []
        self.cpu_s = 0.0
        self._spool = spool
        self._delivery = delivery
        self._interval_s = interval_s
        self._away = ""
        self._asked = self._busy = self._closing = False
        self._rounds = 0
        self._state = threading.Condition()
        self._thread = threading.Thread(
            target=self._run, name=f"sender-{spool.about.run_id[:8]}", daemon=True
        )
        self._thread.start()
        _live.add(self)

    @property
    def away(self) -> str:
        """Why the store takes nothing; empty where the last attempt went well."""
        return self._away

    def settle(self, patience_s: float) -> bool:
        """Waits until the store has what was appended before, or does not take it.

        Args:
            patience_s: How long at most (s); a store that is known to be away gets one attempt.

        Returns:
            Whether the store has it.
        """
        end = time.monotonic() + patience_s
        with self._state:
            # A round under way may have begun before the last entry was there.
            wanted = self._rounds + 1 + self._busy
            self._asked = True
            self._state.notify_all()
            while self._rounds < wanted and (left := end - time.monotonic()) > 0.0:
                self._state.wait(left)
        return self.is_done

    def finish(self, patience_s: float) -> bool:
        """Waits until the store has all; one that answers gets the time that it needs.

        Args:
            patience_s: How long to wait for one that is away (s).

        Returns:
            Whether the store has all.
        """
        started, sent = time.monotonic(), self._spool.sent
        while not self.settle(_PAUSE_S):
            if self._spool.sent != sent:
                # It answers again, though it has not got all that waited.
                started, sent = time.monotonic(), self._spool.sent
            waited = time.monotonic() - started
            if waited > (patience_s if self._away else _LONGEST_WAIT_S):
                return False
            time.sleep(_PAUSE_S)
        return True

    @property
    def is_done(self) -> bool:
        """Whether the store has all that was appended."""
        return self._spool.sent >= self._spool.end

    def close(self) -> None:
        """Ends the thread once its attempt under way has ended."""
        with self._state:
            self._closing = True
            self._state.notify_all()
        self._thread.join()
        _live.discard(self)

    def _run(self) -> None:
        pause_s = self._interval_s
        while True:
            with self._state:
                self._state.wait_for(lambda: self._asked or self._closing, pause_s)
                if self._closing:
                    return
                self._asked, self._busy = False, True
            self._attempt()
            pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S) if self._away else self._interval_s
            self.cpu_s = time.thread_time()
            with self._state:
                self._rounds += 1
                self._busy = False
                self._state.notify_all()

    def _attempt(self) -> None:
        folder = self._spool.folder
        try:
            for refusal in send(self._spool, self._delivery):
                self.refusals.append(refusal)
        except Exception as error:
            # Whatever it is, the thread goes on: what it has not sent is on the disk.
            if not self._away:
                LOGGER.warning("%s The training goes on; its log is kept in %s.", error, folder)
            self._away = str(error)
            with contextlib.suppress(OSError):
                self._spool.synchronise()
        else:
            if self._away:
                LOGGER.warning("The run store is back and has everything that was kept.")
            self._away = ""


def send(spool: Spool, delivery: Delivery) -> Iterator[str]:
    """Brings what a spool keeps to the store, in order.

    Args:
        spool: What is sent.
        delivery: What takes it to the store.

    Yields:
        One line for each entry that the store refused or that is damaged; it is set aside.

    Raises:
        StoreAwayError: The store takes nothing for now.
        OSError: The disk is full, or broken.
    """
    for group, lines in groups(spool):
        try:
            if not group:
                raise StorageError("An entry is damaged and cannot be sent.")
            delivery.send(group, spool.folder)
        except StoreAwayError:
            raise
        except StorageError as error:
            if len(lines) > 1:
                # One of them is at fault: each by itself.
                yield from _singly(spool, delivery, group, lines)
                continue
            spool.set_aside(lines[0], str(error))
            yield str(error)
        else:
            spool.acknowledge(lines[-1], group[-1])


def _singly(
    spool: Spool, delivery: Delivery, group: list[AnyEntry], lines: list[Line]
) -> Iterator[str]:
    for entry, line in zip(group, lines, strict=True):
        try:
            delivery.send([entry], spool.folder)
        except StoreAwayError:
            raise
        except StorageError as error:
            spool.set_aside(line, str(error))
            yield str(error)
        else:
            spool.acknowledge(line, entry)


def settle_all(patience_s: float = 5.0) -> None:
    """Waits until the stores have what was logged in this process, or do not take it.

    Args:
        patience_s: How long at most for each run (s).
    """
    for each in list(_live):
        if not each.is_done:
            each.settle(patience_s)


def groups(spool: Spool) -> Iterator[tuple[list[AnyEntry], list[Line]]]:
    """Yields what is to be sent together: neighbouring points, and anything else by itself.

    A damaged line comes alone, with no entry.

    Raises:
        StoreAwayError: A line is of a version that this one does not read; it and what follows
            wait, what was before it has been yielded.
    """
    points: list[AnyEntry] = []
    lines: list[Line] = []
    count = 0
    for line in spool.lines():
        try:
            entry = _read(line)
        except StoreAwayError:
            if points:
                yield points, lines
            raise
        more = len(entry.values) if isinstance(entry, Metrics) else 0
        if points and (not more or count + more > _POINTS):
            yield points, lines
            points, lines, count = [], [], 0
        if entry is not None and more:
            points.append(entry)
            lines.append(line)
            count += more
        else:
            yield ([] if entry is None else [entry]), [line]
    if points:
        yield points, lines


def _read(line: Line) -> AnyEntry | None:
    try:
        return entries.entry_of(line.content)
    except DamagedError:
        return None
