"""The commands that serve a simulator, look at one, and drive in one."""

from __future__ import annotations

import functools
import json
import math
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from donkey_rl import cli
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.experiments import doctor, link_bench
from tests.scripted_simulator import ScriptedSimulator


@pytest.fixture(autouse=True)
def plain_terminal_in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("FORCE_COLOR", "MLFLOW_TRACKING_URI", cli.DEBUG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    config = ServerConfig(track="generated_track", port=0, private_port=None, time_scale="max")
    with background.running(config) as running:
        yield running


@pytest.fixture
def empty_port() -> Iterator[int]:
    """One that nobody else gets, and nobody listens at."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Runs a command that fails; returns its exit code and its only line."""
    code = cli.main(words)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return code, lines[0].removeprefix("error: ")


def findings_of(
    capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    code = cli.main(["doctor", *words, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["healthy"] == (code == cli.SUCCESS)
    return code, {each["check"]: each for each in printed["findings"]}


def test_port_in_use_is_one_line_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        code, line = error_of(capsys, "sim", "--port", port, "--private-port", "0")
    assert code == cli.BAD_INPUT
    assert f"Port {port} of 127.0.0.1 is in use" in line
    assert "choose another port: --port" in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--track", "generated_trak"), "Did you mean 'generated_track'"),
        (("--generation", "2019"), "2020, 2021 or 2022"),
        (("--time-scale", "fast"), "time_scale"),
        (("--time-scale", "99"), "0.1 to 20"),
        (("--set", "max_client=3"), "Did you mean 'max_clients'"),
        (("--set", "randomisation.start_lateral=0.5"), "cars start on their own place"),
        (("--rules", "none.yaml"), "The rules file 'none.yaml' does not exist."),
        (("--rules", "race"), "The rules file 'race' does not exist."),
    ],
)
def test_bad_option_of_sim_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str
) -> None:
    code, line = error_of(capsys, "sim", "--port", "0", "--private-port", "0", *words)
    assert (code, expected in line) == (cli.BAD_INPUT, True), line


@pytest.mark.skipif(sys.platform == "win32", reason="sends Ctrl-C as a signal")
@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_public_address_says_what_it_exposes_and_ctrl_c_ends(host: str, warned: bool) -> None:
    words = ["sim", "--host", host, "--port", "0", "--private-port", "0", "--json"]
    words += ["--track", "warehouse", "--generation", "2021"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    served = subprocess.Popen([sys.executable, "-m", "donkey_rl", *words], text=True, **pipes)
    assert served.stderr is not None
    assert served.stdout is not None
    with served.stderr as lines, served.stdout as results:
        said = ""
        while "Private API" not in said:
            said += lines.readline()
        told = json.loads(results.readline())
        served.send_signal(signal.SIGINT)
        rest = lines.read()
        assert results.read() == ""
    assert served.wait(20) == cli.SUCCESS, rest
    assert ("can drive, load scenes" in said) == warned
    assert f"Serving warehouse on {host}:{told['port']} " in said
    there = f"--simulator 127.0.0.1:{told['port']} --track warehouse"
    assert f"{there} --set vehicle=donkey_2021" in said
    assert (told["track"], told["host"]) == ("warehouse", host)
    assert told["port"] != told["private_port"] != 0
    assert "Traceback" not in rest


def test_doctor_says_what_a_simulator_is_and_keeps_a_frame(
    capsys: pytest.CaptureFixture[str], server: Running
) -> None:
    where = f"127.0.0.1:{server.port}"
    code, found = findings_of(capsys, "--simulator", where, "--frame", "shots/frame.png")
    assert code == cli.SUCCESS, found
    assert found["scene"]["found"] == "generated_track"
    assert found["generation"]["found"].startswith("2022")
    assert found["frame size"]["found"].startswith("160 x 120")
    assert found["frame rate"]["found"].startswith("20.0 per second of simulation")
    assert "ms from a command" in found["round trip"]["found"]
    picture = np.array(Image.open("shots/frame.png"))
    assert picture.shape == (120, 160, 3)
    # The middle of the lower half is road: gray.
    road = picture[80:100, 60:100].reshape(-1, 3).mean(axis=0)
    assert np.ptp(road) < 30.0


def test_doctor_without_a_simulator_looks_at_the_installation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = findings_of(capsys)
    assert code == cli.SUCCESS
    assert found["numpy"]["found"] == np.__version__
    assert "simulator" not in found


def test_doctor_does_not_wait_for_a_race_host_that_gives_no_car(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_PATIENCE_S", 0.2)
    with ScriptedSimulator(greeting="need_car_config", gives=False) as simulator:
        code, found = findings_of(capsys, "--simulator", f"127.0.0.1:{simulator.port}")
    assert (code, found["simulator"]["ok"]) == (cli.SUCCESS, True)
    assert "a race host that gives no car now" in found["simulator"]["found"]


def test_doctor_names_the_remedy_where_nobody_answers(
    capsys: pytest.CaptureFixture[str], empty_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = functools.partial(doctor.LinkConfig, connect_timeout_s=0.2)
    monkeypatch.setattr(doctor, "LinkConfig", hasty)
    code, found = findings_of(capsys, "--simulator", f"127.0.0.1:{empty_port}")
    assert code == cli.FAILURE
    assert not found["simulator"]["ok"]
    assert f"127.0.0.1:{empty_port}" in found["simulator"]["found"]
    assert found["simulator"]["remedy"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("doctor", "--simulator", "nowhere"), "HOST:PORT"),
        (("doctor", "--simulator", "host:99999"), "1 to 65535"),
        (("doctor", "--simulator", "embeded"), "Did you mean 'embedded'"),
        (("doctor", "--simulator", "embedded"), "one simulator at a time"),
        (("doctor", "--simulator", "localhost:9091", "--frame", "f.jpg"), "a .png file"),
        (("doctor", "--frame", "f.png"), "add --simulator"),
        (("train", "--simulator", "host:"), "HOST:PORT"),
        (("evaluate", "abc", "--simulator", "/no/such/program"), "HOST:PORT"),
        (("tracks", "show", "warehous"), "Did you mean 'warehouse'"),
        (("tracks", "show", "warehouse", "--out", "w.jpg"), "a .png file"),
        (("tracks", "record", "--simulator", "localhost:1", "--name", "a/b"), "name"),
        (("bench", "--part", "lnik"), "Did you mean 'link'"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str
) -> None:
    code, line = error_of(capsys, *words)
    assert (code, expected in line) == (cli.BAD_INPUT, True), line


def test_tracks_show_draws_a_track(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tracks", "show", "warehouse:mirror", "--json"]) == cli.SUCCESS
    printed = json.loads(capsys.readouterr().out)
    assert printed["length_u"] == pytest.approx(351.1, abs=0.2)
    drawn = np.array(Image.open(printed["plot"]).convert("L"))
    assert drawn.std() > 10.0


def test_a_track_of_any_name_is_drawn_here(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ring = [[20 * math.cos(k / 8), 20 * math.sin(k / 8)] for k in range(50)]
    file = tmp_path / "ring.json"
    file.write_text(json.dumps({"name": "club/../../x", "waypoints": ring}))
    assert cli.main(["tracks", "show", str(file), "--json"]) == cli.SUCCESS
    assert json.loads(capsys.readouterr().out)["plot"] == "club-..-..-x.png"


@pytest.mark.parametrize("words", [("tracks", "list", "--json"), ("tracks", "--json", "list")])
def test_tracks_list_is_tracks(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert cli.main(["tracks", "--json"]) == cli.SUCCESS
    plain = json.loads(capsys.readouterr().out)
    assert cli.main(words) == cli.SUCCESS
    assert json.loads(capsys.readouterr().out) == plain


def test_tracks_record_prints_the_track(
    capsys: pytest.CaptureFixture[str], server: Running
) -> None:
    where = f"127.0.0.1:{server.port}"
    words = ["tracks", "record", "--simulator", where, "--name", "club", "--json"]
    assert cli.main(words) == cli.SUCCESS
    printed = json.loads(capsys.readouterr().out)
    assert (printed["file"], printed["method"], printed["closed"]) == ("club.json", "nodes", True)
    assert Path("club.json").is_file()


def test_training_ends_with_one_line_where_nobody_answers(
    capsys: pytest.CaptureFixture[str], empty_port: int
) -> None:
    words = ["--set", "encoder.name=cnn", "--set", "link.connect_timeout_s=0.2"]
    code, line = error_of(capsys, "train", "--simulator", f"127.0.0.1:{empty_port}", *words)
    assert code == cli.FAILURE
    assert f"127.0.0.1:{empty_port}" in line
    assert "connection" in line


@pytest.mark.slow
def test_bench_of_the_link_measures_both_parties() -> None:
    found = link_bench.delays(1.5)
    assert set(found) == {"p50", "p99", "socket_p50", "socket_p99"}
    assert 0.0 < found["p50"] <= found["p99"] < 60_000.0
    rates = link_bench.served_rates(2.0)
    assert rates["clients"] == 16
    assert 0.0 < rates["least"] <= rates["mean"] <= 40.0
