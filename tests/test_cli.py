"""The command line: its help, its exit codes, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import donkey_rl
from donkey_rl import cli, cli_output
from donkey_rl.envs.simulator import track
from donkey_rl.errors import InputError, StorageError, TrackError
from donkey_rl.experiments import dashboard

COMMANDS = (
    "train", "recipes", "ensemble", "evaluate", "compare", "leaderboard", "report", "plot",
    "dashboard", "bench", "register", "runs", "metrics", "check-metric", "tracks", "sim", "doctor",
)  # fmt: skip
HEAVY = ("tensorflow", "keras", "mlflow", "optuna", "numba", "torch", "matplotlib", "numpy")


@pytest.fixture(autouse=True)
def plain_terminal_in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("FORCE_COLOR", "MLFLOW_TRACKING_URI", cli.DEBUG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "donkey_rl", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Runs a command that fails; returns its exit code and its only line."""
    code = cli.main(words)
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return code, lines[0].removeprefix("error: ")


def test_a_resumed_run_takes_no_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "--resume", "3f2a", "--recipe", "pace")
    code, message = error_of(capsys, *words)
    assert code == cli.BAD_INPUT
    assert message == "A resumed run has its own settings. Leave --recipe out, or --resume."


def test_a_run_to_resume_must_be_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, message = error_of(capsys, "train", "--resume", "3f2a")
    assert code == cli.BAD_INPUT
    assert message.startswith("There is no run '3f2a'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows does not add up the times of processes")
