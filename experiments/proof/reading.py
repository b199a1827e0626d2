"""What a table shows of how drivers race and answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from donkey_rl.experiments.course_scores import Figure
from donkey_rl.experiments.proof import cells
from donkey_rl.experiments.proof.cells import Rows
from donkey_rl.metrics import limits, statistics


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
        return [
            {
                "what": name,
                "races": str(count),
                "all laps clean": cells.share(clean, count),
                "disqualified": _disqualified(answer),
                "score": cells.mean(metrics["race_score"]),
                "mean lap (s)": cells.mean(metrics["mean_lap_s"], 2),
                "best lap (s)": cells.number(answer["best_lap_s"], 2),
                "pace": cells.mean(metrics["pace"]),
            }
        ]

    return read


def _disqualified(answer: Mapping[str, Any]) -> str:
    share = answer["metrics"]["disqualified"]["mean"] or 0.0
    return cells.share(round(share * answer["races"]), answer["races"])


def at_the_limit(answer: Mapping[str, Any]) -> Rows:
    """Returns a row with the limit of track and car, from `donkey-rl evaluate --json`."""
    metrics = answer["metrics"]
    line = limits.line(answer["track"], answer["vehicle"], own=False)
    return [
        {
            "track": answer["track"],
            "car": answer["vehicle"],
            "limit (s)": cells.number(None if line is None else line.lap_s, 2),
            "races": str(answer["races"]),
            "all laps clean": cells.share(answer["races_clean"], answer["races"]),
            "disqualified": _disqualified(answer),
            "best lap (s)": cells.number(answer["best_lap_s"], 2),
            "mean lap, standing starts among them (s)": cells.mean(metrics["mean_lap_s"], 2),
            "pace": cells.mean(metrics["pace"]),
            "mean change of the steering command": cells.mean(metrics["steering_change"]),
        }
    ]


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
    seen = {True: "yes", False: "no", None: cells.UNKNOWN}
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


def together(name: str) -> Callable[[Mapping[str, Any]], Rows]:
    """Returns what reads one row of all tracks of `donkey-rl evaluate --json`, as `split` does.

    Args:
        name: Of the row: tracks that the driver has not seen, in no part of a split.
    """

    def read(answer: Mapping[str, Any]) -> Rows:
        tracks = [answer, *answer["others"]]
        count = sum(each["races"] for each in tracks)
        clean = sum(each["races_clean"] for each in tracks)

        def means(metric: str, unknown: float = math.nan) -> list[float]:
            found = [each["metrics"][metric]["mean"] for each in tracks]
            return [unknown if value is None else value for value in found]

        shares = means("disqualified", unknown=1.0)
        out = sum(share * each["races"] for share, each in zip(shares, tracks, strict=True))
        found = {
            "clean": statistics.proportion(clean, count),
            "disqualified": statistics.proportion(round(out), count),
            "score": statistics.summarise(means("race_score")).mean,
            "pace": statistics.summarise(means("pace")).mean,
        }
        figures = {head: Figure.of(interval).model_dump() for head, interval in found.items()}
        row = {"what": name, "part": cells.UNKNOWN, "seen": "no"}
        return [row | _figures(figures | {"races": count})]

    return read


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "races": str(row["races"]),
        "all laps clean": cells.percent(row["clean"]),
        "disqualified": cells.percent(row["disqualified"]),
        "score": cells.figure(row["score"]),
        "pace": cells.figure(row["pace"]),
    }


def ensemble(answer: Mapping[str, Any]) -> Rows:
    """Returns a row for each driver, from `donkey-rl bench --part ensemble`.

    Under each condition the score, and the races that ended in a disqualification; then both over
    all conditions but the nominal one.
    """
    rows = []
    for name in dict.fromkeys(row["driver"] for row in answer["ensemble"]):
        own = [row for row in answer["ensemble"] if row["driver"] == name]
        found = {"driver": f"member `{name[:8]}`" if own[0]["is_member"] else name}
        for row in own:
            score = row["score"]
            told = cells.interval(score["value"], score["low"], score["high"], 2)
            found[row["condition"]] = f"{told}, {row['disqualified']} of {row['races']}"
        changed = [row for row in own if row["condition"] != "nominal"]
        races = sum(row["races"] for row in changed)
        mean = sum(row["score"]["value"] * row["races"] for row in changed) / races
        found["changed: score"] = f"{mean:.2f}"
        out = sum(row["disqualified"] for row in changed)
        found["changed: disqualified"] = cells.share(out, races)
        rows.append(found)
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
