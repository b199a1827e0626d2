"""The report: read the runs, put the sections together, write the page."""

from __future__ import annotations

import datetime
import math
import pathlib
from collections.abc import Iterator, Sequence

import donkey_rl
from donkey_rl.configuration import Config
from donkey_rl.experiments import page
from donkey_rl.experiments.comparison import Comparison
from donkey_rl.experiments.compute_bill import Bill, Rates
from donkey_rl.experiments.page import Section
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.reporting import costs, driving, growth, summary, trained
from donkey_rl.experiments.reporting import runs as reported
from donkey_rl.experiments.reporting.growth import Growth
from donkey_rl.experiments.reporting.runs import ReportedRun
from donkey_rl.experiments.scaling import NoTrend

_WORDS = {
    "step": "One decision of a driver, a twentieth of a second of driving. All cars that learn "
    "side by side count.",
    "race": "A number of laps from a start of its own; the seed decides the start.",
    "clean lap": "A lap on the road from line to line, past every point of the path in order, "
    "without a hit or being put back.",
    "race score": "What a race is worth: 1 to 100 for one that is driven to its end, by its best "
    "clean lap, below 1 for one that is not.",
    "pace": "The time-optimal lap of this car on this track by the best lap: 1 is the physical "
    "limit.",
    "disqualified": "The race server would have ended the race: too slow to the line or to a "
    "checkpoint, too far from the path, or not driven to its end.",
    "95 %": "An interval made so that it holds the true value in 95 of 100 such reports: by "
    "drawing the races again and again, with replacement (bootstrap).",
    "middle half": "The mean without the best and the worst quarter of the races.",
    "u": "The simulator's unit of length.",
}


class ReportRequest(Config):
    """What `donkey-rl report` is asked.

    Attributes:
        runs: The runs; the first is the one that the others are held against.
        out: The page to write.
        rates: Power and prices of the bill.
        force: Whether a file that is no page of ours may be replaced.
    """

    runs: tuple[str, ...]
    out: pathlib.Path
    rates: Rates = Rates()
    force: bool = False


class RunResult(Config):
    """What `--json` says of one run.

    Attributes:
        track: Track of the races, None without any.
        races: Their number.
        laps_clean: Their clean laps.
        metrics: Mean and 95 % interval over the races by metric; None where undefined.
        bill: What its training took.
    """

    run_id: str
    label: str
    status: str
    steps: int
    checks: int
    track: str | None
    races: int
    laps_clean: int
    metrics: dict[str, dict[str, float | None]]
    bill: Bill


class OutlookResult(Config):
    """What `--json` says of how a score grows.

    Attributes:
        runs: Ids of the runs that it is of.
        figure: Which score.
        reason: Why there is no curve, empty where there is one.
        estimates: The curve at one, two and four times the steps measured: `steps`, `value`,
            `low`, `high`; the last two are extrapolated.
    """

    runs: tuple[str, ...]
    figure: str
    reason: str
    estimates: tuple[dict[str, float], ...]


class ReportResult(Config):
    """What `donkey-rl report` reports.

    Attributes:
        out: The page.
        bytes: Its size.
        summary: The three sentences that it begins with.
        runs: The runs in the order asked.
        comparisons: A sentence for each comparison.
        outlook: How the scores grow with the steps.
        problems: Records that were left out, metrics that failed.
    """

    out: pathlib.Path
    bytes: int
    summary: tuple[str, str, str]
    runs: tuple[RunResult, ...]
    comparisons: tuple[str, ...]
    outlook: tuple[OutlookResult, ...]
    problems: tuple[str, ...]


def write(
    request: ReportRequest, progress: ProgressDisplay, *, uri: str | None = None
) -> ReportResult:
    """Writes the report of some runs from what is stored of them; nothing is driven.

    Args:
        request: Which runs, and where to.
        progress: Shows how far it is.
        uri: The store, as in `tracking.start`.

    Raises:
        InputError: An unknown run, or a place that may not be written.
        StorageError: The store cannot be read, or the page not be written.
    """
    target = page.check_target(request.out, force=request.force)
    runs, problems = reported.read(request.runs, request.rates, progress, uri=uri)
    with progress.phase("writing the report", None, "sections") as phase:
        comparisons = driving.comparisons(runs)
        growths = growth.of(runs)
        lines = summary.sentences(runs, comparisons, growths, request.rates)
        sections = []
        for section in _sections(runs, comparisons, growths, request.rates):
            sections.append(section)
            phase.update(len(sections))
    problems += tuple(line for each in comparisons for line in each.problems)
    if problems:
        sections.append(Section("Left out", page.bullets(problems)))
    title = runs[0].label if len(runs) == 1 else f"{runs[0].label} and {len(runs) - 1} more"
    lead = "".join(page.paragraph(line) for line in lines) + page.paragraph(_made())
    page.save(target, page.document(title, sections, lead=lead), force=request.force)
    return ReportResult(
        out=target,
        bytes=target.stat().st_size,
        summary=lines,
        runs=tuple(_run_result(each) for each in runs),
        comparisons=tuple(pair.sentence for each in comparisons for pair in each.pairs),
        outlook=tuple(_outlook_result(each) for each in growths),
        problems=problems,
    )


def _sections(
    runs: Sequence[ReportedRun],
    comparisons: Sequence[Comparison],
    growths: Sequence[Growth],
    rates: Rates,
) -> Iterator[Section]:
    yield trained.section(runs)
    yield driving.section(runs)
    yield driving.compared(runs, comparisons)
    yield costs.section(runs, rates)
    yield growth.section(growths, rates)
    yield Section("Words used", page.facts(_WORDS))


def _made() -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"Made with donkey-rl {donkey_rl.__version__} on {today}."


def _run_result(each: ReportedRun) -> RunResult:
    return RunResult(
        run_id=each.run.id,
        label=each.label,
        status=each.run.status,
        steps=each.steps,
        checks=len(each.history),
        track=None if each.course is None else each.course.track,
        races=len(each.races),
        laps_clean=sum(lap.clean for lap in each.laps),
        metrics={
            name: {
                key: None if math.isnan(value) else value
                for key, value in zip(("mean", "ci_low", "ci_high"), found.mean, strict=True)
            }
            for name, found in each.summaries.items()
        },
        bill=each.bill,
    )


def _outlook_result(each: Growth) -> OutlookResult:
    return OutlookResult(
        runs=tuple(run.run.id for run in each.runs),
        figure=each.figure,
        reason=each.found.reason if isinstance(each.found, NoTrend) else "",
        estimates=tuple(estimate._asdict() for estimate in each.estimates()),
    )
