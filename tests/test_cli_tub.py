"""`donkey-rl data import` and `export`: what they print, and what they say of mistakes."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from donkey_rl import cli
from donkey_rl.metrics.race import Race
from tests import small_tubs


@pytest.fixture(autouse=True)
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DONKEY_RL_DATA", raising=False)
    small_tubs.write(
        tmp_path / "mycar", [small_tubs.record(k) for k in range(8)], deleted=[2], length=5
    )
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main([*words, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_tub_goes_through_a_data_set(
    here: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "import", "mycar", "--name", "evenings", "--driver", "Ann")
    first, again = told(capsys, *words), told(capsys, *words)
    assert (first["rows"], first["deleted"], first["left_out"]) == (7, 1, 0)
    assert (first["pushed"]["added"], first["pushed"]["is_new"]) == (1, True)
    # The same tub makes the same races, which the set has already.
    assert (again["pushed"]["added"], again["pushed"]["already_there"]) == (0, 1)
    result = told(capsys, "data", "export", "evenings", "--to-tub", "back")
    assert (result["records"], result["deleted"], result["renumbered"]) == (8, 1, False)
    assert small_tubs.contents(here / "back") == small_tubs.contents(here / "mycar")
    assert told(capsys, "data", "show", "evenings")["drivers"] == {"Ann": 1}


def test_files_and_folders_can_be_named(
    here: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mycar" / "images" / "5_cam_image_array_.jpg").unlink()
    assert cli.main(["data", "import", "mycar", "--out", "races"]) == 0
    printed = capsys.readouterr().out
    assert "1 of 8 records has no image (first: catalog_1.catalog line 1): left out" in printed
    assert "races/mycar_00.parquet" in printed
    race = Race.load(here / "races" / "mycar_00.parquet")
    assert race.header.driver == ""
    small_tubs.save(small_tubs.race(4), here / "own.parquet")
    words = ["data", "export", "races", "own.parquet", "--to-tub", "back"]
    assert cli.main(words) == 0
    assert "11, 1 deleted; numbered anew" in capsys.readouterr().out
    assert len(list((here / "back" / "images").iterdir())) == 11


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "mycar"], "into a data set (--name) or a folder (--out). Received: neither"),
        (["import", "mycar", "--name", "a", "--out", "b"], "Received: both"),
        (["import", "nothing", "--out", "b"], "expected the folder of a donkeycar tub"),
        (["import", "mycar", "--out", "b", "--vehicle", "donkey_2012"], "Did you mean"),
        (["import", "mycar", "--out", "b", "--track", "warehose"], "Did you mean 'warehouse'"),
        (["export", "nothing", "--to-tub", "b"], "Unknown data set 'nothing'"),
        (["export", "nothing.parquet", "--to-tub", "b"], "There is no race record at"),
        (["export", "mycar", "--to-tub", "b"], "expected a folder with race records"),
        (["export", "mycar/manifest.json", "--to-tub", "b"], "is no readable Parquet file"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, here: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", *words]) == cli.BAD_INPUT
    caught = capsys.readouterr()
    assert caught.out == ""
    line = caught.err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in caught.err
    assert not (here / "b").exists()


def test_strict_refuses_before_anything_is_written(
    here: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mycar" / "manifest.json").write_text("")
    assert cli.main(["data", "import", "mycar", "--out", "b", "--strict"]) == cli.BAD_INPUT
    assert "manifest.json is broken (expected 5 lines" in capsys.readouterr().err
    assert not (here / "b").exists()
