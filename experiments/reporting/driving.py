"""How the drivers drive, and how they compare, from the races that the runs hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from donkey_rl.experiments import comparison, page, result_rows
from donkey_rl.experiments.comparison import Comparison
from donkey_rl.experiments.page import Section
from donkey_rl.experiments.reporting import evaluations, pictures, words
from donkey_rl.experiments.reporting.runs import ReportedRun, by_course, ranked
from donkey_rl.experiments.stored_races import Course
from donkey_rl.experiments.verdicts import bounds
from donkey_rl.formatting import number
from donkey_rl.metrics import registry, statistics

_MOST_COURSES = 4
"""Courses with pictures in one report."""

_EVALUATE = "`donkey-rl evaluate RUN` races one."


def section(runs: Sequence[ReportedRun]) -> Section:
    """Returns how the drivers drive: scores with intervals, laps, pictures."""
    groups = by_course(runs)
    markup = "" if groups else page.note(f"No races are stored of these runs. {_EVALUATE}")
    for index, (course, drivers) in enumerate(groups.items()):
        best_first = ranked(drivers)
        markup += page.paragraph(f"{_headed(course)}:") if len(groups) > 1 else ""
        markup += _scores(course, best_first)
        if index < _MOST_COURSES:
            markup += pictures.of_course(course, best_first)
        markup += "".join(
            evaluations.robustness(each.label, evaluations.of_course(each.evaluations, course))
            for each in best_first
        )
        markup += "".join(
            page.details(f"All metrics of {each.label}", _metrics(each)) for each in best_first
        )
    without = [each.label for each in runs if each.course is None]
    if groups and without:
        markup += page.note(f"No races are stored of {words.listed(without)}. {_EVALUATE}")
    return Section("How it drives", markup + _elsewhere(runs))


def comparisons(runs: Sequence[ReportedRun]) -> tuple[Comparison, ...]:
    """Returns the runs of each course with several against the first of them, over common races.

    There is none for a course on which they have no race of one seed in common.
    """
    metrics = [registry.load(name) for name in comparison.METRICS]
    found = []
    for course, drivers in by_course(runs).items():
        races = [each.stored.courses[course] for each in drivers]
        seeds = sorted(set.intersection(*(set(each) for each in races)))
        if len(drivers) < 2 or not seeds:
            continue
        compared, problems = comparison.scored(
            [each.run for each in drivers],
            [each.label for each in drivers],
            [[each[seed] for seed in seeds] for each in races],
            metrics,
        )
        found.append(
            Comparison(
                course=course,
                seeds=tuple(seeds),
                driven=(),
                runs=compared,
                pairs=comparison.pairs(compared, metrics),
                problems=tuple(problems),
            )
        )
    return tuple(found)


def compared(runs: Sequence[ReportedRun], found: Sequence[Comparison]) -> Section:
    """Returns how the drivers compare.

    Args:
        runs: All runs.
        found: Their comparisons.
    """
    markup = ""
    for each in found:
        races = words.counted(len(each.seeds), "race")
        markup += page.paragraph(
            f"{_headed(each.course)}, over {races} that all of them drove from the same starts; "
            f"the others are held against {each.runs[0].label}:"
        )
        markup += _verdicts(each)
        for metric in comparison.METRICS:
            markup += _text_table(result_rows.differences(each, metric, brief=True))
    if not found and len(runs) == 1:
        markup = page.paragraph(
            "This report is of one run; of several, `donkey-rl report RUN RUN`, it says which is "
            "better."
        )
    elif not found:
        markup = page.note(
            "These runs have no races in common: of one track, car, simulator and version, and "
            "of the same seeds. `donkey-rl compare RUN RUN` drives what is missing."
        )
    for course, drivers in by_course(runs).items():
        results = [result for each in drivers for result in each.evaluations]
        markup += evaluations.scale(evaluations.of_course(results, course))
    return Section("How it compares", markup)


def _verdicts(each: Comparison) -> str:
    least = statistics.least_pairs(each.pairs[0].difference.level, len(each.pairs))
    if len(each.seeds) < least:
        return page.note(
            f"So few races tell no drivers apart: {words.counted(len(each.pairs), 'comparison')} "
            f"take {least} races at least. `donkey-rl compare RUN RUN` drives 30."
        )
    return page.bullets(pair.sentence for pair in each.pairs)


def _headed(course: Course) -> str:
    return f"On {course.track} with {course.vehicle}, races of {_laps(course)}{_changed(course)}"


def _changed(course: Course) -> str:
    """Returns what was changed on purpose, where a run has no other races."""
    return f", changed to {course.conditions}" if course.conditions else ""


def _laps(course: Course) -> str:
    return words.counted(course.laps, "lap")


def _scores(course: Course, drivers: Sequence[ReportedRun]) -> str:
    headers = (
        "driver", "races", "clean laps", "race score", "best lap (s)", "mean lap (s)",
        "pace", "disqualified",
    )  # fmt: skip
    rows = []
    for each in drivers:
        laps = each.laps
        clean = [lap.time_s for lap in laps if lap.clean]
        sums = each.summaries
        rows.append(
            (
                each.label,
                len(each.races),
                f"{len(clean)} of {each.laps_wanted}",
                words.interval(sums["race_score"].mean, digits=1),
                f"{min(clean):.2f}" if clean else "-",
                words.interval(sums["mean_lap_s"].mean),
                number(_best_pace(each)),
                f"{100 * sums['disqualified'].mean.value:.0f} %",
            )
        )
    caption = (
        f"Means over races on {course.track} with {course.vehicle}, {_laps(course)} "
        f"each{_changed(course)}, "
        "with their 95 % intervals in brackets"
    )
    return page.table(headers, rows, caption)


def _best_pace(each: ReportedRun) -> float:
    """Returns the pace of the best lap of all races, NaN where it is not known."""
    known = [float(value) for value in each.scores["pace"] if math.isfinite(value)]
    return max(known, default=math.nan)


def _metrics(each: ReportedRun) -> str:
    rows = []
    for name, found in each.summaries.items():
        metric = registry.load(name)
        rows.append(
            (
                f"{name} ({metric.unit})" if metric.unit else name,
                number(found.mean.value, 4),
                bounds(found.mean, 4),
                number(found.median.value, 4),
                number(found.iqm.value, 4),
                found.count,
                metric.direction,
                metric.description,
            )
        )
    headers = ("metric", "mean", "95 %", "median", "middle half", "races", "better", "what it is")
    return page.table(headers, rows, f"{each.label}, {words.counted(len(each.races), 'race')}")


def _elsewhere(runs: Sequence[ReportedRun]) -> str:
    """Returns a table of what is stored of other courses: other tracks, changed conditions."""
    rows = []
    for each in runs:
        for course, races in sorted(each.stored.courses.items()):
            if course == each.course:
                continue
            table = registry.score_races(
                list(races.values()), [registry.load(name) for name in comparison.METRICS]
            )
            score, lap = (
                statistics.summarise(table[name]).mean.value for name in comparison.METRICS
            )
            rows.append(
                (
                    each.label,
                    str(course),
                    len(races),
                    number(score),
                    number(lap, 4),
                )
            )
    headers = ("driver", "races", "count", "race score", "mean lap (s)")
    return page.details("Other races of these runs", page.table(headers, rows)) if rows else ""


def _text_table(table: result_rows.TextTable) -> str:
    return page.table(table.headers, table.rows, table.title)
