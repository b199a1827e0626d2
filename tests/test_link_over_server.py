"""The client and this project's own server together: sensors, starts, scenes, programs."""

from __future__ import annotations

import contextlib
import math
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from donkey_rl.envs import vec_env
from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.envs.link import link as links
from donkey_rl.envs.link.config import CarLook, LinkConfig, Racer
from donkey_rl.envs.link.link import SimulatorLink
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, random_road, starts, stepping, track
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.vector import DonkeyVectorEnv
from donkey_rl.errors import LinkRefused, LinkTimeout
from tests.scripted_simulator import ScriptedSimulator

TRACK = "waveshare"
SMALL = CameraConfig(img_w=64, img_h=48)
SCALE = 8.0
"""Unity units in a reported one."""


def serving(**settings: Any) -> Any:
    usual = {"track": TRACK, "port": 0, "private_port": None, "time_scale": "max"}
    return background.running(ServerConfig(**(usual | settings)))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    # Two cars take turns in one thread: a short patience, or each waits for the other's.
    with serving(lockstep_patience_s=0.05) as running:
        yield running


def settings(place: str, **changes: Any) -> EnvironmentConfig:
    values = {"simulator": place, "track": TRACK, "camera": SMALL, **changes}
    return EnvironmentConfig(**values)


def at(server: Running) -> str:
    return f"127.0.0.1:{server.port}"


def linked(port: int, **changes: Any) -> SimulatorLink:
    values = {"port": port, "camera": SMALL, "config_spacing_s": 0.01, "scene": TRACK, **changes}
    return SimulatorLink(LinkConfig(**values))


def test_second_camera_and_lidar_arrive_by_gym_donkeycars_keys(server: Running) -> None:
    conf = {
        "host": "127.0.0.1",
        "port": server.port,
        "cam_config_b": {"img_w": 32, "img_h": 24, "fov": 120},
        "lidar_config": {
            "degPerSweepInc": 10, "numSweepsLevels": 2, "degAngDown": 25, "degAngDelta": -1,
            "maxRange": 50, "noise": 0,
            "offset_x": -0.016, "offset_y": 0.372, "offset_z": 0.737,
        },
    }  # fmt: skip
    env = DonkeyEnv(settings("embedded"), conf=conf)
    try:
        for _ in range(20):
            # What was under way before both were asked for lacks them.
            _, info = env.reset()
            if "image_b" in info and "lidar" in info:
                break
        assert info["image_b"].shape == (24, 32, 3)
        # The car's origin is 0.525 u above a flat floor, the lidar 0.372 u above that: pitched
        # down by 25 and 24 degrees its rays are 0.897 / sin(25) and 0.897 / sin(24) long.
        expected = [2.12] * 36 + [2.21] * 36
        assert info["lidar"] == pytest.approx(expected, abs=0.011)
        # An array, as gym-donkeycar's.
        assert info["lidar"].max() < 2.3
        before = info["image_b"]
        for _ in range(10):
            _, _, _, _, info = env.step(np.array([0.0, 1.0], dtype=np.float32))
        assert len(info["lidar"]) == 72
        assert np.abs(info["image_b"].astype(int) - before).mean() > 0.5
    finally:
        env.close()


@pytest.mark.parametrize(("colour", "channel"), [((250, 0, 0), 0), ((0, 0, 250), 2)])
def test_a_car_has_its_name_and_colour_for_others(
    server: Running, colour: tuple[int, int, int], channel: int
) -> None:
    red, green, blue = colour
    look = CarLook(car_name="Ada", body_r=red, body_g=green, body_b=blue)
    with linked(server.port, car=look) as ada, linked(server.port) as bob:
        seen = ada.reset().telemetry
        assert seen.position is not None
        assert seen.angles is not None
        bob.reset()
        yaw = math.radians(seen.angles[1])
        x, _, z = (SCALE * part for part in seen.position)
        bob.set_position(x - 5.0 * math.sin(yaw), 0.5, z - 5.0 * math.cos(yaw), yaw)
        hits: list[str] = []
        most = 0
        for _ in range(100):
            bob.control(0.0, 0.5)
            frame = bob.next_frame()
            most = max(most, coloured(frame.image, channel))
            hits += frame.hits
            if hits:
                break
        assert hits[:1] == ["Ada"]
        assert most > 20  # of 3072 pixels, seen from behind


def coloured(image: np.ndarray, channel: int) -> int:
    """Pixels in which one of the colours is far above both others."""
    wide = image.astype(int)
    others = np.delete(wide, channel, axis=2).max(axis=2)
    return int((wide[..., channel] > 1.5 * others + 20).sum())


