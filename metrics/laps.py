"""Lap timing and the plain measurements of a race, as pure functions of its record.

A lap is timed from the start line to the start line in simulation time, interpolated between
rows. ``progress`` is followed along the path by the simulator, so it does not rise on a short cut
and falls in reverse. Line ``k`` lies at ``start_line_progress + k * lap_length``, and it is
crossed when progress reaches it *for the first time*: who circles on the line, shuttles over it
or comes back over it in reverse never reaches the next one. A car that was put back, or that is
suddenly elsewhere on the path, begins anew: its lap is lost, and the next line starts the clock.

A race that a host timed (`RaceHeader.timing`) has the host's laps, and no others.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.metrics.race import Race
from donkey_rl.metrics.race_header import HostTiming

FloatArray = npt.NDArray[np.float64]

REASONS = ("off_track", "hit", "missed_nodes")
"""Why a lap may not be clean."""

_JUMP = 10.0
# Following the inner edge of a tight bend, a car passes several units of path in one step.
_ROUNDING = 1e-6
_MOST_PLACES = 10_000


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


class Meeting(NamedTuple):
    """Where a car meets a place on the path for the first time.

    Attributes:
        row: The first row at the place or behind it.
        time_s: When it was met, between that row and the one before (s).
    """

    row: int
    time_s: float


def laps(race: Race) -> tuple[Lap, ...]:
    """Returns the laps driven, in order.

    The first crossing starts the clock. A crossing within ``min_lap_s`` of the last accepted one
    is ignored, as the race server does: the clock runs on. A clean lap has every node passed in
    order, and no row off the track and no hit. What nobody recorded spoils no lap: of a race that
    a host timed that may be the road and the nodes.
    """
    if race.header.timing is not None:
        return _told(race, race.header.timing)
    found = [lap for rows in stretches(race) for lap in laps_within(race, rows)]
    return tuple(dataclasses.replace(lap, number=k) for k, lap in enumerate(found, 1))


def laps_within(race: Race, rows: slice) -> tuple[Lap, ...]:
    """Returns the laps of one stretch, in order, numbered from 1."""
    x, z, time_s = race["x"][rows], race["z"][rows], race["time_s"][rows]
    way = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    found = []
    for number, (start, end) in enumerate(itertools.pairwise(_crossings(race, rows)), 1):
        time = end.time_s - start.time_s
        distance = np.diff(np.interp([start.time_s, end.time_s], time_s, way))[0]
        reasons = _faults(race, rows, start.row, end.row)
        found.append(
            Lap(
                number=number,
                start_s=start.time_s,
                time_s=time,
                clean=not reasons,
                reasons=reasons,
                distance=float(distance),
                mean_speed=float(distance) / time,
            )
        )
    return tuple(found)


def crossings(race: Race) -> FloatArray:
    """Returns the times at which the start line was crossed and accepted (s), shape (n,)."""
    if race.header.timing is not None:
        return np.array([crossing.time_s for crossing in race.header.timing.crossings])
    return np.array([met.time_s for rows in stretches(race) for met in _crossings(race, rows)])


def _told(race: Race, timing: HostTiming) -> tuple[Lap, ...]:
    """Returns the laps that a race host timed, in order."""
    placed = race.header.unknown.isdisjoint({"x", "z"})
    time_s = race["time_s"]
    way = np.concatenate([[0.0], np.cumsum(steps(race))]) if placed and len(race) else None
    found: list[Lap] = []
    for told in timing.crossings:
        if not told.lap_s:
            continue
        start = told.time_s - told.lap_s
        first, last = np.searchsorted(time_s, [start, told.time_s], side="right")
        length = math.nan
        # A lap that began before the record did has no length.
        if way is not None and first:
            length = float(np.diff(np.interp([start, told.time_s], time_s, way))[0])
        reasons = _faults(race, slice(0, len(race)), int(first), int(last))
        found.append(
            Lap(
                number=len(found) + 1,
                start_s=start,
                time_s=told.lap_s,
                clean=not reasons,
                reasons=reasons,
                distance=length,
                mean_speed=length / told.lap_s,
            )
        )
    return tuple(found)


def stretches(race: Race) -> tuple[slice, ...]:
    """Returns the rows of each stretch that was driven without being put elsewhere.

    A new one begins at each reset, and where progress changes by more than 10 u beyond twice what
    the speed allows, if both are known.
    """
    if not len(race):
        return ()
    moved = np.zeros(len(race) - 1, np.bool_)
    if race.header.unknown.isdisjoint({"progress", "speed"}):
        moved = jumped(race["progress"], race["speed"].astype(np.float64), race["time_s"])
    begins = np.flatnonzero(race["reset"][1:] | moved) + 1
    return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise([0, *begins, len(race)]))


def jumped(
    progress: npt.ArrayLike, speed: npt.ArrayLike, time_s: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Returns whether progress changes from row to row by more than driving explains, (n - 1,).

    Args:
        progress: Way along the path (u), shape (n,).
        speed: In u/s, shape (n,).
        time_s: Simulation time (s), shape (n,).

    >>> jumped([0.0, 1.0, 14.0], [20.0, 20.0, 20.0], [0.0, 0.05, 0.1])
    array([False,  True])
    """
    fast = np.asarray(speed, np.float64)
    possible = _JUMP + 2.0 * np.maximum(fast[1:], fast[:-1]) * np.diff(time_s)
    return np.asarray(np.abs(np.diff(progress)) > possible)


