"""Comparisons and leaderboards as rows of text, for the terminal and for pages alike."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

from donkey_rl.experiments.comparison import Comparison
from donkey_rl.experiments.course_scores import Figure
from donkey_rl.experiments.leaderboard import Leaderboard, Row
from donkey_rl.experiments.verdicts import bounds, percentages
from donkey_rl.formatting import number
from donkey_rl.metrics.statistics import Interval

_BOARD = ("rank", "run", "score", "95 %", "DQ", "best lap (s)", "pace", "races", "id")
_DIGITS = 4


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        title: Above it.
        headers: One a column.
        rows: As many texts each.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def scores(result: Comparison, metric: str, *, brief: bool = False) -> TextTable:
    """Returns what each run scores over the races by one metric.

    Args:
        result: The comparison.
        metric: The metric's name.
        brief: Whether only the mean has its interval, for a terminal.
    """
    rows = []
    for run in result.runs:
        found = run.summaries[metric]
        row = [run.label, str(found.count), number(found.mean.value, _DIGITS)]
        row.append(bounds(found.mean, _DIGITS))
        for interval in (found.median, found.iqm):
            row.append(number(interval.value, _DIGITS))
            row += [] if brief else [bounds(interval, _DIGITS)]
        rows.append(tuple(row))
    headers = ["run", "races", "mean", "95 %"]
    headers += ["median", "middle half"] if brief else ["median", "95 %", "middle half", "95 %"]
    return TextTable(metric, tuple(headers), tuple(rows))


def differences(result: Comparison, metric: str, *, brief: bool = False) -> TextTable:
    """Returns each run against the first one by one metric.

    Args:
        result: The comparison.
        metric: The metric's name.
        brief: Whether only what a terminal has room for is told.
    """
    pairs = [pair for pair in result.pairs if pair.metric == metric]
    rows = []
    for pair in pairs:
        found = pair.difference
        row = [pair.second, pair.verdict, number(found.mean.value), bounds(found.mean)]
        row.append(share(found.improvement.value))
        if not brief:
            effect, least = number(found.effect_size), number(found.detectable)
            row += [percentages(found.improvement), effect, least]
        rows.append((*row, f"{found.p_value:.2g}"))
    unit = f" ({pairs[0].unit})" if pairs[0].unit else ""
    headers = ["run", "verdict", f"difference{unit}", "95 %", "wins"]
    headers += ["p"] if brief else ["95 %", "effect", "detectable", "p"]
    title = f"{metric} against {result.runs[0].label}"
    return TextTable(title, tuple(headers), tuple(rows))


def races(result: Comparison, metric: str) -> TextTable:
    """Returns the score of every race by one metric, a row a seed."""
    rows = tuple(
        (str(seed), *(number(run.scores[metric][k], _DIGITS) for run in result.runs))
        for k, seed in enumerate(result.seeds)
    )
    return TextTable(metric, ("seed", *(run.label for run in result.runs)), rows)


def boards(result: Leaderboard) -> tuple[TextTable, ...]:
    """Returns the runs on each course."""
    courses = Counter(str(each.course) for each in result.boards)
    found = []
    for each in result.boards:
        title = str(each.course)
        if courses[title] > 1:
            title += f", track geometry {each.course.track_digest[:8] or 'not recorded'}"
        found.append(TextTable(title, _BOARD, tuple(_row(row) for row in each.rows)))
    return tuple(found)


def share(value: float | None) -> str:
    """Returns a share as a percentage, a dash where it is not known."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def interval_of(figure: Figure) -> Interval:
    """Returns a stored figure, with NaN for what is not known."""
    return Interval(
        *(math.nan if each is None else each for each in (figure.value, figure.low, figure.high))
    )


def _row(row: Row) -> tuple[str, ...]:
    found = row.result
    score = interval_of(found.score)
    return (
        f"{row.rank}=" if row.tied else str(row.rank),
        row.name,
        number(score.value, _DIGITS),
        bounds(score, _DIGITS),
        share(found.disqualified.value),
        "-" if found.best_lap_s is None else f"{found.best_lap_s:.2f}",
        "-" if found.pace is None else f"{found.pace:.3f}",
        str(found.races),
        row.run_id[:8],
    )
