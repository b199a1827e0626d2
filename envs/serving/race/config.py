"""The rules of a race evening as configuration; the defaults are those of the virtual races."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from donkey_rl.configuration import Config

_DAY_S = 86_400.0


class RaceRules(Config):
    """What a race evening is like. Times are simulation time (s).

    Attributes:
        practice_s: Practice; None: without end.
        min_competitors: So many racers must be there before practice ends.
        most_competitors: More are not registered.
        qualifying_s: The window for qualifying; it is doubled while fewer than two have a time or
            somebody who is there had no attempt.
        qualifying_run_s: One attempt, at most.
        qualifying_laps: Laps of an attempt.
        qualifying_pause_s: Between two attempts.
        qualifying_go_s: How long "Go!" is shown before an attempt begins.
        qualifying_ends_early: Whether qualifying is over as soon as all who are there have a
            time; otherwise they may better it until the window ends. Who has left counts as there
            for `absent_s`.
        race_laps: Laps of a heat.
        checkpoints: Beside the start line, at even distances along the path.
        checkpoint_s: From one checkpoint to the next, at most.
        start_line_s: From the start to the start line, at most.
        min_lap_s: Crossings of the line sooner than this after the last are no laps; None: as the
            track says, 10 s by default.
        out_of_bounds_u: A car further from the path (u) than this is out; None: a car is out with
            all wheels off the road. It counts from the first crossing of the line on.
        pre_event_s: Between qualifying and the intro.
        intro_s: The intro of the event.
        bio_s: The introduction of each competitor.
        pre_race_s: Cars stand on the grid at least so long before a heat.
        absent_s: A heat waits so long for a racer who is not there, and so does the early end
            of qualifying.
        lets_race_s: How long "Let's Race!" is shown.
        ready_s: How long "Ready?" is shown.
        set_s: How long "Set?" is shown.
        min_race_s: A heat lasts at least so long.
        between_stage_1_s: Between two heats of stage 1.
        between_stage_2_s: Between two heats of the ladder.
        summary_s: The summary behind stage 1.
        restarts: A heat of stage 1 in which all were disqualified without a lap is run again so
            often, at most.
        ladder_restarts: The same for the ladder; None: without limit.
        ladder: So many racers go from stage 1 into the ladder.
        waiting: What waiting is multiplied with: intros, summaries, pauses, the time on the grid.
            0.1 makes a rehearsal short; what is driven stays as it is.
        extended_telemetry: Whether racers get cte, place and velocity, which races go without.
        results: The results file; a new evening never overwrites an old one's.
        resume: Whether to go on with the newest evening in `results`, if there is one.
    """

    practice_s: float | None = Field(default=1800.0, ge=0.0, le=_DAY_S)
    min_competitors: int = Field(default=3, ge=2, le=64)
    most_competitors: int = Field(default=64, ge=2, le=256)
    qualifying_s: float = Field(default=1800.0, gt=0.0, le=_DAY_S)
    qualifying_run_s: float = Field(default=100.0, gt=0.0, le=_DAY_S)
    qualifying_laps: int = Field(default=1, ge=1, le=100)
    qualifying_pause_s: float = Field(default=3.0, ge=0.0, le=_DAY_S)
    qualifying_go_s: float = Field(default=2.0, ge=0.0, le=60.0)
    qualifying_ends_early: bool = False
    race_laps: int = Field(default=3, ge=1, le=100)
    checkpoints: int = Field(default=3, ge=0, le=100)
    checkpoint_s: float = Field(default=20.0, gt=0.0, le=_DAY_S)
    start_line_s: float = Field(default=10.0, gt=0.0, le=_DAY_S)
    min_lap_s: float | None = Field(default=None, ge=0.0, le=3600.0)
    out_of_bounds_u: float | None = Field(default=20.0, gt=0.0, le=1e4)
    pre_event_s: float = Field(default=10.0, ge=0.0, le=_DAY_S)
    intro_s: float = Field(default=300.0, ge=0.0, le=_DAY_S)
    bio_s: float = Field(default=15.0, ge=0.0, le=3600.0)
    pre_race_s: float = Field(default=10.0, ge=0.0, le=_DAY_S)
    absent_s: float = Field(default=60.0, ge=0.0, le=_DAY_S)
    lets_race_s: float = Field(default=3.0, ge=0.0, le=60.0)
    ready_s: float = Field(default=1.0, ge=0.0, le=60.0)
    set_s: float = Field(default=1.0, ge=0.0, le=60.0)
    min_race_s: float = Field(default=10.0, ge=0.0, le=3600.0)
    between_stage_1_s: float = Field(default=10.0, ge=0.0, le=_DAY_S)
    between_stage_2_s: float = Field(default=20.0, ge=0.0, le=_DAY_S)
    summary_s: float = Field(default=60.0, ge=0.0, le=_DAY_S)
    restarts: int = Field(default=3, ge=0, le=100)
    ladder_restarts: int | None = Field(default=None, ge=0, le=100)
    ladder: Literal[2, 4, 8] = 8
    waiting: float = Field(default=1.0, ge=0.0, le=1.0)
    extended_telemetry: bool = False
    results: Path = Path("race_results.json")
    resume: bool = False

    @model_validator(mode="after")
    def _can_begin(self) -> Self:
        if self.min_competitors > self.most_competitors:
            raise ValueError(
                f"min_competitors must not be above most_competitors, received "
                f"{self.min_competitors} and {self.most_competitors}"
            )
        return self

    @field_validator("results")
    @classmethod
    def _is_json(cls, value: Path) -> Path:
        if value.suffix != ".json":
            raise ValueError("should be the path of a .json file")
        return value
