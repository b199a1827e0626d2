"""Races recorded in a simulator that runs in real time: on disk while they are driven."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import donkey_rl
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.sources import Sight
from donkey_rl.errors import InputError
from donkey_rl.experiments import race_recording, racing
from donkey_rl.experiments.race_recording import RaceFiles, Recording
from donkey_rl.experiments.recording.record import recover
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race
from tests import small_tubs as tubs
from tests.embedded_source import EmbeddedSource
from tests.race_columns import assert_same

CONFIG = EnvironmentConfig(
    camera=CameraConfig(img_w=32, img_h=24), throttle_max=0.2, simulator="10.0.0.7:9091"
)


class LateSource(EmbeddedSource):
    """Each command takes 30 ms; a message is passed over at the third step of each drive."""

    def __init__(self, change: Callable[[int, Sight], Sight] = lambda _, sight: sight) -> None:
        super().__init__(CONFIG)
        self.change = change
        self.steps = 0

    def reset(self, place: object = None) -> Sight:
        self.steps = 0
        return super().reset()

    def receive(self) -> Sight:
        self.steps += 1
        sight = super().receive()._replace(latency_s=0.03, missed=int(self.steps == 3))
        return self.change(self.steps, sight)


def field(source: EmbeddedSource, races: int = 1) -> racing.Field:
    return racing.Field(CONFIG, races, seed=5, world=RemoteWorld(CONFIG, [source]))


def stand(_: racing.Observation) -> npt.NDArray[np.float32]:
    return np.array([[0.0, -1.0]], np.float32)


def test_races_that_are_being_driven_are_not_recovered(tmp_path: pathlib.Path) -> None:
    header = tubs.race().header
    with Recording([header], RaceFiles(tmp_path / "new"), range(1)):
        with pytest.raises(InputError, match="Another recording runs"):
            recover(tmp_path / "new")
        assert (tmp_path / "new" / "race_00.parquet.parts").is_dir()


def test_races_are_on_disk_as_they_were_driven(tmp_path: pathlib.Path) -> None:
    races = field(LateSource(), 2).race(stand, 1, files=RaceFiles(tmp_path / "new"))
    assert len(races) == 2
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["race_00.parquet", "race_01.parquet"]
    for race, name in zip(races, names, strict=True):
        assert_same(Race.load(tmp_path / "new" / name), race)
        # No command led to the first row; the others took 30 ms each.
        assert np.isnan(race["latency_ms"][0])
        assert race["latency_ms"][1:] == pytest.approx(30.0)
        assert np.flatnonzero(race["missed"]).tolist() == [3]
        # Stuck after 5 s, in steps of 0.05 s.
        assert race.duration_s == pytest.approx(5.0, abs=0.11)


def test_a_race_says_what_it_was_driven_on() -> None:
    header = field(LateSource()).race(stand, 1)[0].header
    assert (header.simulator, header.simulator_version) == ("10.0.0.7:9091", "")
    assert header.version == donkey_rl.__version__
    assert {"python", "numpy", "numba", "tensorflow"} <= header.versions.keys()
    assert header.track_digest == track.load("generated_track").digest
    assert header.track_digest != track.load("generated_track:mirror").digest


def test_pictures_are_kept_on_request(tmp_path: pathlib.Path) -> None:
    seen: list[npt.NDArray[np.uint8]] = []
    files = RaceFiles(tmp_path / "races", frames=True)
    races = field(LateSource()).race(stand, 1, files=files, frames=seen)
    pictures = list(race_file.frames(files.path(0)))
    assert len(pictures) == len(races[0]) == len(seen)
    decoded = np.array(Image.open(io.BytesIO(pictures[9] or b"")), np.int64)
    assert decoded.shape == (24, 32, 3)
    assert np.abs(decoded - seen[9]).mean() < 8.0
    (tmp_path / "stored").mkdir()
    race_recording.store(races, files, tmp_path / "stored")
    assert list(race_file.frames(tmp_path / "stored" / "race_00.parquet")) == pictures


def test_a_lost_connection_ends_the_race_before_it(tmp_path: pathlib.Path) -> None:
    source = LateSource(lambda step, sight: sight._replace(restarted=step == 20))
    race = field(source).race(stand, 1, files=RaceFiles(tmp_path))[0]
    # The start and 19 steps; time stands still where the connection was made anew.
    assert len(race) == 20
    assert_same(Race.load(tmp_path / "race_00.parquet"), race)


def test_a_message_that_is_repeated_is_no_row_of_its_own() -> None:
    source = LateSource()
    told: list[float] = []

    def repeat(step: int, sight: Sight) -> Sight:
        told.append(sight.telemetry.time)
        again = told[-2] if step == 5 else told[-1]
        return sight._replace(telemetry=dataclasses.replace(sight.telemetry, time=again))

    source.change = repeat
    race = field(source).race(stand, 1)[0]
    assert np.diff(race["time_s"])[3:6] == pytest.approx([0.05, 0.10, 0.05], abs=0.021)


def test_what_was_driven_is_kept_where_racing_fails(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(step: int, sight: Sight) -> Sight:
        if step == 30:
            raise ZeroDivisionError
        return sight

    files = race_recording.place(CONFIG.simulator, "evaluation-x")
    assert files is not None
    with pytest.raises(ZeroDivisionError):
        field(LateSource(fail)).race(stand, 1, files=files)
    (path,) = tmp_path.glob("races/*-evaluation-x-*/race_00.parquet")
    assert len(Race.load(path)) == 30
    assert f"kept in {files.folder}" in caplog.text
    files.remove()
    assert not os.listdir(tmp_path)


def test_races_of_the_embedded_simulator_are_written_at_their_end(tmp_path: pathlib.Path) -> None:
    assert race_recording.place("embedded", "evaluation-x") is None
    race = field(LateSource()).race(stand, 1)[0]
    race_recording.store([race], None, tmp_path)
    assert_same(Race.load(tmp_path / "race_00.parquet"), race)
