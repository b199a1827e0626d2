"""What a table shows of the answer of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from donkey_rl.metrics import statistics

Rows = list[dict[str, str]]
"""Rows of a table: texts by the heads of their columns."""

UNKNOWN = "-"


def nothing(answer: Mapping[str, Any]) -> Rows:
    """Returns no rows, of a step that only prepares."""
    del answer
    return []


def races(name: str) -> Callable[[Mapping[str, Any]], Rows]:
    """Returns what reads one row from `donkey-rl evaluate --json`.

    Args:
        name: The row's.
    """

    def read(answer: Mapping[str, Any]) -> Rows:
        count, clean = answer["races"], answer["races_clean"]
        metrics = answer["metrics"]
        out = round((metrics["disqualified"]["mean"] or 0.0) * count)
        return [
            {
                "what": name,
                "races": str(count),
                "all laps clean": _share(clean, count),
                "disqualified": _share(out, count),
                "score": _mean(metrics["race_score"]),
                "mean lap (s)": _mean(metrics["mean_lap_s"], 2),
                "best lap (s)": _number(answer["best_lap_s"], 2),
                "pace": _mean(metrics["pace"]),
            }
        ]

    return read


def tuning(answer: Mapping[str, Any]) -> Rows:
    """Returns a row of how soon a training came to a clean lap, from `donkey-rl train --json`."""
    steps, seconds = answer["first_clean_lap_steps"], answer["first_clean_lap_wall_s"]
    if seconds is None:
        found = f"tuned for {answer['wall_s'] / 60.0:.1f} min: no clean lap"
    else:
        found = f"tuned: first clean lap after {seconds / 60.0:.1f} min, {steps:,} steps"
    late = f"{answer['missed_deadlines']:,} of {answer['steps']:,} frames missed"
    return [{"what": f"{found}; {late}", "best lap (s)": _number(answer["best_lap_s"], 2)}]


def split(answer: Mapping[str, Any]) -> Rows:
    """Returns a row for each part and each track, from `donkey-rl evaluate --split --json`."""
    report = answer["split"]
    parts = [
        {
            "what": f"all of {row['part'].replace('_', '-')}",
            "part": row["part"].replace("_", "-"),
            "seen": "",
            **_figures(row),
        }
        for row in report["parts"]
    ]
    seen = {True: "yes", False: "no", None: UNKNOWN}
    tracks = [
        {
            "what": row["track"],
            "part": row["part"].replace("_", "-"),
            "seen": seen[row["seen"]],
            **_figures(row),
        }
        for row in report["tracks"]
    ]
    return parts + tracks


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "races": str(row["races"]),
        "all laps clean": _percent(row["clean"]),
        "disqualified": _percent(row["disqualified"]),
        "score": _figure(row["score"]),
        "pace": _figure(row["pace"]),
    }


def ensemble(answer: Mapping[str, Any]) -> Rows:
    """Returns a row for each driver and condition, from `donkey-rl bench --part ensemble`."""
    rows = []
    for row in answer["ensemble"]:
        score = row["score"]
        rows.append(
            {
                "driver": row["driver"],
                "condition": row["condition"],
                "races": str(row["races"]),
                "disqualified": _share(row["disqualified"], row["races"]),
                "score": _interval(score["value"], score["low"], score["high"], 3),
            }
        )
    return rows


def export(name: str) -> Callable[[Mapping[str, Any]], Rows]:
    """Returns what reads one row for each model of `donkey-rl export --json`.

    Args:
        name: Target and width.
    """

    def read(answer: Mapping[str, Any]) -> Rows:
        return [
            {
                "export": name,
                "file": model["file"].replace("\\", "/").rpartition("/")[2],
                "frames": str(model["frames"]),
                "largest action difference": f"{model['largest_action_difference']:.1e}",
                "p50 (ms)": f"{model['ms']['p50']:.2f}",
                "p95 (ms)": f"{model['ms']['p95']:.2f}",
                "p99 (ms)": f"{model['ms']['p99']:.2f}",
                "highest rate (Hz)": f"{model['highest_rate_hz']:.0f}",
            }
            for model in answer["models"]
        ]

    return read


def _share(part: int, count: int) -> str:
    """Returns a share of races with Wilson's interval, in per cent."""
    found = statistics.proportion(part, count)
    return f"{part} of {count} ({found.low:.0%} to {found.high:.0%})"


def _percent(figure: Mapping[str, float | None]) -> str:
    value, low, high = (100.0 * (figure[name] or 0.0) for name in ("value", "low", "high"))
    return f"{value:.0f} % ({low:.0f} to {high:.0f})"


def _figure(figure: Mapping[str, float | None]) -> str:
    return _interval(figure["value"], figure["low"], figure["high"], 3)


def _mean(figures: Mapping[str, float | None], digits: int = 3) -> str:
    return _interval(figures["mean"], figures["ci_low"], figures["ci_high"], digits)


def _interval(value: float | None, low: float | None, high: float | None, digits: int) -> str:
    if value is None or low is None or high is None:
        return _number(value, digits)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"
