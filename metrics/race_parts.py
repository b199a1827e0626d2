"""Races in several files: the folder that a `race_writer.RaceWriter` leaves while it writes.

```
race_00.parquet.parts/
  _header.json          what the race is
  part-00000.parquet    its rows in order; each part is a race record of its own
  part-00001.parquet
```

A name with ``_`` before it is none of the data for pandas and its like: they read the folder as
one table.
"""

from __future__ import annotations

import contextlib
import logging
import math
import pathlib
import re
import shutil
from collections.abc import Iterator

import numpy as np
from pyarrow import parquet

from donkey_rl import moving
from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race, columns_of
from donkey_rl.metrics.race_header import RaceHeader, read_header

LOGGER = logging.getLogger("donkey_rl.metrics")

SUFFIX = ".parts"
HEADER = "_header.json"
_NAME = re.compile(r"part-(\d{5})\.parquet")


def part_name(number: int) -> str:
    """Returns the file name of a part, counted from 0."""
    return f"part-{number:05d}.parquet"


def folder_of(path: pathlib.Path) -> pathlib.Path:
    """Returns where the parts of a record lie while it is written."""
    return path.with_name(path.name + SUFFIX)


def load(folder: pathlib.Path) -> Race:
    """Reads a race that was not finished: its whole parts, up to the first that is not.

    What has to be left out is logged as a warning.

    Raises:
        InputError: If the folder holds no race, or no part before a damaged one.
        StorageError: If it cannot be read.
    """
    header = _header(folder)
    races = [race for _, race in _whole_parts(folder, header)]
    if not races:
        return Race(
            header, {name: np.zeros(0, kind) for name, (kind, _) in columns_of(header).items()}
        )
    return Race.joined(races)


def finish(folder: pathlib.Path) -> pathlib.Path:
    """Makes one file of a race in parts, beside the folder.

    The folder is then removed, unless something in it could not be read, see `load`.

    Raises:
        InputError: As `load`, or the folder's name is not that of one which a writer left.
        StorageError: If the file cannot be written.
    """
    if folder.suffix != SUFFIX:
        raise InputError(f"A race in parts lies in a folder NAME{SUFFIX}. Received: {folder}.")
    header, path = _header(folder), folder.with_suffix("")
    parts, count = [], 0
    for part, race in _whole_parts(folder, header):
        parts.append(part)
        count += len(race)
    if _holds_more(path, header, count):
        # The folder is what was left when it was removed.
        _remove(folder)
        return path
    with_frames = False
    if parts:
        with race_file.opened(parts[0]) as first:
            with_frames = race_file.FRAME in first.schema_arrow.names
    schema = race_file.schema(header, frames=with_frames)
    with race_file.replaced(path) as file:
        with parquet.ParquetWriter(file, schema) as writer:
            for part in parts:
                with race_file.opened(part) as source:
                    rows = source.read().cast(schema)
                writer.write_table(rows)
        if file.tell() > race_file.MAX_BYTES:
            raise StorageError(
                f"A race record has at most {race_file.MAX_BYTES} bytes, and {path} would have "
                f"more. Its rows and pictures stay in {folder}."
            )
    if len(parts) == len(_part_files(folder)):
        _remove(folder)
    return path


def _holds_more(path: pathlib.Path, header: RaceHeader, rows: int) -> bool:
    """Whether a file holds more of the same race than is left of it in parts."""
    # What is not there, or no race, holds nothing.
    with contextlib.suppress(InputError), race_file.opened(path) as file:
        known = (file.schema_arrow.metadata or {}).get(race_file.METADATA_KEY, b"")
        return bool(file.metadata.num_rows > rows and read_header(known) == header)
    return False


def _remove(folder: pathlib.Path) -> None:
    """Removes the parts; what is left of them after a crash is not taken for a race."""
    gone = folder.with_name(f".{folder.name}.done")
    with contextlib.suppress(OSError):
        moving.moved(folder, gone)
    shutil.rmtree(gone if gone.exists() else folder, ignore_errors=True)


def _header(folder: pathlib.Path) -> RaceHeader:
    """Returns what the race is, by the file beside the parts."""
    path = folder / HEADER
    try:
        with path.open("rb") as file:
            text = file.read(race_file.MAX_METADATA + 1)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} holds no race in parts: it has no {HEADER}. Pass a race's file, or the "
            f"folder NAME{SUFFIX} of one that was not finished."
        ) from error
    except OSError as error:
        raise StorageError(f"{path} could not be read: {error.strerror or error}.") from error
    if len(text) > race_file.MAX_METADATA:
        raise InputError(f"A race header has at most {race_file.MAX_METADATA} bytes: see {path}.")
    try:
        return read_header(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _part_files(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Returns the parts by their number, in order."""
    found = {
        int(match[1]): path for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


def _whole_parts(folder: pathlib.Path, header: RaceHeader) -> Iterator[tuple[pathlib.Path, Race]]:
    """Yields the parts in order, until one is missing, damaged, or does not go on.

    Raises:
        InputError: If that is the first part already, or there are too many rows.
    """
    files = _part_files(folder)
    rows, ends = 0, -math.inf
    for number in range(max(files, default=-1) + 1):
        try:
            race = _part(folder / part_name(number), header, ends)
        except InputError as error:
            if not number:
                raise
            LOGGER.warning(
                "%s: only the %d parts before part %d are read (%d rows, until %.1f s). %s",
                *(folder, number, number, rows, ends, error),
            )
            return
        rows += len(race)
        if rows > race_file.MAX_ROWS:
            raise InputError(f"A race has at most {race_file.MAX_ROWS} rows: see {folder}.")
        if len(race):
            ends = float(race["time_s"][-1])
        yield folder / part_name(number), race


def _part(path: pathlib.Path, header: RaceHeader, ends: float) -> Race:
    """Reads one part.

    Raises:
        InputError: If it is missing, damaged, of another race, or begins before `ends` (s).
    """
    race = race_file.load(path)
    if race.header != header:
        raise InputError(f"{path} is of another race than {HEADER} beside it says.")
    if len(race) and race["time_s"][0] <= ends:
        raise InputError(f"{path} begins at {race['time_s'][0]} s, before the part before ends.")
    return race
