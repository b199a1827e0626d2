"""Checkpoints on disk: what a crash, a full disk or a bad sector leaves is still of use."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from donkey_rl.agents.ring import Ring
from donkey_rl.errors import StorageError
from donkey_rl.experiments.checkpoints import Checkpoint, Checkpoints
from donkey_rl.experiments.sealed import DamagedError


def filled(text: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "agent").mkdir()
        (folder / "agent" / "weights").write_text(text)
        (folder / "state").write_text(text[::-1])

    return fill


def write(store: Checkpoints, number: int, ring: Ring) -> None:
    store.write(number, 100 * number, filled(f"weights {number}"), {"rows": ring})


def silent(text: str) -> None:
    raise AssertionError(text)


def newest(folder: Path, complain: Callable[[str], object] = silent) -> Checkpoint:
    """Returns what another process finds."""
    found = Checkpoints(folder).newest(complain)
    assert found is not None
    assert (found.folder / "agent" / "weights").read_text() == f"weights {found.number}"
    return found


def pieces(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns inode and time of the last change of each piece."""
    files = sorted((folder / "rows").iterdir())
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


@pytest.fixture
def ring() -> Ring:
    """Six rows of two numbers; row k holds k and -k."""
    return Ring(6, (2,), np.float32)


def grow(ring: Ring, count: int) -> None:
    numbers = np.arange(ring.written, ring.written + count)
    ring.append(np.stack([numbers, -numbers], axis=1))


def test_a_checkpoint_comes_back_with_its_rows(tmp_path: Path, ring: Ring) -> None:
    store = Checkpoints(tmp_path)
    assert store.newest(silent) is None
    for number, new in ((1, 3), (2, 2), (3, 4)):
        grow(ring, new)
        write(store, number, ring)
    found = newest(tmp_path)
    assert (found.number, found.step) == (3, 300)
    other = Ring(6, (2,), np.float32)
    found.restore({"rows": other})
    # Nine rows were written: rows 3 to 8 are there, at the places that they had.
    assert (other.written, other.oldest) == (9, 3)
    np.testing.assert_array_equal(other.rows, ring.rows)
    np.testing.assert_array_equal(other.since(0)[:, 0], [3, 4, 5, 6, 7, 8])


def test_only_new_rows_are_written_and_old_ones_deleted(tmp_path: Path, ring: Ring) -> None:
    store = Checkpoints(tmp_path)
    grow(ring, 3)
    write(store, 1, ring)
    before = pieces(tmp_path)
    assert list(before) == ["rows-0-3.npy"]
    grow(ring, 2)
    write(store, 2, ring)
    after = pieces(tmp_path)
    assert list(after) == ["rows-0-3.npy", "rows-3-2.npy"]
    assert after["rows-0-3.npy"] == before["rows-0-3.npy"]
    # No new rows, no new file.
    write(store, 3, ring)
    assert pieces(tmp_path) == after
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "rows"]
    # Rows 0 to 2 give way to 6 to 8; checkpoint 3 still needs them, 4 and 5 do not.
    grow(ring, 4)
    write(store, 4, ring)
    assert list(pieces(tmp_path)) == ["rows-0-3.npy", "rows-3-2.npy", "rows-5-4.npy"]
    write(store, 5, ring)
    assert list(pieces(tmp_path)) == ["rows-3-2.npy", "rows-5-4.npy"]


def test_another_process_goes_on_adding(tmp_path: Path, ring: Ring) -> None:
    grow(ring, 3)
    write(Checkpoints(tmp_path), 1, ring)
    store, other = Checkpoints(tmp_path), Ring(6, (2,), np.float32)
    found = store.newest(silent)
    assert found is not None
    found.restore({"rows": other})
    before = pieces(tmp_path)
    grow(other, 1)
    write(store, 2, other)
    assert list(pieces(tmp_path)) == ["rows-0-3.npy", "rows-3-1.npy"]
    assert pieces(tmp_path)["rows-0-3.npy"] == before["rows-0-3.npy"]


