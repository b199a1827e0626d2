"""How a rehearsal looks on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from donkey_rl import terminal

_MOST = 40
"""Violations shown one by one."""


def show(result: Mapping[str, Any]) -> None:
    """Shows the final order, what came of the faults, and the rules that were broken.

    Args:
        result: An `EveningResult` as JSON values.
    """
    console = terminal.console()
    places = (
        (
            str(place),
            f"{each['name']}{' (we)' if each['ours'] else ''}",
            terminal.cell(each["best_lap_s"]),
            str(each["laps"]),
            "yes" if each["dq"] else "",
        )
        for place, each in enumerate(result["standings"], 1)
    )
    console.print(
        terminal.table(
            "Final order", ("", "racer", "best lap (s)", "laps", "disqualified"), places
        )
    )
    if result["faults"]:
        rows = (
            (
                kind,
                str(each["injected"]),
                str(each["moving"]),
                str(each["connected"]),
                terminal.cell(each["slowest_back_s"]),
                str(each["violations"] or ""),
            )
            for kind, each in result["faults"].items()
        )
        columns = ("fault", "times", "driving again", "connected", "slowest (s)", "violations")
        console.print(terminal.table("Faults", columns, rows))
    latency = ", ".join(f"{name} {value:.1f} ms" for name, value in result["latency_ms"].items())
    terminal.lines(
        console,
        f"Our car: {result['laps']} laps, {result['frames']} frames, {result['disconnects']} "
        f"disconnects; frame to command {latency or 'unknown'}.",
    )
    broken = result["violations"]
    for each in broken[:_MOST]:
        after = f", after {each['after']}" if each["after"] else ""
        terminal.lines(
            console,
            f"BROKEN at {each['at_s']:.1f} s of evening {each['evening']}: {each['rule']}: "
            f"{each['text']}{after}.",
        )
    if len(broken) > _MOST:
        terminal.lines(console, f"... and {len(broken) - _MOST} more, see --json.")
    terminal.lines(
        console,
        f"{len(broken) or 'No'} rules broken. {result['evenings']} evenings, "
        f"{result['wall_s'] / 60:.1f} min. Everything is in '{result['folder']}'.",
    )
