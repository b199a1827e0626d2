"""The record of one drive: what every metric reads.

A `Race` is a header and one row per telemetry step (20 Hz of simulation time). It is written as
one Parquet file that pandas opens without this package; the header lies as JSON in the file's
schema metadata under the key ``donkey_rl.race``.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError

FORMAT: Literal[1] = 1
"""Version of the record: a reader refuses a newer one."""

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
}
"""Name of each column, with its type and its unit."""

OPTIONAL: dict[str, object] = {"hit": "", "lap": 0, "reset": False}
"""Columns that a recorder may leave out, with the value they then take."""


class RaceHeader(Config):
    """What a race was: enough to time its laps and to drive it again.

    The car's arc length along the path is ``start_line - start_line_progress + progress``, modulo
    ``track_length`` on a closed path.
    """

    format: Literal[1] = pydantic.Field(FORMAT, description="Version of the record.")
    track: str = pydantic.Field(description="Name of the track.")
    track_length: float = pydantic.Field(gt=0, description="Length of the path (u).")
    closed: bool = pydantic.Field(True, description="Whether the path's end meets its beginning.")
    nodes: int = pydantic.Field(ge=2, description="Number of nodes of the path.")
    start_line: float = pydantic.Field(ge=0, description="Arc length of the start line (u).")
    start_line_progress: float = pydantic.Field(
        ge=0, description="Value of `progress` where the car first meets the start line (u)."
    )
    road_left: float = pydantic.Field(description="Lateral offset of the road's left edge (u).")
    road_right: float = pydantic.Field(description="Lateral offset of the right edge (u).")
    min_lap_s: float = pydantic.Field(10.0, ge=0, description="Quicker crossings do not count.")
    laps: int = pydantic.Field(3, ge=1, description="Laps that the race goes over.")
    vehicle: str = pydantic.Field("", description="Name of the car.")
    seed: int = pydantic.Field(0, ge=0, description="Seed of the race's start and world.")
    run_id: str = pydantic.Field("", description="Run that the driver comes from.")
    driver_hash: str = pydantic.Field("", description="SHA-256 over the driver's files.")
    simulator: str = pydantic.Field("embedded", description="The simulator driven.")
    version: str = pydantic.Field("", description="Version of this package.")
    time_step: float = pydantic.Field(0.05, gt=0, description="Mean time between rows (s).")
    camera: dict[str, float | int | str] = pydantic.Field(
        default_factory=dict, description="The camera's configuration."
    )
    units: Literal["u"] = pydantic.Field("u", description="Unit of length: Unity units.")

    @property
    def lap_length(self) -> float:
        """Length of a lap along the path (u): to the path's end where it is open."""
        return self.track_length if self.closed else self.track_length - self.start_line


@dataclasses.dataclass(frozen=True, eq=False)
class Race:
    """The record of one drive.

    Attributes:
        header: What was driven, by whom and where.
        columns: The arrays named in `COLUMNS`, each of shape (rows,), read-only.
    """

    header: RaceHeader
    columns: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        """Checks and freezes the columns.

        Raises:
            InputError: If a column is missing or unknown, or their lengths differ, or a number is
                not finite, or the time does not grow from row to row.
        """
        object.__setattr__(self, "columns", _checked(self.columns))

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Returns one column, shape (rows,)."""
        return self.columns[name]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.columns["time_s"])

    def cut(self, rows: int) -> Race:
        """Returns the race's first rows, the race itself if it has no more."""
        if rows >= len(self):
            return self
        return Race(self.header, {name: values[:rows] for name, values in self.columns.items()})

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
        """Reads a race that `save` wrote.

        Raises:
            InputError: If the file is missing, damaged, or no race record.
            StorageError: If it cannot be read.
        """
        from donkey_rl.metrics import race_file

        return race_file.load(pathlib.Path(path))


class RaceRecorder:
    """Collects the rows of several cars that drive at once.

    Args:
        headers: One header per car.
        capacity: Rows to reserve; the space doubles when it is used up.
    """

    def __init__(self, headers: Sequence[RaceHeader], capacity: int = 2048) -> None:
        """Reserves the rows."""
        self._headers = tuple(headers)
        self._rows = 0
        # Names are stored by number: a text column would cost more than all others together.
        self._hits: dict[str, int] = {"": 0}
        self._data: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((capacity, len(self._headers)), np.int16 if name == "hit" else kind)
            for name, (kind, _) in COLUMNS.items()
        }
        self._driving = np.zeros((capacity, len(self._headers)), np.bool_)

    def __len__(self) -> int:
        """Returns the number of steps recorded."""
        return self._rows

    def append(self, row: Mapping[str, Any], driving: npt.ArrayLike = True) -> None:
        """Adds one step of all cars.

        Args:
            row: Each column of `COLUMNS` (those of `OPTIONAL` may be missing), as an array of
                shape (cars,) or as one value for all cars.
            driving: Which cars still race, shape (cars,); the others get no row.

        Raises:
            InputError: If a column is missing or unknown.
        """
        _check_names(row.keys() | OPTIONAL.keys())
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


def _check_names(names: Any) -> None:
    missing = [name for name in COLUMNS if name not in names]
    unknown = sorted(name for name in names if name not in COLUMNS)
    if missing or unknown:
        raise InputError(
            f"A race has the columns {', '.join(COLUMNS)}. "
            f"Received: missing={missing}, unknown={unknown}."
        )


def _checked(columns: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
    """Returns read-only copies of the columns in the types of `COLUMNS`."""
    _check_names(columns.keys())
    arrays = {n: np.array(columns[n], dtype=kind, ndmin=1) for n, (kind, _) in COLUMNS.items()}
    lengths = {name: array.shape for name, array in arrays.items()}
    if len(set(lengths.values())) > 1 or arrays["time_s"].ndim > 1:
        raise InputError(f"A race's columns must have one common length. Received: {lengths}.")
    for name, array in arrays.items():
        array.flags.writeable = False
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array))[0])
            raise InputError(
                f"A race's numbers must be finite. Received: {name}={array[row]} in row {row}."
            )
    steps = np.diff(arrays["time_s"])
    if (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0]) + 1
        raise InputError(
            f"A race's time must grow from row to row. Received: time_s="
            f"{arrays['time_s'][row]} in row {row} after {arrays['time_s'][row - 1]}."
        )
    return arrays
