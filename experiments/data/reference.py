"""Data sets by what people type: `data:NAME`, `data:NAME@VERSION`, `data:NAME/PART`."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from donkey_rl import user_paths
from donkey_rl.errors import InputError, StorageError, UnknownNameError
from donkey_rl.experiments.data.manifest import PARTS, Part, shown
from donkey_rl.experiments.data.store import open_store
from donkey_rl.experiments.progress import ProgressDisplay

PREFIX = "data:"
_PATTERN = re.compile(r"(?P<name>[^@/]+)(@(?P<version>[0-9a-f]+))?(/(?P<part>[^/]*))?")


@dataclasses.dataclass(frozen=True)
class Reference:
    """A data set that somebody named.

    Attributes:
        name: Of the set.
        version: Digits of a version, None for the newest.
        part: Of its split, None for all.
    """

    name: str
    version: str | None = None
    part: Part | None = None

    def __str__(self) -> str:
        """Returns what is typed for it, `data:` in front."""
        version = f"@{self.version}" if self.version else ""
        return f"{PREFIX}{self.name}{version}{f'/{self.part}' if self.part else ''}"


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set on this machine.

    Attributes:
        reference: What it is, with its full version.
        folder: Where its files are.
        races: Its race records.
        pictured: Those of them with pictures.
    """

    reference: Reference
    folder: pathlib.Path
    races: tuple[pathlib.Path, ...]
    pictured: tuple[pathlib.Path, ...]

    @property
    def recordings(self) -> tuple[pathlib.Path, ...]:
        """What can be learned from: races with pictures; without races what the folder holds."""
        return self.pictured if self.races else (self.folder,)


def is_reference(text: str) -> bool:
    """Whether a setting names a data set rather than a path."""
    return text.startswith(PREFIX)


def parse(text: str) -> Reference:
    """Reads what somebody typed, with `data:` in front or without.

    >>> parse("data:evenings@1f3c22/train")
    Reference(name='evenings', version='1f3c22', part='train')

    Raises:
        InputError: It is no reference.
        UnknownNameError: There is no such part.
    """
    match = _PATTERN.fullmatch(text.removeprefix(PREFIX))
    if match is None:
        raise InputError(
            "A data set is named NAME, NAME@VERSION or NAME/PART. "
            f"Received: '{shown(text)[:120]}'. Example: data:evenings@1f3c22/train."
        )
    named = match["part"]
    part = next((each for each in PARTS if each == named), None)
    if named is not None and part is None:
        raise UnknownNameError("part of a data set", named, PARTS)
    return Reference(match["name"], match["version"], part)


def parse_whole(text: str) -> Reference:
    """Reads a reference to a set as a whole, where a part of it would be passed over.

    Raises:
        InputError: It is no reference, or one to a part.
    """
    named = parse(text)
    if named.part is not None:
        raise InputError(
            f"A whole data set is expected here: NAME or NAME@VERSION. Received: '{named}'. "
            f"Leave '/{named.part}' out; `data pull` and trainings take a part."
        )
    return named


def pinned(text: str) -> str:
    """Returns a reference with the version that it means now, so that it stays what it is.

    Raises:
        InputError: No such data set.
        StorageError: The store cannot be read.
    """
    named = parse(text)
    found = open_store().dataset(named.name, named.version)
    return str(dataclasses.replace(named, version=found.version))


def source(text: str, progress: ProgressDisplay, store: str | None = None) -> Source:
    """Fetches a data set, as far as it is not here.

    Args:
        text: As in `parse`.
        progress: Shows how far it is.
        store: Where it lies; the default store, if not said.

    Raises:
        InputError: No such data set.
        StorageError: It cannot be fetched whole.
    """
    named = parse(text)
    report = open_store(store).pull(
        named.name, None, progress, version=named.version, part=named.part
    )
    if report.problems:
        more = f" `donkey-rl data verify {named.name}` says more." if report.is_damaged else ""
        raise StorageError(f"{named} is not whole: {report.problems[0]}.{more}")
    known = dataclasses.replace(named, version=report.version)
    return Source(known, report.folder, report.races, report.pictured)


def recordings(text: str, progress: ProgressDisplay) -> tuple[pathlib.Path, ...]:
    """Returns the files and folders that a setting means: a path, or what a data set holds.

    Args:
        text: A path, or a reference with `data:` in front, see `parse`.
        progress: Shows how far it is.

    Raises:
        InputError: No such data set, or none of its races has pictures.
        StorageError: It cannot be fetched whole.
    """
    if not is_reference(text):
        return (user_paths.path_of(text),)
    found = source(text, progress).recordings
    if not found:
        raise InputError(
            f"{text}: expected races with pictures. Received: none that has any. Record with "
            "--frames."
        )
    return found
