"""From races to a donkeycar tub that donkeycar's own tools read.

Races that were imported from one tub give back its records as they stood, byte for byte. Races of
several tubs, or of this package, make a new tub, whose records are numbered anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from donkey_rl import moving
from donkey_rl.agents import folders
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.data import tub_manifest, tub_races, tub_source
from donkey_rl.experiments.data.tub import INDEX, SESSION
from donkey_rl.experiments.data.tub_manifest import FILE, HEADER_KEY, IMAGES, Manifest
from donkey_rl.experiments.data.tub_source import Kept
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race

_INCOMING = "incoming"

_MOST_GROWTH = 50
_LEAST_BYTES = 100_000_000
"""A file says what is the same in all rows once: its pictures may have this many times its bytes,
or so many bytes."""

_NUMBERED = re.compile(r"[0-9]+_(.*)")


class Written(Config):
    """What `donkey-rl data export` reports.

    Attributes:
        folder: The tub.
        races: How many races are in it.
        records: How many records, the deleted ones among them.
        deleted: How many of them are deleted.
        images: How many image files.
        renumbered: Whether the records have other numbers than in the tubs they came from.
        notes: What a person should know of it, in sentences.
    """

    folder: str
    races: int
    records: int
    deleted: int
    images: int
    renumbered: bool
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Line:
    """A record on its way into the tub; its images lie in the folder `_INCOMING`, by number."""

    place: int
    line: str
    fields: dict[str, Any]
    images: dict[str, int]
    deleted: bool


def write(
    files: Sequence[pathlib.Path],
    folder: pathlib.Path,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Writes races as a tub of version 2, all or nothing.

    Args:
        files: Race records, in the order in which they are to lie in the tub.
        folder: The tub; there must be nothing of that name, or an empty folder.
        progress: Called with the records taken so far.

    Raises:
        InputError: There is a tub already, no race, or a file is no race record.
        StorageError: It cannot be written.
    """
    if not files:
        raise InputError("A tub is written of one race or more. Received: none.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder}: expected a name for a new tub. Received: one that is taken. "
            "Name another folder, or move that one away."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _beside(folder) as temporary:
            written = _Writer(temporary, progress).write(files)
            if folder.exists():
                folder.rmdir()
            moving.moved(temporary, folder)
    except OSError as error:
        raise StorageError(
            f"The tub {folder} could not be written: {error.strerror or error}. Nothing was left."
        ) from error
    return written.model_copy(update={"folder": str(folder)})


@contextlib.contextmanager
def _beside(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a folder beside another, which is removed unless it was moved away."""
    temporary = folders.sibling(folder)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Writer:
    """Gathers the records of races in a folder, and makes a tub of it."""

    def __init__(self, folder: pathlib.Path, progress: Callable[[int], None] | None) -> None:
        self._folder = folder
        self._progress = progress
        self._records = 0
        self._images = 0
        self._bytes = self._most_bytes = 0
        self._began_s = time.time()
        self._notes: list[str] = []
        (folder / _INCOMING).mkdir()
        (folder / IMAGES).mkdir()

    def write(self, files: Sequence[pathlib.Path]) -> Written:
        """Writes the tub."""
        groups: list[tuple[Manifest, list[_Line]]] = []
        own = True
        for file in files:
            is_imported = race_file.has(file, race_file.SOURCE)
            self._most_bytes += _MOST_GROWTH * file.stat().st_size + _LEAST_BYTES
            if not is_imported:
                own = False
                groups.append(self._made(file, len(groups)))
                continue
            manifest, lines = self._imported(file)
            known = next((k for k, (m, _) in enumerate(groups) if _belong(m, manifest)), None)
            if known is None or _overlap(groups[known][1], lines):
                groups.append((manifest, lines))
            else:
                first, before = groups[known]
                groups[known] = (first.joined(manifest), [*before, *lines])
        for _, lines in groups:
            lines.sort(key=lambda line: line.place)
        alone = own and len(groups) == 1 and _is_whole(groups[0][1])
        manifest, records = groups[0] if alone else self._renumbered(groups)
        self._place_images(records)
        deleted = frozenset(line.fields[INDEX] for line in records if line.deleted)
        catalogs = self._write_catalogs(records, manifest.length)
        following = 1 + max((line.fields[INDEX] for line in records), default=-1)
        whole = dataclasses.replace(
            manifest, catalogs=catalogs, deleted=deleted, current_index=following
        )
        (self._folder / FILE).write_text(whole.dump(), encoding="utf-8")
        return Written(
            folder=str(self._folder),
            races=len(files),
            records=len(records),
            deleted=len(deleted),
            images=sum(len(line.images) for line in records),
            renumbered=not alone,
            notes=tuple(self._notes),
        )

    def _imported(self, file: pathlib.Path) -> tuple[Manifest, list[_Line]]:
        """Returns what an imported race carries of its tub, and takes its images in."""
        pictures = race_file.frames(file) if race_file.has(file, race_file.FRAME) else None
        manifest, lines = None, []
        for content in race_file.sources(file):
            picture = None if pictures is None else next(pictures)
            if content is None:
                continue
            try:
                kept, found = tub_source.decode(content, picture)
            except InputError as error:
                raise InputError(f"{file}: {error}") from error
            manifest = found or manifest
            lines += [self._taken(each) for each in kept]
        if manifest is None:
            raise InputError(
                f"{file}: expected a race that carries its tub. Received: one whose first row "
                "does not. Import the tub again."
            )
        return manifest, lines

    def _made(self, file: pathlib.Path, number: int) -> tuple[Manifest, list[_Line]]:
        """Returns a race of this package as records, and takes its pictures in."""
        race = Race.load(file)
        pictures: Iterator[bytes | None]
        if race_file.has(file, race_file.FRAME):
            pictures = race_file.frames(file)
        else:
            pictures = iter([None] * len(race))
            self._notes.append(f"{file.name} holds no pictures: donkeycar learns from images.")
        session = f"{time.strftime('%y-%m-%d', time.gmtime(self._began_s))}_{number}"
        began_ms = round(1000.0 * self._began_s)
        lines = []
        for row, fields in enumerate(tub_races.records(race, began_ms)):
            picture = next(pictures)
            images = {} if picture is None else {f"{row}_cam_image_array_.jpg": picture}
            fields |= {INDEX: row, SESSION: session}
            if images:
                fields[tub_manifest.IMAGE_KEY] = next(iter(images))
            lines.append(self._taken(Kept(row, "", fields, images, False)))
        self._began_s += race.duration_s + 1.0
        kinds = tub_races.inputs(race)
        manifest = Manifest(
            inputs=tuple(kinds),
            types=tuple(kinds.values()),
            metadata={f"{HEADER_KEY}{session}": race.header.model_dump_json()},
            about={"created_at": time.time(), "sessions": {"all_full_ids": [session]}},
        )
        return manifest, lines

    def _taken(self, kept: Kept) -> _Line:
        """Returns a record whose images lie in the folder of those on their way."""
        images = {}
        for name, content in kept.images.items():
            self._bytes += len(content)
            if self._bytes > self._most_bytes:
                raise InputError(
                    f"The pictures of a race have {_MOST_GROWTH} times the bytes of its file at "
                    f"most. Received: {self._bytes:,} bytes by record {self._records + 1}. Record "
                    "the race again."
                )
            (self._folder / _INCOMING / str(self._images)).write_bytes(content)
            images[name] = self._images
            self._images += 1
        self._records += 1
        if self._progress is not None:
            self._progress(self._records)
        return _Line(kept.place, kept.line, dict(kept.fields), images, kept.deleted)

    def _renumbered(
        self, groups: Sequence[tuple[Manifest, list[_Line]]]
    ) -> tuple[Manifest, list[_Line]]:
        """Returns one tub of several."""
        records: list[_Line] = []
        kinds: dict[str, str] = {}
        metadata: dict[str, Any] = {}
        sessions: list[str] = []
        for manifest, lines in groups:
            for name, kind in zip(manifest.inputs, manifest.types, strict=True):
                if kinds.setdefault(name, kind) != kind:
                    raise InputError(
                        f"The tubs must record {name} alike. Received: {kinds[name]} and {kind}. "
                        "Export them one by one."
                    )
            named = _session_names(manifest, lines, sessions)
            sessions += named.values()
            renamed = _renamed(manifest.metadata, named)
            for key in sorted(k for k in renamed if metadata.get(k, renamed[k]) != renamed[k]):
                self._notes.append(f"The tubs differ in what they say of {key}: the first counts.")
            metadata = renamed | metadata
            for line in lines:
                records.append(_with_number(line, len(records), named))
        about = {"created_at": time.time(), "sessions": tub_manifest.numbered_sessions(sessions)}
        whole = Manifest(
            inputs=tuple(kinds),
            types=tuple(kinds.values()),
            metadata=metadata,
            about=about,
        )
        return whole, records

    def _place_images(self, records: Sequence[_Line]) -> None:
        """Moves the images to where the records say they are."""
        incoming = self._folder / _INCOMING
        for record in records:
            for name, number in record.images.items():
                target = self._folder / IMAGES / name
                target.parent.mkdir(parents=True, exist_ok=True)
                moving.moved(incoming / str(number), target)
        shutil.rmtree(incoming)

    def _write_catalogs(self, records: Sequence[_Line], length: int) -> tuple[str, ...]:
        """Writes the records and the manifests of their catalogs; returns their names."""
        names: list[str] = []
        for first in range(0, max(len(records), 1), length):
            lines = [f"{record.line}\n" for record in records[first : first + length]]
            stem = f"catalog_{len(names)}"
            names.append(f"{stem}.catalog")
            (self._folder / names[-1]).write_text("".join(lines), encoding="utf-8", newline="")
            about = {
                "created_at": time.time(),
                "line_lengths": [len(line) for line in lines],
                "path": f"{stem}.catalog_manifest",
                "start_index": first,
            }
            text = json.dumps(about, sort_keys=True) + "\n"
            (self._folder / f"{stem}.catalog_manifest").write_text(text, encoding="utf-8")
        return tuple(names)


def _belong(first: Manifest, second: Manifest) -> bool:
    """Whether two races say the same of their tub, whatever they say of its sessions."""
    # As text: a number that is none, which donkeycar may write, is not equal to itself.
    return json.dumps(first.common) == json.dumps(second.common)


def _overlap(first: Sequence[_Line], second: Sequence[_Line]) -> bool:
    """Whether records have the same place: they are of two tubs that say the same of themselves.

    So do copies of one, and all tubs whose manifest was broken.
    """
    places = {line.place for line in second}
    return any(line.place in places for line in first)


def _is_whole(lines: Sequence[_Line]) -> bool:
    """Whether records in order are all of one tub, each of them once.

    donkeycar finds deleted records by where they stand: with some missing they would be others.
    """
    names = [name for line in lines for name in line.images]
    in_place = all(line.place == place for place, line in enumerate(lines))
    return in_place and len(set(names)) == len(names)


def _session_names(
    manifest: Manifest, lines: Sequence[_Line], taken: Sequence[str]
) -> dict[str, str]:
    """Returns the name of each session of a tub in one where some names are taken."""
    found = dict.fromkeys(tub_manifest.sessions(manifest.about))
    found |= dict.fromkeys(line.fields[SESSION] for line in lines if line.fields.get(SESSION))
    named: dict[str, str] = {}
    for name in found:
        date, number = name.rpartition("_")[0] or name, 0
        new = name
        while new in taken or new in named.values():
            new, number = f"{date}_{number}", number + 1
        named[name] = new
    return named


def _renamed(metadata: Mapping[str, Any], sessions: dict[str, str]) -> dict[str, Any]:
    """Returns a tub's metadata with the headers of its races under the new sessions."""
    keys = {f"{HEADER_KEY}{name}": f"{HEADER_KEY}{new}" for name, new in sessions.items()}
    return {keys.get(key, key): value for key, value in metadata.items()}


def _with_number(line: _Line, number: int, sessions: dict[str, str]) -> _Line:
    """Returns a record with another number, in its images' names as well."""
    fields = dict(line.fields)
    images: dict[str, int] = {}
    fields[INDEX] = number
    if fields.get(SESSION):
        fields[SESSION] = sessions[fields[SESSION]]
    for key, value in line.fields.items():
        if isinstance(value, str) and value in line.images:
            match = _NUMBERED.fullmatch(value)
            name = f"{number}_{match[1] if match else value.replace('/', '_')}"
            if images.get(name, line.images[value]) != line.images[value]:
                name = f"{number}_{key.replace('/', '_')}_{name}"
            fields[key] = name
            images[name] = line.images[value]
    text = json.dumps(fields, allow_nan=False, sort_keys=True)
    return _Line(line.place, text, fields, images, line.deleted)
