"""The races of a run's evaluations, read back from the store.

Races are of one *course* where their scores may be compared: the same track, car, simulator and
version of it, the same number of laps, and the same conditions.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from donkey_rl.agents import manifest
from donkey_rl.errors import DonkeyRLError, InputError, UnknownNameError
from donkey_rl.experiments import mlflow_store, model_registry, stored_runs
from donkey_rl.experiments.driver_model import MODEL_TAG
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics.race import Race, RaceHeader

MAX_FILES = 10_000
"""Race records read of one run at most."""

MAX_BYTES = 1 << 28
"""Size of a record at most: many times that of a race with its frames."""

_FOLDER = re.compile(r"evaluation(-[A-Za-z0-9_.-]+)?")
_TRAINING_FOLDER = "evaluation"
_RECORD = re.compile(r"race_\d+\.parquet")


@dataclasses.dataclass(frozen=True, order=True)
class Course:
    """What races must have in common for their scores to be compared.

    Attributes:
        track: Name of the track.
        vehicle: Name of the car, which is its generation.
        simulator: The simulator driven, empty where it is not known.
        version: Version of the simulator; of the embedded one, that of this package.
        laps: Laps of a race.
        conditions: What was changed on purpose, such as an added latency; empty for nothing.
        track_digest: SHA-256 of the track's geometry, empty where it is not known.
    """

    track: str
    vehicle: str
    simulator: str
    version: str
    laps: int
    conditions: str = ""
    track_digest: str = ""

    @classmethod
    def of(cls, header: RaceHeader) -> Course:
        """Returns the course of a race."""
        changed = sorted(header.conditions.items())
        return cls(
            track=header.track,
            vehicle=header.vehicle,
            simulator=header.simulator,
            version=header.simulator_version or header.version,
            laps=header.laps,
            conditions=", ".join(f"{name}={value}" for name, value in changed),
            track_digest=header.track_digest,
        )

    def __str__(self) -> str:
        """Returns the course in words."""
        simulator = self.simulator or "a simulator not recorded"
        laps = "1 lap" if self.laps == 1 else f"{self.laps} laps"
        words = (self.track, self.vehicle, f"{simulator} {self.version}".rstrip(), laps)
        return ", ".join(word for word in (*words, self.conditions) if word)


@dataclasses.dataclass(frozen=True)
class RaceFile:
    """A race record in a run.

    Attributes:
        path: Folder and name inside the run.
        size: Its size (bytes).
    """

    path: str
    size: int


@dataclasses.dataclass(frozen=True)
class StoredRaces:
    """The races of a run, all of one driver.

    Attributes:
        courses: By course the races by seed.
        problems: One line for each record that was left out, with its reason.
    """

    courses: dict[Course, dict[int, Race]]
    problems: tuple[str, ...] = ()

    @property
    def driver_hash(self) -> str:
        """SHA-256 of the driver, empty without a race."""
        races = (race for each in self.courses.values() for race in each.values())
        return next((race.header.driver_hash for race in races), "")


def files(run: StoredRun, *, uri: str | None = None) -> tuple[RaceFile, ...]:
    """Returns the race records of a run's evaluations, by folder and name.

    Args:
        run: The run.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: If the run's files cannot be listed.
    """
    found: list[RaceFile] = []
    for folder, is_folder, _ in _list(run, "", uri):
        if is_folder and _FOLDER.fullmatch(folder):
            found += [
                RaceFile(f"{folder}/{name}", size)
                for name, is_folder, size in _list(run, folder, uri)
                if not is_folder and _RECORD.fullmatch(name)
            ]
    return tuple(sorted(found, key=lambda each: each.path.split("/")))


def read(
    run: StoredRun,
    records: Sequence[RaceFile] | None = None,
    *,
    driver: str = "",
    uri: str | None = None,
) -> StoredRaces:
    """Reads the races of a run's evaluations.

    A record that is damaged or too large is left out and named. A run that was resumed may hold
    races of its earlier driver as well: those that count are of the driver that is stored, or
    where that cannot be told of the one that the end of its training raced last, or else of the
    one with the most races. Of two races of one course and seed the one in the first folder by
    name counts.

    Args:
        run: The run.
        records: What `files` returned, if it was asked already.
        driver: Hash of the driver whose races are wanted, in place of those that count.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: If the run's files cannot be listed.
    """
    listed = list(files(run, uri=uri) if records is None else records)
    problems = []
    if len(listed) > MAX_FILES:
        problems.append(f"only {MAX_FILES:,} of {len(listed):,} records were read")
    loaded: list[tuple[str, Race]] = []
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as temporary:
        for each in listed[:MAX_FILES]:
            try:
                loaded.append((each.path, _load(run, each, pathlib.Path(temporary), uri)))
            except DonkeyRLError as error:
                problems.append(f"{each.path} was left out: {error}")
    if not driver:
        driver = _driver_that_counts(loaded)
        sure = any(path.rpartition("/")[0] == _TRAINING_FOLDER for path, _ in loaded)
        sure = sure and all(race.header.driver_hash == driver for _, race in loaded)
        if loaded and MODEL_TAG in run.tags and not sure:
            driver = stored_driver(run, uri=uri) or driver
    courses: dict[Course, dict[int, Race]] = {}
    earlier = 0
    for _, race in loaded:
        if race.header.driver_hash == driver:
            courses.setdefault(Course.of(race.header), {}).setdefault(race.header.seed, race)
        else:
            earlier += 1
    if earlier:
        problems.append(f"{earlier} races of another driver of this run were left out")
    return StoredRaces(courses, tuple(f"run {run.id[:8]}: {problem}" for problem in problems))


def stored_driver(run: StoredRun, *, uri: str | None = None) -> str:
    """Returns the hash of a run's driver, empty where it cannot be read."""
    try:
        return manifest.read(stored_runs.download_driver(run, uri=uri)).hash
    except DonkeyRLError:
        return ""


