"""Whether a record holds everything that was seen on the link."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from donkey_rl.errors import DonkeyRLError
from donkey_rl.race_server.record import reader
from donkey_rl.race_server.rehearsal.checks import Violation
from donkey_rl.race_server.rehearsal.sightings import CommandSeen, FrameSeen, Sightings

RULE = "no record line is lost"

_NEAR_S = 2.0
"""What was seen and what was recorded of it lie no further apart."""

_EQUAL = 1e-4
_LAST_S = 0.5
"""Frames so shortly before the end of a connection may never have been taken."""


@dataclasses.dataclass(frozen=True)
class FrameLine:
    """A frame of a record.

    Attributes:
        at: When it arrived (s, monotonic).
        time_s: Simulation time (s).
        skipped: How many were passed over before it.
    """

    at: float
    time_s: float
    skipped: int


@dataclasses.dataclass(frozen=True)
class RecordedDrive:
    """What a record says.

    Attributes:
        frames: In their order.
        commands: In their order; `link` is -1.
        complaints: What is wrong with the record itself, one line each.
        end: Time of its last line (s, monotonic).
    """

    frames: Sequence[FrameLine]
    commands: Sequence[CommandSeen]
    complaints: Sequence[str] = ()
    end: float = float("inf")


def read(folder: Path) -> RecordedDrive:
    """Reads the record of a car.

    Raises:
        DonkeyRLError: There is none, or it cannot be read.
    """
    record = reader.read(folder)
    frames, commands, complaints = [], [], list(record.problems)
    end = 0.0
    for each in record.missing:
        complaints.append(f"lines {each.start} to {each.stop - 1} are missing")
    if not record.ended:
        complaints.append("its last line is missing")
    for line in record.lines():
        end, told = line.time_s, line.fields
        if line.kind == "frame":
            at = told.get("arrived", line.time_s)
            frames.append(FrameLine(float(at), float(told["time"]), int(told["skipped"])))
        elif line.kind == "command":
            values = (float(told[name]) for name in ("steering", "throttle", "brake"))
            commands.append(CommandSeen(line.time_s, -1, *values))
        elif line.kind == "warning" and told.get("lines_lost"):
            complaints.append(f"{told['lines_lost']} lines were left out, as it says itself")
    return RecordedDrive(frames, commands, complaints, end)


def record_folders(records: Path) -> list[Path]:
    """Returns the folders of the records below a folder, oldest first."""
    return sorted({path.parent for path in records.rglob("record-00001.jsonl")})


def lost_lines(sightings: Sightings, records: Path) -> list[Violation]:
    """Finds what was seen on the link and stands in no record.

    Args:
        sightings: Of one evening.
        records: Folder of our car's records of it.
    """
    found = []
    drives = []
    for folder in record_folders(records):
        try:
            drives.append(read(folder))
        except (DonkeyRLError, KeyError, TypeError, ValueError) as error:
            found.append(Violation(0.0, RULE, f"'{folder}' cannot be read: {error}"))
    if not drives:
        return [*found, Violation(0.0, RULE, f"there is no record in '{records}'")]
    for drive in drives:
        found += [Violation(drive.end, RULE, each) for each in drive.complaints]
    frames = sorted((each for drive in drives for each in drive.frames), key=_at)
    commands = sorted((each for drive in drives for each in drive.commands), key=_at)
    end = max(drive.end for drive in drives)
    found += lost_frames(sightings, frames, end)
    found += lost_commands([each for each in sightings.commands if each.at < end], commands)
    return found


def lost_frames(
    sightings: Sightings, recorded: Sequence[FrameLine], end: float
) -> list[Violation]:
    """Finds frames that were passed on whole and are neither recorded nor told as skipped.

    Those before the first recorded one of a connection set the car up, and those right before its
    end were never taken.

    Args:
        sightings: What was seen.
        recorded: Frames of the record, in their order.
        end: When the record ended (s, monotonic).
    """
    by_time: dict[float, list[FrameLine]] = {}
    for each in recorded:
        by_time.setdefault(round(each.time_s, 3), []).append(each)
    closed = {each.link: each.at for each in sightings.events if each.kind == "closed"}
    links: dict[int, list[FrameSeen]] = {}
    for seen in sightings.frames:
        if seen.whole:
            links.setdefault(seen.link, []).append(seen)
    found = []
    for link, frames in links.items():
        begun, unmatched = False, 0
        over = min(closed.get(link, end), end) - _LAST_S
        for seen in frames:
            near = by_time.get(round(seen.time_s, 3), ())
            line = next((each for each in near if abs(each.at - seen.at) < _NEAR_S), None)
            if line is None:
                unmatched += begun and seen.at < over
                continue
            if unmatched > line.skipped:
                text = f"{unmatched - line.skipped} frames before {seen.time_s:.2f} s"
                found.append(Violation(seen.at, RULE, text))
            begun, unmatched = True, 0
        if unmatched:
            found.append(Violation(frames[-1].at, RULE, f"the last {unmatched} frames of a link"))
        if not begun and frames[-1].at - frames[0].at > 2.0 * _NEAR_S:
            found.append(Violation(frames[0].at, RULE, f"all {len(frames)} frames of a link"))
    return found


def lost_commands(seen: Iterable[CommandSeen], recorded: Sequence[CommandSeen]) -> list[Violation]:
    """Finds commands that were seen and are not recorded.

    A full brake may stand for the set-up of a car, which is no command of the race.

    Args:
        seen: In their order.
        recorded: In their order.
    """
    times = [each.at for each in recorded]
    used = [False] * len(recorded)
    found = []
    for command in seen:
        k = bisect.bisect_left(times, command.at - _NEAR_S)
        while k < len(times) and times[k] < command.at + _NEAR_S:
            if not used[k] and _are_equal(command, recorded[k]):
                used[k] = True
                break
            k += 1
        else:
            if not command.brakes or command.steering != 0.0:
                text = f"a command of steering {command.steering:.3f}, {command.throttle:.3f}"
                found.append(Violation(command.at, RULE, text))
    return found


def _are_equal(a: CommandSeen, b: CommandSeen) -> bool:
    gaps = (a.steering - b.steering, a.throttle - b.throttle, a.brake - b.brake)
    return all(abs(gap) < _EQUAL for gap in gaps)


def _at(each: Any) -> float:
    return float(each.at)
