"""How the results of `donkey-rl data` look on a terminal.

Each function takes the same mapping that `--json` prints, and writes to standard output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from donkey_rl import shell, terminal

_SHORT = 12


def show_sets(result: Mapping[str, Any]) -> None:
    """Shows data sets.

    Args:
        result: With `store`, `sets`, each a card, and `unreadable`, a sentence for each other.
    """
    console = terminal.console()
    terminal.lines(console, *(f"Problem: {each}" for each in result["unreadable"]))
    if not result["sets"] and result["unreadable"]:
        return
    if not result["sets"]:
        terminal.lines(
            console,
            f"{result['store']} holds no data set.",
            "Next:",
            f"  {terminal.command()} data push FOLDER --name NAME",
        )
        return
    rows = [
        (
            each["name"],
            each["version"][:_SHORT],
            f"{each['total']['races']:,}",
            f"{each['total']['minutes']:,.1f}",
            terminal.UNKNOWN if each["clean_share"] is None else f"{each['clean_share']:.0%}",
            f"{each['total']['frames']:,}",
            f"{each['bytes'] / 1e6:,.1f}",
        )
        for each in result["sets"]
    ]
    columns = ("name", "version", "races", "minutes", "clean", "frames", "MB")
    console.print(terminal.table(f"Data sets in {result['store']}", columns, rows))
    for each in result["sets"]:
        terminal.lines(console, *(f"Problem: {problem}" for problem in each["problems"]))


def show_push(result: Mapping[str, Any], *, named: bool = False) -> None:
    """Shows what a push did, the fields of `pushing.PushReport`.

    Args:
        result: The fields.
        named: Whether the store was named; what is typed next has to name it too.
    """
    console = terminal.console()
    terminal.lines(console, *(f"left out: {each}" for each in result["left_out"]))
    there = result["already_there"]
    facts = {
        "data set": f"{result['name']}@{result['version'][:_SHORT]}"
        + (", new" if result["is_new"] else ""),
        "added": f"{result['added']:,} files"
        + (f"; {there:,} were there already" if there else "")
        + (f", {result['mended']:,} of them mended" if result["mended"] else ""),
        "sent": f"{result['sent_bytes'] / 1e6:,.1f} MB to {result['store']}",
        "races in it": f"{result['races']:,}",
    }
    console.print(terminal.facts(facts))
    to_learn_from(result["name"], result["store"] if named else None)


def to_learn_from(name: str, store: str | None) -> None:
    """Says how a data set is looked at and learned from.

    Args:
        name: Of the set.
        store: Address of its store, None for the usual one.
    """
    train = f"train --set imitation.data=data:{name}"
    if store is None:
        _next(*(f"{terminal.command()} {each}" for each in (f"data show {name}", train)))
        return
    learn = f"{terminal.command()} {train}"
    _next(
        f"{terminal.command()} data show {name}{_in_store(store)}",
        shell.with_variable("DONKEY_RL_DATA", store, learn),
    )


def show_pull(result: Mapping[str, Any], store: str | None = None) -> None:
    """Shows what a pull did, the fields of `pulling.PullReport`.

    Args:
        result: The fields.
        store: Address of the store as it was named, None for the usual one.
    """
    console = terminal.console()
    label = f"{result['name']}@{result['version'][:_SHORT]}"
    facts = {
        "data set": label + (f", part {result['part']}" if result["part"] else ""),
        "folder": result["folder"],
        "files": f"{result['files'] - len(result['problems']):,} of {result['files']:,}"
        + (f"; {result['already_there']:,} were there" if result["already_there"] else ""),
        "fetched": f"{result['fetched_bytes'] / 1e6:,.1f} MB",
    }
    console.print(terminal.facts(facts))
    if result["problems"]:
        terminal.lines(console, *(f"Problem: {each}." for each in result["problems"]))
    if result["is_damaged"]:
        _next(f"{terminal.command()} data verify {result['name']}{_in_store(store)}")


def show_card(text: str) -> None:
    """Shows the card of a data set as it is written."""
    terminal.lines(terminal.console(), text.rstrip())


def show_split(result: Mapping[str, Any]) -> None:
    """Shows the parts of a split: `name`, `version`, `assigned`, `parts`."""
    console = terminal.console()
    rows = [
        (part, f"{each['races']:,}", f"{each['minutes']:,.1f}", f"{each['frames']:,}")
        for part, each in result["parts"].items()
    ]
    title = f"Parts of {result['name']}@{result['version'][:_SHORT]}"
    console.print(terminal.table(title, ("part", "races", "minutes", "frames"), rows))
    terminal.lines(console, f"{result['assigned']:,} races got a part; the others kept theirs.")


def show_merge(result: Mapping[str, Any]) -> None:
    """Shows a merged set: `name`, `version`, `files`, `races`, `sources`."""
    facts = {
        "data set": f"{result['name']}@{result['version'][:_SHORT]}",
        "holds": f"{result['files']:,} files, {result['races']:,} of them races",
        "merged from": ", ".join(result["sources"]),
    }
    terminal.console().print(terminal.facts(facts))


def show_verify(result: Mapping[str, Any], store: str | None = None) -> None:
    """Shows what was found in a store, the fields of `checking.VerifyReport`.

    Args:
        result: The fields.
        store: Address of the store as it was named, None for the usual one.
    """
    console = terminal.console()
    terminal.lines(
        console,
        *(f"repaired: {each}" for each in result["repaired"]),
        *(f"Problem: {each}" for each in result["problems"]),
        f"{result['files']:,} files, {result['bytes'] / 1e6:,.1f} MB, read in {result['store']}: "
        + (_problems(len(result["problems"])) if result["problems"] else "all whole."),
    )
    if result["unfinished"]:
        terminal.lines(
            console,
            f"{result['unfinished']:,} files in incoming/ are of pushes that were cut off or are "
            "going on; they may be deleted while nobody pushes.",
        )
    if result["problems"]:
        terminal.lines(
            console,
            "Push the files again from where they came, or mend from another store:",
            f"  {terminal.command()} data push FOLDER --name NAME --check{_in_store(store)}",
            f"  {terminal.command()} data verify --repair WHERE{_in_store(store)}",
        )


def _next(*lines: str) -> None:
    """Says what to type next."""
    terminal.lines(terminal.console(), "Next:", *(f"  {line}" for line in lines))


def _in_store(store: str | None) -> str:
    """Returns the option that names a store, where it is not the usual one."""
    return f" {shell.quoted('--store', store)}" if store else ""


def _problems(count: int) -> str:
    return "1 problem." if count == 1 else f"{count:,} problems."
