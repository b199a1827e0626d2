"""Reads a record back. It may come from anybody: every size, number and place in it is checked."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard, get_args

import pydantic

from donkey_rl.errors import InputError, StorageError
from donkey_rl.race_server.interface import Kind
from donkey_rl.race_server.record import header as headers
from donkey_rl.race_server.record import lines, parts
from donkey_rl.race_server.record.header import RecordHeader

MOST_PARTS = 10_000
MOST_LINES_BYTES = 2 * parts.MOST_LINE_BYTES
MOST_PICTURES_BYTES = 2 * parts.MOST_PICTURE_BYTES
LARGEST_PICTURE = 3_000_000
"""Bytes, as a simulator may send."""

_NAME = re.compile(r"record-(\d{5})\.jsonl")
_KINDS: dict[str, lines.AnyKind] = {
    **{kind: kind for kind in get_args(Kind)},
    "header": "header",
    "end": "end",
}
_MOST_PROBLEMS = 20


@dataclasses.dataclass(frozen=True)
class Picture:
    """Where a picture lies.

    Attributes:
        path: The file.
        offset: Its first byte.
        length: Bytes.
    """

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """Returns the picture's file; whoever decodes it bounds its size in pixels.

        Raises:
            StorageError: It cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.length)
        except OSError as error:
            raise StorageError(f"{self.path} could not be read: {error.strerror}.") from error
        if len(content) < self.length:
            raise StorageError(f"{self.path} was cut short while it was read.")
        return content


