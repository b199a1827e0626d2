"""The record of one drive: what every metric reads.

A `Race` is a header and one row per telemetry step (20 Hz of simulation time). It is written as
one Parquet file that pandas opens without this package; the header lies as JSON in the file's
schema metadata under the key ``donkey_rl.race``. `race_writer` writes one while it is driven.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError, UnknownColumnError
from donkey_rl.metrics.race_header import RaceHeader

__all__ = ["COLUMNS", "OPTIONAL", "RIVALS", "Race", "RaceHeader", "RaceRecorder", "columns_of"]

COLUMNS: dict[str, tuple[type[np.generic], str]] = {
    "time_s": (np.float64, "s of simulation time since the race began"),
    "x": (np.float64, "u, Unity's X"),
    "z": (np.float64, "u, Unity's Z"),
    "yaw": (np.float32, "rad, clockwise from above, 0 = +Z"),
    "speed": (np.float32, "u/s"),
    "steering": (np.float32, "-1 (left) to 1 (right)"),
    "throttle": (np.float32, "-1 to 1"),
    "progress": (np.float64, "u along the path since the spawn, can fall"),
    "lateral": (np.float32, "u from the path, positive to its right"),
    "cte": (np.float32, "u, by the simulator's index rule"),
    "node": (np.int32, "index of the path's node that the car has reached"),
    "off_track": (np.bool_, "the car is outside the road, as the recorder judges it"),
    "hit": (np.str_, "name of what the car touched, empty for nothing"),
    "lap": (np.int32, "laps completed so far"),
    "reset": (np.bool_, "the car was put back at this row"),
    "latency_ms": (np.float32, "ms from the frame to the command for it, NaN where not known"),
    "missed": (np.bool_, "another frame came before that command was sent"),
}
"""Name of each column, with its type and its unit.

