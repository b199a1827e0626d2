"""When a car may move: what the host says, what people order, and what a lost connection means.

A car moves on somebody's word alone, and the word ends with what it was said for:

- The host's `race_start` ends with `race_stop`, with `DQ`, with a new car, and with the
  connection: a host says it again to whoever comes back into a heat that goes on, and one that was
  started anew has not said it.
- Having a car is enough where a car practises (`start="car"`), on every connection.
- Any word ends in the host's menu.
- GO given without a connection, or in the menu, waits for a car for `FRESH_S` alone: later it
  would start the car by surprise. GO given with a connection waits as long as that lives.
- STOP in a run outlasts a lost connection: the host says `race_start` again to whoever comes back
  into the run, which is no new word. So is every `race_start` until `race_stop` or the menu.
- An order holds in practice over a new car and a lost connection, but for the same host alone:
  its clock must have gone on. In a race, told by `race_start`, it ends as `race_start` does.

In doubt the car stands, and somebody says GO again.
"""

from __future__ import annotations

import math
import time
from typing import Literal, NamedTuple

from donkey_rl.envs.link import reports
from donkey_rl.race_server.orders import FRESH_S, Brake, ChangeDriver, Go, Order, Stop

_LEAST_CLOCK_S = 5.0
"""A host whose clock showed less cannot be told from one that was started anew."""

_SLACK = 1.1
"""What a new host's clock can show at most, over the time since the connection was lost."""


class Clock(NamedTuple):
    """A host's clock when something was last heard of it.

    Attributes:
        time_s: Simulation time (s).
        at: When (monotonic, s).
        scale: Simulation seconds per second.
        wall: When by the wall clock (s since 1970): the monotonic one stands still on machines
            that sleep. Infinite where it is not known.
    """

    time_s: float
    at: float
    scale: float
    wall: float = math.inf

    def is_of_same_host(self, time_s: float, now: float) -> bool:
        """Whether a clock that shows `time_s` now can only be this one.

        One that was started since then shows the time since then at most.
        """
        # A slow host's successor may keep time.
        since = max(0.0, now - self.at, time.time() - self.wall) * max(1.0, self.scale)
        return self.time_s >= _LEAST_CLOCK_S and time_s >= _SLACK * since + 0.5 * self.time_s


def _is_fresh(given: tuple[str, float, float], now: float) -> bool:
    """Whether an order is still to be followed: whose, and when by both clocks."""
    return max(now - given[1], time.time() - given[2]) <= FRESH_S


class VoidGo(NamedTuple):
    """A GO that waited for a car in vain.

    Attributes:
        by: Whose it was.
        ended_by: What the host said that ended it; None where no car came in time.
    """

    by: str
    ended_by: reports.Report | None


