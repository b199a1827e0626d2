"""Comparisons and leaderboards as pages that open offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from donkey_rl.experiments import figures, page, result_rows
from donkey_rl.experiments.comparison import Comparison, Pair
from donkey_rl.experiments.leaderboard import Leaderboard
from donkey_rl.experiments.page import Section
from donkey_rl.experiments.result_rows import TextTable
from donkey_rl.experiments.verdicts import bounds
from donkey_rl.formatting import number

_READING = (
    "Every run drove the same races: a pair of races has the same start and the same seed, so "
    "that what the start does to both drops out.",
    "difference: the run minus the first one, the mean over races in which both have a score, "
    "with the interval that holds the truth in 95 of 100 comparisons.",
    "wins: how likely the run beats the first one in a race; a tie counts half, and a race "
    "without a score loses against one with a score.",
    "effect: the difference by the scatter of the differences, positive where the run is better.",
    "p: how often chance alone would make a difference as large, by exchanging the two drivers "
    "of each race; the numbers allow for all comparisons of this page together. Below 0.05 a "
    "difference is called real.",
    "detectable: the smallest difference that as many races find four times in five.",
)
_RANKING = (
    "score: the mean of the races' race_score, with its 95 % interval.",
    "rank: runs that the races do not tell from the first of them share its rank, marked =.",
    "DQ: share of the races that ended in a disqualification.",
    "pace: the time-optimal lap of track and car by the best lap; 1 is the physical limit.",
    "Races on different tracks, with different cars, in different versions of the simulator or "
    "over different numbers of laps stand in tables of their own.",
)


def comparison(result: Comparison) -> str:
    """Returns a comparison as a page."""
    base, *others = result.runs
    course = result.course
    count = len(result.seeds)
    driven = {
        "track": course.track,
        "car": course.vehicle or "not recorded",
        "simulator": f"{course.simulator or 'not recorded'} {course.version}",
        "races": f"{count}, seeds {result.seeds[0]} to {result.seeds[-1]}",
        "laps of a race": course.laps,
    } | {f"run {k}": f"{run.label} ({run.run_id})" for k, run in enumerate(result.runs, 1)}
    metrics = tuple(base.summaries)
    sections = [
        Section("What was driven", page.facts(driven)),
        Section("Scores", "".join(_table(result_rows.scores(result, name)) for name in metrics)),
        Section(
            "Differences",
            "".join(
                _table(result_rows.differences(result, name)) + _picture(result, name)
                for name in metrics
            ),
        ),
        Section(
            "Race by race",
            "".join(
                page.details(name, _table(result_rows.races(result, name))) for name in metrics
            ),
        ),
        Section("How to read this", page.bullets(_READING)),
        *_problems(result.problems),
    ]
    names = ", ".join(run.label for run in others)
    lead = page.bullets(pair.sentence for pair in result.pairs)
    return page.document(f"{names} against {base.label}", sections, lead=lead)


def leaderboard(result: Leaderboard) -> str:
    """Returns a leaderboard as a page."""
    sections = [
        Section(table.title, _table(table, caption=False)) for table in result_rows.boards(result)
    ]
    sections += [
        Section("How to read this", page.bullets(_RANKING)),
        *_problems(result.problems),
    ]
    ranked = result.runs - result.without_races
    lead = page.paragraph(f"{ranked:,} of {result.runs:,} runs of the store have races here.")
    return page.document("Leaderboard", sections, lead=lead)


def _table(table: TextTable, *, caption: bool = True) -> str:
    return page.table(table.headers, table.rows, table.title if caption else "")


def _problems(problems: Sequence[str]) -> Iterable[Section]:
    return [Section("Left out", page.bullets(problems))] if problems else []


def _picture(result: Comparison, metric: str) -> str:
    """Returns the differences of all races by one metric, with their means and intervals."""
    pairs = [pair for pair in result.pairs if pair.metric == metric]
    base = np.array(result.runs[0].scores[metric])
    figure = figures.new_figure(7.5, 1.3 + 0.55 * len(pairs))
    axes = figure.add_subplot()
    axes.axvline(0.0, color=figures.BLACK, linewidth=1.0)
    for k, (pair, run) in enumerate(zip(pairs, result.runs[1:], strict=True)):
        found = np.array(run.scores[metric]) - base
        found = found[np.isfinite(found)]
        axes.scatter(found, np.full(len(found), k), s=14, c=figures.SKY, alpha=0.6, zorder=2)
        mean = pair.difference.mean
        axes.plot([mean.low, mean.high], [k, k], color=figures.VERMILION, linewidth=3, zorder=3)
        axes.plot([mean.value], [k], "o", color=figures.VERMILION, markersize=7, zorder=4)
    axes.set_yticks(range(len(pairs)), [pair.second for pair in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_xlabel(_axis(pairs[0]))
    told = "; ".join(
        f"{pair.second} {number(pair.difference.mean.value)} ({bounds(pair.difference.mean)})"
        for pair in pairs
    )
    return page.figure(
        figures.png(figure),
        f"Difference in {metric} against {result.runs[0].label}, mean and 95 % interval: {told}.",
        f"{metric}: every race (small dots), mean and 95 % interval (large dot and bar).",
    )


def _axis(pair: Pair) -> str:
    unit = f" ({pair.unit})" if pair.unit else ""
    return f"{pair.metric} minus that of {pair.first}{unit}; {pair.direction} is better"
