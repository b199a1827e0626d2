"""The committee of some drivers that races best together, and whether it beats the best of them.

Members are added one by one, each time the one with which the committee's races score highest; a
driver may be added again, which gives it more weight (Caruana et al. 2004, "Ensemble selection
from libraries of models", ICML). What a choice gains on the races that it was made by is partly
luck, so the committee is then held against the best single driver on races with other starts.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl.agents import evaluators
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.members import check_alike
from donkey_rl.configuration import Config
from donkey_rl.envs import batch as batches
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import DriverError, InputError
from donkey_rl.experiments import ensembles, race_latency, racing, verdicts
from donkey_rl.experiments.drivers import LearnedEntrant
from donkey_rl.experiments.ensembles import EnsembleResult
from donkey_rl.experiments.progress import Phase, ProgressDisplay
from donkey_rl.metrics import registry, statistics
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.statistics import Difference

_SCORE, _DISQUALIFIED = "race_score", "disqualified"

_CHOICE_SEED, _JUDGEMENT_SEED = 300_001, 400_001
"""Seeds of the first races to choose by and to judge by: no training, check or evaluation has
them."""

FloatArray = npt.NDArray[np.float64]


class CommitteePlan(Config):
    """How a committee is chosen and judged.

    Attributes:
        tracks: Where it races; by default where the first driver was trained.
        laps: Laps of a race.
        races: Races on each track by which members are chosen.
        judged_races: Races on each track, from other starts, by which the committee is judged.
        candidates: The best single drivers so many are tried as members.
        members: Members at most, one that is taken again counted again.
        highest_disqualified: Share of disqualified races up to which a driver is fit to race.
        seed: Added to the seed of each race.
    """

    tracks: tuple[str, ...] = ()
    laps: int = Field(default=3, ge=1, le=100)
    races: int = Field(default=10, ge=1, le=1000)
    judged_races: int = Field(default=30, ge=2, le=1000)
    candidates: int = Field(default=6, ge=1, le=64)
    members: int = Field(default=5, ge=1, le=evaluators.MOST_MEMBERS)
    highest_disqualified: float = Field(default=0.05, ge=0.0, le=1.0)
    seed: int = Field(default=0, ge=0, lt=2**20)


class Outcome(NamedTuple):
    """What the races of a driver came to.

    Attributes:
        scores: `race_score` of each race, track by track.
        disqualified: Share of races that ended in a disqualification.
    """

    scores: FloatArray
    disqualified: float

    @property
    def score(self) -> float:
        """The mean score."""
        return float(self.scores.mean())

    def rank(self, limit: float) -> tuple[float, float]:
        """Returns what is higher for the better of two: fit to race first, then the score."""
        return (-max(self.disqualified - limit, 0.0), self.score)


@dataclasses.dataclass(frozen=True)
class Committee:
    """What was chosen, beside the best single driver.

    Attributes:
        members: The drivers, each once.
        weights: Share of each in the action.
        best: The best single driver of the races to choose by.
        chosen: The committee's races to choose by.
        best_chosen: Those of the best single driver.
        judged: The committee's races from other starts; None where it is the single driver.
        best_judged: Those of the best single driver.
        difference: The committee's against the single driver's, race by race.
        sentence: What can be said of that.
        is_better: Whether the test calls the committee better, and it is fit to race.
        left_out: Drivers that could be no members, with the reason.
    """

    members: tuple[LearnedEntrant, ...]
    weights: tuple[float, ...]
    best: LearnedEntrant
    chosen: Outcome
    best_chosen: Outcome
    judged: Outcome | None
    best_judged: Outcome | None
    difference: Difference | None
    sentence: str
    is_better: bool
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns it as `--json` prints it."""
        gain = self.difference.mean if self.difference is not None else None
        return {
            "members": [label(each) for each in self.members],
            "weights": list(self.weights),
            "best": label(self.best),
            "is_better": self.is_better,
            "sentence": self.sentence,
            "gain": None if gain is None else gain._asdict(),
            "races": {
                name: None
                if outcome is None
                else {
                    "count": len(outcome.scores),
                    "race_score": outcome.score,
                    "disqualified": outcome.disqualified,
                }
                for name, outcome in (
                    ("chosen", self.chosen),
                    ("best_chosen", self.best_chosen),
                    ("judged", self.judged),
                    ("best_judged", self.best_judged),
                )
            },
            "left_out": list(self.left_out),
        }


