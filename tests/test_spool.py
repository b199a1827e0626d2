"""What runs log, on the disk between a run and its store."""

from __future__ import annotations

import errno
import itertools
import os
import time
import types
import zlib
from pathlib import Path

import pytest

from donkey_rl.errors import StorageError, StoreAwayError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.sealed import DamagedError
from donkey_rl.experiments.spooling import entries, sender, spool
from donkey_rl.experiments.spooling.delivery import Delivery
from donkey_rl.experiments.spooling.entries import AnyEntry, Files, Metrics, Tags
from donkey_rl.experiments.spooling.spool import About, Spool

ABOUT = About(run_id="ab" * 16, experiment_id="1", store="http://127.0.0.1:5000")


class Store(Delivery):
    """Takes entries until it is told to be away, and refuses some tags."""

    def __init__(self) -> None:
        self.taken: list[AnyEntry] = []
        self.away = False

    def send(self, found: object, root: Path) -> None:
        assert isinstance(found, list)
        if self.away:
            raise StoreAwayError("away.")
        for entry in found:
            if isinstance(entry, Metrics) and "refused" in entry.values:
                raise StorageError("refused.")
            if isinstance(entry, Files):
                try:
                    spool.staged(root, entry)
                except DamagedError as error:
                    raise StorageError(str(error)) from error
        self.taken += found


def point(step: int) -> Metrics:
    return Metrics(time_ms=1_000 + step, step=step, values={"a": step / 3.0, "b": float("inf")})


def steps(store: Store) -> list[int]:
    return [entry.step for entry in store.taken if isinstance(entry, Metrics)]


def test_a_line_says_all_of_an_entry_and_that_it_is_whole() -> None:
    line = entries.line(point(7))
    assert entries.entry_of(line) == point(7)
    for damaged in (line[:-1], line[:20] + b"\n", line.replace(b"1007", b"1008"), b"\n"):
        with pytest.raises(DamagedError):
            entries.entry_of(damaged)


def test_entries_are_sent_in_order_and_the_folder_goes(tmp_path: Path) -> None:
    held, store = Spool.create(ABOUT, tmp_path / "runs" / "unsent"), Store()
    for step in range(5):
        held.append(point(step))
    held.append(Tags(values={"k": "v"}))
    held.append(point(5))
    store.away = True
    with pytest.raises(StoreAwayError):
        list(sender.send(held, store))
    assert held.waiting() == 7
    store.away = False
    assert list(sender.send(held, store)) == []
    assert steps(store) == [0, 1, 2, 3, 4, 5]
    assert isinstance(store.taken[5], Tags)
    held.close()
    assert list(tmp_path.iterdir()) == []


def test_another_process_goes_on_where_the_first_was_killed(tmp_path: Path) -> None:
    held, store = Spool.create(ABOUT, tmp_path), Store()
    for step in range(4):
        held.append(point(step))
    first = next(held.lines())
    held.acknowledge(first)
    assert Spool.opened(held.folder) is None, "its writer holds it"
    # What closing leaves behind is what a killed process does.
    held.close()
    with (held.folder / "entries").open("ab") as file:
        file.write(entries.line(point(4))[:25])
    (folder,) = spool.found(tmp_path)
    again = Spool.opened(folder)
    assert again is not None
    assert (again.about, again.waiting()) == (ABOUT, 4)
    (refusal,) = sender.send(again, store)
    assert "damaged" in refusal
    assert steps(store) == [1, 2, 3]
    again.close()
    assert (folder / "refused").read_bytes().startswith(b"# An entry is damaged")


def test_what_a_newer_version_kept_waits_for_it(tmp_path: Path) -> None:
    held, store = Spool.create(ABOUT, tmp_path), Store()
    held.append(point(0))
    later = b'{"kind":"of_next_year"}'
    line = b"%08x %s\n" % (zlib.crc32(later), later)
    held.close()
    with (held.folder / "entries").open("ab") as file:
        file.write(line)
    again = Spool.opened(held.folder)
    assert again is not None
    with pytest.raises(StoreAwayError, match="another version of donkey-rl"):
        list(sender.send(again, store))
    assert (steps(store), again.waiting(), again.refused()) == ([0], 1, 0)
    again.close()
    assert again.folder.exists()


