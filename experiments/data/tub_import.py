"""From a donkeycar tub to races: one for each stretch that was driven without a break."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import folders
from donkey_rl.configuration import Config
from donkey_rl.envs.recordings import rows as record_rows
from donkey_rl.errors import InputError
from donkey_rl.experiments import file_locks
from donkey_rl.experiments.data import tub, tub_manifest, tub_races, tub_source
from donkey_rl.experiments.data.tub import TIME, Flaws, Record, Tub
from donkey_rl.experiments.data.tub_manifest import IMAGE_KEY, Manifest
from donkey_rl.experiments.data.tub_races import NOTHING, Origin
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics import race_import
from donkey_rl.metrics.race import COLUMNS, Race

_LONGEST_PAUSE_S = 0.5
_LONGEST_PAUSE_STEPS = 5.0
"""A pause longer than both ends a drive."""

_QUICKEST_S = 0.004
"""No camera is quicker: such times are those of a conversion, not of the drive."""

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_LOCK = ".lock"
_JPEG = b"\xff\xd8"


@dataclasses.dataclass(frozen=True)
class Drive:
    """A stretch of a tub that becomes a race.

    Attributes:
        race: The race.
        records: The record of each of its rows.
        beside: Records that are rows of no race, and that this one carries.
        manifest: What the tub says of itself, and of the sessions of these records.
    """

    race: Race
    records: tuple[Record, ...]
    beside: tuple[Record, ...]
    manifest: Manifest

    def save(self, path: pathlib.Path) -> pathlib.Path:
        """Writes the race with its pictures and all that the tub holds of it.

        Raises:
            InputError: More lies beside the records than a file holds, or an image has gone.
            StorageError: It cannot be written.
        """
        pictures = any(record.images for record in self.records)
        return race_import.save(
            self.race, path, self._sources(), self._pictures() if pictures else None
        )

    def _pictures(self) -> Iterator[bytes | None]:
        return map(_picture, self.records)

    def _sources(self) -> Iterator[bytes]:
        share = -(-len(self.beside) // len(self.records))
        for row, record in enumerate(self.records):
            beside = self.beside[row * share : (row + 1) * share]
            manifest = None if row else self.manifest
            yield tub_source.encode(record, beside, manifest, _picture(record) is not None)


def _picture(record: Record) -> bytes | None:
    """Returns the camera image of a record as it is on disk, None where it is no JPEG."""
    file = _camera(record)
    content = None if file is None else tub.content(file)
    return content if content is not None and content.startswith(_JPEG) else None


def _is_jpeg(file: pathlib.Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_JPEG)) == _JPEG


def _camera(record: Record) -> pathlib.Path | None:
    """Returns the file of a record's camera image."""
    return record.images.get(str(record.fields.get(IMAGE_KEY)))


def drives(
    source: Tub, origin: Origin = NOTHING, progress: Callable[[int], None] | None = None
) -> list[Drive]:
    """Returns the drives of a tub, in order; `source.flaws` then says what was left out.

    Deleted records, those of a pilot whose commands were not recorded, and those with none before
    and after them become no rows: they are carried beside them.

    Args:
        source: The tub.
        origin: What is known beside it.
        progress: Called with the records read so far.

    Raises:
        InputError: No record can be used, or as `Tub.records` says.
    """
    origin.check()
    usable: list[Record] = []
    beside: list[Record] = []
    for record in source.records():
        rowless = record.deleted or tub_races.commands(record) is None
        (beside if rowless else usable).append(record)
        if progress is not None:
            progress(source.flaws.total)
    _note_silent(beside, source.flaws)
    parts = []
    for records, race in _races(usable, source, origin):
        if race is None:
            beside += records
        else:
            parts.append((records, race))
    if not parts:
        count = f"{record_rows.plural(len(beside), 'record')}."
        raise InputError(
            f"{source.folder}: expected two records in a row with commands, not deleted. "
            f"Received: {' '.join(source.flaws.sentences()) or count} "
            "Restore or record some."
        )
    # A tub grows: what a race carries has to be the same where more sessions came meanwhile.
    carried = _carried(beside, [records for records, _ in parts])
    return [
        Drive(race, tuple(records), tuple(others), source.manifest.of(_sessions(records, others)))
        for (records, race), others in zip(parts, carried, strict=True)
    ]