def test_help_answers_within_half_a_second() -> None:
    def seconds() -> float:
        before = os.times()
        assert run("--help").returncode == 0
        after = os.times()
        return sum(getattr(after, f"children_{of}") - getattr(before, f"children_{of}")
                   for of in ("user", "system"))  # fmt: skip

    # Processor time, of one in ten: others on the machine make it dear.
    assert any(0.0 < seconds() < 1.0 for _ in range(10))


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["evaluate", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; from donkey_rl import cli; code = cli.main(sys.argv[1:]);"
        f"print('loaded:', *[name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f" {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"Example: donkey-rl {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"donkey-rl {donkey_rl.__version__}\n"


def test_nothing_typed_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.BAD_INPUT
    out, err = capsys.readouterr()
    assert "Usage: donkey-rl" in out + err
    assert "error:" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "'train'"),
        (["train", "--stps", "3"], "--steps"),
        (["train", "--steps", "many"], "'--steps'"),
        (["evaluate"], "'DRIVER'"),
        (["evaluate", "x", "--races", "0"], "'--races'"),
        (["dashboard", "--port", "70000"], "'--port'"),
        (["train", "--simulator", "127.0.0.1:90910"], "A port is 1 to 65535"),
        (["evaluate", "x", "--simulator", "sim.exe"], "Received: 'sim.exe'"),
        (
            ["evaluate", "x", "--video", "lap.gif"],
            "The video is an .mp4 file. Received: 'lap.gif'",
        ),
        (["train", "--recipe", "no-such-recipe"], "Unknown recipe 'no-such-recipe'"),
        (["train", "--recipe", "missing.yaml"], "The recipe file 'missing.yaml' does not exist"),
        (
            ["train", "--track", "generated_trak"],
            "'generated_trak'. Did you mean 'generated_track'",
        ),
        (["train", "--agent", "sca"], "'sca'. Did you mean 'sac'?"),
        (["train", "--set", "sac.learnin_rate=1"], "Did you mean 'sac.learning_rate'?"),
        (["train", "--set", "sac.learning_rate=fast"], "sac.learning_rate should be"),
        (["train", "--set", "sac.learning_rate"], "A setting is written key=value"),
        (["train", "--steps", "-5"], "Invalid value for '--steps': "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, line = error_of(capsys, *words)
    assert message in line
    assert code == cli.BAD_INPUT
    assert list(Path().iterdir()) == []


def test_recipe_with_unknown_key_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("sac:\n  gama: 0.9\n", encoding="utf-8")
    code, line = error_of(capsys, "train", "--recipe", "mine.yaml")
    assert (code, "Did you mean 'sac.gamma'?" in line) == (cli.BAD_INPUT, True)


def test_broken_track_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.json").write_text("{", encoding="utf-8")
    code, line = error_of(capsys, "train", "--track", "broken.json")
    assert (code, "broken.json" in line) == (cli.BAD_INPUT, True)


def test_unknown_run_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = error_of(capsys, "evaluate", "no-such-run")
    assert (code, "no run 'no-such-run'" in line) == (cli.BAD_INPUT, True)
    assert list(Path().iterdir()) == []


def test_help_of_train_says_what_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Ctrl-C" in text
    assert "exit code is 0" in text


def test_dashboard_names_no_address_that_it_cannot_serve(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind((dashboard.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["dashboard", "--port", str(port)]) == cli.BAD_INPUT
    err = capsys.readouterr().err
    assert f"Port {port} cannot be used" in err
    assert "http://" not in err


def test_dashboard_takes_the_next_port_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((dashboard.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(dashboard, "_PORTS", range(port, port + 1))
        with pytest.raises(InputError, match="Pass one with --port"):
            dashboard._free_port()
        monkeypatch.setattr(dashboard, "_PORTS", range(port, port + 50))
        assert port < dashboard._free_port() < port + 50


def test_letters_that_a_file_cannot_hold_are_written_by_their_numbers() -> None:
    words = "from donkey_rl import cli; cli.main(['--version']); print('\u0141ukasz')"
    done = subprocess.run(
        [sys.executable, "-c", words],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == r"\u0141ukasz"


def test_dashboard_of_a_server_is_that_servers_address() -> None:
    heard: list[tuple[str, bool]] = []
    server = "http://mlflow.example:5001"
    dashboard.open_dashboard(
        5000, server, browser=False, announce=lambda *words: heard.append(words)
    )
    assert heard == [(server, False)]


def test_tracks_lists_all_with_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tracks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in track.names():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert line.endswith(("circuit  ", "open road  "))


def test_json_is_one_object_and_all_of_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tracks", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = {row["name"]: row for row in json.loads(out)["tracks"]}
    assert set(rows) == set(track.names())
    assert rows["generated_road"]["kind"] == "open road"
    # The road of generated_track reaches from -7 to +3 u of its path.
    assert rows["generated_track"] == {
        "name": "generated_track",
        "length_u": pytest.approx(track.load("generated_track").length, abs=0.05),
        "road_width_u": 10.0,
        "kind": "circuit",
    }


def test_json_has_null_where_there_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    cli_output.print_json({"best": float("nan"), "all": [1.5, float("inf")], "in": {"x": None}})
    assert json.loads(capsys.readouterr().out) == {
        "best": None,
        "all": [1.5, None],
        "in": {"x": None},
    }


def test_work_with_json_keeps_standard_output_free(capsys: pytest.CaptureFixture[str]) -> None:
    with cli_output.at_work(as_json=True) as progress:
        sys.stdout.write("a library that talks\n")
        progress.message("half way")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["a library that talks", "half way"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TrackError("The track\nis broken."), 2, "The track is broken."),
        (StorageError("The disk is full."), 1, "The disk is full."),
        (
            PermissionError(13, "Permission denied", "mlflow.db"),
            1,
            "Permission denied 'mlflow.db'.",
        ),
        (KeyboardInterrupt(), 130, "interrupted."),
        (KeyError("x"), 1, "KeyError: 'x'. Run with DONKEY_RL_DEBUG=1 for the traceback."),
    ],
)
def test_each_error_has_its_exit_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail() -> tuple[str, ...]:
        raise error

    monkeypatch.setattr(track, "names", fail)
    assert error_of(capsys, "tracks") == (code, message)


def test_traceback_is_shown_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    assert cli.main(["train", "--simulator", "x"]) == cli.BAD_INPUT
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: simulator: A simulator is")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_output_is_one_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "donkey_rl", "tracks", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == cli.FAILURE
    assert done.stderr.splitlines()[0] == "error: No space left on device."
    assert "Traceback" not in done.stderr


def test_closed_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "donkey_rl", "tracks"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.FAILURE, "")


def result_of(capfd: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Runs a command in this process; returns what it printed, which is one object."""
    assert cli.main(words) == 0, capfd.readouterr().err
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


@pytest.mark.slow
def test_train_then_evaluate_with_json(capfd: pytest.CaptureFixture[str]) -> None:
    """The smallest run there is: what is wanted here is the way of the data, not a good driver."""
    settings = (
        "cars=4", "encoder.frames=512", "encoder.epochs=1", "sac.gradient_steps=1",
        "sac.batch_size=64", "sac.hidden=32,32",
    )  # fmt: skip
    small = (word for setting in settings for word in ("--set", setting))
    words = ("train", "--agent", "sac", "--steps", "400", "--seed", "3", "--json", *small)
    # Learning starts after 1,000 steps: such a driver would only pretend to be one.
    assert cli.main(words) == cli.FAILURE
    said = capfd.readouterr().err
    assert "changed no weight of the policy in 400 steps" in said
    assert "Give more --steps" in said
    trained = result_of(capfd, *words, "--set", "sac.learning_starts=100")
    expected = {"run_id", "steps", "wall_s", "first_clean_lap_wall_s", "first_clean_lap_steps"}
    assert expected | {"best_lap_s", "stopped"} <= set(trained)
    assert trained["steps"] >= 400
    assert trained["stopped"] is False

    scored = result_of(
        capfd, "evaluate", trained["run_id"], "--races", "2", "--laps", "1", "--json"
    )
    assert scored["run_id"] == trained["run_id"]
    assert (scored["track"], scored["races"]) == ("generated_track", 2)
    assert 0 <= scored["races_clean"] <= 2
    assert {"laps", "off_tracks", "mean_speed"} <= set(scored["metrics"])
    for score in scored["metrics"].values():
        assert {"mean", "ci_low", "ci_high"} <= set(score)

    assert cli.main(("evaluate", trained["run_id"][:6] + "zzz")) == cli.BAD_INPUT
    assert f"Did you mean '{trained['run_id']}'?" in capfd.readouterr().err
