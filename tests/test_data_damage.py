"""Stores with damaged files, cards, times and names: what is told of them, and how they mend."""

from __future__ import annotations

import hashlib
import pathlib
import sys

import pytest

from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import file_locks
from donkey_rl.experiments.data import checking, reference, transfers
from donkey_rl.experiments.data.store import Store, open_store
from donkey_rl.metrics import race_parts
from tests.data_sets import NOTE, contents, pull, push, quiet, races


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Store:
    return open_store(str(tmp_path / "store"))


def stored(tmp_path: pathlib.Path, file: pathlib.Path) -> pathlib.Path:
    """Returns where the store of a test holds the bytes of a file."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return tmp_path / "store" / transfers.object_path(digest)


def flip(file: pathlib.Path) -> None:
    content = bytearray(file.read_bytes())
    content[100] ^= 255
    file.write_bytes(content)


def test_a_push_that_checks_mends_what_is_damaged(store: Store, tmp_path: pathlib.Path) -> None:
    here = races(tmp_path / "races", range(4))
    push(store, here)
    flipped, cut, gone, _ = (stored(tmp_path, file) for file in sorted(here.iterdir()))
    flip(flipped)
    cut.write_bytes(cut.read_bytes()[:-7])
    gone.unlink()
    assert len(checking.verify(store, [], None, quiet()).problems) == 3
    # Without, a push of ten thousand races would read all of them back.
    assert (push(store, here).mended, push(store, here).sent_bytes) == (0, 0)
    report = store.push([here], "evenings", NOTE, quiet(), check=True)
    assert (report.added, report.already_there, report.mended, report.left_out) == (0, 4, 3, ())
    assert report.sent_bytes == sum(each.stat().st_size for each in (flipped, cut, gone))
    assert checking.verify(store, [], None, quiet()).problems == ()
    assert pull(store, tmp_path / "there").problems == ()
    assert contents(tmp_path / "there") == contents(here)


def test_a_new_set_is_not_built_on_damaged_bytes(store: Store, tmp_path: pathlib.Path) -> None:
    here = races(tmp_path / "races", range(2))
    push(store, here)
    flip(stored(tmp_path, here / "race_00.parquet"))
    report = push(store, here, "others")
    assert (report.added, report.mended) == (2, 0)
    assert report.sent_bytes == (here / "race_00.parquet").stat().st_size
    assert pull(store, tmp_path / "there", "others").problems == ()


def test_a_change_of_a_newer_version_is_not_called_damaged(
    store: Store, tmp_path: pathlib.Path
) -> None:
    push(store, races(tmp_path / "races", range(2)))
    newer = b'{"format": 9}'
    digest = hashlib.sha256(newer).hexdigest()
    folder = tmp_path / "store" / "sets" / "evenings" / "changes"
    (folder / f"{digest}.json").write_bytes(newer)
    (problem,) = checking.verify(store, [], None, quiet()).problems
    assert problem.startswith(f"evenings: change {digest[:12]} does not fit at format")
    assert problem.endswith("it may come from a newer donkey-rl")


def test_a_damaged_card_is_told_and_mended(store: Store, tmp_path: pathlib.Path) -> None:
    here = races(tmp_path / "races", range(2))
    version = push(store, here).version
    backup = open_store(str(tmp_path / "backup"))
    (tmp_path / "backup").parent.mkdir(exist_ok=True)
    import shutil

    shutil.copytree(tmp_path / "store", tmp_path / "backup")
    races(tmp_path / "more", [7])
    push(store, tmp_path / "more")
    card = tmp_path / "store" / "sets" / "evenings" / "versions" / f"{version}.json"
    card.write_bytes(card.read_bytes()[:60])
    problems = checking.verify(store, [], None, quiet()).problems
    assert problems == (f"evenings: the card of version {version[:12]} is damaged",)
    with pytest.raises(StorageError, match="is damaged"):
        store.dataset("evenings", version)
    report = checking.verify(store, [], backup, quiet())
    assert (report.problems, report.repaired) == ((), problems)
    assert len(store.dataset("evenings", version).files) == 2


def test_a_time_out_of_range_hides_no_other_set(store: Store, tmp_path: pathlib.Path) -> None:
    push(store, races(tmp_path / "races", [0]))
    push(store, races(tmp_path / "others", [1]), "others")
    content = b'{"format":1,"created":"9999-12-31T23:59:59-12:00"}'
    change = f"{hashlib.sha256(content).hexdigest()}.json"
    (tmp_path / "store" / "sets" / "evenings" / "changes" / change).write_bytes(content)
    found = store.dataset("evenings")
    assert len(found.files) == 1
    assert len(found.problems) == 1
    assert len(store.dataset("others").files) == 1


@pytest.mark.parametrize("name", [250 * "n" + ".txt", "aux.txt", "COM1"])
def test_a_name_that_some_system_cannot_hold_is_left_out(
    name: str, store: Store, tmp_path: pathlib.Path
) -> None:
    here = races(tmp_path / "races", [0])
    (here / name).write_text("mine")
    report = push(store, here)
    assert report.added == 1
    assert len(report.left_out) == 1
    assert "240 bytes" in report.left_out[0]


def test_a_set_that_holds_such_a_name_is_pulled_without(
    store: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = races(tmp_path / "races", [0])
    (here / (250 * "n" + ".txt")).write_text("mine")
    with monkeypatch.context() as patched:
        patched.setattr("donkey_rl.experiments.data.description.fits", lambda path, **_: True)
        assert push(store, here).added == 2
    report = pull(store, tmp_path / "there")
    assert (report.files, len(report.races)) == (2, 1)
    assert len(report.problems) == 1
    assert "cannot hold" in report.problems[0]


def test_a_name_that_this_system_can_hold_is_pulled(
    store: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = races(tmp_path / "races", [0])
    (here / (245 * "n" + ".txt")).write_text("mine")
    with monkeypatch.context() as patched:
        patched.setattr("donkey_rl.experiments.data.description.fits", lambda path, **_: True)
        assert push(store, here).added == 2
    assert pull(store, tmp_path / "there").problems == ()


def test_a_push_that_checks_mends_the_card(store: Store, tmp_path: pathlib.Path) -> None:
    here = races(tmp_path / "races", [0])
    push(store, here)
    (card,) = (tmp_path / "store").glob("sets/evenings/versions/*.json")
    card.write_text("{}")
    assert checking.verify(store, (), None, quiet()).problems
    push(store, here)
    assert checking.verify(store, (), None, quiet()).problems
    store.push([here], "evenings", NOTE, quiet(), check=True)
    assert not checking.verify(store, (), None, quiet()).problems


def test_a_file_in_the_way_is_not_blamed_on_the_store(
    store: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DONKEY_RL_DATA", str(tmp_path / "store"))
    push(store, races(tmp_path / "races", [0]))
    there = reference.source("data:evenings", quiet())
    flip(there.races[0])
    with pytest.raises(StorageError) as caught:
        reference.source("data:evenings", quiet())
    assert "move it away, and pull again" in str(caught.value)
    assert "verify" not in str(caught.value)
    there.races[0].unlink()
    flip(stored(tmp_path, tmp_path / "races" / "race_00.parquet"))
    with pytest.raises(StorageError, match="data verify evenings"):
        reference.source("data:evenings", quiet())


def test_a_set_is_not_merged_into_itself(store: Store, tmp_path: pathlib.Path) -> None:
    push(store, races(tmp_path / "races", [0]))
    with pytest.raises(InputError, match="cannot be merged into itself"):
        store.merge([("evenings", None)], "evenings", NOTE, quiet())


def test_the_parts_of_a_race_are_no_files_to_push(store: Store, tmp_path: pathlib.Path) -> None:
    parts = race_parts.folder_of(tmp_path / "race.parquet")
    parts.mkdir()
    (parts / race_parts.HEADER).write_text("{}")
    with pytest.raises(InputError, match="still being recorded"):
        push(store, parts)


def test_a_lock_keeps_a_folder_for_one_import(tmp_path: pathlib.Path) -> None:
    from donkey_rl.experiments.data import tub_import
    from donkey_rl.experiments.data.tub import Tub
    from tests import small_tubs

    tub = small_tubs.write(tmp_path / "data", [small_tubs.record(k) for k in range(4)])
    out = tmp_path / "races"
    out.mkdir()
    with (
        file_locks.held(out / ".lock"),
        pytest.raises(InputError, match="Another import writes into"),
    ):
        tub_import.write(Tub(tub), out, quiet())
    assert tub_import.write(Tub(tub), out, quiet()).races == 1
    assert [each.name for each in out.iterdir()] == ["data_00.parquet"]


@pytest.mark.skipif(sys.platform != "linux", reason="others do not tell the two apart")
def test_names_that_some_systems_do_not_tell_apart_are_told(
    store: Store, tmp_path: pathlib.Path
) -> None:
    here = races(tmp_path / "races", [0])
    (here / "Notes.txt").write_text("one")
    (here / "notes.txt").write_text("another")
    report = push(store, here)
    assert report.added == 2
    assert len(report.left_out) == 1
    assert "as well" in report.left_out[0]


@pytest.mark.parametrize("name", ["con", "aux", "nul.races", "com1"])
def test_a_set_is_not_called_like_a_device(
    name: str, store: Store, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(InputError, match="none of a device"):
        push(store, races(tmp_path / "races", [0]), name)
