"""The files of a data set by their hash, and the changes that add them.

A change is JSON that may come from anybody: its size, its paths and its numbers are bounded here
before anything is done by it.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import sys
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError
from donkey_rl.metrics.race_file import MAX_BYTES

FORMAT: Literal[1] = 1

OBJECTS, SETS = "objects", "sets"
"""Folders that every store of data sets has."""

MAX_MANIFEST = 64 << 20
"""Bytes of a change or a card."""

MAX_FILES = 100_000
"""Files of one change."""

MAX_CHANGES = 10_000
"""Changes of one data set."""

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Kind = Literal["race", "file"]

STEERING_BINS = 21
"""Of the histogram of steering over [-1, 1]."""

DIGEST = re.compile(r"[0-9a-f]{64}")
_SET = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_MOST_PARTS = 16
_LONGEST_NAME = {True: 240, False: 249}
"""Bytes of one part of a path, anywhere or on this system: 255 with what stands beside it."""

_LONGEST_PATH = 400
_LONGEST_TEXT = 1000
_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""What would move a terminal's cursor, or turn the direction of its text."""

_UNSHOWABLE = re.compile(f"[{_CONTROLS}\ud800-\udfff]")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
_REFUSED = re.compile(f'[{_CONTROLS}\ud800-\udfff\\\\:"<>|?*]')

