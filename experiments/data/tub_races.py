"""The race that some records of a tub make.

A record of a tub holds an image and the commands that were given on seeing it, a row of a race an
image and the commands that led to it: the commands of a record stand in the row after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import donkey_rl
from donkey_rl.envs.recordings import rows as record_rows
from donkey_rl.envs.recordings import tub as recorded_tub
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.errors import InputError
from donkey_rl.experiments.data.tub import PREFIX, TIME, Record
from donkey_rl.experiments.data.tub_manifest import IMAGE_KEY
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, Race, columns_of
from donkey_rl.metrics.race_header import UNKNOWN, RaceHeader, read_header

FloatArray = npt.NDArray[np.float64]

TELEMETRY = {"x": "pos/pos_x", "z": "pos/pos_z", "speed": "pos/speed", "cte": "pos/cte"}
"""What donkeycar records of the simulator, by the columns of a race."""

_NOT_ASKED = {"time_s", "steering", "throttle", "latency_ms"}
"""Columns that every tub has, or that may be NaN."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a person knows of a tub and the tub does not say; empty for nothing.

    Attributes:
        driver: Who drove.
        vehicle: Which car, a generation of the simulator's; what a tub says of places and speeds
            is in the units of the newest one where this is empty.
        track: Where, a track's name or file.
    """

    driver: str = ""
    vehicle: str = ""
    track: str = ""

    def check(self) -> None:
        """Refuses a car or a track that is not known.

        Raises:
            UnknownNameError: The car or the track is not known.
            TrackError: The track's file is none.
        """
        if self.vehicle:
            vehicles.load(self.vehicle)
        if self.track:
            tracks.load(self.track)


NOTHING = Origin()


def commands(record: Record) -> tuple[float, float] | None:
    """Returns steering and throttle of whoever drove, None where they were not recorded.

    Raises:
        ValueError: One is no number.
    """
    steers, throttles = recorded_tub.drivers(record.fields)
    names = ("steering", f"{steers}/angle"), ("throttle", f"{throttles}/throttle")
    steering, throttle = (record_rows.number(n, record.fields.get(key)) for n, key in names)
    if np.isnan(steering) or np.isnan(throttle):
        return None
    return steering, throttle


def exported(records: Sequence[Record], header: object) -> Race:
    """Returns the race that records were exported from, without those that were deleted since.

    Args:
        records: In order.
        header: What the tub's metadata holds under `tub_manifest.HEADER_KEY` and the session.

    Raises:
        InputError: They make no race.
    """
    if not isinstance(header, str):
        raise InputError("the tub's metadata has no header of it.")
    known = read_header(header)
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in columns_of(known):
        values = [record.fields.get(f"{PREFIX}{name}", OPTIONAL.get(name)) for record in records]
        if None in values:
            raise InputError(f"a record has no {PREFIX}{name}.")
        wanted, received = ("text", str) if name == "hit" else ("number", int | float)
        if not all(isinstance(value, received) for value in values):
            raise InputError(f"{PREFIX}{name} is no {wanted}.")
        # As objects: an array of texts is in each row as wide as the longest.
        columns[name] = np.array(values, object if wanted == "text" else None)
    return Race(known, columns)


def foreign(records: Sequence[Record], seconds: FloatArray, origin: Origin) -> Race:
    """Returns the race of records that donkeycar wrote.

    What donkeycar does not record holds 0, and the header's conditions name it.

    Args:
        records: In order, with commands.
        seconds: The time of each since the first (s), growing, shape (n,).
        origin: What is known beside them.
    """
    given = np.array([commands(record) for record in records], np.float64).clip(-1.0, 1.0)
    # What led to the first image was not recorded.
    led = np.concatenate([np.zeros((1, 2)), given[:-1]])
    columns: dict[str, Any] = {
        name: np.zeros(len(records), kind) for name, (kind, _) in COLUMNS.items()
    } | {"latency_ms": np.full(len(records), np.nan), "time_s": seconds}
    columns["steering"], columns["throttle"] = led[:, 0], led[:, 1]
    scale = vehicles.load(origin.vehicle or vehicles.DEFAULT_VEHICLE).report_scale
    told = _telemetry(records)
    for name, values in told.items():
        columns[name] = values if name == "cte" else values * scale
    unknown = [name for name in COLUMNS if name not in _NOT_ASKED | told.keys()]
    step = float(seconds[-1]) / (len(seconds) - 1) if len(seconds) > 1 else 0.05
    header = RaceHeader(
        **_place(origin),
        vehicle=origin.vehicle,
        driver=origin.driver,
        conditions={UNKNOWN: " ".join(unknown)},
        simulator="",
        version=donkey_rl.__version__,
        time_step=step,
    )
    return Race(header, columns)


def _telemetry(records: Sequence[Record]) -> dict[str, FloatArray]:
    """Returns the columns that donkeycar recorded of the simulator in every record."""
    keys = (*TELEMETRY.values(), "pos/pos_y")
    values = np.array(
        [[record_rows.number("pos", record.fields.get(key)) for key in keys] for record in records]
    )
    # donkeycar writes zeros until the first telemetry arrives.
    place = values[:, [0, 1, 4]]
    values[(place == 0.0).all(axis=1)] = np.nan
    known = np.isfinite(values).all(axis=0)
    return {name: values[:, k] for k, name in enumerate(TELEMETRY) if known[k]}


def _place(origin: Origin) -> dict[str, Any]:
    """Returns the fields of a header that say where was driven."""
    if not origin.track:
        return {
            "track": "", "track_length": 1.0, "nodes": 2, "start_line": 0.0,
            "start_line_progress": 0.0, "road_left": 0.0, "road_right": 0.0,
        }  # fmt: skip
    road = tracks.load(origin.track)
    return {
        "track": road.name, "track_digest": road.digest, "track_length": road.length,
        "closed": road.closed, "nodes": len(road.nodes), "start_line": road.start_line,
        "start_line_progress": road.start_line, "road_left": road.road_left,
        "road_right": road.road_right, "min_lap_s": road.min_lap_s,
    }  # fmt: skip


def inputs(race: Race) -> dict[str, str]:
    """Returns the keys of the records that a race makes, with donkeycar's types."""
    kinds = {
        IMAGE_KEY: "image_array", "user/angle": "float", "user/throttle": "float",
        "user/mode": "str",
    }  # fmt: skip
    kinds |= {key: "float" for column, key in TELEMETRY.items() if _known(race, column)}
    named = {"f": "float", "i": "int", "b": "boolean", "U": "str"}
    return kinds | {
        f"{PREFIX}{name}": named[np.dtype(kind).kind]
        for name, (kind, _) in columns_of(race.header).items()
    }


