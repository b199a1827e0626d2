"""A served simulator with drivers that send nonsense or do not read."""

from __future__ import annotations

import contextlib
import json
import random
import time
from typing import Any

import pytest

from tests.plain_client import PlainClient
from tests.served_car import driving, serving, state


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
        glutton.link.settimeout(60.0)
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
