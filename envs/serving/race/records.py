"""What a race evening has come to: everything that is kept of it, and checked when read back."""

from __future__ import annotations

import enum
import hashlib
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from donkey_rl.envs.link import commands

NO_LAP_S = 1e6
"""The result of who has none (s)."""

LEAST_QUALIFIED = 2
"""Fewer make no race."""

MOST_LAPS = 200
MOST_ATTEMPTS = 200
MOST_COMPETITORS = 256
MOST_HEATS = 512

MOST_RUNS = 200
_HASH_DIGITS = 16

Identity = Annotated[str, Field(min_length=1, max_length=80)]
LapTime = Annotated[float, Field(gt=0.0, lt=NO_LAP_S)]
Fault = Literal["missed checkpoint", "out of bounds", "time limit", "connection lost", "absent"]


class Stage(enum.StrEnum):
    """Where an evening stands."""

    PRACTICE = "practice"
    QUALIFYING = "qualifying"
    PRE_EVENT = "pre_event"
    EVENT_INTRO = "event_intro"
    COMPETITOR_INTRO = "competitor_intro"
    STAGE_1_PRE_RACE = "stage_1_pre_race"
    STAGE_1_RACE = "stage_1_race"
    STAGE_1_POST_RACE = "stage_1_post_race"
    STAGE_1_COMPLETED = "stage_1_completed"
    STAGE_2_PRE_RACE = "stage_2_pre_race"
    STAGE_2_RACE = "stage_2_race"
    STAGE_2_POST_RACE = "stage_2_post_race"
    COMPLETE = "complete"


_IN_A_HEAT = {
    Stage.STAGE_1_PRE_RACE,
    Stage.STAGE_1_RACE,
    Stage.STAGE_1_POST_RACE,
    Stage.STAGE_2_PRE_RACE,
    Stage.STAGE_2_RACE,
    Stage.STAGE_2_POST_RACE,
}


