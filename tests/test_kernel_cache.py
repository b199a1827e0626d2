"""Compiled kernels go somewhere, also where neither the code nor the home can be written."""

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


def test_where_something_can_be_written_numba_chooses(tmp_path: pathlib.Path) -> None:
    kernel_cache.prepare(tmp_path)
    assert not os.environ[VARIABLE]


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


def test_what_the_user_names_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv(VARIABLE, "/mine")
    kernel_cache.prepare(pathlib.Path("package"))
    assert os.environ[VARIABLE] == "/mine"
