"""The physical limit: what is shipped, how it is computed, and the pace that is measured by it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from donkey_rl.cli import app
from donkey_rl.envs import grip as grips
from donkey_rl.envs import reference
from donkey_rl.envs.grip import Limits
from donkey_rl.envs.optimal import lap as laps
from donkey_rl.envs.optimal.lap import OptimalLap
from donkey_rl.envs.simulator import track, vehicle
from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import limits
from donkey_rl.metrics.examples import drive, steady

FULL = Limits(-1.0, 1.0, 1.0)
ROADS = json.loads(limits.FILE.read_text(encoding="utf-8"))["tracks"]
SHIPPED = [(road, car) for road, entry in ROADS.items() for car in entry["vehicles"]]
RADIUS = 30.0
AGREEMENT = {("warehouse", "donkey_2022"): 0.035}
"""How far both methods may lie apart, where that is more than 0.03."""


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A circle of 30 u that turns right, its road 6 u wide."""
    angles = 2.0 * np.pi * np.arange(24) / 24
    places = RADIUS * np.stack([1.0 - np.cos(angles), np.sin(angles)], axis=1)
    file = tmp_path / "ring.json"
    file.write_text(json.dumps({"waypoints": places.tolist(), "road": {"left": -3, "right": 3}}))
    return file


@pytest.mark.parametrize(("name", "car"), SHIPPED)
def test_shipped_line_takes_its_time_on_the_road_and_a_second_method_agrees(
    name: str, car: str
) -> None:
    line, road = limits.line(name, car), track.load(name)
    assert line is not None
    # Piece by piece, at the mean speed of both ends.
    x, z, speed = (np.append(values, values[0]) for values in (line.x, line.z, line.speed))
    pieces = np.hypot(np.diff(x), np.diff(z))
    assert (2.0 * pieces / (speed[1:] + speed[:-1])).sum() == pytest.approx(line.lap_s, rel=0.005)
    # A wheel reaches 0.7 u from the car's middle at least. `locate` may find another stretch
    # where two lie on each other, which is no farther away.
    _, lateral = road.path.locate(np.stack([line.x, line.z], axis=1))
    assert road.road_left + 0.65 < lateral.min()
    assert lateral.max() < road.road_right - 0.65
    second_s = ROADS[name]["vehicles"][car]["quasi_steady_s"]
    assert second_s == pytest.approx(line.lap_s, rel=AGREEMENT.get((name, car), 0.03))


def test_second_method_says_the_same_of_the_line_that_is_shipped() -> None:
    road, car = track.load("generated_track"), vehicle.load("donkey_2021")
    line = limits.line("generated_track", "donkey_2021")
    assert line is not None
    points = np.stack([line.x, line.z], axis=1)
    ahead, behind = np.roll(points, -1, axis=0) - points, points - np.roll(points, 1, axis=0)
    length = np.hypot(*ahead.T)
    turn = np.arctan2(*ahead.T) - np.arctan2(*behind.T)
    turn -= 2.0 * np.pi * np.rint(turn / (2.0 * np.pi))
    bend = 2.0 * turn / (length + np.roll(length, 1))
    # Places are rounded to 1 cm: over three points that is lost in the curvature.
    bend = (np.roll(bend, 1) + bend + np.roll(bend, -1)) / 3.0
    speed = grips.speeds(bend, length, True, grips.measure(road, car, 1.0), FULL)
    time = (2.0 * length / (speed + np.roll(speed, -1))).sum()
    assert time == pytest.approx(line.lap_s, rel=0.03)


def test_shipped_motion_is_one_that_the_simulator_drives() -> None:
    road, car = track.load("waveshare"), vehicle.load("donkey_2021")
    motion = reference.load(road, car)
    assert motion is not None
    rows = np.ones((len(motion.rows), laps.COLUMNS))
    rows[:, : laps.DRIVE + 1] = motion.rows[:, : reference.DRIVE + 1]
    gaps = np.abs(laps.drift(road, car, OptimalLap(math.nan, motion.spacing, rows)))
    # From each of its rows on, the simulator's physics with the motion's commands: after 0.1 s,
    # in which a car drives 0.8 u, it is where the motion says, as fast as it says.
    assert np.median(gaps, axis=0) == pytest.approx([0.0, 0.0, 0.0], abs=0.03)
    assert gaps[:, 0].max() < 0.1
    # All wheels stay 0.2 u inside; it leaves 3 % of the grip.
    turn = motion.rows[:, reference.TURN]
    reach = 0.70 * np.cos(turn) + 0.78 * np.abs(np.sin(turn))
    lateral = motion.rows[:, reference.LATERAL]
    assert (lateral + reach).max() < road.road_right - 0.19
    assert (lateral - reach).min() > road.road_left + 0.19


