"""The runs of a report, with all that the store holds of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.manifest import ENSEMBLE
from donkey_rl.envs.simulator import track_names
from donkey_rl.errors import InputError
from donkey_rl.experiments import (
    check_history,
    compute_bill,
    learning_curves,
    splits,
    stored_races,
    stored_runs,
)
from donkey_rl.experiments.check_history import CheckHistory
from donkey_rl.experiments.compute_bill import Bill, Rates
from donkey_rl.experiments.evaluation_result import EvaluationResult
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.reporting import evaluations
from donkey_rl.experiments.stored_races import Course, StoredRaces
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import registry, statistics
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.statistics import Summary

FloatArray = npt.NDArray[np.float64]

MOST_RUNS = 40
"""Runs in one report: more make a page that nobody reads."""


@dataclasses.dataclass(frozen=True, eq=False)
class ReportedRun:
    """A run of a report.

    Attributes:
        run: What the store says of it.
        label: What it is called here, no two alike.
        history: Its checks while it learned.
        stored: The races of its evaluations.
        evaluations: What those evaluations reported.
        bill: What its training took.
        course: Of which races its scores are here, None if it has no races.
        scores: By metric the score of each of those races.
        summaries: By metric what they come to.
    """

    run: StoredRun
    label: str
    history: CheckHistory
    stored: StoredRaces
    evaluations: tuple[EvaluationResult, ...]
    bill: Bill
    course: Course | None
    scores: Mapping[str, FloatArray]
    summaries: Mapping[str, Summary]

    @property
    def races(self) -> tuple[Race, ...]:
        """Its races on the course, in the order of their seeds."""
        return () if self.course is None else _in_order(self.stored, self.course)

    @property
    def steps(self) -> int:
        """Environment steps up to its last check, which is at the end of the training."""
        return int(self.history.steps[-1]) if len(self.history) else 0

    @property
    def laps(self) -> tuple[lap_times.Lap, ...]:
        """All laps of its races on the course."""
        return tuple(lap for race in self.races for lap in lap_times.laps(race))

    @property
    def laps_wanted(self) -> int:
        """Laps that its races on the course go over."""
        return sum(race.header.laps for race in self.races)


def read(
    references: Sequence[str], rates: Rates, progress: ProgressDisplay, *, uri: str | None = None
) -> tuple[tuple[ReportedRun, ...], tuple[str, ...]]:
    """Reads runs from the store.

    The course of each is the one that most of the runs have raced, so that they can be compared;
    of several the track it was trained on, then the one with the most races.

    Args:
        references: Runs, as `stored_runs.find` takes them.
        rates: What their bills are reckoned at.
        progress: Shows how far it is.
        uri: The store, as in `tracking.start`.

    Returns:
        The runs in the order asked, and a line for each record or metric that failed.

    Raises:
        InputError: An unknown run, a run named twice, none or more than `MOST_RUNS`.
        StorageError: The store cannot be read.
    """
    found = _found(references, uri)
    problems: list[str] = []
    stored: list[StoredRaces] = []
    with progress.phase("reading races", len(found), "runs") as phase:
        for run in found:
            stored.append(stored_races.read(run, uri=uri))
            problems += stored[-1].problems
            phase.update(len(stored))
    courses = _courses(found, stored)
    reported = []
    for run, races, course, label in zip(found, stored, courses, _labels(found), strict=True):
        table = registry.score_races(_in_order(races, course) if course is not None else ())
        problems += [f"{label}: {failure}" for failure in table.failures]
        reported.append(
            ReportedRun(
                run=run,
                label=label,
                history=check_history.read(run, uri=uri),
                stored=races,
                evaluations=evaluations.read(run, races.driver_hash, uri=uri),
                bill=compute_bill.of(run, rates),
                course=course,
                scores=table.values,
                summaries={
                    name: statistics.summarise(values.tolist())
                    for name, values in table.values.items()
                },
            )
        )
    return tuple(reported), tuple(problems)


def _found(references: Sequence[str], uri: str | None) -> list[StoredRun]:
    """Returns the runs that were named, each once."""
    if not 1 <= len(references) <= MOST_RUNS:
        raise InputError(
            f"A report takes 1 to {MOST_RUNS} runs. Received: {len(references)}. "
            "Name some: `donkey-rl report RUN RUN`."
        )
    found = [stored_runs.find(each, uri=uri) for each in references]
    for run_id, count in Counter(run.id for run in found).items():
        if count > 1:
            raise InputError(
                f"A report takes each run once. Received {count} times: {run_id}. A name means "
                "the latest run of it; use ids for others."
            )
    return found


def by_course(runs: Sequence[ReportedRun]) -> dict[Course, list[ReportedRun]]:
    """Returns the runs with races, by their courses, the course of most runs first."""
    groups: dict[Course, list[ReportedRun]] = {}
    for each in runs:
        if each.course is not None:
            groups.setdefault(each.course, []).append(each)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def ranked(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Returns runs of one course, the best by `race_score` first; those without a score last."""

    def rank(each: ReportedRun) -> float:
        value = each.summaries["race_score"].mean.value
        return -np.inf if np.isnan(value) else value

    return sorted(runs, key=rank, reverse=True)


def alike(runs: Sequence[ReportedRun], free: Sequence[str]) -> tuple[tuple[ReportedRun, ...], ...]:
    """Returns groups of runs that have the same settings but for some.

    Args:
        runs: The runs; those without settings stand alone.
        free: Settings that may differ within a group, as in `learning_curves.FREE`.
    """
    groups: dict[object, list[ReportedRun]] = {}
    for each in runs:
        settings = learning_curves.settings_of(each.run, free)
        groups.setdefault(settings or each.run.id, []).append(each)
    return tuple(map(tuple, groups.values()))


def _labels(runs: Sequence[StoredRun]) -> tuple[str, ...]:
    """Returns what to call runs, no two alike: their names, without the track if it is one."""
    place = len({run.params.get("track") for run in runs}) > 1
    names = []
    for run in runs:
        agent, track, seed = (run.params.get(each, "") for each in ("agent", "track", "seed"))
        given = run.name == f"{agent} {track} seed {seed}" and not place
        names.append(f"{agent} seed {seed}" if given else run.name or run.id[:8])
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} {run.id[:8]}"
        for name, run in zip(names, runs, strict=True)
    )


def tracks_of(text: str) -> tuple[str, ...]:
    """Returns the tracks that a setting names, as races name them: those of files by the file.

    >>> tracks_of("warren,/home/ann/club.json:mirror")
    ('warren', 'club:mirror')
    """
    return tuple(track_names.as_raced(name) for name in splits.tracks(text))


def is_trained(each: ReportedRun) -> bool:
    """Whether a run learned; experts, drivers of files and ensembles did not, in their runs."""
    return each.run.params.get("agent") not in (None, "", ENSEMBLE)


def _courses(
    runs: Sequence[StoredRun], stored: Sequence[StoredRaces]
) -> tuple[Course | None, ...]:
    shared = Counter(course for each in stored for course in each.courses)

    def rank(course: Course, run: StoredRun, races: StoredRaces) -> tuple[bool, int, bool, int]:
        trained = course.track in tracks_of(run.tags.get("track", ""))
        return not course.conditions, shared[course], trained, len(races.courses[course])

    return tuple(
        max(races.courses, key=lambda course: rank(course, run, races), default=None)
        for run, races in zip(runs, stored, strict=True)
    )


def _in_order(stored: StoredRaces, course: Course) -> tuple[Race, ...]:
    return tuple(race for _, race in sorted(stored.courses[course].items()))
