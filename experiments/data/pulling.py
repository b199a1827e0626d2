"""Data sets on their way out of a store into a folder."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Iterator

from donkey_rl.agents import folders
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import file_locks
from donkey_rl.experiments.data import cards, manifest, transfers
from donkey_rl.experiments.data.backends import Backend
from donkey_rl.experiments.data.dataset import SHORT, DataSet
from donkey_rl.experiments.data.description import CARDS
from donkey_rl.experiments.data.manifest import Entry, Part
from donkey_rl.experiments.data.transfers import Counter, DamagedError
from donkey_rl.experiments.progress import ProgressDisplay

PLACE = "pulled"
"""Folder of all that is pulled, below the current one."""

_LOCK = ".lock"
_LOOK_S = 0.2


class PullReport(Config):
    """What a pull did.

    Attributes:
        name: Of the set.
        version: Which version.
        part: Of its split, None for all.
        folder: Where the files are.
        files: How many belong there.
        races: Race records among those that are there.
        pictured: Those of them with pictures.
        fetched_bytes: What was fetched.
        already_there: Files that were there before.
        problems: What is not as it should be, in sentences.
        is_damaged: Whether some of that is in the store: `data verify` says more of it.
    """

    name: str
    version: str
    part: Part | None
    folder: pathlib.Path
    files: int
    races: tuple[pathlib.Path, ...]
    pictured: tuple[pathlib.Path, ...]
    fetched_bytes: int
    already_there: int
    problems: tuple[str, ...]
    is_damaged: bool


class InTheWayError(DamagedError):
    """Another file lies where one is to be fetched."""


def place_of(found: DataSet, part: Part | None) -> pathlib.Path:
    """Returns where a version is pulled to if nothing else is said."""
    return pathlib.Path(PLACE) / "-".join(
        (found.name, found.version[:SHORT], *([part] if part else []))
    )


def fetch(
    backend: Backend,
    found: DataSet,
    part: Part | None,
    folder: pathlib.Path | None,
    progress: ProgressDisplay,
) -> PullReport:
    """Fetches a version into a folder; see `store.Store.pull`."""
    entries = found.files if part is None else found.part(part)
    if part is not None and not entries:
        raise InputError(
            f"{found.label} has no race in the part '{part}'. Split it first: "
            f"donkey-rl data split {found.name}."
        )
    place = folder or place_of(found, part)
    if place.exists() and not place.is_dir():
        raise InputError(f"A data set is pulled into a folder. Received: {place}, a file.")
    unfit = [entry for entry in entries if not manifest.fits(entry.path, anywhere=False)]
    entries = tuple(entry for entry in entries if entry not in unfit)
    with _locked(place, progress):
        transfers.check_space(place, transfers.missing_bytes(place, entries))
        here = {entry: transfers.target_of(place, entry) for entry in entries}
        fetched, failed = _fetch(backend, here, place, progress)
        _write_card(found, place)
    kept = [entry for entry in entries if entry not in failed]
    return PullReport(
        name=found.name,
        version=found.version,
        part=part,
        folder=place,
        files=len(entries) + len(unfit),
        races=tuple(here[entry] for entry in kept if entry.facts is not None),
        pictured=tuple(here[entry] for entry in kept if entry.facts and entry.facts.frames),
        fetched_bytes=transfers.bytes_of(fetched),
        already_there=len(kept) - len(fetched),
        problems=(
            *found.problems,
            *(f"{each.path[:80]} has a name that this system cannot hold" for each in unfit),
            *map(str, failed.values()),
        ),
        is_damaged=bool(found.problems)
        or any(not isinstance(error, InTheWayError) for error in failed.values()),
    )


def _fetch(
    backend: Backend,
    here: dict[Entry, pathlib.Path],
    place: pathlib.Path,
    progress: ProgressDisplay,
) -> tuple[list[Entry], dict[Entry, DamagedError]]:
    """Fetches what is missing; returns what came, and what did not as it should."""
    counter = Counter()

    def work(entry: Entry) -> bool:
        target = here[entry]
        counter.add(0)
        if target.exists():
            if not transfers.same(target, entry):
                raise InTheWayError(
                    f"{target} lies there with other bytes, and was left alone: move it away, and "
                    "pull again"
                )
            counter.add(entry.bytes)
            return False
        transfers.fetch(backend, entry, target, counter)
        return True

    fetched, failed, done = [], {}, 0
    total = transfers.bytes_of(tuple(here))
    with progress.phase(transfers.phase_name("fetching", len(here)), total, "bytes") as phase:
        try:
            for entry, result in transfers.in_parallel(work, tuple(here), counter, phase.update):
                if isinstance(result, DamagedError):
                    failed[entry] = result
                    continue
                done += 1
                if result:
                    fetched.append(entry)
        except StorageError as error:
            raise StorageError(
                f"{error} {done:,} of {len(here):,} files are whole in {place}: pull again, and "
                "it goes on from there."
            ) from error
        phase.update(counter.bytes)
    return fetched, failed


def _write_card(found: DataSet, place: pathlib.Path) -> None:
    card = cards.card(found)
    texts = (cards.markdown(card), card.model_dump_json(indent=1))
    with folders.writing(place):
        for ending, text in zip(CARDS, texts, strict=True):
            (place / f"{found.name}{ending}").write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _locked(place: pathlib.Path, progress: ProgressDisplay) -> Iterator[None]:
    """Keeps a folder for this process; another that fetches into it is waited for."""
    with contextlib.ExitStack() as opened:
        with folders.writing(place):
            place.mkdir(parents=True, exist_ok=True)
            file = opened.enter_context((place / _LOCK).open("a+b"))
        waiting = False
        while True:
            with folders.writing(place):
                taken = file_locks.take(file.fileno())
            if taken:
                break
            if not waiting:
                progress.message(f"waiting: another process fetches into {place}")
            waiting = True
            time.sleep(_LOOK_S)
        yield