class RaceState:
    """Whether one car may move; not safe without its owner's lock.

    Attributes:
        go: Whether it may move, as far as it has a car and is not braked.
        by: Who said so.
        why: Why it may not, one line for people.
        braked: Who brakes it while that is on, empty for nobody.
        has_car: Whether the host has given a car.
        in_menu: Whether the host shows its menu, where no scene is open.
        racing: Whether `race_start` was said for this car.
        practice: Whether no race was told of since the program was started.
        disqualified: Whether the host has said so in this run.
        runs: How often GO was said.
    """

    def __init__(self, start: Literal["race_start", "car", "drive"]) -> None:
        """Begins without a host.

        Args:
            start: What sets the car in motion beside orders.
        """
        self._start = start
        self.go = self.has_car = self.racing = self.disqualified = False
        self.practice = True
        self.by = self.braked = ""
        self.why = "not connected"
        self.runs = 0
        self._stopped = self._in_run = False
        self.in_menu = self._is_connected = False
        self._kept: tuple[str, Clock] | None = None
        self._given: tuple[str, float, float] | None = None
        self._void: VoidGo | None = None

    @property
    def may_move(self) -> bool:
        """Whether the car may move now."""
        return self.go and self.has_car and not self.braked

    @property
    def is_away(self) -> bool:
        """Whether there is nothing that GO could be said to: no connection, or a menu alone."""
        return self.in_menu or not self._is_connected

    def _say_go(self, by: str) -> None:
        self._kept = self._given = None
        self._stopped = False
        self.by = by
        # The host lets go of a car that may have wanted to move for a while.
        self.runs += not self.go or by == "host"
        self.go = True
        self.why = ""

    def _end_go(self, why: str) -> None:
        self._kept = self._given = None
        self.go = False
        self.by = ""
        self.why = why

    @property
    def _awaited(self) -> str:
        match self._start:
            case "race_start":
                return "waiting for race_start, or for GO"
            case "car" if not self._stopped:
                return "waiting for a car"
        return "waiting for GO"

    @property
    def _word(self) -> tuple[bool, str, str, bool, str]:
        """What orders change. Scripts repeat theirs: when a GO was given does not count."""
        given = "" if self._given is None else self._given[0]
        return self.go, self.by, self.braked, self._stopped, given

    def follow(self, order: Order, now: float) -> bool:
        """Follows an order.

        Args:
            order: The order.
            now: Monotonic time (s).

        Returns:
            Whether it has changed anything.
        """
        before = self._word
        match order:
            case Go(by):
                if not self.go and self.is_away:
                    # Beside the one that was in force when the connection was lost.
                    self._given = (by, now, time.time())
                elif not self.go:
                    self._say_go(by)
            case Stop(by):
                self._end_go(f"stopped by {by}")
                self._stopped = True
            case Brake(by, on):
                self.braked = by if on else ""
            case ChangeDriver():
                return True
        return before != self._word

    def hear(self, report: reports.Report) -> None:
        """Takes in what the host says."""
        given = self._given
        self._is_connected = True
        self.in_menu = isinstance(report, reports.SceneSelectionReady)
        match report:
            case reports.NeedCarConfig():
                self.has_car = False
            case reports.SceneSelectionReady():
                # No race and no practice goes on in a menu.
                self.has_car = self.racing = self._in_run = False
                self._end_go(self._awaited)
            case reports.CarLoaded():
                self._take_car()
            case reports.RaceStart():
                self.racing, self.practice, self.disqualified = True, False, False
                if self._in_run and self._stopped:
                    # A GO that waits for its car was given after that STOP.
                    given = self._given
                    self._end_go("stopped in this run: waiting for GO")
                    self._given = given
                elif self._start != "drive":
                    self._say_go("host")
                self._in_run = True
            case reports.RaceStop():
                self.practice = self.racing = self._in_run = False
                self._end_go(f"the race is over: {self._awaited}")
            case reports.Disqualified():
                self.disqualified = True
                if self.racing:
                    self._end_go("disqualified")
            case reports.CrossStart() if not self.racing:
                self.disqualified = False
        comes_with_car = self._start == "car" and not self._stopped
        if given is not None and self._given is None and not (self.go or comes_with_car):
            self._void = VoidGo(given[0], report)

    def _take_car(self) -> None:
        self.has_car, self.disqualified = True, False
        if self.go and (self.racing or self.by == "host"):
            self._end_go(self._awaited)
        self.racing = False
        if self._start == "car" and not self._stopped:
            self._say_go("car")
        elif not self.go:
            self.why = self._awaited

    def lose(self, clock: Clock | None) -> None:
        """The connection is lost.

        Args:
            clock: The host's clock at last, None if it was never seen.
        """
        kept, given = self._kept, self._given
        if self.go and self.by not in ("host", "car") and not self.racing and clock is not None:
            kept = (self.by, clock)
        self.has_car = self.racing = self.in_menu = self._is_connected = False
        self._end_go(self.why if self._stopped else "not connected")
        # Not seen again since the last loss: the older clock still counts.
        self._kept, self._given = kept, given

    def see(self, time_s: float, now: float) -> None:
        """The first frame of a connection has come.

        Args:
            time_s: The host's clock (s).
            now: Monotonic time (s).
        """
        self.has_car = self._is_connected = True
        self.in_menu = False
        kept, given = self._kept, self._given
        self._kept = self._given = None
        if self.go:
            return
        if kept is not None and kept[1].is_of_same_host(time_s, now):
            self._say_go(kept[0])
        elif given is not None and _is_fresh(given, now):
            self._say_go(given[0])
        elif self.why == "not connected":
            self.why = self._awaited

    def void_go(self, now: float) -> VoidGo | None:
        """Forgets a GO that could not be followed in time, or that the host has ended before.

        Args:
            now: Monotonic time (s).

        Returns:
            It, once; None for none, and where the one that was in force before still holds.
        """
        if self._given is not None and not _is_fresh(self._given, now):
            if self._kept is None:
                self._void = VoidGo(self._given[0], None)
            self._given = None
        void, self._void = self._void, None
        return void

    def may_reset(self, allowed: Literal["never", "practice", "always"]) -> bool:
        """Whether the car may be put back, which is allowed never, in practice or always."""
        return allowed == "always" or (allowed == "practice" and self.practice)

    def miss_frames(self) -> None:
        """None have come for a while: the host has taken the car away."""
        self.has_car = False
