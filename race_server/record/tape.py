"""Writes a record while its race is driven, without ever holding it up.

```
races/20261128-193000-generated_track-donkey-rl/
  record-00001.jsonl    one JSON object a line, see `lines`
  frames-00001.mjpeg    the pictures of those lines, one after the other
  record-00002.jsonl    the next part, once one of the two has become large
  ...
```

Pictures are written before the lines that name them, and a line is whole once its end is there:
whoever is killed between the two leaves a record that can be read.
"""

from __future__ import annotations

import datetime
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from donkey_rl.errors import InputError
from donkey_rl.race_server.config import LEAST_TOKEN
from donkey_rl.race_server.interface import Kind
from donkey_rl.race_server.record import lines
from donkey_rl.race_server.record.header import RecordHeader
from donkey_rl.race_server.record.parts import Part
from donkey_rl.race_server.status import RecordStatus

LOGGER = logging.getLogger("donkey_rl.race_server")

WRITE_S = 0.2
"""What was noted is on its way to the disk after this time."""

RETRY_S = 1.0
"""A disk that took nothing is tried again after this time."""

CLOSE_S = 5.0
"""How long `FileTape.close` tries to bring what waits to a disk that takes nothing."""

MOST_LINES = 100_000
"""Lines that wait for the disk, at most: three quarters of an hour."""

MOST_WAITING_BYTES = 64 << 20
"""Pictures that wait for the disk, at most: a quarter of an hour of the usual camera."""

_AT_ONCE = 200
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


class _Noted(NamedTuple):
    number: int
    time_s: float
    wall_s: float
    kind: lines.AnyKind
    fields: Mapping[str, Any]
    picture: bytes | None


