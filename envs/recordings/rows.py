"""Gathering the records of one recording, whatever the format: checks, repairs and notes."""

from __future__ import annotations

import array
import math
import os
import pathlib
import reprlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float64]

FIELDS = ("time_s", "pos_x", "pos_y", "pos_z", "speed", "cte", "steering", "throttle")
MAX_RECORDS = 1_000_000
ASSUMED_RATE = 20.0
"""Records a second where no time was recorded: donkeycar's default, and the telemetry's."""

_TIME = FIELDS.index("time_s")
_POSITION = slice(FIELDS.index("pos_x"), FIELDS.index("pos_z") + 1)
_TELEMETRY = slice(FIELDS.index("pos_x"), FIELDS.index("cte") + 1)
_COMMANDS = slice(FIELDS.index("steering"), FIELDS.index("throttle") + 1)

_LARGEST = {"time_s": 1e14}
_LARGEST_OTHERS = 1e6
_LONGEST_NAME = 1024


def number(field: str, value: object) -> float:
    """Returns a value as a number; NaN where nothing was recorded.

    Args:
        field: One of `FIELDS`.
        value: A cell or a JSON value; None, ``""`` and NaN are nothing.

    Raises:
        ValueError: It is something else, infinite, or absurdly large.
    """
    if value is None:
        return math.nan
    text = value.strip() if isinstance(value, str) else None
    if text == "":
        return math.nan
    try:
        if isinstance(value, bool) or (text is not None and "_" in text):
            raise ValueError
        found = float(text if text is not None else value)  # type: ignore[arg-type]
        if abs(found) > _LARGEST.get(field, _LARGEST_OTHERS):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{field}: expected a number. Received: {reprlib.repr(value)}") from error
    return found


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun.

    >>> plural(1, "record"), plural(1200, "record")
    ('1 record', '1,200 records')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Rows:
    """The records of one recording while it is being read.

    Attributes:
        source: The file or folder, for messages.
    """

    def __init__(self, source: pathlib.Path, frame_folders: Sequence[pathlib.Path]) -> None:
        """Starts without records.

        Args:
            source: The file or folder that is read.
            frame_folders: Where a frame's file may lie; the first that has it counts.
        """
        self.source = source
        self._folders = tuple(frame_folders)
        self._listed: dict[pathlib.Path, frozenset[str]] = {}
        self._values = array.array("d")
        self._names: list[str | None] = []
        self._bad = 0
        self._first_bad = ""
        self._outside: list[str] = []
        self._notes: list[str] = []

    def __len__(self) -> int:
        """Number of records kept."""
        return len(self._names)

    def add(self, where: str, values: Mapping[str, object], frame: object) -> None:
        """Adds a record, or counts it as bad.

        Args:
            where: The place in the source, such as ``"line 3"``.
            values: By the names in `FIELDS`; what is missing was not recorded.
            frame: Name of the image's file; None or ``""`` if there is none.

        Raises:
            InputError: There are more than a million records.
        """
        self._check_count()
        try:
            found = [number(field, values.get(field)) for field in FIELDS]
            name = self._frame_name(frame)
            if name is None and all(math.isnan(value) for value in found[1:]):
                raise ValueError("expected telemetry, a command or a frame. Received: nothing")
        except ValueError as error:
            self.skip(where, str(error))
            return
        self._values.extend(found)
        self._names.append(name)

    def _check_count(self) -> None:
        if len(self._names) + self._bad >= MAX_RECORDS:
            raise InputError(
                f"{self.source}: expected at most {MAX_RECORDS:,} records. Received: more. "
                "Split the recording."
            )

    def skip(self, where: str, reason: str) -> None:
        """Counts a bad record; the first one is named in the notes.

        Raises:
            InputError: There are more than a million records.
        """
        self._check_count()
        self._first_bad = self._first_bad or f"{where}: {reason}"
        self._bad += 1

    def note(self, text: str) -> None:
        """Adds a note."""
        self._notes.append(text)

    def recording(self, name: str, expected: str) -> Recording:
        """Returns what was gathered.

        Args:
            name: What to call it.
            expected: What a record should have looked like, for the error.

        Raises:
            InputError: No record can be used.
        """
        if not len(self):
            received = f"none of {self._bad:,}; {self._first_bad}" if self._bad else "none"
            raise InputError(
                f"{self.source}: expected records: {expected}. Received: {received}. "
                "Record again, or name another folder."
            )
        if self._bad:
            self.note(f"{plural(self._bad, 'bad record')} left out, first {self._first_bad}.")
        table = np.array(self._values, dtype=np.float64).reshape(-1, len(FIELDS))
        self._assume_time(table)
        self._blank_placeholders(table)
        self._clip(table)
        unrecorded = np.isnan(table).all(axis=0)
        if unrecorded.any():
            missing = [FIELDS[k] for k in np.flatnonzero(unrecorded)]
            self.note(f"Not recorded: {', '.join(missing)}.")
        frames = self._frames()
        column = {field: np.ascontiguousarray(table[:, k]) for k, field in enumerate(FIELDS)}
        return Recording(
            name=name,
            time_s=column["time_s"],
            position=np.ascontiguousarray(table[:, _POSITION]),
            speed=column["speed"],
            cte=column["cte"],
            steering=column["steering"],
            throttle=column["throttle"],
            frames=frames,
            notes=tuple(self._notes),
        )

    def _assume_time(self, table: FloatArray) -> None:
        """Fills in the time where the recorder wrote none at all."""
        unknown = np.isnan(table[:, _TIME])
        if unknown.all():
            table[:, _TIME] = np.arange(len(table)) / ASSUMED_RATE
            self.note(f"No time was recorded: {ASSUMED_RATE:g} records a second are assumed.")
        elif unknown.any():
            self.note(f"{plural(int(unknown.sum()), 'record')} without a time.")

    def _blank_placeholders(self, table: FloatArray) -> None:
        """Takes away the zeros that recorders write before the first telemetry arrives."""
        empty = (table[:, _POSITION] == 0.0).all(axis=1)
        if empty.any():
            table[empty, _TELEMETRY] = np.nan
            self.note(
                f"{plural(int(empty.sum()), 'record')} at position (0, 0, 0), as recorders write "
                "before telemetry arrives: position, speed and cte are taken as unknown."
            )

    def _clip(self, table: FloatArray) -> None:
        """Limits the commands as the simulator does."""
        beyond = (np.abs(table[:, _COMMANDS]) > 1.0).any(axis=1)
        if beyond.any():
            table[:, _COMMANDS] = np.clip(table[:, _COMMANDS], -1.0, 1.0)
            self.note(
                f"{plural(int(beyond.sum()), 'record')} with steering or throttle beyond "
                "[-1, 1]: clipped."
            )

    def _frame_name(self, value: object) -> str | None:
        """Returns the name of a frame's file, None if it leads out of the folder.

        Raises:
            ValueError: It is no text.
        """
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"expected a frame's file name. Received: {reprlib.repr(value)}")
        name = value.strip()
        if name and not is_inside(name):
            self._outside.append(name)
            return None
        return name or None

    def _frames(self) -> tuple[pathlib.Path | None, ...]:
        """Looks for the frames on disk."""
        frames = tuple(None if name is None else self._find(name) for name in self._names)
        if self._outside:
            self.note(
                f"{plural(len(self._outside), 'frame')} with a name that leads out of the folder: "
                f"not used, first {reprlib.repr(self._outside[0])}."
            )
        missing = [
            name
            for name, file in zip(self._names, frames, strict=True)
            if name is not None and file is None
        ]
        if missing:
            self.note(
                f"{plural(len(missing), 'frame')} missing on disk, first "
                f"{reprlib.repr(missing[0])}."
            )
        return frames

    def _find(self, name: str) -> pathlib.Path | None:
        """Returns the file of a frame; each folder is listed once, not each file looked for."""
        for folder in self._folders:
            file = folder / name
            if file.name in self._listing(file.parent):
                return file
        return None

    def _listing(self, folder: pathlib.Path) -> frozenset[str]:
        if folder not in self._listed:
            try:
                with os.scandir(folder) as entries:
                    names = frozenset(entry.name for entry in entries if entry.is_file())
            except OSError:
                names = frozenset()
            self._listed[folder] = names
        return self._listed[folder]


def is_inside(name: str) -> bool:
    r"""Whether a relative file name stays inside its folder, on every system.

    >>> [is_inside(name) for name in ("0.jpg", "a/0.jpg", "../0.jpg", "/0.jpg", "C:\\0.jpg")]
    [True, True, False, False, False]
    """
    path = pathlib.PureWindowsPath(name)
    return (
        len(name) <= _LONGEST_NAME
        and name.isprintable()
        and bool(path.name)
        and not (path.drive or path.root)
        and ".." not in path.parts
    )
