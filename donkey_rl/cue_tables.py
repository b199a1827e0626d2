"""How a probe for cues looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from donkey_rl import terminal

_RESULTS = ("cue", "moves", "yardstick", "towards", "95 % interval", "agrees", "flipped", "lost")


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Shows what cues do to a driver, and the pictures that are worth a label.

    Args:
        console: Where to.
        report: As `CueReport` dumps it, with `verdict`.
    """
    title = f"Steering on {report['track']} when a cue flips, and the score of the races"
    console.print(terminal.table(title, _RESULTS, _rows(report["cues"])))
    nominal = _figure(report["nominal"]["race_score"], ".2f")
    terminal.lines(
        console,
        f"Score without cues: {nominal}. Means over {report['places']} places and "
        f"{report['races']} races.",
    )
    questions: Sequence[Mapping[str, Any]] = report["questions"]
    if questions:
        names = tuple(questions[0]["predictions"])
        heads = ("picture", *names, "driver")
        cells = (
            (
                each["file"].removesuffix(".png"),
                *(f"{each['predictions'][name]:+.2f}" for name in names),
                f"{each['driver']:+.2f}",
            )
            for each in questions
        )
        console.print(
            terminal.table("Pictures worth a label: steering by each hypothesis", heads, cells)
        )
    beliefs = ", ".join(f"{name} {share:.0%}" for name, share in report["beliefs"].items())
    terminal.lines(console, f"By its own answers to them: {beliefs}.", report["verdict"])
    if report["folder"]:
        terminal.lines(console, f"  {report['folder']}")


def _rows(cues: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for each in cues:
        yield (
            each["cue"],
            f"{each['steering']['mean']:.2f}",
            f"{each['yardstick_steering']['mean']:.2f}",
            f"{each['towards']:+.2f}",
            f"{each['towards_low']:+.2f} to {each['towards_high']:+.2f}",
            _figure(each["correlated"]["race_score"], ".2f"),
            _figure(each["flipped"]["race_score"], ".2f"),
            _figure(each["share_lost"], ".0%"),
        )


def _figure(value: float | None, form: str) -> str:
    return terminal.UNKNOWN if value is None else f"{value:{form}}"
