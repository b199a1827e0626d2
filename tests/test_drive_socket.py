"""`/wsDrive`: what starts and stops a car in a hosted race, and who may."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from donkey_rl.configuration import validate
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.race_server.config import DriveConfig
from donkey_rl.race_server.drive_socket import DriveSocket, gateway
from donkey_rl.race_server.orders import Go, Order, Stop

MESSAGE = '{"angle":0,"throttle":0,"drive_mode":"MODE","recording":false}\n'
"""As organisers send it: `echo '...' | websocat ws://127.0.0.1:PORT/wsDrive`."""

RIVAL = "127.0.0.2"


@pytest.fixture
def orders() -> list[Order]:
    return []


@pytest.fixture
def drive(orders: list[Order], monkeypatch: pytest.MonkeyPatch) -> Iterator[DriveSocket]:
    monkeypatch.setattr("donkey_rl.race_server.drive_socket._OPEN_S", 60.0)
    with DriveSocket(DriveConfig(port=0), orders.append) as found:
        yield found


def url(drive: DriveSocket, path: str = "/wsDrive") -> str:
    return f"ws://127.0.0.1:{drive.port}{path}"


def said(connection: ClientConnection, mode: str) -> str:
    connection.send(MESSAGE.replace("MODE", mode))
    return str(connection.recv(60.0))


def test_local_is_go_and_user_is_stop(drive: DriveSocket, orders: list[Order]) -> None:
    with connect(url(drive)) as connection:
        assert orders == []
        assert json.loads(said(connection, "local")) == {"driveMode": "local"}
        assert orders == [Go("drive")]
        said(connection, "user")
        said(connection, "local")
        # The organiser would give the throttle, which is 0 in this message.
        said(connection, "local_angle")
    assert orders == [Go("drive"), Stop("drive"), Go("drive"), Stop("drive")]


def test_one_who_sends_and_leaves_is_heard(drive: DriveSocket, orders: list[Order]) -> None:
    with connect(url(drive)) as connection:
        connection.send(MESSAGE.replace("MODE", "local"))
    deadline = time.monotonic() + 60.0
    while not orders and time.monotonic() < deadline:
        time.sleep(0.01)
    assert orders == [Go("drive")]


def test_messages_of_donkeycars_own_page_order_nothing(
    drive: DriveSocket, orders: list[Order]
) -> None:
    with connect(url(drive)) as connection:
        connection.send('{"angle":0.3,"throttle":1.0}')
        connection.send('{"buttons":{"w1":true},"recording":true,"drive_mode":null}')
        assert json.loads(said(connection, "user")) == {"driveMode": "user"}
    assert orders == [Stop("drive")]


@pytest.mark.parametrize(
    "text",
    ["GO", "[]", '{"drive_mode":"full speed"}', '{"drive_mode":1}', "[" * 2000, "{}{}", b"\xff"],
)
def test_what_is_no_message_is_answered_and_ends_the_connection(
    drive: DriveSocket, orders: list[Order], text: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with connect(url(drive)) as connection:
            connection.send(text)
            assert str(connection.recv(60.0)).startswith('Expected a message such as {"angle":0')
            with pytest.raises(ConnectionClosed):
                connection.recv(60.0)
    assert orders == []
    assert drive.refused == {"message": 2}
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1


def test_long_messages_end_the_connection(drive: DriveSocket, orders: list[Order]) -> None:
    with connect(url(drive)) as connection:
        connection.send(json.dumps({"drive_mode": "local", "padding": "x" * 4000}))
        with pytest.raises(ConnectionClosed, match="1009"):
            connection.recv(60.0)
    assert orders == []


def test_pages_of_other_origins_are_refused(drive: DriveSocket, orders: list[Order]) -> None:
    port = drive.port
    for origin, host in (
        ("http://evil.example", f"127.0.0.1:{port}"),
        ("null", f"127.0.0.1:{port}"),
        # A name that was made to lead here.
        (f"http://evil.example:{port}", f"evil.example:{port}"),
    ):
        with pytest.raises(InvalidStatus, match="403"):
            connect(url(drive), origin=origin, additional_headers={"Host": host})  # type: ignore[arg-type]
    with connect(url(drive), origin=f"http://127.0.0.1:{port}") as connection:  # type: ignore[arg-type]
        said(connection, "local")
    assert orders == [Go("drive")]


def test_other_paths_are_not_there(drive: DriveSocket) -> None:
    for path in ("/", "/drive", "/wsDrive/../wsCalibrate", "/%2e%2e/etc/passwd"):
        with pytest.raises(InvalidStatus, match="404"):
            connect(url(drive, path))


def from_rival(drive: DriveSocket, target: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((target, drive.port), 60.0, source_address=(RIVAL, 0))


def test_a_rival_on_the_same_network_is_let_go_at_once(
    drive: DriveSocket, orders: list[Order], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        # It is not even asked what it wants.
        with from_rival(drive) as rival, contextlib.suppress(ConnectionError):
            assert rival.recv(1) == b""
    assert drive.refused["address"] == 3
    assert caplog.text.count(RIVAL) == 1
    with connect(url(drive)) as connection:
        said(connection, "local")
    assert orders == [Go("drive")]


def test_those_who_are_named_may_connect(orders: list[Order]) -> None:
    with DriveSocket(DriveConfig(port=0, allow=(f"{RIVAL}/31",)), orders.append) as drive:
        link = from_rival(drive)
        with connect(url(drive), sock=link) as connection:
            said(connection, "local")
    assert orders == [Go("drive")]


def test_connections_that_say_nothing_are_bounded(drive: DriveSocket, orders: list[Order]) -> None:
    silent = [socket.create_connection(("127.0.0.1", drive.port)) for _ in range(40)]
    deadline = time.monotonic() + 60.0
    while drive.refused["too many"] < 24 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert drive.refused["too many"] == 24
    for each in silent:
        each.close()
    while not orders and time.monotonic() < deadline:
        try:
            with connect(url(drive)) as connection:
                said(connection, "local")
        except (OSError, EOFError):
            time.sleep(0.01)
    assert orders == [Go("drive")]


def test_a_port_that_is_taken_is_said(drive: DriveSocket) -> None:
    with (
        pytest.raises(InputError, match=rf"127\.0\.0\.1:{drive.port}.*drive\.port"),
        DriveSocket(DriveConfig(port=drive.port), print),
    ):
        pass


def test_the_gateway_is_that_of_the_default_route(tmp_path: Path) -> None:
    # As Linux has it in a container: 172.18.0.1 in the order of a little-endian machine.
    table = tmp_path / "route"
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
    near = "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n"
    table.write_text(f"{head}{near}eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n")
    assert gateway(table) == "172.18.0.1"
    table.write_text(head + near)
    assert gateway(table) is None
    table.write_text(head + "nonsense\n")
    assert gateway(table) is None
    assert gateway(tmp_path / "none") is None


@pytest.mark.parametrize("address", ["", "everybody", "10.0.0.0/99", "10.0.0"])
def test_a_wrong_address_is_said_before_the_race(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"allow.*should be an address such as"):
        validate(DriveConfig, {"allow": [address]})


def test_it_ends_with_connections_open(orders: list[Order]) -> None:
    drive = DriveSocket(DriveConfig(port=0), orders.append).__enter__()
    with connect(url(drive)) as connection:
        drive.__exit__(None, None, None)
        with pytest.raises(ConnectionClosed):
            connection.recv(60.0)
    drive._thread.join(60.0)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", drive.port), 1.0)