def test_an_entry_that_ctrl_c_cuts_off_costs_no_other(tmp_path: Path) -> None:
    held, store = Spool.create(ABOUT, tmp_path), Store()
    held.append(point(1))
    file = held._file

    class Interrupted:
        """A disk that is slow: the signal comes while it takes a line."""

        def write(self, content: bytes) -> int:
            file.write(content[:10])
            raise KeyboardInterrupt

        def truncate(self, size: int) -> int:
            return file.truncate(size)

    held._file = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        held.append(point(2))
    held._file = file
    held.append(point(3))
    assert list(sender.send(held, store)) == []
    assert steps(store) == [1, 3]
    held.close()


def test_the_end_gives_a_store_that_is_back_the_time_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = {"monotonic": lambda: now[0], "sleep": sleep, "thread_time": time.thread_time}
    monkeypatch.setattr(sender, "time", types.SimpleNamespace(**clock))

    class Slow(Store):
        """Takes one entry at a time, and is away in between."""

        def send(self, found: object, root: Path) -> None:
            self.away = not self.away
            super().send(found, root)

    store = Slow()
    held = Spool.create(ABOUT, tmp_path)
    for number in range(4):
        held.append(Tags(values={"a": str(number)}))
    sending = sender.Sender(held, store, 0.01)
    # Longer than it may be away, and never for so long without taking anything.
    assert sending.finish(1.2)
    assert now[0] > 1.2
    sending.close()
    held.close()
    assert len(store.taken) == 4


def test_a_changed_line_and_a_refused_point_cost_no_other(tmp_path: Path) -> None:
    held, store = Spool.create(ABOUT, tmp_path), Store()
    for step in range(6):
        held.append(point(step))
        if step == 3:
            held.append(Metrics(time_ms=1, step=99, values={"refused": 1.0}))
    held.close()
    path = held.folder / "entries"
    path.write_bytes(path.read_bytes().replace(b'"step":1,', b'"step":7,'))
    again = Spool.opened(held.folder)
    assert again is not None
    refusals = list(sender.send(again, store))
    assert len(refusals) == again.refused() == 2
    assert steps(store) == [0, 2, 3, 4, 5]
    again.close()
    assert held.folder.exists(), "what was refused is kept"


def test_files_are_sent_as_they_were_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "lap.txt").write_text("12.5 s")
    held, store = Spool.create(ABOUT, tmp_path / "unsent"), Store()
    for _ in range(2):
        place, checks = held.stage(tmp_path / "lap.txt")
        held.append(Files(place=place, checks=checks))
    outside = Files(place="../../lap.txt", checks=checks)
    held.append(outside)
    (tmp_path / "lap.txt").write_text("another")
    (held.folder / place).write_text("other")
    refusals = list(sender.send(held, store))
    assert len(store.taken) == 1
    assert len(refusals) == 2
    assert (held.folder / place).exists(), "what is damaged is kept to be looked at"
    assert len(list((held.folder / "files").iterdir())) == 1
    held.close()


def test_a_long_run_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_RECYCLED", 1_000)
    held, store = Spool.create(ABOUT, tmp_path), Store()
    for step in range(200):
        held.append(point(step))
        list(sender.send(held, store))
        assert (held.folder / "entries").stat().st_size < 2_000
    assert steps(store) == list(range(200))
    held.close()


def test_a_file_that_is_cut_off_meanwhile_ends_the_reading(tmp_path: Path) -> None:
    held = Spool.create(ABOUT, tmp_path)
    for step in range(1_000):
        held.append(point(step))
    reading = held.lines()
    next(reading)
    os.truncate(held.folder / "entries", 0)
    # What was read ahead may still come, but no more.
    assert len(list(itertools.islice(reading, 1_000))) < 500
    held.close()


def test_a_full_disk_leaves_no_half_made_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        Spool.create(ABOUT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_connection_is_no_refusal_though_mlflow_calls_it_a_bad_request() -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST
    from sqlalchemy import exc

    refused = MlflowException("another value", error_code=BAD_REQUEST)
    assert mlflow_store.is_refusal(refused)
    refused.__cause__ = exc.InterfaceError("", {}, Exception("a wrong type"))
    assert mlflow_store.is_refusal(refused)
    for cause in (
        exc.TimeoutError("QueuePool limit"),
        exc.InterfaceError("", {}, Exception("closed"), connection_invalidated=True),
    ):
        refused.__cause__ = cause
        assert not mlflow_store.is_refusal(refused)
