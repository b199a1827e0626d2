"""Lap timing and the plain measurements of a race, as pure functions of its record.

A lap is timed from the start line to the start line in simulation time, interpolated between
rows. ``progress`` is followed along the path by the simulator, so it does not rise on a short cut
and falls in reverse. Line ``k`` lies at ``start_line_progress + k * lap_length``, and it is
crossed when progress reaches it *for the first time*: who circles on the line, shuttles over it
or comes back over it in reverse never reaches the next one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import numpy.typing as npt

from donkey_rl.metrics.race import Race

FloatArray = npt.NDArray[np.float64]

REASONS = ("off_track", "hit", "reset", "missed_nodes")
"""Why a lap may not be clean."""

_JUMP = 10.0
# Following the inner edge of a tight bend, a car passes several units of path in one step.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Lap:
    """One lap, from line to line.

    Attributes:
        number: 1 for the race's first lap.
        start_s: Simulation time of the crossing that began it (s).
        time_s: Lap time (s).
        clean: Whether nothing of `REASONS` happened in it.
        reasons: What happened in it, out of `REASONS`.
        distance: Way driven (u).
        mean_speed: Way driven by lap time (u/s).
    """

    number: int
    start_s: float
    time_s: float
    clean: bool
    reasons: tuple[str, ...]
    distance: float
    mean_speed: float

    @property
    def end_s(self) -> float:
        """Simulation time of the crossing that ended it (s)."""
        return self.start_s + self.time_s


def laps(race: Race) -> tuple[Lap, ...]:
    """Returns the laps driven, in order.

    The first crossing starts the clock. A crossing within ``min_lap_s`` of the last accepted one
    is ignored, as the race server does: the clock runs on. A clean lap has every node passed in
    order, and no row off the track, no hit and no reset.
    """
    times = crossings(race)
    way = np.concatenate([[0.0], np.cumsum(steps(race))])
    found = []
    for number, (start, end) in enumerate(itertools.pairwise(times), 1):
        distance = float(np.diff(np.interp([start, end], race["time_s"], way))[0])
        reasons = _faults(race, start, end)
        found.append(
            Lap(
                number=number,
                start_s=float(start),
                time_s=float(end - start),
                clean=not reasons,
                reasons=reasons,
                distance=distance,
                mean_speed=distance / float(end - start),
            )
        )
    return tuple(found)


def crossings(race: Race) -> FloatArray:
    """Returns the times at which the start line was crossed and accepted (s), shape (n,)."""
    if not len(race):
        return np.zeros(0)
    header, time, progress = race.header, race["time_s"], race["progress"]
    furthest = np.maximum.accumulate(progress)
    reached = (furthest[-1] - header.start_line_progress + _ROUNDING) / header.lap_length
    count = math.floor(reached) + 1 if reached >= 0 else 0
    count = count if header.closed else min(count, 2)
    accepted: list[float] = []
    for k in range(count):
        line = header.start_line_progress + k * header.lap_length - _ROUNDING
        row = int(np.searchsorted(furthest, line))
        moment = float(time[row])
        if row:
            share = (line - progress[row - 1]) / (progress[row] - progress[row - 1])
            moment = float(time[row - 1] + share * (time[row] - time[row - 1]))
        if not accepted or moment - accepted[-1] >= header.min_lap_s:
            accepted.append(moment)
    return np.array(accepted)


def steps(race: Race) -> FloatArray:
    """Returns the way from each row to the next (u), shape (rows - 1,); none over a reset."""
    way = np.hypot(np.diff(race["x"]), np.diff(race["z"]))
    return np.asarray(np.where(race["reset"][1:], 0.0, way), np.float64)


def distance(race: Race) -> float:
    """Returns the way driven (u)."""
    return float(steps(race).sum())


def mean_speed(race: Race) -> float:
    """Returns the way driven by the time taken (u/s); NaN for a race without a second row."""
    return distance(race) / race.duration_s if race.duration_s else math.nan


def top_speed(race: Race) -> float:
    """Returns the highest speed of any row (u/s); NaN for an empty race."""
    return float(race["speed"].max()) if len(race) else math.nan


def off_track_count(race: Race) -> int:
    """Returns how often the car left the road."""
    return int(np.count_nonzero(_begins(race["off_track"])))


def hits(race: Race) -> int:
    """Returns how often the car touched something: another name is another hit."""
    names = race["hit"]
    changed = np.concatenate([[True], names[1:] != names[:-1]]) if len(race) else names != ""
    return int(np.count_nonzero((names != "") & changed))


def completion(race: Race) -> float:
    """Returns the share of the race's laps that was driven, from 0 to 1."""
    if not len(race):
        return 0.0
    header = race.header
    driven = float(race["progress"].max()) - header.start_line_progress
    wanted = header.lap_length * (header.laps if header.closed else 1)
    return min(max((driven + _ROUNDING) / wanted, 0.0), 1.0)


def best_lap(race: Race) -> Lap | None:
    """Returns the quickest lap, clean or not, or None."""
    return min(laps(race), key=lambda lap: lap.time_s, default=None)


def best_clean_lap(race: Race) -> Lap | None:
    """Returns the quickest clean lap, or None."""
    clean = (lap for lap in laps(race) if lap.clean)
    return min(clean, key=lambda lap: lap.time_s, default=None)


def _begins(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Marks the rows where a state begins, shape (rows,)."""
    began = flags.copy()
    began[1:] &= ~flags[:-1]
    return began


def _faults(race: Race, start: float, end: float) -> tuple[str, ...]:
    """Returns what makes the time from `start` to `end` (s) no clean lap, out of `REASONS`."""
    first, last = np.searchsorted(race["time_s"], [start, end])
    rows = slice(int(first), int(last))
    found = {
        "off_track": bool(race["off_track"][rows].any()),
        "hit": bool((race["hit"][rows] != "").any()),
        "reset": bool(race["reset"][rows].any()),
        "missed_nodes": not _nodes_in_order(race, max(int(first) - 1, 0), int(last) + 1),
    }
    return tuple(reason for reason in REASONS if found[reason])


def _nodes_in_order(race: Race, first: int, last: int) -> bool:
    """Whether the rows from `first` to before `last` pass all nodes of a lap in their order.

    The index may move by some nodes in one step, and back when the car rolls back, but it never
    jumps over more than 10 u of path, and in sum it passes the whole lap.
    """
    header = race.header
    spacing = header.track_length / header.nodes
    moves = np.diff(race["node"][first:last]).astype(np.int64)
    if header.closed:
        half = header.nodes // 2
        moves = (moves + half) % header.nodes - half
    if np.abs(moves).max(initial=0) > 2 + math.ceil(_JUMP / spacing):
        return False
    # The nodes are known at whole rows only, the crossings lie between them.
    stride = np.abs(np.diff(race["progress"][first:last])).max(initial=0.0)
    needed = header.lap_length / spacing - 2 - math.ceil(stride / spacing)
    return bool(moves.sum() >= needed)
