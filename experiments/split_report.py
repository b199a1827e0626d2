"""Summing up an evaluation on a split of tracks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from donkey_rl.experiments.course_scores import Figure
from donkey_rl.experiments.evaluation_result import SCORE, EvaluationResult
from donkey_rl.experiments.split_result import PartRow, SplitReport, TrackRow
from donkey_rl.experiments.splits import PARTS, Part, Split
from donkey_rl.metrics import statistics


def report(
    split: Split,
    found: Mapping[str, EvaluationResult],
    trained: Sequence[str],
    look: str | None = None,
) -> SplitReport:
    """Sums up the results on the tracks of a split.

    Args:
        split: The split.
        found: Results by the name of the track, as the split names it.
        trained: Tracks that the driver was trained on, empty where it does not say.
        look: The name of the look under which it raced.
    """
    rows = [
        _row(name, part, result, name in trained if trained else None)
        for part in PARTS
        for name in split.tracks(part)
        if (result := found.get(name)) is not None
    ]
    grouped = {part: [row for row in rows if row.part == part] for part in PARTS}
    return SplitReport(
        name=split.name,
        look=look,
        parts=tuple(_part(part, those) for part, those in grouped.items() if those),
        tracks=tuple(rows),
        warnings=warnings(split, trained),
    )


def warnings(split: Split, trained: Sequence[str]) -> tuple[str, ...]:
    """Returns one line for each held-out track that a driver was trained on.

    Args:
        split: The split.
        trained: Tracks that the driver was trained on.
    """
    return tuple(
        f"{name} is held out by the split {split.name}, but this driver was TRAINED on it: "
        "its figures there are no evidence."
        for name in split.tracks("held_out")
        if name in trained
    )


def _row(name: str, part: Part, result: EvaluationResult, seen: bool | None) -> TrackRow:
    """Returns the row of one track."""
    races = result.races
    return TrackRow(
        track=name,
        part=part,
        seen=seen,
        races=races,
        clean=Figure.of(statistics.proportion(result.races_clean, races)),
        disqualified=Figure.of(statistics.proportion(_disqualified(result), races)),
        score=_mean(result, SCORE),
        pace=_mean(result, "pace"),
    )


def _part(part: Part, rows: Sequence[TrackRow]) -> PartRow:
    """Returns the row of a part that has tracks."""
    races = sum(row.races for row in rows)
    clean = sum(round((row.clean.value or 0.0) * row.races) for row in rows)
    out = sum(round((row.disqualified.value or 0.0) * row.races) for row in rows)
    weakest = min(rows, key=lambda row: row.clean.value or 0.0)
    return PartRow(
        part=part,
        tracks=len(rows),
        races=races,
        clean=Figure.of(statistics.proportion(clean, races)),
        disqualified=Figure.of(statistics.proportion(out, races)),
        score=_over_tracks([row.score for row in rows]),
        pace=_over_tracks([row.pace for row in rows]),
        weakest=weakest.track,
        weakest_clean=weakest.clean.value or 0.0,
    )


def _disqualified(result: EvaluationResult) -> float:
    """Returns the number of races that were disqualified; one that no metric fits counts."""
    figures = result.metrics["disqualified"]
    known = int(figures["count"] or 0)
    return float(figures["mean"] or 0.0) * known + result.races - known


def _mean(result: EvaluationResult, name: str) -> Figure:
    """Returns the mean of a metric with its interval."""
    figures = result.metrics[name]
    return Figure(value=figures["mean"], low=figures["ci_low"], high=figures["ci_high"])


def _over_tracks(figures: Sequence[Figure]) -> Figure:
    """Returns the mean over tracks, with an interval where there are several."""
    values = [math.nan if each.value is None else each.value for each in figures]
    return Figure.of(statistics.summarise(values).mean)