def choose(references: Sequence[str], plan: CommitteePlan, progress: ProgressDisplay) -> Committee:
    """Chooses the committee of some drivers, and judges it on races from other starts.

    Args:
        references: Single drivers, as `drivers.load` takes them.
        plan: How.
        progress: Shows how far it is.

    Raises:
        InputError: There is no driver, or one is unknown or no single driver.
        DriverError: A driver's folder is damaged.
        StorageError: The store cannot be read.
    """
    entrants = ensembles.load(references)
    if not entrants:
        raise InputError("A committee is chosen among drivers. Received: none. Name some runs.")
    tracks = plan.tracks or entrants[0].tracks
    most = len(entrants) + (plan.members - 1) * min(plan.candidates, len(entrants))
    with (
        _Races(tracks, plan.laps, plan.races, _CHOICE_SEED + plan.seed) as races,
        progress.phase("choosing a committee", most, "drivers tried") as phase,
    ):
        choice = _choose(entrants, plan, races, phase)
    if len(_counted(choice.members)) == 1:
        return _alone(choice)
    with (
        _Races(tracks, plan.laps, plan.judged_races, _JUDGEMENT_SEED + plan.seed) as races,
        progress.phase("judging the committee", 2, "drivers") as phase,
    ):
        best = races.drive(choice.best.driver, choice.best.environment)
        phase.update(1)
        judged = races.drive(_blended(choice.members), choice.best.environment)
        phase.update(2)
    return _judged(choice, best, judged, plan)


def keep(found: Committee, name: str | None = None, parent: str | None = None) -> EnsembleResult:
    """Stores a committee as a run; where the best single driver is returned, its own run is it.

    Args:
        found: What `choose` returned.
        name: Of the run.
        parent: Id of the run that it belongs to.

    Raises:
        StorageError: The run cannot be stored.
    """
    if len(found.members) > 1:
        single = [ensembles.single_driver(each) for each in found.members]
        return ensembles.keep(found.members, Ensemble(single, found.weights), name, parent)
    return EnsembleResult(
        run_id=found.best.run_id,
        name=found.best.name,
        members=(label(found.best),),
        weights=found.weights,
        driver_hash=found.best.hash,
    )


def label(entrant: LearnedEntrant) -> str:
    """Returns what a driver is called: its run, or its folder."""
    return entrant.run_id or entrant.name


class _Races:
    """The same races for each driver that comes; cars are built once for each kind of car."""

    def __init__(self, tracks: Sequence[str], laps: int, count: int, seed: int) -> None:
        self._tracks, self._laps, self._count, self._seed = tracks, laps, count, seed
        self._fields: dict[str, racing.Field] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for field in self._fields.values():
            field.close()

    def drive(self, driver: Driver | Ensemble, environment: EnvironmentConfig) -> Outcome:
        """Races a driver on each track."""
        races: list[Race] = []
        for name in self._tracks:
            late = race_latency.padded(environment.latency, driver.description.latency_ms)
            config = environment.model_copy(update={"track": name, "latency": late})
            key = config.model_dump_json()
            if key not in self._fields:
                self._fields[key] = racing.Field(config, self._count, seed=self._seed)
            driver.check_observation_space(batches.observation_space(config))
            races += self._fields[key].race(driver.act, self._laps)
        found = registry.score_races(races, map(registry.load, (_SCORE, _DISQUALIFIED))).values
        return Outcome(np.asarray(found[_SCORE]), float(np.mean(found[_DISQUALIFIED])))


class _Choice(NamedTuple):
    """What was chosen, before it is judged.

    Attributes:
        best: The best single driver.
        best_chosen: Its races to choose by.
        members: The committee's members, one that counts twice twice.
        chosen: The committee's races to choose by.
        left_out: Drivers that could be no members, with the reason.
    """

    best: LearnedEntrant
    best_chosen: Outcome
    members: tuple[LearnedEntrant, ...]
    chosen: Outcome
    left_out: tuple[str, ...]