def test_limit_is_that_of_this_road_or_unknown() -> None:
    race = drive(steady(10.0, 1.0), track="generated_track", vehicle="donkey_2021",
                 track_length=214.9723, road_left=-7.2, road_right=2.8)  # fmt: skip
    header, line = race.header, limits.line("generated_track", "donkey_2021")
    assert line is not None
    assert limits.lap_s(header) == line.lap_s
    mirrored = {"track": "generated_track:mirror", "road_left": -2.8, "road_right": 7.2}
    assert limits.lap_s(header.model_copy(update=mirrored)) == line.lap_s
    # No lap of less than 20 s would count.
    assert limits.lap_s(header.model_copy(update={"min_lap_s": 20.0})) == 20.0
    for change in (
        {"track": "generated_trakc"}, {"vehicle": "donkey_1999"}, {"track_length": 300.0},
        {"road_right": 3.8}, {"track": "generated_track:mirror"}, {"closed": False},
    ):  # fmt: skip
        assert math.isnan(limits.lap_s(header.model_copy(update=change))), change
    assert limits.line("my_track", "donkey_2021") is None


def test_line_begins_at_the_start_line_and_has_a_mirror_image() -> None:
    line, road = limits.line("generated_track", "donkey_2021"), track.load("generated_track")
    image = limits.line("generated_track:mirror", "donkey_2021")
    assert line is not None
    assert image is not None
    arc, _ = road.path.locate([line.x[0], line.z[0]])
    assert math.remainder(float(arc) - road.start_line, road.length) == pytest.approx(0.0, abs=0.1)
    assert line.distance[0] == 0.0
    assert line.distance[1] == pytest.approx(1.0, abs=0.01)
    np.testing.assert_array_equal(image.x, -line.x)
    np.testing.assert_array_equal(image.z, line.z)


def test_optimal_lap_of_a_ring_is_its_inner_edge(ring: Path) -> None:
    pytest.importorskip("casadi")
    from donkey_rl.envs.optimal import collocation

    road, car = track.load(str(ring)), vehicle.load("donkey_2021")
    best = collocation.solve(road, car, collocation.LapProblem(spacing=2.0))
    rows = best.rows
    # A lap takes 2 pi sqrt(R / a): short beats fast. The wheels of the inner side reach 0.7 u and
    # more inwards, as the tail of the sliding car hangs out.
    turn = rows[:, laps.TURN]
    reach = 0.70 * np.cos(turn) + 0.78 * np.abs(np.sin(turn))
    assert rows[:, laps.LATERAL] + reach == pytest.approx(3.0, abs=1e-3)
    radius = RADIUS - float(rows[:, laps.LATERAL].mean())
    speed = np.hypot(rows[:, laps.FORWARD], rows[:, laps.RIGHTWARD])
    assert best.lap_s == pytest.approx(2.0 * np.pi * radius / speed.mean(), rel=1e-3)
    # The tyres hold 0.895 * 9.81 = 8.78 u/s2 at most, and must push against drag as well.
    assert 7.2 < float(speed.mean()) ** 2 / radius < 8.78
    assert laps.quasi_steady_s(road, car, best, FULL) == pytest.approx(best.lap_s, rel=0.01)
    assert np.abs(laps.drift(road, car, best)).max() < 0.05


def test_an_open_road_has_no_flying_lap() -> None:
    pytest.importorskip("casadi")
    result = CliRunner().invoke(app, ["tracks", "limit", "generated_road"])
    assert result.exit_code != 0
    assert isinstance(result.exception, InputError)
    assert "needs a circuit" in str(result.exception)


