"""When a car may move: what the host says, what people order, and what a lost connection means.

A car moves on somebody's word alone, and the word ends with what it was said for:

- The host's `race_start` ends with `race_stop`, with `DQ`, with a new car, and with the
  connection: a host says it again to whoever comes back into a heat that goes on, and one that was
  started anew has not said it.
- Having a car is enough where a car practises (`start="car"`), on every connection.
- Any word ends in the host's menu.
- STOP in a run outlasts a lost connection: the host says `race_start` again to whoever comes back
  into the run, which is no new word. So is every `race_start` until `race_stop` or the menu.
- An order holds in practice over a new car and a lost connection, but for the same host alone:
  its clock must have gone on. In a race, told by `race_start`, it ends as `race_start` does.

In doubt the car stands, and somebody says GO again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from donkey_rl.envs.link import reports
from donkey_rl.race_server.orders import Brake, ChangeDriver, Go, Order, Stop

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
    """

    time_s: float
    at: float
    scale: float

    def is_of_same_host(self, time_s: float, now: float) -> bool:
        """Whether a clock that shows `time_s` now can only be this one.

        One that was started since then shows the time since then at most.
        """
        since = max(0.0, now - self.at) * self.scale
        return self.time_s >= _LEAST_CLOCK_S and time_s >= _SLACK * since + 0.5 * self.time_s


class RaceState:
    """Whether one car may move; not safe without its owner's lock.

    Attributes:
        go: Whether it may move, as far as it has a car and is not braked.
        by: Who said so.
        why: Why it may not, one line for people.
        braked: Who brakes it while that is on, empty for nobody.
        has_car: Whether the host has given a car.
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
        self._kept: tuple[str, Clock] | None = None

    @property
    def may_move(self) -> bool:
        """Whether the car may move now."""
        return self.go and self.has_car and not self.braked

    def _say_go(self, by: str) -> None:
        self._kept = None
        self._stopped = False
        self.by = by
        # The host lets go of a car that may have wanted to move for a while.
        self.runs += not self.go or by == "host"
        self.go = True
        self.why = ""

    def _end_go(self, why: str) -> None:
        self._kept = None
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

    def follow(self, order: Order) -> bool:
        """Follows an order; returns whether it has changed anything."""
        before = (self.go, self.by, self.braked, self._stopped)
        match order:
            case Go(by):
                if not self.go:
                    self._say_go(by)
            case Stop(by):
                self._end_go(f"stopped by {by}")
                self._stopped = True
            case Brake(by, on):
                self.braked = by if on else ""
            case ChangeDriver():
                return True
        return before != (self.go, self.by, self.braked, self._stopped)

    def hear(self, report: reports.Report) -> None:
        """Takes in what the host says."""
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
                    self._end_go("stopped in this run: waiting for GO")
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
        kept = self._kept
        if self.go and self.by not in ("host", "car") and not self.racing and clock is not None:
            kept = (self.by, clock)
        self.has_car = self.racing = False
        self._end_go(self.why if self._stopped else "not connected")
        # Not seen again since the last loss: the older clock still counts.
        self._kept = kept

    def see(self, time_s: float, now: float) -> None:
        """The first frame of a connection has come.

        Args:
            time_s: The host's clock (s).
            now: Monotonic time (s).
        """
        self.has_car = True
        kept, self._kept = self._kept, None
        if kept is not None and not self.go and kept[1].is_of_same_host(time_s, now):
            self._say_go(kept[0])
        elif not self.go and self.why == "not connected":
            self.why = self._awaited

    def miss_frames(self) -> None:
        """None have come for a while: the host has taken the car away."""
        self.has_car = False
