"""What a served simulator makes of each message, by a driver that knows only the protocol."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.plain_client import LIDAR, Message, PlainClient, picture
from tests.served_car import SCALE, SPAWN, driving, serving, state

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


@pytest.mark.usefixtures("coarse_ground")
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
