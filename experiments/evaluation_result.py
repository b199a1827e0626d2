"""What an evaluation reports: scores over its races with intervals, beside those of others."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError
from donkey_rl.experiments.cues.report import CueReport
from donkey_rl.experiments.split_result import SplitReport
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import statistics
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import Table
from donkey_rl.metrics.statistics import Interval

SCORE = "race_score"
"""The composite metric, by which drivers are ranked."""

FILE_NAME = "result.json"

_LARGEST = 10_000_000

Figures = dict[str, int | float | None]


class Yardstick(Config):
    """A driver to hold the evaluated one against.

    Attributes:
        name: `untrained`, `pursuit`, or the run that was the best before.
        note: What it is.
        races: Its races.
        metrics: As those of the result.
    """

    name: str
    note: str
    races: int
    metrics: dict[str, Figures]


class Condition(Config):
    """How a driver did under one change of car, camera, light or link.

    Attributes:
        change: What was changed.
        races: Races driven under it.
        kept: Mean score under it by the mean score of the same races without; None where there
            is no score to keep.
        score: The score's figures, as in the result's metrics.
    """

    change: dict[str, float | int | str]
    races: int
    kept: float | None
    score: Figures


class EvaluationResult(Config):
    """What `donkey-rl evaluate` reports of one track.

    Attributes:
        run_id: The run that holds the races.
        driver: The driver, as it is named in tables.
        driver_hash: SHA-256 of what it is.
        privileged: Whether it knows what no driver is told in a race.
        track: Name of the track.
        held_out: Whether the driver was trained on other tracks only.
        vehicle: The car.
        simulator: The simulator driven.
        version: Version of this package.
        key: SHA-256 of everything that the races depend on.
        laps_wanted: Laps of a race.
        seed: Seed of the first race.
        races: Races driven.
        races_clean: Races of which all laps were clean.
        missed_deadlines: Frames that were not answered in time.
        conditions: What was changed on purpose, such as an added latency.
        metrics: By metric the figures over the races, None where undefined: `mean`, `median` and
            `iqm` (the inter-quartile mean), each with its 95 % interval (`ci_low` and `ci_high`,
            `median_low`, ...), and the number of races with a score, `count`.
        yardsticks: Drivers to hold it against, over the same or equal races.
        robustness: By name what was left of the score under a change.
        kept: The mean of what was left over all changes, at most 1 each; None without them.
        cues: Whether the driver steers by cues that go with the turn, if it was probed.
        failures: Of metrics and of a stranger's driver, one line each.
        files: What was written, by what it shows: folders and files inside the run, and the
            video file asked for.
        per_race: One row a race.
        laps: The laps of the first race.
        best_lap_s: The best clean lap of all races.
    """

    run_id: str
    driver: str
    driver_hash: str
    privileged: bool = False
    track: str
    held_out: bool = False
    vehicle: str
    simulator: str
    version: str
    key: str
    laps_wanted: int
    seed: int
    races: int
    races_clean: int
    missed_deadlines: int
    conditions: dict[str, float | int | str] = Field(default_factory=dict)
    metrics: dict[str, Figures]
    yardsticks: tuple[Yardstick, ...] = ()
    robustness: dict[str, Condition] = Field(default_factory=dict)
    kept: float | None = None
    cues: CueReport | None = None
    failures: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    per_race: tuple[dict[str, Any], ...]
    laps: tuple[dict[str, Any], ...]
    best_lap_s: float | None


class Evaluation(EvaluationResult):
    """What `donkey-rl evaluate` prints: the first track's result, and those of the others.

    Attributes:
        others: Results on the further tracks.
        split: The sums over the parts of a split, where it was raced on one.
    """

    others: tuple[EvaluationResult, ...] = ()
    split: SplitReport | None = None

    @property
    def all_failures(self) -> tuple[str, ...]:
        """Those of all tracks."""
        return tuple(line for each in (self, *self.others) for line in each.failures)


def load(path: pathlib.Path) -> EvaluationResult:
    """Reads a result that an evaluation stored.

    Raises:
        InputError: If it is not there, too large, damaged, or of a version before.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ValueError(f"more than {_LARGEST:,} bytes")
        return EvaluationResult.model_validate_json(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is no result of an evaluation: {error}. Evaluate the run again."
        ) from error


def figures(table: Table, names: Sequence[str] | None = None) -> dict[str, Figures]:
    """Returns the figures over races of each metric, see `EvaluationResult.metrics`.

    Args:
        table: Scores by metric and race.
        names: Only of these metrics, where the table has them.
    """
    wanted = table.values if names is None else [name for name in names if name in table.values]
    return {name: _figures(table[name].tolist()) for name in wanted}


def _figures(values: Sequence[float]) -> Figures:
    found = statistics.summarise(values)
    mean, median, iqm = found.mean, found.median, found.iqm
    every = {"mean": mean.value, "ci_low": mean.low, "ci_high": mean.high}
    every |= _named("median", median) | _named("iqm", iqm)
    known: Figures = {name: v if math.isfinite(v) else None for name, v in every.items()}
    return known | {"count": found.count}


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def race_rows(races: Sequence[Race], table: Table) -> tuple[dict[str, Any], ...]:
    """Returns one row a race for people to read."""
    score = table.values.get(SCORE)
    rows = []
    for k, race in enumerate(races):
        driven = lap_times.laps(race)
        row: dict[str, Any] = {"seed": race.header.seed}
        if score is not None:
            row["score"] = _rounded(float(score[k]), 3)
        rows.append(
            row
            | {
                "laps": len(driven),
                "clean": sum(lap.clean for lap in driven),
                "lap_times_s": [round(lap.time_s, 2) for lap in driven],
                "off_tracks": lap_times.off_track_count(race),
                "hits": lap_times.hits(race),
                "distance_u": round(lap_times.distance(race), 1),
                "mean_speed": _rounded(lap_times.mean_speed(race), 2),
            }
        )
    return tuple(rows)


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def lap_rows(race: Race) -> tuple[dict[str, Any], ...]:
    """Returns one row for each lap of a race."""
    return tuple(
        {
            "number": lap.number,
            "time_s": round(lap.time_s, 3),
            "clean": lap.clean,
            "reasons": list(lap.reasons),
        }
        for lap in lap_times.laps(race)
    )


def is_clean(race: Race) -> bool:
    """Returns whether all laps of a race were driven, and clean."""
    return sum(lap.clean for lap in lap_times.laps(race)) >= race.header.laps
