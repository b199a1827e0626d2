"""How a served simulator of each generation reads and reports."""

from __future__ import annotations

import time

import pytest

from tests.plain_client import PlainClient
from tests.served_car import SPAWN, driving, serving


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


def test_parsers_are_those_of_the_generations(caplog: pytest.LogCaptureFixture) -> None:
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
        deadline = time.monotonic() + 60.0
        while "drops: broken" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        with pytest.raises(TimeoutError):
            driver.read(0.2)
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
            time.sleep(0.005)
        driver.camera()
        assert driver.telemetry()["image"] == before
