"""What a served simulator tells of its starting line, and what it lets an organiser do."""

from __future__ import annotations

import time

import pytest

from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.scene import Scene
from tests.plain_client import Message, PlainClient
from tests.served_car import driving, serving


def organiser_of(server: Running, key: str | None = None) -> PlainClient:
    assert server.private_port is not None
    organiser = PlainClient(server.private_port)
    organiser.send("verify", private_key=server.private_key if key is None else key)
    return organiser


def test_the_private_api_wants_its_key() -> None:
    with serving(private_port=0) as server:
        assert len(bytes.fromhex(server.private_key)) == 8
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


@pytest.mark.usefixtures("coarse_ground")
def test_a_new_road_has_the_cones_of_the_seed_that_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put: list[tuple[int, int]] = []
    put_cones = Scene.put_cones

    def noted(scene: Scene, count: int, seed: int) -> None:
        put.append((count, seed))
        put_cones(scene, count, seed)

    monkeypatch.setattr(Scene, "put_cones", noted)
    with (
        serving(track="generated_road", private_port=0, cones=5, seed=3) as server,
        PlainClient(server.port) as driver,
        organiser_of(server) as organiser,
    ):
        assert organiser.read() == {"msg_type": "verified"}
        driver.enter()
        organiser.send("set_random_seed", seed="8")
        organiser.send("verify", private_key=server.private_key)
        assert organiser.read() == {"msg_type": "verified"}
        assert put[-1] == (5, 8)
        before = len(put)
        driver.send("regen_road", road_style="1", rand_seed="7", turn_increment="2.0")
        ends = time.monotonic() + 60.0
        while len(put) < before + 2 and time.monotonic() < ends:
            driver.step(0.0, 0.0)
    assert put[before:] == [(5, 3), (5, 8)]
