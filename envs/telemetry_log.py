"""A log of what a car did, one row a step, that a spreadsheet opens."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from donkey_rl.errors import StorageError

COLUMNS = (
    "episode",
    "step",
    "time",
    "pos_x",
    "pos_z",
    "yaw",
    "speed",
    "distance",
    "progress",
    "cte",
    "steering",
    "throttle",
    "reward",
    "off_track",
    "hit",
    "lap_count",
    "last_lap_time",
)
"""Time in s, distance and progress in u, speed and position as the car reports them."""


class TelemetryLog:
    """Writes rows to a CSV file; a row is on disk as soon as it is written."""

    def __init__(self, path: pathlib.Path | str) -> None:
        """Creates the file with its header.

        Raises:
            StorageError: The file cannot be written.
        """
        self._path = pathlib.Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", newline="", encoding="utf-8", buffering=1)
            self._rows = csv.DictWriter(self._file, COLUMNS, extrasaction="ignore")
            self._rows.writeheader()
        except OSError as error:
            raise StorageError(f"Cannot write the telemetry log {path}: {error}.") from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends one step; keys outside `COLUMNS` are left out.

        Raises:
            StorageError: The disk is full; what was written before stays readable.
        """
        try:
            self._rows.writerow(row)
        except ValueError as error:
            raise StorageError(
                f"{self._path} is closed, as the environment is. Make a new one."
            ) from error
        except OSError as error:
            raise StorageError(f"Cannot write to {self._path}: {error}.") from error

    def close(self) -> None:
        """Closes the file.

        Raises:
            StorageError: The disk is full; what was written before stays readable.
        """
        try:
            self._file.close()
        except OSError as error:
            raise StorageError(f"Cannot write to {self._path}: {error}.") from error

    def __enter__(self) -> Self:
        """Returns the open log."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()
