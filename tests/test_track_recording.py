"""Tracks that a served simulator has loaded are found again, and can be driven on at once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from donkey_rl.envs import recognition, survey
from donkey_rl.envs.link.reports import NodePosition, Telemetry
from donkey_rl.envs.link_source import open_link
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulators import Address
from donkey_rl.errors import ConfigurationError, DonkeyRLError, StorageError
from donkey_rl.experiments import track_recording
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.track_recording import TrackRecordingRequest, TrackRecordingResult

pytestmark = pytest.mark.usefixtures("coarse_ground")

RMS = 0.3
"""What the centre line may be off (u)."""


@contextlib.contextmanager
def serving(name: str, **settings: object) -> Iterator[Address]:
    config = ServerConfig(
        track=name,
        port=0,
        private_port=None,
        time_scale="max",
        **settings,  # type: ignore[arg-type]
    )
    with background.running(config) as server:
        yield Address("127.0.0.1", server.port)


def record(where: Address, folder: Path, **changes: object) -> TrackRecordingResult:
    values = {
        "simulator": f"{where.host}:{where.port}",
        "name": "found",
        "out": folder / "found.json",
        **changes,
    }
    request = TrackRecordingRequest(**values)  # type: ignore[arg-type]
    with ProgressDisplay() as progress:
        return track_recording.record(request, progress)


def rms(found: track.Track, wanted: track.Track) -> float:
    """How far the lines are from each other, either way (u); points lie 0.5 u apart."""
    there = found.path.clearance(wanted.path.points)
    back = wanted.path.clearance(found.path.points)
    return float(np.sqrt(max((there**2).mean(), (back**2).mean())))


@pytest.mark.parametrize("name", track.names())
def test_nodes_give_every_scene_back(name: str, tmp_path: Path) -> None:
    with serving(name) as where:
        result = record(where, tmp_path)
    wanted, found = track.load(name), track.load(result.file)
    assert result.method == "nodes"
    assert found.closed == wanted.closed
    assert found.length == pytest.approx(wanted.length, rel=0.01)
    assert rms(found, wanted) < RMS


@pytest.mark.parametrize("name", ["generated_track", "circuit_launch"])
def test_a_driven_lap_gives_the_line_back(name: str, tmp_path: Path) -> None:
    with serving(name) as where:
        result = record(where, tmp_path, drive=True)
    assert result.method == "lap"
    assert rms(track.load(result.file), track.load(name)) < RMS


def test_cars_before_2022_answer_no_nodes_and_drive_a_lap(tmp_path: Path) -> None:
    with serving("waveshare", generation=2021) as where:
        result = record(where, tmp_path, left=-2.5, right=2.5)
    assert result.method == "lap"
    assert result.closed
    assert rms(track.load(result.file), track.load("waveshare")) < RMS


class RoundPath:
    """A connection to a simulator of 2022 whose path has 40 nodes; some are never answered."""

    def __init__(self, silent: dict[int, int]) -> None:
        self.silent = silent

    @property
    def telemetry(self) -> Telemetry:
        places = {"position": (0.0, 0.0, 0.0), "angles": (0.0, 0.0, 0.0)}
        return Telemetry("", 0.0, 0.0, nodes=40, **places)

    def reset(self) -> RoundPath:
        return self

    def control(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        raise NotImplementedError

    def next_frame(self, timeout_s: float | None = None) -> RoundPath:
        raise NotImplementedError

    def node_position(self, index: int) -> NodePosition | None:
        self.silent[index] = self.silent.get(index, 0) - 1
        angle = index / 40 * 2.0 * np.pi
        place = (float(20.0 * np.sin(angle)), 0.0, float(20.0 * np.cos(angle)))
        return None if self.silent[index] >= 0 else NodePosition(index, place)


def test_a_node_that_is_not_answered_in_time_is_asked_for_again() -> None:
    found = survey.survey(RoundPath({0: 1, 20: 3}), lambda done, total: None)
    assert (found.method, len(found.points), found.closed) == ("nodes", 40, True)
    with pytest.raises(DonkeyRLError, match=r"has 40 nodes and does not answer for number 20"):
        survey.survey(RoundPath({20: 1000}), lambda done, total: None)


def test_start_and_edges_are_in_the_file(tmp_path: Path) -> None:
    with serving("warehouse") as where:
        result = record(where, tmp_path, left=-4.0, right=3.0)
    written = json.loads(Path(result.file).read_text(encoding="utf-8"))
    wanted = track.load("warehouse").grid.poses[0]
    (pose,) = written["grid"]["poses"]
    assert (pose["x"], pose["z"]) == pytest.approx((wanted.x, wanted.z), abs=0.01)
    assert pose["yaw_deg"] == pytest.approx(np.degrees(wanted.yaw), abs=0.1)
    assert written["road"] == {"left": -4.0, "right": 3.0}


@pytest.mark.parametrize(("left", "right"), [(-0.9, 0.9), (1.0, 9.0)])
def test_a_road_may_be_narrow_or_beside_the_line(
    left: float, right: float, tmp_path: Path
) -> None:
    with serving("warehouse") as where:
        result = record(where, tmp_path, left=left, right=right)
    assert result.road_left_u == left
    assert left < result.road_right_u <= right
    with pytest.raises(ValueError, match=r"1\.5 u wide at least"):
        TrackRecordingRequest(simulator="127.0.0.1:1", name="found", left=-0.5, right=0.5)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError, match=r"exists already.*--name or --out"):
        record(Address("127.0.0.1", 1), tmp_path)
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_place_that_cannot_be_written_is_said_before_anything_is_driven(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError, match=r"Cannot write .*found.json"):
        # Nobody answers there: a survey would fail otherwise.
        record(Address("127.0.0.1", 1), tmp_path / "taken")


def test_race_host_without_positions_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with (
        serving("waveshare", extended_telemetry=False) as where,
        pytest.raises(ConfigurationError, match=r"no positions.*extended telemetry"),
    ):
        record(where, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["embedded", "127.0.0.1:9091,127.0.0.1:9093"])
def test_one_other_simulator_is_wanted(where: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="from one other simulator"),
        ProgressDisplay() as p,
    ):
        track_recording.record(TrackRecordingRequest(simulator=where, name="x"), p)


@pytest.mark.parametrize("name", ["../up", "", "a b", ".hidden"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        TrackRecordingRequest(simulator="127.0.0.1:9091", name=name)


@pytest.mark.parametrize("name", ["generated_track", "mountain_track", "warren", "thunderhill"])
@pytest.mark.parametrize("generation", [2021, 2022])
def test_scene_is_recognised_by_where_its_car_stands(name: str, generation: int) -> None:
    with serving(name, generation=generation) as where, open_link(where) as link:
        told = link.reset().telemetry
    assert recognition.scenes(told)[0] == name
    assert recognition.describe(told).startswith(name)


def test_unknown_scene_is_said_to_be_unknown(tmp_path: Path) -> None:
    square = [[0, 0], [0, 40], [40, 40], [40, 0], [30, -10], [20, -14], [10, -12], [4, -8]]
    shifted = [[x + 5000, z + 5000] for x, z in square]
    file = tmp_path / "far.json"
    file.write_text(json.dumps({"waypoints": shifted, "road": {"left": -2, "right": 2}}))
    with serving(str(file)) as where, open_link(where) as link:
        told = link.reset().telemetry
    assert recognition.describe(told) == "none of the known ones"


def test_evening_takes_a_kink_away_and_leaves_a_circle() -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 200, endpoint=False)
    circle = 20.0 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    kinked = circle.copy()
    kinked[50] += (1.0, 0.0)
    found = survey.evened(survey.Survey(kinked, True, "nodes", (0.0, 0.0, 0.0), None), 1.5)
    gaps = np.abs(np.hypot(*found.T) - 20.0)
    # A bell of 1.5 u on a circle of 20 u pulls it in by 1.5^2 / 40 = 0.056 u.
    assert np.median(gaps) == pytest.approx(0.056, abs=0.005)
    assert gaps.max() < 0.4
