"""How imported and exported tubs look on a terminal.

Each function takes the same mapping that `--json` prints, and writes to standard output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from donkey_rl import data_tables, terminal


def show_import(result: Mapping[str, Any], *, named: bool = False) -> None:
    """Shows what was imported, and what to type next.

    Args:
        result: With the fields of `tub_import.Imported`, and `pushed` with those of a
            `PushReport` where its races went into a data set.
        named: Whether the store of that was named.
    """
    console = terminal.console()
    facts = {
        "races": f"{result['races']:,}, {result['minutes']:.1f} minutes",
        "rows": f"{result['rows']:,}, {result['frames']:,} with a picture",
        "records": f"{result['records']:,}, {result['deleted']:,} deleted, "
        f"{result['left_out']:,} left out",
    }
    if result["unknown"]:
        facts["not recorded"] = ", ".join(result["unknown"])
    console.print(terminal.facts(facts))
    terminal.lines(console, *result["notes"])
    pushed = result.get("pushed")
    if pushed is not None:
        terminal.lines(
            console,
            *pushed["left_out"],
            f"{pushed['name']} now has {pushed['races']:,} races ({pushed['store']}).",
        )
        data_tables.to_learn_from(pushed["name"], pushed["store"] if named else None)
    else:
        terminal.lines(console, *result["files"])


def show_export(result: Mapping[str, Any]) -> None:
    """Shows what was exported.

    Args:
        result: With the fields of `tub_export.Written`.
    """
    console = terminal.console()
    numbers = "numbered anew" if result["renumbered"] else "as they were in their tub"
    facts = {
        "tub": result["folder"],
        "races": f"{result['races']:,}",
        "records": f"{result['records']:,}, {result['deleted']:,} deleted; {numbers}",
        "images": f"{result['images']:,}",
    }
    console.print(terminal.facts(facts))
    terminal.lines(console, *result["notes"])