def _carried(beside: Sequence[Record], parts: Sequence[Sequence[Record]]) -> list[list[Record]]:
    """Returns which rowless records each drive carries, in order.

    Those before its end, and after the last drive of a session all up to the next drive's session.
    """
    ends = [records[-1].place for records in parts]
    carried: list[list[Record]] = [[] for _ in parts]
    for record in sorted(beside, key=lambda each: each.place):
        number = bisect.bisect(ends, record.place)
        is_of_next = number < len(parts) and record.session == parts[number][0].session
        carried[number if is_of_next else max(number - 1, 0)].append(record)
    return carried


def _sessions(*records: Sequence[Record]) -> set[str]:
    return {record.session for record in itertools.chain(*records)}


def races(path: pathlib.Path, origin: Origin = NOTHING) -> Iterator[Race]:
    """Yields the races of a tub.

    Raises:
        InputError: As `drives`.
    """
    for drive in drives(Tub(path), origin):
        yield drive.race


def _note_silent(beside: Sequence[Record], flaws: Flaws) -> None:
    """Notes the records of which the commands are not known."""
    silent = sum(not record.deleted for record in beside)
    if silent:
        flaws.notes.append(
            f"{record_rows.plural(silent, 'record')} without commands, as of a pilot without "
            "donkeycar's RECORD_DURING_AI: they are carried along, but are no rows of a race."
        )


def _races(
    usable: Sequence[Record], source: Tub, origin: Origin
) -> Iterator[tuple[list[Record], Race | None]]:
    """Yields the records of each drive with the race that they make, None for a single record."""
    for (session, ours), group in itertools.groupby(
        usable, lambda record: (record.session, tub.is_race(record.fields))
    ):
        records = list(group)
        if ours:
            try:
                kept = source.manifest.metadata.get(f"{tub_manifest.HEADER_KEY}{session}")
                yield records, tub_races.exported(records, kept)
                continue
            except InputError as error:
                source.flaws.defects.append(
                    f"Session {session} was exported from a race and does not make one any more: "
                    f"{error}"
                )
        # A tub grows: its later sessions change nothing of how earlier ones are split.
        step = _step_s(records, source.flaws)
        for part in _split(records, step):
            # A command stands in the row after its image: one row alone says nothing.
            single = len(part) == 1
            yield part, None if single else tub_races.foreign(part, _seconds(part, step), origin)


def _step_s(records: Sequence[Record], flaws: Flaws) -> float:
    """Returns the usual time between two records (s), 0 where it is not that of the drive."""
    times: list[Any] = [record.fields.get(TIME) for record in records]
    reason = "Not every record has a time"
    if None not in times:
        steps = np.diff(np.array(times, np.float64)) / 1000.0
        steps = steps[steps >= 0.0]
        usual = float(np.median(steps)) if len(steps) else 1.0 / record_rows.ASSUMED_RATE
        if usual >= _QUICKEST_S:
            return usual
        reason = f"The records are {1000.0 * usual:.0f} ms apart, as a conversion leaves them"
    note = f"{reason}: {record_rows.ASSUMED_RATE:g} records a second are assumed."
    if note not in flaws.notes:
        flaws.notes.append(note)
    return 0.0


def _split(records: Sequence[Record], step_s: float) -> Iterator[list[Record]]:
    """Yields the stretches that were driven without a break."""
    part: list[Record] = []
    longest = max(_LONGEST_PAUSE_S, _LONGEST_PAUSE_STEPS * step_s)
    for record in records:
        if part:
            if step_s:
                pause = (record.fields[TIME] - part[-1].fields[TIME]) / 1000.0
                goes_on = 0.0 < pause <= longest
            else:
                goes_on = record.place == part[-1].place + 1
            if not goes_on:
                yield part
                part = []
        part.append(record)
    yield part


def _seconds(records: Sequence[Record], step_s: float) -> npt.NDArray[np.float64]:
    """Returns the time of records since the first of them (s), shape (n,)."""
    if not step_s:
        return np.arange(len(records), dtype=np.float64) / record_rows.ASSUMED_RATE
    began = records[0].fields[TIME]
    return np.array([record.fields[TIME] - began for record in records], np.float64) / 1000.0


