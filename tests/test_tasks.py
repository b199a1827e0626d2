"""Reward and endings: by hand, and what cheats earn beside a slow honest lap."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import errors
from donkey_rl.envs import DonkeyEnv, EnvironmentConfig, TaskConfig, tasks
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.world import Start

FloatArray = npt.NDArray[np.float64]
LIMIT_S = 60.0
TOP_THROTTLE = 0.3


def config(**task: Any) -> EnvironmentConfig:
    return EnvironmentConfig(
        camera=CameraConfig(img_w=16, img_h=16),
        task=TaskConfig(time_limit_s=LIMIT_S, **task),
        throttle_min=-TOP_THROTTLE,
        throttle_max=TOP_THROTTLE,
    )


class Driver:
    """A script for one car of a batch."""

    def __init__(self, batch: Batch, car: int) -> None:
        self.batch, self.car = batch, car

    @property
    def motion(self) -> FloatArray:
        return self.batch.motion[self.car]

    @property
    def arc(self) -> float:
        return float(self.batch.sensed[self.car, stepping.ARC])

    @property
    def time(self) -> float:
        return float(self.batch.sensed[self.car, stepping.TIME])

    def throttle(self, speed: float) -> float:
        """The action that holds a speed (u/s)."""
        gap = speed - float(self.motion[physics.FORWARD])
        return float(np.clip((speed / 100.0 + 0.1 * gap) / TOP_THROTTLE, -1.0, 1.0))

    def towards(self, x: float, z: float, *, back: bool = False) -> float:
        """The steering that leads to a point, driving forwards or `back`."""
        yaw = self.motion[physics.YAW] + (math.pi if back else 0.0)
        dx, dz = x - self.motion[physics.X], z - self.motion[physics.Z]
        angle = math.remainder(math.atan2(dx, dz) - yaw, 2.0 * math.pi)
        wheel = math.atan(1.6 * 2.0 * math.sin(angle) / max(1.0, math.hypot(dx, dz)))
        wheel = math.copysign(math.pi / 2, angle) if abs(angle) > 1.5 else wheel
        return float(np.clip(wheel / math.radians(16.0), -1.0, 1.0)) * (-1.0 if back else 1.0)

    def along(self, ahead: float, *, back: bool = False) -> float:
        """The steering that follows the middle of the road, which lies 2 u left of the path."""
        x, z = self.batch.track.path.beside(self.arc + ahead, -2.0)
        return self.towards(float(x), float(z), back=back)


def honest(driver: Driver) -> tuple[float, float]:
    return driver.along(4.0), driver.throttle(4.5)


def circling(driver: Driver) -> tuple[float, float]:
    return 1.0, driver.throttle(4.0)


def tight_circling(driver: Driver) -> tuple[float, float]:
    """Starts at the left edge and turns with the wheels locked: most of it on the road."""
    return (-0.6 if driver.time < 1.5 else 1.0), driver.throttle(3.0)


def shuttling(driver: Driver, swing: float) -> tuple[float, float]:
    ahead = driver.time % (2.0 * swing) < swing
    return driver.along(3.0) if ahead else 0.0, 0.3 if ahead else -0.3


def reversing(driver: Driver) -> tuple[float, float]:
    return driver.along(-4.0, back=True), driver.throttle(-4.0)


def parking(driver: Driver) -> tuple[float, float]:
    return 0.0, 0.0


def creeping_parking(driver: Driver) -> tuple[float, float]:
    """Rocks on the spot, fast enough not to count as standing."""
    return 0.0, 1.0 if driver.time % 1.0 < 0.5 else -1.0


def cutting(driver: Driver, ahead: float, speed: float) -> tuple[float, float]:
    """Makes straight for the road `ahead` u further on, over whatever lies between."""
    x, z = driver.batch.track.path.beside(driver.arc + ahead, -2.0)
    return driver.towards(float(x), float(z)), driver.throttle(speed)


def crossing(driver: Driver) -> tuple[float, float]:
    """Drives across the infield to the other side of the track and back."""
    goal = 107.0 if driver.time % 40.0 < 20.0 else 0.0
    x, z = driver.batch.track.path.beside(goal, -2.0)
    return driver.towards(float(x), float(z)), driver.throttle(5.0)


CHEATS: dict[str, list[Callable[[Driver], tuple[float, float]]]] = {
    "circling": [circling, tight_circling],
    "shuttling": [functools.partial(shuttling, swing=swing) for swing in (0.7, 2.0, 5.0)],
    "reversing": [reversing],
    "parking": [parking, creeping_parking],
    "cutting": [
        crossing,
        *(functools.partial(cutting, ahead=a, speed=v) for a in (20, 35, 60) for v in (4.5, 9.0)),
    ],
}


@pytest.fixture(scope="module", params=[True, False], ids=["ends off track", "drives on"])
def scores(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What each script earns in the time limit, until it has driven a lap.

    Who goes nowhere may start as many episodes as fit into the time; who goes round has one, as
    the honest lap has.
    """
    scripts = [honest, *(script for cheats in CHEATS.values() for script in cheats)]
    batch = Batch(config(end_off_track=request.param), len(scripts))
    batch.reset(np.arange(len(scripts)))
    drivers = [Driver(batch, car) for car in range(len(scripts))]
    total, lapped = np.zeros(len(scripts)), np.zeros(len(scripts), dtype=bool)
    goes_round = np.array([True, *(n == "cutting" for n, c in CHEATS.items() for _ in c)])
    for _ in range(tasks.count_steps(LIMIT_S) - 1):
        actions = [script(driver) for script, driver in zip(scripts, drivers, strict=True)]
        moved = batch.step(np.clip(actions, -1.0, 1.0))
        total += np.where(lapped, 0.0, moved.reward)
        lapped |= batch.sensed[:, stepping.PROGRESS] >= batch.track.length
        ended = np.flatnonzero(moved.terminated | moved.truncated)
        assert not (moved.terminated | moved.truncated)[0]
        lapped[ended] |= goes_round[ended]
        batch.reset(ended)
    earned = iter(total[1:])
    found: dict[str, Any] = {
        name: [float(next(earned)) for _ in cheats] for name, cheats in CHEATS.items()
    }
    return {**found, "honest": float(total[0]), "honest laps": bool(lapped[0])}


