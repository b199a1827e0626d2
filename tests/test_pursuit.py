"""The privileged expert: its line, its speeds, and that it laps every scene with the whole car."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from donkey_rl.envs import reference
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.grip import Limits
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.racing_line import racing_line
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import stepping, track, vehicle
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.starts import Start
from donkey_rl.envs.tasks import TaskConfig
from donkey_rl.metrics import limits

pytestmark = pytest.mark.usefixtures("coarse_ground")

RADIUS = 30.0


@pytest.fixture
def ring(tmp_path: Path) -> str:
    """A circle of 30 u that turns right, its road 10 u wide."""
    angles = 2.0 * np.pi * np.arange(24) / 24
    places = RADIUS * np.stack([1.0 - np.cos(angles), np.sin(angles)], axis=1)
    file = tmp_path / "ring.json"
    file.write_text(json.dumps({"waypoints": places.tolist(), "road": {"left": -5, "right": 5}}))
    return str(file)


def batch(name: str, cars: int, throttle_min: float = -1.0, **values: Any) -> Batch:
    """Cars that nothing stops and nobody sees."""
    task = TaskConfig(end_off_track=False, end_hit=False, time_limit_s=400.0)
    config = EnvironmentConfig(track=name, throttle_min=throttle_min, task=task, **values)
    made = Batch(config, cars, seed=1)
    made.world.render = lambda *_: None  # type: ignore[method-assign]
    return made


def test_line_of_least_curvature_in_a_ring_is_its_outer_edge(ring: str) -> None:
    limits = Limits(throttle_min=-1.0, throttle_max=1.0, grip=0.5)
    line = racing_line(track.load(ring), vehicle.load("donkey_2021"), limits, margin=1.0)
    # The road turns right, so the outside is 4 u to the left: radius 34.
    centre = np.array([RADIUS, 0.0])
    assert np.hypot(*(line.points - centre).T) == pytest.approx(34.0, abs=0.05)
    assert line.curvature == pytest.approx(1.0 / 34.0, rel=0.02)
    # Half of 0.895 * 9.81 u/s2 would be v = sqrt(0.5 * 8.78 * 34) = 12.2 u/s. To hold the speed
    # the tyres also push, which costs some of it.
    assert 0.95 * 12.2 < line.speed.min() == pytest.approx(line.speed.max(), abs=0.05)
    assert line.speed.max() < 12.2


def test_line_stays_inside_the_road_and_slows_down_before_bends() -> None:
    road, car = track.load("generated_track"), vehicle.load("donkey_2021")
    line = racing_line(road, car, Limits(0.0, 1.0, 0.8), margin=1.3)
    _, lateral = road.path.locate(line.points)
    assert lateral.min() >= road.road_left + 1.3 - 0.01
    assert lateral.max() <= road.road_right - 1.3 + 0.01
    # Without a brake, drag and tyres that slip slow a car down: drag by v' = -0.105 v, so that
    # over the way v falls by 0.105 for each u; the tyres by 1.5 u/s2 at most, at 10 u/s by 0.15.
    loss = -np.diff(line.speed) / np.hypot(*np.diff(line.points, axis=0).T)
    assert 0.105 < loss.max() < 0.255


@pytest.mark.parametrize(("closed", "ends"), [(True, (5.0, 5.0)), (False, (0.0, 10.0))])
def test_a_motion_is_looked_up_at_arc_lengths_of_any_shape(
    closed: bool, ends: tuple[float, float]
) -> None:
    # Rows of 0 and 10 every 2 u: halfway between two of them it is 5. Where it is open it ends.
    rows = np.outer([0.0, 10.0], np.ones(8))
    motion = reference.Reference(rows, spacing=2.0, closed=closed)
    arcs = np.array([[0.0, 0.5, 1.0], [2.0, -1.0, 3.0]])
    found = motion.at(arcs)
    assert found.shape == (2, 3, 8)
    assert found[..., 0].tolist() == [[0.0, 2.5, 5.0], [10.0, *ends]]
    assert motion.at(arcs[0]).tolist() == found[0].tolist()
    assert motion.at(np.empty((3, 0))).shape == (3, 0, 8)


def test_car_comes_back_to_the_line() -> None:
    cars = batch("generated_track", 2)
    expert = Pursuit(cars.config)
    arc = np.array([70.0, 70.0])
    zero = np.zeros(2)
    cars.reset(np.arange(2), Start(arc, np.array([-4.0, 0.0]), zero, zero + 5.0))
    apart = []
    for _ in range(80):
        cars.step(expert.act(cars))
        wanted = expert.reference.at(cars.sensed[:, stepping.ARC])[:, reference.LATERAL]
        apart.append(np.abs(cars.sensed[:, stepping.LATERAL] - wanted))
    # They began up to 4 u apart, and are now where the line is, both of them.
    assert np.max(apart[-20:]) < 0.5


def test_actions_are_inside_their_limits_wherever_a_car_stands() -> None:
    cars = batch("generated_track", 32, randomisation=Randomisation(
        start_anywhere=True, start_lateral=0.9, start_yaw=90.0, start_speed=20.0,
    ))  # fmt: skip
    actions = Pursuit(cars.config).act(cars)
    assert actions.shape == (32, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    # They power as well as brake, as far as the tyres of this car bear, and steer either way: to
    # the slip angle of most grip and no farther, 0.2 rad of 16 degrees, 0.72.
    assert actions.min(axis=0) == pytest.approx([-0.72, -0.39], abs=0.05)
    assert actions.max(axis=0) == pytest.approx([0.72, 0.49], abs=0.05)


def drive_laps(expert: Pursuit, cars: Batch, laps: int) -> int:
    """Drives until all cars have their laps; returns how often wheels were beside the road."""
    outside = 0
    for step in range(4_000):
        cars.step(expert.act(cars))
        # Some grids stand on the edge of the road.
        outside += int(cars.world.cars.wheels_off.sum()) if step > 60 else 0
        if (cars.timer.count >= laps).all():
            break
    return outside


def test_expert_laps_close_to_the_limit() -> None:
    cars = batch("generated_track", 2, vehicle="donkey_2021",
                 randomisation=Randomisation(start_yaw=4.0, start_lateral=0.15))  # fmt: skip
    assert drive_laps(Pursuit(cars.config), cars, 2) == 0
    best = limits.line("generated_track", "donkey_2021")
    assert best is not None
    # Nothing beats the limit; the expert comes within 5 % of it, with every wheel on the road.
    assert best.lap_s < cars.timer.best_clean.min()
    assert cars.timer.best_clean.max() < 1.05 * best.lap_s


def test_expert_plans_steady_bends_with_the_grip_it_is_given_if_asked() -> None:
    config = EnvironmentConfig(track="generated_track", vehicle="donkey_2021", throttle_min=-1.0)
    shipped = Pursuit(config, grip=0.5).reference.rows[:, reference.FORWARD]
    assert shipped == pytest.approx(Pursuit(config).reference.rows[:, reference.FORWARD])
    half, most = (
        Pursuit(config, grip=grip, motion=False).reference.rows[:, reference.FORWARD].min()
        for grip in (0.5, 0.9)
    )
    # Speed in a bend goes with the root of the grip: 1.34 times.
    assert most / half == pytest.approx(1.34, abs=0.05)
    assert half < 0.9 * shipped.min()


def test_expert_coasts_into_bends_where_it_has_no_reverse_throttle() -> None:
    cars = batch("generated_track", 1, vehicle="donkey_2021", throttle_min=0.0)
    assert drive_laps(Pursuit(cars.config), cars, 2) == 0
    # As measured, a second slower than with it: 17.62 s.
    assert cars.timer.best_clean[0] == pytest.approx(17.62, rel=0.02)


def test_expert_follows_the_mirror_image_of_a_motion() -> None:
    road, car = track.load("generated_track"), vehicle.load("donkey_2021")
    motion, image = reference.load(road, car), reference.load(road.mirrored(), car)
    assert motion is not None
    assert image is not None
    signs = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(image.rows, motion.rows * signs, atol=1e-9)
    # The same road with other edges is another one.
    wider = dataclasses.replace(road, road_right=road.road_right + 1.0)
    assert reference.load(wider, car) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "car"),
    [(name, "donkey_2022") for name in track.names()]
    + [(n, c) for n in ("generated_track", "warehouse") for c in ("donkey_2020", "donkey_2021")],
)
def test_expert_laps_with_the_whole_car_on_the_road(name: str, car: str) -> None:
    cars = batch(name, 2, vehicle=car, randomisation=Randomisation(start_yaw=4.0))
    expert = Pursuit(cars.config)
    outside = 0
    for step in range(6_000):
        ended = cars.step(expert.act(cars)).truncated
        # Some grids stand on the edge of the road.
        outside += int((cars.world.cars.wheels_off > 0).sum()) if step > 60 else 0
        if (cars.timer.count > 0).all() or ended.all():
            break
    assert outside == 0
    assert (cars.timer.clean_count >= 1).all() or not cars.track.closed
