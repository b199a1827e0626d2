"""The world of N cars: repeatable, independent of count and threads, safe against bad input."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import errors
from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.world import Start, World

Frames = npt.NDArray[np.uint8]
EVERYTHING = Randomisation(
    colours=0.5, light=0.3, texture=0.5, surroundings=True, noise=8.0, blur=0.5,
    camera_offset=0.1, camera_pitch=2.0, fov=4.0, mass=0.2, grip=0.2,
    start_anywhere=True, start_lateral=0.5, start_yaw=20.0, start_speed=6.0,
    camera_roll=3.0, camera_yaw=3.0, shadows=6.0, bonnet=0.5, jpeg=30, gamma=0.3, contrast=0.2,
    sharpen=0.3,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("coarse_ground")


@functools.cache
def road(name: str) -> track.Track:
    """A track object of this module's own: worlds share what they paint for one object."""
    return dataclasses.replace(track.load(name))


def world(count: int = 1, **arguments: Any) -> World:
    camera = CameraConfig(img_w=48, img_h=32)
    car = vehicles.load("donkey_2022")
    return World(road("generated_track"), car, camera, count, **arguments)


def driven(made: World, steps: int = 60) -> tuple[npt.NDArray[np.float64], Frames]:
    """Drives by a fixed script of each car; returns motion (steps, N, 6) and frames."""
    count = len(made)
    motion, frames = [], np.zeros((steps, count, *made.camera.shape), dtype=np.uint8)
    for k in range(steps):
        phase = 0.3 * k + np.arange(count)
        made.step(np.column_stack([0.4 * np.sin(phase), np.full(count, 0.15)]))
        made.render(frames[k])
        motion.append(made.cars.motion.copy())
        if k == 30:
            made.reset(np.arange(count))
    return np.array(motion), frames


def test_a_car_drives_and_sees_the_same_alone_and_among_others() -> None:
    # The script of car 0 is the same in both worlds.
    alone = driven(world(1, seed=3, randomise=EVERYTHING))
    among = driven(world(7, seed=3, randomise=EVERYTHING))
    assert (alone[0][:, 0] == among[0][:, 0]).all()
    assert (alone[1][:, 0] == among[1][:, 0]).all()
    # The others are elsewhere.
    assert (among[0][0, 0] != among[0][0, 1]).any()


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("DONKEY_RL_THREADS", threads)
        for groups in (None, [0, 0, 0, 1, 1, 2, 3]):
            found.append(driven(world(7, seed=5, randomise=EVERYTHING, groups=groups), 40))
    for one in (found[2], found[4]):
        assert (one[0] == found[0][0]).all()
        assert (one[1] == found[0][1]).all()
    for one in (found[3], found[5]):
        assert (one[0] == found[1][0]).all()
        assert (one[1] == found[1][1]).all()


def test_another_seed_is_another_world_and_seeding_again_the_same_one() -> None:
    made = world(2, seed=3, randomise=EVERYTHING)
    first = driven(made)
    made.seed(3)
    made.reset(np.arange(2))
    again = driven(made)
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    other = driven(world(2, seed=4, randomise=EVERYTHING))
    assert (first[0] != other[0]).any()
    assert (first[1] != other[1]).any()


def test_without_randomisation_the_seed_changes_nothing() -> None:
    first, other = driven(world(2, seed=3)), driven(world(2, seed=4))
    assert (first[0] == other[0]).all()
    assert (first[1] == other[1]).all()


def test_a_reset_puts_a_car_at_rest_on_its_start_with_the_brake_on() -> None:
    made = world(2)
    spawn = made.cars.motion[0].copy()
    for _ in range(40):
        made.step([[0.1, 0.4], [0.1, 0.4]])
    moving = made.cars.motion[1].copy()
    assert moving[physics.FORWARD] > 5.0
    made.reset(np.array([0]))
    assert (made.cars.motion[0] == spawn).all()
    assert made.cars.sensed[0, [stepping.TIME, stepping.PROGRESS, stepping.DISTANCE]].tolist() == [
        0.0,
        0.0,
        0.0,
    ]
    assert made.cars.command[0].tolist() == [0.0, 0.0, 10.0]
    # The other car is left alone.
    assert (made.cars.motion[1] == moving).all()
    pose = made.track.grid.slot(0)
    assert spawn[:3].tolist() == [pose.x, pose.z, pose.yaw]


def test_cars_of_a_group_start_on_their_own_slots() -> None:
    made = world(4, groups=[0, 1, 0, 0])
    slots = [0, 0, 1, 2]
    for i, k in enumerate(slots):
        pose = made.track.grid.slot(k)
        assert made.cars.motion[i, :3].tolist() == [pose.x, pose.z, pose.yaw]


def test_random_starts_lie_in_their_ranges_and_fill_them() -> None:
    setting = Randomisation(start_lateral=0.5, start_yaw=20.0, start_speed=6.0)
    made = world(300, randomise=setting, seed=1)
    sensed = made.cars.sensed
    # Half the road is 5 u wide, half of that 2.5 u, around a start on the path.
    assert sensed[:, stepping.LATERAL].min() > -2.7
    assert sensed[:, stepping.LATERAL].max() < 2.7
    assert np.ptp(sensed[:, stepping.LATERAL]) > 4.0
    # The path beside the start is not quite straight.
    turn = np.degrees(sensed[:, stepping.HEADING_ERROR])
    assert np.abs(turn).max() <= 22.5
    assert np.ptp(turn) > 35.0
    speed = made.cars.motion[:, physics.FORWARD]
    assert 0.0 <= speed.min() < 0.5
    assert 5.5 < speed.max() <= 6.0
    assert np.ptp(sensed[:, stepping.ARC]) < 1.0
    anywhere = world(300, randomise=Randomisation(start_anywhere=True), seed=1).cars.sensed
    # On the middle of the road, which lies at -2.2.
    assert anywhere[:, stepping.LATERAL] == pytest.approx(np.full(300, -2.2), abs=0.1)
    assert np.histogram(anywhere[:, stepping.ARC], bins=10)[0].min() > 10


