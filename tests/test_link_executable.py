"""A simulator that is a program: started, listened to, and stopped with all it started."""

from __future__ import annotations

import pathlib
import sys
import time
from typing import Any

import pytest

from donkey_rl.envs import link_source
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.executable import Executable, free_port
from donkey_rl.envs.link_source import open_link
from donkey_rl.errors import (
    ConfigurationError,
    LinkRefused,
)
from tests.linked_cars import LINK, SMALL

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="starts scripts of a shell")


def script(folder: pathlib.Path, text: str) -> pathlib.Path:
    file = folder / "simulator.sh"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def ends(number: int) -> bool:
    """Waits until a process has ended; one nobody collects counts as ended."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        try:
            state = pathlib.Path(f"/proc/{number}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


SERVE = f'{sys.executable} -m donkey_rl sim --port "$2" --private-port 0 --time-scale max'


@POSIX
@pytest.mark.skipif(not pathlib.Path("/proc").is_dir(), reason="looks at processes")
@pytest.mark.parametrize("text", [f"exec {SERVE}", f"{SERVE} & echo $! > child; wait"])
def test_a_program_is_started_driven_and_stopped_with_all_it_started(
    text: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(tmp_path, f'echo "$@" > words\necho $$ > leader\ncd {tmp_path}\n{text}')
    monkeypatch.chdir(tmp_path)
    link = LinkConfig(port=free_port(19091), camera=SMALL)
    with open_link(program, scene="warehouse", link=link.model_copy()) as opened:
        assert opened.config.port == link.port
        assert opened.reset().telemetry.nodes
    words = (tmp_path / "words").read_text().split()
    assert words[:5] == ["--port", str(link.port), "--host", "127.0.0.1", "-logFile"]
    for name in ("leader", "child"):
        if (tmp_path / name).exists():
            assert ends(int((tmp_path / name).read_text())), name
    deadline = time.monotonic() + 60.0
    while free_port(link.port) != link.port:
        assert time.monotonic() < deadline, "the program still listens"


@POSIX
def test_a_program_that_ends_is_told_with_its_last_words(tmp_path: pathlib.Path) -> None:
    program = script(tmp_path, "echo no display >&2; exit 3")
    with (
        pytest.raises(LinkRefused, match=r"exit code 3, saying: no display.*by hand"),
        open_link(program, link=LINK),
    ):
        pass


@POSIX
def test_a_program_that_never_listens_is_given_up_and_stopped(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(tmp_path, "exec sleep 1000")
    link = LINK.model_copy(update={"start_timeout_s": 1.0, "port": 29291})
    started: list[Executable] = []

    def start(*words: Any) -> Executable:
        started.append(Executable(*words))
        return started[-1]

    monkeypatch.setattr(link_source, "Executable", start)
    with (
        pytest.raises(LinkRefused, match=r"does not listen after 1 s.*start_timeout_s"),
        open_link(program, link=link),
    ):
        pass
    assert ends(started[0]._process.pid)


@POSIX
@pytest.mark.skipif(not pathlib.Path("/proc").is_dir(), reason="looks at processes")
def test_what_a_program_leaves_behind_ends_as_well(tmp_path: pathlib.Path) -> None:
    program = script(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; exit 0")
    started = Executable(program, 1)
    while not started.listens(60.0):
        with pytest.raises(LinkRefused, match="exit code 0"):
            started.check()
        break
    started.close()
    started.close()
    assert ends(int((tmp_path / "child").read_text()))


@POSIX
def test_a_program_that_cannot_be_started_names_the_remedy(tmp_path: pathlib.Path) -> None:
    program = script(tmp_path, "exit 0")
    program.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"cannot be started.*chmod \+x"):
        Executable(program, 1)
