"""Transfers that go wrong: killed, cut off, damaged, too large, and two at the same time."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import file_locks
from donkey_rl.experiments.data import backends, checking, manifest, transfers
from donkey_rl.experiments.data.fsspec_backend import FsspecBackend
from donkey_rl.experiments.data.manifest import Entry
from donkey_rl.experiments.data.store import Store, open_store
from donkey_rl.experiments.data.transfers import Counter
from tests import data_sets
from tests.data_sets import pull, push, quiet, races


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "store"


@pytest.fixture
def store(place: pathlib.Path) -> Store:
    return open_store(str(place))


class _Slow(FsspecBackend):
    """A place that hands out bytes slowly, or not to the end, and counts them."""

    ends_after = 1 << 60
    handed_out = 0

    def chunks(self, path: str, offset: int = 0) -> Iterator[bytes]:
        for chunk in super().chunks(path, offset):
            for first in range(0, len(chunk), 1000):
                piece = chunk[first : first + 1000]
                if self.handed_out + len(piece) > self.ends_after:
                    return
                self.handed_out += len(piece)
                yield piece


def written(place: pathlib.Path, content: bytes) -> Entry:
    """Puts bytes among a store's objects, by their hash."""
    digest = hashlib.sha256(content).hexdigest()
    file = place / transfers.object_path(digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Entry(path="file", sha256=digest, bytes=len(content))


def test_a_file_that_was_cut_off_goes_on_where_it_ended(tmp_path: pathlib.Path) -> None:
    content = os.urandom(10_500)
    entry = written(tmp_path / "store", content)
    backend = _Slow(str(tmp_path / "store"))
    backend.ends_after = 4_000
    target = tmp_path / "file"
    with pytest.raises(backends.TransferError, match="ended early"):
        transfers.fetch(backend, entry, target, Counter())
    assert not target.exists()
    assert (tmp_path / ".file.part").read_bytes() == content[:4_000]
    backend.ends_after = 1 << 60
    transfers.fetch(backend, entry, target, Counter())
    assert target.read_bytes() == content
    # Each byte came once.
    assert backend.handed_out == 10_500
    assert not (tmp_path / ".file.part").exists()


def test_what_is_left_of_another_file_is_no_harm(tmp_path: pathlib.Path) -> None:
    content = os.urandom(5_000)
    entry = written(tmp_path / "store", content)
    for left in (b"other bytes", content[:3_000] + b"!", os.urandom(5_000), os.urandom(9_000)):
        (tmp_path / ".file.part").write_bytes(left)
        transfers.fetch(_Slow(str(tmp_path / "store")), entry, tmp_path / "file", Counter())
        assert (tmp_path / "file").read_bytes() == content
        (tmp_path / "file").unlink()
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / ".file.part").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="could not be written"):
        transfers.fetch(_Slow(str(tmp_path / "store")), entry, tmp_path / "file", Counter())
    assert (tmp_path / "precious").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-5]), "is cut off"),
        (lambda file: file.write_bytes(file.read_bytes()[:-5] + b"other"), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes() + b"more"), "has more bytes"),
        (lambda file: file.unlink(), "is missing"),
    ],
)
def test_damage_in_the_store_is_named_kept_from_the_rest_and_mended(
    store: Store,
    place: pathlib.Path,
    tmp_path: pathlib.Path,
    damage: Callable[[pathlib.Path], object],
    said: str,
) -> None:
    here = races(tmp_path / "races", [0, 1, 2])
    push(store, here)
    whole = open_store(str(tmp_path / "other"))
    push(whole, here)
    found = store.dataset("evenings")
    damage(place / transfers.object_path(found.files[1].sha256))
    report = pull(store, tmp_path / "there")
    (problem,) = report.problems
    assert problem.startswith("race_01.parquet")
    assert said in problem
    assert [file.name for file in report.races] == ["race_00.parquet", "race_02.parquet"]
    assert not (tmp_path / "there" / "race_01.parquet").exists()
    verdict = checking.verify(store, [], None, quiet())
    assert len(verdict.problems) == 1
    assert "evenings: race_01.parquet" in verdict.problems[0]
    mended = checking.verify(store, ["evenings"], whole, quiet())
    assert mended.problems == ()
    assert mended.repaired == verdict.problems
    assert checking.verify(store, [], None, quiet()).problems == ()
    assert pull(store, tmp_path / "there").problems == ()