def records(race: Race, began_ms: int) -> Iterator[dict[str, Any]]:
    """Yields a race's rows as the fields of records, without numbers, sessions and images.

    The commands of a record are those of the row after it; after the last row there are none, so
    that its record repeats its own.

    Args:
        race: The race.
        began_ms: When it began, by donkeycar's clock (ms).
    """
    scale = vehicles.load(race.header.vehicle or vehicles.DEFAULT_VEHICLE).report_scale
    columns = {name: race[name].tolist() for name in columns_of(race.header)}
    led = min(len(race) - 1, 1)
    angle = [*columns["steering"][led:], *columns["steering"][-1:]]
    throttle = [*columns["throttle"][led:], *columns["throttle"][-1:]]
    told = [(column, key) for column, key in TELEMETRY.items() if _known(race, column)]
    for row in range(len(race)):
        fields: dict[str, Any] = {
            TIME: began_ms + round(1000.0 * columns["time_s"][row]),
            "user/angle": angle[row], "user/throttle": throttle[row], "user/mode": "user",
        }  # fmt: skip
        for column, key in told:
            value = columns[column][row]
            fields[key] = value if column == "cte" else value / scale
        for name, values in columns.items():
            # JSON has no NaN: a latency that is not known is left out.
            if values[row] == values[row]:
                fields[f"{PREFIX}{name}"] = values[row]
        yield fields


def _known(race: Race, column: str) -> bool:
    return column not in race.header.unknown
