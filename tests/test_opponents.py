"""Other cars on the road: settings, where they are put, how they drive, whose fault it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import configuration
from donkey_rl.envs import joined_view, opponent_drivers
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.opponents import OpponentConfig, parse
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, vehicle
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.world import Start
from donkey_rl.envs.traffic import Traffic
from donkey_rl.errors import ConfigurationError, DonkeyRLError, UnknownNameError

pytestmark = pytest.mark.usefixtures("coarse_ground")

CARS = 4


def environment(
    *drivers: str, track: str = "generated_track", **values: object
) -> EnvironmentConfig:
    """Returns an environment with opponents, small images, and the full range of commands."""
    return configuration.validate(
        EnvironmentConfig,
        {
            "track": track,
            "camera": {"img_w": 32, "img_h": 16},
            "throttle_min": -1.0,
            "opponents": {"count": 1, "drivers": drivers or ("pursuit",), **values},
        },
    )


def batch(config: EnvironmentConfig, cars: int = CARS) -> tuple[Batch, Traffic]:
    """Returns cars on their start, and the traffic that they are in."""
    made = Batch(config, cars, seed=3)
    made.reset(np.arange(cars))
    assert isinstance(made.world, Traffic)
    return made, made.world


def put(cars: Traffic, i: int, arc: float, lateral: float, speed: float) -> None:
    """Puts any car of a world somewhere on the road."""
    place = (np.array([value]) for value in (arc, lateral, 0.0, speed))
    cars.world.reset(np.array([i]), Start(*place), redraw=False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("pursuit:1.5", "up to 1"), ("pursuit:0.9-0.4", "low before high"), ("", "who drives"),
     ("pursuit:fast", "SHARE")],
)  # fmt: skip
def test_a_driver_that_cannot_be_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)
    with pytest.raises(ConfigurationError, match=complaint):
        configuration.validate(OpponentConfig, {"drivers": [text]})


def test_settings_that_do_not_fit_are_refused() -> None:
    for gap in ((20.0, 10.0), (1.0, 10.0), (10.0, 99.0)):
        with pytest.raises(ConfigurationError, match=r"opponents\.gap"):
            configuration.validate(OpponentConfig, {"gap": gap})
    values = {"opponents": {"count": 1}, "simulator": "localhost:9091"}
    with pytest.raises(ConfigurationError, match="embedded simulator"):
        configuration.validate(EnvironmentConfig, values)
    with pytest.raises(ConfigurationError, match="each other's opponents"):
        Batch(environment(), 2, together=True)


def test_opponents_begin_within_the_gap_and_everything_shown_is_of_the_cars() -> None:
    made, world = batch(environment("pursuit:0.5", "parked", count=2, gap=(10.0, 15.0)))
    assert len(made) == len(world) == CARS
    assert len(world.world) == 3 * CARS
    ahead = world.world.cars.sensed[CARS:, stepping.ARC].reshape(CARS, 2)
    gaps = (ahead - made.sensed[:, stepping.ARC, None]) % made.track.length
    # The second of a car is put 6 u on, twice at most, where it would be too near to the first.
    assert (gaps >= 10.0 - 0.2).all()
    assert (gaps <= 27.2).all()
    assert (np.abs(np.diff(gaps, axis=1)) >= 5.8).all()
    moved = made.step(np.zeros((CARS, 2)))
    shapes = {value.shape[0] for value in moved.observation.values()}
    assert shapes == {CARS}
    assert moved.reward.shape == (CARS,)
    assert np.shares_memory(made.motion, world.world.cars.motion)


def test_without_opponents_nothing_changes_and_with_them_the_car_starts_as_without() -> None:
    alone = Batch(EnvironmentConfig(randomisation=Randomisation(start_anywhere=True)), 3, seed=5)
    config = alone.config.model_copy(update={"opponents": OpponentConfig(count=2)})
    joined = Batch(config, 3, seed=5)
    for made in (alone, joined):
        made.reset(np.arange(3))
    np.testing.assert_array_equal(alone.motion, joined.motion)
    assert not isinstance(alone.world, Traffic)


@pytest.mark.parametrize("track", ["generated_track", "warren"])
def test_pursuit_opponents_stay_on_the_road_at_their_share_of_the_speed(track: str) -> None:
    made, world = batch(environment("pursuit:0.4", "pursuit:0.8", track=track, reach=None))
    first = world.world.cars.sensed[CARS:].copy()
    for _ in range(300):
        made.step(np.zeros((CARS, 2)))
    cars = world.world.cars.sensed[CARS:]
    assert (world.world.cars.wheels_off[CARS:] == 0).all()
    driven = cars[:, stepping.PROGRESS] - first[:, stepping.PROGRESS]
    # Car by car the slow and the fast one in turn.
    assert (driven[1::2] > 1.5 * driven[::2]).all()
    assert (driven[1::2] < 2.3 * driven[::2]).all()


def test_a_car_that_passes_an_opponent_is_counted_once_and_only_by_its_whole_length() -> None:
    made, world = batch(environment("parked", gap=(10.0, 10.0), lateral=0.0, reach=None), 1)
    arc = float(world.world.cars.sensed[1, stepping.ARC])
    still = np.zeros((1, 2))
    for beyond, passed in ((-8.0, 0), (0.9 * vehicle.BODY_LENGTH, 0), (3.0, 1), (5.0, 1)):
        start = float(made.sensed[0, stepping.ARC])
        lap = made.track.length
        way = (arc + beyond - start + 0.5 * lap) % lap - 0.5 * lap
        world.cars.sensed[0, stepping.PROGRESS] += way
        world.cars.sensed[0, stepping.ARC] = arc + beyond
        x, z, yaw = made.track.path.at(np.array([arc + beyond]))
        right = made.track.road_right
        world.cars.motion[0, :3] = (
            x[0] + right * np.cos(yaw[0]), z[0] - right * np.sin(yaw[0]), yaw[0],
        )  # fmt: skip
        made.step(still)
        assert world.passed[0] == passed, beyond
    around = world.around()
    # Behind by 5 u on a circuit is ahead by a lap less 5 u.
    assert around["gap"][0] == pytest.approx(made.track.length - 5.0, abs=0.2)
    assert around["gap_speed"][0] == pytest.approx(0.0, abs=0.1)


def test_a_car_that_is_put_back_ahead_is_not_passed_twice() -> None:
    made, world = batch(environment("pursuit:0.6", lateral=0.0, reach=None), 1)
    still = np.zeros((1, 2))
    made.step(still)
    for _ in range(3):
        world._lead[0] = -3.0
        world._origin(0)
        world._turn[0] = 0.0  # as ahead of the car, a moment ago
        made.step(still)
        assert world.passed[0] == 1
        world.world.cars.motion[1, physics.YAW] += np.pi  # turned round
        made.step(still)
        assert world._lead[0] > 0.0


def contact(lead: float, speeds: tuple[float, float], aside: float = 0.0) -> tuple[bool, bool]:
    """Drives a car and its opponent into each other.

    Args:
        lead: How far the opponent is ahead (u).
        speeds: Of the car and the opponent (u/s).
        aside: How far the opponent is to the right (u).

    Returns:
        Whether the car is to blame, and whether its episode ended.
    """
    made, world = batch(environment("pursuit:1.0", lateral=0.0, reach=None), 1)
    arc = float(made.sensed[0, stepping.ARC]) + 20.0
    put(world, 0, arc, 0.0, speeds[0])
    put(world, 1, arc + lead, aside, speeds[1])
    world._lead[0] = lead
    world._origin(0)
    for _ in range(20):
        moved = made.step(np.array([[0.0, 0.0]]))
        if world.hit_names()[0] == "opponent 1":
            return not world.blameless[0], bool(moved.terminated[0])
    raise AssertionError("They never met.")


def test_who_drives_into_the_one_ahead_is_to_blame_and_who_is_driven_into_is_not() -> None:
    assert contact(3.0, (20.0, 2.0)) == (True, True)
    assert contact(-3.0, (1.0, 20.0)) == (False, False)


def test_side_by_side_who_moves_over_is_to_blame() -> None:
    made, world = batch(environment("parked", lateral=0.0, reach=None), 1)
    arc = float(made.sensed[0, stepping.ARC]) + 20.0
    for turn, blamed in ((0.5, True), (-0.5, False)):
        put(world, 0, arc, 0.0, 6.0)
        put(world, 1, arc, 1.2, 6.0)
        # The one that is turned moves towards the other: the car to the right, or its opponent.
        i = 0 if blamed else 1
        world.world.cars.motion[i, physics.YAW] += turn
        world._lead[0] = 0.0
        world._origin(0)
        for _ in range(4):
            made.step(np.array([[0.0, 0.0]]))
            if world.hit_names()[0] != "none":
                break
        assert world.hit_names()[0] == "opponent 1"
        assert bool(world.blameless[0]) is not blamed


def test_opponents_that_come_to_nothing_are_put_back_ahead() -> None:
    made, world = batch(environment("pursuit:0.6", gap=(10.0, 20.0), reach=30.0), 3)
    own = world.world.cars
    lead = world._lead.copy()
    own.motion[3, physics.YAW] += 3.0  # turned round
    start = float(own.sensed[4, stepping.ARC])
    put(world, 4, start, made.track.road_right + 3.0, 5.0)  # beside the road
    world._origin(1)
    own.sensed[5, stepping.PROGRESS] += 25.0  # out of reach
    made.step(np.zeros((3, 2)))
    lateral, turned = own.sensed[3:, stepping.LATERAL], own.sensed[3:, stepping.HEADING_ERROR]
    # The line itself runs at up to 0.5 rad to the path.
    assert (np.abs(turned) < 1.0).all()
    assert (lateral < made.track.road_right).all()
    assert (world._lead >= 9.0).all()
    assert (world._lead <= 20.5).all()
    assert (world._lead != lead).all()
    assert (world.passed == 0).all()


@pytest.mark.parametrize("behind", [0.5, 1.0])
def test_opponents_do_not_begin_in_each_other(behind: float) -> None:
    config = environment(track="generated_road", count=3, behind=behind, gap=(8.0, 15.0))
    cars, world = batch(config, 16)
    end = np.linspace(world.track.length - 80.0, world.track.length - 12.0, 16)
    still = np.zeros(16)
    for start in (None, None, Start(end, still, still, still)):
        if start is None:
            cars.reset(np.arange(16))
        else:
            world.reset(np.arange(16), start)
        arcs = world.world.cars.sensed[:, stepping.ARC]
        groups = np.concatenate([arcs[:16, None], arcs[16:].reshape(16, 3)], axis=1)
        gaps = np.diff(np.sort(groups, axis=1), axis=1)
        assert gaps.min() > 5.9


@pytest.mark.parametrize("track", ["generated_track", "generated_road"])
def test_as_many_opponents_as_there_may_be_stay_where_they_drive(track: str) -> None:
    made, world = batch(environment("pursuit:0.6", track=track, count=7), 4)
    before, jumps = world._lead.copy(), 0
    for _ in range(40):
        made.step(np.tile([0.0, 0.2], (4, 1)))
        jumps += int((np.abs(world._lead - before) > 5.0).sum())
        before = world._lead.copy()
    # Those that begin out of reach are put back once there is room.
    assert jumps < 28


def test_starts_before_failures_are_drawn_with_opponents_too() -> None:
    where = environment()
    starts = where.randomisation.model_copy(
        update={"start_anywhere": True, "start_at_failures": 1.0}
    )
    cars, world = batch(where.model_copy(update={"randomisation": starts}), 1)
    steering = np.array([[1.0, 0.5]])
    for _ in range(400):
        failed = float(cars.sensed[0, stepping.ARC])
        if cars.step(steering).terminated[0]:
            break
    cars.reset(np.arange(1))
    gap = (failed - float(world.cars.sensed[0, stepping.ARC])) % world.track.length
    assert 0.0 < gap < 60.0


def test_learned_opponents_see_by_their_own_cameras_and_act_within_their_limits() -> None:
    made, world = batch(environment("self", "pursuit", gap=(8.0, 9.0)), 2)
    assert world.vacant == ("self",)
    with pytest.raises(DonkeyRLError, match="self"):
        made.step(np.zeros((2, 2)))
    with pytest.raises(UnknownNameError):
        world.seat("nobody", lambda _: np.zeros((1, 2), np.float32), opponent_drivers.Limits())
    seen: list[dict[str, npt.NDArray[np.generic]]] = []

    def act(observation: dict[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.float32]:
        seen.append({name: np.array(value) for name, value in observation.items()})
        return np.array([[0.25, 1.0]], np.float32)

    world.seat("self", act, opponent_drivers.Limits(throttle_max=0.5))
    assert world.vacant == ()
    for _ in range(2):
        made.step(np.zeros((2, 2)))
    shapes = {name: value.shape for name, value in seen[0].items()}
    assert shapes == {
        "image": (1, 16, 32, 3),
        "speed": (1, 1),
        "imu": (1, 6),
        "last_actions": (1, 6),
    }
    assert seen[1]["last_actions"][0].tolist() == [0.0] * 4 + [0.25, 1.0]
    own = np.zeros((1, 16, 32, 3), np.uint8)
    made.world.render(own, np.array([0]))
    assert (seen[1]["image"] != own).any()
    assert world.world.cars.command[2].tolist() == [0.25, 0.5, 0.0]


def test_the_same_seed_gives_the_same_traffic_and_an_episode_does_not_depend_on_the_others() -> (
    None
):
    def drive(cars: int) -> npt.NDArray[np.float64]:
        config = environment("pursuit", count=2, behind=0.5, reach=20.0, gap=(8.0, 15.0))
        view = joined_view.make((config,), cars, 7)
        view.reset()
        expert = Pursuit(config)
        for _ in range(60):
            view.step(expert.act(view.views[0].batch))
        world = view.views[0].batch.world
        assert isinstance(world, Traffic)
        motion = world.world.cars.motion
        return np.concatenate([motion[:1], motion[cars : cars + 2]])

    np.testing.assert_array_equal(drive(3), drive(3))
    np.testing.assert_array_equal(drive(3)[0], drive(1)[0])
