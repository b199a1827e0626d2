"""What a monitor asks for: whether all is well, and the figures in Prometheus' text format.

Source of the format: Prometheus documentation, "Exposition formats", version 0.0.4.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from donkey_rl.race_server import status
from donkey_rl.race_server.page.messages import FRESH_S
from donkey_rl.race_server.page.scene import CarView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Labels = dict[str, str]
_Samples = list[tuple[_Labels, Any]]

_PHASES = typing.get_args(status.Phase)
_PREFIX = "donkey_rl_race_"
_QUANTILES = ("0.5", "0.95", "0.99")

_GAUGES = (
    ("speed", "Speed as the simulator reports it."),
    ("steering", "Steering command, -1 to 1."),
    ("throttle", "Throttle command, -1 to 1."),
    ("brake", "Brake command, 0 to 1."),
    ("go", "Whether the car may move."),
    ("disqualified", "Whether the host has disqualified the car in this run."),
)
_COUNTERS = (
    ("frames", "Frames that came."),
    ("disconnects", "How often the connection was lost."),
)


def health(cars: Mapping[str, CarView], now: float) -> tuple[bool, dict[str, Any]]:
    """Returns whether all is well, and what is not.

    Args:
        cars: All cars.
        now: Time (s, monotonic).
    """
    told = {}
    problems = [] if cars else ["no car has reported yet"]
    for name, car in cars.items():
        age_s = now - car.at
        if age_s > FRESH_S:
            problems.append(f"{name} has not reported for {age_s:.0f} s")
        elif car.status["phase"] == "connecting":
            problems.append(f"{name} is not connected: {car.status['reason']}")
        elif car.status["phase"] == "out":
            problems.append(f"{name} is out of the race: {car.status['reason']}")
        told[name] = {
            "age_s": round(age_s, 3),
            "warnings": car.status["warnings"],
            "record_problem": car.status["record"]["problem"],
            **{key: car.status[key] for key in ("host", "phase", "reason", "go", "driver")},
        }
    return not problems, {"ok": not problems, "problems": problems, "cars": told}


def metrics(
    cars: Mapping[str, CarView], refusals: Mapping[str, int], viewers: int, now: float
) -> str:
    """Returns all figures.

    Args:
        cars: All cars.
        refusals: How often each kind of request was refused.
        viewers: How many pages are open.
        now: Time (s, monotonic).
    """
    lines = [
        *_family("viewers", "gauge", "Pages that are open.", [({}, viewers)]),
        *_family(
            "refused_total",
            "counter",
            "Requests that were refused.",
            [({"kind": kind}, count) for kind, count in sorted(refusals.items())],
        ),
    ]
    rows = [({"car": name}, car) for name, car in cars.items()]
    for name, text, samples in _families(rows, now):
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += _family(name, kind, text, samples)
    lines += _histogram(rows)
    return "\n".join(lines) + "\n"


def _families(
    rows: list[tuple[_Labels, CarView]], now: float
) -> Iterator[tuple[str, str, _Samples]]:
    """Yields name, explanation and samples of all that is no histogram."""
    yield (
        "status_age_seconds",
        "How long ago the car reported.",
        [(labels, max(0.0, now - car.at)) for labels, car in rows],
    )
    yield (
        "phase",
        "1 for what the car does now.",
        [
            ({**labels, "phase": phase}, car.status["phase"] == phase)
            for labels, car in rows
            for phase in _PHASES
        ],
    )
    for key, text in _GAUGES:
        # A speed is known by frames alone.
        known = [each for each in rows if key != "speed" or _is_seen(each[1], now)]
        yield key, text, [(labels, car.status[key]) for labels, car in known]
    for key, text in _COUNTERS:
        yield f"{key}_total", text, [(labels, car.status[key]) for labels, car in rows]
    yield (
        "faults_total",
        "What went wrong, and how often.",
        [
            ({**labels, "fault": fault}, count)
            for labels, car in rows
            for fault, count in car.status["faults"].items()
        ],
    )
    yield (
        "laps",
        "Laps of this run.",
        [(labels, len(car.status["laps_s"])) for labels, car in rows],
    )
    yield (
        "best_lap_seconds",
        "The best lap since the program was started.",
        [(labels, car.status["best_lap_s"]) for labels, car in rows],
    )
    yield from _link_families(rows)


def _is_seen(car: CarView, now: float) -> bool:
    """Whether a frame has come of late."""
    age_s = car.status["frame_age_s"]
    return age_s is not None and age_s + max(0.0, now - car.at) <= FRESH_S


def _link_families(
    rows: list[tuple[_Labels, CarView]],
) -> Iterator[tuple[str, str, _Samples]]:
    """Yields what is known of the link and of the record."""
    latency = [(labels, car.status["latency"]) for labels, car in rows]
    record = [(labels, car.status["record"]) for labels, car in rows]
    yield (
        "round_trip_seconds",
        "From a command to the first frame that shows it.",
        [(labels, _seconds(each["round_trip_ms"])) for labels, each in latency],
    )
    yield (
        "frame_to_command_seconds",
        "From a frame to the command that answers it, since the start.",
        [
            ({**labels, "quantile": quantile}, _seconds(value))
            for labels, each in latency
            for quantile, value in zip(_QUANTILES, each["frame_to_command_ms"] or (), strict=False)
        ],
    )
    yield (
        "padding_seconds",
        "How long commands are held back.",
        [(labels, _seconds(each["padding_ms"])) for labels, each in latency],
    )
    yield (
        "record_lines_total",
        "Lines recorded.",
        [(labels, each["lines"]) for labels, each in record],
    )
    yield (
        "record_waiting",
        "Lines that are not on the disk yet.",
        [(labels, each["waiting"]) for labels, each in record],
    )
    yield (
        "record_failing",
        "Whether the disk takes nothing.",
        [(labels, bool(each["problem"])) for labels, each in record],
    )


def _histogram(rows: list[tuple[_Labels, CarView]]) -> Iterator[str]:
    """Yields the histogram of latencies; the sum of all is not known, and left out."""
    name = "latency_seconds"
    edges = [f"{edge / 1000.0:g}" for edge in status.LATENCY_EDGES_MS]
    yield f"# HELP {_PREFIX}{name} How many commands took how long."
    yield f"# TYPE {_PREFIX}{name} histogram"
    for labels, car in rows:
        total = 0
        counts = car.status["latency"]["histogram"]
        for edge, count in zip([*edges, "+Inf"], counts, strict=True):
            total += count
            yield _sample(f"{name}_bucket", {**labels, "le": edge}, total)
        yield _sample(f"{name}_count", labels, total)


def _family(name: str, kind: str, text: str, samples: _Samples) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {text}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in samples:
        if value is not None:
            yield _sample(name, labels, value)


def _sample(name: str, labels: _Labels, value: float) -> str:
    """Returns one line."""
    text = ",".join(f'{key}="{_escaped(each)}"' for key, each in labels.items())
    return f"{_PREFIX}{name}{f'{{{text}}}' if text else ''} {float(value):.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000.0
