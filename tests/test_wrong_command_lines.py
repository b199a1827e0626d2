"""Wrong command lines: one line each that names the remedy, and the right exit code."""

from __future__ import annotations

import os
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import yaml

from donkey_rl import cli
from tests import wrong_files

TABLE: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    pathlib.Path(__file__).with_name("wrong_command_lines.yaml").read_text(encoding="utf-8")
)
CASES = [
    pytest.param(case, id=f"{group}: {case['line']}")
    for group, rows in TABLE.items()
    for case in rows
]
IN_PROCESSES = ("trian --agent sac", "train --recipe twice.yaml", "evaluate changed_driver")
"""Also typed into processes of their own, as a shell would."""

LONGEST_S = 120
"""Of wall time, on a busy machine: a line that is taken would train or serve for hours."""


class _Accepted(BaseException):
    """A wrong line was not refused."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wrong")
    wrong_files.make(folder)
    return folder


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FORCE_COLOR", "MLFLOW_TRACKING_URI", "DONKEY_RL_DATA", cli.DEBUG_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """Ends a line that is taken for a right one; where there are no alarms, it would go on."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise _Accepted

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def check(case: dict[str, Any], code: int, out: str, err: str) -> None:
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    missing = [word for word in case["says"] if word not in lines[0]]
    assert not missing, f"{missing} not in: {lines[0]}"
    assert code == case.get("code", cli.BAD_INPUT), lines[0]


def test_there_are_a_hundred_and_more_and_no_line_twice() -> None:
    typed = [
        (case["line"], *case.get("env", {}).values(), case.get("in"))
        for group in TABLE.values()
        for case in group
    ]
    assert len(set(typed)) == len(typed) >= 100


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_line_is_answered_by_one_line(
    case: dict[str, Any],
    files: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place = pathlib.Path(case.get("in", files))
    if not place.is_dir():
        pytest.skip(f"needs {place}, which is there on Linux")
    monkeypatch.chdir(place)
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    before = sorted(files.rglob("*"))
    code = cli.main(shlex.split(case["line"]))
    check(case, code, *capfd.readouterr())
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize("line", IN_PROCESSES)
def test_a_shell_gets_the_same(line: str, files: pathlib.Path) -> None:
    case = next(case for group in TABLE.values() for case in group if case["line"] == line)
    done = subprocess.run(
        [sys.executable, "-m", "donkey_rl", *shlex.split(line)],
        cwd=files,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    check(case, done.returncode, done.stdout, done.stderr)
