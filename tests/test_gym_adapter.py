"""Environments of gym-donkeycar under this project's tasks, by one with the same interface."""

from __future__ import annotations

import math
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from donkey_rl.envs import DonkeyEnv, EnvironmentConfig, TaskConfig, gym_adapter, gym_info
from donkey_rl.envs.gym_adapter import GymDonkeycarSource, adapted
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import ConfigurationError, LinkClosed, LinkTimeout
from tests.rails import TRACK, Rail, SparseRail, SwitchableRail

SMALL = EnvironmentConfig(camera=CameraConfig(img_w=48, img_h=36))
STRAIGHT = np.array([0.0, 0.0], dtype=np.float32)
"""Throttle 0.5, which is 10 u/s below: 0.5 u a step."""


@pytest.fixture
def adapt() -> Iterator[Callable[..., DonkeyEnv]]:
    """Adapts environments, and closes them when the test ends."""
    opened: list[DonkeyEnv] = []

    def build(*arguments: Any, **options: Any) -> DonkeyEnv:
        opened.append(adapted(*arguments, **options))
        return opened[-1]

    yield build
    for env in opened:
        env.close()


Adapt = Callable[..., DonkeyEnv]


def with_task(**task: Any) -> EnvironmentConfig:
    return SMALL.model_copy(update={"task": TaskConfig(**task)})


def test_both_checkers_pass(adapt: Adapt) -> None:
    env = adapt(Rail(), SMALL)
    gymnasium_check(env, skip_render_check=True)
    sb3_check(env)


def test_a_step_is_the_projects_own(adapt: Adapt) -> None:
    env = adapt(Rail(), SMALL)
    env.reset(seed=0)
    for _ in range(10):
        seen, reward, *_, info = env.step(STRAIGHT)
    # 10 steps of 0.05 s at 10 u/s; 2022 divides by 8.
    assert info["time"] == pytest.approx(0.5)
    assert info["progress"] == pytest.approx(5.0, abs=0.01)
    assert info["speed"] == pytest.approx(1.25)
    # gym-donkeycar's own forward_vel is cut by the cosine of the yaw, and its reward is -1 here.
    assert info["forward_vel"] == pytest.approx(1.25)
    assert reward == pytest.approx(sum(info["reward_terms"].values()))
    assert reward > 0.0
    assert seen["image"][0, 0].tolist() == [10, 10, 10]
    assert seen["speed"] == pytest.approx([1.25])
    # Acceleration to the right and forward, and the angular velocity about the vertical.
    assert seen["imu"] == pytest.approx([0.5, 0.0, -0.25, 0.0, 0.25, 0.0])
    lean = env.batch.world.cars.lean[0, [physics.ROLL, physics.PITCH]]
    assert np.degrees(lean) == pytest.approx([1.0, 2.0])


def test_laps_are_timed(adapt: Adapt) -> None:
    env = adapt(Rail(start=210.0), SMALL)
    env.reset(seed=0)
    fast = np.array([0.0, 1.0], dtype=np.float32)
    for _ in range(235):
        *_, terminated, truncated, info = env.step(fast)
        assert not terminated
        assert not truncated
    # The line is 4.5 u ahead of the start; then the whole way round at 20 u/s.
    assert info["lap_count"] == 1
    assert info["last_lap_time"] == pytest.approx(TRACK.length / 20.0, rel=2e-3)


def test_an_end_of_the_wrapped_episode_hides_no_frame(adapt: Adapt) -> None:
    env = adapt(Rail(), SMALL)
    env.reset(seed=0)
    frames, ended = [], False
    while not ended:
        seen, _, ended, _, info = env.step(np.array([1.0, 0.0], dtype=np.float32))
        frames.append(int(seen["image"][0, 0, 0]))
    # 0.15 u a step to the right: the wrapped episode ends at 1.05 u, in step 7, the road at
    # 2.8 u, which is passed in step 19.
    assert frames == list(range(1, 20))
    assert info["ending"] == "off_track"
    # The next episode begins anew.
    seen, info = env.reset()
    assert seen["image"].max() == 0
    assert (info["time"], info["progress"]) == (0.0, 0.0)
    *_, ended, _, info = env.step(STRAIGHT)
    assert not ended
    assert info["time"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("kind", "told"), [(Rail, {7: "cone (1)"}), (SwitchableRail, {7: "cone (1)", 13: "cone (2)"})]
)
def test_a_hit_is_told_once(adapt: Adapt, kind: type[Rail], told: dict[int, str]) -> None:
    # Cones 3.2 and 6.2 u away are met in steps 7 and 13. An environment whose end cannot be
    # switched off goes on showing the first one.
    env = adapt(kind(walls=(3.2, 6.2)), with_task(end_hit=False))
    env.reset(seed=0)
    hits = {}
    for step in range(1, 21):
        *_, info = env.step(STRAIGHT)
        if info["hit"] != "none":
            hits[step] = info["hit"]
    assert hits == told


