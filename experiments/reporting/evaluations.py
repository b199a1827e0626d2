"""What the evaluations of a run held it against, and what of its score was left under changes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import evaluation_result, page, stored_races, stored_runs
from donkey_rl.experiments.evaluation_result import EvaluationResult, Figures
from donkey_rl.experiments.reporting import words
from donkey_rl.experiments.stored_races import Course
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics.statistics import Interval


def read(
    run: StoredRun, driver_hash: str, *, uri: str | None = None
) -> tuple[EvaluationResult, ...]:
    """Returns the results that the evaluations of a run left; one that cannot be read is passed.

    The races are what counts, and a damaged one of those is named; a result only adds to them.

    Args:
        run: The run.
        driver_hash: The driver whose races count; a resumed run may hold results of another.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: If the run's files cannot be listed.
    """
    folders = {each.path.rpartition("/")[0] for each in stored_races.files(run, uri=uri)}
    found = []
    for folder in sorted(folders):
        # Evaluations of earlier versions have no such file.
        with contextlib.suppress(StorageError, InputError):
            file = stored_runs.download(run, f"{folder}/{evaluation_result.FILE_NAME}", uri=uri)
            found.append(evaluation_result.load(file))
    return tuple(each for each in found if each.driver_hash == driver_hash)


def of_course(results: Sequence[EvaluationResult], course: Course) -> list[EvaluationResult]:
    """Returns the results of a course without changes, those of most races first."""
    fitting = [
        each
        for each in results
        if (each.track, each.vehicle, each.simulator, each.version, each.laps_wanted)
        == (course.track, course.vehicle, course.simulator, course.version, course.laps)
        and not each.conditions
    ]
    return sorted(fitting, key=lambda each: -each.races)


def scale(results: Sequence[EvaluationResult]) -> str:
    """Returns a table of the drivers that an evaluation was held against, empty without any.

    Args:
        results: Results of one course.
    """
    held = next((each for each in results if each.yardsticks), None)
    if held is None:
        return ""
    rows = [
        (
            yardstick.name,
            yardstick.note,
            yardstick.races,
            words.interval(_mean(yardstick.metrics.get("race_score")), digits=1),
            words.interval(_mean(yardstick.metrics.get("mean_lap_s"))),
        )
        for yardstick in held.yardsticks
    ]
    headers = ("driver", "what it is", "races", "race score", "mean lap (s)")
    return page.table(headers, rows, "For scale, on the same track with the same car")


def robustness(label: str, results: Sequence[EvaluationResult]) -> str:
    """Returns a table of what is left of a driver's score under changes, empty without any.

    Args:
        label: The driver.
        results: Its results of one course.
    """
    driven = next((each for each in results if each.robustness), None)
    if driven is None:
        return ""
    rows = []
    for name, condition in driven.robustness.items():
        changes = ", ".join(f"{key} {value}" for key, value in condition.change.items())
        kept = "-" if condition.kept is None else f"{100 * condition.kept:.0f} %"
        score = words.interval(_mean(condition.score), digits=1)
        rows.append((name, changes, condition.races, score, kept))
    headers = ("another", "change", "races", "race score", "kept")
    return page.table(headers, rows, f"What {label} keeps of its race score under changes")


def _mean(found: Figures | None) -> Interval:
    values = ((found or {}).get(name) for name in ("mean", "ci_low", "ci_high"))
    return Interval(*(math.nan if value is None else float(value) for value in values))
