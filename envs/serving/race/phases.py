"""What an evening consists of beside heats: practice, qualifying, and what is only shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from donkey_rl.envs.serving.orders import CarState
from donkey_rl.envs.serving.race.checkpoints import Watch
from donkey_rl.envs.serving.race.control import RaceControl
from donkey_rl.envs.serving.race.records import (
    LEAST_QUALIFIED,
    MOST_ATTEMPTS,
    MOST_LAPS,
    NO_LAP_S,
    Fault,
    Outcome,
)


class Phase:
    """A part of an evening; by default it pays no attention to anybody."""

    def __init__(self, control: RaceControl) -> None:
        """Begins now.

        Args:
            control: Race control.
        """
        self.control = control
        self.began = control.now

    @property
    def elapsed(self) -> float:
        """How long it has lasted (s)."""
        return self.control.now - self.began

    def advance(self, cars: Mapping[str, CarState]) -> bool:
        """Time has gone on; returns whether the phase is over."""
        return False

    def arrived(self, who: str) -> None:
        """A competitor is there and could have a car."""

    def left(self, who: str) -> None:
        """A competitor has gone, its car with it."""

    def reset(self, who: str) -> None:
        """A competitor has put its car back to its start."""


class Show(Phase):
    """Something is shown for a while, then the next thing."""

    def __init__(self, control: RaceControl, texts: Sequence[str], each_s: float) -> None:
        """Begins now.

        Args:
            control: Race control.
            texts: What is shown, one after the other.
            each_s: For how long each of them is (s).
        """
        super().__init__(control)
        self._texts = list(texts)
        self._each_s = each_s
        self._shown = 0

    def advance(self, cars: Mapping[str, CarState]) -> bool:
        """Shows what is due; over when the last text has been shown for its time."""
        while self.elapsed >= self._shown * self._each_s:
            if self._shown == len(self._texts):
                return True
            self.control.announce(self._texts[self._shown])
            self._shown += 1
        return False


class Practice(Phase):
    """Everybody drives; who is disqualified starts again."""

    def __init__(self, control: RaceControl) -> None:
        """Gives everybody who is there a car."""
        super().__init__(control)
        self._watches: dict[str, Watch] = {}
        control.announce("Practice.")
        for each in control.present():
            self.arrived(each.identity)

    def arrived(self, who: str) -> None:
        """Gives a car."""
        control = self.control
        control.spawn(who, blocked=False)
        self._watches[who] = Watch(control.rules, control.course, None, control.now)

    def left(self, who: str) -> None:
        """Watches its car no longer."""
        self._watches.pop(who, None)

    def reset(self, who: str) -> None:
        """The racer has to cross the start line anew."""
        if who in self._watches:
            self._watches[who].restart(self.control.now)

    def advance(self, cars: Mapping[str, CarState]) -> bool:
        """Counts laps; over when the time is, and enough racers are there."""
        control = self.control
        for who, watch in self._watches.items():
            before = watch.laps_s
            control.look(who, watch, cars.get(who))
            if watch.laps_s is not before:
                self._keep(who, watch.laps_s[-1])
            if watch.fault is not None:
                control.put_back(who)
                watch.restart(control.now)
        limit = control.rules.practice_s
        if limit is None or self.elapsed < limit:
            return False
        if len(control.present()) < control.rules.min_competitors:
            return False
        control.clear()
        return True

    def _keep(self, who: str, lap: float) -> None:
        competitor = self.control.evening.find(who)
        if competitor is not None:
            competitor.practice_s = [*competitor.practice_s, lap][-MOST_LAPS:]
            self.control.save()


class Qualifying(Phase):
    """One racer at a time, those without a time first."""

    def __init__(self, control: RaceControl) -> None:
        """Opens the window; the first attempt begins after a pause."""
        super().__init__(control)
        self._window = control.rules.qualifying_s
        self._next = control.now
        self._runner: str | None = None
        self._watch: Watch | None = None
        self._go_at = 0.0
        control.announce("Qualifying.")

    def reset(self, who: str) -> None:
        """The lap begins anew, the time for the attempt goes on."""
        if who == self._runner and self._watch is not None:
            self._watch.restart(self.control.now)

    def left(self, who: str) -> None:
        """The attempt is used, if it was the racer's turn."""
        if who == self._runner:
            self._end("connection lost")

    def advance(self, cars: Mapping[str, CarState]) -> bool:
        """Lets one racer after the other drive; over when the window is."""
        control, rules = self.control, self.control.rules
        if self._runner is None:
            if self._is_over():
                return True
            if control.now >= self._next:
                self._call()
        elif self._watch is None:
            if control.now >= self._go_at:
                control.announce("Go!")
                control.release(self._runner)
                laps = rules.qualifying_laps
                self._watch = Watch(rules, control.course, laps, control.now)
        else:
            control.look(self._runner, self._watch, cars.get(self._runner))
            if self._watch.over:
                self._end(self._watch.fault)
            elif control.now - self._go_at > rules.qualifying_run_s:
                control.disqualify(self._runner, "time limit")
                self._end("time limit")
        return False

    def _call(self) -> None:
        """Puts the next racer on the grid."""
        control = self.control
        waiting = control.present()
        if not waiting:
            return
        turn = min(waiting, key=lambda each: (each.qualifying_s < NO_LAP_S, len(each.attempts)))
        self._runner = turn.identity
        self._go_at = control.now + control.rules.qualifying_go_s
        control.announce(f"Qualifying: {turn.name}.")
        control.spawn(turn.identity)

    def _end(self, fault: Fault | None) -> None:
        """The attempt is over."""
        control, who = self.control, self._runner
        competitor = None if who is None else control.evening.find(who)
        if competitor is not None:
            laps = [] if self._watch is None else self._watch.laps_s
            outcome = Outcome(laps_s=laps, disqualified=fault)
            competitor.attempts = _kept([*competitor.attempts, outcome])
        self._runner = self._watch = None
        self._next = control.now + control.rules.qualifying_pause_s * control.rules.waiting
        control.clear()
        control.save()

    def _is_over(self) -> bool:
        control = self.control
        known = control.evening.competitors
        untimed = [each.identity for each in known if each.qualifying_s >= NO_LAP_S]
        enough = len(known) - len(untimed) >= LEAST_QUALIFIED
        awaits = any(control.is_expected(who) for who in untimed)
        if control.rules.qualifying_ends_early and enough and not awaits:
            return True
        untried = any(not each.attempts for each in control.present())
        return self._has_run_out(not enough or untried)

    def _has_run_out(self, doubled: bool) -> bool:
        """Whether the window is over; it is doubled instead where it has to be."""
        if self.elapsed < self._window:
            return False
        if doubled:
            self._window *= 2.0
            self.control.announce("Qualifying goes on: the time is doubled.")
        return not doubled


def _kept(attempts: list[Outcome]) -> list[Outcome]:
    """Returns the attempts that are kept: the last ones, and the best one in any case."""
    if len(attempts) <= MOST_ATTEMPTS:
        return attempts
    timed = [each for each in attempts if each.disqualified is None]
    best = min(timed or attempts, key=lambda each: each.best_s)
    attempts = attempts[-MOST_ATTEMPTS:]
    return attempts if best in attempts else [best, *attempts[1:]]
