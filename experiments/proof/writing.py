"""A table as Markdown, with what it was made by and on; files that are written in one move."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import Final

from donkey_rl import moving
from donkey_rl.configuration import Config
from donkey_rl.errors import StorageError
from donkey_rl.experiments.proof.cells import UNKNOWN, Rows
from donkey_rl.experiments.proof.steps import Table

FORMAT = 2
"""Of what is kept of a command."""


class Kept(Config):
    """What is kept of a command that was carried out.

    Attributes:
        format: Version of the file.
        command: What was typed after `donkey-rl`.
        serves: Of the simulator that was served meanwhile, as `Step.serves`; None for none.
        version: Of this package.
        reads: What it read of this package, as `fingerprint.of` returns it.
        date: When it ended (UTC).
        wall_s: How long it took (s).
        load: Mean number of processes that wanted a core over its last minute, where known.
        machine: Processor, cores and versions.
        run_id: The run of its answer, empty for none.
        rows: What the table shows of it.
    """

    format: int = FORMAT
    command: tuple[str, ...]
    serves: tuple[str, ...] | None
    version: str
    reads: str
    date: str
    wall_s: float
    load: float | None
    machine: str
    run_id: str
    rows: Rows


_RUN: Final = re.compile(r"\b[0-9a-f]{32}\b")
"""A run's id, of which commands take the first characters as well."""

_SHORT: Final = 8


def typed(words: Sequence[str]) -> str:
    """Returns words of a command as they are typed."""
    return " ".join(words)


def rows(table: Table, done: Sequence[Kept]) -> Rows:
    """Returns the rows of a table.

    Args:
        table: Which.
        done: Its commands so far.
    """
    return table.summed([row for kept in done for row in kept.rows])


def markdown(table: Table, done: Sequence[Kept]) -> str:
    """Returns a table under a heading, with its note, machines, versions and commands.

    Args:
        table: Which.
        done: Its commands so far; with fewer than the table has, it says so.
    """
    shown = rows(table, done)
    heads = list(dict.fromkeys(head for row in shown for head in row))
    lines = [f"# {table.title}", ""]
    if len(done) < len(table.steps):
        lines += [f"Not finished: {len(done)} of {len(table.steps)} commands are done.", ""]
    if shown:
        lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        lines += [f"| {' | '.join(row.get(head, '') for head in heads)} |" for row in shown]
        lines.append("")
    lines += [table.note, ""] if table.note else []
    lines += [*_machines(done), "| command | ended (UTC) | took (s) | load at its end | run |"]
    lines += ["|---|---|---|---|---|"]
    lines += [_command(kept) for kept in done]
    return "\n".join(lines) + "\n"


def _machines(done: Sequence[Kept]) -> list[str]:
    """Returns a paragraph for each machine, with its commands where there are several."""
    found: dict[str, list[int]] = {}
    for number, kept in enumerate(done, 1):
        found.setdefault(kept.machine, []).append(number)
    lines = []
    for machine, numbers in found.items():
        of = f" of the commands {', '.join(map(str, numbers))}" if len(found) > 1 else ""
        lines += [f"Machine and versions{of}: {machine}", ""]
    return lines


def _command(kept: Kept) -> str:
    """Returns the row of a command: what was typed, when it ended, how long it took."""
    shown = _RUN.sub(lambda run: run[0][:_SHORT], typed(kept.command))
    ended = kept.date[:16].replace("T", " ")
    load = UNKNOWN if kept.load is None else f"{kept.load:.1f}"
    cells = (f"`donkey-rl {shown}`{_served(kept)}", ended, f"{kept.wall_s:.0f}", load)
    return f"| {' | '.join(cells)} | {kept.run_id[:_SHORT]} |"


def _served(kept: Kept) -> str:
    """Returns what is said of the simulator that was served while a command ran."""
    if kept.serves is None:
        return ""
    track, time_scale, *more = kept.serves
    words = ("sim", "--track", track, "--time-scale", time_scale, *more)
    return f" beside `donkey-rl {typed(words)}`"


def write(file: pathlib.Path, text: str, remedy: str) -> None:
    """Writes a file in one move.

    Args:
        file: Which; its folder is made.
        text: What it holds then.
        remedy: What to do where it cannot be written, a sentence.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        moving.write(file, text)
    except OSError as error:
        raise StorageError(
            f"'{file}' could not be written: {error.strerror or error}. {remedy}"
        ) from error
