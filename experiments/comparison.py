"""Comparing runs over the same races: which driver is better, and whether that is real."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

import donkey_rl
from donkey_rl.configuration import Config
from donkey_rl.envs import simulators
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.track import Track
from donkey_rl.errors import InputError
from donkey_rl.experiments import model_registry, splits, stored_races, stored_runs, verdicts
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.stored_races import Course, StoredRaces
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics import registry, statistics
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import Metric
from donkey_rl.metrics.statistics import Difference, Interval, Summary

RACES = 30
"""Races that a comparison is made from, unless it is told otherwise."""

LAPS = 3
METRICS = ("race_score", "mean_lap_s")
"""What is compared, unless it is told otherwise: how races end, and how fast they are driven."""

_FEWEST_RUNS = 2
_MOST_LISTED = 3


class ComparisonRequest(Config):
    """What `donkey-rl compare` is asked.

    Attributes:
        runs: The runs; the first is the one that the others are compared with.
        track: Track of the races; that of the stored races or of the trainings by default.
        metrics: Names of metrics, or `path.py:name`.
        races: Races of each run; `RACES` or, where more are stored, all of them by default.
        laps: Laps of a race; of stored races whatever they have by default.
    """

    runs: tuple[str, ...]
    track: str | None = None
    metrics: tuple[str, ...] = METRICS
    races: int | None = Field(default=None, ge=1, le=1000)
    laps: int | None = Field(default=None, ge=1, le=100)


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison.

    Attributes:
        run_id: Its id.
        label: What it is called here: its name, with its id where others have the same.
        scores: By metric the score of each race, in the order of the seeds.
        summaries: By metric what they come to.
    """

    run_id: str
    label: str
    scores: Mapping[str, tuple[float, ...]]
    summaries: Mapping[str, Summary]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A run against the first one, by one metric.

    Attributes:
        metric: The metric's name.
        unit: Its unit.
        direction: Which way is better.
        first: Label of the run compared with.
        second: Label of the other.
        difference: The second against the first.
        verdict: Whether the second is better, worse, the same, or it is unclear.
        sentence: That in words.
    """

    metric: str
    unit: str
    direction: str
    first: str
    second: str
    difference: Difference
    verdict: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `donkey-rl compare` reports.

    Attributes:
        course: What all races have in common.
        seeds: Their seeds.
        driven: Labels of the runs that were raced for this; the others' races were stored.
        runs: The runs in the order asked.
        pairs: Each further run against the first, metric by metric.
        problems: Records that were left out, metrics that failed.
    """

    course: Course
    seeds: tuple[int, ...]
    driven: tuple[str, ...]
    runs: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns the comparison as `--json` prints it."""
        return {**_plain(self), "races": len(self.seeds)}


def compare(request: ComparisonRequest, progress: ProgressDisplay) -> Comparison:
    """Compares the drivers of runs over the same races.

    Stored races are used where all runs have enough of one course with the same seeds; otherwise
    the drivers that lack them are raced in the embedded simulator, and the races are kept.

    Args:
        request: What to compare.
        progress: Shows how far it is.

    Raises:
        InputError: Fewer than two runs, an unknown run, track or metric, or runs that cannot be
            raced on one course.
        StorageError: The store cannot be read, or races not be kept.
    """
    metrics = _metrics(request.metrics)
    runs = _runs(request.runs)
    labels = list(stored_runs.labels(runs).values())
    place = track.load(request.track) if request.track is not None else None
    fits = functools.partial(_fits, place=place, laps=request.laps)
    stored = [*map(_stored, request.runs, runs)]
    found = _common(stored, fits, request.races or RACES)
    driven: list[int] = []
    if found is None:
        driven = _drive(request, runs, stored, progress)
        for k in driven:
            stored[k] = _stored(request.runs[k], runs[k])
        found = _common(stored, fits, request.races or RACES)
    if found is None:
        raise InputError(_nothing_in_common(labels, stored, fits))
    course, seeds = found
    seeds = seeds[: request.races]
    races = [[each.courses[course][seed] for seed in seeds] for each in stored]
    compared, problems = scored(runs, labels, races, metrics)
    return Comparison(
        course=course,
        seeds=seeds,
        driven=tuple(labels[k] for k in driven),
        runs=compared,
        pairs=pairs(compared, metrics),
        problems=(*itertools.chain.from_iterable(each.problems for each in stored), *problems),
    )


def pairs(runs: Sequence[ComparedRun], metrics: Sequence[Metric]) -> tuple[Pair, ...]:
    """Returns each further run against the first, by each metric; all verdicts hold together.

    Args:
        runs: The runs, with the scores of the same races in the same order.
        metrics: By what they are compared.
    """
    base, *others = runs
    tasks = [(metric, other) for other in others for metric in metrics]
    found = statistics.adjust(
        [
            statistics.paired(
                base.scores[metric.name], other.scores[metric.name], direction=metric.direction
            )
            for metric, other in tasks
        ]
    )
    return tuple(
        Pair(
            metric=metric.name,
            unit=metric.unit,
            direction=metric.direction,
            first=base.label,
            second=other.label,
            difference=difference,
            verdict=difference.verdict,
            sentence=verdicts.sentence(
                difference, metric, base.label, other.label, comparisons=len(tasks)
            ),
        )
        for (metric, other), difference in zip(tasks, found, strict=True)
    )


def _plain(value: Any) -> Any:
    """Returns a result as mappings, lists and numbers; an interval is one of its three figures."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Interval):
        return value._asdict()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _metrics(references: Sequence[str]) -> list[Metric]:
    """Returns metrics by their names, or from the user's files."""
    return [
        registry.from_file(each) if ".py:" in each else registry.load(each)
        for each in dict.fromkeys(references)
    ]


