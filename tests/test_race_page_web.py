"""The live page of a race over HTTP and its WebSocket: what it answers, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from donkey_rl.race_server.config import PageConfig
from donkey_rl.race_server.orders import Brake, ChangeDriver, Go, Stop
from donkey_rl.race_server.page import serving, viewers
from donkey_rl.race_server.page.board import Page
from donkey_rl.race_server.page.guard import (
    MOST_WRONG,
    MOST_WRONG_IN_ALL,
    WINDOW_S,
    Attempts,
    Tally,
)
from tests.race_page_client import ask, order, origin, viewing, wait
from tests.race_page_team import FakeCar, Team, shown

TOKEN = "q3p7-TOKEN_of-this-test"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Page, Team]]:
    with shown("alpha", "beta") as (page, team), viewing(page) as viewer:
        viewer.until(lambda told: len(told["cars"]) == 2)
        yield page, team


@pytest.fixture(scope="module")
def key(served: tuple[Page, Team]) -> str:
    with viewing(served[0]) as viewer:
        viewer.receive()
        return viewer.key


def test_orders_reach_the_cars(served: tuple[Page, Team], key: str) -> None:
    page, team = served
    alpha, beta = team.cars["alpha"], team.cars["beta"]
    for values in (
        {"do": "go", "car": "alpha"},
        {"do": "brake", "car": "alpha", "on": True},
        {"do": "brake", "car": "alpha", "on": False},
        {"do": "driver", "car": "beta", "name": "second-1"},
        {"do": "stop", "car": None},
    ):
        answer = order(page, key, values)
        assert answer.status == 202
    assert json.loads(answer.body) == {"sent": 2}
    wait(lambda: Stop("page") in beta.orders, "STOP of all cars")
    assert alpha.orders == [Go("page"), Brake("page", True), Brake("page", False), Stop("page")]
    assert beta.orders == [ChangeDriver("page", "second-1"), Stop("page")]


def test_the_page_tells_that_a_brake_is_held(served: tuple[Page, Team], key: str) -> None:
    page, _ = served
    with viewing(page) as viewer:
        for on in (True, False):
            order(page, key, {"do": "brake", "car": "beta", "on": on})
            viewer.until(lambda told, on=on: told["cars"][1]["braked"] is on)


def test_what_may_not_order_is_refused(served: tuple[Page, Team], key: str) -> None:
    page, team = served
    before = [list(car.orders) for car in team.cars.values()]
    go = {"do": "go", "car": "alpha"}
    assert order(page, key, go, origin="http://evil.example").status == 403
    assert order(page, key, go, origin="null").status == 403
    assert order(page, key, go, origin=f"{origin(page)}0").status == 403
    assert order(page, key, go, origin=None).status == 403
    assert order(page, key, go, x_race_key=None).status == 403
    assert order(page, key, go, x_race_key=key[:-1]).status == 403
    assert order(page, key, go, host=f"evil.example:{page.port}").status == 421
    assert order(page, key, {**go, "name": "x" * 2000}).status == 413
    assert order(page, key, go, content_length="9" * 18).status == 413
    # A body that does not say how long it is.
    parts = iter([b'{"do": "go", "car": "', b"a" * 4000, b'"}'])
    chunked = ask(page, "/order", "POST", parts, origin=origin(page), x_race_key=key)
    assert chunked.status == 413
    for nothing in (
        {}, [], "go", {"do": "fly", "car": "alpha"}, {"do": "go"}, {"do": "go", "car": None},
        {"do": "go", "car": "alpha", "at": "now"}, {"do": "brake", "car": "alpha", "on": 1},
        {"do": "go", "car": "alpha", "by": "host"},
    ):  # fmt: skip
        assert order(page, key, nothing).status == 400, nothing
    unknown = order(page, key, {"do": "go", "car": "alpa"})
    assert (unknown.status, b"alpha" in unknown.body) == (404, True)
    assert order(page, key, {"do": "driver", "car": "alpha", "name": "ghost"}).status == 404
    # Whatever went through before would be there by now.
    assert order(page, key, {"do": "stop", "car": "alpha"}).status == 202
    wait(lambda: len(team.cars["alpha"].orders) > len(before[0]), "the last STOP")
    assert team.cars["alpha"].orders == [*before[0], Stop("page")]
    assert team.cars["beta"].orders == before[1]


def test_files_and_nothing_else(served: tuple[Page, Team]) -> None:
    page, _ = served
    answer = ask(page, "/")
    assert answer.status == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    text = answer.body.decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {"race.js", "race.css", "vendor/uPlot.iife.min.js"} <= set(named)
    for name in named:
        if name != "data:,":
            assert ask(page, f"/{name}").status == 200, name
    for path in (
        "/race.html", "/serving.py", "/static/race.js", "/../guard.py", "/vendor/../../web.py",
        "/%2e%2e/web.py", "/vendor/%2e%2e%2f%2e%2e%2fweb.py", "//etc/passwd", "/docs", "/vendor/",
        "/openapi.json", "/vendor/LICENSE.uPlot", "/race.js%00.html", "/" + "a" * 3000,
    ):  # fmt: skip
        assert ask(page, path).status == 404, path
    assert ask(page, "/order").status == 405
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        assert ask(page, "/", method, origin=origin(page)).status == 405
    assert ask(page, "/", host="evil.example").status == 421


def test_refusals_are_logged_once_and_counted(
    served: tuple[Page, Team], caplog: pytest.LogCaptureFixture
) -> None:
    page, _ = served
    with caplog.at_level(logging.WARNING):
        for _ in range(12):
            assert ask(page, "/", "POST", origin="http://evil.example").status == 403
        with viewing(page) as viewer:
            viewer.until(lambda told: told["log"])
    lines = [line for line in caplog.messages if "foreign origin" in line]
    assert len(lines) <= 2
    count = re.search(r'refused_total\{kind="a request of a foreign origin"\} (\d+)',
                      ask(page, "/metrics").body.decode())  # fmt: skip
    assert count
    assert int(count[1]) >= 12


def test_what_is_no_http_is_logged_once(
    served: tuple[Page, Team], caplog: pytest.LogCaptureFixture
) -> None:
    page, _ = served
    with caplog.at_level(logging.WARNING):
        for _ in range(9):
            with socket.create_connection(("127.0.0.1", page.port), timeout=10) as link:
                link.sendall(b'{"msg_type": "get_protocol_version"}\r\n\r\n')
                assert b"400" in link.recv(1000)
        wait(lambda: "Invalid HTTP request" in caplog.text, "the line")
    assert ask(page, "/health").status == 200
    assert len([line for line in caplog.messages if "Invalid HTTP request" in line]) == 1


def test_nobody_keeps_the_others_out(served: tuple[Page, Team]) -> None:
    page, _ = served
    with contextlib.ExitStack() as stack:
        links = [
            stack.enter_context(
                socket.create_connection(
                    ("127.0.0.1", page.port), timeout=10, source_address=("127.0.0.9", 0)
                )
            )
            for _ in range(serving.MOST_OF_ONE + 5)
        ]
        for link in links[-5:]:
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(1) == b""
        assert ask(page, "/health").status == 200


def test_monitors_read_health_and_metrics(served: tuple[Page, Team], key: str) -> None:
    page, team = served
    told = json.loads(ask(page, "/health").body)
    assert told["ok"] is True
    assert told["cars"]["alpha"]["age_s"] < 2.0
    text = ask(page, "/metrics").body.decode()
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+(?:\{(?:[a-z_]+="[^"]*",?)*\})?) (\S+)', line)
            assert match, line
            samples[match[1]] = float(match[2])
    # Of frames that nobody knows of there is no speed.
    assert not any("race_speed{" in name for name in samples)
    frames = samples['donkey_rl_race_frames_total{car="alpha"}']
    assert 0 < frames <= team.cars["alpha"].status.frames
    assert samples['donkey_rl_race_frame_to_command_seconds{car="beta",quantile="0.99"}'] == 0.0079
    assert samples['donkey_rl_race_latency_seconds_bucket{car="beta",le="0.05"}'] == 252
    assert samples['donkey_rl_race_latency_seconds_bucket{car="beta",le="+Inf"}'] == 5267
    assert samples['donkey_rl_race_latency_seconds_count{car="beta"}'] == 5267
    team.silent.set()
    try:
        wait(lambda: ask(page, "/health").status == 503, "a silent racer")
        assert "has not reported" in json.loads(ask(page, "/health").body)["problems"][0]
        # A silent car is told to stop, but not to go.
        assert order(page, key, {"do": "go", "car": "alpha"}).status == 503
        assert order(page, key, {"do": "stop", "car": "alpha"}).status == 202
    finally:
        team.silent.clear()
    wait(lambda: ask(page, "/health").status == 200, "a racer that reports again")


def test_ten_viewers_see_every_frame_and_a_slow_one_the_newest(
    served: tuple[Page, Team],
) -> None:
    page, team = served
    with contextlib.ExitStack() as stack:
        quick = [stack.enter_context(viewing(page)) for _ in range(10)]
        slow = stack.enter_context(viewing(page))
        first = slow.receive()["cars"][0]["status"]["frames"]
        began = team.frames
        ends = time.monotonic() + 2.0

        def look(viewer: Any) -> None:
            viewer.until(lambda _: time.monotonic() > ends)

        threads = [threading.Thread(target=look, args=[viewer]) for viewer in quick]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made = team.frames - began
        for viewer in quick:
            assert len(viewer.pictures) > 0.3 * made
            # Who answers at once is not sent the same again.
            assert viewer.received < 1.3 * made + 10
        # It has shown nothing: so many were sent, and no more.
        for _ in range(viewers.IN_FLIGHT - 1):
            told = slow.receive()
        with pytest.raises(TimeoutError):
            slow.link.recv(timeout=0.1)
        newest = 0.7 * made + first
        quick[0].until(lambda told: told["cars"][0]["status"]["frames"] > newest)
        slow.say(told["n"])
        assert slow.receive()["cars"][0]["status"]["frames"] > first + 0.7 * made
    assert team.slowest_s < 0.02


def test_a_viewer_gets_the_past_and_the_car_it_asks_for(served: tuple[Page, Team]) -> None:
    page, _ = served
    page.log("beta", "warning", "Somebody is on the track")
    with viewing(page) as viewer:
        told = viewer.receive()
        assert told["car"] == "alpha"
        assert len(told["history"]) > 5
        told = viewer.until(lambda told: told["car"] == "beta" and "history" in told, "beta")
        # Each is the newest by the time that it is asked for.
        assert told["history"][-1][0] <= told["cars"][1]["at"]
    said = ["beta", "warning", "Somebody is on the track"]
    with viewing(page) as viewer:
        viewer.until(lambda _: any(line[1:] == said for line in viewer.log))


def test_bad_viewers_are_let_go_and_no_other(served: tuple[Page, Team]) -> None:
    page, _ = served
    for foreign in ("http://evil.example", "null", None):
        with pytest.raises(InvalidStatus), viewing(page, origin=foreign):
            pass
    with viewing(page) as viewer:
        for bad in ("{}", b"\x00\x01", "x" * 5000, '{"seen": -1, "car": ""}', "[" * 300):
            with viewing(page) as other:
                other.link.send(bad)
                with pytest.raises(ConnectionClosed):
                    other.until(lambda _: False)
        viewer.until(lambda told: told["n"] > 3)
    with contextlib.ExitStack() as stack:
        # One viewer is the fixture's.
        for _ in range(viewers.MOST_VIEWERS - 1):
            stack.enter_context(viewing(page)).receive()
        with pytest.raises(InvalidStatus), viewing(page):
            pass


def test_beyond_loopback_only_with_the_token(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    team = Team(("alpha",))
    config = PageConfig(host="0.0.0.0", port=0, token=TOKEN)
    with caplog.at_level(0, "donkey_rl"), Page(config, team.follow) as page:
        assert page.url.endswith(f"/?token={TOKEN}")
        page.show(FakeCar("alpha").status, None)
        for path in ("/", "/race.js", "/health", "/metrics", f"/health?token={TOKEN}"):
            assert ask(page, path).status == 403, path
        with pytest.raises(InvalidStatus), viewing(page):
            pass
        answer = ask(page, f"/?token={TOKEN}")
        assert answer.status == 200
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        kept = cookie.split(";")[0]
        assert ask(page, "/", cookie=kept).status == 200
        assert ask(page, "/health", authorization=f"Bearer {TOKEN}").status == 200
        with viewing(page, cookie=kept) as viewer:
            viewer.until(lambda told: told["cars"])
        go = {"do": "go", "car": "alpha"}
        assert order(page, viewer.key, go).status == 403

        def is_taken() -> bool:
            # GO reaches no car that has been silent for 2 s.
            page.show(FakeCar("alpha").status, None)
            return order(page, viewer.key, go, cookie=kept).status == 202

        wait(is_taken, "GO is taken")
        wait(lambda: team.cars["alpha"].orders == [Go("page")], "GO")
        # Guesses: after some of them the address is not listened to any more, another one is.
        for _ in range(MOST_WRONG):
            wrong = ask(page, "/", source="127.0.0.7", authorization="Bearer guess")
            assert wrong.status == 403
        limited = ask(page, f"/?token={TOKEN}", source="127.0.0.7")
        assert limited.status == 429
        assert 0 < int(limited.headers["Retry-After"]) <= WINDOW_S
        # Guesses from where the page is open do not keep its orders from the cars.
        for _ in range(MOST_WRONG):
            ask(page, "/?token=guess")
        assert ask(page, "/", cookie=kept).status == 429
        stop = {"do": "stop", "car": "alpha"}
        assert order(page, viewer.key, stop, cookie=kept).status == 202
        assert order(page, "guess", stop, cookie=kept).status == 429
        assert order(page, viewer.key, stop).status == 403
        wait(lambda: team.cars["alpha"].orders == [Go("page"), Stop("page")], "STOP")
    assert "a wrong token" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(capfd.readouterr())


def test_guesses_are_limited_in_bounded_memory() -> None:
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])
    attempts.right("10.0.0.1")
    for number in range(MOST_WRONG_IN_ALL):
        assert attempts.wait_s(f"10.1.0.{number}") == 0.0
        attempts.wrong(f"10.1.0.{number}")
    now[0] = 20.0
    assert attempts.wait_s("10.2.0.1") == WINDOW_S - 20.0
    # Whoever has had the right token still gets in.
    assert attempts.wait_s("10.0.0.1") == 0.0
    for number in range(10_000):
        attempts.wrong(f"{number}")
        attempts.right(f"{number}")
    assert len(attempts._wrong) <= 1024
    assert len(attempts._right) <= 1024
    now[0] = 20.0 + 2 * WINDOW_S
    assert attempts.wait_s("10.2.0.1") == 0.0


def test_news_of_the_first_car_reach_a_page_whose_car_is_gone() -> None:
    """Its address still has the name of a car of another race."""
    scene = types.SimpleNamespace(cars={"alpha": 1, "beta": 2})
    told = viewers.Viewers(scene, "key", Tally("request", lambda line: None))
    viewer = viewers._Viewer(None)
    told._open.append(viewer)
    for wanted, due in (("gone", True), ("", True), ("alpha", True), ("beta", False)):
        viewer.car, viewer.is_due = wanted, False
        told.wake("alpha")
        assert viewer.is_due is due, wanted