A row is a frame: commands, latency and deadline are those of the command that led to it, the one
for the frame in the row before.
"""

RIVALS: dict[str, tuple[type[np.generic], str]] = {
    "gap": (np.float32, "u along the path to the next car ahead, NaN without one"),
    "gap_speed": (np.float32, "u/s, speed of that car, NaN without one"),
    "passed": (np.int32, "cars passed so far, less those that passed this one"),
    "blameless": (np.bool_, "the car was touched by another and is not to blame"),
}
"""Further columns of races with other cars on the road, see `RaceHeader.opponents`."""

OPTIONAL: dict[str, Any] = {
    "hit": "",
    "lap": 0,
    "reset": False,
    "latency_ms": math.nan,
    "missed": False,
    "gap": math.nan,
    "gap_speed": math.nan,
    "passed": 0,
    "blameless": False,
}
"""Columns that may be left out, with the value they then take."""

MAX_NAME = 1024
"""Characters of the name of something that was hit."""

_MAY_BE_NAN = ("latency_ms", "gap", "gap_speed")


def columns_of(header: RaceHeader) -> dict[str, tuple[type[np.generic], str]]:
    """Returns the columns of a race, with their types and units, as `COLUMNS` has them."""
    return COLUMNS | RIVALS if header.opponents else COLUMNS


@dataclasses.dataclass(frozen=True, eq=False)
class Race:
    """The record of one drive.

    Attributes:
        header: What was driven, by whom and where.
        columns: The arrays named in `columns_of`, each of shape (rows,), read-only; those of
            `OPTIONAL` may be left out.
    """

    header: RaceHeader
    columns: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        """Checks and freezes the columns.

        Raises:
            InputError: If a column is missing or unknown, or their lengths differ, or a value is
                of another type, or not finite (a latency may be NaN), or the time does not grow
                from row to row.
        """
        object.__setattr__(self, "columns", _checked(self.columns, columns_of(self.header)))

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Returns one column, shape (rows,)."""
        return self.columns[name]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.columns["time_s"])

    def known(self) -> Race:
        """Returns the race without the columns that nobody recorded, which hold 0.

        To ask it for one of them is an `UnknownColumnError`.
        """
        unknown = self.header.unknown & self.columns.keys()
        if not unknown:
            return self
        kept = {name: values for name, values in self.columns.items() if name not in unknown}
        bare = object.__new__(Race)
        object.__setattr__(bare, "header", self.header)
        object.__setattr__(bare, "columns", _KnownColumns(kept))
        return bare

    def cut(self, rows: int) -> Race:
        """Returns the race's first rows, the race itself if it has no more."""
        return self if rows >= len(self) else self.part(0, rows)

    def part(self, first: int, end: int) -> Race:
        """Returns the rows from `first` to before `end`; time and progress stay the race's."""
        columns = {name: values[first:end] for name, values in self.columns.items()}
        return Race(self.header, columns)

    @classmethod
    def joined(cls, parts: Iterable[Race]) -> Race:
        """Returns the race that was recorded in several parts, in their order.

        Raises:
            InputError: If there is none, or they are of different races, or one begins before the
                one before it ends.
        """
        races = list(parts)
        if not races:
            raise InputError("A race is joined from its parts. Received: none.")
        for before, after in itertools.pairwise(races):
            if before.header != after.header:
                raise InputError(
                    f"The parts of a race must have one header. Received: another "
                    f"{', '.join(_differences(before.header, after.header))}."
                )
        return cls(
            races[0].header,
            {n: np.concatenate([race[n] for race in races]) for n in columns_of(races[0].header)},
        )

    @property
    def duration_s(self) -> float:
        """Simulation time from the first row to the last (s)."""
        return float(self["time_s"][-1] - self["time_s"][0]) if len(self) else 0.0

    def save(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes the race as one Parquet file, all or nothing.

        Raises:
            StorageError: If the file cannot be written.
        """
        from donkey_rl.metrics import race_file

        return race_file.save(self, pathlib.Path(path))

    @classmethod
    def load(cls, path: str | pathlib.Path) -> Race:
        """Reads a race that `save` or a `race_writer.RaceWriter` wrote, in any format so far.

        Args:
            path: The file, or the folder that a writer left unfinished.

        Raises:
            InputError: If it is missing, damaged, or no race record.
            StorageError: If it cannot be read.
        """
        from donkey_rl.metrics import race_file, race_parts

        path = pathlib.Path(path)
        return race_parts.load(path) if path.is_dir() else race_file.load(path)


class _KnownColumns(dict[str, npt.NDArray[Any]]):
    """Columns of a race of which some were not recorded."""

    def __missing__(self, name: str) -> npt.NDArray[Any]:
        if name in COLUMNS | RIVALS:
            raise UnknownColumnError(f"Nobody recorded the column '{name}' of this race.")
        raise KeyError(name)


class RaceRecorder:
    """Collects the rows of several cars that drive at once.

    Args:
        headers: One header per car, all with opponents or none.
        capacity: Rows to reserve; the space doubles when it is used up.
    """

    def __init__(self, headers: Sequence[RaceHeader], capacity: int = 2048) -> None:
        """Reserves the rows."""
        self._headers = tuple(headers)
        self._columns = columns_of(headers[0]) if headers else COLUMNS
        self._rows = 0
        # Names are stored by number: a text column would cost more than all others together.
        self._hits: dict[str, int] = {"": 0}
        self._data: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((capacity, len(self._headers)), np.int16 if name == "hit" else kind)
            for name, (kind, _) in self._columns.items()
        }
        self._driving = np.zeros((capacity, len(self._headers)), np.bool_)

    def __len__(self) -> int:
        """Returns the number of steps recorded."""
        return self._rows

    def append(self, row: Mapping[str, Any], driving: npt.ArrayLike = True) -> None:
        """Adds one step of all cars.

        Args:
            row: Each column of `columns_of` (those of `OPTIONAL` may be missing), as an array of
                shape (cars,) or as one value for all cars.
            driving: Which cars still race, shape (cars,); the others get no row.

        Raises:
            InputError: If a column is missing or unknown.
        """
        check_names(row.keys(), self._columns)
        if self._rows == len(self._driving):
            self._grow()
        for name, values in self._data.items():
            value = row.get(name, OPTIONAL.get(name))
            values[self._rows] = self._hit_numbers(value) if name == "hit" else value
        self._driving[self._rows] = driving
        self._rows += 1

    def race(self, car: int, header: RaceHeader | None = None) -> Race:
        """Returns what one car has driven so far.

        Args:
            car: Index of the car.
            header: Replaces the header given at the start.
        """
        rows = np.flatnonzero(self._driving[: self._rows, car])
        columns = {name: values[rows, car] for name, values in self._data.items()}
        columns["hit"] = np.array(list(self._hits), np.str_)[columns["hit"]]
        return Race(header or self._headers[car], columns)

    def races(self) -> tuple[Race, ...]:
        """Returns the race of every car."""
        return tuple(self.race(car) for car in range(len(self._headers)))

    def _hit_numbers(self, value: Any) -> npt.NDArray[np.int16] | int:
        """Returns the numbers of the names in `value`, shape (cars,) or one for all."""
        if isinstance(value, str):
            return self._hits.setdefault(value, len(self._hits))
        names = [str(name) for name in value]
        return np.array([self._hits.setdefault(n, len(self._hits)) for n in names], np.int16)

    def _grow(self) -> None:
        """Doubles the space."""
        self._data = {k: np.concatenate([v, np.zeros_like(v)]) for k, v in self._data.items()}
        self._driving = np.concatenate([self._driving, np.zeros_like(self._driving)])


def check_names(names: Iterable[str], columns: Mapping[str, Any]) -> None:
    """Checks that every column is there, save those that may be left out.

    Args:
        names: Of the columns that are given.
        columns: Those of the race, see `columns_of`.

    Raises:
        InputError: If one is missing or unknown.
    """
    given = {*names}
    missing = [name for name in columns if name not in given and name not in OPTIONAL]
    unknown = sorted(given - columns.keys())
    if missing or unknown:
        raise InputError(
            f"A race has the columns {', '.join(columns)}. "
            f"Received: missing={missing}, unknown={unknown}."
        )


def _checked(
    columns: Mapping[str, npt.ArrayLike], known: Mapping[str, tuple[type[np.generic], str]]
) -> dict[str, npt.NDArray[Any]]:
    """Returns read-only copies of the columns in the types of those that a race has."""
    check_names(columns.keys(), known)
    arrays = {name: _typed(name, columns[name]) for name in known if name in columns}
    rows = len(arrays["time_s"])
    for name in known:
        if name not in arrays:
            arrays[name] = np.full(rows, OPTIONAL[name], known[name][0])
    lengths = {name: array.shape for name, array in arrays.items()}
    if len(set(lengths.values())) > 1 or arrays["time_s"].ndim > 1:
        raise InputError(f"A race's columns must have one common length. Received: {lengths}.")
    for name, array in arrays.items():
        array.flags.writeable = False
        if array.dtype.kind == "f":
            _check_numbers(name, array)
    steps = np.diff(arrays["time_s"])
    if (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0]) + 1
        raise InputError(
            f"A race's time must grow from row to row. Received: time_s="
            f"{arrays['time_s'][row]} in row {row} after {arrays['time_s'][row - 1]}."
        )
    return {name: arrays[name] for name in known}


def _typed(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Returns a copy of a column in its type.

    Raises:
        InputError: If a value cannot be had in it.
    """
    kind = np.dtype((COLUMNS | RIVALS)[name][0])
    try:
        given = np.atleast_1d(np.asarray(values))
    except ValueError as error:
        raise InputError(f"A race's column '{name}' must be a list. Received: {error}.") from error
    if kind.kind == "U":
        fits = np.array([_is_name(value) for value in given.flat], np.bool_)
    elif given.dtype.kind not in "biuf":
        fits = np.zeros(given.size, np.bool_)
    elif kind.kind == "f":
        fits = np.ones(given.size, np.bool_)
    else:
        low, high = (0, 1) if kind.kind == "b" else (-(1 << 31), (1 << 31) - 1)
        fits = ((given >= low) & (given <= high) & (given == np.floor(given))).ravel()
    if not fits.all():
        row = int(np.flatnonzero(~fits)[0])
        raise InputError(
            f"A race's column '{name}' must be of type {kind.name}. "
            f"Received: {given.flat[row]!r} in row {row}."
        )
    with np.errstate(over="ignore"):
        return np.array(given, dtype=kind)


def _is_name(value: object) -> bool:
    """Whether a value is text that a file can hold, and not too long for one."""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_numbers(name: str, array: npt.NDArray[Any]) -> None:
    """Refuses what is not finite, and a latency below 0."""
    allowed = np.isfinite(array)
    if name in _MAY_BE_NAN:
        allowed = np.isnan(array) | (allowed & (array >= 0))
    if not allowed.all():
        row = int(np.flatnonzero(~allowed)[0])
        wanted = "NaN or 0 and more" if name in _MAY_BE_NAN else "finite"
        raise InputError(
            f"A race's numbers must be {wanted}. Received: {name}={array[row]} in row {row}."
        )


def _differences(one: RaceHeader, other: RaceHeader) -> list[str]:
    """Returns the names of the fields in which two headers differ."""
    return [n for n in RaceHeader.model_fields if getattr(one, n) != getattr(other, n)]
