"""Checkpoints on disk: each whole or not there, the replay buffer in pieces written once.

```
checkpoints/
  3/              the one before the last: arrays, facts and manifest
  4/              the last
  rows/           the replay buffer: rows-0-20000.npy, rows-20000-20000.npy, ...
```

A checkpoint's manifest names the pieces that make up its replay buffer. A piece is written once;
it is deleted when its rows have given way in both checkpoints that are kept.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydantic
from pydantic import Field

from donkey_rl import formatting, moving
from donkey_rl.agents import folders
from donkey_rl.agents.ring import Ring
from donkey_rl.configuration import Config
from donkey_rl.experiments import sealed
from donkey_rl.experiments.sealed import DamagedError

KEPT = 2
"""Checkpoints that are kept: the last, and the one before in case it is damaged."""

_PIECES = "rows"


class Piece(Config):
    """Consecutive rows of a ring, in a file of their own.

    Attributes:
        ring: Name of the ring.
        first: Number of the first row.
        count: Rows.
        entry: Size and hash of the file.
    """

    ring: str = Field(pattern="^[a-z_]+$")
    first: int = Field(ge=0)
    count: int = Field(ge=1)
    entry: sealed.Entry

    @property
    def end(self) -> int:
        """Number after the last row's."""
        return self.first + self.count

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"{self.ring}-{self.first}-{self.count}.npy"


class _Facts(Config):
    """What a checkpoint says of itself."""

    step: int = Field(ge=0)
    pieces: tuple[Piece, ...]


class Checkpoint(NamedTuple):
    """A checkpoint whose files are all there, as they were written.

    Attributes:
        number: 1 for the first of a run.
        step: Environment steps before it.
        folder: Where its files are.
        pieces: Of the replay buffer.
    """

    number: int
    step: int
    folder: Path
    pieces: tuple[Piece, ...]

    def restore(self, rings: Mapping[str, Ring]) -> None:
        """Fills rings with the rows that they held.

        Raises:
            DamagedError: When rows are missing, or of another shape.
        """
        for name, ring in rings.items():
            ring.clear()
            for piece in self.pieces:
                if piece.ring != name:
                    continue
                path = self.folder.parent / _PIECES / piece.file
                values = np.load(path, allow_pickle=False)
                expected = (piece.count, *ring.rows.shape[1:])
                follows = ring.written in (0, piece.first)
                if values.shape != expected or values.dtype != ring.rows.dtype or not follows:
                    raise DamagedError(
                        f"'{path}' should hold {ring.rows.dtype} {expected} from row "
                        f"{ring.written} on and holds {values.dtype} {values.shape}"
                    )
                if ring.written == 0:
                    ring.restore(piece.first, values)
                else:
                    ring.append(values)


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        """Names the folder; it is made by the first checkpoint."""
        self.folder = folder
        self._pieces: tuple[Piece, ...] = ()

    def newest(self, complain: Callable[[str], object]) -> Checkpoint | None:
        """Returns the newest checkpoint that is whole; further ones are added to it.

        Args:
            complain: Told of each newer one that is damaged.
        """
        for number in sorted(self.numbers(), reverse=True):
            try:
                found = self._read(number)
            except DamagedError as error:
                complain(f"checkpoint {number} is damaged and is passed over: {error}")
                continue
            self._pieces = found.pieces
            return found
        return None

    def write(
        self,
        number: int,
        step: int,
        fill: Callable[[Path], None],
        rings: Mapping[str, Ring],
    ) -> None:
        """Writes a checkpoint beside the others, then deletes all but two.

        Args:
            number: One more than the last one's.
            step: Environment steps so far.
            fill: Writes everything but the rings into an empty folder.
            rings: The replay buffer; of it only rows are written that are new.

        Raises:
            StorageError: When it could not be written; those before are as they were.
        """
        pieces: list[Piece] = []

        def fill_all(draft: Path) -> None:
            fill(draft)
            for name, ring in rings.items():
                pieces.extend(self._add(name, ring))

        sealed.write(
            self.folder / str(number),
            fill_all,
            lambda: _Facts(step=step, pieces=tuple(pieces)).model_dump(mode="json"),
        )
        self._pieces = tuple(pieces)
        with contextlib.suppress(OSError):
            self._prune(number)

    def _add(self, name: str, ring: Ring) -> list[Piece]:
        """Writes the new rows of a ring; returns all pieces that it is made of now."""
        known = [
            piece
            for piece in self._pieces
            if piece.ring == name and ring.oldest < piece.end <= ring.written
        ]
        first = max([ring.oldest, *(piece.end for piece in known)])
        if first == ring.written:
            return known
        folder = self.folder / _PIECES
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{name}.npy"
        np.save(draft, ring.since(first), allow_pickle=False)
        folders.synchronise(draft)
        piece = Piece(
            ring=name, first=first, count=ring.written - first, entry=sealed.Entry.of(draft)
        )
        moving.moved(draft, folder / piece.file)
        folders.synchronise(folder)
        return [*known, piece]

    def _read(self, number: int) -> Checkpoint:
        folder = self.folder / str(number)
        facts = _facts(folder, sealed.read(folder))
        for piece in facts.pieces:
            piece.entry.check(self.folder / _PIECES / piece.file)
        return Checkpoint(number, facts.step, folder, facts.pieces)

    def numbers(self) -> list[int]:
        """Returns the numbers of the checkpoints that there are, damaged ones among them."""
        if not self.folder.is_dir():
            return []
        return [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]

    def _prune(self, number: int) -> None:
        """Deletes what no kept checkpoint needs; what cannot be deleted is left."""
        kept = sorted(each for each in self.numbers() if each <= number)[-KEPT:]
        needed = set()
        for each in kept:
            with contextlib.suppress(DamagedError):
                folder = self.folder / str(each)
                needed |= {piece.file for piece in _facts(folder, sealed.facts(folder)).pieces}
        for path in self.folder.iterdir():
            if path.name not in {_PIECES, *map(str, kept)}:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(f"{_PIECES}/*"):
            if path.name not in needed:
                path.unlink()


def _facts(folder: Path, values: Mapping[str, Any]) -> _Facts:
    try:
        return _Facts.model_validate(values)
    except pydantic.ValidationError as error:
        raise DamagedError(
            f"'{folder / sealed.MANIFEST}' is no checkpoint's: {formatting.reason(error)}"
        ) from error
