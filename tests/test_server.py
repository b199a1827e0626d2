"""What a served simulator makes of each message, by a driver that knows only the protocol."""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.config import ServerConfig
from tests.plain_client import LIDAR, Message, PlainClient, picture

SPAWN = (49.690, 47.838)
"""Of the first car on the generated track (u), looking along +Z."""

SCALE = 8.0
"""The car of 2022 divides places and speeds by this."""

SIDE = 4.5
"""The second car of a grid stands so far to the left of the first (u)."""


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[Running]:
    defaults: dict[str, Any] = {
        "port": 0, "private_port": None, "time_scale": "max", "track": "generated_track",
        "lockstep_patience_s": 600.0,
    }  # fmt: skip
    with background.running(ServerConfig(**(defaults | settings))) as server:
        yield server


@contextlib.contextmanager
def driving(**settings: Any) -> Iterator[PlainClient]:
    """A driver whose car is loaded and has sent its first telemetry."""
    with serving(**settings) as server, PlainClient(server.port) as driver:
        driver.enter()
        yield driver


def state(message: Message) -> tuple[Any, ...]:
    """What a command changes, and what time changes."""
    return tuple(message[name] for name in ("pos_x", "pos_z", "yaw", "speed", "time", "throttle"))


# --- control and reset -------------------------------------------------------------------------


def test_commands_are_clamped_and_echoed() -> None:
    with driving() as driver:
        seen = driver.step(-3.0, 7.0, -1.0)
        assert (seen["steering_angle"], seen["throttle"]) == (-1, 1)


def test_a_control_that_lacks_a_field_changes_nothing() -> None:
    with driving() as driver:
        before = driver.step(0.25, 0.5)
        driver.send("control", steering="1.0", throttle="1.0")
        driver.send("control", steering="1.0", throttle="fast", brake="0")
        driver.send("control", steering=1.0, throttle="1.0", brake="0")
        assert driver.answers() == []
        driver.camera()
        after = driver.telemetry()
        assert state(after) == state(before)
        assert after["steering_angle"] == pytest.approx(0.25)


def test_a_reset_puts_the_car_at_rest_on_its_start_and_time_goes_on() -> None:
    with driving() as driver:
        first = driver.step(0.0, 0.0)
        for _ in range(20):
            moved = driver.step(0.3, 0.5)
        assert moved["speed"] > 0.5
        back = driver.reset()
        assert (back["speed"], back["steering_angle"], back["throttle"]) == (0, 0, 0)
        assert (back["pos_x"], back["pos_z"]) == (first["pos_x"], first["pos_z"])
        assert back["time"] == moved["time"]
        # The first message after a start comes 0.06 s later.
        assert driver.step(0.0, 0.0)["time"] == pytest.approx(moved["time"] + 0.06)


def test_a_reset_drops_the_control_that_came_before_it() -> None:
    with driving() as driver:
        reset, control = (
            json.dumps({"msg_type": "reset_car"}),
            json.dumps({"msg_type": "control", "steering": "0", "throttle": "1", "brake": "0"}),
        )
        driver.send_bytes((control + reset).encode())
        assert driver.telemetry()["speed"] == 0
        driver.send_bytes((reset + control).encode())
        assert [driver.telemetry()["throttle"] for _ in range(2)] == [0, 1]


# --- cameras and lidar -------------------------------------------------------------------------


def test_the_camera_follows_its_configuration_and_zero_leaves_it_alone() -> None:
    with driving() as driver:
        driver.camera(img_w="64", img_h="48", img_enc="PNG")
        small = picture(driver.telemetry()["image"])
        assert small.shape == (48, 64, 3)
        driver.camera()
        assert np.array_equal(picture(driver.telemetry()["image"]), small)
        driver.camera(rot_y="90")
        # All three angles are set together: looking right, level instead of 15 degrees down.
        turned = picture(driver.telemetry()["image"])
        assert turned.shape == (48, 64, 3)
        assert not np.array_equal(turned, small)
        driver.camera(img_d="1")
        gray = picture(driver.telemetry()["image"])
        assert np.array_equal(gray[..., 0], gray[..., 2])


@pytest.mark.parametrize(
    "changed",
    [
        {"fov": "5"},
        {"img_w": "4096", "img_h": "4096"},
        {"img_w": "16", "img_h": "512"},
        {"img_enc": "BMP"},
        {"img_d": "2"},
        {"rot_x": "95"},
        {"fish_eye_x": "2"},
        {"img_w": "20.5"},
        {"offset_x": "nan"},
    ],
)
def test_a_camera_that_cannot_be_is_refused_and_changes_nothing(changed: dict[str, str]) -> None:
    with driving() as driver:
        driver.camera(img_enc="PNG")
        before = driver.telemetry()
        driver.camera(**({"fov": "60"} | changed))
        # A refused message may or may not be answered by the state as it is.
        driver.camera()
        after = driver.telemetry()
        assert after["image"] == before["image"]
        assert state(after) == state(before)


