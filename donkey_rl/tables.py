"""How the results of commands look on a terminal.

Each function takes the same mapping that `--json` prints, and writes to standard output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from donkey_rl import shell
from donkey_rl.terminal import UNKNOWN
from donkey_rl.terminal import cell as _cell
from donkey_rl.terminal import command as _command
from donkey_rl.terminal import console as _console
from donkey_rl.terminal import facts as _facts
from donkey_rl.terminal import lines as _lines
from donkey_rl.terminal import missed_deadlines as _missed
from donkey_rl.terminal import table as _table

_RANGE = ("value", "low", "high")


def show_training(result: Mapping[str, Any]) -> None:
    """Shows the laps of a trained driver, its run id, and what to type next.

    Args:
        result: With `run_id`, `steps`, `wall_s`, `first_clean_lap_wall_s`,
            `first_clean_lap_steps`, `best_lap_s`, `stopped`, and where the driver was raced at
            the end `laps`: mappings with `number`, `time_s`, `clean` and `reasons`;
            `missed_deadlines`, `updates_dropped` and `failures`, shown where there are any; and
            `driver_stored`.
    """
    console = _console()
    laps = result.get("laps") or []
    if laps:
        rows = ((str(lap["number"]), _number(lap["time_s"]), _verdict(lap)) for lap in laps)
        console.print(_table("Laps of the trained driver", ("lap", "time (s)", ""), rows))
    first = result.get("first_clean_lap_wall_s")
    facts = {
        "first clean lap": "none"
        if first is None
        else f"after {first:.0f} s and {result.get('first_clean_lap_steps') or 0:,} steps",
        "best lap": "none" if result["best_lap_s"] is None else f"{result['best_lap_s']:.2f} s",
        "trained": f"{result['steps']:,} steps in {result['wall_s']:.0f} s",
    }
    console.print(_facts(facts))
    _lines(console, *_missed(result), *_dropped(result), *result.get("failures", ()))
    _lines(console, f"run {result['run_id']}{' (stopped)' if result.get('stopped') else ''}")
    if not result["driver_stored"]:
        _lines(console, "No driver was stored: the run ended before driving began.")
        return
    resume = f"  {_command()} train --resume {result['run_id']}"
    _lines(
        console,
        "Next:",
        *((resume,) if result.get("stopped") else ()),
        f"  {_command()} evaluate {result['run_id']}",
        f"  {_command()} dashboard",
    )


def _dropped(result: Mapping[str, Any]) -> tuple[str, ...]:
    count = result.get("updates_dropped")
    if not count:
        return ()
    return (
        f"{count:,} gradient steps were left out: the simulator went on faster than they were "
        "taken. Take fewer with sac.gradient_steps; in lock-step set sac.overlap=false.",
    )


def show_recipes(rows: Iterable[Mapping[str, Any]]) -> None:
    """Shows what recipes are for.

    Args:
        rows: Each with `name`, `purpose` and `also`, its other names or None.
    """
    console = _console()
    for row in rows:
        also = f" (also: {row['also']})" if row["also"] else ""
        console.print(f"{row['name']}{also}")
        console.print(Padding(row["purpose"], (0, 0, 0, 4)))


def show_report(result: Mapping[str, Any]) -> None:
    """Shows what a report begins with, and where it is.

    Args:
        result: With `summary`, `problems`, `out` and `bytes`.
    """
    console = _console()
    _lines(console, *result["summary"])
    _lines(console, *(f"left out: {each}" for each in result["problems"]))
    _lines(console, f"{result['out']}, {result['bytes'] / 1e6:.1f} MB, opens in any browser.")


def show_speeds(result: Mapping[str, Any]) -> None:
    """Shows the figures of a benchmark, groups of them as `group.name`."""
    console, driving = _console(), result.get("driving", ())
    speeds = {name: value for name, value in result.items() if name != "driving"}
    rows = ((name, _cell(value)) for name, value in _flat(speeds, ""))
    console.print(_table("Speed on this machine", ("figure", "value"), rows))
    if driving:
        heads = tuple(dict.fromkeys(name for party in driving for name in party))
        lines = (tuple(_cell(party.get(name)) for name in heads) for party in driving)
        console.print(_table("Agents in the same time", heads, lines))


def show_metrics(metrics: Iterable[Mapping[str, Any]]) -> None:
    """Shows metrics: `name`, `unit`, `better`, `low`, `high`, `description`, `formula`."""
    table = Table(title="Metrics of a race", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("name", no_wrap=True)
    for column in ("unit", "better", "range", "what, and how"):
        table.add_column(column, overflow="fold")
    for each in metrics:
        low, high = (
            "" if each[bound] is None else f"{each[bound]:g}" for bound in ("low", "high")
        )
        text = " ".join(part for part in (each["description"], each["formula"]) if part)
        table.add_row(each["name"], each["unit"], each["better"], f"{low} .. {high}", text)
    _console().print(table)


def show_tracks(tracks: Iterable[Mapping[str, Any]]) -> None:
    """Shows tracks: `name`, `length_u`, `road_width_u`, `kind`."""
    rows = (
        (
            str(each["name"]),
            f"{each['length_u']:.1f}",
            f"{each['road_width_u']:.1f}",
            str(each["kind"]),
        )
        for each in tracks
    )
    _console().print(_table("Tracks", ("name", "length (u)", "road (u)", "kind"), rows))


def show_track(track: Mapping[str, Any]) -> None:
    """Shows one track, as `show_tracks` does, and its `plot`."""
    show_tracks([track])
    _lines(_console(), f"Drawn: {track['plot']}")


def show_limit(result: Mapping[str, Any]) -> None:
    """Shows a time-optimal lap, the keys of `envs.optimal.computing.compute`."""
    _lines(
        _console(),
        f"{result['track']}, {result['vehicle']}: {result['lap_s']:.2f} s at the limit "
        f"({result['quasi_steady_s']:.2f} s by the second method)",
        f"{result['least_speed']:.1f} to {result['top_speed']:.1f} u/s",
        *(f"Written: {file}" for file in result["files"]),
    )


def show_recorded_track(result: Mapping[str, Any]) -> None:
    """Shows a recorded track and what to type next.

    Args:
        result: With `file`, `method`, `points`, `length_u`, `closed`, `road_left_u`,
            `road_right_u` and `notes`.
    """
    console = _console()
    facts = {
        "track file": result["file"],
        "centre line": f"{result['length_u']:.1f} u, {result['points']:,} points"
        + (", a circuit" if result["closed"] else ", an open road"),
        "found by": {"nodes": "asking for its nodes", "lap": "driving a lap"}[result["method"]],
        "road": f"{result['road_left_u']:g} to {result['road_right_u']:g} u",
    }
    console.print(_facts(facts))
    _lines(
        console,
        *result["notes"],
        "Next:",
        f"  {_command()} {shell.quoted('tracks', 'show', result['file'])}",
        f"  {_command()} {shell.quoted('train', '--agent', 'sac', '--track', result['file'])}",
    )


def show_findings(findings: Iterable[Mapping[str, Any]]) -> None:
    """Shows what a check-up found: `check`, `ok`, `found` and `remedy` of each."""
    console = _console()
    for each in findings:
        _lines(console, f"{'ok  ' if each['ok'] else 'FAIL'} {each['check']}: {each['found']}")
        if each["remedy"]:
            _lines(console, f"     {each['remedy']}")


def show_comparison(result: Mapping[str, Any]) -> None:
    """Shows how close the embedded simulator comes to recordings.

    Args:
        result: With `track`, `vehicle`, `geometry`, `motion`, `picture`, `reading`,
            `not_measurable` (reasons by part) and `recordings` (each with `name`, `records`,
            `frames`, `seconds`, `notes`, `picture`).
    """
    console = _console()
    rows = (
        (each["name"], f"{each['records']:,}", f"{each['frames']:,}", f"{each['seconds']:.0f}")
        for each in result["recordings"]
    )
    title = f"Recordings on {result['track'] or 'no known track'}, car {result['vehicle']}"
    console.print(_table(title, ("recording", "records", "frames", "simulation s"), rows))
    cte, read = result["geometry"]["cte"], result["reading"]
    motion, picture = result["motion"], result["picture"]
    figures = (
        ("cte: correlation", cte["correlation"], ".4f"),
        ("cte: mean difference (u)", cte["mean_difference"], ".3f"),
        ("speed after 1 s: error", motion["speed_error_1s"], ".1%"),
        ("position after 1 s: error (u)", motion["position_error_1s"], ".2f"),
        ("horizon (pixels)", picture["horizon_px"], ".1f"),
        ("centre line (pixels)", picture["centre_line_px"], ".1f"),
        ("right edge line (pixels)", picture["edge_line_px"], ".1f"),
        ("lateral offset read: correlation", read["lateral_offset"]["correlation"], ".3f"),
        ("lateral offset read: RMSE (u)", read["lateral_offset"]["rmse"], ".2f"),
        ("heading read: correlation", read["heading"]["correlation"], ".3f"),
        ("heading read: RMSE (rad)", read["heading"]["rmse"], ".3f"),
    )
    shown = (
        (name, UNKNOWN if value is None else f"{value:{form}}") for name, value, form in figures
    )
    console.print(_table("Embedded simulator against recordings", ("figure", ""), shown))
    for each in result["recordings"]:
        _show_estimates(console, each)
    for part, reason in result["not_measurable"].items():
        _lines(console, f"Not measurable: {part}: {reason}.")
    for each in result["recordings"]:
        for part in ("geometry", "motion", "picture", "reading"):
            if each[part]["reason"] and part not in result["not_measurable"]:
                _lines(console, f"{each['name']}: {part}: {each[part]['reason']}.")
        for note in each["notes"]:
            _lines(console, f"{each['name']}: {note}")
    if result.get("sheet"):
        _lines(console, f"Pairs of frames: {result['sheet']}")


def _show_estimates(console: Console, recording: Mapping[str, Any]) -> None:
    """Shows the car and the camera of one recording, as far as they were estimated."""
    fit = {name: each for name, each in recording["motion"]["fit"].items() if each["value"]}
    if fit:
        cells = ((name, _cell(each["configured"]), *_ranged(each)) for name, each in fit.items())
        title = f"Car of {recording['name']}"
        console.print(_table(title, ("figure", "configured", "fitted", "low", "high"), cells))
    figures = recording["picture"]["estimate"]["figures"]
    if figures:
        rows = ((name, *_ranged(each)) for name, each in figures.items())
        title = f"Camera of {recording['name']}; drive with it: --set camera.fov=..."
        console.print(_table(title, ("setting", "estimate", "low", "high"), rows))


def _ranged(figure: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(UNKNOWN if figure[key] is None else f"{figure[key]:.3f}" for key in _RANGE)


def _verdict(lap: Mapping[str, Any]) -> str:
    return "clean" if lap["clean"] else ", ".join(lap.get("reasons") or ["not clean"])


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
