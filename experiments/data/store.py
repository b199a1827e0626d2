"""A store of data sets: what is in it, pushing, pulling, splitting, merging.

```python
shared = store.open_store("sftp://host/srv/data")
with ProgressDisplay() as progress:
    shared.push([Path("races")], "evenings", Note(author="Ann"), progress)
    shared.pull("evenings", Path("here"), progress)
```
"""

from __future__ import annotations

import concurrent.futures
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence

from donkey_rl import configuration
from donkey_rl.errors import InputError, StorageError, UnknownNameError
from donkey_rl.experiments.data import cards, dataset, manifest, pulling, pushing, splitting
from donkey_rl.experiments.data.addresses import open_backend
from donkey_rl.experiments.data.backends import Backend
from donkey_rl.experiments.data.dataset import SHORT, DataSet
from donkey_rl.experiments.data.manifest import SETS, Change, Entry, Note, Part
from donkey_rl.experiments.data.pulling import PullReport
from donkey_rl.experiments.data.pushing import PushReport
from donkey_rl.experiments.data.transfers import AT_ONCE
from donkey_rl.experiments.progress import ProgressDisplay

_SHORTEST = 6
"""Digits by which a version is named."""

_ARRIVAL_S = (0.5, 2.0)
"""Waits for a change that is just being written, where a place shows it meanwhile."""


def open_store(url: str | None = None) -> Store:
    """Returns the store at an address; see `addresses.open_backend`.

    Raises:
        InputError: It is no address of a store.
        StorageError: It cannot be reached.
    """
    return Store(open_backend(url))