class Imported(Config):
    """What `donkey-rl data import` reports.

    Attributes:
        tub: The folder that was read.
        files: The races that were written.
        races: How many.
        rows: Rows of all of them.
        records: Records that were read.
        left_out: Records that are in none of the races.
        deleted: Records that were deleted, and are carried along.
        minutes: How long was driven.
        frames: Rows with a camera image.
        unknown: Columns that nobody recorded in some of the races; they hold 0.
        notes: What was left out, repaired or assumed, in sentences.
    """

    tub: str
    files: tuple[str, ...]
    races: int
    rows: int
    records: int
    left_out: int
    deleted: int
    minutes: float
    frames: int
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def write(
    source: Tub,
    folder: pathlib.Path,
    progress: ProgressDisplay,
    origin: Origin = NOTHING,
    *,
    strict: bool = False,
) -> Imported:
    """Writes the races of a tub into a folder, `NAME_00.parquet` and so on.

    Args:
        source: The tub.
        folder: Where to; it is made.
        progress: Shows how far it is.
        origin: What is known beside the tub.
        strict: Whether a tub that is not whole is refused.

    Raises:
        InputError: As `drives`; or the tub is not whole and `strict`; or a race of that name is
            there already.
        StorageError: A race cannot be written; none is left then.
    """
    with progress.phase("reading the tub", None, "records") as reading:
        found = drives(source, origin, reading.update)
    flaws = source.flaws.sentences()
    if strict and flaws:
        more = f" And {len(flaws) - 1} more of the kind." if len(flaws) > 1 else ""
        raise InputError(
            f"{source.folder}: expected a tub that is whole, as --strict asks. Received: "
            f"{flaws[0]}{more} Without --strict the rest is taken."
        )
    images = [file for drive in found for record in drive.records if (file := _camera(record))]
    pictures = sum(map(_is_jpeg, images))
    if pictures < len(images):
        source.flaws.notes.append(
            f"{record_rows.plural(len(images) - pictures, 'image')} of another kind than JPEG: "
            "carried along, but no pictures of a race. Learn from them by naming the tub itself: "
            "--set imitation.data=FOLDER."
        )
    with _alone(folder):
        files = _new_files(source, folder, len(found))
        _save(found, files, progress)
    beside = [record for drive in found for record in drive.beside]
    unknown = {name for drive in found for name in drive.race.header.unknown}
    return Imported(
        tub=str(source.folder),
        files=tuple(map(str, files)),
        races=len(files),
        rows=sum(len(drive.race) for drive in found),
        records=source.flaws.total,
        left_out=source.flaws.total - source.flaws.kept,
        deleted=sum(record.deleted for record in beside),
        minutes=sum(drive.race.duration_s for drive in found) / 60.0,
        frames=pictures,
        unknown=tuple(name for name in COLUMNS if name in unknown),
        notes=(*flaws, *source.flaws.notes),
    )


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Keeps a folder for one import: two would take the same names.

    Raises:
        InputError: Another import writes into it.
        StorageError: It cannot be written.
    """
    with folders.writing(folder), contextlib.ExitStack() as held:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(file_locks.held(folder / _LOCK, wait=False, keep=False))
        except BlockingIOError:
            raise InputError(
                f"Another import writes into {folder}. Wait for its end, or name another --out."
            ) from None
        yield


def _new_files(source: Tub, folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """Returns where the races of a tub are to lie; nothing lies there yet."""
    stem = _UNFIT.sub("-", source.folder.resolve().name) or "tub"
    files = [folder / f"{stem}_{number:02d}.parquet" for number in range(count)]
    taken = next((file for file in files if file.exists()), None)
    if taken is not None:
        raise InputError(
            f"{taken}: expected a name for a new race. Received: one that is taken. "
            "Name another --out."
        )
    return files


def _save(
    found: Sequence[Drive], files: Sequence[pathlib.Path], progress: ProgressDisplay
) -> None:
    """Saves all drives, or none."""
    written: list[pathlib.Path] = []
    with progress.phase("writing races", len(found), "races") as writing:
        try:
            for number, (drive, file) in enumerate(zip(found, files, strict=True), start=1):
                written.append(drive.save(file))
                writing.update(number)
        except BaseException:
            for file in written:
                file.unlink(missing_ok=True)
            raise
