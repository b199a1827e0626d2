"""Records of races as race records, and what metrics say of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.sources import Sight
from donkey_rl.experiments import race_drives, racing, video
from donkey_rl.experiments.race_drives import Drive
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import registry
from donkey_rl.metrics.examples import drive as example
from donkey_rl.metrics.examples import steady
from donkey_rl.metrics.heat import heat
from donkey_rl.metrics.race import Race
from donkey_rl.race_server.record import reader, replay
from tests import race_records as records
from tests.embedded_source import EmbeddedSource
from tests.test_race_replay import Board


def drives(script: records.Script) -> list[Drive]:
    return list(race_drives.drives(reader.read(script.close())))


def test_a_heat_is_a_race_with_the_laps_of_its_host(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    # Before GO, and between the runs: none of the race.
    script.frames(1.0, speed=0.0)
    script.heat(18.25, 17.5, 19.0)
    script.frames(1.0, speed=0.0)
    (drive,) = drives(script)
    race = drive.race
    header = race.header
    assert (header.track, header.vehicle, header.simulator) == (
        "generated_track", "donkey_2022", "10.0.0.9:9191",
    )  # fmt: skip
    assert (header.driver, header.driver_hash, header.run_id) == ("lap18", "ab" * 32, "cd" * 16)
    assert header.unknown == {"x", "z", "progress", "lateral", "cte", "node", "off_track"}
    # 2 s to the line and 54.75 s of laps, 20 frames a second.
    assert len(race) == 1135
    assert race.duration_s == pytest.approx(56.7)
    assert race["speed"] == pytest.approx(12.0)
    assert race["yaw"] == pytest.approx(math.pi / 2)
    assert [lap.time_s for lap in lap_times.laps(race)] == [18.25, 17.5, 19.0]
    assert [lap.clean for lap in lap_times.laps(race)] == [True] * 3
    assert race["lap"][-1] == 2
    assert np.isnan(race["latency_ms"][0])
    assert race["latency_ms"][1:] == pytest.approx(4.0)
    assert not race["missed"].any()
    found = heat(race)
    assert ([lap.time_s for lap in found.laps], found.fault) == ([18.25, 17.5, 19.0], "")
    assert [place is not None for place in drive.pictures] == [True] * 1135
    # It is written and read like any other.
    again = Race.load(race.save(tmp_path / "race.parquet"))
    assert again.header == header


def test_no_metric_is_made_of_what_nobody_recorded(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.heat(18.25, 17.5, 19.0)
    (drive,) = drives(script)
    scores = registry.score(drive.race)
    known = {name for name, value in scores.items() if not math.isnan(value)}
    # Lateral, cte, node, progress and the road are not known.
    assert known == {
        "race_score", "heat_lap_s", "disqualified", "laps", "clean_laps", "best_lap_s",
        "mean_lap_s", "median_lap_s", "pace", "top_speed", "hits", "launch_s",
        "steering_change", "throttle_change", "steering_jerk", "throttle_jerk",
        "steering_reversals", "throttle_reversals", "latency_ms", "latency_p95_ms",
        "missed_deadlines",
    }  # fmt: skip
    assert (scores["laps"], scores["heat_lap_s"], scores["best_lap_s"]) == (3.0, 17.5, 17.5)
    assert (scores["disqualified"], scores["launch_s"]) == (0.0, pytest.approx(1.95))
    reference = drive.race.header.track_length / 20.0
    assert scores["race_score"] == pytest.approx(1.0 + 99.0 * (reference / 17.5) ** 3)
    shown = next(video.instruments_of(drive.race))
    assert shown.lines == ("speed   12.0 u/s", "start     0.00 s")


def test_each_way_in_which_a_drive_ends(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    # A hit in the second lap of practice, then disqualified, and put back by the host.
    script.go()
    script.event("cross_start", lap_time=0.0)
    script.frames(1.0)
    script.event("cross_start", lap_time=17.0)
    script.frames(1.0, hit="cone")
    script.event("cross_start", lap_time=16.5)
    script.frames(1.0)
    script.event("DQ", missed_cp=False)
    # The connection is lost and comes back: the car is elsewhere, and GO holds in practice.
    script.frames(1.0)
    script.tape.note("link", {"state": "lost", "reason": "cut"})
    script.time_s += 3.0
    script.frames(1.0)
    # The host was started anew.
    script.time_s = 5.0
    script.frames(1.0)
    script.go(False)
    # A single frame is none, and senseless ones are none either.
    script.go()
    script.frames(0.05)
    script.go(False)
    script.go()
    script.frames(0.5)
    script.frames(0.1, refused="absurd speed", speed=1e9)
    script.frames(0.1, speed="nan")
    first, second, third, last = drives(script)
    timing = first.race.header.timing
    assert timing is not None
    assert (timing.disqualified, timing.finished) == ("out of bounds", False)
    assert registry.load("disqualified")(first.race) == 1.0
    assert registry.load("hits")(first.race) == 1.0
    # The hit has spoiled the second lap.
    assert registry.load("best_lap_s")(first.race) == 17.0
    assert np.flatnonzero(second.race["reset"]).tolist() == [20]
    assert np.flatnonzero(np.diff(second.race["time_s"]) > 1.0).tolist() == [19]
    assert (len(third.race), third.race["time_s"][0]) == (20, 0.0)
    assert [len(each.race) for each in (first, second, third, last)] == [60, 40, 20, 10]
    assert [each.race.header.seed for each in (first, second, third, last)] == [0, 1, 2, 3]
    noted_s = np.concatenate([each.noted_s for each in (first, second, third, last)])
    assert noted_s[0] > 0.0
    assert (np.diff(noted_s) > 0.0).all()
    assert second.moment_s(0.0) == second.noted_s[0]
    # Practice ends when the driver wants; without a lap it has come to nothing.
    assert [heat(each.race).fault for each in (first, last)] == ["out of bounds", "unfinished"]


def test_a_race_that_we_leave_is_unfinished_and_practice_is_not(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    for start in ("race_start", "car_loaded"):
        script.event(start)
        script.go()
        for lap_s in (0.0, 15.0):
            script.frames(1.0)
            script.event("cross_start", lap_time=lap_s)
        script.go(False)
    race, practice = drives(script)
    assert (heat(race.race).fault, heat(practice.race).fault) == ("unfinished", "")
    # One lap of three.
    assert registry.load("race_score")(race.race) == pytest.approx(1 / 3)
    assert registry.load("heat_lap_s")(practice.race) == 15.0


def test_what_is_driven_of_a_heat_after_a_stop_of_ours_is_no_whole_heat(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.event("race_start")
    for _ in range(2):
        script.go()
        for lap_s in (0.0, 15.0):
            script.frames(1.0)
            script.event("cross_start", lap_time=lap_s)
        script.go(False)
    script.event("race_stop")
    script.go()
    for lap_s in (0.0, 15.0):
        script.frames(1.0)
        script.event("cross_start", lap_time=lap_s)
    script.go(False)
    faults = [heat(each.race).fault for each in drives(script)]
    assert faults == ["unfinished", "unfinished", ""]


def test_a_host_that_holds_no_races_tells_laps_by_touches_of_its_line(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.event("car_loaded")
    script.go()
    # The second touch of a line within 10 s is none; the car is put back after the third.
    for seconds in (1.0, 0.5, 14.5):
        script.frames(seconds)
        script.event("collision_with_starting_line", index=0, time_stamp=script.time_s)
    lose(script)
    for seconds in (11.0, 12.0):
        script.frames(seconds)
        script.event("collision_with_starting_line", index=0, time_stamp=script.time_s)
    script.go(False)
    (drive,) = drives(script)
    assert [lap.time_s for lap in lap_times.laps(drive.race)] == pytest.approx([15.0, 12.0])
    assert registry.load("disqualified")(drive.race) == 0.0


def test_of_several_lines_the_first_one_ends_laps(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.event("car_loaded")
    script.go()
    for line in (1, 0, 1, 0, 1):
        script.frames(13.0)
        script.event("collision_with_starting_line", index=line, time_stamp=script.time_s)
    script.go(False)
    (drive,) = drives(script)
    assert [lap.time_s for lap in lap_times.laps(drive.race)] == pytest.approx([26.0, 26.0])


def lose(script: records.Script) -> None:
    """The connection is lost and found again; a car in practice keeps its GO, a racing one not."""
    script.tape.note("link", {"state": "lost"})
    for phase in ("connecting", "waiting"):
        script.tape.note("phase", {"phase": phase, "reason": "not connected", "go": False})
    script.go()


def test_a_lost_connection_ends_a_drive_in_a_race_alone(tmp_path: Path) -> None:
    for race in (False, True):
        script = records.Script(tmp_path / f"{race}")
        if race:
            script.event("race_start")
        script.go()
        script.frames(2.0)
        lose(script)
        script.frames(3.0)
        script.go(False)
        found = drives(script)
        seconds = [round(float(each.race["time_s"][-1]), 1) for each in found]
        assert seconds == pytest.approx([1.9, 2.9] if race else [4.9], abs=0.11)
        assert [int(each.race["reset"].sum()) for each in found] == ([0, 0] if race else [1])


def test_touches_do_not_count_at_a_host_that_tells_laps(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.event("race_start")
    script.go()
    for lap_s in (0.0, 15.0):
        script.frames(lap_s or 1.0)
        script.event("collision_with_starting_line", index=0, time_stamp=script.time_s)
        script.event("cross_start", lap_time=lap_s)
    script.event("race_stop")
    (drive,) = drives(script)
    assert [lap.time_s for lap in lap_times.laps(drive.race)] == [15.0]


def test_odd_lines_of_others_cost_nothing_else(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.tape.note("command", {"why": [], "took_ms": 1.0})
    script.tape.note("phase", {"phase": [], "go": "yes"})
    script.heat(15.0)
    script.tape.note("link", {"state": "figures", "round_trip_s": 10**400})
    (drive,) = drives(script)
    assert [lap.time_s for lap in lap_times.laps(drive.race)] == [15.0]
    board = Board()
    replay.play(reader.read(script.tape.folder), board, speed=1000.0)
    assert board.shown


def test_a_car_put_back_starts_its_clock_anew(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.event("race_start")
    script.go()
    for lap_s in (0.0, 15.0, 0.0, 18.0):
        script.frames(1.0)
        script.event("cross_start", lap_time=lap_s)
    script.event("race_stop")
    (drive,) = drives(script)
    assert [lap.time_s for lap in lap_times.laps(drive.race)] == [15.0, 18.0]
    assert [lap.time_s for lap in heat(drive.race).laps] == [18.0]


def test_a_scene_that_is_not_known_has_laps_and_no_length(tmp_path: Path) -> None:
    road = tmp_path / "road.json"
    road.write_text(json.dumps({"waypoints": [[30 * k, 0] for k in range(9)], "closed": False}))
    # Somebody else's record names no files here.
    for k, scene in enumerate(("new_scene", "", str(road), f"{road}:mirror", f"{road}:7")):
        script = records.Script(tmp_path / f"race{k}", scene=scene)
        script.heat(15.0)
        (drive,) = drives(script)
        assert drive.race.header.track == scene
        assert "track_length" in drive.race.header.unknown
        scores = registry.score(drive.race)
        assert scores["best_lap_s"] == 15.0
        assert math.isnan(scores["race_score"])
        assert math.isnan(scores["pace"])


def test_places_make_a_whole_race_of_it(tmp_path: Path) -> None:
    """The host has sent extended telemetry: as if the same car were raced over the link."""
    config = EnvironmentConfig(camera=CameraConfig(img_w=16, img_h=16), throttle_max=0.3)
    told: list[Sight] = []

    class Source(EmbeddedSource):
        def _sight(self) -> Sight:
            told.append(super()._sight())
            return told[-1]

    field = racing.Field(config, 1, seed=0, world=RemoteWorld(config, [Source(config)]))
    (expected,) = field.race(lambda seen: np.array([[-0.05, 0.5]], np.float32), 1)
    script = records.Script(tmp_path / "race", scene="generated_track")
    script.go()
    # The start was looked for in several messages; the last of them is the first row.
    for sight in told[-len(expected) :]:
        fields: dict[str, Any] = {
            name: value
            for name, value in vars(sight.telemetry).items()
            if value is not None and name != "image"
        }
        script.tape.note("frame", fields | {"refused": ""})
    script.event("cross_start", lap_time=0.0)
    (drive,) = drives(script)
    race = drive.race
    assert race.header.unknown == frozenset()
    assert race.header.conditions == {"timed_by": "race host"}
    assert race.header.start_line_progress == expected.header.start_line_progress
    for name in ("time_s", "x", "z", "yaw", "progress", "lateral", "cte", "node", "off_track"):
        np.testing.assert_allclose(
            race[name].astype(np.float64), expected[name].astype(np.float64), atol=1e-6
        )
    assert race["speed"] == pytest.approx(expected["speed"], abs=1e-3)
    assert race["off_track"].any()
    assert not math.isnan(registry.load("cte_rms")(race))


def test_a_metric_asks_for_what_is_known_and_gets_no_zeros() -> None:
    race = example(steady(16.0, 40.0))
    header = race.header.model_copy(update={"conditions": {"unknown": "lateral"}})
    partly = Race(header, race.columns)
    scores = registry.score(partly)
    # Out of bounds is judged by the lateral offset; the laps are not.
    assert math.isnan(scores["disqualified"])
    assert scores["laps"] == 3.0
    assert math.isnan(scores["race_score"])
    assert scores["mean_speed"] == registry.score(race)["mean_speed"]
