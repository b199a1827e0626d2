"""Contacts: walls, cones, boxes and other cars."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.simulator import collisions, physics, stepping, telemetry, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.path import Path
from donkey_rl.envs.simulator.scenery import Barrier, Obstacle, Pose, StartGrid
from donkey_rl.envs.simulator.world import World

FloatArray = npt.NDArray[np.float64]
RED = (200, 30, 30)


pytestmark = pytest.mark.usefixtures("coarse_ground")


def world(
    count: int = 1,
    *,
    name: str = "donkey_2022",
    obstacles: Sequence[Obstacle] = (),
    walls: Sequence[FloatArray] = (),
    together: bool = False,
) -> World:
    """Cars at z = 10, headed for +Z, on a straight road of 300 u from x = -7 to 3."""
    points = np.column_stack([np.zeros(601), 0.5 * np.arange(601)])
    road = dataclasses.replace(
        track.load("generated_track"),
        nodes=points[::4],
        path=Path(points, np.zeros(601), np.zeros(601), 0.5, closed=False),
        obstacles=tuple(obstacles),
        barriers=tuple(Barrier(f"wall {k}", p, 2.0, RED) for k, p in enumerate(walls)),
        grid=StartGrid(poses=(Pose(0.0, 10.0, 0.0),)),
        start_line_drawn=False,
        start_line=20.0,
    )
    camera = CameraConfig(img_w=16, img_h=16)
    groups = [0] * count if together else None
    return World(road, vehicles.load(name), camera, count, groups=groups)


def cone(x: float, z: float, name: str = "cone (1)", *, solid: bool = True) -> Obstacle:
    """A cone of 1 u across."""
    return Obstacle(name, "cone", x, z, 0.0, 1.0, 1.0, 1.0, RED, solid)


def place(made: World, i: int, x: float, z: float, yaw: float, speed: float) -> None:
    """Puts car `i` somewhere, coasting."""
    made.cars.motion[i] = (x, z, yaw, speed, 0.0, 0.0)
    made.cars.sensed[i, stepping.ARC] = z
    stepping.settle(made.cars, np.array([i]), made.route)


def coast(made: World, steps: int, throttle: float = 0.0) -> list[str]:
    """Drives straight on; returns what car 0 reports to have hit, in each step."""
    names = []
    for _ in range(steps):
        made.step([[0.0, throttle]] * len(made))
        names.append(made.hit_names()[0])
    return names


ACROSS = np.array([[-50.0, 40.0], [50.0, 40.0]])


@pytest.mark.parametrize("speed", [3.0, 12.0, 30.0, 50.0])
def test_a_wall_stops_a_car_at_any_speed(speed: float) -> None:
    made = world(walls=[ACROSS])
    # Physics steps of 0.02 s: places half a step apart must not matter.
    for start in np.arange(30.0, 31.0, 0.13):
        place(made, 0, 0.0, start, 0.0, speed)
        names = coast(made, int(400 / speed) + 5)
        # The wall is 0.1 thick on either side, half the car is 0.875 long.
        assert made.cars.motion[0, physics.Z] <= 40.0 - 0.1 - 0.875 + 1e-6
        assert names.count("wall 0") == 1
        assert abs(made.cars.motion[0, physics.FORWARD]) < 1e-6


def test_pushing_on_against_a_wall_is_one_hit() -> None:
    made = world(walls=[ACROSS])
    place(made, 0, 0.0, 30.0, 0.0, 8.0)
    names = coast(made, 200, throttle=0.4)
    assert names.count("wall 0") == 1
    assert names.count("none") == 199
    assert made.cars.motion[0, physics.Z] == pytest.approx(40.0 - 0.975, abs=0.06)


def test_backing_off_and_coming_back_is_another_hit() -> None:
    made = world(walls=[ACROSS])
    place(made, 0, 0.0, 30.0, 0.0, 8.0)
    names = coast(made, 60, throttle=0.3) + coast(made, 40, throttle=-0.3)
    names += coast(made, 80, throttle=0.4)
    assert names.count("wall 0") == 2


def test_a_wall_of_many_pieces_is_one_thing() -> None:
    # A wall along the way in pieces of 2 u, leaning in by 1 in 20: the car slides along it.
    steps = np.arange(0.0, 120.0, 2.0)
    lean = np.column_stack([2.0 - steps / 20.0, 20.0 + steps])
    made = world(walls=[lean])
    place(made, 0, 0.0, 30.0, 0.0, 10.0)
    names = coast(made, 60, throttle=0.15)
    assert names.count("wall 0") <= 2
    assert names.count("wall 0") >= 1
    # Most of the speed stays: a glancing blow slides.
    assert made.cars.motion[0, physics.FORWARD] > 6.0
    assert made.cars.motion[0, physics.X] < 0.0


def test_friction_at_a_wall_takes_its_share() -> None:
    # Into the wall at 30 degrees: along it 10 cos 30 = 8.66, across it 5. A point mass loses the
    # 5, and at most 0.3 of that to friction along the wall: 7.16 are left at least.
    made = world(walls=[np.array([[1.5, 0.0], [1.5, 200.0]])])
    place(made, 0, 0.0, 30.0, math.radians(30.0), 10.0)
    coast(made, 5)
    motion = made.cars.motion[0]
    sin_yaw, cos_yaw = math.sin(motion[physics.YAW]), math.cos(motion[physics.YAW])
    along = motion[physics.FORWARD] * cos_yaw - motion[physics.RIGHTWARD] * sin_yaw
    assert 6.0 < along < 8.66
    assert motion[physics.X] + 0.5 <= 1.4 + 1e-6


def momentum(made: World) -> FloatArray:
    """Momentum of all cars: x, z and the angular one about the origin."""
    total = np.zeros(3)
    for motion, row in zip(made.cars.motion, made.cars.parameters, strict=True):
        sin_yaw, cos_yaw = math.sin(motion[physics.YAW]), math.cos(motion[physics.YAW])
        forward, right = motion[physics.FORWARD], motion[physics.RIGHTWARD]
        speed_x = forward * sin_yaw + right * cos_yaw
        speed_z = forward * cos_yaw - right * sin_yaw
        mass = row[vehicles.MASS]
        # Clockwise positive, as yaw.
        turn = mass * (motion[physics.Z] * speed_x - motion[physics.X] * speed_z)
        turn += row[vehicles.YAW_INERTIA] * motion[physics.YAW_RATE]
        total += (mass * speed_x, mass * speed_z, turn)
    return total


def meet(made: World) -> float:
    """Lets cars 0 and 1 collide where they are, at once."""
    cars = made.cars
    return float(
        collisions.between_cars(
            cars.motion[0], cars.parameters[0], cars.motion[1], cars.parameters[1]
        )
    )


def test_a_rear_end_collision_by_hand() -> None:
    made = world(2, together=True)
    place(made, 0, 0.0, 30.0, 0.0, 10.0)
    place(made, 1, 0.0, 31.7, 0.0, 4.0)
    assert meet(made) > 0.0
    # Equal masses without a bounce: both go on at (10 + 4) / 2.
    assert made.cars.motion[:, physics.FORWARD] == pytest.approx([7.0, 7.0])
    # They overlapped by 0.05 u, and part by half of that each.
    assert made.cars.motion[:, physics.Z] == pytest.approx([29.975, 31.725])
    assert made.cars.motion[:, physics.YAW_RATE] == pytest.approx([0.0, 0.0])


def test_a_heavier_car_gives_more_than_it_takes() -> None:
    made = world(2, together=True)
    made.cars.parameters[1, vehicles.MASS] *= 3.0
    place(made, 0, 0.0, 30.0, 0.0, 10.0)
    place(made, 1, 0.0, 31.7, 0.0, 2.0)
    meet(made)
    # Masses 1 and 3: (10 + 3 * 2) / 4.
    assert made.cars.motion[:, physics.FORWARD] == pytest.approx([4.0, 4.0])


@pytest.mark.parametrize("seed", range(8))
def test_any_collision_keeps_momentum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = world(2, together=True)
    made.cars.parameters[1, [vehicles.MASS, vehicles.YAW_INERTIA]] *= 1.7
    for i in range(2):
        place(made, i, 0.0, 30.0, rng.uniform(0.0, 6.3), rng.uniform(0.0, 20.0))
    made.cars.motion[1, :2] += rng.uniform(0.2, 0.6, size=2)
    made.cars.motion[:, physics.RIGHTWARD] = rng.uniform(-3.0, 3.0, size=2)
    made.cars.motion[:, physics.YAW_RATE] = rng.uniform(-2.0, 2.0, size=2)
    before = momentum(made)
    assert meet(made) > 0.0
    assert momentum(made)[:2] == pytest.approx(before[:2])


def test_an_oblique_collision_keeps_the_momentum_of_rotation() -> None:
    made = world(2, together=True)
    # Car 1 stands across the way of car 0 and is hit beside its middle, where two outlines just
    # touch (0.9971^2 + 0.075^2 = 1): no car is moved, so all three momenta must stay.
    place(made, 0, 0.3, 30.0, 0.0, 10.0)
    place(made, 1, 0.0, 30.375 + 0.9971, math.pi / 2.0, 0.0)
    before = momentum(made)
    assert meet(made) > 0.0
    assert momentum(made) == pytest.approx(before, rel=1e-3)
    assert abs(made.cars.motion[1, physics.YAW_RATE]) > 0.1


def test_cars_meet_only_in_their_group() -> None:
    for together in (True, False):
        made = world(2, together=together)
        place(made, 0, 0.0, 30.0, 0.0, 12.0)
        place(made, 1, 0.0, 35.0, 0.0, 0.0)
        coast(made, 30)
        assert (made.cars.motion[1, physics.Z] > 35.5) == together


@pytest.mark.parametrize("speed", [10.0, 25.0])
def test_cars_do_not_pass_through_each_other(speed: float) -> None:
    made = world(2, together=True)
    for gap in np.arange(8.0, 9.0, 0.17):
        place(made, 0, 0.0, 30.0, 0.0, speed)
        place(made, 1, 0.1, 30.0 + gap, math.pi, speed)
        names = coast(made, 20)
        assert made.cars.motion[0, physics.Z] < made.cars.motion[1, physics.Z]
        assert names.count("Donkey(Clone)") == 1
        assert made.cars.hit.tolist() == [stepping.NO_HIT, stepping.NO_HIT]


def test_a_car_at_a_wall_and_a_car_reports_each_once() -> None:
    made = world(2, together=True, walls=[ACROSS])
    place(made, 0, 0.0, 36.0, 0.0, 6.0)
    place(made, 1, 0.0, 33.0, 0.0, 6.0)
    names = coast(made, 100, throttle=0.2)
    assert names.count("wall 0") == 1
    assert names.count("Donkey(Clone)") == 1


def test_a_cone_is_hit_by_its_name_and_a_ghost_is_not() -> None:
    made = world(obstacles=[cone(3.0, 20.0), cone(0.0, 40.0, "cone (7)")])
    place(made, 0, 0.0, 30.0, 0.0, 10.0)
    names = coast(made, 30)
    assert names.count("cone (7)") == 1
    assert set(names) == {"none", "cone (7)"}
    assert made.cars.motion[0, physics.Z] <= 40.0 - 0.5 - 0.875 + 1e-6
    made = world(obstacles=[cone(0.0, 40.0, solid=False)])
    place(made, 0, 0.0, 30.0, 0.0, 10.0)
    assert set(coast(made, 30)) == {"none"}
    assert made.cars.motion[0, physics.Z] > 40.0


def test_a_turned_box_is_hit_at_its_corner() -> None:
    # A box of 2 by 2 turned by 45 degrees reaches 1.414 towards the car.
    box = Obstacle("crate", "box", 0.0, 40.0, math.radians(45.0), 2.0, 2.0, 1.0, RED, True)
    made = world(obstacles=[box])
    place(made, 0, 0.0, 30.0, 0.0, 10.0)
    made.step([[0.0, 0.0]])
    furthest = 0.0
    for _ in range(30):
        made.step([[0.0, 0.0]])
        furthest = max(furthest, made.cars.motion[0, physics.Z])
    assert furthest <= 40.0 - math.sqrt(2.0) - 0.875 + 1e-6
    assert furthest > 40.0 - math.sqrt(2.0) - 0.875 - 0.5


def test_telemetry_names_the_hit_once() -> None:
    made = world(walls=[ACROSS])
    place(made, 0, 0.0, 38.5, 0.0, 10.0)
    made.step([[0.0, 0.0]])
    assert telemetry.fields(made, 0)["hit"] == "wall 0"
    made.step([[0.0, 0.0]])
    assert telemetry.fields(made, 0)["hit"] == "none"
    made.reset(np.array([0]))
    assert made.hit_names() == ["none"]
