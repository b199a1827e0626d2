"""How a sweep looks on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from donkey_rl import formatting, result_tables, shell, terminal


def show(result: Mapping[str, Any]) -> None:
    """Shows the best settings of a sweep, what mattered, and what to type next.

    Args:
        result: What `donkey-rl sweep --json` prints.
    """
    best = result["best"]
    result_tables.show(
        _lead(result),
        () if best is None else (_settings(result, best),),
        _sentences(result, best),
        ("Next:", *(f"  {line}" for line in _next(result, best))),
    )


def _lead(result: Mapping[str, Any]) -> str:
    counts = result["trials"]
    told = [f"{counts['complete']} complete", f"{counts['pruned']} given up early"]
    told += [f"{counts[name]} {name}" for name in ("failed", "running") if counts[name]]
    ended = " (stopped)" if result["stopped"] else ""
    tracks = ", ".join(result["tracks"])
    return f"Study {result['study']}: {result['agent']} on {tracks}: {', '.join(told)}{ended}"


def _settings(result: Mapping[str, Any], best: Mapping[str, Any]) -> result_tables.Texts:
    shares: Mapping[str, float] = result["importances"] or {}
    rows = [
        (key, _value(value), _value(result["recipe_params"][key]), _share(shares.get(key)))
        for key, value in best["params"].items()
    ]
    return f"Settings of trial {best['number']}, the best", (
        "setting", "best", "recipe", "importance",
    ), rows  # fmt: skip


def _sentences(result: Mapping[str, Any], best: Mapping[str, Any] | None) -> Sequence[str]:
    if best is None:
        return ("No trial is complete yet.",)
    said = (
        f"Race score {formatting.number(best['value'])}, {100 * best['disqualified']:.0f} % of "
        "the races disqualified"
    )
    first = result["recipe"]
    lines = [said + ("." if first is None else f"; the recipe's is {formatting.number(first)}.")]
    if not best["feasible"]:
        lines.append("No trial is within the limit of disqualifications; this is the nearest.")
    if result["importances"] is None:
        lines.append("Too few complete trials to say which settings mattered.")
    return lines


def _next(result: Mapping[str, Any], best: Mapping[str, Any] | None) -> Sequence[str]:
    if best is None:
        return (result["dashboard"],)
    command = terminal.command()
    return (
        f"{command} train --recipe {shell.quoted(result['recipe_file'])}",
        f"{command} evaluate {best['run_id']}",
        result["dashboard"],
    )


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    return terminal.cell(value)


def _share(value: float | None) -> str:
    return terminal.UNKNOWN if value is None else f"{100 * value:.0f} %"
