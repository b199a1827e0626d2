"""A heat: the wait on the grid, and the race."""

from __future__ import annotations

from collections.abc import Mapping

from donkey_rl.envs.link import reports
from donkey_rl.envs.serving.orders import CarState
from donkey_rl.envs.serving.race import draws
from donkey_rl.envs.serving.race.checkpoints import Watch
from donkey_rl.envs.serving.race.control import RaceControl
from donkey_rl.envs.serving.race.phases import Phase
from donkey_rl.envs.serving.race.records import MOST_RUNS, Heat, Outcome

_LONGEST = 2.0
"""A heat lasts no longer than this many times what the slowest car needs that is never late: who
puts its car back over and over would keep the others waiting."""


class PreRace(Phase):
    """The cars of a heat come to the grid; the race begins when all are there."""

    def __init__(self, control: RaceControl, heat: Heat) -> None:
        """Calls the racers.

        Args:
            control: Race control.
            heat: The heat.
        """
        super().__init__(control)
        self._heat = heat
        control.announce(f"{draws.title(control.evening, heat)}.")
        for who in heat.racers:
            self.arrived(who)

    def arrived(self, who: str) -> None:
        """Puts a racer's car on the grid, the better seed's first."""
        if who in self._heat.racers:
            self.control.spawn(who, slot=self._heat.racers.index(who))

    def advance(self, cars: Mapping[str, CarState]) -> bool:
        """Over when all are there, or have been waited for."""
        rules = self.control.rules
        if self.elapsed < rules.pre_race_s * rules.waiting:
            return False
        complete = all(who in self.control.slots for who in self._heat.racers)
        return complete or self.elapsed >= rules.absent_s


class Race(Phase):
    """A heat is driven."""

    def __init__(self, control: RaceControl, heat: Heat) -> None:
        """Begins with the banners.

        Args:
            control: Race control.
            heat: The heat; who has no car now is not waited for any more.
        """
        super().__init__(control)
        rules = control.rules
        self._heat = heat
        self._absent = [who for who in heat.racers if who not in control.slots]
        self._watches: dict[str, Watch] = {}
        self._banners = [
            (0.0, "Let's Race!"),
            (rules.lets_race_s, "Ready?"),
            (rules.lets_race_s + rules.ready_s, "Set?"),
        ]
        self._go_s = rules.lets_race_s + rules.ready_s + rules.set_s
        lap_s = (rules.checkpoints + 1) * rules.checkpoint_s
        self._longest_s = _LONGEST * (rules.start_line_s + rules.race_laps * lap_s)
        self._gone = False

    def arrived(self, who: str) -> None:
        """Who lost its connection in the heat starts again from the grid, its laps count on."""
        if who not in self._heat.racers or who in self._absent:
            return
        watch = self._watches.get(who)
        if watch is None or not watch.over:
            self.control.spawn(who, slot=self._heat.racers.index(who))
        if watch is not None and not watch.over:
            watch.resume(self.control.now)
            self.control.release(who)

    def reset(self, who: str) -> None:
        """Who puts its car back loses its laps."""
        watch = self._watches.get(who)
        if watch is not None and not watch.over:
            watch.restart(self.control.now)

    def advance(self, cars: Mapping[str, CarState]) -> bool:
        """Counts laps; over when all have finished or are disqualified."""
        control = self.control
        while self._banners and self.elapsed >= self._banners[0][0]:
            control.announce(self._banners.pop(0)[1])
        if not self._gone:
            if self.elapsed >= self._go_s:
                self._go()
            return False
        for who, watch in self._watches.items():
            if watch.over:
                continue
            control.look(who, watch, cars.get(who))
            if not watch.over and self.elapsed > self._go_s + self._longest_s:
                watch.fault = "time limit"
                control.disqualify(who, watch.fault)
            if watch.over:
                # A car that stands about would be in the others' way.
                control.remove(who)
        if self.elapsed < control.rules.min_race_s:
            return False
        if not all(watch.over for watch in self._watches.values()):
            return False
        self._end()
        return True

    def _go(self) -> None:
        control = self.control
        control.announce("Go!")
        self._gone = True
        for who in self._heat.racers:
            if who not in self._absent:
                laps = control.rules.race_laps
                self._watches[who] = Watch(control.rules, control.course, laps, control.now)
                control.release(who)

    def _end(self) -> None:
        control = self.control
        run = {}
        for who in self._heat.racers:
            watch = self._watches.get(who)
            run[who] = (
                Outcome(disqualified="absent")
                if watch is None
                else Outcome(laps_s=watch.laps_s, disqualified=watch.fault)
            )
            control.send(who, reports.RaceStop())
        self._heat.runs = [*self._heat.runs, run][-MOST_RUNS:]
