"""Whether a store is what its manifests say, byte by byte, and mending it from another store."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Sequence

from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError, InputError, StorageError
from donkey_rl.experiments.data import cards, manifest, transfers
from donkey_rl.experiments.data.backends import Backend
from donkey_rl.experiments.data.dataset import SHORT, DataSet
from donkey_rl.experiments.data.fsspec_backend import INCOMING
from donkey_rl.experiments.data.manifest import Change, Entry
from donkey_rl.experiments.data.store import Store
from donkey_rl.experiments.data.transfers import Counter, DamagedError, object_path
from donkey_rl.experiments.progress import ProgressDisplay


class VerifyReport(Config):
    """What was found in a store.

    Attributes:
        store: Its address, without passwords.
        names: Sets that were looked at.
        files: Files that were read, each once.
        bytes: Their size.
        problems: What is damaged or missing and stays so, in sentences.
        repaired: What was, and is whole again.
        unfinished: Files of pushes that were cut off, or are going on.
    """

    store: str
    names: tuple[str, ...]
    files: int
    bytes: int
    problems: tuple[str, ...]
    repaired: tuple[str, ...]
    unfinished: int


def verify(
    store: Store, names: Sequence[str], repair: Store | None, progress: ProgressDisplay
) -> VerifyReport:
    """Reads every file of some data sets and compares it with its hash.

    Args:
        store: Where.
        names: Of the sets; all by default.
        repair: A store to take whole files from; nothing is changed without.
        progress: Shows how far it is.

    Raises:
        UnknownNameError: No such set.
        StorageError: The store cannot be read.
    """
    chosen = tuple(names) or tuple(store.names())
    problems: list[str] = []
    repaired: list[str] = []
    entries: dict[str, tuple[Entry, str]] = {}
    for name in chosen:
        for problem, mended in _manifests(store, name, repair):
            (repaired if mended else problems).append(problem)
        try:
            found: DataSet = store.dataset(name)
        except StorageError:
            continue
        for entry in found.files:
            entries.setdefault(entry.sha256, (entry, name))
    for problem, mended in _objects(store.backend, entries, repair, progress):
        (repaired if mended else problems).append(problem)
    return VerifyReport(
        store=store.shown,
        names=chosen,
        files=len(entries),
        bytes=transfers.bytes_of([entry for entry, _ in entries.values()]),
        problems=tuple(problems),
        repaired=tuple(repaired),
        unfinished=len(store.backend.files(INCOMING)),
    )


def _manifests(store: Store, name: str, repair: Store | None) -> list[tuple[str, bool]]:
    """Returns what is wrong with the changes of a set, and whether it was mended."""
    present = store.change_ids(name)
    wanted = set(present) | _named_by_cards(store.backend, name)
    if not wanted:
        store.dataset(name)
    changes, found = store.read_changes(name, present)
    outcome = _cards(store.backend, name, repair)
    for identity in sorted(wanted - changes.keys()):
        problem = f"{name}: {found.get(identity, f'change {identity[:SHORT]} is missing')}"
        outcome.append((problem, _mend_change(store.backend, name, identity, repair)))
    return outcome


def _cards(backend: Backend, name: str, repair: Store | None) -> list[tuple[str, bool]]:
    """Returns which versions cannot be told any more, and whether that was mended."""
    folder, outcome = f"sets/{name}/versions", []
    for file in sorted(backend.files(folder)):
        version = file.removesuffix(".json")
        if file == version or not manifest.DIGEST.fullmatch(version):
            continue
        path = f"{folder}/{file}"
        if cards.stored(backend, name, version) is not None:
            continue
        whole = None if repair is None else cards.stored(repair.backend, name, version)
        if whole is not None:
            backend.write(path, whole)
        problem = f"{name}: the card of version {version[:SHORT]} is damaged"
        outcome.append((problem, whole is not None))
    return outcome


def _named_by_cards(backend: Backend, name: str) -> set[str]:
    """Returns the changes that the cards of a set name, as far as they are whole."""
    import json

    folder, found = f"sets/{name}/versions", set()
    for file in backend.files(folder):
        if not file.endswith(".json"):
            continue
        try:
            card = json.loads(backend.read(f"{folder}/{file}", manifest.MAX_MANIFEST))
            found |= {each for each in card["changes"] if manifest.DIGEST.fullmatch(each)}
        except (InputError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return found


def _mend_change(backend: Backend, name: str, identity: str, repair: Store | None) -> bool:
    if repair is None:
        return False
    path = f"sets/{name}/changes/{identity}.json"
    try:
        content = repair.backend.read(path, manifest.MAX_MANIFEST)
        Change.decoded(identity, content)
    except (InputError, FileNotFoundError):
        return False
    backend.write(path, content)
    return True


def _objects(
    backend: Backend,
    entries: dict[str, tuple[Entry, str]],
    repair: Store | None,
    progress: ProgressDisplay,
) -> list[tuple[str, bool]]:
    """Returns what is wrong with the files of a store, and whether it was mended."""
    counter = Counter()
    outcome = []

    def work(entry: Entry) -> None:
        transfers.read_back(backend, entry, counter.add)

    everything = [entry for entry, _ in entries.values()]
    total = transfers.bytes_of(everything)
    with progress.phase(transfers.phase_name("reading", len(everything)), total, "bytes") as phase:
        for entry, result in transfers.in_parallel(work, everything, counter, phase.update):
            if isinstance(result, DamagedError):
                problem = f"{entries[entry.sha256][1]}: {result}"
                outcome.append((problem, _mend_object(backend, entry, repair)))
        phase.update(counter.bytes)
    return outcome


def _mend_object(backend: Backend, entry: Entry, repair: Store | None) -> bool:
    if repair is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / entry.sha256
        try:
            transfers.fetch(repair.backend, entry, source, Counter())
        except DamagedError:
            return False
        except DonkeyRLError as error:
            raise StorageError(f"{error}. What was mended before stays mended.") from error
        backend.upload(source, object_path(entry.sha256), entry.sha256)
    return True
