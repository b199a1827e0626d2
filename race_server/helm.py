"""Where commands leave for the car: one lock, one thread that watches.

The car's loop may be stuck in a wait or in its driver. So a thread of its own brakes when no new
frame has been answered for too long, repeats commands that must not grow old, and lets those go
that were held back. A command that moves the car leaves only with permission, and never for a
frame that is too old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

from donkey_rl.errors import LinkError
from donkey_rl.race_server.commanding import BRAKE, Command
from donkey_rl.race_server.config import WatchdogConfig

LOGGER = logging.getLogger("donkey_rl.race_server")

Why = Literal["driver", "launch", "recovery", "waiting", "order", "watchdog", "seat", "keep alive"]
"""Whose command it is."""

_MOST_HELD = 256
_FOREVER = float("inf")
_PRECISION_S = 0.0005


class Sent(NamedTuple):
    """A command that has left.

    Attributes:
        command: The command.
        why: Whose it is.
        frame: Number of the frame that it answers, None for none.
        took_s: From that frame's arrival until it left (s), None for none.
        decided_s: The same until it could have left, had it not been held back (s).
    """

    command: Command
    why: Why
    frame: int | None = None
    took_s: float | None = None
    decided_s: float | None = None


class _Held(NamedTuple):
    due: float
    command: Command
    why: Why
    frame: int
    arrived: float
    decided: float


class Helm:
    """Sends the commands of one car.

    Attributes:
        last: The last command that left.
        halts: How often the watchdog has braked.
        is_halted: Whether it has braked and no newer frame has been answered.
    """

    def __init__(
        self,
        config: WatchdogConfig,
        send: Callable[[float, float, float], None],
        note: Callable[[Sent], None],
    ) -> None:
        """Prepares a helm without a car; `begin` starts its thread.

        Args:
            config: When to brake.
            send: Sends steering, throttle and brake at once, or raises a `LinkError`.
            note: Told of everything that left, with the helm's lock held: it must not wait.
        """
        self.last = BRAKE
        self.halts = 0
        self.is_halted = False
        self._config = config
        self._send = send
        self._note = note
        self._changed = threading.Condition()
        self._held: deque[_Held] = deque()
        self._newest = self._last_at = 0.0
        self._attached = self._permitted = self._over = False
        self._thread = threading.Thread(target=self._watch, name="race watchdog", daemon=True)

    def begin(self) -> None:
        """Starts to watch."""
        self._thread.start()

    def end(self) -> None:
        """Brakes, and stops watching."""
        with self._changed:
            if self._attached:
                self._halt("order")
            self._attached, self._over = False, True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def attach(self) -> None:
        """There is a car that takes commands; it stands braked."""
        with self._changed:
            self._held.clear()
            self.last, self._attached = BRAKE, True
            self.is_halted = False
            self._newest = self._last_at = time.perf_counter()
            self._changed.notify()

    def detach(self) -> None:
        """There is none any more: nothing is sent."""
        with self._changed:
            self._held.clear()
            self._attached = False

    def permit(self, wanted: bool) -> None:
        """Lets the car move, or brakes it at once."""
        with self._changed:
            self._permitted = wanted
            if not wanted and self._attached and self._moves:
                self._halt("order")

    @property
    def is_attached(self) -> bool:
        """Whether there is a car that takes commands."""
        return self._attached

    @property
    def _moves(self) -> bool:
        """Whether anything but the brake is in force, or will be."""
        return bool(self._held) or self.last != BRAKE

    def steer(
        self, command: Command, why: Why, frame: int, arrived: float, hold_s: float = 0.0
    ) -> Command:
        """Sends the command that answers a frame; the brake goes at once and before all others.

        Args:
            command: The command.
            why: Whose it is.
            frame: The frame's number.
            arrived: When it came (monotonic, s).
            hold_s: How long after that the command leaves.

        Returns:
            What leaves: the brake where the command must not.
        """
        with self._changed:
            now = time.perf_counter()
            if not self._attached:
                return BRAKE
            self._newest = max(self._newest, arrived)
            if command != BRAKE and not self._permitted:
                command, why = BRAKE, "order"
            elif command != BRAKE and now - arrived > self._config.frame_s:
                command, why = BRAKE, "watchdog"
            self.is_halted = why == "watchdog"
            held = _Held(arrived + hold_s, command, why, frame, arrived, now)
            if command == BRAKE:
                self._held.clear()
                self._leave(held)
                return command
            if self._held:
                held = held._replace(due=max(held.due, self._held[-1].due))
            if not self._held and held.due <= now + _PRECISION_S:
                self._leave(held)
            else:
                self._held.append(held)
                if len(self._held) > _MOST_HELD:
                    self._leave(self._held.popleft())
            # The watch has to look at this one now.
            self._changed.notify()
            return command

    def _leave(self, held: _Held) -> None:
        self._write(held.command, held.why, held.frame, held.arrived, held)

    def _halt(self, why: Why) -> None:
        self._held.clear()
        self._write(BRAKE, why)

    def _write(
        self,
        command: Command,
        why: Why,
        frame: int | None = None,
        arrived: float | None = None,
        held: _Held | None = None,
    ) -> None:
        """Sends, and notes what left; that it cannot, whoever reads the connection learns too."""
        self._last_at = time.perf_counter()
        self.last = command
        try:
            self._send(*command)
        except LinkError:
            return
        now = time.perf_counter()
        took = decided = None
        if arrived is not None and held is not None:
            took = now - arrived
            decided = took if held.due <= held.decided + _PRECISION_S else held.decided - arrived
        self._note(Sent(command, why, frame, took, decided))

    def _due(self) -> float:
        """Returns when the next thing is to be done (monotonic, s)."""
        if not self._attached:
            return _FOREVER
        due = self._last_at + self._config.keep_alive_s
        if self._moves:
            due = min(due, self._newest + self._config.frame_s)
        return min(due, self._held[0].due) if self._held else due

    def _tend(self, now: float) -> None:
        if self._moves and now >= self._newest + self._config.frame_s:
            self.halts += 1
            self.is_halted = True
            self._halt("watchdog")
        elif self._held and now >= self._held[0].due:
            self._leave(self._held.popleft())
        else:
            self._write(self.last, "keep alive")

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                left = self._due() - time.perf_counter()
                if left > 0.0:
                    self._changed.wait(None if left == _FOREVER else left)
                    continue
                try:
                    self._tend(time.perf_counter())
                except Exception:
                    # Without this thread nobody would brake.
                    LOGGER.exception("The watchdog met an error; it goes on.")
                    self._last_at = time.perf_counter()
