"""The compute bill of a report."""

from __future__ import annotations

from collections.abc import Sequence

from donkey_rl.experiments import compute_bill, page
from donkey_rl.experiments.compute_bill import WATTS_PER_CORE, Bill, Rates
from donkey_rl.experiments.page import Section
from donkey_rl.experiments.reporting import words
from donkey_rl.experiments.reporting.runs import ReportedRun, is_trained


def section(runs: Sequence[ReportedRun], rates: Rates) -> Section:
    """Returns what the trainings took, and what that costs at the rates."""
    runs = of_trainings(runs)
    rows = [_row(each.label, each.bill, rates) for each in runs]
    if len(runs) > 1:
        rows.append(_row("all together", compute_bill.total([e.bill for e in runs], rates), rates))
    headers = ["driver", "wall time", "processor time", "GPU time", "energy"]
    headers += ["its price"] if rates.price_per_kwh is not None else []
    headers += ["machine"] if rates.price_per_hour is not None else []
    machines = dict.fromkeys(_machine(each.bill) for each in runs if each.bill.cores is not None)
    markup = page.table(headers, rows, "What the trainings took, the final races included")
    markup += page.paragraph(f"Computed on {words.listed(list(machines))}.") if machines else ""
    return Section("The compute bill", markup + page.bullets(_notes(runs, rates)))


def of_trainings(runs: Sequence[ReportedRun]) -> Sequence[ReportedRun]:
    """Returns the runs that trained a driver: others took nothing that they could note."""
    return [each for each in runs if is_trained(each)] or runs


def processor_time(bill: Bill) -> str:
    """Returns a processor time, marked where it is an estimate."""
    return (
        f"at most {words.duration(bill.cpu_s)}"
        if bill.cpu_estimated
        else words.duration(bill.cpu_s)
    )


def energy(bill: Bill) -> str:
    """Returns an energy, marked as the estimate that it is."""
    if bill.energy_kwh is None:
        return words.UNKNOWN
    return f"{'at most' if bill.cpu_estimated else 'about'} {words.energy(bill.energy_kwh)}"


def _row(label: str, bill: Bill, rates: Rates) -> list[str]:
    row = [label, words.duration(bill.wall_s), processor_time(bill)]
    row.append("none" if bill.gpu_s == 0.0 else words.duration(bill.gpu_s))
    row.append(energy(bill))
    if rates.price_per_kwh is not None:
        row.append(words.price(bill.energy_price))
    if rates.price_per_hour is not None:
        row.append(words.price(bill.machine_price))
    return row


def _machine(bill: Bill) -> str:
    cores = words.counted(bill.cores or 0, "core")
    return f"{bill.processor or 'an unnamed processor'} ({cores} of it)"


def _notes(runs: Sequence[ReportedRun], rates: Rates) -> list[str]:
    source = (
        "the figure that the Green Algorithms calculator takes for a processor it does not know "
        "(Lannelongue, Grealey and Inouye 2021, Advanced Science 8, 2100707)"
        if rates.watts_per_core == WATTS_PER_CORE
        else "as given for this report"
    )
    notes = [
        "Processor time is that of all cores together: two busy cores take 2 h of it in 1 h.",
        f"The energy is an estimate: processor time times {rates.watts_per_core:g} W a core, "
        f"{source}. It is that of the processor alone: memory, screen and cooling come on top.",
    ]
    if any(each.bill.cpu_estimated for each in runs):
        notes.append(
            "at most: the run did not record its processor time, so that of all cores of its "
            "machine for the whole wall time stands in for it."
        )
    if rates.price_per_kwh is not None:
        kwh = words.price(rates.price_per_kwh)
        notes.append(f"its price: that of the energy, at {kwh} a kilowatt-hour.")
    if rates.price_per_hour is not None:
        hour = words.price(rates.price_per_hour)
        notes.append(f"machine: its price for the wall time, at {hour} an hour.")
    if any(each.bill.cpu_s is None for each in runs):
        notes.append(
            "not recorded: the run ended before it noted what it had taken, or is of a version "
            "that noted neither processor time nor cores."
        )
    return notes