def test_random_starts_are_where_they_were_wanted(server: Running) -> None:
    randomise = Randomisation(start_anywhere=True, start_lateral=0.5, start_yaw=0.2)
    env = DonkeyEnv(settings(at(server), randomisation=randomise))
    world = env.batch.world
    assert isinstance(world, RemoteWorld)
    rng = np.random.default_rng([9, 0])
    road = track.load(TRACK)
    try:
        for k in range(5):
            env.reset(seed=9 if k == 0 else None)
            arc, lateral, turn, _ = starts.draw(randomise, road, 0, rng)
            sensed = world.cars.sensed[0]
            away = abs(sensed[stepping.ARC] - arc)
            assert min(away, road.length - away) < 0.6
            assert sensed[stepping.LATERAL] == pytest.approx(lateral, abs=0.1)
            assert sensed[stepping.HEADING_ERROR] == pytest.approx(turn, abs=0.1)
            assert world.cars.motion[0, physics.FORWARD] == pytest.approx(0.0, abs=0.2)
        assert not world.places_refused
    finally:
        env.close()


def test_lock_step_can_be_asked_for_and_given_up() -> None:
    with serving(time_scale=1.0) as server, linked(server.port) as link:
        link.step_mode(True, 0.05)
        # What was under way comes before the answer.
        assert any(link.protocol_version() is not None for _ in range(60))
        with contextlib.suppress(LinkTimeout):
            link.next_frame(0.0)
        link.control(0.0, 0.1)
        first = link.next_frame()
        for _ in range(10):
            link.control(0.0, 0.1)
            last = link.next_frame()
        # Messages are 0.06 and 0.04 s apart in turn.
        assert last.telemetry.time - first.telemetry.time == pytest.approx(0.5, abs=0.001)
        with pytest.raises(LinkTimeout):
            link.next_frame(0.3)
        link.step_mode(False, 0.05)
        times = [link.next_frame().telemetry.time for _ in range(3)]
        assert times == sorted(set(times))


def test_a_road_is_laid_anew_by_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_NODE_S", 60.0)
    with serving(track="generated_road:7") as server, linked(server.port, scene=None) as link:
        first = link.node_position(0)
        assert first is not None
        wanted = random_road.walk(
            (first.position[0], first.position[2]), nodes=60, turn_increment=2.0, seed=5
        )
        link.regen_road(0, 5, 2.0)
        ends = time.monotonic() + 60.0
        while True:  # It is laid aside while the old one can still be driven.
            assert time.monotonic() < ends
            found = link.node_position(59)
            assert found is not None
            if found.position[0] == pytest.approx(wanted[59, 0], abs=0.01):
                break
            time.sleep(0.05)
        assert found.position == pytest.approx((wanted[59, 0], 0.525, wanted[59, 1]), abs=0.01)
        assert link.reset().telemetry.speed == 0.0


def test_a_scene_that_was_left_is_loaded_again() -> None:
    with serving() as server, linked(server.port) as link:
        assert link.scene_names() == ()  # the scene ran already
        link.control(0.0, 1.0)
        link.next_frame()
        link.exit_scene()
        assert link.protocol_version() == "2"  # answered by the menu: the scene is left
        link.open()
        assert TRACK in link.scene_names()
        frame = link.reset()
        assert frame.image.shape == (48, 64, 3)


def test_a_race_host_may_ask_who_drives_again() -> None:
    with ScriptedSimulator(greeting="need_car_config") as simulator:
        config = LinkConfig(
            port=simulator.port, config_spacing_s=0.02, racer=Racer(name="Ada", country="FR")
        )
        with SimulatorLink(config) as link:
            link.control(0.1, 1.0)
            link.next_frame()
            told = len(simulator.received)
            simulator.say(msg_type="need_car_config")
            for k in range(2, 7):
                link.control(k / 10, 1.0)
                link.next_frame()
            again = [each["msg_type"] for each in simulator.received[told:]]
            assert [each for each in again if each != "control"] == [
                "racer_info", "car_config", "cam_config", "car_config", "cam_config",
            ]  # fmt: skip
            infos = [each for each in simulator.received if each["msg_type"] == "racer_info"]
            assert infos[0] == infos[1]
            assert infos[0]["guid"] == link.guid


