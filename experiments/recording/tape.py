"""The folder that recorded races go to, and what was driven in them."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import file_locks, race_recording
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import race_parts
from donkey_rl.metrics.race import Race, RaceHeader
from donkey_rl.metrics.race_writer import RaceWriter

LOGGER = logging.getLogger("donkey_rl.experiments")

_NUMBERED = re.compile(r"race_(\d{2,})\.parquet(\.parts)?")


class RecordedLap(Config):
    """One lap; times in s.

    Attributes:
        number: 1 for the race's first lap.
        time_s: Lap time.
        clean: Whether nothing spoiled it.
        reasons: What did, see `metrics.laps`.
    """

    number: int
    time_s: float
    clean: bool
    reasons: tuple[str, ...]


class RecordedRace(Config):
    """One file.

    Attributes:
        file: Its path.
        rows: Its rows, which are its frames where they were kept.
        seconds: Time that it covers (s).
        laps: Laps from line to line.
    """

    file: str
    rows: int
    seconds: float
    laps: tuple[RecordedLap, ...]


@contextlib.contextmanager
def occupied(folder: pathlib.Path) -> Iterator[None]:
    """Keeps a folder for one recording: two would take the same numbers for their races.

    Folders that this makes are removed again if nothing was put into them.

    Raises:
        InputError: Another recording runs in it, or its name is that of a file.
        StorageError: It cannot be written.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    with contextlib.ExitStack() as opened:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = opened.enter_context((folder / race_recording.LOCK).open("a+b"))
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                f"Races are recorded into a folder. Received: the file {folder}. Name another "
                "one with --out."
            ) from error
        except OSError as error:
            raise StorageError(
                f"{folder} cannot be written: {error.strerror or error}."
            ) from error
        if not file_locks.take(file.fileno()):
            raise InputError(
                f"Another recording runs in {folder}. Wait for its end, or name another folder."
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if made and os.listdir(folder) == [race_recording.LOCK]:
                    # Windows removes no file that is open.
                    file.close()
                    (folder / race_recording.LOCK).unlink()
                    for each in made:
                        each.rmdir()


def next_number(folder: pathlib.Path) -> int:
    """Returns the number of the next race in a folder, so that none is ever replaced.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"{folder} could not be read: {error.strerror or error}.") from error
    numbers = [int(match[1]) for name in names if (match := _NUMBERED.fullmatch(name))]
    return max(numbers, default=-1) + 1


def unfinished(folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the races in a folder that nobody has finished yet."""
    return tuple(sorted(folder.glob(f"race_*.parquet{race_parts.SUFFIX}")))


def describe(path: pathlib.Path) -> RecordedRace:
    """Returns what was driven in a race.

    Raises:
        InputError: It is no race record.
        StorageError: It cannot be read.
    """
    race = Race.load(path)
    return RecordedRace(
        file=str(path),
        rows=len(race),
        seconds=race.duration_s,
        laps=tuple(
            RecordedLap(number=lap.number, time_s=lap.time_s, clean=lap.clean, reasons=lap.reasons)
            for lap in lap_times.laps(race)
        ),
    )


class Tape:
    """Records one race after the other into a folder, each while it is driven.

    Attributes:
        folder: Where to.
        files: Races that are finished, in order.
        seconds: Time recorded in them and in the one under way (s).
    """

    def __init__(self, folder: pathlib.Path, *, frames: bool) -> None:
        """Writes nothing before the first race.

        Args:
            folder: Where to.
            frames: Whether the pictures are kept.
        """
        self.folder = folder
        self.files: list[pathlib.Path] = []
        self._frames = frames
        self._writer: RaceWriter | None = None
        self._first: dict[str, float] = {}
        self._before = self._now = 0.0

    @property
    def running(self) -> bool:
        """Whether a race is being recorded."""
        return self._writer is not None

    @property
    def seconds(self) -> float:
        """Time recorded so far (s)."""
        return self._before + self._now

    def start(self, header: RaceHeader) -> None:
        """Begins a race where the car is now.

        Args:
            header: What the race is, from there on.

        Raises:
            StorageError: It cannot be written.
        """
        self.stop()
        path = self.folder / race_recording.file_name(next_number(self.folder))
        self._writer = RaceWriter(path, header, frames=self._frames)
        self._first = {}

    def append(self, row: Mapping[str, Any], picture: bytes) -> None:
        """Adds a row; time, progress and laps count from the first one.

        A message that another simulator sends twice, whose time has not gone on, is no row of its
        own.

        Args:
            row: Each column as one value.
            picture: What the camera saw, a JPEG file.

        Raises:
            StorageError: Rows could not be written.
        """
        if self._writer is None:
            return
        if not self._first:
            self._first = {name: row[name] for name in ("time_s", "progress", "lap")}
        elif row["time_s"] - self._first["time_s"] <= self._now:
            return
        counted = {name: row[name] - first for name, first in self._first.items()}
        self._writer.append({**row, **counted}, picture if self._frames else None)
        self._now = float(counted["time_s"])

    def stop(self) -> None:
        """Finishes the race under way, if there is one.

        Raises:
            StorageError: It cannot be written; what is whole of it stays in its folder.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._before, self._now = self._before + self._now, 0.0
        self.files.append(writer.close())

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finishes the race under way, also after an error, and then says where it is."""
        self.stop()
        if error is not None and self.files:
            LOGGER.warning("What was recorded until then is kept in %s.", self.folder)


def one(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the first car's values of a row of columns."""
    return {name: np.asarray(column)[0] for name, column in row.items()}


def summary(files: Sequence[pathlib.Path]) -> tuple[RecordedRace, ...]:
    """Returns what was driven in each file."""
    return tuple(describe(path) for path in files)
