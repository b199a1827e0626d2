"""What a data set holds: the union of its changes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping

from donkey_rl.errors import StorageError
from donkey_rl.experiments.data.manifest import Change, Entry, Part, check_path, folders_of

SHORT = 12
"""Digits of a version that are shown."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A version of a data set.

    Attributes:
        name: Its name.
        changes: What it is made of, by id, in the order of their time.
        files: What it holds, in that order; a race once, whatever its paths, and no path twice.
        parts: Part of a split by the SHA-256 of a race.
        problems: What could not be read of it, in sentences.
    """

    name: str
    changes: Mapping[str, Change]
    files: tuple[Entry, ...]
    parts: Mapping[str, Part]
    problems: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """SHA-256 over the ids of its changes."""
        return version_of(self.changes)

    @property
    def label(self) -> str:
        """Name and version, as a reference takes them."""
        return f"{self.name}@{self.version[:SHORT]}"

    @property
    def races(self) -> tuple[Entry, ...]:
        """Its races."""
        return tuple(entry for entry in self.files if entry.kind == "race")

    def holds(self, entry: Entry) -> bool:
        """Whether a file came already: a race by its bytes, another file by its path as well."""
        if entry.kind == "race":
            return entry.sha256 in self._race_digests
        return (entry.path, entry.sha256) in self._brought

    @functools.cached_property
    def _race_digests(self) -> frozenset[str]:
        return frozenset(race.sha256 for race in self.races)

    @functools.cached_property
    def _brought(self) -> frozenset[tuple[str, str]]:
        entries = (entry for change in self.changes.values() for entry in change.entries)
        return frozenset((entry.path, entry.sha256) for entry in entries)

    def part(self, name: Part) -> tuple[Entry, ...]:
        """Returns the races of a part of its split."""
        return tuple(race for race in self.races if self.parts.get(race.sha256) == name)


def version_of(changes: Iterable[str]) -> str:
    """Returns the version that some changes make up: SHA-256 over their ids, sorted."""
    return hashlib.sha256("\n".join(sorted(changes)).encode()).hexdigest()


def changes_of(card: bytes, version: str) -> list[str]:
    """Returns the changes that the card of a version names.

    Args:
        card: Its JSON.
        version: The version.

    Raises:
        StorageError: The card is damaged.
    """
    try:
        identities = [str(each) for each in json.loads(card)["changes"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        identities = []
    if version_of(identities) != version:
        raise StorageError(f"The card of version {version[:SHORT]} is damaged.")
    return identities


def united(name: str, changes: Mapping[str, Change], problems: Iterable[str] = ()) -> DataSet:
    """Returns the data set that changes make up, whoever wrote them and in whatever order.

    They are laid down in the order of their time. A race that is there already is left out. Where
    a path is taken by something else, all that the change brings lies in a folder of its own. Of
    two splits that name the same race the earlier one counts: a race never changes its part.

    Args:
        name: Of the set.
        changes: By id.
        problems: What could not be read of it.
    """
    ordered = dict(sorted(changes.items(), key=lambda item: (item[1].created, item[0])))
    taken: dict[str, str] = {}
    folders: set[str] = set()
    races: set[str] = set()
    files: list[Entry] = []
    parts: dict[str, Part] = {}
    for identity, change in ordered.items():
        fresh = _fresh(change, races, taken)
        prefix = ""
        for prefix in ("", f"{identity[:8]}/", f"{identity}/"):
            paths = [prefix + entry.path for entry in fresh]
            if not (folders.intersection(paths) or taken.keys() & {*paths, *folders_of(paths)}):
                break
        # The entry is checked already, and a folder before its path takes it nowhere else.
        files += (entry.model_copy(update={"path": prefix + entry.path}) for entry in fresh)
        taken |= {prefix + entry.path: entry.sha256 for entry in fresh}
        folders |= folders_of(prefix + entry.path for entry in fresh)
        for digest, part in change.parts.items():
            parts.setdefault(digest, part)
    return DataSet(name, ordered, tuple(files), parts, tuple(problems))


def _fresh(change: Change, races: set[str], taken: Mapping[str, str]) -> list[Entry]:
    """Returns what a change brings that is not there yet; its races are added to `races`."""
    found = []
    for entry in change.entries:
        if taken.get(entry.path) == entry.sha256:
            continue
        if entry.kind == "race":
            if entry.sha256 in races:
                continue
            races.add(entry.sha256)
        found.append(entry)
    return found


def moved(sources: Iterable[DataSet], before: DataSet | None) -> list[Entry]:
    """Returns the files of some sets, each below its set's name, that another does not hold.

    Args:
        sources: The sets.
        before: The other one, None where it is new.

    Raises:
        InputError: A path would be no path of a data set.
    """
    entries: dict[str, Entry] = {}
    races: set[str] = set()
    for source in sources:
        for entry in source.files:
            path = f"{source.name}/{entry.path}"
            if path in entries and entries[path].sha256 != entry.sha256:
                path = f"{source.name}-{source.version[:SHORT]}/{entry.path}"
            moved = entry.model_copy(update={"path": check_path(path)})
            if entry.sha256 not in races and not (before is not None and before.holds(moved)):
                entries[path] = moved
            if entry.kind == "race":
                races.add(entry.sha256)
    return list(entries.values())
