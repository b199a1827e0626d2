"""The page of the first hour, and the script that walks it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "first_hour.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def walker() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("first_hour", ROOT / "scripts/first_hour.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def walk(walker: ModuleType, lines: list[str], folder: Path) -> tuple[int, str, str]:
    times = folder / "times.txt"
    program = walker.script(lines, str(ROOT), times)
    done = subprocess.run(
        ["bash", "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, walker.table(lines, times.read_text())


def test_every_command_of_the_page_is_walked(walker: ModuleType) -> None:
    lines = walker.commands(PAGE)
    assert lines[0].startswith(f"git clone {walker.ADDRESS}")
    assert walker.SERVES in lines


def test_commands_share_one_shell_and_are_timed(walker: ModuleType, tmp_path: Path) -> None:
    lines = ["mkdir new", "cd new", "SAID=hello", 'echo "$SAID" > said.txt', "sleep 0.2"]
    code, out, table = walk(walker, lines, tmp_path)
    assert code == 0
    assert (tmp_path / "new" / "said.txt").read_text() == "hello\n"
    assert "$ cd new" in out
    assert [row.split("|")[1].strip(" `") for row in table.splitlines()[2:]] == lines


def test_the_walk_ends_with_a_command_that_fails(walker: ModuleType, tmp_path: Path) -> None:
    code, _, table = walk(walker, ["true", "false", "touch too_far"], tmp_path)
    assert code == 1
    assert not (tmp_path / "too_far").exists()
    assert "touch" not in table


def test_the_repository_is_where_the_walker_was_told(walker: ModuleType, tmp_path: Path) -> None:
    code, _, table = walk(walker, [f"cp {walker.ADDRESS}/README.md ."], tmp_path)
    assert code == 0
    assert (tmp_path / "README.md").is_file()
    assert walker.ADDRESS in table


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "scripts/first_hour.py"), str(ROOT), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "does not exist yet" in done.stderr
    assert list(tmp_path.iterdir()) == []
