"""The expert among slower cars: it passes them, or keeps behind them, and touches nobody."""

from __future__ import annotations

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.envs import reference
from donkey_rl.envs.passing import Passing
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, vehicle
from donkey_rl.envs.simulator.world import Start
from donkey_rl.envs.traffic import Traffic

STEPS_A_SECOND = 20


def traffic(
    cars: int, low: float, car: str, *, track: str = "generated_track", **opponents: object
) -> tuple[Traffic, Pursuit]:
    """Returns cars with opponents that are not put back, and the pursuit for their expert."""
    config = configuration.validate(
        EnvironmentConfig,
        {
            "track": track,
            "vehicle": car,
            "throttle_min": low,
            "camera": {"img_w": 32, "img_h": 16},
            "opponents": {"count": 1, "lateral": 0.0, "reach": None, **opponents},
        },
    )
    world = Traffic(config, cars, seed=3)
    world.reset(np.arange(cars))
    return world, Pursuit(config)


def put(world: Traffic, i: int, arc: float, lateral: float, turn: float, speed: float) -> None:
    """Puts any car of a world somewhere on the road."""
    place = (np.array([value]) for value in (arc, lateral, turn, speed))
    world.world.reset(np.array([i]), Start(*place), redraw=False)


def spread(world: Traffic, expert: Pursuit, ahead: float, pace: float) -> None:
    """Puts the cars all along the lap, at speed, each with its opponent so far ahead (u)."""
    cars = len(world)
    for i in range(cars):
        arc = i * world.track.length / cars
        for car, at, share in ((i, arc, 0.95), (cars + i, arc + ahead, pace)):
            motion = expert.reference if car == i else expert.fastest
            row = motion.at(np.array([at]))[0]
            speed = share * row[reference.FORWARD]
            put(world, car, at, row[reference.LATERAL], row[reference.TURN], speed)
        world._lead[i] = ahead
        world._origin(i)


def drive(world: Traffic, expert: Pursuit, seconds: float, wheels: list[int] | None = None) -> int:
    """Drives the cars by the passing expert; returns in how many steps one touched another.

    Args:
        world: The cars and their opponents.
        expert: Whose line they follow.
        seconds: How long.
        wheels: Receives how many cars had a wheel beside the road at each step.
    """
    config, passing = expert._config, Passing(expert, world.track)
    middle = 0.5 * (config.throttle_max + config.throttle_min)
    half = 0.5 * (config.throttle_max - config.throttle_min)
    blamed = 0
    for _ in range(round(seconds * STEPS_A_SECOND)):
        actions = passing.act(world.cars, world.others()).astype(np.float64)
        world.step(np.column_stack([actions[:, 0], middle + half * actions[:, 1]]))
        if wheels is not None:
            wheels.append(int(np.count_nonzero(world.cars.wheels_off)))
        touched = world.cars.hit >= stepping.CAR_HIT
        blamed += int(np.count_nonzero(touched & ~world.blameless))
    return blamed


@pytest.mark.parametrize(
    ("car", "low", "pace"),
    [
        ("donkey_2022", -1.0, 0.6),
        ("donkey_2022", 0.0, 0.5),
    ],
)
def test_a_slower_car_is_passed_without_contact_from_everywhere_on_the_lap(
    car: str, low: float, pace: float
) -> None:
    world, expert = traffic(12, low, car, drivers=[f"pursuit:{pace}"])
    spread(world, expert, 30.0, pace)
    blamed = drive(world, expert, 12.0)
    assert blamed == 0
    assert world.passed.sum() >= 4


def test_it_stops_behind_two_cars_that_leave_no_room() -> None:
    # From -7.2 to 2.8 u, with cars at -3.8 and -0.6 u, no place is 1.8 u beside both and 1.5 u
    # from the edges.
    world, expert = traffic(1, -1.0, "donkey_2022", count=2, drivers=["parked"])
    put(world, 0, 10.0, -2.0, 0.0, 12.0)
    for k, lateral in enumerate((-3.8, -0.6)):
        put(world, 1 + k, 50.0, lateral, 0.0, 0.0)
        world._lead[k] = 40.0
        world._origin(k)
    blamed = drive(world, expert, 10.0)
    assert blamed == 0
    assert (world._lead > vehicle.BODY_LENGTH).all()
    assert (world._lead < 12.0).all()
    assert abs(world.cars.motion[0, physics.FORWARD]) < 0.5


def test_the_engine_brakes_only_where_it_may_and_less_in_a_bend() -> None:
    speed, across = np.array([10.0, 10.0]), np.array([0.0, 7.0])
    straight, bend = traffic(1, -1.0, "donkey_2022")[1].braking(speed, across)
    # Four wheels of a grip of 0.8 on a straight.
    assert straight == pytest.approx(0.8 * vehicle.GRAVITY, rel=0.02)
    assert 0.0 <= bend < 0.7 * straight
    assert (traffic(1, 0.0, "donkey_2022")[1].braking(speed, across) == 0.0).all()


def test_wheels_stay_on_the_road_where_the_line_crosses_it_and_somebody_is_passed() -> None:
    world, expert = traffic(
        12, -1.0, "donkey_2022", track="mountain_track", drivers=["pursuit:0.5"]
    )
    spread(world, expert, 12.0, 0.5)
    left: list[int] = []
    drive(world, expert, 12.0, left)
    assert world.passed.sum() >= 8
    assert sum(left) == 0


def test_a_car_beside_the_line_comes_back_before_the_line_leads_to_the_edge() -> None:
    world, expert = traffic(1, -1.0, "donkey_2022", track="mountain_track")
    passing = Passing(expert, world.track)
    # From 2.3 u left of the middle at 97.6 u to 2.7 u right of it at 111.6 u.
    lateral = expert.reference.at(np.array([97.6, 111.6]))[:, reference.LATERAL]
    assert lateral == pytest.approx([-2.3, 2.7], abs=0.2)
    for beside in (2.3, 0.0):
        put(world, 0, 97.6, float(lateral[0]) + beside, 0.0, 12.0)
        now = world.cars.sensed[:1, stepping.LATERAL] - lateral[:1]
        left, right = passing._soon(world.cars, now, np.zeros(1))
        assert left[0] <= min(now[0], 0.0)
        assert (right[0] < now[0] - 0.5) == (beside > 0.0)


def test_opponents_beside_their_line_come_back_before_it_leads_them_off_the_road() -> None:
    world, _ = traffic(
        12, 0.0, "donkey_2022", lateral=1.0, count=2, drivers=["pursuit:0.4", "pursuit:0.8"]
    )
    road, nearest = world.track, np.inf
    for _ in range(10 * STEPS_A_SECOND):
        world.step(np.zeros((12, 2)))
        lateral = world.world.cars.sensed[12:, stepping.LATERAL]
        nearest = min(nearest, (lateral - road.road_left).min(), (road.road_right - lateral).min())
    # They steer for 1 u. With the line's place here alone they came to 1 u beyond the edge.
    assert nearest > 0.4
