"""Reading a donkeycar tub of version 2, record by record, with what is wrong with it.

`tub_import` makes races of a tub, `tub_export` a tub of races. docs/tub.md has the formats.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from donkey_rl.envs.recordings import frames
from donkey_rl.envs.recordings import rows as record_rows
from donkey_rl.envs.recordings import tub as recorded_tub
from donkey_rl.envs.recordings.rows import MAX_RECORDS, is_inside, plural
from donkey_rl.errors import InputError
from donkey_rl.experiments.data import tub_manifest
from donkey_rl.experiments.data.tub_manifest import IMAGE_KEY, IMAGES

INDEX, SESSION, TIME = "_index", "_session_id", "_timestamp_ms"
PREFIX = "donkey_rl/"
"""Begins the keys that hold what a race says and donkeycar has no key for."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_NUMBERS = (
    *(("steering", f"{who}/angle") for who in ("user", "pilot")),
    *(("throttle", f"{who}/throttle") for who in ("user", "pilot")),
    *((name, f"pos/{name}") for name in ("pos_x", "pos_y", "pos_z", "speed", "cte")),
)
"""What a race takes of a record, with its key."""

_SINGULAR = {"have": "has", "are": "is", "hold": "holds", "name": "names"}
_LONGEST_SESSION = 128
_LATEST_MS = 1 << 53


class Record(NamedTuple):
    """One record of a tub.

    Attributes:
        place: Which it is of the tub, counted from 0 over all catalogs.
        line: As it stands in its catalog, without the end of the line.
        fields: The same, as JSON says it.
        images: The files that it names, by their names.
        deleted: Whether the person who recorded deleted it.
    """

    place: int
    line: str
    fields: Mapping[str, Any]
    images: Mapping[str, pathlib.Path]
    deleted: bool

    @property
    def session(self) -> str:
        """The session in which it was recorded, empty where it does not say."""
        return self.fields.get(SESSION) or ""


@dataclasses.dataclass
class Flaws:
    """What is wrong with a tub: filled while it is read.

    Attributes:
        total: Records that were read.
        defects: What is broken about the tub itself, in sentences.
        notes: What was assumed, in sentences.
        lost: By the reason how many records were left out for it, and which was the first.
    """

    total: int = 0
    defects: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    lost: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)

    def lose(self, reason: str, where: str) -> None:
        """Counts a record that is left out."""
        count, first = self.lost.get(reason, (0, where))
        self.lost[reason] = count + 1, first

    @property
    def kept(self) -> int:
        """Records that were read and not left out."""
        return self.total - sum(count for count, _ in self.lost.values())

    def sentences(self) -> tuple[str, ...]:
        """Returns what is broken or left out, a sentence each."""
        kept = f"{self.kept:,} {'is' if self.kept == 1 else 'are'} kept"
        records = plural(self.total, "record")
        lost = [
            f"{count:,} of {records} {_verb(reason, count)} (first: {first}): left out; {kept}."
            for reason, (count, first) in self.lost.items()
        ]
        return (*lost, *self.defects)


class Tub:
    """A tub on disk.

    Attributes:
        folder: Where it lies.
        manifest: What it says of itself.
        flaws: What was found to be wrong with it; complete once `records` was read to its end.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Reads the manifest.

        Raises:
            InputError: There is no tub, or a file is too large or cannot be read.
        """
        self.folder = folder
        self.flaws = Flaws()
        if not folder.is_dir():
            received = "a file" if folder.exists() else "nothing of that name"
            raise InputError(
                f"{folder}: expected the folder of a donkeycar tub. Received: {received}. "
                "Check the path."
            )
        try:
            self.manifest, flaw = tub_manifest.read(folder)
        except OSError as error:
            raise InputError(
                f"{folder}: expected a readable tub. Received: {error.strerror or error}. "
                "Check its permissions."
            ) from error
        if flaw:
            self.flaws.defects.append(f"{flaw}.")

    def records(self) -> Iterator[Record]:
        """Yields the records in order, the deleted ones as well, and fills `flaws`.

        Left out are records that are no JSON objects, whose number, time or session is none,
        that hold a number which is not finite, or whose images are missing, damaged or outside
        the tub. Every image is opened.

        Raises:
            InputError: A file is too large or cannot be read, or there are more than a million
                records.
        """
        self.flaws.total, self.flaws.lost = 0, {}
        gaps, before = 0, -1
        for catalog in self.manifest.catalogs:
            for where, text in self._lines(catalog):
                place, self.flaws.total = self.flaws.total, self.flaws.total + 1
                if self.flaws.total > MAX_RECORDS:
                    raise InputError(
                        f"{self.folder}: expected at most {MAX_RECORDS:,} records. Received: "
                        "more. Split the tub."
                    )
                try:
                    record = self._record(place, text)
                except ValueError as error:
                    self.flaws.lose(str(error), where)
                    continue
                gaps += record.fields[INDEX] != before + 1
                before = record.fields[INDEX]
                yield record
        lost = sum(count for count, _ in self.flaws.lost.values())
        if gaps > lost:
            self.flaws.defects.append(
                f"The records are not numbered one after the other ({plural(gaps, 'gap')}): their "
                "numbers are kept as they are."
            )

    def _lines(self, catalog: str) -> Iterator[tuple[str, bytes]]:
        """Yields the lines of a catalog, and compares them with what its manifest says."""
        file = self.folder / catalog
        if not file.is_file():
            self.flaws.defects.append(f"{catalog} is missing: its records are lost.")
            return
        told = self._told(file)
        found = 0
        for number, line in enumerate(recorded_tub.lines(file), start=1):
            found += 1
            yield f"{catalog} line {number}", line
        if told is not None and told != found:
            self.flaws.defects.append(
                f"{catalog} has {plural(found, 'line')}, and its manifest says {told:,}: what is "
                "there is read."
            )

    def _told(self, catalog: pathlib.Path) -> int | None:
        """Returns how many lines a catalog has by its own manifest, None where that is broken."""
        file = catalog.with_suffix(".catalog_manifest")
        try:
            with file.open("rb") as stream:
                told = json.loads(stream.read(tub_manifest.MAX_BYTES))["line_lengths"]
            if not isinstance(told, list):
                raise TypeError("no list")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self.flaws.defects.append(f"{file.name} is missing or broken: it is not needed here.")
            return None
        return len(told)

    def _record(self, place: int, text: bytes) -> Record:
        """Reads a record.

        Raises:
            ValueError: It cannot be used; the message goes on where "3 records" begins.
        """
        fields = parsed(text)
        check(fields)
        return Record(
            place=place,
            line=text.rstrip(b"\r\n").decode(),
            fields=fields,
            images=self._images(fields),
            deleted=fields[INDEX] in self.manifest.deleted,
        )

    def _images(self, fields: Mapping[str, Any]) -> dict[str, pathlib.Path]:
        """Returns the image files that a record names.

        Raises:
            ValueError: One is missing, damaged or outside the tub.
        """
        images = {}
        for key in self.manifest.image_keys:
            name = fields.get(key)
            if name is None:
                # A race may have been recorded without pictures.
                if key in self.manifest.inputs and key == IMAGE_KEY and not is_race(fields):
                    raise ValueError("have no image")
                continue
            if not is_image_name(name):
                raise ValueError("name an image outside the tub, or no image")
            file = self.folder / IMAGES / name
            try:
                found = file.is_file()
            except OSError:
                raise ValueError("have an image that cannot be read") from None
            if not found:
                raise ValueError("have no image")
            if frames.read(file) is None:
                raise ValueError("have a damaged or oversized image")
            images[name] = file
        return images


