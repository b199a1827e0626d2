"""Late and lost commands: when they reach the cars, and what the drivers see of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.envs import DonkeyEnv, DonkeyVectorEnv, vec_env
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator.starts import Start
from donkey_rl.envs.simulator.world import World
from donkey_rl.envs.traffic import Traffic
from donkey_rl.errors import ConfigurationError

HISTORY = 8


def config(**latency: Any) -> EnvironmentConfig:
    return configuration.validate(
        EnvironmentConfig,
        {
            "camera": {"img_w": 32, "img_h": 24},
            "history": HISTORY,
            "latency": latency,
            "task": {"end_off_track": False, "stuck_s": 60.0, "time_limit_s": 600.0},
        },
    )


def always(delay_ms: float, **more: float) -> EnvironmentConfig:
    return config(low_ms=delay_ms, high_ms=delay_ms, **more)


def weaving(step: int, cars: int) -> Any:
    """Steers to and fro, differently in each step, at full throttle."""
    return np.tile([0.6 * math.sin(0.7 * step), 1.0 - 0.001 * step], (cars, 1))


def drive(batch: Batch, steps: int) -> Any:
    """Returns the motion of all cars before and after each step."""
    found = [batch.motion.copy()]
    for step in range(steps):
        batch.step(weaving(step, len(batch)))
        found.append(batch.motion.copy())
    return np.array(found)


def test_command_takes_effect_at_the_physics_step_of_its_arrival() -> None:
    """120 ms are six physics steps, whichever way the messages lie in between."""
    batch = Batch(always(120.0), 1, seed=1)
    batch.reset(np.array([0]))
    found = drive(batch, 30)
    world = World(batch.track, batch.vehicle, batch.config.camera, 1, seed=1)
    # Messages come at ticks 0, 3, 5, 8, 10, ...
    frames = [(5 * k + 1) // 2 for k in range(31)]
    expected = [world.cars.motion.copy()]
    for tick in range(frames[-1]):
        if tick - 6 in frames:
            steering, throttle = weaving(frames.index(tick - 6), 1)[0]
            world.command(np.array([0]), [[steering, 0.5 + 0.5 * throttle]])
        world.tick()
        if tick + 1 in frames:
            expected.append(world.cars.motion.copy())
    assert (found == np.array(expected)).all()
    # Two frames on the car stood still; it moved before the fourth, at tick 6 of 8.
    assert found[2, 0, physics.FORWARD] == 0.0
    assert found[4, 0, physics.FORWARD] > 0.0


def test_car_in_motion_rolls_on_until_the_first_command_and_a_standing_one_stands() -> None:
    batch = Batch(always(300.0), 2, seed=1)
    zeros = np.zeros(2)
    start = Start(np.array([30.0, 30.0]), zeros, zeros, np.array([10.0, 0.0]))
    batch.reset(np.array([0, 1]), start)
    found = drive(batch, 6)
    assert (found[:, 1] == found[0, 1]).all()
    # Rolling costs some speed, the brake would have taken all of it.
    assert 7.0 < found[6, 0, physics.FORWARD] < 10.0
    assert (found[:, 0, physics.YAW_RATE] == 0.0).all()


def test_lost_commands_are_seen_as_sent_and_commands_of_lost_frames_are_not() -> None:
    sent = Batch(always(0.0, command_drop=0.5), 40, seed=2)
    sent.reset(np.arange(40))
    unseen = Batch(always(0.0, frame_drop=0.5), 40, seed=2)
    unseen.reset(np.arange(40))
    for batch in (sent, unseen):
        first = batch.step(np.full((40, 2), 0.5)).observation["last_actions"]
        came = batch.motion[:, physics.FORWARD] > 0.0
        assert 10 < came.sum() < 30
        assert (first[:, :-2] == 0.0).all()
        assert np.isnan(batch.link.delay_ms).tolist() == (~came).tolist()  # type: ignore[union-attr]
        seen = (first[:, -2:] == 0.5).all(axis=1)
        assert seen.tolist() == (came.tolist() if batch is unseen else [True] * 40)
    # A command holds until the next one comes: half of the cars lose that.
    held = unseen.commands.copy()
    unseen.step(np.full((40, 2), -0.5))
    kept = (unseen.commands == held).all(axis=1)
    assert 10 < kept.sum() < 30


def test_delay_is_drawn_by_the_episode_and_jitter_by_the_message() -> None:
    batch = Batch(config(low_ms=100.0, high_ms=200.0, jitter_ms=40.0), 200, seed=3)
    link = batch.link
    assert link is not None
    means = []
    for _ in range(2):
        batch.reset(np.arange(200))
        delays, landed = [], []
        for step in range(70):
            batch.step(weaving(step, 200))
            delays.append(link.delay_ms.copy())
            landed.append(link.landing.copy())
        assert (np.diff(np.array(landed), axis=0) >= 0).all()
        means.append(np.mean(delays, axis=0))
        assert np.min(delays) >= 60.0 - 10.0
        assert np.max(delays) <= 240.0 + 10.0
        # Two ways of uniform +-20 ms each: a deviation of 20 / sqrt(3) * sqrt(2) = 16.3 ms, and
        # 20 / sqrt(12) = 5.8 ms by the physics steps.
        assert np.mean(np.std(delays, axis=0)) == pytest.approx(17.3, abs=1.5)
    # Uniform in 100..200 ms: a mean of 150, a deviation of 28.9.
    assert np.mean(means) == pytest.approx(150.0, abs=5.0)
    assert np.std(means[0]) == pytest.approx(28.9, abs=4.0)
    assert abs(float(np.corrcoef(means)[0, 1])) < 0.25


def test_same_seed_same_delays_whatever_the_number_of_cars() -> None:
    setting = config(high_ms=300.0, jitter_ms=20.0, frame_drop=0.1, command_drop=0.1)

    def driven(cars: int) -> Any:
        batch = Batch(setting, cars, seed=5)
        batch.reset(np.arange(cars))
        drive(batch, 80)
        batch.seed(9)
        batch.reset(np.arange(cars))
        return drive(batch, 80)

    many = driven(4)
    assert (driven(2) == many[:, :2]).all()
    assert (many[:, 0] != many[:, 1]).any()


def test_every_view_delays_alike() -> None:
    setting = config(high_ms=300.0, jitter_ms=20.0, command_drop=0.1)
    one, many = DonkeyEnv(setting), DonkeyVectorEnv(setting, 1)
    stable = vec_env.make(setting, 1, seed=0)
    stable.seed(4)
    stable.reset()
    one.reset(seed=4)
    many.reset(seed=4)
    for step in range(60):
        action = weaving(step, 1)
        expected = one.step(action[0])[0]
        for found in (many.step(action)[0], stable.step(action.astype(np.float32))[0]):
            for name in ("image", "speed", "last_actions"):
                assert (found[name][0] == expected[name]).all()
    undelayed = DonkeyEnv(config())
    undelayed.reset(seed=4)
    observed = [undelayed.step(weaving(step, 1)[0])[0] for step in range(60)]
    assert observed[-1]["speed"] != expected["speed"]
    for env in (one, many, stable, undelayed):
        env.close()


def test_commands_come_late_among_other_cars_as_they_do_alone() -> None:
    alone = always(130.0, jitter_ms=30.0)
    among = configuration.validate(
        EnvironmentConfig,
        alone.model_dump() | {"opponents": {"count": 1, "drivers": ["pursuit"], "gap": [30, 40]}},
    )
    found = []
    for setting in (alone, among):
        batch = Batch(setting, 2, seed=6)
        batch.reset(np.arange(2))
        found.append(drive(batch, 30))
    assert (found[0] == found[1]).all()
    assert isinstance(batch.world, Traffic)
    # The opponents drive as well, and not late.
    assert (batch.world.world.cars.motion[2:, physics.FORWARD] > 1.0).all()


class Other:
    """Cars of another program: it can be told a command once a step."""

    def __init__(self, world: World) -> None:
        self.world, self.told = world, []

    def __len__(self) -> int:
        return len(self.world)

    def __getattr__(self, name: str) -> Any:
        if name in ("command", "step_arriving"):
            raise AttributeError(name)
        return getattr(self.world, name)

    def step(self, commands: Any) -> None:
        self.told.append(commands.copy())
        self.world.step(commands)


def test_other_simulators_are_told_the_brake_then_commands_of_whole_steps_ago() -> None:
    setting = always(120.0)
    plain = Batch(setting, 1)
    other = Other(World(plain.track, plain.vehicle, setting.camera, 1))
    batch = Batch(setting, 1, world=other)  # type: ignore[arg-type]
    batch.reset(np.array([0]))
    drive(batch, 6)
    told = np.array(other.told)[:, 0]
    assert told[:2].tolist() == [[0.0, 0.0, 1.0]] * 2
    # 120 ms are two steps and not three.
    wanted = [[w[0], 0.5 + 0.5 * w[1], 0.0] for w in (weaving(k, 1)[0] for k in range(4))]
    assert told[2:] == pytest.approx(np.array(wanted))
    assert batch.commands[0] == pytest.approx(wanted[-1][:2])


@pytest.mark.parametrize(
    ("history", "latency", "message"),
    [
        (6, {"high_ms": 300}, "history must be at least 7.*received 6. Set history=7"),
        (7, {"high_ms": 300, "jitter_ms": 1}, "at least 8"),
        (8, {"low_ms": 50, "high_ms": 40}, "high_ms must be at least low_ms, received 40 and 50"),
        (30, {"high_ms": 1001}, "high_ms"),
        (
            30,
            {"high_ms": 1000, "added_ms": 100},
            "must be at most 1000 ms, received 1100",
        ),
        (8, {"high_ms": 10, "frame_drop": 1.0}, "frame_drop"),
    ],
)
def test_what_cannot_be_driven_is_refused(
    history: int, latency: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configuration.validate(EnvironmentConfig, {"history": history, "latency": latency})


def test_range_and_steps() -> None:
    setting = LatencyConfig(low_ms=50.0, high_ms=250.0, jitter_ms=30.0)
    assert setting.range_ms == (50.0, 250.0)
    # 280 ms touch six steps of 50 ms.
    assert setting.spanned_steps == 6
    drawn = setting.draw_steps(np.random.default_rng(0), 4_000)
    # 50 to 250 ms are 1 to 5 steps; those at the edges have half the room of the others.
    shares = np.bincount(drawn, minlength=6)[1:] / 4_000
    assert shares == pytest.approx([0.125, 0.25, 0.25, 0.25, 0.125], abs=0.03)


@pytest.mark.parametrize(
    ("setting", "delays", "shares"),
    [
        ({"low_ms": 100, "high_ms": 300}, [50, 100, 150, 300, 400], [0, 0, 0.25, 1, 1]),
        ({"low_ms": 175, "high_ms": 175}, [150, 175, 200], [1, 1, 1]),
        ({"added_ms": 50}, [50], [1]),
        ({}, [0, 0], [0, 0]),
    ],
)
def test_share_of_the_range_of_delays(
    setting: dict[str, float], delays: list[float], shares: list[float]
) -> None:
    found = LatencyConfig(**setting).share_of_range(np.array(delays, np.float64))
    np.testing.assert_allclose(found, shares)
