"""How a driver's agreement with a recording looks on a terminal.

The functions take the same mapping that `--json` prints, and write to standard output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from donkey_rl import terminal

_ROWS = {
    "steering": "driver",
    "steering_by_own_actions": "driver by its own last actions",
    "steering_unchanged": "recorded command before",
}
_COLUMNS = ("correlation", "rmse", "bias", "lag_frames")


def show(result: Mapping[str, Any]) -> None:
    """Shows how a driver's steering agrees with the recorded one.

    Args:
        result: With the fields of `tub_agreement.TubResult`.
    """
    console = terminal.console()
    rows = [
        (name, *(_figure(result[key], column) for column in _COLUMNS))
        for key, name in _ROWS.items()
    ]
    title = f"Steering of {result['driver']} against {result['tub']}"
    console.print(terminal.table(title, ("", *_COLUMNS), rows))
    terminal.lines(
        console,
        f"{result['frames']:,} frames of {result['drives']:,} drives, {result['minutes']:.1f} "
        "minutes; in brackets 95 % intervals, from blocks of 100 frames.",
        *(f"Assumed: {name} {value}." for name, value in result["assumed"].items()),
        *result["notes"],
    )
    if result["plot"]:
        terminal.lines(console, f"Drawn in {result['plot']}.")


def _figure(steering: Mapping[str, Any], column: str) -> str:
    low, high = steering["intervals"][column]
    digits = 0 if column == "lag_frames" else 2
    value = steering[column]
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