def test_what_was_seen_does_not_change_later() -> None:
    source = GymDonkeycarSource(Rail())
    first = source.reset()
    source.send(0.0, 1.0)
    second = source.receive()
    third = source.reset()
    source.close()
    assert [int(sight.image.max()) for sight in (first, second, third)] == [0, 1, 0]
    # The time is counted from the reset, so that episodes are the same to the last digit.
    assert [sight.telemetry.time for sight in (first, second, third)] == [0.0, 0.05, 0.0]


def test_commands_keep_to_the_limits_of_the_wrapped_environment() -> None:
    env = Rail(low=(-0.5, -0.25), high=(0.5, 0.25))
    source = GymDonkeycarSource(env)
    source.reset()
    commands = ((1.0, 1.0, 0.0), (-1.0, -1.0, 0.0), (0.125, 0.125, 0.0), (0.0, 0.25, 1.0))
    for command in commands:
        source.send(*command)
        told = source.receive().telemetry
        assert [told.steering, told.throttle] == env.actions[-1]
    source.close()
    # The last: no throttle against the brake.
    assert env.actions == [[0.5, 0.25], [-0.5, -0.25], [0.125, 0.125], [0.0, 0.0]]


def test_only_a_place_and_angles_are_needed(adapt: Adapt) -> None:
    env = adapt(SparseRail("pos", "car"), SMALL)
    env.reset(seed=0)
    for _ in range(10):
        *_, info = env.step(STRAIGHT)
    assert info["progress"] == pytest.approx(5.0, abs=0.01)
    assert (info["hit"], info["speed"]) == ("none", 0.0)


def test_a_speed_that_is_not_told_is_that_of_the_velocity() -> None:
    info = {"vel": (3.0, 0.0, -4.0), "car": (0.0, 0.0, 0.0), "accel": (1.0, math.nan, 0.0)}
    told = gym_info.read_telemetry(info, "none", time=0.0, command=(0.0, 0.0), older=False)
    assert told.speed == 5.0
    assert (told.accel, told.gyro, told.position, told.cte) == (None, None, None, None)


@pytest.mark.parametrize("info", [{}, {"pos": (0.0, 0.0, 0.0)}, {"pos": (1.0, 2.0)}])
def test_a_simulator_without_positions_is_refused(adapt: Adapt, info: dict[str, Any]) -> None:
    # In races gym-donkeycar says 0, 0, 0 for a place that was not sent.
    class Racing(Rail):
        def info(self) -> dict[str, Any]:
            return {"car": (0.0, 0.0, 0.0), "speed": 0.0, **info}

    env = adapt(Racing(), SMALL)
    with pytest.raises(ConfigurationError, match="sends no positions"):
        env.reset(seed=0)


def test_a_car_of_2022_needs_angles(adapt: Adapt) -> None:
    env = adapt(SparseRail("pos", "speed"), SMALL)
    with pytest.raises(ConfigurationError, match="vehicle=donkey_2021"):
        env.reset(seed=0)


def test_older_cars_report_undivided_and_without_angles(adapt: Adapt) -> None:
    config = SMALL.model_copy(update={"vehicle": "donkey_2021"})
    env = adapt(SparseRail("pos", "speed", "gyro", scale=1.0), config)
    env.reset(seed=0)
    for _ in range(10):
        *_, info = env.step(STRAIGHT)
    assert info["progress"] == pytest.approx(5.0, abs=0.01)
    assert info["speed"] == pytest.approx(10.0)
    # sin of half the turn of a physics step of 0.02 s: asin(0.25) * 2 / 0.02.
    assert info["gyro"][1] == pytest.approx(0.25, abs=1e-6)
    told = gym_info.read_telemetry(
        {"gyro": (0.0, 0.6, 0.0)}, "none", time=0.0, command=(0.0, 0.0), older=True
    )
    # 0.6^2 + 0.8^2 = 1
    assert told.gyro_w == pytest.approx(0.8)
    assert told.angles is None


