"""Whatever clients do, the served simulator goes on, and others notice nothing."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.config import ServerConfig
from tests.fault_runs import seeds
from tests.plain_client import PlainClient
from tests.process_counts import memory, open_files

TRACK = "waveshare"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    config = ServerConfig(
        track=TRACK, port=0, private_port=0, time_scale="max", lockstep_patience_s=0.05
    )
    with background.running(config) as running:
        yield running


def hard_close(link: socket.socket) -> None:
    """Ends a connection with a reset instead of an orderly close."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def garbage(rng: random.Random, link: socket.socket) -> None:
    link.sendall(rng.randbytes(rng.randint(1, 5000)))


def broken_messages(rng: random.Random, link: socket.socket) -> None:
    whole = json.dumps({"msg_type": "control", "steering": "1", "throttle": "1", "brake": "0"})
    for _ in range(rng.randint(1, 20)):
        link.sendall(whole[: rng.randint(0, len(whole) - 1)].encode())


def deep_nesting(rng: random.Random, link: socket.socket) -> None:
    link.sendall(b'{"a":' * rng.randint(10, 20_000))


def no_end(rng: random.Random, link: socket.socket) -> None:
    link.sendall(b'{"msg_type":"control","steering":"' + b"1" * rng.randint(10_000, 3_000_000))


def bad_values(rng: random.Random, link: socket.socket) -> None:
    values = ["NaN", "Infinity", "1e999", "", "1,5", "{}", "x" * 1000, "-0", "9" * 400]
    kinds = [
        "control",
        "set_position",
        "cam_config",
        "lidar_config",
        "regen_road",
        "quit_app",
        "?",
    ]
    names = ["steering", "throttle", "brake", "pos_x", "img_w", "fov", "maxRange", "rand_seed"]
    for _ in range(rng.randint(1, 10)):
        message = {name: rng.choice(values) for name in names} | {"msg_type": rng.choice(kinds)}
        link.sendall(json.dumps(message).encode())


def wrong_types(rng: random.Random, link: socket.socket) -> None:
    for value in (None, 1, 1.5, True, [], ["a"], {"b": "c"}):
        message = {"msg_type": rng.choice(["control", value]), "steering": value}
        link.sendall(json.dumps(message).encode())


def never_reads(rng: random.Random, link: socket.socket) -> None:
    """Asks for answers without end and reads none of them."""
    question = json.dumps({"msg_type": "get_protocol_version"}).encode()
    link.settimeout(0.2)
    try:
        for _ in range(rng.randint(100, 3000)):
            link.sendall(question)
    except OSError:
        return


def reordered_setup(rng: random.Random, link: socket.socket) -> None:
    """Everything that sets a car up, in any order, twice."""
    camera = {
        "fov": "80", "offset_x": "0", "offset_y": "0", "offset_z": "0", "rot_x": "0",
        "fish_eye_x": "0", "fish_eye_y": "0", "img_w": "64", "img_h": "48", "img_d": "3",
        "img_enc": "JPG",
    }  # fmt: skip
    messages: list[dict[str, str]] = [
        {"msg_type": "reset_car"},
        {"msg_type": "cam_config", **camera},
        {"msg_type": "cam_config_b", **camera},
        {"msg_type": "step_mode", "step_mode": "asynchronous", "time_step": "0"},
        {"msg_type": "node_position", "index": "-1"},
        {"msg_type": "racer_info", "racer_name": "a"},
    ] * 2
    rng.shuffle(messages)
    for message in messages:
        link.sendall(json.dumps(message).encode())


FAULTS: tuple[Callable[[random.Random, socket.socket], None], ...] = (
    garbage, broken_messages, deep_nesting, no_end, bad_values, wrong_types, never_reads,
    reordered_setup,
)  # fmt: skip


