"""Ensembles beside their members: score and disqualifications, as usual and as they were not told.

Every driver drives the same races under each condition, so that what is compared is the drivers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from pydantic import Field

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.configuration import Config
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.cues import Cues
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.errors import InputError
from donkey_rl.experiments import ensemble_training, ensembles, evaluation, racing
from donkey_rl.experiments.ensembles import Joining
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import committee
from donkey_rl.metrics import registry, statistics

MEMBERS: Final = (
    "--recipe", "sac_fast", "--set", "steps=72000", "--set", "randomisation.surroundings=true",
)  # fmt: skip
"""What members are trained by where none are named: three times as long as by `sac_fast` itself,
of whose four one gets nowhere, and among other surroundings, since most would else follow what is
beside the road. No way of joining them mends either."""

CONDITIONS: Final[Mapping[str, Randomisation | None]] = {
    "nominal": None,
    "light": evaluation.CHANGES["light"][1],
    "grip": evaluation.CHANGES["grip"][1],
    "cues": Randomisation(cues=Cues(background=0.0, object=0.0, sky=0.0)),
}
"""What each race's seed draws; cues that say nothing. The ground has none: a driver that never saw
blue ground gets nowhere on it, alone or not (`docs/cues.md`)."""

JOININGS: Final[Mapping[str, Joining]] = {
    "mean": Joining(),
    "median": Joining(evaluator="median"),
    "critic": Joining(evaluator="critic"),
    "mean, slowed": Joining(slowing=4.0),
    "median, slowed": Joining(evaluator="median", slowing=4.0),
    "critic, slowed": Joining(evaluator="critic", slowing=4.0),
}
"""Ways to join the members."""

_SEED: Final = 500_001
"""Of the first race: no training, check, evaluation or choice of a committee has it."""


class EnsemblePlan(Config):
    """How ensembles are measured.

    Attributes:
        races: Races of each driver under each condition.
        laps: Laps of a race.
        members: How many are trained where none are named.
        seed: Of the first of these.
        conditions: Of `CONDITIONS`.
        joinings: Of `JOININGS`.
    """

    races: int = Field(default=30, ge=2, le=1000)
    laps: int = Field(default=3, ge=1, le=100)
    members: int = Field(default=4, ge=2, le=32)
    seed: int = Field(default=1, ge=0, lt=2**20)
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    joinings: tuple[str, ...] = tuple(JOININGS)


class EnsembleRow(Config):
    """One driver's races under one condition.

    Attributes:
        driver: A member's run, or the way they are joined.
        is_member: Whether it is one.
        condition: Of `CONDITIONS`.
        races: How many.
        disqualified: Those that ended so.
        scores: `race_score` of each.
        score: Their mean, with its 95 % interval.
    """

    driver: str
    is_member: bool
    condition: str
    races: int
    disqualified: int
    scores: tuple[float, ...]
    score: dict[str, float]


def measure(
    references: Sequence[str], plan: EnsemblePlan, progress: ProgressDisplay
) -> Iterator[EnsembleRow]:
    """Races members and ensembles of them, condition by condition.

    Args:
        references: Members, as `drivers.load` takes them; some are trained where there are none.
        plan: How.
        progress: Shows how far it is.

    Yields:
        A row for each driver and condition, as soon as it has been driven.

    Raises:
        InputError: A member is unknown or no single driver.
        DriverError: The members do not fit together, or have no critics.
        StorageError: The store cannot be read.
    """
    runs = references or ensemble_training.train(plan.members, MEMBERS, plan.seed, progress)
    entrants = ensembles.load(runs)
    if len(entrants) < 2:
        raise InputError(
            f"An ensemble is measured beside its members, of which there are two at least. "
            f"Received: {len(entrants)}."
        )
    members = [ensembles.single_driver(each) for each in entrants]
    parties: dict[str, Driver | Ensemble] = {
        committee.label(each): driver for each, driver in zip(entrants, members, strict=True)
    }
    seen = functools.cache(lambda: ensembles.driven(members, progress))
    for name in plan.joinings:
        parties[name] = ensembles.joined(members, JOININGS[name], seen)
    for condition in plan.conditions:
        yield from _driven(parties, condition, entrants[0].environment, plan, progress)


def _driven(
    parties: Mapping[str, Driver | Ensemble],
    condition: str,
    environment: EnvironmentConfig,
    plan: EnsemblePlan,
    progress: ProgressDisplay,
) -> Iterator[EnsembleRow]:
    """Lets all drivers race under one condition."""
    metrics = [registry.load(name) for name in ("race_score", "disqualified")]
    field = racing.Field(environment, plan.races, seed=_SEED, disturbance=CONDITIONS[condition])
    with (
        contextlib.closing(field),
        progress.phase(f"racing, {condition}", len(parties), "drivers") as phase,
    ):
        for number, (name, driver) in enumerate(parties.items()):
            races = field.race(driver.act, plan.laps)
            found = registry.score_races(races, metrics).values
            scores = np.asarray(found["race_score"], np.float64)
            yield EnsembleRow(
                driver=name,
                is_member=not isinstance(driver, Ensemble),
                condition=condition,
                races=len(races),
                disqualified=int(np.sum(found["disqualified"])),
                scores=tuple(scores.round(4).tolist()),
                score=statistics.summarise(scores.tolist()).mean._asdict(),
            )
            phase.update(number + 1)


def summary(rows: Sequence[EnsembleRow]) -> list[dict[str, Any]]:
    """Returns for each driver its usual score, and what the other conditions made of it.

    Args:
        rows: What `measure` yielded.
    """
    found = []
    for name in dict.fromkeys(row.driver for row in rows):
        own = [row for row in rows if row.driver == name]
        usual = [row for row in own if row.condition == "nominal"]
        changed = [row for row in own if row.condition != "nominal"]
        found.append(
            {
                "driver": name,
                "is_member": own[0].is_member,
                "nominal": usual[0].score if usual else None,
                "changed_score": float(np.mean([s for row in changed for s in row.scores])),
                "changed_disqualified": sum(row.disqualified for row in changed),
                "changed_races": sum(row.races for row in changed),
            }
        )
    return found
