"""How evaluations look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from donkey_rl import cue_tables, formatting, split_tables, terminal
from donkey_rl.terminal import UNKNOWN

_RACES = 10
"""Races shown one by one."""

_STANDING = ("race_score", "clean_laps", "best_lap_s")
"""Metrics that drivers are compared by at a glance."""

_NOTHING = {"mean": None, "ci_low": None, "ci_high": None}


def show(result: Mapping[str, Any]) -> None:
    """Shows a driver beside others, its scores, what it bears, its races, and the files written.

    Args:
        result: With `run_id`, `track`, `races`, `races_clean`, `metrics` (by name: `mean`,
            `ci_low`, `ci_high`, and where known `median` and `iqm`), and where known `driver`,
            `yardsticks`, `robustness`, `kept`, `cues`, `failures`, `files` (paths, or paths by
            name), `per_race`: one mapping of the same columns for each race, `missed_deadlines`,
            `others`: results of further tracks, and `split`: the sums over a split of tracks,
            which then are all that is shown.
    """
    console = terminal.console()
    if result.get("split"):
        split_tables.show(console, result["split"])
        terminal.lines(console, f"Kept in run {result['run_id']}, track by track.")
        return
    for each in (result, *(result.get("others") or ())):
        _show_standing(console, each)
    _show_metrics(console, result)
    for each in (result, *(result.get("others") or ())):
        if each.get("robustness"):
            _show_robustness(console, each)
        if each.get("cues"):
            cue_tables.show(console, each["cues"])
    per_race: Sequence[Mapping[str, Any]] = result.get("per_race") or []
    if per_race:
        columns = tuple(per_race[0])
        cells = (
            tuple(
                str(race[name]) if name == "seed" else terminal.cell(race.get(name))
                for name in columns
            )
            for race in per_race[:_RACES]
        )
        title = "Races" if len(per_race) <= _RACES else f"The first {_RACES} races"
        title += f" on {result['track']}" if result.get("others") else ""
        console.print(
            terminal.table(title, tuple(name.replace("_", " ") for name in columns), cells)
        )
    others = result.get("others") or ()
    for each in (result, *others):
        where = f"{each['track']}: " if others else ""
        clean = f"{where}{each['races_clean']} of {each['races']} races clean."
        terminal.lines(console, clean, *terminal.missed_deadlines(each))
        terminal.lines(console, *each.get("failures", ()))
    files = result.get("files") or ()
    if files:
        terminal.lines(
            console,
            f"Kept in run {result['run_id']}; `{terminal.command()} dashboard` shows them:",
        )
    for file in files.values() if isinstance(files, Mapping) else files:
        terminal.lines(console, f"  {file}")


def _show_standing(console: Console, result: Mapping[str, Any]) -> None:
    """Shows a driver's main figures on one track, beside those of its yardsticks."""
    if "driver" not in result:
        return
    own = {"name": result["driver"], "races": result["races"], "metrics": result["metrics"]}
    rows = []
    for each in (own, *result["yardsticks"]):
        scores = [each["metrics"].get(name, _NOTHING) for name in _STANDING]
        means = [_figure(figure["mean"]) for figure in scores]
        cells = (means[0], _interval(scores[0]), *means[1:])
        rows.append((each["name"], str(each["races"]), *cells))
    conditions = "".join(f", {name} {value}" for name, value in result["conditions"].items())
    title = (
        f"{result['track']}{' (held out)' if result['held_out'] else ''}, {result['vehicle']}, "
        f"{_count(result['laps_wanted'], 'lap')} a race{conditions}"
    )
    columns = ("driver", "races", "score", "95 % interval", "clean laps", "best lap (s)")
    console.print(terminal.table(title, columns, rows))
    if result["privileged"]:
        terminal.lines(
            console, f"{result['driver']} knows where it is, which no race tells a driver."
        )
    terminal.lines(console, *(f"{each['name']}: {each['note']}." for each in result["yardsticks"]))


def _show_metrics(console: Console, result: Mapping[str, Any]) -> None:
    """Shows all metrics over the races, the score first."""
    metrics: Mapping[str, Any] = result["metrics"]
    first = [name for name in _STANDING if name in metrics]
    rows = (
        (
            name,
            _figure(metrics[name]["mean"]),
            _interval(metrics[name]),
            _figure(metrics[name].get("median")),
            _figure(metrics[name].get("iqm")),
        )
        for name in (*first, *(name for name in metrics if name not in first))
    )
    title = f"{result['track']}, over {_count(result['races'], 'race')}"
    columns = ("metric", "mean", "95 % interval", "median", "middle half")
    console.print(terminal.table(title, columns, rows))


def _show_robustness(console: Console, result: Mapping[str, Any]) -> None:
    """Shows what is left of the score under changes, and on average."""
    rows = (
        (name, _percent(each["kept"]), _figure(each["score"]["mean"]), _interval(each["score"]))
        for name, each in result["robustness"].items()
    )
    heads = ("changed", "kept", "score", "95 % interval")
    console.print(terminal.table(f"Score under changes, {result['track']}", heads, rows))
    terminal.lines(
        console, f"Robustness: {_percent(result.get('kept'))} of the score kept on average."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def _interval(score: Mapping[str, Any]) -> str:
    if score["ci_low"] is None or score["ci_high"] is None:
        return UNKNOWN
    return f"{_figure(score['ci_low'])} to {_figure(score['ci_high'])}"


def _figure(value: float | None) -> str:
    """Returns a score, which may be small or large, with the digits that count."""
    return UNKNOWN if value is None else formatting.number(value, 4)
