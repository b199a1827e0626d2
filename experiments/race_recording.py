"""Records of races that are driven at the same time, on disk while they are driven if asked.

The embedded simulator's races are over in seconds and can be driven again by their seeds: they
are written at their end. In a simulator that runs in real time a race takes minutes of somebody's
life, so a crash must not cost it.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import io
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from donkey_rl.envs import simulators
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.simulator.interface import Simulator
from donkey_rl.errors import StorageError
from donkey_rl.experiments import file_locks
from donkey_rl.metrics.race import Race, RaceHeader, RaceRecorder
from donkey_rl.metrics.race_writer import RaceWriter

LOGGER = logging.getLogger("donkey_rl.experiments")

PLACE = "races"
"""Folder of races under way, below the one where they are driven."""

LOCK = ".lock"
"""Of a folder into which races are written."""

_QUALITY = 90
_JPEG = b"\xff\xd8"
_NONE = range(0)


class RaceFiles(NamedTuple):
    """Where races are written while they are driven.

    Attributes:
        folder: Takes `race_00.parquet` and so on.
        frames: Whether the pictures are kept as well.
        first: Number of the first race; those before it lie there already.
    """

    folder: pathlib.Path
    frames: bool = False
    first: int = 0

    def path(self, number: int) -> pathlib.Path:
        """Returns the file of a race, counted from 0."""
        return self.folder / file_name(self.first + number)

    def remove(self) -> None:
        """Removes the races, which are stored elsewhere now, see `store`."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


def file_name(number: int) -> str:
    """Returns the name of a race's record among those of an evaluation, counted from 0."""
    return f"race_{number:02d}.parquet"


def place(simulator: str, name: str, *, frames: bool = False) -> RaceFiles | None:
    """Returns where races are to be written while they are driven, None for nowhere.

    Args:
        simulator: As in `EnvironmentConfig`; the embedded one's races are written at their end.
        name: What the folder's name says of the races.
        frames: Whether the pictures are kept as well, then in the embedded simulator too.
    """
    if not simulators.parse(simulator) and not frames:
        return None
    began = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return RaceFiles(pathlib.Path(PLACE) / f"{began}-{name}-{os.getpid()}", frames)


def store(races: Sequence[Race], files: RaceFiles | None, folder: pathlib.Path) -> None:
    """Stores the records of races in a folder, with their pictures where they were kept.

    Raises:
        StorageError: If one cannot be written.
    """
    for number, race in enumerate(races):
        target = folder / file_name(number)
        if files is None or not files.frames:
            race.save(target)
            continue
        try:
            shutil.copyfile(files.path(number), target)
        except OSError as error:
            raise StorageError(
                f"The race record {target} could not be written: {error.strerror or error}."
            ) from error


@contextlib.contextmanager
def kept(files: RaceFiles | None) -> Iterator[None]:
    """Says of races that cannot be stored in a ``with`` block where they are.

    Raises:
        StorageError: As in the block.
    """
    try:
        yield
    except StorageError as error:
        if files is None or not files.folder.is_dir():
            raise
        raise StorageError(f"{error} The races are kept in {files.folder}.") from error


@contextlib.contextmanager
def _occupied(folder: pathlib.Path) -> Iterator[None]:
    """Says by a lock that races are written here, so that `record --recover` lets them be."""
    with contextlib.ExitStack() as held:
        # Where it is held already, it is by another recording of the same races.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(file_locks.held(folder / LOCK, wait=False, keep=False))
        yield


class Recording:
    """The records of races that are driven at the same time, one for each car."""

    def __init__(
        self, headers: Sequence[RaceHeader], files: RaceFiles | None = None, numbers: range = _NONE
    ) -> None:
        """Begins with nothing recorded.

        Args:
            headers: One for each car.
            files: Where to write the races while they are driven.
            numbers: Which races those of the first cars are; the others are not written.

        Raises:
            StorageError: If they cannot be written there.
        """
        self._recorder = RaceRecorder(headers)
        self._time = np.full(len(headers), -np.inf)
        self._files = files
        self._frames = files is not None and files.frames
        self._writers: list[RaceWriter] = []
        with contextlib.ExitStack() as opened:
            if files is not None:
                opened.enter_context(_occupied(files.folder))
            for number, header in zip(numbers, headers, strict=False):
                if files is not None:
                    writer = RaceWriter(files.path(number), header, frames=files.frames)
                    self._writers.append(opened.enter_context(writer))
            self._opened = opened.pop_all()

    def append(
        self,
        row: Mapping[str, Any],
        driving: npt.NDArray[np.bool_],
        world: Simulator,
        images: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.bool_]:
        """Adds one row of each car that still races and whose time has gone on.

        It has not where a simulator repeats a message, or a connection was made anew.

        Args:
            row: Each column as an array of shape (cars,).
            driving: Which cars still race, shape (cars,).
            world: The simulator.
            images: What the cars see, shape (cars, h, w, 3).

        Returns:
            The cars of which a row was added, shape (cars,).

        Raises:
            StorageError: If rows could not be written.
        """
        added: npt.NDArray[np.bool_] = driving & (row["time_s"] > self._time)
        self._time = np.where(added, row["time_s"], self._time)
        self._recorder.append(row, added)
        for car, writer in enumerate(self._writers):
            if added[car]:
                values = {name: column[car] for name, column in row.items()}
                frame = picture(world, car, images[car]) if self._frames else None
                writer.append(values, frame)
        return added

    def races(self) -> tuple[Race, ...]:
        """Returns the race of every car."""
        return self._recorder.races()

    def __enter__(self) -> Self:
        """Returns the recording."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finishes the files, also of races that were broken off, and then says where they are."""
        self._opened.close()
        if error is not None and self._files is not None:
            LOGGER.warning("What was driven until then is kept in %s.", self._files.folder)


def picture(world: Simulator, car: int, image: npt.NDArray[np.uint8]) -> bytes:
    """Returns what a car sees as a JPEG file, the very one that the simulator sent if it did.

    Args:
        world: The simulator.
        car: Index of the car.
        image: What it sees, shape (h, w, 3).
    """
    sight = world.sights[car] if isinstance(world, RemoteWorld) else None
    if sight is not None:
        sent = base64.b64decode(sight.telemetry.image)
        if sent.startswith(_JPEG):
            return sent
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()