def test_a_lost_change_is_found_by_the_cards_and_mended(
    store: Store, place: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    push(store, races(tmp_path / "a", [0]))
    push(store, races(tmp_path / "b", [1]))
    whole = store.dataset("evenings")
    other = open_store(str(tmp_path / "other"))
    for change in whole.changes.values():
        other.record("evenings", change)
    lost = list(whole.changes)[1]
    (place / "sets" / "evenings" / "changes" / f"{lost}.json").unlink()
    verdict = checking.verify(store, ["evenings"], None, quiet())
    assert verdict.problems == (f"evenings: change {lost[:12]} is missing",)
    assert checking.verify(store, [], other, quiet()).repaired == verdict.problems
    assert store.dataset("evenings") == whole


def planted(place: pathlib.Path, change: str) -> None:
    """Writes a change as somebody might who means harm."""
    digest = hashlib.sha256(change.encode()).hexdigest()
    folder = place / "sets" / "evil" / "changes"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{digest}.json").write_text(change)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", "../../outside"),
        ("path", "/tmp/outside"),
        ("bytes", 1 << 50),
        ("bytes", -1),
        ("sha256", "../../../etc/passwd"),
        ("kind", "race"),
    ],
)
def test_a_manifest_that_claims_too_much_writes_nothing(
    store: Store,
    place: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    value: object,
) -> None:
    monkeypatch.setattr("donkey_rl.experiments.data.store._ARRIVAL_S", ())
    entry = {"path": "file", "bytes": 1, "sha256": "0" * 64} | {field: value}
    planted(
        place,
        json.dumps({"format": 1, "created": "2026-11-28T10:00:00Z", "entries": [entry]}),
    )
    with pytest.raises(StorageError, match="does not fit at entries"):
        store.pull("evil", tmp_path / "there", quiet())
    assert not (tmp_path / "there").exists()


