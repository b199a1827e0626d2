"""All runs of the store by score, on each course by itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator import track
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import course_scores, stored_runs
from donkey_rl.experiments.course_scores import CourseScore
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.stored_races import Course
from donkey_rl.experiments.stored_runs import StoredRun


class LeaderboardRequest(Config):
    """What `donkey-rl leaderboard` is asked.

    Attributes:
        track: The only track, or all.
    """

    track: str | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A run on the board of one course.

    Attributes:
        rank: Its place; runs that cannot be told from the first of them share one.
        tied: Whether it shares its place.
        run_id: Its id.
        name: Its name.
        result: How it does on the course.
    """

    rank: int
    tied: bool
    run_id: str
    name: str
    result: CourseScore


@dataclasses.dataclass(frozen=True)
class Board:
    """The runs on one course.

    Attributes:
        course: What all its races have in common.
        rows: The best run first.
    """

    course: Course
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """What `donkey-rl leaderboard` reports.

    Attributes:
        boards: One for each course; races of different courses are never mixed.
        runs: Runs of the store.
        without_races: Runs that have no race, on the asked track if there is one.
        problems: Records, runs and metrics that failed.
    """

    boards: tuple[Board, ...]
    runs: int
    without_races: int
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns the board as `--json` prints it."""
        boards = [
            {
                **dataclasses.asdict(board.course),
                "rows": [
                    {"rank": row.rank, "tied": row.tied, "run_id": row.run_id, "name": row.name}
                    | row.result.model_dump(mode="json", exclude={"course"})
                    for row in board.rows
                ],
            }
            for board in self.boards
        ]
        return {
            "boards": boards,
            "runs": self.runs,
            "without_races": self.without_races,
            "problems": list(self.problems),
        }


def leaderboard(
    request: LeaderboardRequest, progress: ProgressDisplay, *, uri: str | None = None
) -> Leaderboard:
    """Ranks all runs by the mean `race_score` of their stored races, course by course.

    Races under changed conditions, such as an added latency, take no part.

    Args:
        request: Which track.
        progress: Shows how far it is.
        uri: The store, as in `tracking.start`.

    Raises:
        InputError: An unknown track, or no run with a race there.
        StorageError: The store cannot be read.
    """
    place = track.load(request.track).name if request.track is not None else None
    entries: dict[Course, list[tuple[StoredRun, CourseScore]]] = {}
    problems: list[str] = []
    count = without = 0
    with progress.phase("scoring runs", None, "runs") as phase:
        for count, run in enumerate(stored_runs.every(uri=uri), 1):
            phase.update(count)
            try:
                scores = course_scores.of(run, uri=uri)
            except StorageError as error:
                problems.append(f"run {run.id[:8]} was left out: {error}")
                continue
            problems += scores.problems
            driven = [
                each
                for each in scores.courses
                if not each.course.conditions and place in (None, each.course.track)
            ]
            without += not driven
            for each in driven:
                entries.setdefault(each.course, []).append((run, each))
    if not entries:
        raise InputError(_nothing(request, count, problems))
    boards = (Board(course, ranked(found)) for course, found in entries.items())
    order = sorted(boards, key=lambda board: (board.course.track, -len(board.rows), board.course))
    return Leaderboard(tuple(order), count, without, tuple(problems))


def ranked(entries: Sequence[tuple[StoredRun, CourseScore]]) -> tuple[Row, ...]:
    """Returns the rows of one course, the best first.

    A run shares the place of the run above if the 95 % interval of its score meets that of the
    first run of this place: then the races do not tell the two apart. Where an interval is not
    known, of a single race, they are not told apart either. Runs without a score come last.
    """
    ordered = sorted(entries, key=lambda each: _value(each[1]), reverse=True)
    groups: list[list[tuple[StoredRun, CourseScore]]] = []
    for entry in ordered:
        if groups and not _is_behind(entry[1], groups[-1][0][1]):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    rows: list[Row] = []
    for group in groups:
        rank = len(rows) + 1
        rows += [Row(rank, len(group) > 1, run.id, run.name, found) for run, found in group]
    return tuple(rows)


def _value(result: CourseScore) -> float:
    return -math.inf if result.score.value is None else result.score.value


def _is_behind(result: CourseScore, head: CourseScore) -> bool:
    """Whether a score is behind the head's for sure; one of no score is behind every score."""
    if result.score.value is None:
        return head.score.value is not None
    if result.score.high is None or head.score.low is None:
        return False
    return result.score.high < head.score.low


def _nothing(request: LeaderboardRequest, runs: int, problems: Sequence[str]) -> str:
    where = f" on {request.track}" if request.track else ""
    if not runs and not problems:
        return "There are no runs yet. Train one with `donkey-rl train --agent sac`."
    found = f"None of {runs} runs has a race{where}."
    more = (
        f" {len(problems)} records or runs could not be read: {problems[0]}." if problems else ""
    )
    remedy = f"`donkey-rl evaluate RUN{f' --track {request.track}' if request.track else ''}`"
    return f"{found}{more} Race one with {remedy}."
