"""Pieces of reStructuredText: titles, tables, text that is shown as it is."""

from __future__ import annotations

import re
from typing import Any


def title(text: str, underline: str) -> list[str]:
    """Returns a title with its line below, of characters that tell its level."""
    return [text, underline * len(text), ""]


def table(heads: str, rows: Any) -> list[str]:
    """Returns a table; `heads` are its column heads with commas, none for a table of facts."""
    lines = [".. list-table::"]
    lines += ["   :header-rows: 1"] if heads else ["   :stub-columns: 1"]
    lines += [""]
    for row in ([heads.split(",")] if heads else []) + [list(row) for row in rows]:
        for k, cell in enumerate(row):
            lines.append(f"   {'* -' if k == 0 else '  -'} {' '.join(str(cell).split())}".rstrip())
    return lines


def escaped(text: str) -> str:
    """Returns plain text so that reStructuredText shows it as it is."""
    return re.sub(r"([\\*`|]|(?<=\w)_(?!\w))", r"\\\1", text)