def test_a_slow_honest_lap_earns_its_length(scores: dict[str, Any]) -> None:
    assert scores["honest laps"]
    # 0.3 for each of 215 u, up to 0.3 u over the line.
    assert scores["honest"] == pytest.approx(0.3 * 215.0, abs=0.15)


@pytest.mark.parametrize("cheat", list(CHEATS))
def test_a_cheat_earns_less_than_a_slow_honest_lap(scores: dict[str, Any], cheat: str) -> None:
    assert max(scores[cheat]) < 0.8 * scores["honest"]


@pytest.mark.parametrize("cheat", ["circling", "shuttling", "reversing", "parking"])
def test_a_cheat_that_goes_nowhere_earns_next_to_nothing(
    scores: dict[str, Any], cheat: str
) -> None:
    assert max(scores[cheat]) <= scores["honest"] / 3.0


def facts(**changed: Any) -> tasks.Facts:
    """A plain step of one car that gained 0.5 u."""
    values: dict[str, Any] = {
        "gain": 0.5, "setback": 0.0, "off_track": False, "left_track": False, "wheels_off": 0,
        "cte": 1.0, "hit": False, "still_s": 0.0, "steering_change": 0.0, "steering": 0.0,
        "throttle": 0.0, "speed": 10.0, "heading": 0.0, "left_edge": 4.0, "right_edge": 5.0,
    } | changed  # fmt: skip
    return tasks.Facts(**{name: np.array([value]) for name, value in values.items()})


def judged(task: TaskConfig, step: tasks.Facts) -> tuple[dict[str, float], list[str]]:
    ended = tasks.endings(task, step)
    terms = tasks.reward_terms(task, step, ended)
    assert set(ended) == set(tasks.ENDINGS)
    return (
        {name: float(value[0]) for name, value in terms.items() if value[0]},
        [name for name, flag in ended.items() if flag[0]],
    )


@pytest.mark.parametrize(
    ("task", "step", "terms", "endings"),
    [
        # 0.5 u * 0.3 / u.
        ({}, {}, {"progress": 0.15}, []),
        ({}, {"gain": -0.5, "setback": 0.5}, {"progress": -0.15}, []),
        # Nothing is earned beside the road, but going back costs.
        ({"end_off_track": False}, {"off_track": True}, {}, []),
        ({"end_off_track": False}, {"off_track": True, "gain": -0.5}, {"progress": -0.15}, []),
        (
            {"end_off_track": False},
            {"off_track": True, "left_track": True},
            {"off_track": -4.0},
            [],
        ),
        ({}, {"off_track": True, "left_track": True}, {"off_track": -4.0}, ["off_track"]),
        # |cte| beyond its limit, on either side.
        ({"max_cte": 8.0}, {"cte": 8.1}, {"progress": 0.15, "off_track": -4.0}, ["max_cte"]),
        ({"max_cte": 8.0}, {"cte": -8.1}, {"progress": 0.15, "off_track": -4.0}, ["max_cte"]),
        ({"max_cte": 8.0}, {"cte": 7.9}, {"progress": 0.15}, []),
        ({}, {"hit": True}, {"progress": 0.15, "hit": -4.0}, ["hit"]),
        ({"end_hit": False}, {"hit": True}, {"progress": 0.15, "hit": -4.0}, []),
        ({}, {"gain": 0.0, "still_s": 1.96}, {}, []),
        ({}, {"gain": 0.0, "still_s": 2.0}, {"stuck": -4.0}, ["stuck"]),
        ({}, {"gain": 0.0, "setback": 4.1}, {"stuck": -4.0}, ["reverse"]),
        ({"smoothness_penalty": 0.5}, {"steering_change": -0.4}, {"progress": 0.15,
         "smoothness": -0.08}, []),
        ({"wheel_penalty": 0.1}, {"wheels_off": 2}, {"progress": 0.15, "wheels": -0.2}, []),
    ],
)  # fmt: skip
def test_terms_and_endings_by_hand(
    task: dict[str, Any], step: dict[str, Any], terms: dict[str, float], endings: list[str]
) -> None:
    found, ended = judged(TaskConfig(**task), facts(**step))
    assert found == pytest.approx(terms)
    assert ended == endings