class Record(pydantic.BaseModel):
    """The base of what is kept: no unknown keys, finite numbers."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class Outcome(Record):
    """What one racer did in one run.

    Attributes:
        laps_s: Its laps.
        disqualified: Why it was disqualified, None if it was not.
    """

    laps_s: list[LapTime] = Field(default_factory=list, max_length=MOST_LAPS)
    disqualified: Fault | None = None

    @property
    def best_s(self) -> float:
        """Its best lap, `NO_LAP_S` without one."""
        return min(self.laps_s, default=NO_LAP_S)


class Competitor(Record):
    """Somebody who takes part.

    Attributes:
        identity: What it is known by, see `identify`.
        name: Of the racer.
        car_name: Of the car.
        country: Of the racer.
        bio: What is read out.
        practice_s: The last laps in practice.
        attempts: In qualifying.
    """

    identity: Identity
    name: str = Field(max_length=commands.MOST_NAME)
    car_name: str = Field(default="", max_length=commands.MOST_NAME)
    country: str = Field(default="", max_length=commands.MOST_NAME)
    bio: str = Field(default="", max_length=2000)
    practice_s: list[LapTime] = Field(default_factory=list, max_length=MOST_LAPS)
    attempts: list[Outcome] = Field(default_factory=list, max_length=MOST_ATTEMPTS)

    @property
    def qualifying_s(self) -> float:
        """Its best lap of all attempts that were driven to their end, `NO_LAP_S` without one."""
        laps = (each.best_s for each in self.attempts if each.disqualified is None)
        return min(laps, default=NO_LAP_S)


class Heat(Record):
    """Two racers, or one alone.

    Attributes:
        stage: 1 or 2.
        round: Of the ladder, from 1; 0 in stage 1.
        racers: Who races, the better seed first.
        bye: Whether the one racer goes on without driving.
        runs: What happened, the last one counts.
        winner: Who goes on, in the ladder, once it is known.
    """

    stage: Literal[1, 2]
    round: int = Field(default=0, ge=0, le=16)
    racers: list[Identity] = Field(min_length=1, max_length=2)
    bye: bool = False
    runs: list[dict[Identity, Outcome]] = Field(default_factory=list, max_length=MOST_RUNS)
    winner: Identity | None = None

    @property
    def last(self) -> dict[str, Outcome]:
        """What the racers did in the run that counts, empty before."""
        return self.runs[-1] if self.runs else {}


class Evening(Record):
    """A race evening.

    Attributes:
        format: Of this record.
        track: Where it is driven.
        stage: Where it stands.
        rules: What it was last driven by, for the reader.
        competitors: All who take part, in the order in which they came.
        qualified: Who takes part in stage 1, the fastest first.
        heats: All that were drawn so far.
        heat: Index of the next one, or of the one that is on.
        seeds: Who takes part in the ladder, the best of stage 1 first.
        standings: The final order, once complete.
    """

    format: Literal[1] = 1
    track: str = Field(max_length=4096)
    stage: Stage = Stage.PRACTICE
    rules: dict[str, Any] = Field(default_factory=dict, max_length=100)
    competitors: list[Competitor] = Field(default_factory=list, max_length=MOST_COMPETITORS)
    qualified: list[Identity] = Field(default_factory=list, max_length=MOST_COMPETITORS)
    heats: list[Heat] = Field(default_factory=list, max_length=MOST_HEATS)
    heat: int = Field(default=0, ge=0, le=MOST_HEATS)
    seeds: list[Identity] = Field(default_factory=list, max_length=8)
    standings: list[Identity] = Field(default_factory=list, max_length=MOST_COMPETITORS)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        known = [each.identity for each in self.competitors]
        orders = (known, self.qualified, self.seeds, self.standings)
        if any(len(set(order)) != len(order) for order in orders):
            raise ValueError("somebody stands twice in one list")
        if not {*self.qualified, *self.standings} <= set(known):
            raise ValueError("somebody races who is no competitor")
        if not set(self.seeds) <= set(self.qualified):
            raise ValueError("somebody is in the ladder who has not qualified")
        for heat in self.heats:
            racers = set(heat.racers)
            if len(racers) != len(heat.racers) or heat.winner not in {None, *racers}:
                raise ValueError("a heat names a racer twice, or a winner who was not in it")
            if not racers <= set(self.qualified if heat.stage == 1 else self.seeds):
                raise ValueError("somebody is in a heat who has no place in it")
            if any(set(run) != racers for run in heat.runs):
                raise ValueError("a run of a heat has other racers than the heat")
        if not self.is_open and len(self.qualified) < LEAST_QUALIFIED:
            raise ValueError("the races have begun, and fewer than two have qualified")
        if self.stage in _IN_A_HEAT:
            number = 1 if self.stage.startswith("stage_1") else 2
            if self.heat >= len(self.heats) or self.heats[self.heat].stage != number:
                raise ValueError("the heat that is on does not exist")
        return self

    @property
    def is_open(self) -> bool:
        """Whether newcomers are taken."""
        return self.stage in (Stage.PRACTICE, Stage.QUALIFYING)

    def find(self, identity: str) -> Competitor | None:
        """Returns a competitor, None if nobody is known by this."""
        return next((each for each in self.competitors if each.identity == identity), None)

    def name_of(self, identity: str) -> str:
        """Returns the name of a competitor."""
        found = self.find(identity)
        return identity if found is None else found.name


def identify(info: commands.RacerInfo) -> str:
    """Returns what a competitor is known by: a hash of its guid, or its name without one.

    A guid of "0" is none, since some clients all send it. The guid itself is not kept: who knows
    it could take the racer's place.

    >>> identify(commands.RacerInfo("Ada", "Car", "-", "UK", "0"))
    'name:Ada'
    >>> identify(commands.RacerInfo("Ada", "Car", "-", "UK", "a1"))
    'guid:f55ff16f66f43360'
    """
    guid = info.guid.strip()
    if guid in ("", "0"):
        return f"name:{_plain(info.racer_name) or '?'}"
    digest = hashlib.sha256(guid.encode("utf-8", "replace")).hexdigest()
    return f"guid:{digest[:_HASH_DIGITS]}"


def register(info: commands.RacerInfo) -> Competitor:
    """Returns a new competitor."""
    return Competitor(
        identity=identify(info),
        name=_plain(info.racer_name),
        car_name=_plain(info.car_name),
        country=_plain(info.country),
        bio=_plain(info.bio),
    )


def _plain(text: str) -> str:
    """Returns text on one line without control characters, fit for logs and JSON."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return shown.encode("utf-8", "replace").decode("utf-8").strip()