def is_own(reference: str, run_id: str, driver_hash: str) -> bool:
    """Whether a driver is the one that its run's races are of; a model may be an earlier one.

    Args:
        reference: How it was named, as in `drivers.load`.
        run_id: Its run.
        driver_hash: Its hash.

    Raises:
        InputError: Its run was deleted.
        StorageError: The store cannot be read.
    """
    if not reference.startswith(model_registry.SCHEME):
        return True
    try:
        return stored_driver(stored_runs.find(run_id)) == driver_hash
    except UnknownNameError:
        raise InputError(
            f"The run of '{reference}', {run_id[:8]}, was deleted: its races have no place. "
            f"Restore it: mlflow runs restore --run-id {run_id}. Or name the driver's folder."
        ) from None


def _driver_that_counts(loaded: Iterable[tuple[str, Race]]) -> str:
    """Returns the hash of the driver whose races are the run's."""
    hashes = [(path.rpartition("/")[0], race.header.driver_hash) for path, race in loaded]
    for folder, found in hashes:
        # Of fewer races than before, the later ones in this folder are left from before.
        if folder == _TRAINING_FOLDER:
            return found
    counted = Counter(found for _, found in hashes).most_common(1)
    return counted[0][0] if counted else ""


def _load(run: StoredRun, record: RaceFile, temporary: pathlib.Path, uri: str | None) -> Race:
    """Reads one record, fetched first where the store is on a server."""
    from mlflow import artifacts

    if record.size > MAX_BYTES:
        raise InputError(
            f"A stored race has at most {MAX_BYTES:,} bytes. Received: {record.size:,}."
        )
    local = urlsplit(run.artifact_uri).scheme in ("", "file")
    with mlflow_store.guard(f"{record.path} of run {run.id} could not be fetched"):
        path = artifacts.download_artifacts(
            artifact_uri=f"{run.artifact_uri}/{record.path}",
            dst_path=None if local else str(temporary),
            tracking_uri=mlflow_store.tracking_uri(uri),
        )
    race = Race.load(path)
    if not local:
        pathlib.Path(path).unlink(missing_ok=True)
    return race


def _list(run: StoredRun, folder: str, uri: str | None) -> list[tuple[str, bool, int]]:
    """Returns name, whether it is a folder, and size of what a run's folder holds."""
    from mlflow import artifacts

    place = f"{run.artifact_uri}/{folder}".rstrip("/")
    with mlflow_store.guard(f"The files of run {run.id} could not be listed"):
        entries = artifacts.list_artifacts(
            artifact_uri=place, tracking_uri=mlflow_store.tracking_uri(uri)
        )
    return [
        (each.path.rpartition("/")[2], bool(each.is_dir), int(each.file_size or 0))
        for each in entries
    ]
