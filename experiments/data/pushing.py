"""Files on their way into a store: which are new, and sending them."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.data import description, transfers
from donkey_rl.experiments.data.backends import Backend, TransferError
from donkey_rl.experiments.data.dataset import DataSet
from donkey_rl.experiments.data.description import Found
from donkey_rl.experiments.data.manifest import Entry
from donkey_rl.experiments.data.transfers import Counter, DamagedError, object_path
from donkey_rl.experiments.progress import ProgressDisplay


class PushReport(Config):
    """What a push did.

    Attributes:
        store: Address of the store, without passwords.
        name: Of the set.
        version: Of the set afterwards.
        is_new: Whether the set was made by this push.
        added: Files that came.
        already_there: Files that the set had.
        races: Races of the set afterwards.
        mended: Files that the set had and the store had lost or damaged, as far as was checked.
        sent_bytes: What was sent; less than the files where the store had them.
        left_out: What was not pushed, and why.
    """

    store: str
    name: str
    version: str
    is_new: bool
    added: int
    already_there: int
    mended: int
    races: int
    sent_bytes: int
    left_out: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Sent:
    """What a push has sent.

    Attributes:
        entries: Files that are new to the set; their bytes are in the store.
        already_there: Files that the set had.
        mended: Those of them that were damaged in the store, and sent again.
        sent_bytes: What was sent.
        left_out: What was not sent, and why.
    """

    entries: tuple[Entry, ...]
    already_there: int
    mended: int
    sent_bytes: int
    left_out: tuple[str, ...]

    def report(self, before: DataSet | None, after: DataSet, store: str) -> PushReport:
        """Returns what to tell."""
        return PushReport(
            store=store,
            name=after.name,
            version=after.version,
            is_new=before is None,
            added=len(self.entries),
            already_there=self.already_there,
            mended=self.mended,
            races=len(after.races),
            sent_bytes=self.sent_bytes,
            left_out=(*self.left_out, *after.problems),
        )


def send(
    backend: Backend,
    places: Sequence[pathlib.Path],
    before: DataSet | None,
    progress: ProgressDisplay,
    *,
    check: bool = False,
) -> Sent:
    """Sends the files at some places, as far as a set does not have them.

    Args:
        backend: The store.
        places: Files, and folders with all that they hold.
        before: The set, None where it is new.
        progress: Shows how far it is.
        check: Whether files that the set has are read back, and sent again if damaged.

    Raises:
        InputError: There is nothing to push.
        StorageError: The store cannot be written.
    """
    found, left_out = description.find(places)
    new: dict[Entry, Found] = {}
    there: dict[Entry, Found] = {}
    races: set[str] = set()
    already_there = 0
    with progress.phase(transfers.phase_name("reading", len(found)), len(found), "files") as phase:
        for number, each in enumerate(found, start=1):
            try:
                entry = description.describe(each)
            except (InputError, StorageError) as error:
                left_out.append(f"{each.file}: {error}")
                continue
            finally:
                phase.update(number)
            twice = entry.kind == "race" and entry.sha256 in races
            if twice or (before is not None and before.holds(entry)):
                already_there += 1
                if not twice:
                    there[entry] = each
                continue
            races.add(entry.sha256)
            new[entry] = each
    if not new and not already_there:
        reason = left_out[0] if left_out else "no file that is not hidden"
        raise InputError(f"There is nothing to push. Received: {reason}")
    wanted = new | there if check else new
    arrived, failed = _send(backend, wanted, progress)
    left_out += (f"{wanted[entry].file}: {error}" for entry, error in failed.items())
    kept = tuple(entry for entry in new if entry not in failed)
    held = {entry.sha256 for entry in there}
    mended = sum(entry.sha256 in held for entry in arrived)
    sent_bytes = transfers.bytes_of(arrived)
    return Sent(kept, already_there, mended, sent_bytes, tuple(left_out))


def _send(
    backend: Backend, new: dict[Entry, Found], progress: ProgressDisplay
) -> tuple[list[Entry], dict[Entry, DamagedError]]:
    """Sends what the store does not have whole; returns what it sent, and what did not arrive."""
    counter = Counter()

    def work(entry: Entry) -> bool:
        path = object_path(entry.sha256)
        counter.add(0)
        if backend.size(path) == entry.bytes:
            with contextlib.suppress(DamagedError):
                transfers.read_back(backend, entry, lambda _: counter.add(0))
                counter.add(entry.bytes)
                return False
        try:
            backend.upload(new[entry].file, path, entry.sha256)
        except TransferError as error:
            raise DamagedError(str(error)) from error
        except FileNotFoundError as error:
            raise DamagedError("It was gone before it was sent.") from error
        counter.add(entry.bytes)
        return True

    once = {entry.sha256: entry for entry in new}
    total = transfers.bytes_of(tuple(once.values()))
    done, arrived = 0, []
    failed: dict[Entry, DamagedError] = {}
    with progress.phase(transfers.phase_name("sending", len(once)), total, "bytes") as phase:
        try:
            for entry, result in transfers.in_parallel(
                work, tuple(once.values()), counter, phase.update
            ):
                if isinstance(result, DamagedError):
                    failed |= {each: result for each in new if each.sha256 == entry.sha256}
                    continue
                done += 1
                if result:
                    arrived.append(entry)
        except StorageError as error:
            raise StorageError(
                f"{error} {done:,} of {len(once):,} files are in the store, and none is lost: "
                "push again, and only the others are sent."
            ) from error
        phase.update(counter.bytes)
    return arrived, failed