def test_mass_and_grip_are_drawn_within_their_ranges() -> None:
    made = world(200, randomise=Randomisation(mass=0.2, grip=0.3), seed=2)
    mass = made.cars.parameters[:, vehicles.MASS]
    assert 40.0 <= mass.min() < 42.0
    assert 58.0 < mass.max() <= 60.0
    grip = made.cars.parameters[:, vehicles.GRIP_LATERAL]
    assert 0.7 <= grip.min() < 0.73
    assert 1.27 < grip.max() <= 1.3
    assert (grip == made.cars.parameters[:, vehicles.GRIP_LONGITUDINAL]).all()


def test_a_given_start_is_taken_exactly() -> None:
    made = world(2)
    start = Start(
        np.array([30.0, 60.0]), np.array([-2.0, 1.0]), np.array([0.1, -0.2]), np.array([5.0, 0.0])
    )
    made.reset(np.arange(2), start)
    sensed = made.cars.sensed
    assert sensed[:, stepping.ARC] == pytest.approx(start.arc, abs=0.1)
    assert sensed[:, stepping.LATERAL] == pytest.approx(start.lateral, abs=0.05)
    assert sensed[:, stepping.HEADING_ERROR] == pytest.approx(start.turn, abs=0.05)
    assert made.cars.motion[:, physics.FORWARD].tolist() == [5.0, 0.0]


def state(made: World) -> list[Any]:
    return [np.array(part).copy() for part in made.cars]


@pytest.mark.parametrize(
    "commands",
    [
        [[math.nan, 0.1], [0.0, 0.1]],
        [[0.0, 0.1], [0.0, math.inf]],
        [[0.0, 0.1, 0.0], [0.0, 0.1, -math.inf]],
        [0.0, 0.1],
        [[0.0, 0.1]],
        [[0.0], [0.1]],
        [[0.0, 0.1, 0.0, 0.0]] * 2,
        [[0.0, 0.1]] * 3,
    ],
)
def test_a_bad_command_is_refused_before_anything_moves(commands: Any) -> None:
    made = world(2)
    made.step([[0.1, 0.3], [0.1, 0.3]])
    before = state(made)
    with pytest.raises(errors.ActionError, match="Received"):
        made.step(commands)
    for one, other in zip(before, state(made), strict=True):
        assert (one == other).all()


def test_commands_beyond_their_range_are_clamped_as_in_the_simulator() -> None:
    made, clamped = world(1), world(1)
    for _ in range(20):
        made.step([[3.0, 5.0, -1.0]])
        clamped.step([[1.0, 1.0, 0.0]])
    assert (made.cars.motion == clamped.cars.motion).all()


def test_extreme_driving_stays_finite_whatever_is_hit() -> None:
    made = World(
        road("warehouse"), vehicles.load("donkey_2022"), CameraConfig(img_w=16, img_h=16),
        12, groups=[0] * 6 + [1] * 6, seed=1,
    )  # fmt: skip
    rng = np.random.default_rng(1)
    image = np.zeros((12, 16, 16, 3), dtype=np.uint8)
    for k in range(600):
        if k % 10 == 0:
            command = rng.choice([-1.0, 0.0, 0.5, 1.0], size=(12, 3))
            command[:, 2] *= rng.random(12) < 0.2
        made.step(command)
        assert np.isfinite(made.cars.motion).all()
        assert np.isfinite(made.cars.sensed).all()
    made.render(image)
    assert np.abs(made.cars.motion[:, physics.FORWARD]).max() < 60.0


@pytest.mark.parametrize("count", [0, -1])
def test_a_world_needs_a_car(count: int) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"count={count}"):
        world(count)


def test_groups_must_name_every_car() -> None:
    with pytest.raises(errors.ConfigurationError, match="3 entries"):
        world(2, groups=[0, 0, 1])


def test_images_of_a_wrong_shape_are_refused() -> None:
    made = world(2)
    for wrong in (np.zeros((1, 32, 48, 3), np.uint8), np.zeros((2, 32, 48, 3), np.float32)):
        with pytest.raises(errors.ConfigurationError, match="Images must be uint8"):
            made.render(wrong)
    chosen = np.zeros((1, 32, 48, 3), np.uint8)
    made.render(chosen, np.array([1]))
    everyone = np.zeros((2, 32, 48, 3), np.uint8)
    made.render(everyone)
    assert (chosen[0] == everyone[1]).all()


def test_distance_is_the_way_driven_and_never_falls() -> None:
    made = world(1)
    driven_way = []
    for throttle in (0.2, 0.2, -0.4, -0.4):
        for _ in range(15):
            made.step([[0.0, throttle]])
            driven_way.append(made.cars.sensed[0, stepping.DISTANCE])
    assert (np.diff(driven_way) >= 0.0).all()
    # There and back: progress is less than the way driven.
    assert made.cars.sensed[0, stepping.PROGRESS] < driven_way[-1] - 1.0