def next_line(race: Race, rows: slice) -> float:
    """Returns the progress (u) of the first start line ahead of where a stretch begins."""
    header, begin = race.header, float(race["progress"][rows.start])
    ahead = math.ceil((begin - header.start_line_progress - _ROUNDING) / header.lap_length)
    ahead = ahead if header.closed else max(ahead, 0)
    return header.start_line_progress + ahead * header.lap_length


def meetings(race: Race, rows: slice, apart: float) -> tuple[Meeting, ...]:
    """Returns where a stretch meets places along the path, each for the first time, forwards.

    Args:
        race: What was driven.
        rows: The stretch.
        apart: Way from one place to the next (u); the first one is the next start line.

    Returns:
        One meeting for each place that was reached, in order; 10,000 at most.
    """
    progress, time, first = race["progress"][rows], race["time_s"][rows], next_line(race, rows)
    furthest = np.maximum.accumulate(progress)
    count = math.floor(min((furthest[-1] - first + _ROUNDING) / apart, _MOST_PLACES - 1.0)) + 1
    places = first + apart * np.arange(max(count, 0))
    reached = np.searchsorted(furthest, places - _ROUNDING)
    if len(places) and reached[0] == 0:
        # A car that stands on the line meets it once it drives on.
        driven_on = (np.diff(progress) > 0.0) & (progress[1:] >= first - _ROUNDING)
        if not driven_on.any():
            return ()
        reached[0] = 1 + int(np.argmax(driven_on))
    before = reached - 1
    share = (places - progress[before]) / (progress[reached] - progress[before])
    moments = time[before] + np.clip(share, 0.0, 1.0) * (time[reached] - time[before])
    return tuple(
        Meeting(rows.start + int(row), float(moment))
        for row, moment in zip(reached, moments, strict=True)
    )


def _crossings(race: Race, rows: slice) -> list[Meeting]:
    """Returns where one stretch crosses the start line and is accepted."""
    accepted: list[Meeting] = []
    for met in meetings(race, rows, race.header.lap_length)[: None if race.header.closed else 2]:
        if not accepted or met.time_s - accepted[-1].time_s >= race.header.min_lap_s:
            accepted.append(met)
    return accepted


def driven(race: Race) -> npt.NDArray[np.bool_]:
    """Returns whether the car drove from each row to the next, shape (rows - 1,)."""
    kept = np.ones(max(len(race) - 1, 0), np.bool_)
    for rows in stretches(race)[1:]:
        kept[rows.start - 1] = False
    return kept


def steps(race: Race) -> FloatArray:
    """Returns the way from each row to the next (u), shape (rows - 1,); none over a reset."""
    way = np.hypot(np.diff(race["x"]), np.diff(race["z"]))
    return np.asarray(np.where(driven(race), way, 0.0), np.float64)


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
    """Returns the share of the race's laps that was driven, from 0 to 1.

    The whole laps of all stretches, and of the others the one that was driven furthest.
    """
    header, whole, furthest = race.header, 0.0, 0.0
    for rows in stretches(race):
        driven = float(race["progress"][rows].max()) - next_line(race, rows) + _ROUNDING
        full, rest = divmod(max(driven, 0.0) / header.lap_length, 1.0)
        whole, furthest = whole + full, max(furthest, rest)
    return min((whole + furthest) / (header.laps if header.closed else 1), 1.0)


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


def _faults(race: Race, rows: slice, first: int, last: int) -> tuple[str, ...]:
    """Returns what makes the rows of a stretch from `first` to before `last` no clean lap."""
    lap, unknown = slice(first, last), race.header.unknown
    found = {
        "off_track": "off_track" not in unknown and bool(race["off_track"][lap].any()),
        "hit": "hit" not in unknown and bool((race["hit"][lap] != "").any()),
        "missed_nodes": unknown.isdisjoint({"node", "progress"})
        and not _nodes_in_order(race, max(first - 1, rows.start), last + 1),
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
