"""Compiled kernels go somewhere, and are those of the sources that are there."""

from __future__ import annotations

import os
import pathlib
import tempfile

import pytest

from donkey_rl.envs.simulator import kernel_cache
from donkey_rl.envs.simulator.kernel_cache import VARIABLE


@pytest.fixture(autouse=True)
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    # As it was before, whatever is set.
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_where_they_can_lie_beside_the_code_numba_chooses(tmp_path: pathlib.Path) -> None:
    kernel_cache.prepare(tmp_path)
    assert not os.environ[VARIABLE]


def test_what_is_installed_read_only_has_a_folder_of_its_own_in_the_home(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_cache, "_can_be_made", lambda folder: folder == tmp_path / "home")
    monkeypatch.setattr(kernel_cache, "_of_user", lambda: tmp_path / "home")
    kernel_cache.prepare(tmp_path / "package")
    assert pathlib.Path(os.environ[VARIABLE]).parent == tmp_path / "home"


def test_a_read_only_machine_keeps_kernels_below_the_temporary_folder(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    kernel_cache.prepare(place / "package")
    folder = pathlib.Path(os.environ[VARIABLE])
    assert folder.parent == place
    if os.name != "nt":
        assert folder.stat().st_mode & 0o777 == 0o700
    os.environ[VARIABLE] = ""
    kernel_cache.prepare(place / "package")
    # The next process finds what this one has compiled.
    assert os.environ[VARIABLE] == str(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_folder_that_others_can_write_to_is_not_trusted(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    kernel_cache.prepare(place / "package")
    shared = pathlib.Path(os.environ[VARIABLE])
    shared.chmod(0o777)
    os.environ[VARIABLE] = ""
    kernel_cache.prepare(place / "package")
    assert os.environ[VARIABLE] != str(shared)


def test_other_sources_have_another_folder_of_the_one_that_the_user_names(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    source = tmp_path / "physics.py"
    source.write_text("GRIP = 1.0")
    kernel_cache.prepare(tmp_path)
    first = pathlib.Path(os.environ[VARIABLE])
    assert first.parent == tmp_path / "mine"
    # A process that this one starts.
    kernel_cache.prepare(tmp_path)
    assert os.environ[VARIABLE] == str(first)
    source.write_text("GRIP = 2.0")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    kernel_cache.prepare(tmp_path)
    second = pathlib.Path(os.environ[VARIABLE])
    assert second.parent == first.parent
    assert second != first
