"""How comparisons and leaderboards look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
