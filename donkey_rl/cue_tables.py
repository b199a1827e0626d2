"""How a probe for cues looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from donkey_rl import terminal

_RESULTS = (
    "cue",
    "steering moves",
    "yardstick",
    "follows the cue",
    "score: agrees",
    "flipped",
    "lost",
)


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Shows what cues do to a driver, and the pictures that are worth a label.

    Args:
        console: Where to.
        report: As `CueReport` dumps it, with `verdict`.
    """
    title = f"Cues on {report['track']}: {report['places']} places, {report['races']} races each"
    console.print(terminal.table(title, _RESULTS, _rows(report["cues"])))
    questions: Sequence[Mapping[str, Any]] = report["questions"]
    if questions:
        names = tuple(questions[0]["predictions"])
        heads = ("picture", *(f"by {name}" for name in names), "the driver")
        cells = (
            (
                each["file"],
                *(f"{each['predictions'][name]:+.2f}" for name in names),
                f"{each['driver']:+.2f}",
            )
            for each in questions
        )
        console.print(terminal.table("Steering in the pictures worth a label", heads, cells))
    beliefs = ", ".join(f"{name} {share:.0%}" for name, share in report["beliefs"].items())
    terminal.lines(console, f"By its own answers to them: {beliefs}.", report["verdict"])
    if report["folder"]:
        terminal.lines(console, f"  {report['folder']}")


def _rows(cues: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for each in cues:
        yield (
            each["cue"],
            f"{each['steering']['mean']:.3f}",
            f"{each['yardstick_steering']['mean']:.3f}",
            f"{each['towards']:+.3f} [{each['towards_low']:+.3f}, {each['towards_high']:+.3f}]",
            _figure(each["correlated"]["race_score"], ".3g"),
            _figure(each["flipped"]["race_score"], ".3g"),
            _figure(each["share_lost"], ".0%"),
        )


def _figure(value: float | None, form: str) -> str:
    return terminal.UNKNOWN if value is None else f"{value:{form}}"
