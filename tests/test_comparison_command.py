"""`donkey-rl tracks compare`: its output, its files, and one clear line for each mistake."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from donkey_rl import cli, tables
from donkey_rl.envs.simulator import track as tracks
from tests import comparisons
from tests import synthetic_recordings as synthetic
from tests.comparisons import CAR, compare, drive, painted

TINY = ("--set", "encoder.frames=128", "--set", "encoder.epochs=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def both(place: pathlib.Path) -> pathlib.Path:
    return comparisons.write_both(place / "both")


@pytest.fixture(scope="module")
def blind(place: pathlib.Path) -> pathlib.Path:
    return synthetic.write_csv(drive(), place / "blind")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("FORCE_COLOR", "MLFLOW_TRACKING_URI", cli.DEBUG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("terminal")
def test_the_command_prints_one_object_and_writes_a_sheet(
    both: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tracks", "compare", "--recording", str(both), "--vehicle", CAR, "--json"]
    assert cli.main([*words, "--sheet", "pairs.PNG", *TINY]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sheet"] == "pairs.PNG"
    assert result["not_measurable"] == {}
    # Hardly trained at all, but it reads.
    assert result["reading"]["frames"] > 200
    assert result["reading"]["lateral_offset"]["correlation"] is not None
    with Image.open("pairs.PNG") as sheet:
        # Two pairs beside each other, each twice 64 pixels threefold.
        assert sheet.format == "PNG"
        assert sheet.width > 4 * 3 * 64


@pytest.mark.usefixtures("terminal")
def test_the_command_shows_tables(blind: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tracks", "compare", "--recording", str(blind), "--no-reading"]
    assert cli.main(words) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"Recordings on generated_track, car {CAR}" in shown
    assert "drive 181 0 9" in shown
    assert "cte: correlation 1.0000" in shown
    assert "horizon (pixels) -" in shown
    assert "Not measurable: picture: no record has a frame." in shown


@pytest.mark.usefixtures("terminal")
def test_json_before_the_command_counts_too(
    blind: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tracks", "--json", "compare", "--recording", str(blind), "--no-reading"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["track"] == "generated_track"


@pytest.mark.usefixtures("terminal")
def test_tracks_are_listed_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tracks"]) == 0
    assert "generated_track" in capsys.readouterr().out
    assert cli.main(["tracks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["tracks"]
    assert {row["name"] for row in rows} == set(tracks.names())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "'--recording'"),
        (["--recording", "nowhere"], "nowhere: expected a folder with a recording"),
        (["--recording", "empty"], "empty: expected a recording"),
        (["--recording", "RECORDING", "--track", "warehose"], "Did you mean 'warehouse'?"),
        (["--recording", "RECORDING", "--vehicle", "donkey_2031"], "Unknown vehicle"),
        (["--recording", "RECORDING", "--sheet", "pairs.jpg"], "Received: 'pairs.jpg'"),
        (["--recording", "RECORDING", "--sheet", "no/pairs.png"], "Received: 'no/pairs.png'"),
        (["--recording", "RECORDING", "--set", "camera.fow=80"], "Did you mean 'camera.fov'?"),
        (["--recording", "RECORDING", "--set", "camera.fov=800"], "camera.fov should be"),
        (["--recording", "RECORDING", "--run", "none"], "no run 'none'"),
        (["--recording", "RECORDING", "--trak", "warehouse"], "--trak"),
    ],
)
@pytest.mark.usefixtures("terminal")
def test_mistakes_are_one_line_and_exit_code_2(
    place: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    pathlib.Path("empty").mkdir()
    synthetic.write_csv(painted((48, 64)), pathlib.Path("recording"))
    before = sorted(pathlib.Path().rglob("*"))
    code = cli.main(
        ["tracks", "compare", *(word.replace("RECORDING", "recording") for word in words)]
    )
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in err
    assert code == cli.BAD_INPUT
    assert sorted(pathlib.Path().rglob("*")) == before


def test_tables_show_what_is_unknown(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    away = dataclasses.replace(drive(), motion=drive().motion + 3000.0 * np.eye(6)[0])
    tables.show_comparison(compare(synthetic.write_csv(away, place / "shown")))
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"Recordings on no known track, car {CAR}" in shown
    assert "cte: correlation -" in shown
    (line,) = [line for line in shown if line.startswith("Not measurable: geometry: ")]
    assert line.endswith(".")