def test_encodings_are_those_of_the_simulator() -> None:
    with driving() as driver:
        shown = {}
        for encoding in ("JPG", "PNG", "TGA"):
            driver.camera(img_enc=encoding)
            shown[encoding] = picture(driver.telemetry()["image"]).astype(int)
        assert np.array_equal(shown["PNG"], shown["TGA"])
        lost = np.abs(shown["JPG"] - shown["PNG"]).mean()
        assert 0.0 < lost < 8.0


def test_the_second_camera_comes_as_imageb_once_it_is_configured() -> None:
    with driving() as driver:
        assert "imageb" not in driver.step(0.0, 0.0)
        driver.camera("cam_config_b", img_w="40", img_h="30")
        both = driver.telemetry()
        assert list(both)[3:5] == ["image", "imageb"]
        assert picture(both["image"]).shape == (120, 160, 3)
        assert picture(both["imageb"]).shape == (30, 40, 3)


def test_the_lidar_reports_once_it_is_configured_and_null_where_it_sees_nothing() -> None:
    with driving() as driver:
        assert "lidar" not in driver.step(0.0, 0.0)
        driver.send("lidar_config", **LIDAR)
        beams = driver.telemetry()["lidar"]
        assert set(beams[0]) == {"d", "rx", "ry"}
        assert all(0.0 < beam["d"] <= 50.0 for beam in beams)
        # Straight down lies the ground, 0.372 + 0.525 u below; nothing is within 0.1 u.
        driver.send("lidar_config", **(LIDAR | {"maxRange": "0.1"}))
        blind = driver.telemetry()
        assert "lidar" in blind
        assert blind["lidar"] is None


# --- places ------------------------------------------------------------------------------------


def test_a_car_is_put_where_its_client_wants_it_and_keeps_its_velocity() -> None:
    with driving() as driver:
        for _ in range(20):
            moving = driver.step(0.0, 0.5)
        driver.send("set_position", pos_x="60", pos_y="1", pos_z="20")
        put = driver.telemetry()
        assert (put["pos_x"], put["pos_z"]) == (60 / SCALE, 20 / SCALE)
        assert put["yaw"] == 0
        assert put["speed"] == pytest.approx(moving["speed"], rel=1e-5)
        assert put["time"] == moving["time"]
        assert put["throttle"] == pytest.approx(0.5)
        # A quarter turn to the right about Y; the car still slides along +Z, to its left.
        half = math.sqrt(0.5)
        turn = {"Qx": "0", "Qy": repr(half), "Qz": "0", "Qw": repr(half)}
        driver.send("set_position", pos_x="60", pos_y="1", pos_z="20", **turn)
        turned = driver.telemetry()
        assert turned["yaw"] == pytest.approx(90.0, abs=1e-3)
        assert turned["vel_x"] == pytest.approx(-moving["speed"], rel=1e-3)
        assert turned["vel_z"] == pytest.approx(0.0, abs=1e-3)


def test_nodes_are_told_in_unity_units_and_not_beyond_the_path() -> None:
    with driving() as driver:
        count = driver.step(0.0, 0.0)["totalNodes"]
        assert count == 108
        driver.send("node_position", index="5")
        node = driver.until("node_position")
        assert list(node) == [
            "msg_type", "index", "pos_x", "pos_y", "pos_z", "Qx", "Qy", "Qz", "Qw"
        ]  # fmt: skip
        # The script lays eleven straight nodes of 2 u along +Z first.
        driver.send("node_position", index="6")
        following = driver.until("node_position")
        assert following["pos_z"] - node["pos_z"] == pytest.approx(2.0, abs=1e-3)
        assert node["Qw"] == pytest.approx(1.0, abs=1e-3)
        for outside in ("-1", str(count)):
            driver.send("node_position", index=outside)
        assert driver.answers() == []


