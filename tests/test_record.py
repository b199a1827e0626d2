"""Recording races by a driver, what a recording folder holds, and learning from it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from donkey_rl import cli, configuration
from donkey_rl.envs.recordings import formats
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import vehicle
from donkey_rl.errors import InputError
from donkey_rl.experiments import race_frames, recorded_drives
from donkey_rl.experiments.data.store import open_store
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.recording import record as recording
from donkey_rl.experiments.recording import tape as tapes
from donkey_rl.experiments.recording.record import RecordRequest, RecordResult
from donkey_rl.experiments.recording.tape import Tape
from donkey_rl.metrics.examples import drive
from donkey_rl.metrics.race import COLUMNS, Race
from donkey_rl.metrics.race_writer import RaceWriter

ROOT = pathlib.Path(__file__).parents[1]
SMALL = ("camera.img_w=32", "camera.img_h=24", "throttle_min=-1")


def run(folder: pathlib.Path, **values: object) -> RecordResult:
    request = configuration.validate(
        RecordRequest, {"driver": "pursuit", "settings": SMALL, "out": folder, **values}
    )
    return recording.record(request, ProgressDisplay(), lambda _: None)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> RecordResult:
    return run(tmp_path_factory.mktemp("lessons"), laps=1, races=2)


def test_pursuit_records_races_with_pictures(lessons: RecordResult) -> None:
    assert lessons.driver == "pursuit"
    assert [pathlib.Path(race.file).name for race in lessons.races] == [
        "race_00.parquet",
        "race_01.parquet",
    ]
    assert lessons.laps == lessons.clean_laps == 2
    for told in lessons.races:
        race = Race.load(told.file)
        assert (race.header.driver, race.header.laps) == ("pursuit", 1)
        assert race.header.conditions == dict(each.split("=") for each in SMALL)
        assert told.rows == len(race) == len(list(race_frames.recorded(told.file)))
        assert told.seconds == race.duration_s > told.laps[0].time_s > 10.0


def test_time_limits_races_and_none_is_ever_replaced(lessons: RecordResult) -> None:
    folder = pathlib.Path(lessons.folder)
    before = (folder / "race_00.parquet").read_bytes()
    more = run(folder, minutes=0.05, frames=False)
    (race,) = more.races
    assert pathlib.Path(race.file).name == "race_02.parquet"
    assert race.seconds == pytest.approx(3.0, abs=0.06)
    assert Race.load(race.file).header.laps == 1
    assert (folder / "race_00.parquet").read_bytes() == before
    pathlib.Path(race.file).unlink()


def test_imitation_learns_from_recorded_races(lessons: RecordResult) -> None:
    values = {"camera": {"img_w": 32, "img_h": 24}, "throttle_min": -1.0}
    config = configuration.validate(EnvironmentConfig, values)
    drives = recorded_drives.read(pathlib.Path(lessons.folder), config)
    assert [len(each) for each in drives] == [race.rows - 1 for race in lessons.races]
    race = Race.load(lessons.races[0].file)
    rows = np.array([0, 7, 300])
    seen, actions = drives[0].observations(rows)
    # A frame's command is that of the row after it, its history that of its own row.
    assert actions == pytest.approx(
        np.stack([race["steering"][rows + 1], race["throttle"][rows + 1]], axis=1), abs=1e-6
    )
    assert seen["last_actions"][1:, -2] == pytest.approx(race["steering"][rows[1:]], abs=1e-6)
    # What a driver reads of the inertial sensors is of the way until then, not of the command.
    turned = np.diff(np.unwrap(race["yaw"]))[rows[1:] - 1] / np.diff(race["time_s"])[rows[1:] - 1]
    assert seen["imu"][1:, 4] == pytest.approx(turned, abs=1e-3)
    assert seen["imu"][0, 4] == 0.0
    scale = vehicle.load(race.header.vehicle).report_scale
    assert seen["speed"][:, 0] == pytest.approx(race["speed"][rows] / scale, abs=1e-6)
    pictures = list(race_frames.recorded(lessons.races[0].file))
    for image, row in zip(seen["image"], rows, strict=True):
        assert (image == pictures[row]).all()


def test_what_cannot_be_learned_from_is_said(
    lessons: RecordResult, tmp_path: pathlib.Path
) -> None:
    config = configuration.validate(
        EnvironmentConfig, {"camera": {"img_w": 32, "img_h": 24}, "vehicle": "donkey_2021"}
    )
    with pytest.raises(InputError, match=r"--set vehicle=donkey_2022"):
        recorded_drives.read(pathlib.Path(lessons.folder), config)
    drive(np.linspace(0.0, 20.0, 40)).save(tmp_path / "bare.parquet")
    with pytest.raises(InputError, match="with pictures"):
        formats.read(tmp_path)
    (tmp_path / "bare.parquet").write_bytes(b"PAR1 is not all of it")
    with pytest.raises(InputError, match="no readable Parquet"):
        formats.read(tmp_path / "bare.parquet")


def test_a_command_that_came_too_late_is_not_learned(tmp_path: pathlib.Path) -> None:
    race = drive(np.linspace(0.0, 20.0, 40), missed=np.arange(40) == 10)
    with RaceWriter(tmp_path / "race.parquet", race.header, frames=True) as writer:
        for row in range(len(race)):
            writer.append({name: race[name][row] for name in COLUMNS}, b"\xff\xd8 no picture")
    (read,) = formats.read(tmp_path / "race.parquet")
    assert np.flatnonzero(np.isnan(read.steering)).tolist() == [9, 39]
    # Its pictures are none: they are left out, never an error.
    assert read.frame_size() is None


def test_a_tape_counts_time_and_progress_from_where_it_begins(tmp_path: pathlib.Path) -> None:
    race = drive(np.linspace(5.0, 25.0, 40), lap=np.full(40, 2))
    rows = [{name: race[name][k] for name in COLUMNS} for k in range(10, 40)]
    with Tape(tmp_path, frames=False) as tape:
        tape.start(race.header)
        for row in rows[:15]:
            tape.append(row, b"")
            # A message that another simulator sends twice.
            tape.append(row, b"")
        tape.start(race.header)
        for row in rows[15:]:
            tape.append(row, b"")
        assert tape.seconds == pytest.approx(14 * 0.05 * 2)
    assert [path.name for path in tape.files] == ["race_00.parquet", "race_01.parquet"]
    kept = Race.load(tape.files[1])
    assert kept["time_s"][0] == kept["progress"][0] == kept["lap"][0] == 0.0
    assert kept["progress"][-1] == pytest.approx(rows[-1]["progress"] - rows[15]["progress"])


def test_a_driver_that_cannot_start_is_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["record", "--driver", "persuit", "--out", str(tmp_path)]) == cli.BAD_INPUT
    assert "'persuit'" in capsys.readouterr().err
    assert cli.main(["record", "--recover", str(tmp_path)]) == cli.BAD_INPUT
    assert "no race that was left unfinished" in capsys.readouterr().err
    assert cli.main(["record", "--races", "2", "--out", str(tmp_path)]) == cli.BAD_INPUT
    assert "leave --races out" in capsys.readouterr().err
    taken = tmp_path / "file"
    taken.write_text("")
    words = ["record", "--driver", "pursuit", "--laps", "1", "--out", str(taken)]
    assert cli.main(words) == cli.BAD_INPUT
    assert "--out" in capsys.readouterr().err


def test_what_was_recorded_is_pushed(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = tmp_path / "races", tmp_path / "store"
    words = ["record", "--driver", "pursuit", "--minutes", "0.03", "--out", str(folder), "--json"]
    words += [word for each in SMALL for word in ("--set", each)]
    assert cli.main([*words, "--name", "Not A Name"]) == cli.BAD_INPUT
    assert not folder.exists()
    words += ["--name", "lessons", "--store", str(store)]
    # The same drive would be the same file, which a set holds once.
    for seed in ("0", "1"):
        assert cli.main([*words, "--seed", seed]) == cli.SUCCESS
        result = json.loads(capsys.readouterr().out)
        name, _, version = result["data_set"].partition("@")
        (told,) = result["races"]
        held = open_store(str(store)).dataset(name, version)
        assert pathlib.Path(told["file"]).name in {entry.path for entry in held.files}
    assert len(held.files) == 2


def test_a_record_says_what_was_changed_on_purpose(tmp_path: pathlib.Path) -> None:
    late = [f"latency.{end}_ms=100" for end in ("low", "high")]
    changes = (*SMALL, *late, "opponents.count=1")
    (told,) = run(tmp_path / "late", minutes=0.02, noise=0.1, settings=changes).races
    conditions = Race.load(told.file).header.conditions
    assert conditions["latency_ms"] == 100.0
    assert conditions["noise"] == 0.1
    assert conditions["throttle_min"] == "-1"
    assert "pursuit" in str(conditions["opponents"])


@pytest.mark.skipif(os.name != "posix", reason="there are no such signals")
def test_ctrl_c_ends_a_recording_and_keeps_it(tmp_path: pathlib.Path) -> None:
    refused: list[str] = []

    def press() -> None:
        while not list(tmp_path.glob("*.parts/part-00000.parquet")):
            time.sleep(0.02)
        others: list[Callable[[], object]] = [
            lambda: recording.recover(tmp_path),
            lambda: run(tmp_path),
        ]
        for begin in others:
            try:
                begin()
            except InputError as error:
                refused.append(str(error))
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press, daemon=True)
    finger.start()
    result = run(tmp_path, minutes=600)
    finger.join()
    assert result.ended == "Ctrl-C"
    assert ["Another recording runs" in each for each in refused] == [True, True]
    (race,) = result.races
    assert Race.load(race.file).duration_s == race.seconds
    assert not tapes.unfinished(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no such signal")
def test_what_was_driven_is_kept_when_it_is_killed(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "killed"
    words = ["record", "--driver", "pursuit", "--minutes", "600", "--out", str(folder)]
    settings = [word for each in SMALL for word in ("--set", each)]
    process = subprocess.Popen(
        [sys.executable, "-m", "donkey_rl", *words, *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    end = time.monotonic() + 300.0
    while not list(folder.glob("*.parts/part-00001.parquet")) and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (left,) = tapes.unfinished(folder)
    (race,) = recording.recover(folder)
    assert race.rows >= 200
    assert not left.exists()
    assert len(list(race_frames.recorded(race.file))) == race.rows