def misbehave(rng: random.Random, port: int) -> None:
    """Connects, does some of the above, and goes away in one of three ways."""
    link = socket.create_connection(("127.0.0.1", port), timeout=10.0)
    try:
        if rng.random() < 0.5:
            link.recv(rng.randint(1, 20_000))
        for _ in range(rng.randint(0, 3)):
            rng.choice(FAULTS)(rng, link)
    except OSError:
        # The server may have hung up on it: that is its right.
        pass
    finally:
        way = rng.randrange(3)
        if way == 0:
            hard_close(link)
        else:
            if way == 1:
                with_half_closed(link)
            link.close()


def with_half_closed(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("seed", seeds(30))
def test_others_drive_on_whatever_a_client_does(server: Running, seed: int) -> None:
    with PlainClient(server.port) as driver:
        first = driver.enter()
        misbehave(random.Random(seed), server.port)
        times = [driver.step(0.0, 0.1)["time"] for _ in range(5)]
    assert times == sorted(set(times))
    assert times[0] > first["time"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_nothing_is_left_of_clients_that_have_gone() -> None:
    threads, files = threading.active_count(), open_files()
    config = ServerConfig(track=TRACK, port=0, time_scale="max", private_port=0)
    with background.running(config) as running, PlainClient(running.port) as driver:
        driver.enter()
        held = open_files()
        for seed in range(20):
            misbehave(random.Random(1000 + seed), running.port)
        for _ in range(5):
            driver.step(0.0, 0.1)
        ends = time.monotonic() + 60.0
        while running.statistics().clients != 1 or open_files() > held:
            assert time.monotonic() < ends
            time.sleep(0.01)
        assert running.statistics().queued < 100_000
    assert threading.active_count() <= threads + 1  # the world's own pool of one thread
    assert open_files() <= files + 2


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads memory from /proc")
def test_100_mb_without_an_end_are_not_kept(server: Running) -> None:
    before = memory()
    with PlainClient(server.port) as flooder, PlainClient(server.port) as driver:
        driver.enter()
        piece = b'{"msg_type":"control","steering":"' + b"1" * (1 << 20)
        for _ in range(100):
            flooder.send_bytes(piece)
        driver.step(0.0, 0.1)
    assert memory() - before < 30e6


@pytest.mark.parametrize("piece", [b"{}", b"{x}", b"{}aaa{"])
def test_who_sends_nothing_but_useless_pieces_is_disconnected(
    piece: bytes, server: Running
) -> None:
    with PlainClient(server.port) as flooder, PlainClient(server.port) as driver:
        driver.enter()
        with pytest.raises(OSError, match=r"reset|pipe|abort"):
            flooder.send_bytes(2_000_000 * piece)
        driver.step(0.0, 0.1)


def test_useless_pieces_among_messages_are_passed_over(server: Running) -> None:
    with PlainClient(server.port) as driver:
        driver.enter()
        for _ in range(5):
            driver.send_bytes(500 * b"{}")
            driver.step(0.0, 0.1)


def test_malformed_control_changes_nothing(server: Running) -> None:
    with PlainClient(server.port) as driver:
        driver.enter()
        before = driver.step(0.25, 0.1)
        driver.send("control", steering="0,9", throttle="1", brake="0")
        driver.send("control", steering="0.9", throttle="1")
        driver.send("control", steering=0.9, throttle="1", brake="0")
        driver.send("control", steering="NaN", throttle="1", brake="0")
        assert driver.answers() == []
        after = driver.step(0.25, 0.1)
    assert (after["steering_angle"], after["throttle"]) == (0.25, 0.1)
    assert after["time"] - before["time"] == pytest.approx(0.05, abs=0.011)


def test_out_of_range_control_is_clamped_as_in_unity(server: Running) -> None:
    with PlainClient(server.port) as driver:
        driver.enter()
        after = driver.step(7.0, -3.0, 9.0)
    assert (after["steering_angle"], after["throttle"]) == (1.0, -1.0)
