"""What a race server must do whatever happens, checked by what was seen on the link."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Sequence

from donkey_rl.race_server.rehearsal.faults import Injected
from donkey_rl.race_server.rehearsal.sightings import CommandSeen, EventSeen, Sightings

BACK_S = 5.0
"""So long after a fault, or after GO, the car is moving again."""

BRAKE_S = 0.2
"""So long after the last frame the command in force is the brake."""

_MOVING = 0.3
"""Speed as reported (u/s), above what a car at rest shows."""

_NEAR_S = 0.5
"""Lateness of the observer counts for moments so close to it."""


@dataclasses.dataclass(frozen=True)
class Violation:
    """A rule that was broken.

    Attributes:
        at: When (s, monotonic).
        rule: Which.
        text: How.
        after: The fault before it, empty for none.
    """

    at: float
    rule: str
    text: str
    after: str = ""


@dataclasses.dataclass(frozen=True)
class Return:
    """How the car came back from a fault.

    Attributes:
        injected: The fault.
        back_s: From its end, or from GO where that came later, until the car moved, or where it
            had no car to move until it was connected; None if neither was to be seen.
        how: `moving`, `connected`, or why it cannot be told.
    """

    injected: Injected
    back_s: float | None
    how: str


@dataclasses.dataclass(frozen=True)
class GoTime:
    """A time during which the car may move, by what it was told.

    Attributes:
        start: When it was told so (s, monotonic).
        end: When that ended.
        by_hand: Whether it was an order, and not the host.
    """

    start: float
    end: float
    by_hand: bool


def go_times(sightings: Sightings) -> list[GoTime]:
    """Returns when the car was allowed to move.

    `race_start` and GO by hand begin it. It ends with `race_stop`, with the host, and outside
    practice with a disqualification, a new car or the connection: the host gives GO anew then.
    """
    found: list[GoTime] = []
    begun: EventSeen | None = None
    practice, newest = True, -1
    for each in sorted(sightings.events, key=lambda event: event.at):
        if each.kind == "stage":
            practice = each.detail == "practice"
        elif each.kind == "opened":
            newest = each.link
        ends = each.kind in ("race_stop", "host down")
        if not practice and each.link == newest:
            ends = ends or each.kind in ("DQ", "closed", "car_loaded")
        if each.kind in ("race_start", "go"):
            begun = begun or each
        elif ends and begun is not None:
            found.append(GoTime(begun.at, each.at, begun.kind == "go"))
            begun = None
    if begun is not None:
        found.append(GoTime(begun.at, float("inf"), begun.kind == "go"))
    return found


def uncommanded(sightings: Sightings) -> list[Violation]:
    """Finds commands that steer or give throttle before GO or after its end."""
    times = go_times(sightings)
    starts = [each.start for each in times]
    found: list[Violation] = []
    first: CommandSeen | None = None
    count = 0
    for command in [*sightings.commands, None]:
        if command is not None and command.moves:
            k = bisect.bisect_right(starts, command.at) - 1
            if k < 0 or command.at > times[k].end + BRAKE_S + _late(sightings, command.at):
                first, count = first or command, count + 1
                continue
        if first is not None:
            found.append(
                Violation(
                    first.at,
                    "nothing moves before GO",
                    f"{count} commands without GO, the first: steering {first.steering:.3f}, "
                    f"throttle {first.throttle:.3f}",
                )
            )
            first, count = None, 0
    return found


def unbraked(sightings: Sightings) -> list[Violation]:
    """Finds times without frames in which the car was not braked soon enough."""
    found: list[Violation] = []
    for link in sorted({each.link for each in sightings.frames}):
        frames = [each.at for each in sightings.frames if each.link == link and each.whole]
        if not frames:
            continue
        commands = [each for each in sightings.commands if each.link == link]
        closed = [each.at for each in _events(sightings, "closed") if each.link == link]
        end = closed[0] if closed else max([*frames, *(each.at for each in commands[-1:])])
        times = [each.at for each in commands]
        for last, following in zip(frames, [*frames[1:], end], strict=True):
            due = last + BRAKE_S
            due += _late(sightings, due)
            if following <= due:
                continue
            k = bisect.bisect_right(times, due)
            rest = commands[max(0, k - 1) : bisect.bisect_left(times, following)]
            bad = [each for each in rest if not each.brakes]
            if bad:
                braked = next((each.at for each in rest if each.brakes), following)
                found.append(
                    Violation(
                        due,
                        "braked 200 ms after the last frame",
                        f"no frame for {following - last:.3f} s, braked after "
                        f"{braked - last:.3f} s",
                    )
                )
    return found


def returns(sightings: Sightings, injected: Sequence[Injected]) -> list[Return]:
    """Says for each fault how the car came back; see `Return`."""
    times = go_times(sightings)
    found = []
    for k, each in enumerate(injected):
        limit = injected[k + 1].at if k + 1 < len(injected) else float("inf")
        found.append(_return(sightings, times, each, limit))
    return found


def _return(
    sightings: Sightings, times: Sequence[GoTime], injected: Injected, limit: float
) -> Return:
    end = injected.until
    go = next((each for each in times if each.end > end), None)
    if go is not None and go.start < limit:
        # By hand GO is given as soon as the car is there: all of it is our time.
        begin = end if go.by_hand or go.start <= end else go.start
        moving = _first_moving(sightings, max(end, go.start))
        if moving is not None and moving < max(limit, begin + BACK_S):
            return Return(injected, moving - begin, "moving")
        if min(go.end, limit) > begin + BACK_S:
            return Return(injected, None, "did not move")
    return _connected(sightings, injected, limit)


def _connected(sightings: Sightings, injected: Injected, limit: float) -> Return:
    """Of a car that may not move: whether it is connected, and since when."""
    end = injected.until
    opened = {each.link for each in _events(sightings, "opened") if each.at <= end}
    closed = {each.link: each.at for each in _events(sightings, "closed")}
    if any(closed.get(link, float("inf")) > end + BACK_S for link in opened):
        return Return(injected, 0.0, "connected")
    known = [each.at for each in _events(sightings, "racer_info") if each.at >= injected.at]
    known = [max(end, each) for each in known if each < max(limit, end + BACK_S)]
    if known:
        return Return(injected, known[-1] - end, "connected")
    if limit < end + BACK_S:
        return Return(injected, None, "the next fault came first")
    return Return(injected, None, "did not connect")


def _first_moving(sightings: Sightings, since: float) -> float | None:
    """Returns when the car first moved by its own command after a moment."""
    k = bisect.bisect_left(sightings.commands, since, key=lambda each: each.at)
    pushed = next((each.at for each in sightings.commands[k:] if each.throttle != 0.0), None)
    if pushed is None:
        return None
    k = bisect.bisect_left(sightings.frames, pushed, key=lambda each: each.at)
    moving = (each.at for each in sightings.frames[k:] if each.whole and each.speed > _MOVING)
    return next(moving, None)


def late_returns(found: Iterable[Return]) -> list[Violation]:
    """Finds faults after which the car was not back in time."""
    late = []
    for each in found:
        if each.how == "the next fault came first":
            continue
        if each.back_s is None or each.back_s > BACK_S:
            text = each.how if each.back_s is None else f"{each.how} after {each.back_s:.1f} s"
            late.append(Violation(each.injected.until, "back within 5 s", text))
    return late


def misdeeds(injected: Iterable[Injected]) -> list[Violation]:
    """Returns what faults did that the link does not show, as a page that follows strangers."""
    return [
        Violation(each.until, "faults beside the link do nothing", each.problem)
        for each in injected
        if each.problem
    ]


def with_causes(
    violations: Iterable[Violation], injected: Sequence[Injected]
) -> tuple[Violation, ...]:
    """Returns violations in their order, each with the fault before it."""
    found = []
    for each in sorted(violations, key=lambda one: one.at):
        before = [one.fault for one in injected if one.at <= each.at]
        found.append(dataclasses.replace(each, after=str(before[-1]) if before else ""))
    return tuple(found)


def _events(sightings: Sightings, *kinds: str) -> list[EventSeen]:
    return [each for each in sightings.events if each.kind in kinds]


def _late(sightings: Sightings, moment: float) -> float:
    """Returns by how much the observer may be wrong about a moment (s)."""
    k = bisect.bisect_left(sightings.held_up, moment - _NEAR_S, key=lambda each: each.at)
    near = (each for each in sightings.held_up[k:] if each.at - each.late_s <= moment)
    return max((each.late_s for each in near if each.at <= moment + _NEAR_S), default=0.0)
