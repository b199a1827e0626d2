"""Colours, logs, completion and versions, as a terminal and a pipe see them."""

from __future__ import annotations

import io
import json
import logging
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata

import pytest

import donkey_rl
from donkey_rl import cli, cli_completion, cli_logging, cli_output
from donkey_rl.configuration import RECIPE_ALIASES, recipes
from donkey_rl.envs.simulator import track
from donkey_rl.errors import StorageError
from donkey_rl.experiments import dashboard
from donkey_rl.experiments.progress import ProgressDisplay

ESCAPE = "\x1b["
COLOURS = ("NO_COLOR", "FORCE_COLOR", "TERM", "PY_COLORS", "GITHUB_ACTIONS", "COLUMNS")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    for name in (*COLOURS, "MLFLOW_TRACKING_URI", "DONKEY_RL_LOG", cli.DEBUG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(tmp_path)


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in COLOURS}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **changes}


@pytest.mark.parametrize(
    ("variables", "piped", "terminal"),
    [
        ({}, False, True),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, False, True),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_errors_are_coloured_on_terminals_only(
    monkeypatch: pytest.MonkeyPatch,
    variables: Mapping[str, str],
    piped: bool,
    terminal: bool,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for stream, coloured in ((io.StringIO(), piped), (Terminal(), terminal)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert cli.main(["trian"]) == cli.BAD_INPUT
        assert (ESCAPE in stream.getvalue()) is coloured
        assert cli_output.is_coloured(stream) is coloured


@pytest.mark.parametrize("words", [["--help"], ["trian"]])
def test_a_pipe_gets_no_escape_codes(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "donkey_rl", *words],
        env=environment(TERM="xterm-256color"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals of this kind")
@pytest.mark.parametrize(("changes", "coloured"), [({}, True), ({"TERM": "dumb"}, False)])
def test_help_is_coloured_on_a_terminal_that_can(changes: dict[str, str], coloured: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "donkey_rl", "runs", "--help"],
        env=environment(**{"TERM": "xterm-256color", **changes}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        # At its end Linux answers with an error, others with nothing.
        while part := read(ours):
            said += part
        assert process.wait() == 0
    os.close(ours)
    assert b"runs send" in said
    assert (b"\x1b[" in said) is coloured


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("level", "shown"),
    [(None, "we"), ("info", "iwe"), ("debug", "diwe"), ("error", "e"), ("WARNING", "we")],
)
def test_logs_are_shown_from_the_level_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str | None,
    shown: str,
) -> None:
    # A thread writes the lines.
    monkeypatch.setattr(cli_logging, "_PATIENCE_S", 60.0)
    if level is not None:
        monkeypatch.setenv("DONKEY_RL_LOG", level)
    assert cli.main(["version"]) == 0
    logger = logging.getLogger("donkey_rl.experiments")
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("one\nline of %s", write.__name__)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" of ")[2][0] for line in lines] == list(shown)
    assert all("one line of " in line for line in lines)
    assert sum(" warning: " in line for line in lines) == shown.count("w")


@pytest.mark.parametrize(("seconds", "lines"), [(1.0, 0), (11.0, 2)])
def test_work_that_fails_at_once_is_told_by_its_error_alone(seconds: float, lines: int) -> None:
    stream, times = io.StringIO(), iter((0.0, 0.0, seconds, seconds))

    def work() -> None:
        with (
            ProgressDisplay(stream, clock=lambda: next(times)) as progress,
            progress.phase("racing", 3, "races") as phase,
        ):
            # A line is due every ten seconds.
            phase.update(0)
            raise StorageError("The disk is full.")

    with pytest.raises(StorageError):
        work()
    assert len(stream.getvalue().splitlines()) == lines


def test_a_pipe_is_told_once_that_something_is_up() -> None:
    stream = io.StringIO()
    with ProgressDisplay(stream, clock=lambda: 0.0) as progress:
        with cli_output.loading(progress):
            assert stream.getvalue() == ""
        with cli_output.until_up(progress, "starting the simulator") as is_up:
            assert stream.getvalue() == ""
            is_up()
            progress.message("Serving.")
    assert stream.getvalue().splitlines() == ["starting the simulator: 0:00 taken", "Serving."]


def test_a_driver_of_others_writes_no_control_characters(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "\x1b]0;x\x07\x1b[2J"}))
    assert cli.main(["evaluate", str(tmp_path)]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "?]0;x??[2J" in said
    assert "\x1b" not in said


def test_an_unknown_level_of_logs_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DONKEY_RL_LOG", "warn")
    assert cli.main(["version"]) == cli.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert "DONKEY_RL_LOG" in err
    assert "Did you mean 'warning'?" in err


def test_version_is_told_alike_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for words in (["--version"], ["version"]):
        assert cli.main(words) == 0
        said.append(capsys.readouterr().out)
    assert said == [f"donkey-rl {donkey_rl.__version__}\n"] * 2
    assert cli.main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"donkey_rl": donkey_rl.__version__}


def test_all_versions_are_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@store:5000")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cli.main(["version", "--all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run_store"] == "http://***@store:5000"
    assert found["environment"]["OMP_NUM_THREADS"] == "3"
    assert found["cores"] >= 1
    assert found["numba_layer"] in ("tbb", "omp", "workqueue")
    for name in ("numpy", "tensorflow", "mlflow", "torch"):
        assert found["packages"][name] == metadata.version(name)
    assert cli.main(["version", "--all"]) == 0
    out = capsys.readouterr().out
    assert "secret" not in out
    assert f"tensorflow {metadata.version('tensorflow')}" in " ".join(out.split())


def test_the_pages_of_runs_are_told_to_scripts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(dashboard, "has_screen", lambda: False)
    assert cli.main(["dashboard", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"address": "http://127.0.0.1:9", "ends_with_this": False}
    assert "MLflow's pages: http://127.0.0.1:9" in err


def test_tracks_and_recipes_are_completed_by_all_their_names() -> None:
    assert set(track.names()) <= set(cli_completion.track(""))
    assert cli_completion.track("wareh") == ["warehouse"]
    assert cli_completion.tracks("warren,wareh") == ["warren,warehouse"]
    assert set(cli_completion.recipe("")) == {*recipes(), *RECIPE_ALIASES}


def test_runs_are_completed_from_the_file_of_the_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    assert cli_completion.run("") == []
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        store.execute("CREATE TABLE runs (run_uuid, name, lifecycle_stage, start_time)")
        rows = [("aa11", "slow", "active", 1), ("aa22", "fast", "active", 2)]
        rows += [("aa33", "gone", "deleted", 3)]
        store.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", rows)
    store.close()
    assert cli_completion.run("aa") == [("aa22", "fast"), ("aa11", "slow")]
    assert cli_completion.run("sl") == [("slow", "aa11")]
    assert cli_completion.driver("p") == [("pursuit", "the expert")]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    assert cli_completion.run("") == []
    (tmp_path / "none.db").write_text("no database")
    assert cli_completion.run("") == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://store:5000")
    assert cli_completion.run("") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_by_the_script_that_we_print(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "donkey-rl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m donkey_rl "$@"\n')
    program.chmod(0o755)
    words = "COMP_WORDS=(donkey-rl train --recipe sac_f); COMP_CWORD=3"
    script = (
        f'PATH="{tmp_path}:$PATH"; eval "$(_DONKEY_RL_COMPLETE=source_bash donkey-rl)"; '
        f'{words}; _donkey_rl_completion donkey-rl; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("sac_fast\n", "")
