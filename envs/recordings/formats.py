"""Reading recordings from disk, whichever of the known formats they have."""

from __future__ import annotations

import pathlib

from donkey_rl.envs.recordings import csv_format, race_records, tub
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.errors import InputError

FORMATS = (
    f"CSV files (*.csv with the header {','.join(csv_format.HEADER)})",
    "a donkeycar tub of version 1 (record_<n>.json)",
    "a donkeycar tub of version 2 (manifest.json and catalog_<n>.catalog)",
    f"race records with pictures (*{race_records.SUFFIX})",
)

_CSV = ".csv"
_MOST_NAMED = 3


def read(path: pathlib.Path) -> tuple[Recording, ...]:
    """Reads all recordings in a folder, or one CSV file or race record.

    A folder with catalogs is a tub of version 2, one with ``record_<n>.json`` a tub of version
    1, each one recording; in any other each race record is one, or else each ``*.csv``, by name.
    Images are not opened.
    What was assumed, repaired or left out stands in `Recording.notes`.

    Args:
        path: The folder or the file.

    Returns:
        At least one recording, each of at least one record.

    Raises:
        InputError: There is nothing of that name or of these formats, a file is too large, or
            nothing usable is left of it.
    """
    path = pathlib.Path(path)
    try:
        if path.is_file():
            return (_file(path),)
        if path.is_dir():
            return _folder(path)
    except OSError as error:
        raise InputError(
            f"{path}: expected a readable recording. Received: {error.strerror or error}. "
            "Check its permissions."
        ) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{str(path)!r}: expected the path of a recording. Received: {error}. Check the path."
        ) from error
    raise InputError(
        f"{path}: expected a folder with a recording, or a CSV file. Received: nothing of that "
        "name. Check the path."
    )


def _file(file: pathlib.Path) -> Recording:
    """Reads one file.

    Raises:
        InputError: It is neither a CSV file nor a race record, or as their readers say.
        StorageError: A race record cannot be read.
    """
    if file.suffix.lower() == race_records.SUFFIX:
        return race_records.read(file)
    if file.suffix.lower() != _CSV:
        raise InputError(
            f"{file}: expected a CSV file, a race record or a folder. Received: a file "
            f"'{file.suffix}'. For a tub, name its folder: {file.parent}."
        )
    return csv_format.read(file)


def _folder(folder: pathlib.Path) -> tuple[Recording, ...]:
    """Reads a folder.

    Raises:
        InputError: It holds none of the formats, or as the reader of its format says.
    """
    if tub.is_v2(folder):
        return (tub.read_v2(folder),)
    if tub.is_v1(folder):
        return (tub.read_v1(folder),)
    races = _files(folder, race_records.SUFFIX)
    if races:
        return tuple(race_records.read(file) for file in races)
    files = _files(folder, _CSV)
    if files:
        return tuple(csv_format.read(file) for file in files)
    inside = [
        child.name for child in sorted(folder.iterdir()) if child.is_dir() and _holds_one(child)
    ]
    remedy = "Name the folder that holds the records."
    if inside:
        remedy = f"Name one of the folders in it: {', '.join(inside[:_MOST_NAMED])}."
    raise InputError(
        f"{folder}: expected a recording: {'; '.join(FORMATS)}. Received: a folder with none of "
        f"them. {remedy}"
    )


def _holds_one(folder: pathlib.Path) -> bool:
    """Whether a folder holds any of the formats."""
    if tub.is_v2(folder) or tub.is_v1(folder):
        return True
    return bool(_files(folder, _CSV) or _files(folder, race_records.SUFFIX))


def _files(folder: pathlib.Path, suffix: str) -> list[pathlib.Path]:
    """Returns the files of a folder that end so, by name."""
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() == suffix and file.is_file()
    )
