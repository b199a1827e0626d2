"""How a driver's agreement with a recording looks on a terminal.

The functions take the same mapping that `--json` prints, and write to standard output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from donkey_rl import terminal

_ROWS = {
    "steering": "driver",
    "steering_by_own_actions": "by own actions",
    "steering_unchanged": "copied command",
}
_COLUMNS = {"correlation": "correlation", "rmse": "rmse", "lag_frames": "lag, frames"}


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
    console.print(terminal.table(title, ("", *_COLUMNS.values()), rows))
    terminal.lines(
        console,
        f"{result['frames']:,} frames of {result['drives']:,} drives, {result['minutes']:.1f} "
        "minutes; in brackets 95 % intervals, from blocks of 100 frames. By own actions: it sees "
        "its own last actions in place of the recorded ones. Copied command: what the recorded "
        "command of the frame before comes to.",
        *(f"Assumed: {name} {value}." for name, value in result["assumed"].items()),
        *result["notes"],
    )
    if result["plot"]:
        terminal.lines(console, f"Drawn in {result['plot']}.")


def _figure(steering: Mapping[str, Any], column: str) -> str:
    digits = 0 if column == "lag_frames" else 2
    found = (steering[column], *steering["intervals"][column])
    value, low, high = (terminal.UNKNOWN if x is None else f"{x:.{digits}f}" for x in found)
    return value if low == terminal.UNKNOWN else f"{value} [{low}, {high}]"
