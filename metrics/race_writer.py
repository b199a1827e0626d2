"""Race records that are written while the race is driven.

A process that is killed loses less than the last second of its drive: what it had written is
whole, and `Race.load` and pandas read it (see `race_parts` for the files).
"""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import race_file, race_parts
from donkey_rl.metrics.race import Race, RaceHeader, columns_of

WRITE_S = 0.25
"""Rows are on their way to the disk after this time at the latest (s, by the clock)."""

PART_ROWS = 1200
"""A minute. A part is written anew with each of its rows, so parts must not become long."""

PART_ROWS_WITH_FRAMES = 200


@dataclasses.dataclass
class _Part:
    """Rows that become one file; the thread that writes reads those before `rows` alone."""

    number: int
    columns: dict[str, npt.NDArray[Any]]
    frames: list[bytes | None]
    rows: int = 0
    written: int = -1


class RaceWriter:
    """Writes one race while it is driven; the file appears when it is closed.

    Until then its rows lie in a folder `NAME.parts` beside it. A thread of its own writes them
    there four times a second, so that the disk does not hold up the car.

    >>> with RaceWriter("race.parquet", header) as writer:  # doctest: +SKIP
    ...     writer.append({"time_s": 0.0, "x": 1.0, ...})

    Attributes:
        path: The file.
        folder: Where the parts lie while it is written.
    """

    def __init__(
        self, path: str | pathlib.Path, header: RaceHeader, *, frames: bool = False
    ) -> None:
        """Makes the folder.

        Args:
            path: The file; one of that name is replaced when this is closed.
            header: What the race is.
            frames: Whether each row comes with a picture.

        Raises:
            InputError: If an earlier race was not finished there.
            StorageError: If the folder cannot be written.
        """
        self.path = pathlib.Path(path)
        self.folder = race_parts.folder_of(self.path)
        self._header = header
        self._schema = race_file.schema(header, frames=frames)
        self._frames = frames
        self._parts: list[_Part] = []
        self._count = 0
        self._time = -np.inf
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._failure: Exception | None = None
        self._make_folder()
        self._open_part()
        # Arrow's first write takes long; here it holds up nothing, and an unfit disk is told.
        self._write()
        self._thread = threading.Thread(target=self._run, name="race writer", daemon=True)
        self._thread.start()

    def _make_folder(self) -> None:
        """Makes the folder with the header in it."""
        try:
            self.folder.mkdir(parents=True)
        except FileExistsError as error:
            raise InputError(
                f"{self.folder} holds a race that was not finished. Make a file of it with "
                "donkey_rl.metrics.race_parts.finish(folder), or delete it."
            ) from error
        except OSError as error:
            raise StorageError(
                f"The race record {self.folder} could not be written: {error.strerror}."
            ) from error
        with race_file.replaced(self.folder / race_parts.HEADER) as file:
            file.write(self._header.model_dump_json(indent=2).encode() + b"\n")

    def append(self, row: Mapping[str, Any], frame: bytes | None = None) -> None:
        """Adds one row.

        Args:
            row: Each column of `columns_of` as one value; those of `OPTIONAL` may be missing.
            frame: The picture of the row, as a JPEG file.

        Raises:
            InputError: If the row is none of a race, or there is a picture too many.
            StorageError: If what came before could not be written.
        """
        if self._failure is not None:
            raise self._failure
        if frame is not None and not self._frames:
            raise InputError("This race keeps no pictures. Open the writer with frames=True.")
        checked = Race(self._header, {name: np.array([value]) for name, value in row.items()})
        if checked["time_s"][0] <= self._time:
            raise InputError(
                f"A race's time must grow from row to row. Received: {checked['time_s'][0]} s "
                f"after {self._time} s."
            )
        self._time = float(checked["time_s"][0])
        part = self._open_part()
        for name, values in part.columns.items():
            values[part.rows] = checked[name][0]
        if self._frames:
            part.frames.append(frame)
        part.rows += 1

    def _open_part(self) -> _Part:
        """Returns the part that takes the next row."""
        size = PART_ROWS_WITH_FRAMES if self._frames else PART_ROWS
        if self._parts and self._parts[-1].rows < size:
            return self._parts[-1]
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.empty(size, object if kind is np.str_ else kind)
            for name, (kind, _) in columns_of(self._header).items()
        }
        part = _Part(self._count, columns, [])
        self._count += 1
        with self._lock:
            self._parts.append(part)
        return part

    def _run(self) -> None:
        """Writes what is new, until the writer is closed or the disk fails."""
        try:
            while not self._closing.wait(WRITE_S):
                self._write()
            self._write()
        except Exception as error:
            # Whatever it is: rows that are lost must not go unnoticed.
            self._failure = error

    def _write(self) -> None:
        """Writes every part that has new rows, in order."""
        with self._lock:
            parts = list(self._parts)
        for part in parts:
            rows = part.rows
            if rows > part.written:
                self._write_part(part, rows)
                part.written = rows
        # Only the last part still grows.
        with self._lock:
            self._parts = [p for p in self._parts if p.written < p.rows or p is self._parts[-1]]

    def _write_part(self, part: _Part, rows: int) -> None:
        columns: list[Any] = [values[:rows] for values in part.columns.values()]
        if self._frames:
            columns.append(part.frames[:rows])
        arrays = [pa.array(c, field.type) for c, field in zip(columns, self._schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        path = self.folder / race_parts.part_name(part.number)
        with race_file.replaced(path, durable=False) as file:
            parquet.write_table(table, file)

    def close(self) -> pathlib.Path:
        """Writes what is left and makes one file of all; may be called again.

        Returns:
            The file.

        Raises:
            StorageError: If it cannot be written; the folder stays, with what is whole.
        """
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        if self.folder.exists():
            race_parts.finish(self.folder)
        return self.path

    def __enter__(self) -> Self:
        """Returns the open writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file; what was driven before an error is kept."""
        self.close()
