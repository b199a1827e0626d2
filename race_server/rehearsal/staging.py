"""A race evening from practice to the final order, unattended, with all that may go wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from donkey_rl.envs.link import commands
from donkey_rl.envs.serving.race import draws, records
from donkey_rl.envs.serving.race.records import Evening, Stage
from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.rehearsal import field, outcome
from donkey_rl.race_server.rehearsal.faults import Fault, Injected
from donkey_rl.race_server.rehearsal.host import RaceHost
from donkey_rl.race_server.rehearsal.injection import Injector
from donkey_rl.race_server.rehearsal.link_proxy import LinkProxy
from donkey_rl.race_server.rehearsal.plan import RehearsalPlan
from donkey_rl.race_server.rehearsal.racers import Racers
from donkey_rl.race_server.rehearsal.sightings import Sightings

_TICK_S = 0.1
_LOOK_S = 0.3
_GO_AGAIN_S = 1.0
_OPPONENTS_GO_S = 3.0
_FLOWING_S = 0.5
_SETTLED_S = 8.0
_PAUSE_S = (0.5, 3.0)
_LAST_PRACTICE_S = 1.0
_LEFT_FOR_LATER = 0.2
"""Share of the faults that strike after practice, where an evening has its quiet minutes."""


@dataclasses.dataclass(frozen=True)
class Held:
    """An evening that is over.

    Attributes:
        evening: What it has come to, by the host.
        ours: What our car says that it has done, see `team.CarResult`.
        sightings: What was seen on our car's link.
        injected: The faults that there were.
        began: When it began (s, monotonic).
        records: Folder of our car's records.
    """

    evening: Evening
    ours: Mapping[str, Any]
    sightings: Sightings
    injected: Sequence[Injected]
    began: float
    records: Path


class StagedEvening:
    """One evening: a host, our car, its opponents, and the links between them."""

    def __init__(
        self,
        plan: RehearsalPlan,
        cars: Sequence[RaceConfig],
        folder: Path,
        faults: deque[Fault],
        seed: int,
    ) -> None:
        """Prepares an evening.

        Args:
            plan: What it is like.
            cars: Our car, then its opponents.
            folder: Takes its files; it exists.
            faults: Taken from the left as they are injected.
            seed: Of links and pauses.
        """
        self._sightings = Sightings()
        self._injected: list[Injected] = []
        self._began = time.perf_counter()
        self._records = folder / "records"
        self._plan = plan
        self._cars = cars
        self._folder = folder
        self._faults = faults
        self._random = random.Random(seed)
        generation = cars[0].generation or 2022
        rules = plan.rules
        if faults:
            # It ends when the faults meant for it are over.
            rules = rules.model_copy(update={"practice_s": None})
        self._host = RaceHost(plan.track, rules, folder, generation, plan.time_scale)
        self._endless_practice = bool(faults)
        self._is_closing = False
        self._in_practice = len(faults) - round(len(faults) * _LEFT_FOR_LATER)
        self._evening: Evening | None = None
        self._stage: Stage | None = None
        self._looked = self._gone = self._opponents_gone = self._moved = 0.0
        self._next_fault = 0.0

    def hold(self, progress: ProgressDisplay) -> Held:
        """Holds it to its end.

        Raises:
            InputError: A driver, a track or a configuration does not fit.
            DonkeyRLError: Something ended that should not have, or nothing goes on.
        """
        plan, seed = self._plan, self._random.getrandbits(32)
        faults = len(self._faults)
        with contextlib.ExitStack() as stack:
            progress.message("The race host starts.")
            stack.callback(self._host.stop)
            self._host.start()
            self._sightings.note("host up")
            link = stack.enter_context(
                LinkProxy(self._host.port, plan.link, seed, self._sightings)
            )
            others = stack.enter_context(LinkProxy(self._host.port, plan.link, seed + 1))
            mine, *theirs = self._cars
            log = self._folder / "racer.log"
            config = field.placed(mine, link.port, self._records, ours=True)
            self._ours = stack.enter_context(Racers([config], log))
            progress.message(f"Our car is there: {self._ours.page}")
            rest = self._folder / "opponents"
            opponents = [field.placed(each, others.port, rest) for each in theirs]
            log = self._folder / "opponents.log"
            self._theirs = stack.enter_context(Racers(opponents, log))
            self._injector = Injector(self._host, link, self._ours, self._records, self._wait)
            with progress.phase("evening", faults or None, "faults") as self._phase:
                evening = self._attend(progress)
            self._ours.end()
        self._sightings.save(self._folder / "link.jsonl")
        return Held(
            evening=evening,
            ours=self._ours.results[0],
            sightings=self._sightings,
            injected=self._injected,
            began=self._began,
            records=self._records,
        )

    def _attend(self, progress: ProgressDisplay) -> Evening:
        """Lets the evening go on, with its faults, until it is complete."""
        self._progress = progress
        self._moved = time.perf_counter()
        while self._stage is not Stage.COMPLETE:
            self._wait(_TICK_S)
            if time.perf_counter() - self._moved > self._plan.limit_s:
                raise DonkeyRLError(
                    f"Nothing has happened for {self._plan.limit_s / 60:.0f} min: the evening is "
                    f"at '{self._stage}'. See '{self._folder}'."
                )
            if not self._host.is_running:
                raise DonkeyRLError(f"The race host has ended: see '{self._folder}/host.log'.")
            self._do_faults()
        evening = self._host.evening()
        if evening is None:
            raise DonkeyRLError(f"The results file in '{self._folder}' is gone.")
        return evening

    def _wait(self, seconds: float) -> None:
        """Lets the evening go on for so long, and gives GO in practice."""
        end = time.perf_counter() + seconds
        while True:
            now = time.perf_counter()
            if now - self._looked >= _LOOK_S:
                self._looked = now
                self._look()
            if now >= end:
                return
            time.sleep(min(_TICK_S, end - now))

    def _look(self) -> None:
        """Looks where the evening stands; what it says is newer than what is done after it."""
        evening = self._host.evening()
        if evening is None:
            return
        if evening != self._evening:
            self._moved = time.perf_counter()
        self._evening = evening
        if evening.stage is not self._stage:
            self._stage = evening.stage
            self._sightings.note("stage", evening.stage)
            self._progress.message(_told(evening))
        done = len(self._injected)
        self._phase.update(done, stage=evening.stage, best=outcome.best_so_far(evening))
        if self._stage is not Stage.PRACTICE or self._is_closing:
            return
        if self._wants_go():
            self._gone = self._sightings.note("go")
            self._ours.go()
            # Given, at the latest.
            self._sightings.note("go")
        elif time.perf_counter() - self._opponents_gone > _OPPONENTS_GO_S:
            self._opponents_gone = time.perf_counter()
            self._theirs.go()

    def _wants_go(self) -> bool:
        """Whether the car stands with frames coming, as it does before GO."""
        now = time.perf_counter()
        frames, given = self._sightings.frames, self._sightings.commands
        if not frames or now - frames[-1].at > _FLOWING_S or now - self._gone < _GO_AGAIN_S:
            return False
        recent = [each for each in given[-10:] if now - each.at < _FLOWING_S]
        return bool(recent) and not any(each.moves for each in recent)

    def _do_faults(self) -> None:
        """Injects the next fault if its time has come, and ends practice behind its last one."""
        now = time.perf_counter()
        if now < self._next_fault or not (self._faults or self._endless_practice):
            return
        if self._injected and not self._is_settled(now):
            return
        if self._stage is Stage.PRACTICE:
            if not self._sightings.frames:
                return
            if self._in_practice > 0:
                self._in_practice -= 1
                self._inject(self._faults.popleft())
            elif self._endless_practice:
                self._endless_practice, self._is_closing = False, True
                self._inject(Fault("host killed"), practice_s=_LAST_PRACTICE_S)
                self._stage = None
        elif self._faults and self._has_time:
            self._inject(self._faults.popleft())

    @property
    def _has_time(self) -> bool:
        """Whether our car has its time of qualifying: without one it would race no more."""
        if self._evening is None:
            return False
        ours = self._evening.find(identity(self._cars[0]))
        return ours is not None and ours.qualifying_s < records.NO_LAP_S

    def _inject(self, fault: Fault, **rules: float | int | None) -> None:
        self._injected.append(self._injector.inject(fault, **rules))
        self._next_fault = time.perf_counter() + self._random.uniform(*_PAUSE_S)

    def _is_settled(self, now: float) -> bool:
        """Whether the car has had its time to come back from the last fault, or is back."""
        last = self._injected[-1]
        if now - last.until > _SETTLED_S:
            return True
        recent = self._sightings.commands[-1:]
        frames = self._sightings.frames[-1:]
        moving = recent and recent[0].throttle > 0.0 and recent[0].at > last.until
        return bool(moving and frames and frames[0].at > last.until and frames[0].speed > 1.0)


def identity(config: RaceConfig) -> str:
    """Returns what a host knows a car by, see `records.identify`."""
    info = commands.RacerInfo(
        config.racer_name, config.car_name, config.bio, config.country, config.guid
    )
    return records.identify(info)


def _told(evening: Evening) -> str:
    """Returns where an evening stands, for people."""
    stage = evening.stage
    if stage in (Stage.STAGE_1_PRE_RACE, Stage.STAGE_2_PRE_RACE):
        return draws.title(evening, evening.heats[evening.heat])
    if stage in (Stage.STAGE_1_POST_RACE, Stage.STAGE_2_POST_RACE):
        heat = evening.heats[evening.heat]
        parts = []
        for who, run in heat.last.items():
            best = f"{run.best_s:.2f} s" if run.laps_s else "no lap"
            parts.append(f"{evening.name_of(who)} {best}")
        return "  " + ", ".join(parts)
    return str(stage).replace("_", " ").capitalize()
