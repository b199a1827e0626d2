"""The process of the live page: killed, hung, orphaned, fed for a while."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import psutil
import pytest
import uvicorn

from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.race_server.config import PageConfig
from donkey_rl.race_server.orders import Go, Order, Stop
from donkey_rl.race_server.page import board, serving
from donkey_rl.race_server.page.board import Page
from donkey_rl.race_server.page.messages import OrderRequest
from tests.race_page_client import DEADLINE_S, ask, order, viewing, wait
from tests.race_page_team import FakeCar, Team, picture, shown

ROOT = pathlib.Path(__file__).parents[1]


def test_a_killed_page_is_started_again_as_it_was() -> None:
    team = Team(("alpha",))
    with Page(PageConfig(port=0, token="a-token-of-ours"), team.follow) as page:
        page.log("alpha", "info", "Connected")
        page.show(team.cars["alpha"].status, picture(1))
        port, first = page.port, page.pid
        bearer = {"authorization": "Bearer a-token-of-ours"}
        with viewing(page, **bearer) as viewer:
            viewer.until(lambda told: told["cars"] and viewer.log)
        assert first is not None
        # Ctrl-C reaches all processes of a terminal: the page leaves it to the racer.
        os.kill(first, signal.SIGINT)
        assert ask(page, "/", **bearer).status == 200
        os.kill(first, signal.SIGKILL)
        wait(lambda: page.pid not in (None, first), "another process")
        assert page.port == port
        # Nothing was shown since: the new process has been told what the old one knew.
        with viewing(page, **bearer) as again:
            again.until(lambda told: told["cars"] and len(again.log) == 2)
            assert again.key == viewer.key
        assert [line[3] for line in again.log] == [
            "Connected",
            "The page ended; it is started again.",
        ]
        assert order(page, viewer.key, {"do": "stop", "car": None}, **bearer).status == 202
        wait(lambda: team.cars["alpha"].orders == [Stop("page")], "STOP")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="the system stops no processes")
def test_a_hung_page_costs_nothing_and_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "HUNG_S", 0.5)
    status, large = FakeCar("alpha").status, picture(1) + bytes(200_000)
    with Page(PageConfig(port=0), lambda car, order: None) as page:
        first = page.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        took: list[float] = []
        end = time.monotonic() + DEADLINE_S
        while page.pid in (None, first) and time.monotonic() < end:
            began = time.thread_time()
            page.show(status, large)
            page.log("alpha", "info", "still there")
            took.append(time.thread_time() - began)
            time.sleep(0.005)
        assert np.quantile(took, 0.9) < 0.01
        assert page.pid not in (None, first)
        monkeypatch.setattr(board, "HUNG_S", 60.0)

        def answers() -> bool:
            page.show(status, large)
            with contextlib.suppress(OSError):
                return ask(page, "/health").status == 200
            return False

        wait(answers, "news after the change")
        assert not psutil.pid_exists(first)


def test_the_page_ends_with_a_racer_that_is_killed() -> None:
    code = (
        "import sys, time\n"
        "from donkey_rl.race_server.config import PageConfig\n"
        "from donkey_rl.race_server.page.board import Page\n"
        "with Page(PageConfig(port=0), print) as page:\n"
        "    print(page.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as racer:
        assert racer.stdout is not None
        page = psutil.Process(int(racer.stdout.readline()))
        racer.kill()
    page.wait(DEADLINE_S)


def test_a_taken_port_is_said() -> None:
    with Page(PageConfig(port=0), lambda car, order: None) as page:
        with (
            pytest.raises(InputError, match=r"page.port"),
            Page(PageConfig(port=page.port), lambda car, order: None),
        ):
            pass
        assert ask(page, "/").status == 200


def test_orders_that_come_late_or_fail_are_told() -> None:
    followed: list[tuple[str, Order]] = []

    def follow(car: str, order: Order) -> None:
        followed.append((car, order))
        if car == "beta":
            raise UnknownNameError("car", "beta", ["alpha"])
        if car == "gamma":
            raise RuntimeError("a fault of the racer's own")

    page = Page(PageConfig(port=0), follow)
    late = time.monotonic() - 5.0
    for car, do, at in (
        ("alpha", "go", late),
        ("alpha", "stop", late),
        ("beta", "stop", late),
        ("gamma", "stop", late),
        ("alpha", "go", time.monotonic()),
    ):
        page._follow(OrderRequest.model_validate({"car": car, "do": do, "at": at}))
    assert followed == [
        ("alpha", Stop("page")),
        ("beta", Stop("page")),
        ("gamma", Stop("page")),
        ("alpha", Go("page")),
    ]
    lines = [(line.car, line.level) for line in page._lines]
    assert lines == [("alpha", "warning"), ("beta", "error"), ("gamma", "error")]


def test_viewers_that_come_and_go_leave_nothing() -> None:
    with shown("alpha") as (page, _):
        process = psutil.Process(page.pid)
        with viewing(page) as viewer:
            viewer.until(lambda told: told["cars"])

        def held() -> tuple[int, int]:
            return process.num_threads(), process.num_fds()

        before = held()
        for _ in range(20):
            with viewing(page) as viewer:
                viewer.receive()
            ask(page, "/health")
            ask(page, "/order", "POST", b"x" * 3000)
        wait(
            lambda: all(now <= then for now, then in zip(held(), before, strict=True)),
            "threads and descriptors as before",
        )
        text = ask(page, "/metrics").body.decode()
        assert "donkey_rl_race_viewers 0" in text


def test_what_is_no_number_and_no_picture_does_no_harm() -> None:
    status = FakeCar("alpha").status
    with Page(PageConfig(port=0), lambda car, order: None) as page, viewing(page) as viewer:
        for speed in (float("nan"), float("inf")):
            broken = dataclasses.replace(status, speed=speed, reason="half \ud83d of a pair")
            page.show(broken, b"TRUEVISION-XFILE")
            page.log("alpha", "info", "half \ud83d of a pair")
        told = viewer.until(lambda told: told["cars"])
        assert told["cars"][0]["status"]["speed"] is None
        assert told["cars"][0]["status"]["reason"] == "half ? of a pair"
        assert viewer.pictures == []
        assert ask(page, "/metrics").status == 200
        assert json.loads(ask(page, "/health").body)["ok"] is True


def test_who_begins_another_request_and_never_ends_it_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(serving._settings(answer))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with socket.create_connection(listener.getsockname(), DEADLINE_S) as client:
                client.settimeout(DEADLINE_S)
                for silent_s in (60.0, 2.0):
                    monkeypatch.setattr(serving, "SILENT_S", silent_s)
                    client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                    told = b""
                    while not told.endswith(b"0\r\n\r\n"):
                        part = client.recv(4096)
                        assert part
                        told += part
                    assert b" 403 " in told
                client.sendall(b"G")
                rest = b"."
                while rest:
                    rest = client.recv(4096)
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
