"""The report in three sentences, for whoever reads no further."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from donkey_rl.agents.manifest import ENSEMBLE
from donkey_rl.experiments import compute_bill
from donkey_rl.experiments.comparison import Comparison
from donkey_rl.experiments.compute_bill import Rates
from donkey_rl.experiments.reporting import costs, words
from donkey_rl.experiments.reporting.growth import Growth
from donkey_rl.experiments.reporting.runs import ReportedRun, by_course, is_trained, ranked
from donkey_rl.experiments.reporting.trained import AGENTS


def sentences(
    runs: Sequence[ReportedRun],
    comparisons: Sequence[Comparison],
    growths: Sequence[Growth],
    rates: Rates,
) -> tuple[str, str, str]:
    """Returns what was trained, how it drives, and what it took and may still gain."""
    return _trained(runs), _drives(runs, comparisons), _took(runs, growths, rates)


def _trained(given: Sequence[ReportedRun]) -> str:
    runs = [each for each in given if is_trained(each)] or given
    if len(runs) < len(given):
        others = [each.label for each in given if each not in runs]
        return f"{_trained(runs)} Raced beside: {words.listed(others)}."
    wall = compute_bill.total([each.bill for each in runs], Rates()).wall_s
    time = f" in {words.duration(wall)}" if wall is not None else ""
    steps = sum(each.steps for each in runs)
    if len(runs) == 1:
        params = runs[0].run.params
        by = AGENTS.get(params.get("agent", ""), "means that were not recorded")
        if params.get("agent") == ENSEMBLE:
            return f"{runs[0].label} is an ensemble{_where(runs)}: several drivers, joined."
        what = f"{runs[0].label} is a driver" + _where(runs)
        return f"{what}, trained by {by} over {steps:,} steps{time}."
    methods = Counter(
        AGENTS.get(each.run.params.get("agent", ""), "means not recorded") for each in runs
    )
    by = words.listed([f"{count} by {method}" for method, count in methods.items()])
    return (
        f"{len(runs)} drivers were trained{_where(runs)}, {by}, over {steps:,} steps{time} "
        "all together."
    )


def _where(runs: Sequence[ReportedRun]) -> str:
    """Returns car and track, where they are those of all runs."""
    cars = {_told(each, "vehicle") for each in runs}
    tracks = {_told(each, "track") for each in runs}
    car = f" for the car {cars.pop()}" if len(cars) == 1 and all(cars) else ""
    return car + (f" on {tracks.pop()}" if len(tracks) == 1 and all(tracks) else "")


def _told(each: ReportedRun, name: str) -> str:
    return each.run.params.get(name, each.run.tags.get(name, ""))


def _drives(runs: Sequence[ReportedRun], comparisons: Sequence[Comparison]) -> str:
    groups = by_course(runs)
    if not groups:
        return "No races are stored, so nothing can be said of how it drives."
    course, drivers = next(iter(groups.items()))
    best = ranked(drivers)[0]
    clean = [lap for lap in best.laps if lap.clean]
    races = words.counted(len(best.races), "race")
    who = best.label if len(runs) == 1 else f"the best driver, {best.label},"
    laps = words.counted(course.laps, "lap")
    laps += f" with {course.conditions}" if course.conditions else ""
    if not clean:
        text = f"In {races} of {laps} on {course.track} {who} drove no lap without a fault"
    else:
        mean = words.interval(best.summaries["mean_lap_s"].mean, "s")
        text = (
            f"In {races} of {laps} on {course.track} {who} drove {len(clean)} of "
            f"{best.laps_wanted} laps without a fault, the quickest in "
            f"{min(lap.time_s for lap in clean):.2f} s and the average in {mean}"
        )
    return f"{text}{_against_first(best, comparisons)}."


def _against_first(best: ReportedRun, comparisons: Sequence[Comparison]) -> str:
    """Returns whether the best driver is really better than the one named first."""
    for each in comparisons:
        for pair in each.pairs:
            if pair.second == best.label and pair.metric == "race_score":
                if pair.verdict == "better":
                    return f"; that it is better than {pair.first} is no chance"
                return f"; these races do not tell it from {pair.first} for sure"
    return ""


def _took(runs: Sequence[ReportedRun], growths: Sequence[Growth], rates: Rates) -> str:
    bill = compute_bill.total([each.bill for each in costs.of_trainings(runs)], rates)
    text = "What the training took was not recorded"
    if bill.cpu_s is not None:
        text = (
            f"The training took {costs.processor_time(bill)} of processor time and "
            f"{costs.energy(bill)} of energy"
        )
        paid = [
            f"{words.price(amount)} for {what}"
            for amount, what in (
                (bill.energy_price, "the energy"),
                (bill.machine_price, "the machine"),
            )
            if amount is not None
        ]
        text += f" ({words.listed(paid)})" if paid else ""
    return f"{text}; {_outlook(growths)}."


def _outlook(growths: Sequence[Growth]) -> str:
    told = (each.outlook() for each in growths)
    unknown = "the measurements do not say whether more compute would make it better"
    return next(filter(None, told), unknown)