Text = Annotated[str, Field(max_length=_LONGEST_TEXT, pattern=f"^[^{_CONTROLS}]*$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=1 << 53)]


def shown(text: str) -> str:
    """Returns a text that a terminal can show, cut to what a manifest takes."""
    return _UNSHOWABLE.sub("?", text)[:_LONGEST_TEXT]


def check_name(name: str) -> str:
    """Returns the name of a data set.

    Raises:
        InputError: It is none that every file system and object store takes.
    """
    if not _SET.fullmatch(name) or _DEVICE.match(name):
        raise InputError(
            "A data set's name has small letters, digits, '.', '_' and '-', 64 at most, and "
            "begins and ends with a letter or digit; it is none of a device. Received: "
            f"'{shown(name)[:80]}'. Example: evening-races."
        )
    return name


def check_path(path: str) -> str:
    """Returns the path of a file in a data set: relative, with `/`, below the set's folder.

    Raises:
        InputError: It leads elsewhere, or is no name on some file system.
    """
    parts = path.split("/")
    refused = (
        len(path.encode(errors="replace")) > _LONGEST_PATH
        or len(parts) > _MOST_PARTS
        or _REFUSED.search(path)
        or any(not part or part[0] in ". " or part[-1] in ". " for part in parts)
    )
    if refused:
        raise InputError(
            "A file in a data set has a relative path below it, without hidden folders and "
            f"signs such as ':' or '\\'. Received: '{shown(path)[:120]}'."
        )
    return path


def fits(path: str, *, anywhere: bool = True) -> bool:
    """Whether a file system can hold a file of this path, also while it arrives.

    Args:
        path: As `check_path` returns it.
        anywhere: Whether all systems have to hold it, or this one.

    >>> fits("evening/race_00.parquet"), fits("aux.txt"), fits(250 * "n" + ".txt")
    (True, False, False)
    """
    parts = path.split("/")
    longest = _LONGEST_NAME[anywhere]
    if any(len(part.encode(errors="replace")) > longest for part in parts):
        return False
    has_devices = anywhere or sys.platform == "win32"
    return not (has_devices and any(_DEVICE.match(part) for part in parts))


class RaceFacts(Config):
    """What a race record says of itself.

    Attributes:
        track: Name of the track.
        track_digest: SHA-256 of its geometry, empty where it is not known.
        vehicle: The car.
        driver: What or who drove.
        run_id: Run that the driver comes from.
        simulator: The simulator driven.
        conditions: What was changed on purpose, as `name=value`.
        camera: The camera's picture and place, as `name=value`.
        rows: Telemetry steps.
        frames: Pictures.
        seconds: Simulation time (s).
        laps: Laps from line to line.
        clean_laps: Those of them that were clean.
        best_lap_s: Time of the best clean lap (s).
        steering: Rows by steering, in equal bins over [-1, 1].
    """

    track: Text
    track_digest: Text = ""
    vehicle: Text = ""
    driver: Text = ""
    run_id: Text = ""
    simulator: Text = ""
    conditions: Text = ""
    camera: Text = ""
    rows: Count
    frames: Count
    seconds: float = Field(ge=0, le=1e9)
    laps: Count
    clean_laps: Count
    best_lap_s: float | None = Field(default=None, ge=0, le=1e9)
    steering: tuple[Count, ...] = Field(min_length=STEERING_BINS, max_length=STEERING_BINS)


class Entry(Config):
    """One file of a data set.

    Attributes:
        path: Below the set's folder, with `/`.
        sha256: Of its bytes.
        bytes: How many.
        kind: `race` for a race record, `file` for any other.
        facts: What a race says of itself.
    """

    path: str
    sha256: Digest
    bytes: int = Field(ge=0, le=MAX_BYTES)
    kind: Kind = "file"
    facts: RaceFacts | None = None

    @pydantic.field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        return check_path(value)

    @pydantic.model_validator(mode="after")
    def _race_has_facts(self) -> Self:
        if (self.kind == "race") != (self.facts is not None):
            raise ValueError("a race, and nothing else, has facts")
        return self


class Note(Config):
    """Who changes a data set, and what for.

    Attributes:
        author: Who.
        message: What for.
        license: Terms under which the files may be used.
    """

    author: Text = ""
    message: Text = ""
    license: Text = ""


class Change(Note):
    """What one push, split or merge did to a data set.

    Attributes:
        format: Version of this file.
        created: When, UTC.
        sources: Versions that it was merged from, `NAME@VERSION`.
        entries: Files that came.
        parts: Part of a split by the SHA-256 of a race.
    """

    format: Literal[1] = FORMAT
    created: datetime.datetime
    sources: tuple[Text, ...] = Field(default=(), max_length=1000)
    entries: tuple[Entry, ...] = Field(default=(), max_length=MAX_FILES)
    parts: dict[Digest, Part] = Field(default_factory=dict, max_length=MAX_FILES)

    @pydantic.field_validator("created")
    @classmethod
    def _knows_its_zone(cls, value: datetime.datetime) -> datetime.datetime:
        if value.tzinfo is None:
            raise ValueError("a time must name its zone")
        try:
            return value.astimezone(datetime.UTC)
        except OverflowError:
            raise ValueError("a time lies within the years 1 to 9999") from None

    @pydantic.model_validator(mode="after")
    def _has_each_path_once(self) -> Self:
        files = [entry.path for entry in self.entries]
        twice = len(files) - len(set(files))
        if twice:
            raise ValueError(f"a path stands once in a change, {twice} stand there again")
        inside = folders_of(files).intersection(files)
        if inside:
            raise ValueError(f"'{min(inside)}' cannot be a file and a folder")
        return self

    def encoded(self) -> tuple[str, bytes]:
        """Returns the change's id, the SHA-256 of its bytes, and these.

        Raises:
            InputError: It is larger than what is read again.
        """
        content = self.model_dump_json(exclude_defaults=True).encode()
        if len(content) > MAX_MANIFEST:
            raise InputError(
                f"A change of a data set has at most {MAX_MANIFEST} bytes. Received: one of "
                f"{len(content)}. Push fewer files at a time."
            )
        return hashlib.sha256(content).hexdigest(), content

    @classmethod
    def decoded(cls, identity: str, content: bytes) -> Change:
        """Returns the change of this id.

        Raises:
            InputError: The bytes are others than the id says, or no change.
        """
        if hashlib.sha256(content).hexdigest() != identity:
            raise InputError(f"change {identity[:12]} is damaged: its bytes are others")
        try:
            return cls.model_validate_json(content)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][:4]) or "format"
            raise InputError(
                f"change {identity[:12]} does not fit at {shown(where)}: {shown(first['msg'])}; "
                "it may come from a newer donkey-rl"
            ) from error


def folders_of(paths: Iterable[str]) -> set[str]:
    """Returns every folder that some paths lie in.

    >>> sorted(folders_of(["a/b/c", "d"]))
    ['a', 'a/b']
    """
    found = set()
    for path in paths:
        parts = path.split("/")
        found |= {"/".join(parts[:depth]) for depth in range(1, len(parts))}
    return found


def now() -> datetime.datetime:
    """Returns the time for a change."""
    return datetime.datetime.now(datetime.UTC)
