"""Race records with pictures, as recordings to learn from.

A row of a record is a frame and the command that led to it; a recording has beside each frame the
command that answered it, which stands in the next row.
"""

from __future__ import annotations

import pathlib

import numpy as np

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race

SUFFIX = ".parquet"

_LONGEST_GAP_S = 0.5
"""A command is not that of a frame which is older than this."""


class _Pictures:
    """The pictures of one record, read a group of rows at a time when they are wanted."""

    def __init__(self, path: pathlib.Path) -> None:
        """Finds the groups.

        Raises:
            InputError: The record holds no pictures, or is none.
            StorageError: It cannot be read.
        """
        self._path = path
        with race_file.opened(path) as file:
            _, names = race_file.described(path, file)
            if race_file.FRAME not in names:
                raise InputError(
                    f"{path}: expected a race record with pictures. Received: one without. "
                    "Record with --frames."
                )
            sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
        self._ends = np.cumsum(sizes)
        self._group = -1
        self._contents: list[bytes | None] = []

    def content(self, row: int) -> bytes | None:
        """Returns the picture of a row, None where there is none or it cannot be read."""
        group = int(np.searchsorted(self._ends, row, side="right"))
        if group != self._group:
            try:
                with race_file.opened(self._path) as file:
                    read = file.read_row_group(group, columns=[race_file.FRAME])
            except (InputError, StorageError):
                return None
            self._contents = [each.as_py() for each in read.column(0)]
            self._group = group
        return self._contents[row - (self._ends[group - 1] if group else 0)]


class RacePicture:
    """The picture of one row."""

    def __init__(self, pictures: _Pictures, row: int) -> None:
        """Remembers where it is; it is read when it is wanted."""
        self._pictures, self._row = pictures, row

    def content(self) -> bytes | None:
        """Returns the JPEG file, None where there is none or it cannot be read."""
        return self._pictures.content(self._row)


def read(path: pathlib.Path) -> Recording:
    """Reads a race record; its pictures are read when they are wanted.

    Speed and position are those that the car would report, see `Vehicle.report_scale`. The last
    row has no command, nor has one before a reset, a gap, or a command that came too late for its
    frame.

    Args:
        path: A file that was recorded with pictures.

    Raises:
        InputError: It is no race record, or has no pictures.
        StorageError: It cannot be read.
    """
    race = Race.load(path)
    if not len(race):
        raise InputError(f"{path}: expected a race of a row at least. Received: none. Delete it.")
    pictures = _Pictures(path)
    car = vehicles.load(race.header.vehicle or vehicles.DEFAULT_VEHICLE)
    rows = len(race)
    place = np.stack([race["x"], np.zeros(rows), race["z"]], axis=1)
    time_s = race["time_s"].astype(np.float64)
    answered = ~race["reset"][1:] & ~race["missed"][1:] & (np.diff(time_s) <= _LONGEST_GAP_S)
    commands = np.full((2, rows), np.nan)
    for command, name in zip(commands, ("steering", "throttle"), strict=True):
        command[: rows - 1] = np.where(answered, race[name][1:], np.nan)
    return Recording(
        name=path.name,
        time_s=time_s,
        position=place / car.report_scale,
        speed=race["speed"].astype(np.float64) / car.report_scale,
        cte=race["cte"].astype(np.float64),
        steering=commands[0],
        throttle=commands[1],
        frames=tuple(RacePicture(pictures, row) for row in range(rows)),
        vehicle=race.header.vehicle,
    )