def test_command_adds_a_lap_of_the_users_track_to_a_file(ring: Path, tmp_path: Path) -> None:
    pytest.importorskip("casadi")
    file = tmp_path / "laps.json"
    result = CliRunner().invoke(app, ["tracks", "limit", str(ring), "--out", str(file), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["quasi_steady_s"] == pytest.approx(found["lap_s"], rel=0.03)
    entry = json.loads(file.read_text())["tracks"]["ring"]
    assert entry["vehicles"]["donkey_2022"]["lap_s"] == found["lap_s"]
    assert entry["right"] == 3.0
    other = tmp_path / "other.json"
    other.write_text("[1, 2]")
    with pytest.raises(InputError, match="holds something else"):
        laps.store(other, track.load(str(ring)), vehicle.load("donkey_2022"), {})


def test_without_its_solver_the_command_says_how_to_get_it(
    ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "casadi", None)
    result = CliRunner().invoke(app, ["tracks", "limit", str(ring)])
    assert isinstance(result.exception, InputError)
    assert "pip install casadi" in str(result.exception)


def test_a_road_of_other_friction_is_another_road(ring: Path, tmp_path: Path) -> None:
    shipped = json.loads((track.FOLDER / "warehouse.json").read_text())
    shipped["road"]["friction"] = 0.4
    file = tmp_path / "slippery.json"
    file.write_text(json.dumps(shipped))
    slippery, usual = track.load(str(file)), track.load("warehouse")
    assert slippery.name == usual.name
    assert slippery.digest != usual.digest
    car = vehicle.load("donkey_2022")
    assert reference.load(usual, car) is not None
    assert reference.load(slippery, car) is None
    for road, known in ((usual, True), (usual.mirrored(), True), (slippery, False)):
        race = drive(steady(10.0, 1.0), track=road.name, vehicle="donkey_2022",
                     track_length=road.length, road_left=road.road_left,
                     road_right=road.road_right, track_digest=road.digest)  # fmt: skip
        assert math.isnan(limits.lap_s(race.header)) is not known
    assert limits.line("warehouse", "donkey_2022", slippery.digest) is None


def test_a_lap_of_ones_own_file_counts(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(limits.VARIABLE, raising=False)
    road, car = track.load(str(ring)), vehicle.load("donkey_2021")
    entry = {"lap_s": 12.5, "quasi_steady_s": 12.6, "x": [0], "z": [100], "speed": [900]}
    race = drive(steady(10.0, 1.0), track="ring", vehicle="donkey_2021",
                 track_length=road.length, road_left=road.road_left,
                 road_right=road.road_right, track_digest=road.digest)  # fmt: skip
    assert math.isnan(limits.lap_s(race.header))
    laps.store(tmp_path / "limits.json", road, car, entry)
    assert limits.lap_s(race.header) == 12.5
    image = road.mirrored()
    mirrored = {"track": image.name, "road_left": image.road_left, "road_right": image.road_right}
    header = race.header.model_copy(update=mirrored | {"track_digest": image.digest})
    assert limits.lap_s(header) == 12.5
    assert math.isnan(limits.lap_s(header.model_copy(update={"track_digest": "0" * 64})))
    line = limits.line("ring", "donkey_2021", road.digest)
    assert line is not None
    assert line.z.tolist() == [1.0]
    # The shipped ones are known beside it.
    assert limits.line("warehouse", "donkey_2022") is not None
    (tmp_path / "limits.json").rename(tmp_path / "others.json")
    assert math.isnan(limits.lap_s(race.header))
    monkeypatch.setenv(limits.VARIABLE, str(tmp_path / "others.json"))
    assert limits.lap_s(race.header) == 12.5


@pytest.mark.parametrize("content", ["[1]", "{", '{"tracks": {"ring": 3}}', '{"tracks": []}'])
def test_a_file_that_holds_no_limits_is_passed_over(
    content: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limits.json").write_text(content)
    assert limits.line("ring", "donkey_2021") is None
    assert "passed over" in caplog.text


def test_a_motion_of_the_experts_is_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    motion = {"lateral": [0.0], "turn": [0.0]}
    content = {"tracks": {"ring": {"vehicles": {"donkey_2021": motion}}}}
    (tmp_path / "limits.json").write_text(json.dumps(content))
    assert limits.line("ring", "donkey_2021") is None


def test_a_lap_and_a_motion_go_into_two_files_that_can_be_written(
    ring: Path, tmp_path: Path
) -> None:
    pytest.importorskip("casadi")
    words = ["tracks", "limit", str(ring), "--out", str(tmp_path / "one.json"), "--motion"]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "." / "one.json")])
    assert isinstance(result.exception, InputError)
    assert "two files" in str(result.exception)
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, [*words, str(tmp_path / "file" / "two.json")])
    assert isinstance(result.exception, StorageError)
    assert not (tmp_path / "one.json").exists()
