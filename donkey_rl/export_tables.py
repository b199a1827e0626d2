"""How an exported driver looks on a terminal.

The functions take the same mapping that `--json` prints, and write to standard output.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from donkey_rl import terminal


def show(result: Mapping[str, Any]) -> None:
    """Shows what was exported, how far it is from the original, and how to use it.

    Args:
        result: With the fields of `result.ExportResult`.
    """
    console = terminal.console()
    frames = result["frames"]
    rows = [
        (
            pathlib.Path(model["file"]).name,
            f"{model['bytes'] / 1000:,.0f}",
            f"{model['largest_action_difference']:.2g}",
            f"{model['ms']['p50']:.2f}",
            f"{model['ms']['p99']:.2f}",
            f"{model['highest_rate_hz']:,.0f}",
        )
        for model in result["models"]
    ]
    columns = ("file", "kB", "difference", "p50 ms", "p99 ms", "Hz")
    console.print(terminal.table(f"{result['driver']} for {result['to']}", columns, rows))
    terminal.lines(
        console,
        f"difference: the largest of an action in [-1, 1] on {frames['count']} frames "
        f"({frames['source']}); {result['tolerance']:g} at most. ms: processor time on one core.",
    )
    if result["quantise"]:
        terminal.lines(console, f"{result['rounded']:.0%} of the weights are in 8 bits.")
    for model in result["models"]:
        terminal.lines(console, f"  {model['use']}")
        if model["change"] is not None:
            terminal.lines(console, f"    {_change(model)}")
    same = [model["is_same_driver"] for model in result["models"]]
    if None in same:
        terminal.lines(
            console,
            "warning: the recording has no speed, so what holding it does to this driver is not "
            "seen. Take frames that have one, or leave --tub out; the part drives as the driver.",
        )
    if False in same:
        terminal.lines(
            console,
            "warning: this driver needs its speed and last actions. The models of donkeycar's own "
            "types drive otherwise than it does; the part drives as it does.",
        )
    terminal.lines(console, f"Written to {result['output']}.")


def _change(model: Mapping[str, Any]) -> str:
    held, change = model["held"], model["change"]
    return (
        f"speed held at {held['speed']:.2f}, which changes actions by {change['steering']:.2f} "
        f"(steering) and {change['throttle']:.2f} (throttle), root mean square"
    )
