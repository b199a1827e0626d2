"""`donkey-rl race init`: what it asks, what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from donkey_rl import cli
from donkey_rl.race_server import race_file
from donkey_rl.race_server.config import DriveConfig, RaceConfig

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    config = RaceConfig(
        racer_name="Ada: #1", bio="'quoted' \"text\" 1e3", country="no", drive=DriveConfig(port=0)
    )
    race_file.write(config, tmp_path / "race.yaml", replace=False)
    assert race_file.read(tmp_path / "race.yaml") == config
    text = (tmp_path / "race.yaml").read_text()
    assert "# When the car is braked.\nwatchdog:\n  # The newest frame is older" in text
    # Every key has a line above it that says what it is.
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(("#", "-")) and line:
            assert lines[number - 1].lstrip().startswith("#"), line


def test_options_and_defaults_make_a_file_that_others_cannot_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["race", "init", "--yes", "--name", "Ada", "--host", "race.example.org"]
    assert cli.main([*words, "--port", "9092", "--set", "watchdog.stalls=7"]) == 0
    file = Path("race.yaml")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = race_file.read(file)
    assert (config.racer_name, config.host, config.port) == ("Ada", "race.example.org", 9092)
    assert config.watchdog.stalls == 7
    assert uuid.UUID(config.guid).version == 4
    assert config.guid not in capsys.readouterr().out


def test_a_file_is_replaced_only_by_force_and_its_guid_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["race", "init", "mine.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": "mine.yaml",
        "driver": "",
        "warnings": [],
    }
    guid = race_file.read(Path("mine.yaml")).guid
    assert cli.main(["race", "init", "mine.yaml", "--yes", "--name", "Bob"]) == 2
    assert "--force" in capsys.readouterr().err
    assert race_file.read(Path("mine.yaml")).racer_name == "donkey-rl"
    assert cli.main(["race", "init", "mine.yaml", "--yes", "--name", "Bob", "--force"]) == 0
    assert race_file.read(Path("mine.yaml")).racer_name == "Bob"
    assert race_file.read(Path("mine.yaml")).guid == guid
    # Whoever has mistyped something in it does not lose the guid.
    mistyped = Path("mine.yaml").read_text().replace("country:", "cuontry:")
    Path("mine.yaml").write_text(mistyped)
    assert cli.main(["race", "init", "mine.yaml", "--yes", "--force"]) == 2
    assert "'country'" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == mistyped


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--name", "a {b"], "braces"),
        (["--bio", "a\x07b"], "control characters"),
        (["--port", "0"], "port"),
        (["--set", "watchdog.stals=3"], "Did you mean 'watchdog.stalls'"),
        (["--driver", "no/such/driver"], "no driver folder 'no/such/driver'"),
        (["--driver", "~nobody.here/driver"], "no driver folder '~nobody.here/driver'"),
        (["--driver", "models:/donkey-driver@race"], "donkey-driver@race"),
    ],
)
def test_mistakes_are_said_and_nothing_is_written(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["race", "init", "--yes", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().glob("race.yaml"))


def test_it_asks_at_a_terminal_until_the_answer_fits() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "donkey_rl", "race", "init", "--country", "Utopia"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **_path()}
    )
    os.close(theirs)
    # Name (with a brace, then without), label, bio, host, port (no number, then one), driver
    # (none there, then left out), scene.
    for answer in ("A{da", "Ada", "", "", "", "many", "9099", "no/such", "", "warren"):
        os.write(ours, f"{answer}\n".encode())
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        # Linux says so when the other end of a terminal has gone.
        pass
    assert process.wait(30.0) == 0, shown.decode()
    os.close(ours)
    config = race_file.read(Path("race.yaml"))
    assert (config.racer_name, config.car_name, config.country) == ("Ada", "Ada", "Utopia")
    assert (config.host, config.port, config.scene) == ("127.0.0.1", 9099, "warren")
    assert b"braces" in shown
    assert b"no driver folder" in shown
    assert b"port should be a valid integer" in shown
    assert b"--config race.yaml --run RUN_ID" in shown


def _path() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "TERM": "dumb"}


def test_an_address_in_brackets_is_the_address() -> None:
    assert RaceConfig(driver="3f2a", host="[::1]").host == "::1"
    assert RaceConfig(driver="3f2a", host="race.example.org").host == "race.example.org"
    with pytest.raises(ValueError, match="a name or an address alone"):
        RaceConfig(driver="3f2a", host="[::1]:9091")
