"""Tracks as people type them: lists with commas and ranges, names with variants, and files."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable

from donkey_rl.errors import ConfigurationError

MOST_TRACKS = 256

_FILE = re.compile(r"(?P<path>.+\.json)(?P<variant>(:\d{1,9})?(:mirror)?)", re.DOTALL)

_RANGE = re.compile(r"(?P<name>[^:]+):(?P<first>\d{1,9})-(?P<last>\d{1,9})(?P<mirror>:mirror)?")


def split(text: str) -> tuple[str, ...]:
    """Returns the tracks of a list, each once.

    Args:
        text: Names or files with commas; `NAME:FIRST-LAST` stands for random roads in a row.

    Raises:
        ConfigurationError: A range ends before it begins, there are too many tracks, or a file is
            called like another track: results are kept by these names.

    >>> split("warren, warehouse,warren")
    ('warren', 'warehouse')
    >>> split("random_circuit:8-10:mirror")
    ('random_circuit:8:mirror', 'random_circuit:9:mirror', 'random_circuit:10:mirror')
    """
    found: dict[str, None] = {}
    for part in text.split(","):
        name = part.strip()
        numbered = _RANGE.fullmatch(name)
        found |= dict.fromkeys(_numbered(numbered) if numbered else (name,))
    if len(found) > MOST_TRACKS:
        raise ConfigurationError(
            f"At most {MOST_TRACKS} tracks can be named. Received: {len(found)}. Leave some out."
        )
    _check_files(found)
    return tuple(found)


def _check_files(names: Iterable[str]) -> None:
    called: dict[str, str] = {}
    for name in (each.removesuffix(":mirror") for each in names):
        other = called.setdefault(as_raced(name), name)
        if other != name:
            raise ConfigurationError(
                f"Results are kept by the names of tracks, which are to be different ones. "
                f"Received: {other} and {name}. Rename a file."
            )


def is_file(track: str) -> bool:
    """Whether a track is a file's, mirrored or numbered or not.

    >>> is_file("club.json:7:mirror"), is_file("warren:mirror")
    (True, False)
    """
    return file_of(track) is not None


def file_of(track: str) -> str | None:
    r"""Returns the path of a track's file, None where the track is none of a file.

    >>> file_of(r"C:\tracks\club.json:7:mirror"), file_of("warren")
    ('C:\\tracks\\club.json', None)
    """
    found = _FILE.fullmatch(track)
    return found["path"] if found else None


def as_raced(track: str) -> str:
    """Returns a track as its races name it: one of a file by the file's name.

    >>> as_raced("/home/ann/club.json:mirror"), as_raced("roads.json:7"), as_raced("warren")
    ('club:mirror', 'roads:7', 'warren')
    """
    found = _FILE.fullmatch(track)
    return plain(track) + found["variant"] if found else track


def plain(track: str) -> str:
    r"""Returns a track's name without its variant, or that of its file.

    Paths are read as Windows writes them, which reads those of other systems as well.

    >>> plain("generated_road:7:mirror"), plain("tracks/club.json")
    ('generated_road', 'club')
    >>> plain(r"C:\tracks\club.json:mirror")
    'club'
    """
    file = file_of(track)
    return track.partition(":")[0] if file is None else pathlib.PureWindowsPath(file).stem


def _numbered(found: re.Match[str]) -> tuple[str, ...]:
    """Returns the tracks of a range."""
    first, last = int(found["first"]), int(found["last"])
    if not first <= last < first + MOST_TRACKS:
        raise ConfigurationError(
            f"A range is NAME:FIRST-LAST, of {MOST_TRACKS} tracks at most. "
            f"Received: '{found[0]}'. For instance random_circuit:1-20."
        )
    mirror = found["mirror"] or ""
    return tuple(f"{found['name']}:{number}{mirror}" for number in range(first, last + 1))
