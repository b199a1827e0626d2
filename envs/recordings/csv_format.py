"""Recordings as CSV files: a header and one line for each record.

``index,frame,time_s,pos_x,pos_y,pos_z,speed,cte,steering,throttle``, in any order. Columns may
be missing and cells empty; further columns are ignored. `frame` names a JPEG or PNG file in the
folder ``frames`` beside the CSV file, or beside the file itself.
"""

from __future__ import annotations

import csv
import pathlib
import reprlib
from collections.abc import Iterator, Sequence

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.rows import FIELDS, Rows
from donkey_rl.errors import InputError

HEADER = ("index", "frame", *FIELDS)
MAX_BYTES = 512 * 2**20

_CONTENT = frozenset(HEADER) - {"index", "time_s"}
_EXPECTED = f"lines of numbers under the header {','.join(HEADER)}"


def read(file: pathlib.Path) -> Recording:
    """Reads one CSV file.

    Raises:
        InputError: It cannot be read, has another header, is too large, or holds no usable
            record.
    """
    rows = Rows(file, (file.parent / "frames", file.parent))
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{file}: expected a CSV file of at most {MAX_BYTES // 2**20} MiB. "
                f"Received: {file.stat().st_size // 2**20} MiB. Split the recording."
            )
        # A byte that is no UTF-8 spoils one cell, not the file.
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.reader(stream)
            _fill(rows, reader, _columns(file, next(reader, [])))
    except OSError as error:
        raise InputError(
            f"{file}: expected a readable CSV file. Received: {error.strerror or error}. "
            "Check the path and its permissions."
        ) from error
    except csv.Error as error:
        raise InputError(
            f"{file}: expected a CSV file: {_EXPECTED}. Received: {error}. "
            "Write it with commas, and quotes closed."
        ) from error
    return rows.recording(file.stem, _EXPECTED)


def _columns(file: pathlib.Path, header: Sequence[str]) -> dict[str, int]:
    """Returns where each known column stands.

    Raises:
        InputError: None is there that a recording needs.
    """
    found: dict[str, int] = {}
    for place, title in enumerate(header):
        name = title.strip().lower()
        if name in HEADER:
            found.setdefault(name, place)
    if not _CONTENT & found.keys():
        received = reprlib.repr(",".join(header)) if header else "an empty file"
        raise InputError(
            f"{file}: expected a CSV file with the header {','.join(HEADER)} (in any order, "
            f"some may be missing). Received: {received}. Give the columns these names, "
            "separated by commas, or move the file out of the folder."
        )
    return found


def _fill(rows: Rows, reader: Iterator[list[str]], columns: dict[str, int]) -> None:
    """Adds all lines behind the header."""
    width = max(columns.values()) + 1
    for line, cells in enumerate(reader, start=2):
        if not cells:
            continue
        if len(cells) < width:
            # Cut off while writing: what is left of its last number cannot be trusted.
            rows.skip(f"line {line}", f"expected {width} cells. Received: {len(cells)}")
            continue
        values = {name: cells[place] for name, place in columns.items()}
        rows.add(f"line {line}", values, values.get("frame"))
