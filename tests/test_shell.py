"""What people type: paths with a `~`, and lines that they copy."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from donkey_rl import shell, user_paths


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "os", types.SimpleNamespace(name="nt"))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "os", types.SimpleNamespace(name="posix"))


@pytest.mark.usefixtures("elsewhere")
def test_words_are_quoted_for_a_shell() -> None:
    assert shell.quoted("record", "--out", "my lessons") == "record --out 'my lessons'"
    assert shell.with_variable("A", "my data", "x") == "A='my data' x"


@pytest.mark.usefixtures("on_windows")
def test_words_are_quoted_for_windows() -> None:
    assert shell.quoted("--recipe", "sweeps\\night.yaml") == "--recipe sweeps\\night.yaml"
    assert shell.quoted("record", "my lessons") == 'record "my lessons"'
    assert shell.with_variable("A", "my data", "x") == "x  (with A set to my data)"


def test_a_tilde_is_the_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert user_paths.path_of("~/tub") == tmp_path / "tub"
    assert user_paths.path_of("tub~") == Path("tub~")
    assert user_paths.path_of("~nobody-of-this-name/tub") == Path("~nobody-of-this-name/tub")