def test_a_failure_names_the_simulator() -> None:
    class Failing(Rail):
        viewer = types.SimpleNamespace(
            address=("10.0.0.7", 9093), handler=types.SimpleNamespace(SceneToLoad="warehouse")
        )

        def step(self, action: Any) -> Any:
            raise BrokenPipeError("gone")

    source = GymDonkeycarSource(Failing())
    source.reset()
    source.send(0.0, 0.0)
    with pytest.raises(LinkClosed, match="BrokenPipeError: gone") as caught:
        source.receive()
    error = caught.value
    assert (error.host, error.port, error.scene) == ("10.0.0.7", 9093, "warehouse")
    assert error.awaited == "telemetry"
    source.close()
    with pytest.raises(LinkClosed, match="was closed"):
        source.reset()


def await_end_of_others(threads: set[threading.Thread]) -> None:
    deadline = time.monotonic() + 60.0
    while set(threading.enumerate()) - threads:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


def test_an_environment_that_never_answers_is_given_up() -> None:
    class Silent(Rail):
        released = threading.Event()

        def step(self, action: Any) -> Any:
            self.released.wait()
            return super().step(action)

        def close(self) -> None:
            super().close()
            self.released.set()

    threads = set(threading.enumerate())
    env = Silent()
    source = GymDonkeycarSource(env)
    source.reset()
    source._patience = 0.05
    source.send(0.0, 0.0)
    with pytest.raises(LinkTimeout, match="has not answered"):
        source.receive()
    # Nothing is begun while the last step goes on.
    for call in (source.receive, source.reset, lambda: source.send(0.0, 0.0)):
        with pytest.raises(LinkTimeout):
            call()
    source.close()
    await_end_of_others(threads)
    assert len(env.actions) == 1


def test_several_environments_step_at_the_same_time() -> None:
    # Each step waits until the other one runs as well.
    together = threading.Barrier(2)

    class Waiting(Rail):
        def step(self, action: Any) -> Any:
            together.wait(timeout=20.0)
            return super().step(action)

    world = RemoteWorld(SMALL, [GymDonkeycarSource(Waiting()) for _ in range(2)])
    world.reset(np.arange(2))
    for _ in range(3):
        world.step(np.array([[0.0, 0.5], [0.0, 1.0]]))
    frames = np.zeros((2, 36, 48, 3), dtype=np.uint8)
    world.render(frames)
    world.close()
    assert frames[:, 0, 0, 0].tolist() == [3, 3]


def test_the_wrapped_environment_is_closed_once(adapt: Adapt) -> None:
    wrapped = Rail()
    threads = set(threading.enumerate())
    env = adapt(wrapped, SMALL)
    env.reset(seed=0)
    env.close()
    env.close()
    assert wrapped.closings == 1
    await_end_of_others(threads)


def test_the_configuration_is_read_from_the_environment(adapt: Adapt) -> None:
    wrapped = Rail(low=(-0.5, -0.2), high=(0.5, 0.3))
    wrapped.spec = EnvSpec("stock/donkey-warehouse-v0")
    config = gym_adapter.read_configuration(wrapped)
    assert config.track == "warehouse"
    assert config.camera.shape == (36, 48, 3)
    assert (config.steer_limit, config.throttle_min, config.throttle_max) == (0.5, -0.2, 0.3)
    wrapped.spec = EnvSpec("donkey-generated-track-v0")
    env = adapt(wrapped)
    env.reset(seed=0)
    env.step(np.array([-1.0, 1.0], dtype=np.float32))
    assert wrapped.actions == [pytest.approx([-0.5, 0.3])]
    wrapped.spec = None
    with pytest.raises(ConfigurationError, match="Pass a configuration"):
        gym_adapter.read_configuration(wrapped)


def test_other_environments_are_refused() -> None:
    actions, images = Rail(), Rail()
    actions.action_space = spaces.Box(-1.0, 1.0, (3,))
    with pytest.raises(ConfigurationError, match="steering and throttle"):
        adapted(actions, SMALL)
    images.observation_space = spaces.Box(0, 255, (36, 48, 1), np.uint8)
    with pytest.raises(ConfigurationError, match="shows images"):
        adapted(images, SMALL)
    with pytest.raises(ConfigurationError, match=r"\(120, 160, 3\).*Received: \(36, 48, 3\)"):
        adapted(Rail(), EnvironmentConfig())


def test_an_environment_that_breaks_its_word_is_told_so() -> None:
    class Older(Rail):
        def reset(self, **options: Any) -> Any:
            return super().reset(**options)[0]

    class Resized(Rail):
        def reset(self, **options: Any) -> Any:
            return np.zeros((120, 160, 3), dtype=np.uint8), super().reset(**options)[1]

    for kind, complaint in ((Older, "2 values"), (Resized, r"shape \(120, 160, 3\)")):
        source = GymDonkeycarSource(kind())
        with pytest.raises(ConfigurationError, match=complaint):
            source.reset()
        source.close()
