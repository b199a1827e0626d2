"""Plays a record back on a board, as if its race were driven now."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from donkey_rl.race_server.interface import Board, Level
from donkey_rl.race_server.race_figures import LapFigures
from donkey_rl.race_server.record.losses import Losses
from donkey_rl.race_server.record.reader import Line, Record
from donkey_rl.race_server.status import (
    LATENCY_EDGES_MS,
    CarStatus,
    LatencyStatus,
    Phase,
    RecordStatus,
)

LONGEST_PAUSE_S = 2.0
"""Where nothing was noted for longer the replay goes on."""

SHOW_S = 1.0 / 60.0
"""Between two looks at the car, at least (s)."""

_STILL_S = 0.5
_LATENCIES = 1000
_LONGEST_TEXT = 500
_PHASES = frozenset(get_args(Phase))


def play(
    record: Record,
    board: Board,
    speed: float = 1.0,
    *,
    ended: threading.Event | None = None,
    stays: bool = False,
) -> None:
    """Plays a record to its end.

    Args:
        record: The record.
        board: Shows it.
        speed: How much faster than it was driven.
        ended: Set by whoever wants it to end sooner.
        stays: Whether the end stays on the board until `ended` is set.

    Raises:
        StorageError: The record cannot be read.
    """
    ended = ended if ended is not None else threading.Event()
    replayed = _Replayed(record)
    car = record.header.car
    shown, due, before = 0.0, time.perf_counter(), None
    picture = None
    for line in record.lines():
        pause = 0.0 if before is None else min(max(line.time_s - before, 0.0), LONGEST_PAUSE_S)
        before, due = line.time_s, due + pause / speed
        if ended.wait(max(0.0, due - time.perf_counter())):
            return
        replayed.take(line)
        told = _told(line)
        if told is not None:
            board.log(car, told[0], told[1][:_LONGEST_TEXT])
        picture = line.picture or picture
        now = time.perf_counter()
        if line.kind in ("frame", "phase", "end") and now - shown >= SHOW_S:
            board.show(replayed.status, picture.read() if picture is not None else None)
            shown, picture = now, None
    board.log(car, "info", "The record has ended.")
    last = dataclasses.replace(
        replayed.status, phase="stopping", reason="The record has ended.", go=False
    )
    board.show(last, None)
    while stays and not ended.wait(_STILL_S):
        board.show(last, None)


def _told(line: Line) -> tuple[Level, str] | None:
    """Returns what a line says in a log, None for what happens twenty times a second."""
    fields = line.fields
    match line.kind:
        case "header":
            return "info", f"A record of {fields.get('began')}."
        case "event":
            return "info", f"host: {_listed(fields)}"
        case "order":
            return "info", _listed(fields)
        case "phase":
            return "info", f"{fields.get('phase')}: {fields.get('reason')}"
        case "link" if fields.get("state") != "figures":
            return "info", f"link {fields.get('state')} {fields.get('reason', '')}".rstrip()
        case "driver":
            return "info", f"{fields.get('name')} drives: {fields.get('reason')}"
        case "warning":
            return "warning", str(fields.get("text", ""))
    return None


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in fields.values())


class _Replayed:
    """A car's status as its record tells it.

    Attributes:
        status: After the last line taken.
    """

    def __init__(self, record: Record) -> None:
        """Begins before the first line."""
        header = record.header
        names = tuple(driver.name for driver in header.drivers)
        self.status = CarStatus(
            car=header.car,
            host=f"{header.race.get('host', '')}:{header.race.get('port', '')}",
            driver=names[0] if names else "",
            drivers=names,
            record=RecordStatus(str(record.folder), record.count),
            warnings=("This is a replay: buttons do nothing.",),
        )
        self._racing = False
        self._laps = LapFigures()
        self._losses = Losses()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)

    def take(self, line: Line) -> None:
        """Takes the next line; what it does not say stays as it was."""
        changes = self._changes(line.kind, line.fields)
        if changes:
            self.status = dataclasses.replace(self.status, **changes)

    def _changes(self, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        match kind:
            case "frame":
                return self._frame(fields)
            case "command":
                return self._command(fields)
            case "event":
                return self._event(fields)
            case "phase":
                return self._phase(fields)
            case "link":
                return self._link(fields)
            case "driver":
                return {"driver": str(fields.get("name", ""))}
        return {}

    def _frame(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        time_s = _number(fields, "time", self.status.time_s)
        crossed = self._laps.crossed
        return {
            "time_s": time_s,
            "speed": _number(fields, "speed", self.status.speed),
            "frames": self.status.frames + 1 + int(_number(fields, "skipped", 0.0)),
            "lap_time_s": None if crossed is None else max(0.0, time_s - crossed),
        }

    def _command(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: _number(fields, name, 0.0) for name in ("steering", "throttle", "brake")
        }
        took = _number(fields, "took_ms", -1.0)
        if fields.get("why") == "driver" and took >= 0.0:
            found["latency"] = self._latency(took)
        return found

    def _latency(self, took_ms: float) -> LatencyStatus:
        before = self.status.latency
        self._latencies.append(took_ms)
        bins = list(before.histogram)
        bins[int(np.searchsorted(LATENCY_EDGES_MS, took_ms))] += 1
        percentiles = before.frame_to_command_ms
        if percentiles is None or sum(bins) % 20 == 0:
            low, high, last = np.percentile(self._latencies, (50, 95, 99)).tolist()
            percentiles = (low, high, last)
        return dataclasses.replace(before, frame_to_command_ms=percentiles, histogram=tuple(bins))

    def _event(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        laps, time_s = self._laps, self.status.time_s
        found: dict[str, Any] = {}
        match fields.get("name"):
            case "cross_start":
                if not self._racing:
                    found["disqualified"] = False
                laps.cross(_number(fields, "lap_time", 0.0), time_s)
            case "collision_with_starting_line":
                index = fields.get("index")
                line = index if isinstance(index, int) else 0
                laps.touch(_number(fields, "time_stamp", time_s), time_s, line)
            case "car_loaded":
                laps.begin_run()
                self._racing = found["disqualified"] = False
            case "race_start":
                self._racing, found["disqualified"] = True, False
            case "race_stop":
                laps.end_run()
                self._racing = False
            case "DQ":
                found["disqualified"] = True
        return found | {"laps_s": laps.run, "best_lap_s": laps.best_s}

    def _phase(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        go, phase = fields.get("go") is True, fields.get("phase")
        found: dict[str, Any] = {"go": go, "reason": str(fields.get("reason", ""))}
        if isinstance(phase, str) and phase in _PHASES:
            found["phase"] = phase
        if go and not self.status.go:
            found["disqualified"] = False
        return found

    def _link(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        if fields.get("state") == "figures":
            trip = _number(fields, "round_trip_s", -1.0)
            if trip < 0.0:
                return {}
            latency = dataclasses.replace(self.status.latency, round_trip_ms=1000.0 * trip)
            return {"latency": latency}
        self._losses.take(fields)
        return {"disconnects": self._losses.count}


def _number(fields: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e12:
        return otherwise
    return float(value)
