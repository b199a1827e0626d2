"""The score of a run on each course, from its stored races; kept in the run until those change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence

import pydantic

from donkey_rl import source_code
from donkey_rl.configuration import Config
from donkey_rl.errors import StorageError
from donkey_rl.experiments import mlflow_store, stored_races
from donkey_rl.experiments.driver_model import MODEL_TAG
from donkey_rl.experiments.stored_races import Course, RaceFile
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics import limits, registry, statistics
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.statistics import Interval

TAG = "donkey_rl.scores"
"""Tag of a run that keeps its scores."""

_MAX_TAG = 5000
"""Characters of a tag that every store of MLflow takes."""

_MOST_TAGS = 20
_END = "\n"
"""Ends the last of several tags; an older one behind it is not looked at."""

_SCORE, _DISQUALIFIED, _LAP, _PACE = "race_score", "disqualified", "best_lap_s", "pace"


class Figure(Config):
    """A figure with its 95 % interval; None where it is not known."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Interval) -> Figure:
        """Returns an interval without NaN."""
        return cls(**{name: _known(x) for name, x in interval._asdict().items()})


class CourseScore(Config):
    """How a run does on one course.

    Attributes:
        course: The course.
        races: Its races there.
        score: Mean of the races' `race_score`.
        disqualified: Share of the races that ended in a disqualification.
        best_lap_s: The best clean lap of all races (s).
        pace: The pace of that lap: the time-optimal lap by it.
    """

    course: Course
    races: int = pydantic.Field(ge=1)
    score: Figure
    disqualified: Figure
    best_lap_s: float | None
    pace: float | None


class RunScores(Config):
    """The scores of a run.

    Attributes:
        key: What they were made from: the records, and the code that scores them.
        courses: One entry a course.
        problems: One line for each record or metric that failed.
    """

    key: str
    courses: tuple[CourseScore, ...]
    problems: tuple[str, ...]


def of(run: StoredRun, *, uri: str | None = None) -> RunScores:
    """Returns the scores of a run, from its tag if that is of the same races and code.

    Reading and scoring takes some hundredths of a second a race, the tag none.

    Args:
        run: The run.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: If the run's files cannot be listed.
    """
    records = stored_races.files(run, uri=uri)
    key = _key(run, records)
    kept = _parsed(run.tags)
    if kept is not None and kept.key == key:
        return kept
    found = _scored(run, records, key, uri)
    text = found.model_dump_json() + _END
    if records and len(text) <= _MOST_TAGS * _MAX_TAG:
        # A store that cannot be written costs time, not the scores.
        with (
            contextlib.suppress(StorageError),
            mlflow_store.guard(f"The scores of run {run.id} could not be kept"),
        ):
            client = mlflow_store.client(uri)
            for number, first in enumerate(range(0, len(text), _MAX_TAG)):
                client.set_tag(run.id, _tag(number), text[first : first + _MAX_TAG])
    return found


def _scored(run: StoredRun, records: Sequence[RaceFile], key: str, uri: str | None) -> RunScores:
    """Reads and scores the races of a run."""
    stored = stored_races.read(run, records, uri=uri)
    problems = list(stored.problems)
    courses = []
    for course, races in sorted(stored.courses.items()):
        entry, failures = _course_score(course, list(races.values()))
        courses.append(entry)
        problems += [f"run {run.id[:8]}: {failure}" for failure in failures]
    return RunScores(key=key, courses=tuple(courses), problems=tuple(problems))


def _course_score(course: Course, races: Sequence[Race]) -> tuple[CourseScore, Iterable[object]]:
    names = (_SCORE, _DISQUALIFIED, _LAP, _PACE)
    table = registry.score_races(races, map(registry.load, names))
    # Of a race without a row nothing is known, not even this.
    out = _finite(table[_DISQUALIFIED])
    entry = CourseScore(
        course=course,
        races=len(races),
        score=Figure.of(statistics.summarise(table[_SCORE].tolist()).mean),
        disqualified=Figure.of(statistics.proportion(sum(out), len(out))),
        best_lap_s=_known(min(_finite(table[_LAP]), default=math.nan)),
        pace=_known(max(_finite(table[_PACE]), default=math.nan)),
    )
    return entry, table.failures


def _finite(values: Iterable[float]) -> list[float]:
    return [float(value) for value in values if math.isfinite(value)]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tag(number: int) -> str:
    return f"{TAG}.{number}" if number else TAG


def _parsed(tags: Mapping[str, str]) -> RunScores | None:
    """Returns what a run's tags keep, None for what is not ours."""
    text = ""
    for number in range(_MOST_TAGS):
        part = tags.get(_tag(number), "")
        text += part[:_MAX_TAG]
        if not part or part.endswith(_END):
            break
    with contextlib.suppress(pydantic.ValidationError):
        return RunScores.model_validate_json(text)
    return None


def _key(run: StoredRun, records: Sequence[RaceFile]) -> str:
    """Returns a digest of the records, of whose they are to be, and of the code that scores."""
    listed = json.dumps([(each.path, each.size) for each in records])
    driver = run.tags.get(MODEL_TAG, "")
    return hashlib.sha256(f"{_code()} {_own()} {driver} {listed}".encode()).hexdigest()


def _own() -> str:
    """Returns a digest of the user's own limits, by which a pace may be known."""
    try:
        return hashlib.sha256(limits.own_file().read_bytes()).hexdigest()
    except OSError:
        return ""


def _code() -> str:
    """Returns a digest of the package of metrics, its data, and how their scores are gathered."""
    gathered = (f"experiments/{each}.py" for each in ("stored_races", "course_scores"))
    return source_code.digest("metrics/*.py", "metrics/*.json", *gathered)