def _verb(reason: str, count: int) -> str:
    """Returns a reason as it is said of so many records.

    >>> _verb("have no image", 1)
    'has no image'
    """
    verb, _, rest = reason.partition(" ")
    return f"{_SINGULAR[verb] if count == 1 else verb} {rest}"


def content(image: pathlib.Path) -> bytes:
    """Returns what an image of a record holds.

    Raises:
        InputError: It cannot be read any more, or is too large by now.
    """
    try:
        with image.open("rb") as stream:
            read = stream.read(frames.MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"The image {image} cannot be read any more: {error.strerror or error}. "
            "Import the tub when nothing else changes it."
        ) from error
    if len(read) > frames.MAX_BYTES:
        raise InputError(f"The image {image} has grown while the tub was read. Import it again.")
    return read


def is_race(fields: Mapping[str, Any]) -> bool:
    """Whether a record was exported from a race."""
    return f"{PREFIX}time_s" in fields


def is_image_name(name: object) -> bool:
    """Whether this may name an image below a tub's folder of images."""
    return (
        isinstance(name, str)
        and is_inside(name)
        and pathlib.PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
    )


def check(fields: Mapping[str, Any]) -> None:
    """Refuses a record whose number, time, session, commands or telemetry are none.

    Raises:
        ValueError: The message goes on where "3 records" begins.
    """
    number, time, session = (fields.get(key) for key in (INDEX, TIME, SESSION))
    if type(number) is not int or not 0 <= number < 2**53:
        raise ValueError(f"have no number {INDEX}")
    if time is not None and (type(time) is not int or not 0 <= time < _LATEST_MS):
        raise ValueError(f"have a {TIME} that is no time")
    if session is not None and not (isinstance(session, str) and len(session) <= _LONGEST_SESSION):
        raise ValueError(f"have a {SESSION} that is no name")
    for name, key in _NUMBERS:
        try:
            record_rows.number(name, fields.get(key))
        except ValueError:
            raise ValueError(f"have a {key} that is no number") from None


def parsed(text: bytes) -> dict[str, Any]:
    """Returns a record's fields.

    Raises:
        ValueError: It is no JSON object, too long, or holds a number that is not finite.
    """
    if len(text) > recorded_tub.MAX_RECORD_BYTES:
        raise ValueError(f"are longer than {recorded_tub.MAX_RECORD_BYTES:,} bytes")
    whole = text.endswith(b"\n")
    try:
        fields = json.loads(text.decode(), parse_constant=_finite, parse_float=_finite)
    except _NotFiniteError:
        raise ValueError("hold a number that is not finite") from None
    except (ValueError, RecursionError):
        broken = "are no JSON object" if whole else "are cut off in the middle of a line"
        raise ValueError(broken) from None
    if not isinstance(fields, dict) or not fields:
        raise ValueError("are no JSON object")
    return fields


class _NotFiniteError(ArithmeticError):
    """A number in a record is NaN or infinite."""


def _finite(text: str) -> float:
    """Returns a number of a record."""
    number = float(text)
    if not math.isfinite(number):
        raise _NotFiniteError(reprlib.repr(text))
    return number
