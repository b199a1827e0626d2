"""A race car at the served simulator: menu, referee, cameras, and a wire that takes nothing."""

from __future__ import annotations

import socket
import time

import pytest

from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.race_link import RaceLink
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.errors import LinkError, LinkTimeout, UnknownNameError
from donkey_rl.race_server.orders import ChangeDriver, Go
from donkey_rl.race_server.status import CarStatus
from tests.frame_host import FrameHost
from tests.plain_client import PlainClient
from tests.race_cars import DEADLINE_S, FakeSeat, ahead, observation, running, settings
from tests.scripted_simulator import picture
from tests.test_served_race import Starter, race

SMALL = {"img_w": 64, "img_h": 48}


def drives(status: CarStatus) -> bool:
    return status.phase == "driving" and status.throttle > 0.0


def test_a_referees_car_waits_for_its_race_start_and_stops_when_it_is_disqualified() -> None:
    referee = Starter()
    referee.may_start.set()
    with race(referee) as server, running(settings(server.port, start="race_start")) as rig:
        status = rig.wait(lambda status: status.disqualified)
        rig.wait(lambda status: not status.go)
        first = rig.tape.moves()[0][0]
        started = next(
            at
            for at, kind, fields in rig.tape.lines
            if kind == "event" and fields["name"] == "race_start"
        )
        assert started <= first
        assert referee.said[0].guid == "a-guid"
        assert status.disconnects == 0


def test_the_menu_loads_the_scene_and_a_driver_with_another_camera_takes_over() -> None:
    seat = FakeSeat(ahead, ahead)
    seat.described[1] = seat.described[1].model_copy(update={"camera": SMALL})
    seat.sees[1] = observation(48, 64)
    config = ServerConfig(port=0, private_port=None)
    with background.running(config) as server:
        wanted = settings(server.port, scene="generated_track", start="drive")
        with running(wanted, seat) as rig:
            rig.wait(lambda status: status.phase == "ready")
            rig.car.order(ChangeDriver("page", "driver 1"))
            rig.wait(lambda status: status.driver == "driver 1")
            rig.car.order(Go("page"))
            rig.wait(lambda status: status.phase == "driving" and status.throttle > 0.0)
            assert {seen["image"].shape for seen in seat.seen} == {(48, 64, 3)}
            assert rig.car.status.disconnects == 0
            rig.wait(lambda status: status.latency.frame_to_command_ms is not None)


def test_a_car_waits_in_the_menu_until_the_organiser_opens_a_scene() -> None:
    config = ServerConfig(port=0, private_port=None)
    with background.running(config) as server, running(settings(server.port)) as rig:
        status = rig.wait(lambda status: "menu" in status.reason)
        assert (status.phase, rig.car.failure) == ("waiting", None)
        rig.wait(lambda _: any("--set scene=NAME" in text for _, text in rig.board.said))
        with PlainClient(server.port) as organiser:
            organiser.until("scene_selection_ready")
            organiser.send("load_scene", scene_name="generated_track")
            status = rig.wait(lambda status: status.phase == "driving", 60.0)
        assert status.disconnects == 0


def test_a_car_in_the_menu_can_be_stopped() -> None:
    config = ServerConfig(port=0, private_port=None)
    with background.running(config) as server, running(settings(server.port)) as rig:
        rig.wait(lambda status: "menu" in status.reason)
    # Its loop has ended with the block.
    assert rig.tape.of("link")[-1]["reason"] == "the race has ended"


def test_a_scene_that_the_host_does_not_have_is_said_with_the_nearest() -> None:
    config = ServerConfig(port=0, private_port=None)
    with (
        background.running(config) as server,
        running(settings(server.port, scene="generated_trak")) as rig,
    ):
        rig.wait(lambda status: rig.car.failure is not None)
        assert isinstance(rig.car.failure, UnknownNameError)
        assert rig.car.failure.nearest == "generated_track"


def test_a_host_that_takes_no_byte_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        link = RaceLink(LinkConfig(port=listener.getsockname()[1], answer_timeout_s=0.3))
        link.open()
        peer, _ = listener.accept()
        with peer:
            begun = time.monotonic()
            sent: list[int] = []

            def send() -> None:
                while time.monotonic() - begun < DEADLINE_S:
                    link.control(0.0, 1.0, 0.0)
                    sent.append(1)

            with pytest.raises(LinkTimeout):
                send()
            # Commands that nobody has read cannot pile up: some seconds of them at 20 Hz.
            assert len(sent) < 1000
            with pytest.raises(LinkError):
                link.poll(1.0)
        link.close()


def test_a_host_that_takes_no_byte_is_left_for_another_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("donkey_rl.envs.link.transport._SEND_BUFFER", 1024)
    monkeypatch.setattr("donkey_rl.race_server.fitting._ANSWER_S", 0.3)
    wanted = {"frame_s": 0.5, "keep_alive_s": 0.02}
    with FrameHost() as host, running(settings(host.port, watchdog=wanted)) as rig:
        rig.wait(drives)
        host.reading.clear()
        rig.wait(lambda _: any(each["state"] == "lost" for each in rig.tape.of("link")))
        lost = [each["reason"] for each in rig.tape.of("link") if each["state"] == "lost"]
        assert "has taken no byte for 0.3 s" in lost[0]
        host.reading.set()
        rig.wait(drives)
        assert rig.car.failure is None


def test_whoever_understands_nothing_more_still_brakes() -> None:
    with FrameHost() as host, running(settings(host.port)) as rig:
        rig.wait(drives)
        # The next connection says nothing, so that nothing is sent on it.
        host.greeting = ()
        host.flowing.clear()
        host.send_bytes(b'}{"a":1}\n' * 200)
        rig.wait(lambda status: status.disconnects == 1)
        end = time.monotonic() + DEADLINE_S
        while host.controls()[-1][3] != 1.0 and time.monotonic() < end:
            time.sleep(0.01)
        assert host.controls()[-1][1:] == (0.0, 0.0, 1.0)


def test_pictures_of_another_size_are_asked_for_again_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("donkey_rl.envs.link.race_link._AGAIN_S", 0.3)
    monkeypatch.setattr("donkey_rl.envs.link.race_link._USELESS_S", 3600.0)
    with FrameHost() as host:
        # The car is there, and its camera stays as it is.
        host.changed["image"] = picture(64, 48)
        with running(settings(host.port, start="drive")) as rig:
            rig.wait(lambda _: host.types().count("cam_config") >= 2)
            monkeypatch.setattr("donkey_rl.envs.link.race_link._USELESS_S", 1.0)
            rig.wait(lambda _: any("64 x 48" in text for _, text in rig.board.said))
            lost = next(text for kind, text in rig.board.said if "64 x 48" in text)
            assert "160 x 120 were asked for" in lost
            status = rig.wait(lambda status: status.disconnects >= 1)
            assert status.frames == 0
            assert host.moves() == []