def _choose(
    entrants: Sequence[LearnedEntrant], plan: CommitteePlan, races: _Races, phase: Phase
) -> _Choice:
    """Races the drivers alone, then adds members to the best while that helps."""
    limit = plan.highest_disqualified
    alone: dict[str, Outcome] = {}
    for entrant in entrants:
        alone[entrant.hash] = races.drive(entrant.driver, entrant.environment)
        phase.update(phase.done + 1)
    ranked = sorted(entrants, key=lambda each: alone[each.hash].rank(limit), reverse=True)
    best = ranked[0]
    left_out = [reason for each in ranked[1:] if (reason := _unlike(best, each))]
    pool = [each for each in ranked if not _unlike(best, each)][: plan.candidates]
    members, reached = [best], alone[best.hash]
    tried = {_shares([best])}
    while len(members) < plan.members:
        found: list[tuple[Outcome, LearnedEntrant]] = []
        for candidate in pool:
            shares = _shares([*members, candidate])
            if shares in tried:
                continue
            tried.add(shares)
            blended = _blended([*members, candidate])
            found.append((races.drive(blended, best.environment), candidate))
            phase.update(phase.done + 1, score=reached.score)
        outcome, added = max(found, key=lambda each: each[0].rank(limit), default=(reached, best))
        if outcome.rank(limit) <= reached.rank(limit):
            break
        members, reached = [*members, added], outcome
    return _Choice(best, alone[best.hash], tuple(members), reached, tuple(left_out))


def _unlike(best: LearnedEntrant, other: LearnedEntrant) -> str:
    """Returns why a driver cannot be a member beside the best, empty where it can."""
    try:
        check_alike(ensembles.single_driver(best), ensembles.single_driver(other))
    except DriverError as error:
        return f"{label(other)}: {error}"
    return ""


def _counted(members: Sequence[LearnedEntrant]) -> dict[str, tuple[LearnedEntrant, int]]:
    """Returns the different members, by hash, and how often each counts."""
    counts = Counter(each.hash for each in members)
    return {each.hash: (each, counts[each.hash]) for each in members}


def _shares(members: Sequence[LearnedEntrant]) -> frozenset[tuple[str, Fraction]]:
    """Returns what a committee is, however often all of it was taken."""
    counted = _counted(members)
    return frozenset((name, Fraction(n, len(members))) for name, (_, n) in counted.items())


def _blended(members: Sequence[LearnedEntrant]) -> Ensemble:
    different = _counted(members).values()
    single = [ensembles.single_driver(each) for each, _ in different]
    return Ensemble(single, [float(count) for _, count in different])


def _alone(choice: _Choice) -> Committee:
    """Returns the best single driver, with which no other did better."""
    count = len(choice.chosen.scores)
    sentence = f"No committee scored higher than {choice.best.name} alone in {count} races."
    return Committee(
        members=(choice.best,),
        weights=(1.0,),
        best=choice.best,
        chosen=choice.chosen,
        best_chosen=choice.best_chosen,
        judged=None,
        best_judged=None,
        difference=None,
        sentence=sentence,
        is_better=False,
        left_out=choice.left_out,
    )


def _judged(choice: _Choice, best: Outcome, judged: Outcome, plan: CommitteePlan) -> Committee:
    """Returns the committee with what its races from other starts say."""
    metric = registry.load(_SCORE)
    difference = statistics.paired(
        best.scores.tolist(), judged.scores.tolist(), direction=metric.direction
    )
    sentence = verdicts.sentence(difference, metric, choice.best.name, "The committee")
    counted = _counted(choice.members)
    fit = judged.disqualified <= plan.highest_disqualified
    if not fit:
        sentence += (
            f" It is not fit to race: {100 * judged.disqualified:.0f} % of its races were "
            f"disqualified, {100 * plan.highest_disqualified:g} % may be."
        )
    return Committee(
        members=tuple(each for each, _ in counted.values()),
        weights=tuple(count / len(choice.members) for _, count in counted.values()),
        best=choice.best,
        chosen=choice.chosen,
        best_chosen=choice.best_chosen,
        judged=judged,
        best_judged=best,
        difference=difference,
        sentence=sentence,
        is_better=fit and difference.verdict == "better",
        left_out=choice.left_out,
    )