@pytest.mark.parametrize(
    "file", ["manifest.json", "agent/weights", "state", "../rows/rows-3-2.npy"]
)
@pytest.mark.parametrize("harm", ["gone", "cut", "flipped"])
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    tmp_path: Path, ring: Ring, file: str, harm: str
) -> None:
    store = Checkpoints(tmp_path)
    for number, new in ((1, 3), (2, 2)):
        grow(ring, new)
        write(store, number, ring)
    path = tmp_path / "2" / file
    data = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    said: list[str] = []
    found = newest(tmp_path, said.append)
    assert found.number == 1
    assert len(said) == 1
    assert said[0].startswith("checkpoint 2 is damaged and is passed over: ")
    # What comes next takes the damaged one's place.
    other = Ring(6, (2,), np.float32)
    found.restore({"rows": other})
    np.testing.assert_array_equal(other.since(0)[:, 0], [0, 1, 2])
    again = Checkpoints(tmp_path)
    again.newest(lambda _: None)
    grow(other, 2)
    write(again, 2, other)
    assert newest(tmp_path).number == 2


class Crash(BaseException):
    """The end of the process, as far as the code below it can tell."""


@pytest.mark.parametrize("error", [Crash(), OSError(28, "No space left on device")])
def test_a_crash_at_any_moment_of_writing_loses_nothing(
    tmp_path: Path, ring: Ring, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes the disk fails once; what is found then is 2 or, at the end, 3."""
    store = Checkpoints(tmp_path)
    for number in (1, 2):
        grow(ring, 3)
        write(store, number, ring)
    grow(ring, 2)
    seen = []
    for moment in range(1000):
        left = moment

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise error
                return real(*arguments, **options)

            return call

        again = Checkpoints(tmp_path)
        again.newest(lambda _: None)
        with monkeypatch.context() as patched:
            for name in ("replace", "fsync", "mkdir", "unlink", "rmdir"):
                patched.setattr(os, name, counted(getattr(os, name)))
            patched.setattr(np, "save", counted(np.save))
            patched.setattr(Path, "write_text", counted(Path.write_text))
            with contextlib.suppress(Crash, StorageError):
                write(again, 3, ring)
        other = Ring(6, (2,), np.float32)
        found = newest(tmp_path)
        found.restore({"rows": other})
        # Rows 0 to 5 in the second; two more in the third, for which 0 and 1 gave way.
        assert (
            other.since(0)[:, 0].tolist()
            == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7]][found.number - 2]
        )
        seen.append(found.number)
        if left >= 0:
            break
    assert seen[0] == 2
    assert seen == sorted(seen)
    assert seen[-1] == 3
    assert len(seen) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "rows"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not bound the size of files")
def test_a_disk_that_is_full_is_one_error_and_leaves_what_was(tmp_path: Path, ring: Ring) -> None:
    import resource

    store = Checkpoints(tmp_path)
    grow(ring, 3)
    write(store, 1, ring)
    grow(ring, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"File too large.*Free some space"):
            write(store, 2, ring)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert newest(tmp_path).number == 1
    write(store, 2, ring)
    assert newest(tmp_path).number == 2
    assert list(pieces(tmp_path)) == ["rows-0-3.npy", "rows-3-3.npy"]


def test_rows_of_another_shape_are_refused(tmp_path: Path, ring: Ring) -> None:
    grow(ring, 3)
    write(Checkpoints(tmp_path), 1, ring)
    with pytest.raises(
        DamagedError, match=r"should hold float32 \(3, 5\).*holds float32 \(3, 2\)"
    ):
        newest(tmp_path).restore({"rows": Ring(6, (5,), np.float32)})


def test_a_manifest_may_not_name_files_elsewhere(tmp_path: Path, ring: Ring) -> None:
    write(Checkpoints(tmp_path / "a"), 1, ring)
    (tmp_path / "outside").write_text("secret")
    manifest = tmp_path / "a" / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"state"', '"../../outside"'))
    said: list[str] = []
    assert Checkpoints(tmp_path / "a").newest(said.append) is None
    assert "outside it" in said[0]
