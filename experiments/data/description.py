"""Files on this machine as entries of a data set, and what a race record says of itself."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from donkey_rl.agents import folders
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.data.manifest import (
    MAX_FILES,
    OBJECTS,
    SETS,
    STEERING_BINS,
    Entry,
    RaceFacts,
    check_path,
    fits,
    folders_of,
    shown,
)
from donkey_rl.metrics import laps as lap_rules
from donkey_rl.metrics import race_file, race_parts
from donkey_rl.metrics.race import Race

CARDS = (".card.md", ".card.json")
"""Ends of the names of what a pull writes beside the files; a set has its own."""

_RECORD = ".parquet"


@dataclasses.dataclass(frozen=True)
class Found:
    """A file that may go into a data set.

    Attributes:
        file: Where it is.
        path: What it will be called in the set.
    """

    file: pathlib.Path
    path: str


def find(places: Sequence[pathlib.Path]) -> tuple[list[Found], list[str]]:
    """Returns the files at some places, and what is left out, in sentences.

    Left out are links, hidden files, and races whose recording has not ended.

    Args:
        places: Files, and folders with all they hold.

    Raises:
        InputError: A place does not exist, or there are too many files.
    """
    found: dict[str, Found] = {}
    alike: dict[str, str] = {}
    left_out: list[str] = []
    for place in places:
        if not place.exists():
            raise InputError(f"There is nothing at {place}. Check the path.")
        if place.name.endswith(race_parts.SUFFIX):
            left_out.append(_unfinished(place))
            continue
        if place.is_file():
            pairs: Iterator[tuple[pathlib.Path, str]] = iter([(place, place.name)])
        else:
            prefix = f"{place.resolve().name}/" if len(places) > 1 else ""
            pairs = _inside(place, prefix, left_out)
        for file, path in pairs:
            if len(found) == MAX_FILES:
                raise InputError(
                    f"A push takes at most {MAX_FILES:,} files. Received: more in {place}. "
                    "Push them folder by folder."
                )
            try:
                check_path(path)
                if not fits(path):
                    raise InputError("A name has at most 240 bytes, and is none of a device.")
            except InputError as error:
                why = str(error)
                left_out.append(why if why.startswith(str(file)) else f"{file}: {why}")
                continue
            # Windows and macOS do not tell letters of two cases apart.
            twin = alike.setdefault(path.casefold(), path)
            if twin != path or (path in found and found[path].file != file):
                left_out.append(f"{file}: another file of this push is called {twin} as well.")
                continue
            found[path] = Found(file, path)
    for path in folders_of(found).intersection(found):
        left_out.append(f"{found.pop(path).file}: a folder of this push is called {path} as well.")
    return list(found.values()), left_out


def _inside(
    place: pathlib.Path, prefix: str, left_out: list[str]
) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields the files below a folder with their paths in the set."""

    def unreadable(error: OSError) -> None:
        left_out.append(f"{error.filename} cannot be read: {error.strerror}.")

    for folder, below, names in os.walk(place, onerror=unreadable):
        here = pathlib.Path(folder)
        for name in [*below]:
            is_store = all((here / name / part).is_dir() for part in (OBJECTS, SETS))
            if name.endswith(race_parts.SUFFIX):
                left_out.append(_unfinished(here / name))
            if (here / name).is_symlink():
                left_out.append(f"{here / name} is a link. Push what it leads to.")
            elif is_store:
                left_out.append(f"{here / name} is a store of data sets.")
            elif not name.startswith(".") and not name.endswith(race_parts.SUFFIX):
                continue
            below.remove(name)
        below.sort()
        for name in sorted(names):
            file = here / name
            path = file.relative_to(place).as_posix()
            if name.startswith(".") or name.endswith(CARDS):
                continue
            if file.is_symlink() or not file.is_file():
                left_out.append(f"{file} is a link or no plain file. Push what it leads to.")
                continue
            yield file, prefix + path


def _unfinished(parts: pathlib.Path) -> str:
    return (
        f"{parts} is a race that is still being recorded, or whose recording was cut off. Make a "
        "file of it: docs/race_record.md says how."
    )


def describe(found: Found) -> Entry:
    """Returns a file as an entry of a data set.

    Raises:
        InputError: It is called ``.parquet`` and is no race record, or too large.
        StorageError: It cannot be read.
    """
    try:
        size, digest = found.file.stat().st_size, folders.sha256(found.file)
    except OSError as error:
        raise StorageError(f"It could not be read: {error.strerror or error}.") from error
    if found.file.suffix.lower() != _RECORD:
        if size > race_file.MAX_BYTES:
            raise InputError(f"{found.file} has more than {race_file.MAX_BYTES:,} bytes.")
        return Entry(path=found.path, sha256=digest, bytes=size)
    facts = _facts(found.file)
    return Entry(path=found.path, sha256=digest, bytes=size, kind="race", facts=facts)


def _facts(file: pathlib.Path) -> RaceFacts:
    race = Race.load(file)
    header = race.header
    driven = lap_rules.laps(race)
    clean = [lap.time_s for lap in driven if lap.clean]
    counts, _ = np.histogram(np.clip(race["steering"], -1.0, 1.0), STEERING_BINS, (-1.0, 1.0))
    return RaceFacts(
        track=shown(header.track),
        track_digest=shown(header.track_digest),
        vehicle=shown(header.vehicle),
        driver=shown(header.driver),
        run_id=shown(header.run_id),
        simulator=shown(header.simulator),
        conditions=_settings(header.conditions),
        camera=_settings(header.camera),
        rows=len(race),
        frames=_frames(file),
        seconds=race.duration_s,
        laps=len(driven),
        clean_laps=len(clean),
        best_lap_s=min(clean, default=None),
        steering=tuple(int(count) for count in counts),
    )


def _frames(file: pathlib.Path) -> int:
    """Returns how many rows of a record have a picture."""
    with race_file.opened(file) as opened:
        _, names = race_file.described(file, opened)
        if race_file.FRAME not in names:
            return 0
        about = opened.metadata
        column = names.index(race_file.FRAME)
        missing = 0
        for group in range(about.num_row_groups):
            statistics = about.row_group(group).column(column).statistics
            missing += statistics.null_count if statistics is not None else 0
        return int(about.num_rows - missing)


def _settings(values: Mapping[str, Any]) -> str:
    return shown(", ".join(f"{name}={value}" for name, value in sorted(values.items())))
