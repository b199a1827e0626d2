"""Measured delays as a file: `time_s,delay_ms`, a row for each measured message."""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import math
import pathlib

import numpy as np
import numpy.typing as npt

from donkey_rl import moving, user_paths
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float64]

HEADER = ("time_s", "delay_ms")

MOST_MS = 1000.0
"""Nobody drives at longer delays."""

LONGEST_GAP_S = 1.0
"""What happened in a longer pause between two rows is not known."""

LEAST_ROWS = 20

_MOST_BYTES = 5_000_000
_LINES_NAMED = 10


@dataclasses.dataclass(frozen=True, eq=False)
class LatencyProfile:
    """Delays of one connection, in their order.

    Attributes:
        time_s: When each message was measured, growing, shape (M,).
        delay_ms: Two-way delay of each, shape (M,).
    """

    time_s: FloatArray
    delay_ms: FloatArray

    @property
    def digest(self) -> str:
        """SHA-256 of the rows."""
        return hashlib.sha256(self.time_s.tobytes() + self.delay_ms.tobytes()).hexdigest()

    def at(self, time_s: FloatArray) -> FloatArray:
        """Returns the delays at some times: of the last row before each, round and round.

        After the last row it goes on with the first, a mean interval later.

        Args:
            time_s: Times since 0 of the file's own clock, shape (N,).
        """
        first, last = self.time_s[0], self.time_s[-1]
        around = (last - first) * len(self.time_s) / (len(self.time_s) - 1)
        # What rounding took from a row's own time must not fall to the row before.
        within = first + np.mod(time_s - first, around) + 1e-9
        row = np.searchsorted(self.time_s, within, side="right") - 1
        found: FloatArray = self.delay_ms[row]
        return found


def read(path: str | pathlib.Path) -> LatencyProfile:
    """Reads a profile.

    Args:
        path: A CSV file with the header `time_s,delay_ms`; times in seconds that grow, by at
            most 1 s, and delays from 0 to 1000 ms.

    Raises:
        InputError: It is no such file; what is wrong is named line by line.
    """
    place = user_paths.path_of(path).resolve()
    try:
        facts = place.stat()
    except OSError as error:
        raise InputError(
            f"The latency profile {path} cannot be read: {error.strerror}. "
            "`donkey-rl doctor --simulator HOST:PORT --latency-profile FILE` writes one."
        ) from error
    return _read(place, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=8)
def _read(place: pathlib.Path, changed_ns: int, size: int) -> LatencyProfile:
    """Reads a profile once for each state of its file."""
    if size > _MOST_BYTES:
        raise InputError(
            f"The latency profile {place.name} has {size / 1e6:.1f} MB. Expected at most "
            f"{_MOST_BYTES / 1e6:.0f} MB. Cut it short."
        )
    try:
        text = place.read_bytes()[:_MOST_BYTES].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The latency profile {place.name} cannot be read as text ({error}). Expected a CSV "
            f"file with the header {','.join(HEADER)}."
        ) from error
    time_s, delay_ms, faults = _rows(text)
    if faults:
        named = "; ".join(faults[:_LINES_NAMED])
        more = f"; and {len(faults) - _LINES_NAMED} more" if len(faults) > _LINES_NAMED else ""
        raise InputError(
            f"The latency profile {place.name} cannot be played. {named}{more}. Mend or measure "
            "it again: `donkey-rl doctor --simulator HOST:PORT --latency-profile FILE`."
        )
    if len(time_s) < LEAST_ROWS:
        raise InputError(
            f"The latency profile {place.name} has {len(time_s)} rows. Expected at least "
            f"{LEAST_ROWS}. Measure longer."
        )
    return LatencyProfile(np.array(time_s), np.array(delay_ms))


def _rows(text: str) -> tuple[list[float], list[float], list[str]]:
    """Returns times, delays, and what is wrong with which line."""
    time_s: list[float] = []
    delay_ms: list[float] = []
    rows = csv.reader(io.StringIO(text, newline=""))
    faults: list[str] = []
    try:
        header = tuple(cell.strip() for cell in next(rows, []))
        if header != HEADER:
            shown = ",".join(header)[:60]
            return [], [], [f"line 1: expected the header {','.join(HEADER)}, received '{shown}'"]
        for row in rows:
            if not row:
                continue
            fault = _fault(row, time_s[-1] if time_s else None)
            if fault:
                faults.append(f"line {rows.line_num}: {fault}")
            found = _numbers(row)
            # A line with a wrong delay still says when it was measured.
            if found is not None and math.isfinite(found[0]):
                time_s.append(found[0])
                delay_ms.append(found[1])
    except csv.Error as error:
        faults.append(f"line {rows.line_num}: {error}")
    return time_s, delay_ms, faults


def _numbers(row: list[str]) -> tuple[float, float] | None:
    """Returns the two numbers of a line, None where they are none."""
    try:
        time_s, delay_ms = map(float, row)
    except ValueError:
        return None
    return time_s, delay_ms


def _fault(row: list[str], before_s: float | None) -> str:
    """Returns what is wrong with a line, "" for nothing.

    Args:
        row: Its cells.
        before_s: Time of the line before, None for the first.
    """
    if len(row) != len(HEADER):
        return f"expected 2 columns, received {len(row)}"
    found = _numbers(row)
    if found is None:
        return f"expected two numbers, received '{','.join(row)[:60]}'"
    time_s, delay_ms = found
    if not (math.isfinite(time_s) and math.isfinite(delay_ms)):
        return f"expected finite numbers, received '{','.join(row)[:60]}'"
    if delay_ms < 0.0:
        return f"a delay of {delay_ms:g} ms is negative"
    if delay_ms > MOST_MS:
        return f"a delay of {delay_ms:g} ms is beyond {MOST_MS:g} ms"
    if before_s is not None and time_s <= before_s:
        return f"time does not go on, from {before_s:g} s to {time_s:g} s"
    if before_s is not None and time_s - before_s > LONGEST_GAP_S:
        return (
            f"a gap of {time_s - before_s:.2f} s after {before_s:g} s, where at most "
            f"{LONGEST_GAP_S:g} s may lie between two lines"
        )
    return ""


def write(path: pathlib.Path, time_s: list[float], delay_ms: list[float]) -> None:
    """Writes a profile; one that is there stays until the new one is whole.

    Args:
        path: The file, written anew.
        time_s: When each message was measured.
        delay_ms: Two-way delay of each.

    Raises:
        InputError: It cannot be written.
    """
    lines = [",".join(HEADER)]
    lines += [f"{t:.3f},{d:.1f}" for t, d in zip(time_s, delay_ms, strict=True)]
    try:
        moving.write(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise InputError(
            f"The latency profile {path} cannot be written: {error.strerror}. "
            "Make room, or name a file elsewhere."
        ) from error
