"""Recordings as donkeycar writes them: tubs of version 1 and 2.

The fields of a record are the same in both: ``cam/image_array`` (an image's file),
``user/angle``, ``user/throttle``, ``user/mode``, with recorded pilots ``pilot/angle`` and
``pilot/throttle``, and where the simulator's place was recorded ``pos/pos_x``, ``pos/pos_y``,
``pos/pos_z``, ``pos/speed`` and ``pos/cte``.

Version 1 is a folder of ``record_<n>.json``, images beside them, and ``meta.json``; the time is
``milliseconds`` since the recorder's start. Version 2 has ``manifest.json``, whose last line
lists the ``catalog_<n>.catalog`` files and the deleted records; a catalog has one record on each
line, the images lie in ``images``, the time is ``_timestamp_ms`` since 1970.
"""

from __future__ import annotations

import json
import math
import pathlib
import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from donkey_rl.envs.recordings import rows as record_rows
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.rows import Rows
from donkey_rl.errors import InputError

MAX_FILE_BYTES = 64 * 2**20
MAX_RECORD_BYTES = 2**20

CATALOG = re.compile(r"catalog_([0-9]{1,12})\.catalog")
"""Names of the files with the records of version 2."""

_RECORD = re.compile(r"record_([0-9]{1,12})\.json")
_TELEMETRY = {
    "pos_x": "pos/pos_x",
    "pos_y": "pos/pos_y",
    "pos_z": "pos/pos_z",
    "speed": "pos/speed",
    "cte": "pos/cte",
}
_CLOCKS = ("_timestamp_ms", "milliseconds")
_EXPECTED = 'JSON objects such as {"cam/image_array": "0.jpg", "user/angle": 0.1, ...}'

_Record = Mapping[str, Any]


def is_v1(folder: pathlib.Path) -> bool:
    """Whether a folder holds records of version 1."""
    return any(_RECORD.fullmatch(file.name) for file in folder.glob("record_*.json"))


def is_v2(folder: pathlib.Path) -> bool:
    """Whether a folder holds catalogs of version 2."""
    return any(CATALOG.fullmatch(file.name) for file in folder.glob("catalog_*.catalog"))


def read_v1(folder: pathlib.Path) -> Recording:
    """Reads a tub of version 1, in the order of the records' numbers.

    Raises:
        InputError: It has more than a million records, or none that can be used.
    """
    tub = _Tub(folder, folder)
    for name in numbered(folder, _RECORD):
        file = folder / name
        try:
            if not file.is_file():
                raise ValueError("expected a file. Received: a folder or a device")
            with file.open("rb") as stream:
                record = _parse(stream.read(MAX_RECORD_BYTES + 1))
        except OSError as error:
            tub.rows.skip(name, f"expected a readable file. Received: {error.strerror or error}")
        except ValueError as error:
            tub.rows.skip(name, str(error))
        else:
            tub.add(name, record)
    return tub.recording()


def read_v2(folder: pathlib.Path) -> Recording:
    """Reads a tub of version 2 without the records that its user deleted.

    Raises:
        InputError: A file is too large, there are more than a million records, or none that
            can be used.
    """
    tub = _Tub(folder, folder / "images", folder)
    manifest = _manifest(folder, tub.rows)
    count = deleted = 0
    for name in manifest.catalogs:
        for line, text in enumerate(_lines(folder / name, tub.rows), start=1):
            where = f"{name} line {line}"
            try:
                record = _parse(text)
            except ValueError as error:
                tub.rows.skip(where, str(error))
                record = {}
            own = record.get("_index")
            number = own if isinstance(own, int) else count
            count += 1
            if number in manifest.deleted:
                deleted += 1
            elif record:
                tub.add(where, record)
    if deleted:
        tub.rows.note(f"{record_rows.plural(deleted, 'deleted record')} left out.")
    return tub.recording()