def _runs(references: Sequence[str]) -> list[StoredRun]:
    if len(references) < _FEWEST_RUNS:
        raise InputError(
            f"A comparison takes two runs or more. Received: {', '.join(references) or 'none'}. "
            "Name another; `donkey-rl leaderboard` lists them."
        )
    runs = [stored_runs.find(each) for each in references]
    for each in runs:
        stored_runs.check_holds_driver(each)
    for run, count in Counter(run.id for run in runs).items():
        if count > 1:
            raise InputError(
                f"A comparison takes different runs. Received {count} times: {run}. A name means "
                "the latest run of it; use ids for others."
            )
    return runs


def _stored(reference: str, run: StoredRun) -> StoredRaces:
    """Returns the races of a run's driver, or of a registered one, which may be an earlier one."""
    is_model = reference.startswith(model_registry.SCHEME)
    return stored_races.read(run, driver=stored_races.stored_driver(run) if is_model else "")


def _fits(course: Course, race: Race, *, place: Track | None, laps: int | None) -> bool:
    """Whether races of this course were asked for; an open road is one lap."""
    wanted = laps if race.header.closed or laps is None else 1
    return (
        not course.conditions
        and (place is None or course.track == place.name)
        # A file may have been changed since, under its name.
        and (place is None or course.track_digest in ("", place.digest))
        and (wanted is None or course.laps == wanted)
    )


def _common(
    stored: Sequence[StoredRaces], fits: Callable[[Course, Race], bool], fewest: int
) -> tuple[Course, tuple[int, ...]] | None:
    """Returns the course that most seeds of all runs are stored of, if there are enough."""
    found: list[tuple[Course, tuple[int, ...]]] = []
    for course in sorted(set.intersection(*(set(each.courses) for each in stored))):
        races = [each.courses[course] for each in stored]
        seeds = sorted(set.intersection(*(set(each) for each in races)))
        if len(seeds) >= fewest and fits(course, races[0][seeds[0]]):
            found.append((course, tuple(seeds)))
    return max(found, key=lambda each: len(each[1]), default=None)