def test_a_new_road_comes_with_its_seed_and_only_where_roads_are_random() -> None:
    wanted = {"road_style": "1", "rand_seed": "7", "turn_increment": "2.0"}
    with driving(track="generated_road") as driver:
        before = driver.step(0.0, 0.5)

        def far_node() -> tuple[float, float]:
            driver.send("node_position", index="200")
            node = driver.until("node_position")
            return node["pos_x"], node["pos_z"]

        old = far_node()
        driver.send("regen_road", **wanted)
        at_start = driver.telemetry()
        assert at_start["speed"] == 0
        assert at_start["time"] >= before["time"]
        seventh = far_node()
        assert math.dist(old, seventh) > 1.0
        driver.send("regen_road", **(wanted | {"rand_seed": "8"}))
        driver.telemetry()
        assert math.dist(far_node(), seventh) > 1.0
        driver.send("regen_road", **wanted)
        driver.telemetry()
        assert far_node() == seventh
        assert driver.step(0.0, 0.5)["speed"] > 0
    with driving() as driver:
        driver.send("regen_road", **wanted)
        assert driver.answers() == []


# --- several cars ------------------------------------------------------------------------------


def test_cars_meet_by_name_and_see_each_other() -> None:
    with serving() as server, PlainClient(server.port) as right, PlainClient(server.port) as left:
        cars = [right, left]
        cars.sort(key=lambda car: -float(car.enter()["pos_x"]))
        body = {"body_style": "f1", "body_r": "10", "body_g": "250", "body_b": "10"}
        cars[1].send("car_config", **body, car_name="Lefty")
        # A name that nobody has filled in is no name.
        cars[0].send("car_config", **body, car_name="Racer Name")
        for car in cars:
            car.camera(img_enc="PNG")
            car.telemetry()

        def both(left_command: tuple[float, float, float]) -> list[Message]:
            cars[0].drive(0.0, 0.0, 1.0)
            cars[1].drive(*left_command)
            return [car.telemetry() for car in cars]

        # The left car is put 3 u ahead of the right one, into its picture.
        lonely = picture(both((0.0, 0.0, 1.0))[0]["image"]).astype(int)
        ahead = {"pos_x": repr(SPAWN[0]), "pos_y": "0", "pos_z": repr(SPAWN[1] + 3.0)}
        cars[1].send("set_position", **ahead)
        cars[1].telemetry()
        seen = picture(both((0.0, 0.0, 1.0))[0]["image"]).astype(int)
        assert np.abs(seen - lonely).max() > 60
        # It reverses into the other.
        hits: list[set[str]] = [set(), set()]
        for _ in range(60):
            for told, message in zip(hits, both((0.0, -0.5, 0.0)), strict=True):
                told.add(message["hit"])
        assert hits[0] - {"none"} == {"Lefty"}
        assert hits[1] - {"none"} == {"Donkey(Clone)"}


def test_a_client_that_does_not_answer_is_not_waited_for() -> None:
    with (
        serving(lockstep_patience_s=0.1) as server,
        PlainClient(server.port) as awake,
        PlainClient(server.port) as asleep,
    ):
        awake.enter()
        asleep.enter()
        stamps = [awake.step(0.0, 0.2)["time"] for _ in range(100)]
        assert stamps[-1] == pytest.approx(5.0)
        # Only the first step waited; it answers again, and is waited for again.
        asleep.drive(0.0, 0.2)
        awake.drive(0.0, 0.2)
        assert awake.telemetry()["time"] > stamps[-1]


def test_step_mode_switches_lock_step_on_and_off() -> None:
    with serving(time_scale=1.0) as server, PlainClient(server.port) as driver:
        assert driver.read()["msg_type"] == "car_loaded"
        driver.send("step_mode", step_mode="synchronous", time_step="0.05")
        # What was on its way when the message came, then the state as it is.
        driver.until("telemetry")
        assert driver.answers().count("protocol_version") == 0
        before = driver.step(0.0, 0.3)
        again = [driver.step(0.0, 0.3)["time"] for _ in range(40)]
        assert again[-1] - before["time"] == pytest.approx(2.0, abs=0.011)
        driver.send("step_mode", step_mode="asynchronous", time_step="0.05")
        # Time goes on by itself.
        assert driver.telemetry()["time"] < driver.telemetry()["time"]


# --- starting line and private API -------------------------------------------------------------


def organiser_of(server: Running, key: str | None = None) -> PlainClient:
    assert server.private_port is not None
    organiser = PlainClient(server.private_port)
    organiser.send("verify", private_key=server.private_key if key is None else key)
    return organiser


def test_the_private_api_wants_its_key() -> None:
    with serving(private_port=0) as server:
        assert len(server.private_key) == 8
        assert server.private_key.isdecimal()
        with organiser_of(server, "12345") as stranger:
            assert stranger.read()["msg_type"] == "private_key_error"
            stranger.send("reset_challenges")
            error = stranger.read()
            assert error["msg_type"] == "private_key_error"
            assert "verify" in error["error_message"]
        with organiser_of(server) as organiser:
            assert organiser.read() == {"msg_type": "verified"}


