"""How the scores grew with the compute spent, and what more of it would buy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from donkey_rl.experiments import compute_bill, learning_curves, page, scaling, scaling_plot
from donkey_rl.experiments.compute_bill import Rates
from donkey_rl.experiments.page import Section
from donkey_rl.experiments.reporting import pictures, words
from donkey_rl.experiments.reporting.runs import ReportedRun, alike, tracks_of
from donkey_rl.experiments.scaling import Estimate, NoTrend, Samples, Trend
from donkey_rl.experiments.scaling_plot import Learner
from donkey_rl.metrics import limits

FACTORS = (1.0, 2.0, 4.0)
"""Multiples of the steps measured that a curve is read at."""

_NAMES = {"race_score": "race score", "mean_lap_s": "mean clean lap (s)"}
_UNITS = {"race_score": "", "mean_lap_s": " s"}
_DIRECTIONS: dict[str, Literal["higher", "lower"]] = {
    "race_score": "higher",
    "mean_lap_s": "lower",
}
_FREE_BUDGET = (*learning_curves.FREE, "steps", "check.")
_FEWEST_BUDGETS = 3
_MOST_PICTURES = 12


@dataclasses.dataclass(frozen=True, eq=False)
class Growth:
    """How one score of runs of one configuration grew.

    Attributes:
        runs: The runs.
        figure: Which score.
        budgets: Whether it is of finished drivers of runs with different numbers of steps, rather
            than of the checks while they learned.
        found: The curve through it, or why there is none.
    """

    runs: tuple[ReportedRun, ...]
    figure: str
    budgets: bool
    found: Trend | NoTrend

    @property
    def name(self) -> str:
        """What the score is called."""
        return _NAMES[self.figure]

    @property
    def label(self) -> str:
        """What the runs are called together."""
        if len(self.runs) == 1:
            return self.runs[0].label
        return f"{len(self.runs)} runs of one configuration ({self.runs[0].label} and others)"

    def outlook(self) -> str:
        """Returns what twice the steps would come to, the end of a sentence; empty if unknown."""
        if not self.estimates():
            return ""
        now, twice, _ = self.estimates()
        unit = _UNITS[self.figure]
        name = self.name.removesuffix(" (s)")
        span = (
            f"from {now.value:.2f}{unit} to {twice.value:.2f}{unit} "
            f"(extrapolated, 95 %: {twice.low:.2f} to {twice.high:.2f})"
        )
        if twice.low <= now.value <= twice.high:
            return (
                f"whether twice the steps would make it better is not told by what was measured: "
                f"the curve says {span} for the {name} of {self.label}"
            )
        return f"twice the steps would bring the {name} of {self.label} {span}"

    def estimates(self) -> tuple[Estimate, ...]:
        """Returns the curve at `FACTORS` times the steps measured; nothing without a curve."""
        if isinstance(self.found, NoTrend):
            return ()
        return tuple(self.found.at(factor * self.found.last) for factor in FACTORS)


def of(runs: Sequence[ReportedRun]) -> tuple[Growth, ...]:
    """Returns how the scores of runs grew, configuration by configuration.

    Where a configuration was run with three or more numbers of steps, its finished drivers count;
    otherwise the checks of runs that differ in their seed only.
    """
    found: list[Growth] = []
    for group in alike(runs, _FREE_BUDGET):
        budgets = {each.run.params.get("steps") for each in group if each.course is not None}
        if len(budgets) >= _FEWEST_BUDGETS:
            found += [_growth(group, figure, _of_finished) for figure in _NAMES]
    for group in alike(runs, learning_curves.FREE):
        figures = [name for name in _NAMES if _is_known(group, name)]
        found += [_growth(group, figure, _of_checks) for figure in figures or ["mean_lap_s"]]
    return tuple(found)


def section(growths: Sequence[Growth], rates: Rates) -> Section:
    """Returns what more compute would buy.

    Args:
        growths: How the scores grew.
        rates: What the further steps are reckoned at.
    """
    markup = page.paragraph(
        "What was measured comes first: how the score grew with the steps driven, the time on the "
        "clock and the time of the processor. A curve is drawn on only where the measurements "
        "bear one, and at most to four times the steps."
    )
    shown: set[tuple[str, ...]] = set()
    for index, each in enumerate(growths):
        key = tuple(run.run.id for run in each.runs)
        if key not in shown:
            shown.add(key)
            markup += _measured(each)
        if not each.budgets and index < _MOST_PICTURES:
            markup += _picture(each)
        markup += _outlook(each, rates)
    if any(run.history.wall_estimated for each in growths for run in each.runs):
        markup += page.paragraph(
            "Where a run did not record its wall time, it is that of the store's clock since the "
            "run was begun, without the start of the program."
        )
    return Section("What more compute would buy", markup)


def _is_known(group: Sequence[ReportedRun], figure: str) -> bool:
    return any(np.isfinite(each.history.figures[figure]).any() for each in group)


def _growth(
    group: tuple[ReportedRun, ...],
    figure: str,
    take: Callable[[Sequence[ReportedRun], str], list[tuple[float, float, int]]],
) -> Growth:
    table = np.array(take(group, figure), np.float64).reshape(-1, 3)
    steps, values, runs = table.T
    samples = Samples(steps, values, runs.astype(np.int64), _DIRECTIONS[figure])
    return Growth(group, figure, take is _of_finished, scaling.fit(samples))


def _of_checks(group: Sequence[ReportedRun], figure: str) -> list[tuple[float, float, int]]:
    """Returns steps, score and run of each check from the first clean lap on."""
    taken = []
    for index, each in enumerate(group):
        history = each.history
        lapped = np.isfinite(history.figures["mean_lap_s"])
        if not lapped.any():
            continue
        rows = (history.steps >= max(history.steps[lapped][0], 1)) & np.isfinite(
            history.figures[figure]
        )
        taken += [
            (float(step), float(value), index)
            for step, value in zip(history.steps[rows], history.figures[figure][rows], strict=True)
        ]
    return taken


def _of_finished(group: Sequence[ReportedRun], figure: str) -> list[tuple[float, float, int]]:
    """Returns steps, mean score over its races, and run of each finished driver."""
    courses = {each.course for each in group if each.course is not None}
    if len(courses) != 1:
        return []
    taken = [
        (float(each.steps), each.summaries[figure].mean.value, index)
        for index, each in enumerate(group)
        if each.course is not None and each.steps
    ]
    return [each for each in taken if math.isfinite(each[1])]


def _measured(each: Growth) -> str:
    headers = (
        "driver", "first clean lap", "after", "all checks", "best check", "clean laps then",
        "mean lap then (s)",
    )  # fmt: skip
    rows = [_run_row(run) for run in each.runs]
    return page.table(headers, rows, f"Checks of {each.label}")


def _run_row(run: ReportedRun) -> tuple[object, ...]:
    history = run.history
    shares, laps = history.figures["clean_share"], history.figures["mean_lap_s"]
    # Earlier versions logged none.
    counted = history.figures["counted_share"]
    counted = np.where(np.isnan(counted), shares, counted)
    lapped = np.flatnonzero(np.isfinite(laps))
    if not len(lapped):
        return (run.label, "none", "-", len(history), "-", "-", "-")
    # As the checks rank policies: by the share of clean laps that count, then by their mean; and
    # anew after the first, which is of one lap only.
    best = min(lapped[1:] if len(lapped) > 1 else lapped, key=lambda k: (-counted[k], laps[k]))
    return (
        run.label,
        f"{history.steps[lapped[0]]:,.0f} steps",
        words.duration(float(history.wall_s[lapped[0]])),
        len(history),
        f"{history.steps[best]:,.0f} steps",
        f"{100 * shares[best]:.0f} %",
        f"{laps[best]:.2f}",
    )


def _picture(each: Growth) -> str:
    points = sum(int(np.isfinite(run.history.figures[each.figure]).sum()) for run in each.runs)
    if points < 2:
        return ""
    learners = [Learner(run.label, run.history) for run in each.runs]
    trend = each.found if isinstance(each.found, Trend) else None
    told = []
    for run in each.runs:
        values = run.history.figures[each.figure]
        known = values[np.isfinite(values)]
        if len(known):
            told.append(f"{run.label} from {known[0]:.1f} to {known[-1]:.1f}")
    return pictures.drawn(
        lambda path: scaling_plot.draw(learners, each.figure, each.name, trend, path),
        f"{each.name.capitalize()} of the checks against steps, wall time and processor time: "
        f"{'; '.join(told)}.",
        f"{each.name.capitalize()} of the checks"
        + (", with the curve through it; dashed it is extrapolated." if trend else "."),
    )


def _outlook(each: Growth, rates: Rates) -> str:
    """Returns what the curve says of more steps, or why there is none."""
    what = "finished drivers with different numbers of steps" if each.budgets else "checks"
    if isinstance(each.found, NoTrend):
        return page.note(
            f"{each.label}, {each.name} of the {what}: no curve is drawn, because "
            f"{each.found.reason}. So the measurements do not say what more compute would buy."
        )
    estimates = each.estimates()
    rate = _cpu_per_step(each.runs)
    most = "at most " if rate is not None and any(e.bill.cpu_estimated for e in each.runs) else ""
    rows = []
    for factor, estimate in zip(FACTORS, estimates, strict=True):
        more = estimate.steps - estimates[0].steps
        cpu = math.nan if rate is None else rate * more
        kwh = None if rate is None else compute_bill.energy_kwh(cpu, rates)
        row = [
            "as measured, by the curve" if factor == 1.0 else f"{factor:g} times, extrapolated",
            f"{estimate.steps:,.0f}",
            f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})",
            "-" if factor == 1.0 else f"{most}{words.duration(cpu)}",
            "-" if factor == 1.0 else f"{most}{words.energy(kwh)}",
        ]
        if rates.price_per_kwh is not None:
            paid = None if kwh is None or factor == 1.0 else kwh * rates.price_per_kwh
            row.append(words.price(paid))
        rows.append(row)
    headers = ["steps", "number", f"{each.name}, 95 %", "more processor time", "more energy"]
    headers += ["its price"] if rates.price_per_kwh is not None else []
    return page.table(headers, rows, f"{each.label}, by the {what}") + page.bullets(
        [*_reservations(each.found, each.budgets), *_limit(each)]
    )


def _reservations(trend: Trend, budgets: bool) -> list[str]:
    """Returns what the reader must know before believing a curve."""
    if trend.runs >= scaling.FEWEST_RUNS:
        over = f"The interval is over {trend.runs} runs: it is that of the mean run."
    else:
        over = (
            "The interval is that of the curve through these measurements alone: another seed may "
            "do better or worse than it says."
        )
    lines = [
        "The rows beyond what was measured are extrapolated: they hold if the score goes on along "
        "a saturating power law, which nothing guarantees.",
        over,
    ]
    if not budgets:
        lines.append(
            "The learning rate falls towards the end of the planned steps: a longer run is not "
            "the continuation of a shorter one. Runs of different lengths would measure that."
        )
    return lines


def _limit(each: Growth) -> list[str]:
    """Returns what no compute buys, where it is known."""
    races, params = each.runs[0].races, each.runs[0].run.params
    if races and not each.budgets:
        # Checks may be raced elsewhere, or on several tracks.
        named = params.get("check.tracks", "None")
        checked = tracks_of(params.get("track", "") if named == "None" else named)
        if checked != (races[0].header.track,):
            return []
    limit_s = limits.lap_s(races[0].header) if races else math.nan
    if each.figure != "mean_lap_s" or math.isnan(limit_s):
        return []
    return [f"No compute makes a lap quicker than {limit_s:.2f} s, the time-optimal one."]


def _cpu_per_step(runs: Sequence[ReportedRun]) -> float | None:
    """Returns the processor time of a further step (s), None where it cannot be told."""
    rates = []
    for each in runs:
        history, cores = each.history, each.bill.cores
        if len(history) < 2 or history.steps[-1] <= history.steps[0]:
            continue
        spent = history.cpu_s
        if not np.isfinite(spent[[0, -1]]).all():
            if cores is None:
                return None
            spent = history.wall_s * cores
        rates.append(float((spent[-1] - spent[0]) / (history.steps[-1] - history.steps[0])))
    return sum(rates) / len(rates) if rates else None
