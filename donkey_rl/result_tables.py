"""How comparisons, leaderboards and ensembles look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from donkey_rl import terminal

Texts = tuple[str, Sequence[str], Iterable[Sequence[str]]]
"""A table: its title, its headers and its rows."""


def show(
    lead: str, tables: Iterable[Texts], sentences: Sequence[str], notes: Sequence[str]
) -> None:
    """Shows tables of results.

    Args:
        lead: What was driven, above them.
        tables: The tables.
        sentences: What they come to, below them.
        notes: What was left out or written, at the end.
    """
    console = terminal.console()
    terminal.lines(console, lead)
    for title, headers, rows in tables:
        console.print(terminal.table(title, headers, rows))
    terminal.lines(console, *sentences, *notes)


def _slowing(evaluator: Mapping[str, Any]) -> str:
    if not evaluator["slowing"]:
        return ""
    usual = f"above a disagreement of {evaluator['threshold']:.3f}, which is usual"
    return f"; takes off {evaluator['slowing']:g} of throttle {usual}"


def show_ensemble(result: Mapping[str, Any]) -> None:
    """Shows the members of an ensemble, what a choice among them came to, and its run.

    Args:
        result: As `donkey-rl ensemble --json` prints it.
    """
    console = terminal.console()
    rows = [
        (name, f"{100 * weight:.0f} %")
        for name, weight in zip(result["members"], result["weights"], strict=True)
    ]
    console.print(terminal.table(result["name"], ("id", "weight"), rows))
    made = result["evaluator"]
    terminal.lines(console, f"evaluator {made['kind']}{_slowing(made)}")
    committee = result.get("committee")
    if committee is not None:
        terminal.lines(console, committee["sentence"], *committee["left_out"])
    if result["run_id"]:
        evaluate = f"  {terminal.command()} evaluate {result['run_id']}"
        terminal.lines(console, f"run {result['run_id']}", "Next:", evaluate)
