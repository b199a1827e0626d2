"""What is finished gets to its place, also where somebody looks at it for a moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from donkey_rl import moving


def held(times: int) -> Callable[[str, str], None]:
    """A move that is refused so many times, as on Windows while a file is open."""
    left, move = [times], os.replace

    def refused(source: str, target: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "Access is denied")
        move(source, target)

    return refused


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_PAUSES_S", (0.0, 0.0, 0.0))


@pytest.mark.usefixtures("patience")
def test_what_is_held_for_a_moment_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draft").write_text("new")
    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "replace", held(3))
    moving.moved(tmp_path / "draft", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / "draft").exists()


@pytest.mark.usefixtures("patience")
def test_what_stays_held_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "draft").write_text("new")
    monkeypatch.setattr(os, "replace", held(4))
    with pytest.raises(PermissionError):
        moving.moved(tmp_path / "draft", tmp_path / "file")
    assert (tmp_path / "draft").read_text() == "new"


def test_other_errors_do_not_wait(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        moving.moved(tmp_path / "nothing", tmp_path / "file")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    moving.write(file, "one\n")
    moving.write(file, b"two\n", durable=True)
    assert file.read_bytes() == b"two\n"

    def fail() -> None:
        with moving.replacement(file) as draft:
            draft.write(b"three")
            raise ValueError("half of it")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert file.read_bytes() == b"two\n"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_is_for_whom_it_is_meant(tmp_path: Path) -> None:
    told = (
        "import pathlib; from donkey_rl import moving; "
        "moving.write(pathlib.Path('mine'), '', mode=0o600); "
        "moving.write(pathlib.Path('usual'), ''); pathlib.Path('usual too').write_text('')"
    )
    subprocess.run([sys.executable, "-c", told], cwd=tmp_path, umask=0o027, check=True)
    modes = [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())]
    assert modes == [0o600, 0o640, 0o640]