def test_what_the_disk_cannot_hold_is_not_begun(
    store: Store, place: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [{"path": f"file{n}", "bytes": 4 << 30, "sha256": f"{n:064x}"} for n in range(3)]
    planted(
        place, json.dumps({"format": 1, "created": "2026-11-28T10:00:00Z", "entries": entries})
    )
    usage = shutil.disk_usage(tmp_path)._replace(free=10 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    # 3 times 4 GiB are 12,884.9 MB, 10 GiB are 10,737.4 MB.
    with pytest.raises(StorageError, match=r"12,884.9 MB do not fit into .* 10,737.4 MB are free"):
        store.pull("evil", tmp_path / "there", quiet())
    assert list((tmp_path / "there").iterdir()) == [tmp_path / "there" / ".lock"]
    # What an earlier pull has left does not have to come again.
    with (tmp_path / "there" / ".file0.part").open("wb") as begun:
        begun.truncate(3 << 30)
    found = store.dataset("evil").files
    assert transfers.missing_bytes(tmp_path / "there", found) == 9 << 30


def test_a_change_that_is_too_large_is_not_read(
    store: Store, place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "MAX_MANIFEST", 1000)
    monkeypatch.setattr("donkey_rl.experiments.data.store._ARRIVAL_S", ())
    planted(place, " " * 1001)
    with pytest.raises(StorageError, match="has more than 1000 bytes"):
        store.dataset("evil")


def test_other_files_and_links_in_the_folder_are_left_alone(
    store: Store, tmp_path: pathlib.Path
) -> None:
    here = races(tmp_path / "races", [0])
    (here / "deep").mkdir()
    (here / "deep" / "notes.txt").write_text("notes")
    push(store, here)
    there = tmp_path / "there"
    there.mkdir()
    (there / "race_00.parquet").write_bytes(b"my own")
    (there / "other").write_bytes(b"mine")
    report = pull(store, there)
    assert "lies there with other bytes, and was left alone" in report.problems[0]
    assert (there / "race_00.parquet").read_bytes() == b"my own"
    assert (there / "other").read_bytes() == b"mine"
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "deep").symlink_to(outside)
    with pytest.raises(InputError, match="leads out of"):
        pull(store, tmp_path / "trap")
    assert list(outside.iterdir()) == []


def test_a_full_disk_says_what_was_kept(
    store: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = races(tmp_path / "races", [0, 1, 2, 3, 4, 5])
    real, sent = FsspecBackend.upload, []

    def upload(self: FsspecBackend, source: pathlib.Path, path: str, sha256: str) -> None:
        if len(sent) == 2:
            with backends.guard(self.shown, f"The data store {self.shown} cannot be written"):
                raise OSError(28, "No space left on device")
        sent.append(path)
        real(self, source, path, sha256)

    monkeypatch.setattr(FsspecBackend, "upload", upload)
    monkeypatch.setattr(transfers, "AT_ONCE", 1)
    with pytest.raises(StorageError, match=r"No space left on device. 2 of 6 files are in"):
        push(store, here)
    assert store.names() == []
    monkeypatch.setattr(FsspecBackend, "upload", real)
    report = push(store, here)
    size = sum(file.stat().st_size for file in here.iterdir())
    already = sum((here / f"race_0{n}.parquet").stat().st_size for n in (0, 1))
    assert report.sent_bytes == size - already


def test_two_processes_that_push_at_once_lose_nothing(tmp_path: pathlib.Path) -> None:
    folders = [races(tmp_path / name, range(k, k + 12)) for k, name in ((0, "a"), (8, "b"))]
    words = ("--name", "evenings", "--store", str(tmp_path / "store"), "--json")
    running = [
        data_sets.started("data", "push", str(folder), *words, cwd=tmp_path) for folder in folders
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["name"] == "evenings"
    store = open_store(str(tmp_path / "store"))
    assert len(store.dataset("evenings").races) == 20
    assert checking.verify(store, [], None, quiet()).problems == ()
    pull(store, tmp_path / "there")
    both = {*data_sets.contents(folders[0]), *data_sets.contents(folders[1])}
    assert data_sets.contents(tmp_path / "there") == sorted(both)


def test_a_push_and_a_pull_that_are_killed_go_on(tmp_path: pathlib.Path) -> None:
    here, there, place = (
        races(tmp_path / "races", range(10)),
        tmp_path / "there",
        tmp_path / "store",
    )
    at = ("--store", str(place))
    data_sets.killed("data", "push", str(here), "--name", "evenings", *at, cwd=tmp_path)
    arrived = [file.stat().st_size for file in (place / "objects").glob("*/*")]
    assert len(arrived) == 3
    assert list((place / "incoming").iterdir()) != []
    store = open_store(str(place))
    assert store.names() == []
    report = push(store, here)
    assert report.sent_bytes == sum(map(len, data_sets.contents(here))) - sum(arrived)
    assert checking.verify(store, [], None, quiet()).problems == ()
    assert checking.verify(store, [], None, quiet()).unfinished >= 1

    data_sets.killed("data", "pull", "evenings", *at, "--out", str(there), cwd=tmp_path)
    assert len(data_sets.contents(there)) == 3
    parts = list(there.glob(".*.part"))
    assert any(part.stat().st_size > 1000 for part in parts)
    pulled = pull(store, there)
    assert pulled.already_there == 3
    assert data_sets.contents(there) == data_sets.contents(here)
    assert list(there.glob(".*.part")) == []


def test_a_second_pull_into_a_folder_waits_for_the_first(
    store: Store, tmp_path: pathlib.Path
) -> None:
    push(store, races(tmp_path / "races", [0]))
    there = tmp_path / "there"
    there.mkdir()
    words = ("data", "pull", "evenings", "--store", str(tmp_path / "store"), "--out", str(there))
    with (there / ".lock").open("a+") as file:
        assert file_locks.take(file.fileno())
        process = data_sets.started(*words, cwd=tmp_path)
        assert process.stderr is not None
        line = process.stderr.readline()
    assert "waiting: another process fetches into" in line
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert data_sets.contents(there) == data_sets.contents(tmp_path / "races")


def test_threads_stop_when_one_of_them_cannot_go_on() -> None:
    counter, ended = Counter(), []

    def work(number: int) -> None:
        if number == 0:
            raise StorageError("the store is gone")
        until = time.monotonic() + 60.0
        while time.monotonic() < until:
            time.sleep(0.01)
            counter.add(1)
        ended.append(number)

    with pytest.raises(StorageError, match="the store is gone"):
        list(transfers.in_parallel(work, range(100), counter, lambda _: None))
    assert ended == []
