"""A race as a heat: what the race server would have made of it.

The rules are those of the virtual races (``docs/races.md``), which `donkey-rl sim --race` serves
by `donkey_rl.envs.serving.race`: the start line within 10 s of the start, each further checkpoint
within 20 s of the one before, never more than 20 u from the path once the line was crossed.
Checkpoints are the line and three more at even distances, passed by the way along the path; on a
long track so many more that a car needs 7.5 u/s at most from one to the next. Laps count by
`donkey_rl.metrics.laps`, clean or not.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

from donkey_rl.metrics import laps
from donkey_rl.metrics.laps import Lap
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.race_header import HostTiming

START_LINE_S = 10.0
"""From the start to the start line, at most (s)."""

CHECKPOINT_S = 20.0
"""From one checkpoint to the next, at most (s)."""

CHECKPOINTS = 3
"""Beside the start line, at least."""

APART_U = 150.0
"""Checkpoints are no further apart (u). With three of them nobody could race on 2,000 u."""

OUT_OF_BOUNDS_U = 20.0
"""A car further from the path than this is out (u)."""

Fault = Literal["", "missed checkpoint", "out of bounds", "unfinished"]


@dataclasses.dataclass(frozen=True)
class Heat:
    """What a racer did in a heat.

    Attributes:
        laps: The laps that count, clean or not: no more than the heat goes over, none from before
            a reset, none after a disqualification.
        fault: Why the car is disqualified, empty for a heat that was driven to its end. A record
            that ends without either is unfinished.
        end_s: When the heat was over for the car (s).
    """

    laps: tuple[Lap, ...]
    fault: Fault
    end_s: float


def heat(race: Race) -> Heat:
    """Returns what a race is as a heat of as many laps as its header says.

    A car that was put back starts anew, as in the race server: its laps are forgotten and it has
    10 s to the line. One that is disqualified, or has finished, stays so. Of a race that a race
    host timed the host's own decision counts.

    >>> from donkey_rl.metrics import examples
    >>> outcome = heat(examples.drive(examples.steady(16.0, 40.0)))  # laps of 200 u at 16 u/s
    >>> [round(lap.time_s, 2) for lap in outcome.laps], outcome.fault, round(outcome.end_s, 2)
    ([12.5, 12.5, 12.5], '', 37.65)

    Args:
        race: What was driven; a race without rows is unfinished.
    """
    if race.header.timing is not None:
        return _told(race, race.header.timing)
    outcome = Heat((), "unfinished", 0.0)
    for rows in laps.stretches(race):
        outcome = _stretch(race, rows)
        if outcome.fault != "unfinished":
            break
    return outcome


def _told(race: Race, timing: HostTiming) -> Heat:
    """Returns the outcome that a race host told."""
    # A car that was put back starts its clock anew.
    begun = max((each.time_s for each in timing.crossings if not each.lap_s), default=-math.inf)
    driven = tuple(lap for lap in laps.laps(race) if lap.end_s > begun)[: race.header.laps]
    fault: Fault = timing.disqualified or ("" if timing.finished and driven else "unfinished")
    return Heat(driven, fault, float(race["time_s"][-1]) if len(race) else 0.0)


def checkpoints(lap_length: float) -> int:
    """Returns the number of checkpoints beside the start line.

    >>> checkpoints(215.0), checkpoints(1998.0)
    (3, 13)

    Args:
        lap_length: Length of a lap (u).
    """
    return max(CHECKPOINTS, math.ceil(lap_length / APART_U) - 1)


def _stretch(race: Race, rows: slice) -> Heat:
    """Returns the outcome of a stretch; it is unfinished if nothing was decided in it."""
    times = race["time_s"]
    fault: Fault = ""
    first, ends, due = _passed(race, rows)
    if len(ends) == _wanted(race):
        end = ends[-1]
    else:
        end = int(np.searchsorted(times[: rows.stop], due, side="right"))
        fault = "missed checkpoint" if end < rows.stop else "unfinished"
    # The server looks at whole rows, first at the checkpoints, then at the bounds.
    outside = np.flatnonzero(np.abs(race["lateral"][first:end]) > OUT_OF_BOUNDS_U)
    if len(outside):
        end, fault = first + int(outside[0]), "out of bounds"
    driven = laps.laps_within(race, rows)[: sum(row <= end for row in ends)]
    return Heat(tuple(driven), fault, float(times[min(end, rows.stop - 1)]))


def _passed(race: Race, rows: slice) -> tuple[int, list[int], float]:
    """Follows a stretch from checkpoint to checkpoint while each is met in time.

    Returns:
        The row at which the clock began (the stretch's end if it did not), the row at which each
        lap of the heat was driven, and when the next checkpoint is due (s).
    """
    header = race.header
    count = checkpoints(header.lap_length) + 1
    due = float(race["time_s"][rows.start]) + START_LINE_S
    first, began, required = rows.stop, math.nan, 0
    ends: list[int] = []
    for met in laps.meetings(race, rows, header.lap_length / count):
        if met.time_s > due or len(ends) == _wanted(race):
            break
        due = met.time_s + CHECKPOINT_S
        if required == 0 and math.isnan(began):
            first, began = met.row, met.time_s
        elif required == 0 and met.time_s - began >= header.min_lap_s:
            ends.append(met.row)
            began = met.time_s
        required = (required + 1) % count
    return first, ends, due


def _wanted(race: Race) -> int:
    return race.header.laps if race.header.closed else 1
