"""How an evaluation on a split of tracks looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from donkey_rl import terminal
from donkey_rl.terminal import UNKNOWN

_FIGURES = ("clean races", "95 % interval", "disqualified", "score", "pace")
_SEEN = {True: "yes", False: "no", None: UNKNOWN}


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Shows a driver's figures on each part of a split and on each track, and what is no evidence.

    Args:
        console: Where to.
        report: As `SplitReport` dumps it.
    """
    look = f", look {report['look']}" if report["look"] else ""
    heads = ("part", "tracks", "races", *_FIGURES, "weakest track", "there")
    title = f"Split {report['name']}{look}"
    console.print(terminal.table(title, heads, _parts(report)))
    columns = ("track", "part", "seen", "races", *_FIGURES)
    console.print(terminal.table("Track by track", columns, _tracks(report)))
    terminal.lines(console, *(f"WARNING: {line}" for line in report["warnings"]))


def _parts(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for row in report["parts"]:
        yield (
            row["part"].replace("_", "-"),
            str(row["tracks"]),
            str(row["races"]),
            *_figures(row),
            row["weakest"],
            f"{row['weakest_clean']:.0%}",
        )


def _tracks(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for row in report["tracks"]:
        part = row["part"].replace("_", "-")
        yield row["track"], part, _SEEN[row["seen"]], str(row["races"]), *_figures(row)


def _figures(row: Mapping[str, Any]) -> tuple[str, ...]:
    clean = row["clean"]
    return (
        f"{clean['value']:.0%}",
        f"{clean['low']:.0%} to {clean['high']:.0%}",
        f"{row['disqualified']['value']:.0%}",
        _number(row["score"]["value"]),
        _number(row["pace"]["value"]),
    )


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"
