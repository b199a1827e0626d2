"""One car's checkpoints and lap clock."""

from __future__ import annotations

from typing import NamedTuple, Self

from donkey_rl.envs.serving.orders import CarState
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import MOST_LAPS, Fault
from donkey_rl.envs.simulator.track import Track
from donkey_rl.errors import ConfigurationError


class Course(NamedTuple):
    """What the rules must know of a track.

    Attributes:
        name: Its name.
        length: Of its path, once round (u).
        start_line: Along the path (u).
        min_lap_s: Crossings of the line sooner than this after the last are no laps.
    """

    name: str
    length: float
    start_line: float
    min_lap_s: float = 10.0

    @classmethod
    def of(cls, track: Track) -> Self:
        """Returns the course of a track.

        Raises:
            ConfigurationError: The track is not closed, so that nobody could drive a second lap.
        """
        if not track.closed:
            raise ConfigurationError(
                "A race is driven on a track that leads back to its start. Received: "
                f"'{track.name}', which is open. Choose another one: donkey-rl tracks list."
            )
        return cls(track.name, track.length, track.start_line, track.min_lap_s)


class Watch:
    """Watches one car from its start to its last lap, or to its disqualification.

    The car is required at one checkpoint at a time, the start line first; others do not count. A
    checkpoint is passed by the way along the path, so that neither driving backwards nor to and
    fro over the line makes a lap.

    Attributes:
        laps_s: Laps so far.
        fault: Why the car is disqualified, None if it is not.
    """

    def __init__(self, rules: RaceRules, course: Course, laps: int | None, now: float) -> None:
        """Begins to watch a car that may start now.

        Args:
            rules: The rules.
            course: The course.
            laps: After so many laps the car has finished; None: it never has.
            now: Simulation time (s).
        """
        self._rules = rules
        self._course = course
        self._wanted = laps
        least = rules.min_lap_s
        self._least = course.min_lap_s if least is None else least
        self.laps_s: list[float] = []
        self.fault: Fault | None = None
        self.restart(now)

    def restart(self, now: float) -> None:
        """The car is on its start again, and its laps are forgotten."""
        self.laps_s = []
        self.fault = None
        self.resume(now)

    def resume(self, now: float) -> None:
        """The car is on its start again, and its laps count on."""
        self._deadline = now + self._rules.start_line_s
        self._required = 0
        self._target: float | None = None
        self._began: float | None = None
        self._then = now
        self._progress = 0.0

    @property
    def finished(self) -> bool:
        """Whether the car has driven all its laps."""
        return self._wanted is not None and len(self.laps_s) >= self._wanted

    @property
    def over(self) -> bool:
        """Whether nothing counts any more."""
        return self.finished or self.fault is not None

    def advance(self, now: float, car: CarState | None) -> list[float]:
        """Looks where the car is now.

        Args:
            now: Simulation time (s).
            car: The car, None while it is not there; its countdown goes on.

        Returns:
            For each accepted crossing of the start line the lap time (s), 0 for the first one.
        """
        if self.over:
            return []
        crossings = [] if car is None else self._pass(now, car)
        self._then = now
        if self.over:
            return crossings
        if now > self._deadline:
            self.fault = "connection lost" if car is None else "missed checkpoint"
        elif car is not None and self._began is not None and self._is_out(car):
            self.fault = "out of bounds"
        return crossings

    def _pass(self, now: float, car: CarState) -> list[float]:
        if self._target is None:
            gap = (self._course.start_line - car.arc) % self._course.length
            self._target = car.progress + gap
            self._progress = car.progress
        crossings: list[float] = []
        gained = car.progress - self._progress
        while gained > 0.0 and car.progress >= self._target and not self.over:
            share = (self._target - self._progress) / gained
            moment = self._then + share * (now - self._then)
            if moment > self._deadline:
                break
            self._deadline = moment + self._rules.checkpoint_s
            if self._required == 0:
                crossings += self._cross(moment)
            count = self._rules.checkpoints + 1
            self._required = (self._required + 1) % count
            self._target += self._course.length / count
        self._progress = car.progress
        return crossings

    def _cross(self, moment: float) -> list[float]:
        """The start line was crossed where it was required."""
        if self._began is None:
            self._began = moment
            return [0.0]
        lap = moment - self._began
        if lap < self._least or lap <= 0.0:
            return []
        self._began = moment
        self.laps_s = [*self.laps_s, lap][-MOST_LAPS:]
        return [lap]

    def _is_out(self, car: CarState) -> bool:
        limit = self._rules.out_of_bounds_u
        return car.off if limit is None else not abs(car.lateral) <= limit
