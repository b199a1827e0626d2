"""One part of a record on the disk: a file of lines and a file of their pictures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from donkey_rl.race_server.record.lines import Encoded

MOST_LINE_BYTES = 16 << 20
MOST_PICTURE_BYTES = 64 << 20
"""A part that has become as large as one of the two is followed by another."""


def lines_name(number: int) -> str:
    """Returns the name of a part's lines, counted from 1."""
    return f"record-{number:05d}.jsonl"


def pictures_name(number: int) -> str:
    """Returns the name of a part's pictures, counted from 1."""
    return f"frames-{number:05d}.mjpeg"


class _Appended:
    """A file that only ever grows by whole pieces."""

    def __init__(self, path: Path) -> None:
        """Makes the file.

        Raises:
            OSError: It cannot be made, or is there already.
        """
        self.end = 0
        self._path = path
        self._file: IO[bytes] = path.open("xb", buffering=0)

    def write(self, content: bytes) -> None:
        """Adds a piece; the file's end is noted by `keep`.

        Raises:
            OSError: The disk takes nothing.
        """
        # What an attempt left that failed half-way.
        if self._file.tell() != self.end:
            self._file.seek(self.end)
            self._file.truncate()
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]

    def keep(self, length: int) -> None:
        """Takes the last piece for good."""
        self.end += length

    def close(self) -> None:
        """Has the system bring all to the disk, if it can, and closes the file."""
        with contextlib.suppress(OSError):
            self._file.truncate(self.end)
            os.fsync(self._file.fileno())
        with contextlib.suppress(OSError):
            self._file.close()


class Part:
    """A part that is being written.

    Attributes:
        number: Counted from 1.
    """

    def __init__(self, folder: Path, number: int) -> None:
        """Makes the two files.

        Raises:
            OSError: They cannot be made.
        """
        self.number = number
        self._pictures = _Appended(folder / pictures_name(number))
        try:
            self._lines = _Appended(folder / lines_name(number))
        except OSError:
            self._pictures.close()
            (folder / pictures_name(number)).unlink(missing_ok=True)
            raise

    @property
    def has_room(self) -> bool:
        """Whether it takes further lines."""
        return self._lines.end < MOST_LINE_BYTES and self._pictures.end < MOST_PICTURE_BYTES

    def write(self, some: Sequence[Encoded]) -> None:
        """Adds lines with their pictures; after an error it is as if none had been added.

        Raises:
            OSError: The disk takes nothing.
        """
        end = self._pictures.end
        found, pictures = [], []
        for each in some:
            if each.picture is None:
                found.append(each.line(None))
            else:
                found.append(each.line((end, len(each.picture))))
                pictures.append(each.picture)
                end += len(each.picture)
        content, seen = b"".join(found), b"".join(pictures)
        self._pictures.write(seen)
        self._lines.write(content)
        self._pictures.keep(len(seen))
        self._lines.keep(len(content))

    def close(self) -> None:
        """Closes both files."""
        self._pictures.close()
        self._lines.close()
