"""Marked parts of a page of Markdown, each of which holds a table; the rest is kept by hand.

A part stands between two lines of their own::

    <!-- prove link -->
    <!-- end -->
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments.proof import writing

_BEGIN: Final = re.compile(r"<!-- prove ([^ ]+) -->")
_END: Final = "<!-- end -->"
_FENCE: Final = ("```", "~~~")

_LARGEST = 2_000_000
"""Bytes of a page."""

_REMEDY = "Make --into a file that you may write to."


class Part(NamedTuple):
    """A marked part of a page.

    Attributes:
        name: Of its table.
        begin: Number of the line that opens it, from 0.
        end: Number of the line that closes it.
        level: Of the heading that it stands below, 0 for none.
    """

    name: str
    begin: int
    end: int
    level: int


def parts(lines: Sequence[str]) -> dict[str, Part]:
    """Returns the marked parts of a page by their tables' names.

    Args:
        lines: Of the page, without their ends.

    Raises:
        InputError: A mark is not closed, closes nothing, or is there twice.
    """
    found: dict[str, Part] = {}
    opened: tuple[str, int] | None = None
    level, fenced = 0, False
    for number, line in enumerate(lines):
        text = line.strip()
        if text.startswith(_FENCE):
            fenced = not fenced
        elif fenced:
            continue
        elif (mark := _BEGIN.fullmatch(text)) is not None:
            if opened is not None:
                raise _unclosed(*opened)
            if mark[1] in found:
                raise InputError(
                    f"Expected one mark of each table. Received: '{text}' in line {number + 1} "
                    f"and in line {found[mark[1]].begin + 1}. Take one away."
                )
            opened = (mark[1], number)
        elif text == _END:
            if opened is None:
                raise InputError(
                    f"Expected '{_END}' to close a mark. Received: one in line {number + 1} that "
                    "closes none. Take it away, or put '<!-- prove TABLE -->' before it."
                )
            name, begin = opened
            found[name] = Part(name, begin, number, level)
            opened = None
        elif opened is None and line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
    if opened is not None:
        raise _unclosed(*opened)
    return found


def _unclosed(name: str, number: int) -> InputError:
    return InputError(
        f"Expected '{_END}' before the next mark and the end of the page. Received: "
        f"'<!-- prove {name} -->' in line {number + 1}, which is not closed. Close it."
    )


def check(page: pathlib.Path, names: Sequence[str]) -> None:
    """Refuses a page that tables cannot be put into, before any work is done.

    Args:
        page: The file.
        names: Of the tables.

    Raises:
        InputError: It cannot be read, its marks do not fit together, or one is missing.
    """
    there = parts(_lines(page))
    for name in names:
        _part(there, name, page)


def put_in(page: pathlib.Path, name: str, table: str) -> None:
    """Puts a table into its marked part, one level below the heading that the part stands under.

    Args:
        page: The file, which is replaced in one move; all other lines stay as they are.
        name: Of the table.
        table: As Markdown, below a heading of level 1.

    Raises:
        InputError: The page cannot be read, its marks do not fit together, or this is missing.
        StorageError: It cannot be written.
    """
    lines = _lines(page)
    part = _part(parts(lines), name, page)
    inside = ["", *("#" * part.level + table).rstrip("\n").split("\n"), ""]
    changed = [*lines[: part.begin + 1], *inside, *lines[part.end :]]
    if changed != lines:
        writing.write(page, "\n".join(changed), _REMEDY)


def _part(there: dict[str, Part], name: str, page: pathlib.Path) -> Part:
    if not there:
        raise InputError(
            f"Expected marked parts in '{page}'. Received: none. Put the lines "
            f"'<!-- prove {name} -->' and '{_END}' where the table belongs."
        )
    if name not in there:
        remedy = f"Put '<!-- prove {name} -->' and '{_END}' where the table belongs."
        raise UnknownNameError(f"mark in '{page}':", name, there, remedy=remedy)
    return there[name]


def _lines(page: pathlib.Path) -> list[str]:
    """Returns the lines of a page; the last is empty where it ends as text files do."""
    try:
        with page.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST:,} bytes")
        return content.decode("utf-8").split("\n")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise InputError(
            f"Expected --into to be a page of Markdown. Received: '{page}' ({reason}). {_REMEDY}"
        ) from error
