"""What an evening is to be like."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.rehearsal.field import MOST_OPPONENTS
from donkey_rl.race_server.rehearsal.link_conditions import LinkConditions

_QUALIFYING_S = 60.0
_SHORT_ABSENT_S = 15.0
_WAITING = 0.1
_RESTARTS = 3
_FULL_PRACTICE_S = 3600.0
"""Practice and qualifying of an evening in real time; each is half of that."""


class RehearsalPlan(Config):
    """One rehearsal.

    Attributes:
        race: Our car; host, port and the place of its records are the rehearsal's own.
        opponents: How many others race.
        opponent_drivers: Who drives them, in turn; by default our driver with less throttle.
        track: Where; the driver's own track if it is empty.
        laps: Of a heat.
        link: Between the cars and the host.
        faults: How many are injected.
        seed: Of link and faults.
        practice_s: Practice, in simulation time (s), unless all takes its real time.
        full: Whether all takes its real time; otherwise practice is short, and waiting too.
        time_scale: Simulation seconds per second: latencies and deadlines are those of a race
            with 1 only.
        folder: Takes all files of the rehearsal; it does not exist yet.
    """

    race: RaceConfig
    opponents: int = Field(default=3, ge=1, le=MOST_OPPONENTS)
    opponent_drivers: tuple[str, ...] = Field(default=(), max_length=MOST_OPPONENTS)
    track: str = Field(default="", max_length=1000)
    laps: int = Field(default=2, ge=1, le=20)
    link: LinkConditions = Field(default_factory=LinkConditions)
    faults: int = Field(default=0, ge=0, le=10_000)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    practice_s: float = Field(default=40.0, ge=0.0, le=3600.0)
    full: bool = False
    time_scale: float = Field(default=1.0, ge=0.1, le=20.0)
    folder: Path

    @property
    def rules(self) -> RaceRules:
        """The rules of the evening."""
        cars = self.opponents + 1
        if self.full:
            return RaceRules(race_laps=self.laps, min_competitors=cars, ladder_restarts=_RESTARTS)
        return RaceRules(
            practice_s=self.practice_s,
            min_competitors=cars,
            qualifying_s=_QUALIFYING_S * cars,
            qualifying_ends_early=True,
            waiting=_WAITING,
            absent_s=_SHORT_ABSENT_S,
            race_laps=self.laps,
            restarts=_RESTARTS,
            ladder_restarts=_RESTARTS,
        )

    @property
    def limit_s(self) -> float:
        """Longest time without news of an evening (s): beyond it something hangs.

        A heat of many laps on a long road is the longest that takes none of it short.
        """
        longest = 2400.0 + (_FULL_PRACTICE_S if self.full else self.practice_s)
        return longest / min(1.0, self.time_scale) + 90.0 * self.faults