class FileTape:
    """A `Tape` in a folder of its own; what it holds is on the disk a quarter of a second later.

    A disk that is full or away stops nothing: lines and pictures wait in memory, and are written
    in their order once it takes them. Only where it takes nothing for very long the pictures are
    left out, then lines, and a line says how many.

    Attributes:
        folder: Where the record lies.
    """

    def __init__(self, folder: Path, header: RecordHeader, *, secrets: Sequence[str] = ()) -> None:
        """Begins a record; a disk that takes nothing is told by `status`.

        Args:
            folder: Where to; see `new_folder`.
            header: What the record is of.
            secrets: Texts that are made unreadable wherever they occur; of less than `LEAST_TOKEN`
                characters they are none, and would be found in words.

        Raises:
            InputError: There is a record in the folder already.
        """
        self.folder = folder
        if any(folder.glob("record-*.jsonl")):
            raise InputError(
                f"A record is written into a folder of its own. Received: {folder}, which holds "
                "one already. Name another."
            )
        self._secrets = tuple(each for each in secrets if len(each) >= LEAST_TOKEN)
        self._lock = threading.Lock()
        self._noted: list[_Noted] = []
        self._count = self._held = self._held_bytes = 0
        self._lost_lines = self._lost_pictures = 0
        self._waiting: deque[lines.Encoded] = deque()
        self._part: Part | None = None
        self._parts = 0
        self._problem = ""
        self._troubled_s = 0.0
        self._closing = threading.Event()
        self._closed = False
        self._note("header", header.model_dump(mode="json"), None)
        self._thread = threading.Thread(target=self._run, name="race record", daemon=True)
        self._thread.start()

    def note(self, kind: Kind, fields: Mapping[str, Any], picture: bytes | None = None) -> None:
        """Adds one line; see `interface.Tape`.

        Args:
            kind: What it tells of.
            fields: JSON values; what they hold must not be changed afterwards. Numbers that are
                not finite are written as text.
            picture: The camera's picture as it came.
        """
        self._note(kind, dict(fields), picture)

    def _note(
        self,
        kind: lines.AnyKind,
        fields: Mapping[str, Any],
        picture: bytes | None,
        *,
        always: bool = False,
    ) -> None:
        """Adds one line; `always` also behind the end, and where too many wait."""
        now, wall = time.perf_counter(), time.time()
        with self._lock:
            if self._closed and not always:
                return
            number = self._count
            self._count += 1
            if self._held >= MOST_LINES and not always:
                self._lost_lines += 1
                return
            if picture is not None:
                if self._held_bytes + len(picture) > MOST_WAITING_BYTES:
                    self._lost_pictures += 1
                    picture = None
                else:
                    self._held_bytes += len(picture)
            self._held += 1
            self._noted.append(_Noted(number, now, wall, kind, fields, picture))

    @property
    def status(self) -> RecordStatus:
        """What has been recorded so far."""
        return RecordStatus(
            folder=str(self.folder), lines=self._count, waiting=self._held, problem=self._problem
        )

    def close(self) -> None:
        """Writes what is waiting and ends the record; may be called again."""
        with self._lock:
            self._closed = True
        self._closing.set()
        self._thread.join(2.0 * CLOSE_S)
        if self._held:
            LOGGER.warning(
                "%s: %d lines of the record are lost, the disk did not take them: %s.",
                *(self.folder, self._held, self._problem or "it does not answer"),
            )

    def __enter__(self) -> Self:
        """Returns the open record."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the record."""
        self.close()

    def _run(self) -> None:
        pause = WRITE_S
        while not self._closing.wait(pause):
            pause = WRITE_S if self._write() else RETRY_S
        ends = time.perf_counter() + CLOSE_S
        while not self._write() and time.perf_counter() < ends:
            time.sleep(WRITE_S)
        # Behind what the disk has cost, if it has.
        self._note("end", {}, None, always=True)
        self._write()
        if self._part is not None:
            self._part.close()

    def _write(self) -> bool:
        """Brings everything to the disk; returns False where it does not take it."""
        with self._lock:
            noted, self._noted = self._noted, []
        for each in noted:
            self._waiting.append(lines.encode(*each, secrets=self._secrets))
        try:
            while self._waiting:
                self._write_some()
        except OSError as error:
            self._note_trouble(error)
            return False
        if self._problem or self._lost_lines or self._lost_pictures:
            self._note_recovery()
            return self._write()
        return True

    def _write_some(self) -> None:
        """Writes some of the lines that wait, all or none of them.

        Raises:
            OSError: The disk takes nothing.
        """
        if self._part is None or not self._part.has_room:
            if self._part is not None:
                self._part.close()
                self._part = None
            self.folder.mkdir(parents=True, exist_ok=True)
            self._part = Part(self.folder, self._parts + 1)
            self._parts += 1
        some = [self._waiting[k] for k in range(min(_AT_ONCE, len(self._waiting)))]
        self._part.write(some)
        for _ in some:
            self._waiting.popleft()
        with self._lock:
            self._held -= len(some)
            self._held_bytes -= sum(len(each.picture or b"") for each in some)

    def _note_trouble(self, error: OSError) -> None:
        if not self._problem:
            self._troubled_s = time.perf_counter()
            LOGGER.warning(
                "%s: the disk takes nothing: %s. The record waits in memory.",
                *(self.folder, error.strerror or error),
            )
        self._problem = error.strerror or str(error)

    def _note_recovery(self) -> None:
        """Says in the record what the disk has cost it."""
        with self._lock:
            lost = {"lines_lost": self._lost_lines, "pictures_lost": self._lost_pictures}
            self._lost_lines = self._lost_pictures = 0
        what = "The disk was too slow"
        if self._problem:
            taken = time.perf_counter() - self._troubled_s
            what = f"The disk took nothing for {taken:.1f} s ({self._problem})"
        text = f"{what}: {lost['lines_lost']} lines and {lost['pictures_lost']} pictures are lost."
        LOGGER.warning("%s: %s", self.folder, text)
        self._problem = ""
        self._note("warning", {"by": "record", "text": text, **lost}, None, always=True)


def new_folder(records: Path, scene: str, car: str) -> Path:
    """Makes a folder for a record, with the date in its name, that no other record has.

    A disk that takes nothing is not an error here: the tape makes the folder once it does.

    Args:
        records: Folder of all records.
        scene: Where is raced.
        car: Name of the car.

    Raises:
        InputError: `records` is no folder.
    """
    began = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    words = (began, _NAME.sub("-", scene), _NAME.sub("-", car))
    name = "-".join(word for word in words if word)
    for number in range(1, 1000):
        folder = records / (f"{name}-{number}" if number > 1 else name)
        try:
            folder.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError) as error:
            if records.exists() and not records.is_dir():
                raise InputError(
                    f"Records of races lie in a folder. Received: the file {records}. Name "
                    "another one: records in race.yaml."
                ) from error
        except OSError:
            return folder
        else:
            return folder
    raise InputError(f"{records} holds a thousand records of this second. Name another folder.")
