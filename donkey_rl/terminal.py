"""What the results of commands are made of on a terminal: tables, facts and whole lines."""

from __future__ import annotations

import pathlib
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table

from donkey_rl import formatting

_USUAL_WIDTH = 80
"""Of a terminal, in characters."""

UNKNOWN = "-"
_WORDS = frozenset({"run", "verdict", "id"})


def command() -> str:
    """Returns what to type for this program: its name, or its path where that is not found."""
    name = "donkey-rl"
    started = pathlib.Path(sys.argv[0])
    return name if shutil.which(name) or started.stem != name else str(started)


def console() -> Console:
    """Returns standard output, which takes texts as they are."""
    return Console(highlight=False, markup=False, emoji=False)


def lines(target: Console, *texts: str) -> None:
    """Writes lines whole, so that an id or a path can be copied from a narrow terminal."""
    for text in texts:
        target.print(formatting.printable(text), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Returns a table; the first column and words stand to the left, the others to the right.

    A column called `id` is never broken, so that an id can be copied from a narrow terminal.
    """
    made = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        # Else a long title is broken at the width of a narrow table.
        min_width=min(len(title), _USUAL_WIDTH),
    )
    for index, column in enumerate(columns):
        side: Literal["left", "right"] = "left" if index == 0 or column in _WORDS else "right"
        made.add_column(column, justify=side, overflow="fold", no_wrap=column == "id")
    for row in rows:
        made.add_row(*map(formatting.printable, row))
    return made


def facts(values: Mapping[str, str]) -> Table:
    """Returns names with their values, one pair below the other."""
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values.items():
        made.add_row(formatting.printable(name), formatting.printable(value))
    return made


def cell(value: object) -> str:
    """Returns any value of a result as text."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
    if isinstance(value, list | tuple):
        return " ".join(cell(inner) for inner in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def missed_deadlines(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns a line where a result has `missed_deadlines`, or none.

    Args:
        result: Of a training or an evaluation; its `simulator`, where known, says why.
    """
    count = result.get("missed_deadlines")
    if not count:
        return ()
    if result.get("simulator") == "embedded":
        return (
            f"{count:,} missed deadlines: its program answered later than a frame lasts, and "
            "drove on with the command before. --frame-limit-ms gives it longer.",
        )
    return (
        f"{count:,} missed deadlines: the simulator sent more before it was answered. Where they "
        "are many, lower its time scale.",
    )
