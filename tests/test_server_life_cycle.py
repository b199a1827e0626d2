"""From the menu to a scene and back, as a driver sees it who knows nothing but the protocol."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from donkey_rl import configuration
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.clock import CATCH_UP_S
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.errors import ConfigurationError, InputError, UnknownNameError
from tests.plain_client import PlainClient

SCENES = [
    "generated_road", "warehouse", "sparkfun_avc", "generated_track", "mountain_track",
    "roboracingleague_1", "waveshare", "mini_monaco", "warren", "thunderhill", "circuit_launch",
]  # fmt: skip

TELEMETRY_2022 = [
    "msg_type", "steering_angle", "throttle", "image", "rear_right_odom", "rear_left_odom",
    "front_right_odom", "front_left_odom", "hit", "time", "speed", "accel_x", "accel_y",
    "accel_z", "gyro_x", "gyro_y", "gyro_z", "pitch", "yaw", "roll", "cte", "activeNode",
    "totalNodes", "pos_x", "pos_y", "pos_z", "vel_x", "vel_y", "vel_z",
]  # fmt: skip
"""In the order in which the simulator of 2022 emits them."""


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[Running]:
    defaults: dict[str, Any] = {"port": 0, "private_port": None, "time_scale": "max"}
    with background.running(ServerConfig(**(defaults | settings))) as server:
        yield server


def test_a_driver_walks_the_whole_life_cycle() -> None:
    with serving() as server, PlainClient(server.port) as driver:
        assert driver.read() == {"msg_type": "scene_selection_ready", "loaded": "1"}
        driver.send("get_protocol_version")
        assert driver.read() == {"msg_type": "protocol_version", "version": "2"}
        driver.send("get_scene_names")
        names = driver.read()
        assert list(names) == ["scene_names", "msg_type"]
        assert names["scene_names"] == SCENES

        driver.send("load_scene", scene_name="nowhere")
        assert driver.answers() == []

        driver.send("load_scene", scene_name="generated_track")
        # A scene that takes long to load lets signs of life through.
        assert driver.until("car_loaded") == {"msg_type": "car_loaded"}
        first = driver.telemetry()
        assert list(first) == TELEMETRY_2022
        assert (first["time"], first["speed"], first["hit"]) == (0, 0, "none")
        # Spawned at (49.690, 47.838); the car of 2022 divides by 8.
        assert first["pos_x"] == pytest.approx(49.690 / 8, abs=1e-5)
        assert first["pos_z"] == pytest.approx(47.838 / 8, abs=1e-5)

        last = [driver.step(0.0, 0.2) for _ in range(10)][-1]
        # Messages lie 0.06 and 0.04 s apart in turn.
        assert last["time"] == pytest.approx(0.5)
        assert last["throttle"] == pytest.approx(0.2)
        assert last["speed"] > 0.1

        driver.send("exit_scene")
        driver.send("get_scene_names")
        assert driver.until("scene_names")["scene_names"] == SCENES
        driver.send("connected")
        assert driver.read()["msg_type"] == "scene_selection_ready"

        driver.send("load_scene", scene_name="generated_track")
        assert driver.until("car_loaded") == {"msg_type": "car_loaded"}
        assert driver.telemetry()["time"] == 0


def test_one_client_moves_everybody_into_the_scene() -> None:
    with (
        serving() as server,
        PlainClient(server.port) as one,
        PlainClient(server.port) as other,
    ):
        for driver in (one, other):
            assert driver.read()["msg_type"] == "scene_selection_ready"
        one.send("load_scene", scene_name="generated_track")
        places = [driver.enter()["pos_x"] for driver in (one, other)]
        # The second car stands 4.5 u to the left of the first, who looks along +Z.
        assert sorted(places) == pytest.approx([(49.690 - 4.5) / 8, 49.690 / 8], abs=1e-5)
        with PlainClient(server.port) as late:
            # A scene that runs gives a car at once, without the menu; five u behind the first.
            assert late.enter()["pos_z"] == pytest.approx((47.838 - 5.0) / 8, abs=1e-5)


def test_a_menu_left_again_greets_newcomers_only() -> None:
    with (
        serving(track="generated_track") as server,
        PlainClient(server.port) as old,
    ):
        old.enter()
        old.send("exit_scene")
        assert old.answers() == []
        with PlainClient(server.port) as new:
            assert new.read()["msg_type"] == "scene_selection_ready"
            assert old.answers() == []


def test_a_car_goes_with_its_client_and_its_place_is_free_again() -> None:
    with (
        serving(track="generated_track") as server,
        PlainClient(server.port) as first,
    ):
        first.enter()
        with PlainClient(server.port) as second:
            place = second.enter()["pos_x"]
        deadline = time.monotonic() + 60.0
        while server.statistics().clients > 1:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        with PlainClient(server.port) as third:
            assert third.enter()["pos_x"] == place


def test_a_track_that_is_no_scene_of_the_simulator_is_offered_by_its_name() -> None:
    with serving(track="generated_track:mirror") as server, PlainClient(server.port) as driver:
        driver.enter()
        driver.send("exit_scene")
        driver.send("get_scene_names")
        assert driver.until("scene_names")["scene_names"] == [*SCENES, "generated_track:mirror"]


def test_no_client_ends_the_server_unless_allowed() -> None:
    with serving() as server, PlainClient(server.port) as driver:
        driver.send("quit_app")
        assert driver.answers() == ["scene_selection_ready"]
    with serving(allow_quit=True) as server, PlainClient(server.port) as driver:
        driver.send("quit_app")
        assert driver.is_hung_up()


def test_a_stopped_server_hangs_up_and_frees_its_ports_at_once() -> None:
    before = set(threading.enumerate())
    with serving(track="generated_track", private_port=0) as server:
        ports = [server.port, server.private_port or 0]
        driver, organiser = (PlainClient(port) for port in ports)
        driver.enter()
    assert driver.is_hung_up()
    assert organiser.is_hung_up()
    # Threads that draw and drive are shared by all worlds of the process.
    left = set(threading.enumerate()) - before
    assert [each.name for each in left if "simulator" not in each.name] == []
    with serving(port=ports[0], private_port=ports[1]), PlainClient(ports[0]) as newcomer:
        assert newcomer.read()["msg_type"] == "scene_selection_ready"
    for each in (driver, organiser):
        each.close()


def test_clients_that_have_just_come_are_let_go_as_well() -> None:
    for _ in range(30):
        with serving() as server:
            clients = [PlainClient(server.port) for _ in range(3)]
        assert [client.is_hung_up() for client in clients] == [True] * 3
        for client in clients:
            client.close()


def test_ctrl_c_ends_a_server_cleanly() -> None:
    program = (
        # That something took over 0.1 s is said there, of a busy machine too.
        "import logging\n"
        "logging.getLogger('asyncio').addFilter(lambda r: not r.msg.startswith('Executing'))\n"
        "from donkey_rl.envs.serving import background\n"
        "from donkey_rl.envs.serving.config import ServerConfig\n"
        "background.serve(ServerConfig(port=0, private_port=0),"
        " lambda server: print(server.port, flush=True))\n"
        "print('ended')\n"
    )
    words = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        with PlainClient(int(process.stdout.readline())) as driver:
            assert driver.read()["msg_type"] == "scene_selection_ready"
            process.send_signal(signal.SIGINT)
            assert driver.is_hung_up()
        said, complained = process.communicate(timeout=300)
    assert (process.returncode, said, complained) == (0, "ended\n", "")


def test_a_port_in_use_is_one_line_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with (
            pytest.raises(InputError, match=rf"Port {port} of 127.0.0.1 is in use.*--port \d+"),
            serving(port=port),
        ):
            pass
        with (
            pytest.raises(InputError, match=rf"Port {port} .*--private-port \d+"),
            serving(private_port=port),
        ):
            pass


def test_an_unknown_track_is_an_error_of_the_start() -> None:
    with (
        pytest.raises(UnknownNameError, match="generated_track"),
        serving(track="generated_trak"),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"time_scale": 0.01}, "0.1 to 20"),
        ({"time_scale": 21.0}, "0.1 to 20"),
        ({"time_scale": "fast"}, "max"),
        ({"port": 9100, "private_port": 9100}, "must differ"),
        ({"generation": 2019}, "2020"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        configuration.validate(ServerConfig, settings)


def test_silent_clients_get_a_heartbeat_of_their_generation() -> None:
    with (
        serving(generation=2020) as old,
        serving(generation=2022) as new,
    ):
        began = time.monotonic()
        with PlainClient(old.port) as pinged, PlainClient(new.port) as beaten:
            for each in (pinged, beaten):
                assert each.read()["msg_type"] == "scene_selection_ready"
            assert pinged.read(signs=True) == {"msg_type": "ping"}
            assert beaten.read(signs=True) == {}
        assert time.monotonic() - began > 2.5


def test_a_full_house_turns_newcomers_away() -> None:
    with serving(max_clients=1) as server, PlainClient(server.port) as driver:
        assert driver.read()["msg_type"] == "scene_selection_ready"
        with PlainClient(server.port) as second:
            assert second.is_hung_up()
        assert driver.answers() == []


def test_a_car_that_idles_is_sent_away_and_one_that_drives_is_not() -> None:
    with (
        serving(track="generated_track", idle_s=2.0, lockstep_patience_s=600.0) as server,
        PlainClient(server.port) as driver,
        PlainClient(server.port) as sleeper,
    ):
        driver.enter()
        sleeper.enter()
        # 3 s of simulation; full brakes keep the sleeper where it is.
        for _ in range(60):
            driver.drive(0.0, 0.1)
            with contextlib.suppress(OSError):
                sleeper.drive(0.0, 0.0, 1.0)
            driver.telemetry()
        assert sleeper.is_hung_up()
        assert driver.step(0.0, 0.1)["time"] > 3.0


def test_in_real_time_twenty_messages_come_in_a_second_of_simulation() -> None:
    with serving(track="generated_track", time_scale=4.0) as server:
        began = time.monotonic()
        with PlainClient(server.port) as driver:
            assert driver.read()["msg_type"] == "car_loaded"
            # Small ones: none is dropped where this process is held up.
            driver.camera(img_w="32", img_h="24")
            driver.telemetry()
            stamps = [driver.telemetry()["time"] for _ in range(300)]
            lasted = time.monotonic() - began
        gaps = [round(b - a, 3) for a, b in itertools.pairwise(stamps)]
        assert set(gaps) == {0.04, 0.06}
        assert stamps[-1] - stamps[0] == pytest.approx(299 * 0.05, abs=0.011)
        # Four seconds of simulation in each of the wall clock, and never faster but to catch up.
        assert lasted > 299 * 0.05 / 4.0 - CATCH_UP_S - 0.05