def test_the_starting_line_is_told_in_both_directions_to_car_and_organiser() -> None:
    # Line: 49.55 ahead along Z, so 1.71 u in front of the car's centre; its body reaches 0.875 u.
    with (
        serving(private_port=0) as server,
        PlainClient(server.port) as driver,
        organiser_of(server) as organiser,
    ):
        assert organiser.read() == {"msg_type": "verified"}
        driver.enter()
        body = {"body_style": "f1", "body_r": "1", "body_g": "2", "body_b": "3"}
        driver.send("car_config", **body, car_name="Racer")

        def cross(throttle: float) -> Message:
            for _ in range(100):
                driver.drive(0.0, throttle)
                message = driver.until("telemetry", "collision_with_starting_line")
                if message["msg_type"] != "telemetry":
                    driver.telemetry()
                    return message
            raise AssertionError("The line was never crossed.")

        forwards = cross(0.5)
        assert list(forwards) == ["msg_type", "starting_line_index", "timeStamp"]
        assert forwards["starting_line_index"] == 0
        backwards = [driver.step(0.0, 0.5) for _ in range(10)]
        assert all(each["msg_type"] == "telemetry" for each in backwards)
        again = cross(-1.0)
        assert again["timeStamp"] > forwards["timeStamp"] > 0
        told = [organiser.read() for _ in range(2)]
        assert [each["car_name"] for each in told] == ["Racer", "Racer"]
        assert [each["timeStamp"] for each in told] == [
            forwards["timeStamp"],
            again["timeStamp"],
        ]


def test_time_stamps_are_simulation_time_since_the_servers_start() -> None:
    with driving() as driver:
        for _ in range(100):
            driver.step(0.0, 0.0, 1.0)
        driver.send("exit_scene")
        driver.send("load_scene", scene_name="generated_track")
        driver.until("car_loaded")
        driver.telemetry()
        driver.drive(0.0, 1.0)
        while (message := driver.until("telemetry", "collision_with_starting_line"))[
            "msg_type"
        ] == "telemetry":
            driver.drive(0.0, 1.0)
            assert message["time"] < 3.0
        # Five seconds in the scene before this one.
        assert 5.0 < message["timeStamp"] < 8.0


def test_cones_are_counted_when_a_body_touches_them() -> None:
    with (
        serving(private_port=0, cones=100, seed=3) as server,
        PlainClient(server.port) as driver,
        organiser_of(server) as organiser,
    ):
        assert organiser.read() == {"msg_type": "verified"}
        driver.enter()
        organiser.send("set_random_seed", seed="5")
        organiser.send("reset_challenges")
        # A hundred cones lie around the road's nodes: driving through all of them meets some.
        for index in range(10, 98):
            driver.send("node_position", index=str(index))
            node = driver.until("node_position")
            place = {name: repr(node[name]) for name in ("pos_x", "pos_y", "pos_z")}
            driver.send("set_position", **place)
            driver.telemetry()
            for _ in range(4):
                driver.step(0.0, 1.0)
        touched = organiser.read()
        assert touched["msg_type"] == "collision_with_cone"
        assert set(touched) == {"msg_type", "car_name", "cone_index", "timeStamp"}
        assert 0 <= touched["cone_index"] < 100


# --- generations -------------------------------------------------------------------------------


def test_older_generations_report_in_their_own_way() -> None:
    with driving(generation=2021) as driver:
        message = driver.step(0.0, 0.0)
        assert list(message)[:5] == ["msg_type", "steering_angle", "throttle", "speed", "image"]
        assert {"gyro_w", "on_road"} < set(message)
        assert "yaw" not in message
        # Not divided by 8.
        assert message["pos_x"] == pytest.approx(SPAWN[0], abs=1e-4)
        # Neither message existed then.
        driver.send("node_position", index="5")
        driver.send("get_protocol_version")
        assert driver.step(0.0, 0.0)["msg_type"] == "telemetry"


def test_parsers_are_those_of_the_generations() -> None:
    question = b'{"msg_type":"get_protocol_version"}'
    with serving(track=None) as server, PlainClient(server.port) as driver:
        driver.read()
        # 2022: objects may be glued, and a newline spoils the message before it.
        driver.send_bytes(question + question)
        assert [driver.read()["msg_type"] for _ in range(2)] == ["protocol_version"] * 2
        driver.send_bytes(question + b"\n")
        driver.send_bytes(b'{"msg_type":"connected"}')
        assert driver.read()["msg_type"] == "scene_selection_ready"
    with serving(track=None, tolerant=True) as server, PlainClient(server.port) as driver:
        driver.read()
        driver.send_bytes(question + b"\n")
        assert driver.read()["msg_type"] == "protocol_version"
    with serving(track=None, generation=2020) as server, PlainClient(server.port) as driver:
        driver.read()
        # 2020: what comes in one piece is one message or lost.
        driver.send_bytes(question + question)
        deadline = time.monotonic() + 0.2
        with pytest.raises(TimeoutError):
            driver.read(deadline - time.monotonic())
        driver.send_bytes(question)
        assert driver.read()["msg_type"] == "protocol_version"