def test_a_duration_must_be_whole_steps() -> None:
    assert tasks.count_steps(0.05) == 1
    for wrong in (0.02, 0.07, 12.34):
        with pytest.raises(errors.ConfigurationError, match=str(wrong)):
            tasks.count_steps(wrong)


def test_the_terms_sum_to_the_reward_and_are_named_in_info() -> None:
    env = DonkeyEnv(config(smoothness_penalty=0.3, wheel_penalty=0.2, end_off_track=False))
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(150):
        _, reward, terminated, _, info = env.step([rng.uniform(-1, 1), 0.8])
        names = {"progress", "off_track", "hit", "stuck", "smoothness", "wheels"}
        assert set(info["reward_terms"]) == names
        assert sum(info["reward_terms"].values()) == pytest.approx(reward)
        if terminated:
            env.reset()


def episode(env: DonkeyEnv, action: tuple[float, float]) -> tuple[int, bool, bool, Any]:
    """Repeats one action until the episode ends; returns steps, terminated, truncated, info."""
    for step in range(1, 5000):
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return step, terminated, truncated, info
    raise AssertionError("The episode did not end.")


def test_each_way_an_episode_ends() -> None:
    env = DonkeyEnv(config())
    env.reset(seed=0)
    # Standing from the start: 2 s are 40 steps.
    assert episode(env, (0.0, 0.0))[:3] == (40, True, False)
    env.reset()
    _, terminated, truncated, info = episode(env, (0.0, -0.3))
    assert (terminated, truncated, info["ending"]) == (True, False, "reverse")
    assert -4.5 < info["progress"] < -4.0
    env.reset()
    _, terminated, truncated, info = episode(env, (1.0, 0.3))
    assert (terminated, truncated, info["ending"]) == (True, False, "off_track")
    assert info["off_track"]


def test_time_up_is_truncation_not_termination() -> None:
    short = config(stuck_s=100.0, reverse_limit=100.0).model_copy(
        update={"task": TaskConfig(time_limit_s=3.0, stuck_s=100.0)}
    )
    env = DonkeyEnv(short)
    env.reset(seed=0)
    assert episode(env, (0.0, 0.0))[:3] == (60, False, True)
    # The limit counts from the reset.
    env.reset()
    assert episode(env, (0.0, 0.0))[:3] == (60, False, True)
    # In the last step both could end the episode: the task goes before the clock.
    both = short.model_copy(update={"task": TaskConfig(time_limit_s=3.0, stuck_s=3.0)})
    env = DonkeyEnv(both)
    env.reset(seed=0)
    assert episode(env, (0.0, 0.0))[:3] == (60, True, False)


def test_the_end_of_an_open_road_truncates() -> None:
    env = DonkeyEnv(config().model_copy(update={"track": "generated_road"}))
    env.reset(seed=0)
    road = env.batch.track
    assert not road.closed
    middle = road.road_middle
    place = (np.array([value]) for value in (road.length - 8.0, middle, 0.0, 5.0))
    env.batch.reset(np.array([0]), Start(*place))
    steps, terminated, truncated, _ = episode(env, (0.0, 0.2))
    assert (terminated, truncated) == (False, True)
    assert 10 < steps < 60


def test_every_scene_starts_on_its_road() -> None:
    # Else an episode that ends off the track would be over before it began.
    for name in track.names():
        road = track.load(name)
        lateral = road.path.locate([road.grid.poses[0].x, road.grid.poses[0].z])[1]
        assert road.road_left < lateral < road.road_right


@pytest.mark.parametrize(
    ("lateral", "turn", "centre", "whole"),
    [
        # The road of generated_track spans -7.2 to 2.8 u, wheels stand 0.70 u beside the centre.
        (2.0, 0.0, False, False),
        (2.15, 0.0, False, True),
        # Turned by 0.5 rad a wheel reaches 0.70 cos 0.5 + 0.78 sin 0.5 = 0.99 u.
        (2.0, 0.5, False, True),
        (-6.6, 0.0, False, True),
        (2.85, 0.0, True, True),
    ],
)
def test_a_wheel_or_the_centre_decides_what_is_off_track(
    lateral: float, turn: float, centre: bool, whole: bool
) -> None:
    for whole_car, expected in ((False, centre), (True, whole)):
        batch = Batch(config(whole_car=whole_car), 1)
        place = (np.array([value]) for value in (20.0, lateral, turn, 0.0))
        batch.reset(np.array([0]), Start(*place))
        assert batch.off_track[0] == expected