@pytest.mark.usefixtures("unhurried")
def test_two_servers_are_one_vector_environment() -> None:
    with serving() as one, serving() as two:
        env = DonkeyVectorEnv(settings(f"{at(one)},{at(two)}"), 2)
        try:
            observed, _ = env.reset(seed=3)
            assert observed["image"].shape == (2, 48, 64, 3)
            for _ in range(10):
                observed, _, _, _, infos = env.step(np.array([[0.0, 1.0], [0.0, -1.0]]))
            # Throttle -1 is none by default: the second car stands.
            assert infos["progress"][0] > 0.5
            assert infos["progress"][1] == pytest.approx(0.0, abs=0.01)
            assert infos["time"] == pytest.approx([0.5, 0.5], abs=0.011)
            assert one.statistics().clients == two.statistics().clients == 1
        finally:
            env.close()
        assert hung_up(one)
        assert hung_up(two)


def hung_up(server: Running) -> bool:
    ends = time.monotonic() + 60.0
    while server.statistics().clients and time.monotonic() < ends:
        time.sleep(0.005)
    return server.statistics().clients == 0


def program(folder: Path, *lines: str) -> Path:
    path = folder / "simulator.sh"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="starts a shell script")
def test_a_program_is_started_driven_and_stopped(tmp_path: Path) -> None:
    path = program(
        tmp_path,
        f"echo $$ > {tmp_path}/pid",
        f'exec {sys.executable} -m donkey_rl sim --track {TRACK} --time-scale max --port "$2" '
        "--private-port $(($2 + 1))",
    )
    env = DonkeyEnv(settings(str(path), link=LinkConfig(port=29091)))
    pid = int((tmp_path / "pid").read_text())
    try:
        env.reset()
        for _ in range(5):
            _, _, _, _, info = env.step(np.array([0.0, 1.0], dtype=np.float32))
        assert info["progress"] > 0.0
        os.kill(pid, 0)
    finally:
        env.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="starts a shell script")
def test_a_program_that_ends_at_once_says_how_and_its_last_words(tmp_path: Path) -> None:
    path = program(tmp_path, "echo 'no display found' >&2", "exit 7")
    with pytest.raises(LinkRefused, match=r"exit code 7, saying: no display found") as caught:
        DonkeyEnv(settings(str(path), link=LinkConfig(port=29191)))
    assert caught.value.host == "127.0.0.1"
    assert str(path) in str(caught.value)


def test_stable_baselines_view_drives_and_is_interrupted_over_the_link(server: Running) -> None:
    view = vec_env.make(settings(at(server)), 1, 5)
    try:
        first = view.reset()["image"].copy()
        for _ in range(8):
            observed, _, done, _ = view.step(np.array([[0.0, 1.0]], dtype=np.float32))
            assert not done[0]
        last = observed["image"][0].copy()
        view.interrupt()
        view.batch.reset(np.array([0]))  # somebody else drives
        view.batch.step([[0.0, 1.0]])
        observed, reward, done, infos = view.step(np.array([[0.0, 1.0]], dtype=np.float32))
        assert done[0]
        assert reward[0] == 0.0
        assert infos[0]["ending"] == vec_env.INTERRUPTED
        assert infos[0]["TimeLimit.truncated"]
        np.testing.assert_array_equal(infos[0]["terminal_observation"]["image"], last)
        np.testing.assert_array_equal(observed["image"], first)
        assert observed["speed"][0, 0] == 0.0
        _, _, done, _ = view.step(np.array([[0.0, 1.0]], dtype=np.float32))
        assert not done[0]
    finally:
        view.close()


def test_after_a_reset_in_real_time_nothing_of_before_is_seen() -> None:
    # Four times as fast as usual: 80 messages a second are under way at every moment.
    with serving(time_scale=4.0) as server, linked(server.port) as link:
        start = link.reset()
        touched = 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            steering = rng.uniform(-1.0, 1.0)
            for _ in range(int(rng.integers(10, 70))):
                link.control(steering, 1.0)
                moving = link.next_frame()
                touched += len(moving.hits)
                if moving.hits:
                    break
            assert moving.telemetry.time > start.telemetry.time
            assert_at_start(link.reset(), start)
            link.control(0.0, 0.0, 1.0)
            assert_at_start(link.next_frame(), start)
        assert touched > 0  # some seeds end at a wall


def assert_at_start(frame: Any, start: Any) -> None:
    told, then = frame.telemetry, start.telemetry
    assert told.speed < 0.01
    assert frame.hit == "none"
    assert frame.hits == ()
    assert told.position == pytest.approx(then.position, abs=0.01)
    assert told.velocity == pytest.approx((0.0, 0.0, 0.0), abs=0.01)
    assert told.cte == pytest.approx(then.cte, abs=0.05)
    assert told.throttle == 0.0
    gap = np.abs(frame.image.astype(int) - start.image.astype(int)).mean()
    assert gap < 1.0
