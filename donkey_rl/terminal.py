"""What the results of commands are made of on a terminal: tables, facts and whole lines."""

from __future__ import annotations

import pathlib
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

UNKNOWN = "-"


def command() -> str:
    """Returns what to type for this program: its name, or its path where that is not found."""
    name = "donkey-rl"
    started = pathlib.Path(sys.argv[0])
    return name if shutil.which(name) or started.stem != name else str(started)


def console() -> Console:
    """Returns standard output, which takes texts as they are."""
    return Console(highlight=False, markup=False)


def lines(target: Console, *texts: str) -> None:
    """Writes lines whole, so that an id or a path can be copied from a narrow terminal."""
    for text in texts:
        target.print(text, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Returns a table; the first column stands to the left, the others to the right."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def facts(values: Mapping[str, str]) -> Table:
    """Returns names with their values, one pair below the other."""
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values.items():
        made.add_row(name, value)
    return made
