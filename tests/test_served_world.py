"""What a server needs of the world: cars that come and go, single physics steps, names, cones."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.world import World
from donkey_rl.errors import ActionError, ConfigurationError

Frames = npt.NDArray[np.uint8]
STATE = ("motion", "lean", "command", "sensed", "node", "hit", "touching", "wheels_off", "ticks")


pytestmark = pytest.mark.usefixtures("coarse_ground")


@functools.cache
def road() -> track.Track:
    return dataclasses.replace(track.load("generated_track"))


def world(count: int, groups: list[int] | None = None, **arguments: Any) -> World:
    camera = CameraConfig(img_w=64, img_h=48)
    car = vehicles.load("donkey_2022")
    return World(road(), car, camera, count, groups=groups, **arguments)


def state(made: World, i: int) -> list[Any]:
    return [getattr(made.cars, name)[i].tolist() for name in STATE]


def place(made: World, i: int, ahead: float, right: float = 0.0, speed: float = 0.0) -> None:
    """Puts car `i` on the first, straight piece of the road: 10 u + `ahead` from its start."""
    x, z, yaw = (float(value) for value in made.track.path.at(10.0))
    sine, cosine = np.sin(yaw), np.cos(yaw)
    row = [x + ahead * sine + right * cosine, z + ahead * cosine - right * sine, yaw, speed, 0, 0]
    made.place(np.array([i]), [row])


def picture(made: World, i: int) -> Frames:
    out = np.zeros((1, *made.camera.shape), dtype=np.uint8)
    made.render(out, np.array([i]))
    return out[0]


def slot_of(made: World, i: int) -> list[float]:
    made.reset(np.array([i]))
    return list(made.cars.motion[i, :3].tolist())


def pose(k: int) -> list[float]:
    found = road().grid.slot(k)
    return [found.x, found.z, found.yaw]


@pytest.mark.parametrize("groups", [[0, 1], [0, 0]], ids=["alone", "together"])
def test_five_ticks_are_two_steps(groups: list[int]) -> None:
    stepped, ticked = world(2, groups), world(2, groups)
    hits = []
    for made in (stepped, ticked):
        # The hind car runs into the other one, if it can, and both later into what stands around.
        place(made, 0, 3.0, 0.3, 3.0)
        place(made, 1, 0.0, 0.0, 12.0)
    for k in range(60):
        commands = [[0.3, 0.2], [0.5 * np.sin(0.3 * k), 0.9]]
        stepped.step(commands)
        ticked.command(np.arange(2), commands)
        for left in range(3 - k % 2, 0, -1):
            due = ticked.tick().tolist()
            assert due == ([0, 1] if left == 1 else [])
        for i in range(2):
            assert state(ticked, i) == state(stepped, i)
        hits += [name for name in stepped.hit_names() if name != "none"]
        assert ticked.hit_names() == stepped.hit_names()
    assert hits.count("Donkey(Clone)") >= 2 * (groups == [0, 0])
    assert ("Donkey(Clone)" in hits) == (groups == [0, 0])


def test_messages_are_due_after_three_and_two_ticks_of_a_cars_own_clock() -> None:
    made = world(2)
    due = [made.tick().tolist()]
    made.reset(np.array([1]))
    due += [made.tick().tolist() for _ in range(10)]
    # Car 0: ticks 3, 5, 8, 10; car 1, one tick later: 4, 6, 9, 11.
    assert due == [[], [], [0], [1], [0], [1], [], [0], [1], [0], [1]]
    assert made.cars.ticks.tolist() == [4, 4]
    assert made.cars.sensed[:, stepping.TIME] == pytest.approx([0.22, 0.2])


def test_between_messages_telemetry_keeps_its_values_and_the_car_moves() -> None:
    made = world(1)
    place(made, 0, 0.0, speed=20.0)
    made.step([[0.5, 0.5]])
    cte, x = made.cars.sensed[0, stepping.CTE], made.cars.motion[0].copy()
    assert made.tick().tolist() == []
    assert made.cars.sensed[0, stepping.CTE] == cte
    assert (made.cars.motion[0] != x).any()
    assert made.tick().tolist() == [0]
    assert made.cars.sensed[0, stepping.CTE] != cte


def test_a_hit_stays_until_the_tick_after_its_message() -> None:
    made = world(2, [0, 0])
    place(made, 0, 3.0)
    place(made, 1, 0.0, speed=10.0)
    seen = []
    for _ in range(20):
        due = made.tick()
        seen.append((made.hit_names()[1], bool(1 in due)))
    # Two centres 1.75 u apart touch; the car behind needs 1.25 u for that, 7 ticks at 10 u/s.
    first = next(k for k, (name, _) in enumerate(seen) if name != "none")
    message = next(k for k in range(first, 20) if seen[k][1])
    assert 5 <= first <= 9
    assert {name for name, _ in seen[first : message + 1]} == {"Donkey(Clone)"}
    assert {name for name, _ in seen[message + 1 :]} == {"none"}


def test_a_command_moves_nothing_and_a_bad_one_changes_nothing() -> None:
    made = world(3)
    before = made.cars.motion.copy()
    made.command(np.array([2, 0]), [[0.5, 0.25], [-3.0, 2.0]])
    assert made.cars.command.tolist() == [[-1.0, 1.0, 0.0], [0.0, 0.0, 10.0], [0.5, 0.25, 0.0]]
    assert (made.cars.motion == before).all()
    for wrong, words in (
        ([[0.0, 0.0]], r"shape \(2, 2\) or \(2, 3\)"),
        ([[0.0, 0.0], [np.nan, 0.0]], "for car 0"),
    ):
        with pytest.raises(ActionError, match=words):
            made.command(np.array([2, 0]), wrong)
    assert made.cars.command[0].tolist() == [-1.0, 1.0, 0.0]


def test_holding_the_held_commands_changes_none_of_them() -> None:
    made = world(2)
    made.command(np.array([0]), [[0.2, 0.4, 0.1]])
    for held in (made.cars.command, made.cars.command.copy()):
        made.step(held)
        # Car 1 brakes as after every reset, harder than a command can.
        assert made.cars.command.tolist() == [[0.2, 0.4, 0.1], [0.0, 0.0, 10.0]]
    made.step([[0.2, 0.4, 0.1], [0.0, 0.1, 10.0]])
    assert made.cars.command[1].tolist() == [0.0, 0.1, 1.0]


def test_an_arriving_car_takes_the_lowest_free_slot_and_keeps_it() -> None:
    made = world(4, [-1, 0, 0, -1])
    assert slot_of(made, 1) == pose(0)
    assert slot_of(made, 2) == pose(1)
    made.regroup([0, 0, 0, -1])
    assert slot_of(made, 0) == pose(2)
    made.regroup([0, -1, 0, -1])
    made.regroup([0, -1, 0, 0])
    # Car 1 had slot 0; the others stay where they are.
    assert [slot_of(made, i) for i in (3, 2, 0)] == [pose(0), pose(1), pose(2)]
    made.regroup([0, 0, 0, 0])
    assert slot_of(made, 1) == pose(3)
    # In a group of its own it is the first one.
    made.regroup([0, 7, 0, 0])
    assert slot_of(made, 1) == pose(0)


def test_regrouping_changes_nothing_for_the_cars_that_stay() -> None:
    alone, busy = world(3, [0, -1, -1]), world(3, [0, 0, -1])
    place(busy, 1, 60.0)
    for k in range(30):
        for made in (alone, busy):
            made.command(np.array([0]), [[0.3 * np.sin(k), 0.4]])
            made.tick()
        if k == 7:
            busy.regroup([0, -1, -1])
        elif k == 14:
            busy.regroup([0, -1, 0])
            place(busy, 2, 80.0)
        elif k == 20:
            busy.regroup([0, 1, 2])
        assert state(busy, 0) == state(alone, 0)


def test_an_absent_car_stands_still_is_not_seen_and_not_touched() -> None:
    made = world(3, [0, 0, -1])
    place(made, 0, 4.0)
    place(made, 1, 0.0)
    place(made, 2, -4.0)
    with_it = picture(made, 1)
    made.regroup([-1, 0, -1])
    assert (picture(made, 1) != with_it).sum() > 100
    # Nor do the absent see each other.
    assert (picture(made, 2) == picture(world_of(made, 2), 0)).all()
    before = state(made, 0)
    for _ in range(40):
        made.step([[0.0, 1.0]] * 3)
        assert made.hit_names() == ["none"] * 3
    assert made.cars.sensed[1, stepping.DISTANCE] > 5.0
    for name, value in zip(STATE, before, strict=True):
        if name != "command":
            assert getattr(made.cars, name)[0].tolist() == value
    assert made.tick().tolist() == []


def world_of(made: World, i: int) -> World:
    """A world of one car that stands where car `i` does."""
    single = world(1)
    single.place(np.array([0]), made.cars.motion[[i]])
    return single


def test_nobody_there_is_no_problem() -> None:
    made = world(2, [-1, -1])
    made.step([[0.0, 1.0]] * 2)
    assert made.tick().tolist() == []
    assert (made.cars.motion[:, physics.FORWARD] == 0.0).all()


def test_a_contact_ends_when_the_other_car_leaves() -> None:
    made = world(2, [0, 0])
    names = []
    for _ in range(2):
        place(made, 0, 1.8)
        made.cars.motion[1, physics.FORWARD] = 5.0
        made.regroup([0, 0])
        place(made, 1, 0.0, speed=5.0)
        for _ in range(8):
            made.step([[0.0, 0.0]] * 2)
            names.append(made.hit_names()[0])
        # The car behind leaves while it touches the one ahead.
        made.regroup([0, -1])
        assert made.cars.touching[0].tolist() == [-1, -1]
    assert names.count("Donkey(Clone)") == 2


def test_wrong_groups_are_refused_and_change_nothing() -> None:
    made = world(2, [0, -1])
    for wrong, words in (([0], "each of 2 cars"), ([0, -2], "Received: -2")):
        with pytest.raises(ConfigurationError, match=words):
            made.regroup(wrong)
        with pytest.raises(ConfigurationError, match=words):
            world(2, wrong)
    assert made.cars.group.tolist() == [0, -1]


def test_a_dressed_car_is_hit_by_its_name_and_seen_in_its_colour() -> None:
    made = world(2, [0, 0])
    place(made, 0, 4.0)
    place(made, 1, 0.0)
    plain = picture(made, 1)
    made.dress(0, "Lightning", (0, 255, 0))
    painted = picture(made, 1)
    changed = (painted != plain).any(axis=2)
    assert changed.sum() > 30
    # Edges are mixed with what is behind, the most of it is green.
    red, green, blue = np.median(painted[changed], axis=0)
    assert green > red + 90
    assert green > blue + 90
    place(made, 1, 0.0, speed=20.0)
    names = set()
    for _ in range(10):
        made.step([[0.0, 0.0]] * 2)
        names.add(tuple(made.hit_names()))
    assert ("Donkey(Clone)", "Lightning") in names
    made.dress(0)
    place(made, 0, 4.0)
    place(made, 1, 0.0)
    assert (picture(made, 1) == plain).all()


def test_a_car_that_leaves_takes_its_name_and_colour_along() -> None:
    made = world(2, [0, 0])
    place(made, 0, 4.0)
    place(made, 1, 0.0)
    plain = picture(made, 1)
    made.dress(0, "Lightning", (0, 255, 0))
    made.regroup([-1, 0])
    made.regroup([0, 0])
    assert (picture(made, 1) == plain).all()


@pytest.mark.parametrize("colour", [(1, 2), (0, 0, 256), (-1, 0, 0), (np.nan, 0, 0)])
def test_what_is_no_colour_is_refused(colour: tuple[float, ...]) -> None:
    made = world(1)
    with pytest.raises(ConfigurationError, match="from 0 to 255"):
        made.dress(0, "x", colour)


def test_cones_are_seen_and_entered_and_never_felt() -> None:
    plain, made = world(1), world(1)
    for one in (plain, made):
        place(one, 0, 0.0, speed=10.0)
        one.command(np.array([0]), [[0.0, 0.0]])
    x, z = made.cars.motion[0, [physics.X, physics.Z]]
    yaw = made.cars.motion[0, physics.YAW]
    ahead = np.array([np.sin(yaw), np.cos(yaw)])
    aside = np.array([np.cos(yaw), -np.sin(yaw)])
    made.put_cones([[x, z] + 5.0 * ahead, [x, z] + 5.0 * ahead + 3.0 * aside])
    assert (picture(made, 0) != picture(plain, 0)).any(axis=2).sum() > 50
    touched = []
    for _ in range(40):
        for one in (plain, made):
            one.tick()
        touched.append(made.cones_touched(0).tolist())
        assert state(made, 0) == state(plain, 0)
    # The one in the middle, for some time, then none; the one aside never.
    assert [0] in touched
    assert touched[0] == touched[-1] == []
    assert [1] not in touched
    assert [0, 1] not in touched
    made.put_cones(np.zeros((0, 2)))
    assert (picture(made, 0) == picture(plain, 0)).all()


@pytest.mark.parametrize(
    ("ahead", "right", "touches"),
    [
        # The body's foremost circle ends 0.875 ahead of the centre, a cone reaches 0.45.
        (1.32, 0.0, True), (1.33, 0.0, False), (-1.32, 0.0, True), (-1.33, 0.0, False),
        # Beside the middle: 0.5 and 0.45.
        (0.0, 0.94, True), (0.0, 0.96, False), (0.0, -0.94, True),
    ],
)  # fmt: skip
def test_a_body_touches_a_cone_as_far_as_both_reach(
    ahead: float, right: float, touches: bool
) -> None:
    made = world(1)
    made.place(np.array([0]), [[50.0, 60.0, np.pi / 2.0, 0.0, 0.0, 0.0]])
    # Headed for +X: ahead is +X, right is -Z.
    made.put_cones([[50.0 + ahead, 60.0 - right]])
    assert made.cones_touched(0).tolist() == ([0] if touches else [])


def test_cones_that_are_no_places_are_refused() -> None:
    made = world(1)
    for wrong in ([[1.0]], [[1.0, np.inf]]):
        with pytest.raises(ConfigurationError, match="`places` must be finite"):
            made.put_cones(wrong)
    assert made.cones_touched(0).tolist() == []