class Store:
    """Data sets in one place.

    Attributes:
        backend: The place.
    """

    def __init__(self, backend: Backend) -> None:
        """Names the place."""
        self.backend = backend

    @property
    def shown(self) -> str:
        """The place's address, without passwords."""
        return self.backend.shown

    def names(self) -> list[str]:
        """Returns the names of the data sets; a first push that was cut off has made none."""
        found = (_name_or_none(name) for name in self.backend.folders(SETS))
        return [name for name in found if name is not None and self._holds_something(name)]

    def _holds_something(self, name: str) -> bool:
        folders = (f"{SETS}/{name}/{kind}" for kind in ("changes", "versions"))
        return any(self.backend.files(folder) for folder in folders)

    def dataset(self, name: str, version: str | None = None) -> DataSet:
        """Returns what a data set holds.

        Args:
            name: Of the set.
            version: Six or more digits of a version; all that was pushed by default.

        Raises:
            UnknownNameError: No such set, or no such version of it.
            StorageError: The place cannot be read, or nothing of the set can be.
        """
        found = self._current(manifest.check_name(name))
        if found is None:
            raise UnknownNameError(
                "data set",
                name,
                self.names(),
                remedy=f"The store {self.shown} has none: push one.",
            )
        if version is None:
            return found
        if len(version) >= _SHORTEST and found.version.startswith(version):
            return found
        return self._older(found, version)

    def push(
        self,
        places: Sequence[pathlib.Path],
        name: str,
        note: Note,
        progress: ProgressDisplay,
        *,
        check: bool = False,
    ) -> PushReport:
        """Adds files to a data set, which is made where there is none.

        Races that the set has already are passed over. Many may push to one set at the same time.

        Args:
            places: Files, and folders with all that they hold.
            name: Of the set.
            note: Who, and what for.
            progress: Shows how far it is.
            check: Whether what is there already is read back, and sent again if damaged.

        Raises:
            InputError: There is nothing to push.
            StorageError: The store cannot be written; what was sent is not sent again.
        """
        before = self._current(manifest.check_name(name))
        sent = pushing.send(self.backend, places, before, progress, check=check)
        if sent.entries:
            self.record(name, self._change(note, entries=sent.entries))
        after = self.dataset(name)
        self.keep_card(after, progress, check=check)
        return sent.report(before, after, self.shown)

    def pull(
        self,
        name: str,
        folder: pathlib.Path | None,
        progress: ProgressDisplay,
        *,
        version: str | None = None,
        part: Part | None = None,
    ) -> PullReport:
        """Fetches a data set; what is there already is not fetched again.

        Args:
            name: Of the set.
            folder: Where to; by default ``pulled/NAME-VERSION``, or ``...-PART``.
            progress: Shows how far it is.
            version: As in `dataset`.
            part: Of its split; all by default.

        Returns:
            The folder, the files, and what was not fetched as it should be.

        Raises:
            InputError: No such set, version or part, or the folder is not fit.
            StorageError: The store cannot be read, or the disk is full; what came is kept.
        """
        found = self.dataset(name, version)
        self.keep_card(found, progress)
        return pulling.fetch(self.backend, found, part, folder, progress)

    def split(
        self,
        name: str,
        shares: Mapping[Part, float],
        seed: int,
        note: Note,
        progress: ProgressDisplay,
    ) -> tuple[DataSet, int]:
        """Gives each race that is in no part yet one of `train`, `validation` and `test`.

        Args:
            name: Of the set.
            shares: Of each part.
            seed: Same seed and races, same parts.
            note: Who, and what for.
            progress: Told where the new version's card cannot be kept.

        Returns:
            The set, and how many races got a part.

        Raises:
            InputError: No such set, or no race in it.
            StorageError: The store cannot be written.
        """
        before = self.dataset(name)
        if not before.races:
            raise InputError(f"A split goes by races. Received: {name}, which holds none.")
        parts = splitting.assigned(before.races, before.parts, shares, seed)
        if parts:
            self.record(name, self._change(note, parts=parts))
        after = self.dataset(name)
        self.keep_card(after, progress)
        return after, len(parts)

    def merge(
        self,
        references: Sequence[tuple[str, str | None]],
        name: str,
        note: Note,
        progress: ProgressDisplay,
    ) -> DataSet:
        """Adds all that other data sets of this store hold to one, each below its own name.

        Nothing is sent: the bytes are in the store. A race keeps the part it has in the first set
        that names one, so that no race of a test gets into a training.

        Args:
            references: Names, with a version each or none.
            name: Of the set that takes them, which may be new.
            note: Who, and what for.
            progress: Told where the new version's card cannot be kept.

        Raises:
            InputError: No such set or version, or a set is to be merged into itself.
            StorageError: The store cannot be written.
        """
        if manifest.check_name(name) in (source for source, _ in references):
            raise InputError(f"{name} cannot be merged into itself. Name another set.")
        sources = [self.dataset(*reference) for reference in references]
        before = self._current(name)
        entries = dataset.moved(sources, before)
        parts: dict[str, Part] = {}
        for source in sources:
            for digest, part in source.parts.items():
                parts.setdefault(digest, part)
        licenses = {
            text for source in sources for c in source.changes.values() if (text := c.license)
        }
        note = note.model_copy(
            update={"license": note.license or manifest.shown("; ".join(sorted(licenses)))}
        )
        if entries or (before is not None and not parts.keys() <= before.parts.keys()):
            self.record(
                name,
                self._change(
                    note,
                    entries=entries,
                    parts=parts,
                    sources=[source.label for source in sources],
                ),
            )
        after = self.dataset(name)
        self.keep_card(after, progress)
        return after

    def record(self, name: str, change: Change) -> None:
        """Writes a change of a data set.

        Raises:
            StorageError: The store cannot be written.
        """
        identity, content = change.encoded()
        self.backend.write(f"{SETS}/{name}/changes/{identity}.json", content)

    def keep_card(self, found: DataSet, progress: ProgressDisplay, *, check: bool = False) -> None:
        """Keeps the card of a version with the set; it also says what the version is made of.

        A store that cannot be written to is no reason to stop: a line says so.

        Args:
            found: The version.
            progress: Told where the card cannot be kept.
            check: Whether one that is there is read, and written again if damaged.
        """
        base = f"{SETS}/{found.name}/versions/{found.version}"
        if found.problems:
            return
        there = all(self.backend.size(base + end) for end in (".json", ".md"))
        if there and not (check and cards.stored(self.backend, found.name, found.version) is None):
            return
        card = cards.card(found)
        try:
            self.backend.write(f"{base}.json", card.model_dump_json(indent=1).encode())
            self.backend.write(f"{base}.md", cards.markdown(card).encode())
        except StorageError as error:
            progress.message(f"The card of {found.label} was not kept: {error}")

    def read_changes(
        self, name: str, identities: Iterable[str]
    ) -> tuple[dict[str, Change], dict[str, str]]:
        """Returns changes by id, and by id what is wrong with the others, such as `is damaged`.

        Raises:
            StorageError: The place cannot be read.
        """
        changes: dict[str, Change] = {}
        problems: dict[str, str] = {}

        def read(identity: str) -> Change | InputError:
            return self._read_change(name, identity)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            wanted = sorted(identities)
            for identity, found in zip(wanted, pool.map(read, wanted), strict=True):
                if isinstance(found, Change):
                    changes[identity] = found
                else:
                    problems[identity] = str(found)
        return changes, problems

    def _read_change(self, name: str, identity: str) -> Change | InputError:
        path = f"{SETS}/{name}/changes/{identity}.json"
        waits = list(_ARRIVAL_S)
        while True:
            try:
                return Change.decoded(identity, self.backend.read(path, manifest.MAX_MANIFEST))
            except FileNotFoundError:
                return InputError(f"change {identity[:SHORT]} is missing")
            except InputError as error:
                if not waits:
                    return error
                time.sleep(waits.pop(0))

    def change_ids(self, name: str) -> list[str]:
        """Returns the ids of a set's changes.

        Raises:
            StorageError: The place cannot be read, or there are too many.
        """
        files = self.backend.files(f"{SETS}/{name}/changes")
        found = [
            file.removesuffix(".json")
            for file in files
            if file.endswith(".json") and manifest.DIGEST.fullmatch(file.removesuffix(".json"))
        ]
        if len(found) > manifest.MAX_CHANGES:
            raise StorageError(
                f"The data set {name} has {len(found):,} changes; {manifest.MAX_CHANGES:,} are "
                "read at most. Merge it into a new one."
            )
        return found

    def _current(self, name: str) -> DataSet | None:
        identities = self.change_ids(name)
        if not identities:
            if self.backend.files(f"{SETS}/{name}/versions"):
                raise StorageError(
                    f"Nothing of the data set {name} can be read: its changes are gone. "
                    f"`donkey-rl data verify {name}` says more."
                )
            return None
        changes, wrong = self.read_changes(name, identities)
        problems = [
            f"{name}: {each}; the files that it brought are not shown" for each in wrong.values()
        ]
        if not changes:
            raise StorageError(f"Nothing of the data set {name} can be read: {problems[0]}.")
        return dataset.united(name, changes, problems)

    def _older(self, current: DataSet, version: str) -> DataSet:
        """Returns the version that begins with some digits."""
        known = sorted(
            file.removesuffix(".json")
            for file in self.backend.files(f"{SETS}/{current.name}/versions")
            if file.endswith(".json")
        )
        matching = [each for each in known if each.startswith(version)]
        if len(version) < _SHORTEST or len(matching) != 1:
            raise UnknownNameError(
                f"version of {current.name}",
                manifest.shown(version),
                [each[:SHORT] for each in known],
                remedy=f"Name {_SHORTEST} or more of its digits; `data show` lists them.",
            )
        path = f"{SETS}/{current.name}/versions/{matching[0]}.json"
        card = self.backend.read(path, manifest.MAX_MANIFEST)
        identities = dataset.changes_of(card, matching[0])
        if missing := [each for each in identities if each not in current.changes]:
            raise StorageError(
                f"{current.name}@{matching[0][:SHORT]} cannot be had: change "
                f"{missing[0][:SHORT]} is missing or damaged. `data verify` says more."
            )
        return dataset.united(current.name, {each: current.changes[each] for each in identities})

    def _change(
        self,
        note: Note,
        *,
        entries: Iterable[Entry] = (),
        parts: Mapping[str, Part] | None = None,
        sources: Iterable[str] = (),
    ) -> Change:
        given = {
            **note.model_dump(),
            "created": manifest.now(),
            "entries": tuple(entries),
            "parts": dict(parts or {}),
            "sources": tuple(sources),
        }
        if (files := len(given["entries"])) > manifest.MAX_FILES:
            raise InputError(
                f"One change of a data set has at most {manifest.MAX_FILES:,} files. Received: "
                f"{files:,}. Merge fewer sets at a time."
            )
        return configuration.validate(Change, given)


def _name_or_none(name: str) -> str | None:
    try:
        return manifest.check_name(name)
    except InputError:
        return None
