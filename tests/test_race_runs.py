"""Races at a host as runs: from a record, and from a car at a real host."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from donkey_rl import cli, configuration
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.errors import InputError, StoreAwayError
from donkey_rl.experiments import (
    leaderboard,
    mlflow_store,
    race_pictures,
    race_runs,
    stored_runs,
)
from donkey_rl.experiments.leaderboard import LeaderboardRequest
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics.race import Race
from donkey_rl.race_server.car import Car
from donkey_rl.race_server.interface import Answer
from donkey_rl.race_server.record import reader
from donkey_rl.race_server.record.header import secrets
from donkey_rl.race_server.record.tape import FileTape
from tests import new_stores, race_cars
from tests import race_records as records
from tests import stored_evaluations as stored

TRAINED = "cd" * 16
SPEED = 5.0
DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("team")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", new_stores.make(folder))
        patch.chdir(folder)
        yield folder


def script(folder: Path) -> Path:
    """A heat of two laps, and one in which the car is disqualified in its second lap."""
    drive = records.Script(folder)
    drive.tape.note("link", {"state": "connected", "reason": ""})
    drive.heat(1.5, 1.25)
    drive.tape.note("link", {"state": "lost", "reason": "cut"})
    drive.tape.note("link", {"state": "connected", "reason": ""})
    drive.go()
    drive.event("cross_start", lap_time=0.0)
    drive.frames(1.0)
    drive.event("cross_start", lap_time=1.0)
    drive.tape.note("command", {"throttle": 0.0, "why": "watchdog", "took_ms": None})
    drive.tape.note("command", {"throttle": 0.0, "why": "watchdog", "took_ms": None})
    drive.frames(0.5)
    drive.event("DQ", missed_cp=True)
    drive.tape.note("link", {"state": "figures", "round_trip_s": 0.0815})
    drive.tape.note("link", {"state": "lost", "reason": "the race has ended"})
    return drive.close()


def in_run(run_id: str) -> Path:
    return Path(stored_runs.find(run_id).artifact_uri.removeprefix("file://")) / race_runs.FOLDER


def test_a_record_becomes_one_run_with_all_that_is_known(place: Path) -> None:
    folder = script(place / "races" / "one")
    with ProgressDisplay() as progress:
        result = race_runs.log_result(folder, progress)
        # However often it is logged.
        assert race_runs.log(folder, progress) == result.run_id
    run = stored_runs.find(result.run_id)
    assert len(stored_runs.search("tags.kind = 'race'", 10)) == 1
    assert (run.name, run.status) == ("race generated_track Ann", "FINISHED")
    known = {
        "kind": "race", "host": "10.0.0.9:9191", "racer": "Ann", "car": "Ann's car",
        "track": "generated_track", "vehicle": "donkey_2022", "driver": "lap18",
        "driver_hash": "ab" * 32, "trained_by": TRAINED,
    }  # fmt: skip
    assert known.items() <= run.tags.items()
    assert (run.params["racer_name"], run.params["watchdog.frame_s"]) == ("Ann", "0.15")
    told = json.dumps([dict(run.params), dict(run.tags)])
    assert records.GUID not in told
    assert records.TOKEN not in told
    figures = {
        "race/drives": 2, "race/laps": 3, "race/best_lap_s": 1.0, "race/mean_lap_s": 1.25,
        "race/disqualified": 1, "race/disconnects": 1, "race/frames": 125, "race/lap_s": 1.0,
        "race/latency_p50_ms": 4.0, "race/latency_p99_ms": 4.0, "race/round_trip_ms": 81.5,
        "fault/frames_stopped": 1, "record/lines": 270, "record/missing": 0,
        "drive/disqualified": 1.0, "drive/laps": 1.0,
    }  # fmt: skip
    assert figures.items() <= run.metrics.items()
    files = in_run(result.run_id)
    names = {path.name for path in files.iterdir()}
    assert names == {
        "one", "race.mp4", "race.png", "race_00.parquet", "race_01.parquet", "result.json",
    }  # fmt: skip
    assert reader.read(files / "one").count == 270
    race = Race.load(files / "race_00.parquet")
    assert (len(race), race.header.laps, race.header.run_id) == (95, 2, TRAINED)
    # 4.7 s of the heat and 1.45 s of the other drive, a frame at both ends.
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(files / "race.mp4"))
    assert (frames, seconds) == (95 + 30, pytest.approx(6.25, abs=0.1))


def test_what_broke_off_is_logged_to_its_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = script(place / "races" / "two")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with ProgressDisplay() as progress:
        with monkeypatch.context() as patch:
            patch.setattr(race_runs, "_store", interrupted)
            with pytest.raises(KeyboardInterrupt):
                race_runs.log(folder, progress)
        (begun,) = (
            run
            for run in stored_runs.search("tags.kind = 'race'", 10)
            if run.tags[race_runs.RECORD_TAG] == reader.read(folder).header.id
        )
        assert begun.status == "KILLED"
        assert race_runs.log(folder, progress) == begun.id
    assert stored_runs.find(begun.id).status == "FINISHED"
    assert (in_run(begun.id) / "race.mp4").exists()


def test_a_store_that_is_away_leaves_the_record_and_says_what_to_do(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = script(place / "races" / "three")
    with monkeypatch.context() as patch, ProgressDisplay() as progress:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(StoreAwayError, match=f"donkey-rl race log {folder}"):
            race_runs.log(folder, progress)
    assert cli.main(["race", "log", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run_id"] == stored_runs.search("tags.kind = 'race'", 1)[0].id
    assert told["drives"][1]["disqualified"] == "missed checkpoint"
    assert told["best_lap_s"] == 1.0
    assert cli.main(["race", "log", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "2 drives, 3 laps, best 1.00 s" in said
    assert cli.main(["race", "log", str(place)]) == 2
    assert "holds no record of a race" in capsys.readouterr().err


def test_races_at_a_host_are_no_drivers_and_on_no_board(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = mlflow_store.tracking_uri()
    other = stored.store("evaluated", {"evaluation": stored.races([20.0, 21.0])}, uri)
    with ProgressDisplay() as progress:
        run_id = race_runs.log(script(place / "races" / "four"), progress)
        found = leaderboard.leaderboard(LeaderboardRequest(), progress)
    assert [row.run_id for board in found.boards for row in board.rows] == [other]
    assert found.problems == ()
    assert cli.main(["compare", other, run_id]) == 2
    assert f"no driver. Take run {TRAINED}" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"no driver. Take run {TRAINED}"):
        stored_runs.download_driver(run_id)
    assert cli.main(["report", run_id, other, "--out", "report.html"]) == 0
    assert "race generated_track Ann" in Path("report.html").read_text(encoding="utf-8")


def test_a_record_without_a_drive_is_logged_too(place: Path) -> None:
    waiting = records.Script(place / "races" / "five")
    waiting.frames(0.5)
    with ProgressDisplay() as progress:
        result = race_runs.log_result(waiting.close(), progress)
    assert (result.drives, result.laps, result.best_lap_s) == ((), 0, None)
    assert {path.name for path in in_run(result.run_id).iterdir()} == {"five", "result.json"}


class LookingTape(FileTape):
    """A tape that a driver looks at: it has been told more than a driver sees."""

    told: dict[str, Any]

    def note(self, kind: Any, fields: Any, picture: bytes | None = None) -> None:
        super().note(kind, fields, picture)
        if kind == "frame":
            self.told = dict(fields)


def evening(place: Path) -> ServerConfig:
    """A host of 2021 that times laps, eight times as fast as a clock."""
    return configuration.validate(
        ServerConfig,
        {
            "port": 0, "private_port": None, "generation": 2021, "track": "waveshare",
            "time_scale": 8.0,
            "race": {"results": place / "evening.json", "extended_telemetry": True},
        },
    )  # fmt: skip


@pytest.mark.slow
def test_a_car_at_a_host_leaves_a_record_of_its_laps(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race_pictures, "MOST_S", 2.0)
    before = 0.0

    def follow(_: object) -> Answer:
        nonlocal before
        error = float(tape.told["cte"])
        steering = -0.5 * error - 3.0 * (error - before)
        before = error
        # The car of 2021 reports u/s.
        throttle = 1.0 if tape.told["speed"] < SPEED else -1.0
        action = np.clip([steering, throttle], -1.0, 1.0).astype(np.float32)
        return Answer(action, "", 0.001)

    seat = race_cars.FakeSeat(follow, vehicle="donkey_2021", throttle_limits=(0.0, 0.5))
    with background.running(evening(place)) as server:
        race = race_cars.settings(
            server.port, guid=records.GUID, scene="waveshare", watchdog={"frame_s": 2.0}
        )
        header = records.header(race).model_copy(update={"vehicle": "donkey_2021"})
        tape = LookingTape(place / "races" / "host", header, secrets=secrets(race))
        car = Car(race, seat, tape, race_cars.MemoryBoard())
        thread = threading.Thread(target=car.run)
        thread.start()
        end = time.monotonic() + DEADLINE_S
        while len(car.status.laps_s) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        laps = car.status.laps_s
        car.end()
        thread.join(DEADLINE_S)
        tape.close()
    with ProgressDisplay() as progress:
        result = race_runs.log_result(tape.folder, progress)
    assert result.missing == 0
    assert result.laps >= 2
    # A video is no longer than it may be.
    film = in_run(result.run_id) / "race.mp4"
    assert imageio_ffmpeg.count_frames_and_secs(str(film))[0] == 40
    # On a busy machine the car may not have reached the line in time at first.
    number, drive = next(
        (k, each) for k, each in enumerate(result.drives) if len(each.laps_s) >= 2
    )
    assert drive.laps_s[:2] == pytest.approx(laps[:2])
    assert records.GUID.encode() not in b"".join(
        path.read_bytes() for path in tape.folder.iterdir()
    )
    whole = Race.load(in_run(result.run_id) / f"race_{number:02d}.parquet")
    # Places were told: the laps by the way along the path are those of the host.
    assert whole.header.unknown == frozenset()
    by_path = Race(whole.header.model_copy(update={"timing": None}), whole.columns)
    # Between frames that were passed over the line is found less sharply.
    gap = float(np.diff(whole["time_s"]).max())
    sharp = 0.02 if gap < 0.2 else gap
    found = [lap.time_s for lap in lap_times.laps(by_path)]
    assert found[:2] == pytest.approx(laps[:2], abs=sharp)
