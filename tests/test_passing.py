"""The expert among slower cars: it passes them, or keeps behind them, and touches nobody."""

from __future__ import annotations

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.envs import reference
from donkey_rl.envs.passing import MARGIN, Passing
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, vehicle
from donkey_rl.envs.simulator.world import Start
from donkey_rl.envs.traffic import Traffic

STEPS_A_SECOND = 20


def traffic(cars: int, low: float, car: str, **opponents: object) -> tuple[Traffic, Pursuit]:
    """Returns cars on generated_track with opponents that are not put back, and their expert."""
    config = configuration.validate(
        EnvironmentConfig,
        {
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


def drive(world: Traffic, expert: Pursuit, seconds: float) -> int:
    """Drives the cars by the passing expert; returns in how many steps one touched another."""
    config, passing = expert._config, Passing(expert, world.track)
    middle = 0.5 * (config.throttle_max + config.throttle_min)
    half = 0.5 * (config.throttle_max - config.throttle_min)
    blamed = 0
    for _ in range(round(seconds * STEPS_A_SECOND)):
        actions = passing.act(world.cars, world.others()).astype(np.float64)
        world.step(np.column_stack([actions[:, 0], middle + half * actions[:, 1]]))
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


def test_opponents_beside_their_line_keep_off_the_edges_wherever_it_runs() -> None:
    world, _ = traffic(1, 0.0, "donkey_2022")
    # The road goes from -7.2 to 2.8 u; a line that is nearer to an edge itself may stay there.
    lines, aside = np.array([-6.0, -6.5, 0.0, 1.5]), np.array([-1.0, -1.0, 1.0, 1.0])
    kept = lines + world._rivals._on_road(lines, aside)
    assert kept == pytest.approx([-7.2 + MARGIN, -6.5, 1.0, 2.8 - MARGIN])