def _drive(
    request: ComparisonRequest,
    runs: Sequence[StoredRun],
    stored: Sequence[StoredRaces],
    progress: ProgressDisplay,
) -> list[int]:
    """Races the drivers that lack the wanted races; returns which those were."""
    # TensorFlow is behind these, and stored races need none.
    from donkey_rl.experiments import evaluation, evaluation_races

    _check_cars(runs)
    place = request.track or _trained_track(runs)
    road = track.load(place)
    races, laps = request.races or RACES, request.laps or LAPS
    wanted = set(range(evaluation_races.FIRST_SEED, evaluation_races.FIRST_SEED + races))
    course = Course(
        track=road.name,
        vehicle="",
        simulator=simulators.EMBEDDED,
        version=donkey_rl.__version__,
        laps=laps if road.closed else 1,
        track_digest=road.digest,
    )
    lacking = []
    for k, each in enumerate(stored):
        seeds = {
            seed
            for found, there in each.courses.items()
            if dataclasses.replace(found, vehicle="") == course
            for seed in there
        }
        if not wanted <= seeds:
            lacking.append(k)
    for k in lacking:
        # A run without a driver is to be found before others are raced for nothing.
        stored_runs.download_driver(runs[k])
    for k in lacking:
        reference = request.runs[k]
        asked = evaluation.EvaluationRequest(
            driver=reference if reference.startswith(model_registry.SCHEME) else runs[k].id,
            track=place,
            races=races,
            laps=laps,
            yardsticks=False,
        )
        evaluation.evaluate(asked, progress)
    return lacking


def _check_cars(runs: Sequence[StoredRun]) -> None:
    cars = {run.id[:8]: run.tags["vehicle"] for run in runs if run.tags.get("vehicle")}
    if len(set(cars.values())) > 1:
        listed = ", ".join(f"{run}: {car}" for run, car in cars.items())
        raise InputError(
            "Runs are compared with the same car only; different generations are different "
            f"races. Received: {listed}. Choose runs of one car."
        )


def _trained_track(runs: Sequence[StoredRun]) -> str:
    """Returns the track that all runs were trained on first."""
    places = {
        run.id[:8]: splits.tracks(run.tags["track"])[0] for run in runs if "track" in run.tags
    }
    if len(set(places.values())) != 1:
        listed = ", ".join(f"{run}: {place}" for run, place in places.items()) or "none known"
        raise InputError(
            "The runs have too few races in common, and not one track that all were trained on. "
            f"Received: {listed}. Say with --track where to race them."
        )
    return next(iter(places.values()))


def _nothing_in_common(
    labels: Sequence[str], stored: Sequence[StoredRaces], fits: Callable[[Course, Race], bool]
) -> str:
    lines = []
    for each in stored:
        counts = {
            course: len(races)
            for course, races in each.courses.items()
            if fits(course, next(iter(races.values())))
        }
        most = sorted(counts, key=lambda course: counts[course], reverse=True)[:_MOST_LISTED]
        lines.append("; ".join(f"{course} ({counts[course]} races)" for course in most) or "none")
    received = ". ".join(f"{label}: {line}" for label, line in zip(labels, lines, strict=True))
    return (
        "Runs are compared over races of one track, car, simulator and version. Received: "
        f"{received}. Choose runs of one car, or race them with "
        "`donkey-rl evaluate RUN --track T --races N`."
    )


def scored(
    runs: Sequence[StoredRun],
    labels: Sequence[str],
    races: Sequence[Sequence[Race]],
    metrics: Sequence[Metric],
) -> tuple[tuple[ComparedRun, ...], list[str]]:
    """Returns the runs with their scores, and what failed."""
    compared, problems = [], []
    for run, label, driven in zip(runs, labels, races, strict=True):
        table = registry.score_races(driven, metrics)
        problems += [f"{label}: {failure}" for failure in table.failures]
        compared.append(
            ComparedRun(
                run_id=run.id,
                label=label,
                scores={name: tuple(map(float, values)) for name, values in table.values.items()},
                summaries={
                    name: statistics.summarise(np.asarray(values).tolist())
                    for name, values in table.values.items()
                },
            )
        )
    return tuple(compared), problems
