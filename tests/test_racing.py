"""The race protocol: one record a car, from the same starts each time, ended by rules."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.observing import Observation
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.starts import Start
from donkey_rl.experiments import checks, racing, track_plot
from donkey_rl.experiments.pilots import Actions, Pilot
from donkey_rl.metrics import laps

CONFIG = EnvironmentConfig(vehicle="donkey_2021", throttle_max=0.5)


class Chaser:
    """Steers towards the road's middle some way ahead; it sees what only the simulator knows."""

    def __init__(self, field: racing.Field, throttle: float) -> None:
        self.field = field
        self.throttle = throttle

    def __call__(self, observation: Observation) -> npt.NDArray[np.float32]:
        batch = self.field.batch
        motion, road = batch.motion, batch.track
        x, z, yaw = road.path.at(batch.sensed[:, stepping.ARC] + 6.0)
        middle = road.road_middle
        dx = x + middle * np.cos(yaw) - motion[:, physics.X]
        dz = z - middle * np.sin(yaw) - motion[:, physics.Z]
        turn = np.arctan2(dx, dz) - motion[:, physics.YAW]
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
        steering = np.clip(turn / np.radians(16.0), -1.0, 1.0)
        throttle = np.full(len(turn), self.throttle)
        return np.stack([steering, throttle], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def field() -> racing.Field:
    return racing.Field(CONFIG, 3, seed=11)


def test_an_honest_driver_laps_clean_and_the_record_says_so(field: racing.Field) -> None:
    frames: list[npt.NDArray[np.uint8]] = []
    races = field.race(Chaser(field, 0.0), 2, about={"run_id": "abc"}, frames=frames)
    assert len(races) == 3
    for race in races:
        driven = laps.laps(race)
        assert [lap.clean for lap in driven] == [True, True]
        # Action 0 is throttle 0.25: about 6.7 u/s (0.25 * 26.8), less in bends. The road's
        # middle lies 2 u outside the path, which turns right once: 214.2 + 2 pi 2 = 226.8 u.
        assert driven[1].time_s == pytest.approx(226.8 / 6.7, rel=0.08)
        assert race.header.run_id == "abc"
        assert race["lap"][-1] == 2
        assert race["time_s"][0] == 0.0
        assert np.diff(race["time_s"]).mean() == pytest.approx(0.05, abs=1e-4)
    assert len(frames) == len(races[0])
    found = checks.summary(races)
    assert found["clean_laps"] == 6.0
    assert found["clean_share"] == 1.0
    assert found["completion"] == pytest.approx(1.0, abs=0.01)


def test_starts_differ_between_races_and_repeat_between_calls(field: racing.Field) -> None:
    first = field.race(Chaser(field, -0.2), 1)
    again = field.race(Chaser(field, -0.2), 1)
    starts = [(race["x"][0], race["z"][0], race["yaw"][0]) for race in first]
    assert len(set(starts)) == 3
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
        np.testing.assert_array_equal(one["speed"], other["speed"])


def test_who_does_not_drive_is_ended_without_a_lap(field: racing.Field) -> None:
    races = field.race(Chaser(field, -1.0), 1)
    for race in races:
        assert len(laps.laps(race)) == 0
        # Stuck after 5 s, in steps of 0.05 s.
        assert race.duration_s == pytest.approx(5.0, abs=0.11)


def test_leaving_the_road_spoils_the_lap_but_not_the_race(field: racing.Field) -> None:
    def straight(observation: Observation) -> npt.NDArray[np.float32]:
        return np.tile(np.float32([0.0, 1.0]), (3, 1))

    races = field.race(straight, 1)
    for race in races:
        assert race["off_track"].any()
        assert checks.summary([race])["clean_laps"] == 0.0
        # It drives on beside the road until it is lost: the road's middle lies at -2, three
        # half widths of 5 beside it is 17 u at most from the path.
        assert np.abs(race["cte"]).max() > 12.0


def test_a_car_with_a_wheel_beside_the_road_is_off_the_track(field: racing.Field) -> None:
    road, pilot = field.batch.track, Pilot(Chaser(field, 0.0))
    pilot.begin(3)
    # The wheels stand 0.7 u beside the middle of the car, which is on the road each time.
    laterals = np.array([road.road_right - 0.5, road.road_right - 0.9, road.road_left + 0.5])
    still = np.zeros(3)
    field.batch.reset(np.arange(3), Start(np.full(3, 10.0), laterals, still, still))
    row = field.row(pilot)
    np.testing.assert_allclose(row["lateral"], laterals, atol=0.05)
    assert row["off_track"].tolist() == [True, False, True]


def test_a_race_may_end_with_the_first_spoiled_lap(field: racing.Field) -> None:
    def straight(observation: Observation) -> npt.NDArray[np.float32]:
        return np.tile(np.float32([0.0, 1.0]), (3, 1))

    whole = field.race(straight, 2)
    short = field.race(straight, 2, until_spoiled=True)
    for race, cut in zip(whole, short, strict=True):
        # Both drive alike until a wheel leaves the road, which only the one drives on after.
        assert len(cut) < len(race)
        np.testing.assert_array_equal(cut["x"], race["x"][: len(cut)])
        assert cut["off_track"][-1]
        first = int(
            np.argmax(cut["off_track"] & (cut["progress"] >= cut.header.start_line_progress))
        )
        assert first >= len(cut) - 2
    clean = field.race(Chaser(field, 0.0), 1, until_spoiled=True)
    assert checks.summary(clean)["clean_share"] == 1.0


def test_the_lines_of_a_plot_are_the_edges_of_the_road() -> None:
    road = racing.track.load("generated_track")
    lines = track_plot.lines(road)
    width = np.linalg.norm(lines.right - lines.left, axis=1)
    np.testing.assert_allclose(width, 10.0)
    # At the start the road leads to +Z: its right edge lies 3 u towards +X.
    k = int(np.argmin(np.abs(np.sin(road.path.yaw)) - np.cos(road.path.yaw)))
    assert (lines.right - lines.centre)[k, 0] == pytest.approx(2.8, abs=0.1)


def test_a_record_says_which_seed_drives_its_race_again(field: racing.Field) -> None:
    second = field.race(Chaser(field, 0.0), 1)[1]
    alone = racing.Field(CONFIG, 1, seed=second.header.seed)
    again = alone.race(Chaser(alone, 0.0), 1)[0]
    np.testing.assert_array_equal(again["x"], second["x"])
    np.testing.assert_array_equal(again["steering"], second["steering"])


def test_circling_ends_the_race_after_20_s_without_new_way(field: racing.Field) -> None:
    races = field.race(lambda _: np.tile(np.array([1.0, -0.6], np.float32), (3, 1)), 1)
    for race in races:
        assert len(laps.laps(race)) == 0
        # At most 20 s for the first 20 u, which a circle of 5.4 u never reaches.
        assert race.duration_s <= 20.11


def test_a_race_can_be_cut_to_the_frames_that_were_kept(field: racing.Field) -> None:
    race = field.race(Chaser(field, -1.0), 1)[0]
    assert len(race.cut(7)) == 7
    assert race.cut(10_000) is race


def test_a_race_that_a_driver_loses_ends_and_the_others_go_on(field: racing.Field) -> None:
    class Loses(Pilot):
        def drive(self, observation: Observation, driving: npt.NDArray[np.bool_]) -> Actions:
            self.steps = getattr(self, "steps", 0) + 1
            self.lost[1] = self.steps >= 10
            self.missed[:] = [False, False, self.steps == 4]
            self.latency_ms[:] = self.steps
            return chaser(observation)

    chaser = Chaser(field, 0.0)
    races = field.race(Loses(chaser), 1)
    # Ten steps, of which the last has begun: eleven rows.
    assert len(races[1]) == 11
    assert laps.laps(races[0])[0].clean
    # The first row follows no command; each further one the command before it.
    assert races[1]["latency_ms"].tolist()[1:] == [float(step) for step in range(1, 11)]
    assert np.flatnonzero(races[2]["missed"]).tolist() == [4]


def test_a_disturbance_is_drawn_by_the_race_and_leaves_its_start_alone(
    field: racing.Field,
) -> None:
    drawn = Randomisation(grip=0.5, light=0.5, start_speed=9.0, start_anywhere=True)
    with contextlib.closing(racing.Field(CONFIG, 3, seed=11, disturbance=drawn)) as other:
        races = other.race(Chaser(other, 0.5), 1)
        again = other.race(Chaser(other, 0.5), 1)
    nominal = field.race(Chaser(field, 0.5), 1)
    for race, same, plain in zip(races, again, nominal, strict=True):
        for name in ("x", "z", "yaw", "speed"):
            assert race[name][0] == pytest.approx(plain[name][0], abs=1e-9)
        np.testing.assert_array_equal(race["x"], same["x"])
        # On other tyres the bends are driven otherwise.
        rows = slice(0, min(len(race), len(plain)))
        assert np.abs(race["x"][rows] - plain["x"][rows]).max() > 1e-3