def test_a_tolerant_server_takes_numbers() -> None:
    with driving(tolerant=True) as driver:
        driver.send_bytes(b'{"msg_type":"control","steering":0.5,"throttle":1,"brake":0}\n')
        assert driver.telemetry()["steering_angle"] == 0.5


@pytest.mark.parametrize("generation", [2020, 2021, 2022])
def test_without_extended_telemetry_no_place_is_told_nor_taken(
    generation: int, caplog: pytest.LogCaptureFixture
) -> None:
    with driving(generation=generation, extended_telemetry=False) as driver:
        message = driver.step(0.0, 0.0)
        hidden = {"cte", "pos_x", "vel_z", "on_road", "progress_on_shortest_path"}
        assert not hidden & set(message)
        assert ("activeNode" in message) == (generation == 2022)
        before = driver.step(0.0, 0.0)["image"]
        driver.send("set_position", pos_x="60", pos_y="1", pos_z="20")
        # Nothing answers, and in 2020 the next message must not be glued to this one.
        deadline = time.monotonic() + 60.0
        while "set_position" not in caplog.text:
            assert time.monotonic() < deadline
        driver.camera()
        assert driver.telemetry()["image"] == before


# --- bad input and bad readers -----------------------------------------------------------------


def garbage(rng: random.Random) -> bytes:
    """A message that is wrong in some way, and never a whole right one."""
    kinds = ["control", "cam_config", "set_position", "lidar_config", "car_config", "nonsense", ""]
    values: list[Any] = ["", "nan", "1e999", "9" * 500, None, [], {}, 3, True, "x{y}", "\u00e9"]
    fields = {
        name: rng.choice(values)
        for name in rng.sample(["steering", "throttle", "fov", "pos_x", "img_w", "maxRange"], 3)
    }
    text = json.dumps({"msg_type": rng.choice(kinds), **fields}).encode()
    cut = rng.randrange(1, len(text))
    return rng.choice([text, text[:cut], b"\x00\xff", b"[[[[", b'{"a":' * 20, b"}\n"])


def test_bad_input_never_changes_a_car_nor_ends_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = random.Random(4)
    with driving(tolerant=True) as driver:
        before = driver.step(0.2, 0.3)
        for _ in range(500):
            driver.send_bytes(garbage(rng) + b"\n")
        driver.camera()
        after = driver.telemetry()
        assert state(after) == state(before)
        assert driver.step(0.2, 0.3)["time"] > before["time"]
    # Each kind is logged once, and once more with its count.
    first = [r.getMessage() for r in caplog.records if "counted from now on" in r.getMessage()]
    assert first
    assert len(first) == len(set(first))
    assert any("times in all" in record.getMessage() for record in caplog.records)


def test_a_stalled_reader_holds_nobody_up_and_its_queue_is_bounded() -> None:
    with (
        serving(time_scale=20.0) as server,
        PlainClient(server.port) as reader,
        PlainClient(server.port) as stalled,
    ):
        reader.camera(img_w="32", img_h="32")
        stalled.camera(img_w="512", img_h="512", img_enc="PNG")
        last = [reader.telemetry()["time"] for _ in range(800)][-1]
        assert last > 35.0
        counts = server.statistics()
        # The stalled one's share: what fits into the system's buffers, and one that waits.
        assert counts.frames_dropped > 200
        assert counts.queued < 1_500_000
        # It reads again: the next but few frames are new.
        deadline = time.monotonic() + 60.0
        while stalled.telemetry()["time"] < last:
            assert time.monotonic() < deadline


def test_a_client_that_reads_nothing_but_asks_on_is_disconnected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(track=None) as server, PlainClient(server.port) as glutton:
        question = json.dumps({"msg_type": "get_scene_names"}).encode() * 100
        glutton.link.settimeout(5.0)
        with contextlib.suppress(OSError):
            for _ in range(2000):
                glutton.send_bytes(question)
        deadline = time.monotonic() + 60.0
        while server.statistics().clients:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with PlainClient(server.port) as other:
            assert other.read()["msg_type"] == "scene_selection_ready"
    assert any("unread" in record.getMessage() for record in caplog.records)
