"""What ends a car's race before it has begun, and what never does."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any, get_args

import pytest

from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.peer import Peer
from donkey_rl.envs.link.race_link import RaceLink
from donkey_rl.errors import (
    DriverError,
    InputError,
    LinkNameError,
    LinkProtocolError,
    UnknownNameError,
)
from donkey_rl.race_server import first_contact, race_state
from donkey_rl.race_server.first_contact import NAME_S, FirstContact
from donkey_rl.race_server.orders import Go
from donkey_rl.race_server.page import messages, monitoring
from donkey_rl.race_server.page.scene import CarView
from donkey_rl.race_server.status import CarStatus, Phase
from tests.frame_host import FrameHost
from tests.race_cars import running, settings

ROOT = Path(__file__).parents[1]
PEER = Peer("race.exmple.org", 9091, None)
FOREIGN, NAMELESS = PEER.foreign("No protocol", "telemetry"), PEER.nameless("no such name")
PASSING = (PEER.refused("Nobody"), PEER.late("Nothing", "a frame"), PEER.closed("Gone", "a frame"))


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([DriverError("Another generation.")], DriverError),
        ([UnknownNameError("scene", "a", ["b"])], UnknownNameError),
        ([FOREIGN] * 3, LinkProtocolError),
        ([FOREIGN, FOREIGN, PASSING[1], FOREIGN, FOREIGN], None),
        ([*PASSING] * 40, None),
        ([ZeroDivisionError()] * 40, None),
    ],
)
def test_what_does_not_fit_ends_a_race_before_its_first_frame_alone(
    errors: list[Exception], kind: type[Exception] | None
) -> None:
    contact = FirstContact()
    *before, last = [contact.judge(each, 1000.0 * k) for k, each in enumerate(errors)]
    assert before == [None] * len(before)
    assert last is None if kind is None else isinstance(last, kind)
    contact.has_seen = True
    assert [contact.judge(each, 0.0) for each in errors * 3] == [None] * 3 * len(errors)


def test_a_name_that_is_never_found_ends_the_start_of_a_race_after_a_while() -> None:
    contact = FirstContact()
    assert contact.judge(NAMELESS, 10.0) is None
    assert contact.judge(NAMELESS, 10.0 + 0.99 * NAME_S) is None
    found = contact.judge(NAMELESS, 10.0 + NAME_S)
    assert isinstance(found, InputError)
    assert "'race.exmple.org'" in str(found)
    assert "--host" in str(found)


def test_a_name_that_is_found_meanwhile_is_none_that_is_never_found() -> None:
    contact = FirstContact()
    contact.judge(NAMELESS, 10.0)
    contact.judge(PASSING[0], 20.0)
    assert contact.judge(NAMELESS, 10.0 + NAME_S) is None


def test_a_name_that_is_lost_in_mid_race_ends_nothing() -> None:
    contact = FirstContact()
    contact.is_reached = True
    assert [contact.judge(NAMELESS, NAME_S * k) for k in range(10)] == [None] * 10


@pytest.mark.parametrize("host", ["race.exmple.org", "race..org"])
def test_a_name_that_leads_nowhere_is_told_with_the_host_and_the_remedy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(address: tuple[str, int], *rest: Any) -> socket.socket:
        address[0].encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", look_up)
    with pytest.raises(LinkNameError, match=f"'{host}' cannot be found.*Check the host's name"):
        RaceLink(LinkConfig(host=host)).open()


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: Any) -> socket.socket:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", look_up)


def test_a_car_tells_that_the_name_is_not_found_and_tries_again(nameless: None) -> None:
    with running(settings(9091, host="race.exmple.org")) as rig:
        rig.wait(lambda _: any(level == "warning" for level, _ in rig.board.said))
        (said,) = [text for level, text in rig.board.said if level == "warning"]
        assert said.startswith("The host 'race.exmple.org' cannot be found")
        assert said.endswith("The car tries again.")
        assert rig.car.failure is None


def test_a_car_whose_hosts_name_is_not_found_is_out_and_stays_shown(
    nameless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_contact, "NAME_S", 0.0)
    with running(settings(9091, host="race.exmple.org")) as rig:
        status = rig.wait(lambda status: status.phase == "out")
        assert isinstance(rig.car.failure, InputError)
        assert status.reason == str(rig.car.failure)
        rig.board.status = None
        rig.wait(lambda status: rig.board.status is not None)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each attempt to connect."""
    made: list[str] = []
    connect = RaceLink.open

    def count(link: RaceLink) -> None:
        made.append(link.guid)
        connect(link)

    monkeypatch.setattr(RaceLink, "open", count)
    return made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_go_given_without_a_host_holds_over_failed_attempts(
    attempts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race_state, "FRESH_S", 3600.0)
    port = free_port()
    with running(settings(port, start="race_start")) as rig:
        rig.car.order(Go("page"))
        given = len(attempts)
        rig.wait(lambda status: len(attempts) > given + 2)
        with FrameHost(port):
            rig.wait(lambda status: status.phase == "driving" and status.throttle > 0.0)


def test_go_that_is_too_old_when_the_host_comes_is_void_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(race_state, "FRESH_S", 0.0)
    port = free_port()
    with running(settings(port, start="race_start")) as rig:
        rig.car.order(Go("page"))
        rig.wait(lambda _: any(text.endswith("Give it again.") for _, text in rig.board.said))
        assert rig.car.status.faults["late GO"] == 1
        with FrameHost(port):
            rig.wait(lambda status: status.phase == "ready" and status.frames > 10)
            assert rig.tape.moves() == []
            rig.car.order(Go("page"))
            rig.wait(lambda status: status.phase == "driving")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("scene_selection_ready", "the host went to its menu"),
        ("race_stop", "the host said race_stop"),
    ],
)
def test_go_that_the_host_ends_before_there_is_a_car_is_void_and_told(
    monkeypatch: pytest.MonkeyPatch, end: str, why: str
) -> None:
    monkeypatch.setattr(race_state, "FRESH_S", 3600.0)
    port = free_port()
    with running(settings(port, start="race_start")) as rig:
        rig.car.order(Go("page"))
        with FrameHost(port, greeting=(end, "car_loaded")):
            rig.wait(lambda status: status.phase == "ready" and status.frames > 10)
            assert rig.tape.moves() == []
            told = [text for level, text in rig.board.said if level == "warning" and why in text]
            assert told == [
                f"GO by page is void: {why} before there was a car. "
                "Give it again once the car is ready."
            ]
            rig.car.order(Go("page"))
            rig.wait(lambda status: status.phase == "driving")


def test_pages_and_people_know_each_phase() -> None:
    panels = (ROOT / "race_server" / "page" / "static" / "panels.js").read_text(encoding="utf-8")
    shown = panels.partition("PHASES = {")[2].partition("};")[0]
    assert set(re.findall(r"(\w+): \[", shown)) == set(get_args(Phase))
    page = (ROOT / "docs" / "race_server.md").read_text(encoding="utf-8")
    assert [each for each in get_args(Phase) if f"| `{each}` |" not in page] == []


def test_monitors_are_told_of_a_car_that_is_out() -> None:
    view = CarView()
    status = CarStatus("a", "b:1", "out", "It fits not.")
    view.take(messages.as_json({"at": 10.0, "status": status}), b"")
    is_well, told = monitoring.health({"a": view}, 10.0)
    assert not is_well
    assert told["problems"] == ["a is out of the race: It fits not."]