class _Tub:
    """Turns donkeycar's records into rows."""

    def __init__(self, folder: pathlib.Path, *frames: pathlib.Path) -> None:
        self.rows = Rows(folder, frames)
        self._clock: str | None = None
        self._start: float | None = None
        self._unknown_commands = 0

    def add(self, where: str, record: _Record) -> None:
        """Adds a record, or counts it as bad."""
        try:
            values: dict[str, Any] = {"time_s": self._seconds(record)}
        except ValueError as error:
            self.rows.skip(where, str(error))
            return
        values |= {field: record.get(key) for field, key in _TELEMETRY.items()}
        steering, throttle = drivers(record)
        values |= {
            "steering": record.get(f"{steering}/angle"),
            "throttle": record.get(f"{throttle}/throttle"),
        }
        if steering == "pilot" and values["steering"] is None:
            self._unknown_commands += 1
        self.rows.add(where, values, record.get("cam/image_array"))

    def _seconds(self, record: _Record) -> float | None:
        """Returns the time since the first record, None if it was not recorded.

        Raises:
            ValueError: It is no number.
        """
        if self._clock is None:
            self._clock = next((key for key in _CLOCKS if record.get(key) is not None), None)
        if self._clock is None:
            return None
        time = record_rows.number("time_s", record.get(self._clock))
        if math.isnan(time):
            return None
        if self._start is None:
            self._start = time
        return (time - self._start) / 1000.0

    def recording(self) -> Recording:
        """Returns what was gathered.

        Raises:
            InputError: No record can be used.
        """
        if self._unknown_commands:
            self.rows.note(
                f"{record_rows.plural(self._unknown_commands, 'record')} driven by a pilot whose "
                "commands were not recorded: they are taken as unknown "
                "(donkeycar records them with RECORD_DURING_AI)."
            )
        return self.rows.recording(self.rows.source.resolve().name, _EXPECTED)


def drivers(record: _Record) -> tuple[str, str]:
    """Returns who steered and who gave throttle, as donkeycar's drive modes say."""
    mode = record.get("user/mode") or "user"
    if mode == "user":
        return "user", "user"
    return "pilot", "user" if mode == "local_angle" else "pilot"


def _parse(text: bytes) -> dict[str, Any]:
    """Returns a record.

    Raises:
        ValueError: It is no JSON object, or longer than 1 MiB.
    """
    if len(text) > MAX_RECORD_BYTES:
        raise ValueError(f"expected at most {MAX_RECORD_BYTES:,} bytes. Received: more")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = reprlib.repr(text.strip().decode("utf-8", "replace"))
        raise ValueError(f"expected a JSON object. Received: {shown}") from error
    if not isinstance(record, dict) or not record:
        raise ValueError(f"expected a JSON object. Received: {reprlib.repr(record)}")
    return record


def numbered(folder: pathlib.Path, pattern: re.Pattern[str]) -> list[str]:
    """Returns the files of a folder that a pattern names, in the order of their numbers."""
    found = (pattern.fullmatch(file.name) for file in folder.iterdir())
    return [match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1]))]


def _lines(file: pathlib.Path, rows: Rows) -> Iterator[bytes]:
    """Yields the lines of a file, or notes that it is missing; see `lines`."""
    if file.is_file():
        yield from lines(file)
    else:
        rows.note(f"{file.name} is missing on disk.")


def lines(file: pathlib.Path) -> Iterator[bytes]:
    """Yields the lines of a file that are not empty, each cut off a byte above 1 MiB.

    Raises:
        InputError: The file cannot be read, or is larger than 64 MiB.
    """
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"{file}: expected at most {MAX_FILE_BYTES // 2**20} MiB. "
                f"Received: {size // 2**20} MiB. Split the recording."
            )
        with file.open("rb") as stream:
            while line := stream.readline(MAX_RECORD_BYTES + 1):
                rest = line
                while not rest.endswith(b"\n") and rest:
                    rest = stream.readline(MAX_RECORD_BYTES)
                if line.strip():
                    yield line
    except OSError as error:
        raise InputError(
            f"{file}: expected a readable file. Received: {error.strerror or error}. "
            "Check its permissions."
        ) from error


class _Manifest(NamedTuple):
    """What a manifest of version 2 says.

    Attributes:
        catalogs: Names of the files with the records, in order.
        deleted: Numbers of records that the user took out.
    """

    catalogs: tuple[str, ...]
    deleted: frozenset[int]


def _manifest(folder: pathlib.Path, rows: Rows) -> _Manifest:
    """Reads the manifest; without a good one, all catalogs on disk are taken in order."""
    file = folder / "manifest.json"
    for text in reversed(list(_lines(file, rows))):
        try:
            entry = _parse(text)
        except ValueError:
            continue
        paths, deleted = entry.get("paths"), entry.get("deleted_indexes", [])
        if not isinstance(paths, list) or not isinstance(deleted, list):
            continue
        # By the pattern, a catalog cannot lie outside the folder.
        names = [name for name in paths if isinstance(name, str) and CATALOG.fullmatch(name)]
        if len(names) < len(paths):
            rows.note("manifest.json lists other files than catalog_<n>.catalog: left out.")
        if names:
            kept = frozenset(number for number in deleted if isinstance(number, int))
            return _Manifest(tuple(dict.fromkeys(names)), kept)
    rows.note(
        "manifest.json lists no catalogs: all are read, also records that were deleted there."
    )
    return _Manifest(tuple(numbered(folder, CATALOG)), frozenset())
