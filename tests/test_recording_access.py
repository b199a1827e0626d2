"""Who may open the page that a person drives by, and what closes it."""

from __future__ import annotations

import pathlib
import urllib.request
from urllib.error import HTTPError

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from donkey_rl.errors import InputError
from donkey_rl.experiments.recording import server
from donkey_rl.experiments.recording.cockpit import Cockpit
from donkey_rl.experiments.recording.server import PageServer
from donkey_rl.web_access import Access
from tests.test_recording_page import DEADLINE_S, drive, driven, state_of


def read_to_the_end(link: ClientConnection) -> None:
    while True:
        link.recv(timeout=DEADLINE_S)


def test_bad_messages_close_their_page_and_no_other(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SILENT_S", 600.0)
    with driven(tmp_path) as made, made.connect() as link:
        for bad in ("{}", b"\x00\x01", "x" * 5000):
            with made.connect() as other:
                state_of(other)
                other.send(bad)
                with pytest.raises(ConnectionClosed):
                    read_to_the_end(other)
        assert drive(link, lambda state: state["speed"] > 0.5)["driving"]


def test_pages_of_other_origins_and_names_are_not_let_in(tmp_path: pathlib.Path) -> None:
    with driven(tmp_path) as made:
        for origin in ("http://evil.example", f"http://127.0.0.1:{made.port + 1}", "null"):
            with pytest.raises(InvalidStatus), made.connect(origin=origin):
                pass
        page = f"http://127.0.0.1:{made.port}/"
        with urllib.request.urlopen(page) as answer:
            assert b"cockpit.js" in answer.read()
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        rebound = urllib.request.Request(page, headers={"Host": f"evil.example:{made.port}"})
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(rebound)
        refused.value.close()
        assert refused.value.code == 421


def test_access_rules() -> None:
    own = Access.of("127.0.0.1", 8887)
    assert own.url == "http://127.0.0.1:8887/"
    assert all(map(own.allows_host, ("127.0.0.1:8887", "localhost:8887", "[::1]:8887")))
    bad = (
        None,
        "",
        "evil.example:8887",
        "127.0.0.1",
        "127.0.0.1:80",
        "a@127.0.0.1:8887",
        "[:8887",
    )
    assert not any(map(own.allows_host, bad))
    public = Access.of("0.0.0.0", 8887)
    assert len(public.token) >= 22
    assert public.token in public.url
    assert public.allows_host("192.168.1.7:8887")
    assert not public.allows_host("evil.example:8887")
    assert public.allows_token(public.token)
    assert not any(map(public.allows_token, (None, "", public.token[:-1], "é")))


def test_others_need_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SILENT_S", 600.0)
    cockpit = Cockpit()
    with PageServer(cockpit, "0.0.0.0", 0) as page:
        address = f"127.0.0.1:{page.access.port}"
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(f"http://{address}/")
        refused.value.close()
        assert refused.value.code == 403
        token = f"?token={page.access.token}"
        with urllib.request.urlopen(f"http://{address}/{token}") as answer:
            assert answer.status == 200
        origin = {"Origin": f"http://{address}"}
        with pytest.raises(InvalidStatus):
            connect(f"ws://{address}/drive{token}x", additional_headers=origin)
        with connect(f"ws://{address}/drive{token}", additional_headers=origin) as link:
            cockpit.publish(b"\xff\xd8", {"speed": 1.0})
            assert state_of(link) == {"n": 1, "speed": 1.0, "driving": True, "free": False}


def test_a_taken_port_is_said(tmp_path: pathlib.Path) -> None:
    with driven(tmp_path) as made, pytest.raises(InputError, match=r"--port"):
        PageServer(Cockpit(), "127.0.0.1", made.port)