@dataclasses.dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        number: Counted from 0.
        time_s: By the monotonic clock of the machine that raced (s).
        wall_s: Since 1970 (s).
        kind: What it tells of.
        fields: What it tells.
        picture: Its picture, None without one.
    """

    number: int
    time_s: float
    wall_s: float
    kind: lines.AnyKind
    fields: Mapping[str, Any]
    picture: Picture | None


@dataclasses.dataclass(frozen=True)
class Record:
    """A record that was looked through.

    Attributes:
        folder: Where it lies.
        header: What it is of.
        files: Its files of lines, in order.
        count: Lines that can be read.
        kinds: How many there are of each kind.
        missing: Numbers of lines that are not there, as ranges; those after the last are not
            known.
        seconds: From the first line to the last (s).
        ended: Whether the race was ended, and did not just break off.
        problems: What cannot be read, one line each; the first twenty.
    """

    folder: Path
    header: RecordHeader
    files: tuple[Path, ...]
    count: int
    kinds: Mapping[str, int]
    missing: tuple[range, ...]
    seconds: float
    ended: bool
    problems: tuple[str, ...]

    @property
    def parts(self) -> tuple[Path, ...]:
        """All files of the record: those of lines, and of their pictures."""
        pictures = (pictures_of(path) for path in self.files)
        return (*self.files, *(path for path in pictures if _is_own(path)))

    def lines(self) -> Iterator[Line]:
        """Yields the lines that can be read, in order, the header first.

        Raises:
            StorageError: A file cannot be read.
        """
        for found in _in_order(self.files):
            if isinstance(found, Line):
                yield found


def read(folder: str | Path) -> Record:
    """Looks through a record.

    A line that is damaged is left out and named; a last one that was cut off, as by `kill -9`, is
    not even that.

    Args:
        folder: The folder that a `tape.FileTape` wrote.

    Raises:
        InputError: It holds no record, or one of a newer format.
        StorageError: It cannot be read.
    """
    folder = Path(folder)
    files = _files(folder)
    kinds: Counter[str] = Counter()
    missing: list[range] = []
    problems: list[str] = []
    first: Line | None = None
    last: Line | None = None
    for found in _in_order(files):
        if isinstance(found, str):
            if len(problems) < _MOST_PROBLEMS:
                problems.append(found)
            continue
        first = first or found
        expected = last.number + 1 if last is not None else 0
        if found.number > expected:
            missing.append(range(expected, found.number))
        kinds[found.kind] += 1
        last = found
    if first is None or last is None:
        raise _none(folder)
    return Record(
        folder=folder,
        header=_header(folder, first),
        files=files,
        count=kinds.total(),
        kinds=kinds,
        missing=tuple(missing),
        seconds=last.time_s - first.time_s,
        ended=last.kind == "end",
        problems=tuple(problems),
    )


def _none(folder: Path) -> InputError:
    return InputError(
        f"{folder} holds no record of a race: expected {parts.lines_name(1)} with a first line. "
        "Pass a folder that `donkey-rl race` wrote, by default one below races/."
    )


def _files(folder: Path) -> tuple[Path, ...]:
    """Returns the files of lines, in order.

    Raises:
        InputError: There is none, or one is missing or too large.
        StorageError: The folder cannot be read.
    """
    try:
        found = sorted(
            path for path in folder.iterdir() if _NAME.fullmatch(path.name) and _is_own(path)
        )
        sizes = [path.stat().st_size for path in found]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _none(folder) from error
    except OSError as error:
        raise StorageError(f"{folder} could not be read: {error.strerror or error}.") from error
    if not found:
        raise _none(folder)
    if len(found) > MOST_PARTS or max(sizes) > MOST_LINES_BYTES:
        raise InputError(
            f"A record has at most {MOST_PARTS} parts of {MOST_LINES_BYTES} bytes. "
            f"Received: {folder} with {len(found)}, the largest of {max(sizes)} bytes."
        )
    return tuple(found)


def pictures_of(path: Path) -> Path:
    """Returns where the pictures of a file of lines lie, if it has some."""
    return path.with_name(path.name.replace("record-", "frames-").replace("jsonl", "mjpeg"))


def _is_own(path: Path) -> bool:
    """Whether a file is there itself: a link may lead to what is no part of a record."""
    return path.is_file() and not path.is_symlink()


def _header(folder: Path, first: Line) -> RecordHeader:
    """Returns the header of a record.

    Raises:
        InputError: The first line is none.
    """
    found = first.fields.get("format")
    if first.kind == "header" and isinstance(found, int) and found > headers.FORMAT:
        raise InputError(
            f"The record {folder} is of format {found}, and this version of donkey-rl reads "
            f"format {headers.FORMAT}. Update donkey-rl."
        )
    try:
        if first.kind != "header":
            raise ValueError(f"its first line is a '{first.kind}'")
        return RecordHeader.model_validate(first.fields)
    except ValueError as error:
        reason = str(error)
        if isinstance(error, pydantic.ValidationError):
            told = error.errors()[0]
            reason = f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
        raise InputError(
            f"The record {folder} does not say what it is of: {reason}. Its other lines are JSON "
            "that any program reads, see docs/race_records.md."
        ) from error


def _in_order(files: tuple[Path, ...]) -> Iterator[Line | str]:
    """Yields the lines of all parts as their numbers grow, or what is wrong with them."""
    last = -1
    for path in files:
        for found in _lines(path):
            if isinstance(found, Line) and found.number <= last:
                yield f"{path.name}: line {found.number} follows line {last}"
                continue
            last = found.number if isinstance(found, Line) else last
            yield found


def _lines(path: Path) -> Iterator[Line | str]:
    """Yields each line of a part, or what is wrong with it.

    Raises:
        StorageError: The file cannot be read.
    """
    pictures = pictures_of(path)
    try:
        size = pictures.stat().st_size if _is_own(pictures) else 0
        with path.open("rb") as file:
            row = 0
            while content := file.readline(lines.LONGEST + 1):
                row += 1
                if not content.endswith(b"\n"):
                    if len(content) <= lines.LONGEST:
                        # Cut off: the end of the file.
                        return
                    yield f"{path.name}: line {row} is longer than {lines.LONGEST} bytes"
                    while content and not content.endswith(b"\n"):
                        content = file.readline(lines.LONGEST + 1)
                    continue
                try:
                    yield _line(content, pictures, min(size, MOST_PICTURES_BYTES))
                except ValueError as error:
                    yield f"{path.name}: line {row} {error}"
                except RecursionError:
                    yield f"{path.name}: line {row} is nested too deeply"
    except OSError as error:
        raise StorageError(f"{path} could not be read: {error.strerror or error}.") from error


def _line(content: bytes, pictures: Path, size: int) -> Line:
    """Reads one line.

    Raises:
        ValueError: It is none; the rest of a sentence that begins with the line.
    """
    try:
        told = json.loads(content, parse_constant=_no_number)
    except ValueError as error:
        raise ValueError("is no JSON") from error
    if not isinstance(told, dict):
        raise ValueError("is no JSON object")
    number, kind, fields = told.get("number"), told.get("kind"), told.get("fields")
    time_s, wall_s = told.get("time_s"), told.get("wall_s")
    if type(number) is not int or not 0 <= number < 1 << 53:
        raise ValueError("has no number")
    found = _KINDS.get(kind) if isinstance(kind, str) else None
    if found is None or not isinstance(fields, dict):
        raise ValueError("has no kind that is known, or no fields")
    if not _is_time(time_s) or not _is_time(wall_s):
        raise ValueError("has no time")
    place = told.get("picture")
    picture = None if place is None else _picture(place, pictures, size)
    return Line(number, float(time_s), float(wall_s), found, fields, picture)


def _no_number(text: str) -> float:
    raise ValueError(text)


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 <= value < 1e12


def _picture(place: object, pictures: Path, size: int) -> Picture | None:
    """Returns where a picture lies, None where its bytes are not there."""
    if not isinstance(place, list) or len(place) != 2 or any(type(k) is not int for k in place):
        raise ValueError("names no place of a picture")
    offset, length = place
    if not (offset >= 0 and 0 < length <= LARGEST_PICTURE):
        raise ValueError("names no place of a picture")
    return Picture(pictures, offset, length) if offset + length <= size else None
