"""The client's end: life cycle, reset barrier, frames, failures, reconnection."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from donkey_rl.envs.link import life_cycle, reports, setup_messages, transport
from donkey_rl.envs.link import link as links
from donkey_rl.envs.link.config import LinkConfig, Racer
from donkey_rl.envs.link.link import SimulatorLink
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import (
    LinkClosed,
    LinkProtocolError,
    LinkRefused,
    LinkTimeout,
    UnknownNameError,
)
from tests.process_counts import link_threads
from tests.scripted_simulator import ScriptedSimulator, picture


def config(port: int, **other: Any) -> LinkConfig:
    # The scripted simulator cuts messages apart, so pauses are short; silence is not tested with
    # short times where the machine may be busy.
    return LinkConfig(**{"port": port, "config_spacing_s": 0.02} | other)


@contextlib.contextmanager
def driven(simulator: ScriptedSimulator, **other: Any) -> Iterator[SimulatorLink]:
    """A connection to which all has come that was asked for."""
    with SimulatorLink(config(simulator.port, **other)) as link:
        simulator.settle(link)
        yield link


def test_a_running_scene_is_configured_and_gives_frames() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        link.control(0.25, 1.0)
        frame = link.next_frame()
        assert frame.telemetry.position == (1.0, 0.1, 0.0)
        assert frame.image.shape == (120, 160, 3)
        assert tuple(frame.image[0, 0]) == (10, 200, 30)
        assert simulator.types()[:3] == ["control", "car_config", "cam_config"]
        assert simulator.received[0]["brake"] == "1"


def test_a_menu_is_left_for_the_wanted_scene() -> None:
    with (
        ScriptedSimulator(greeting="scene_selection_ready", scenes=("one", "two")) as simulator,
        SimulatorLink(config(simulator.port, scene="two")) as link,
    ):
        assert link.scene_names() == ("one", "two")
        assert simulator.received[1] == {"msg_type": "load_scene", "scene_name": "two"}


@pytest.mark.parametrize(
    ("scene", "error", "text"),
    [("tow", UnknownNameError, "'two'"), (None, LinkProtocolError, "one of: one, two")],
)
def test_a_scene_that_cannot_be_loaded_ends_with_its_remedy(
    scene: str | None, error: type[Exception], text: str
) -> None:
    with ScriptedSimulator(greeting="scene_selection_ready", scenes=("one", "two")) as simulator:
        link = SimulatorLink(config(simulator.port, scene=scene))
        with pytest.raises(error, match=text):
            link.open()


def test_a_race_host_learns_who_drives_and_the_guid_survives_a_reconnection() -> None:
    with (
        ScriptedSimulator(greeting="need_car_config") as simulator,
        SimulatorLink(config(simulator.port, racer=Racer(name="Ada"))) as link,
    ):
        simulator.hang_up()
        link.reconnect()
        infos = [each for each in simulator.received if each["msg_type"] == "racer_info"]
        assert len(infos) == 2
        assert infos[0] == infos[1]
        assert infos[0]["racer_name"] == "Ada"
        assert infos[0]["guid"] == link.guid != ""
        assert link.statistics().reconnects == 1


def test_reset_never_returns_what_was_under_way() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        for _ in range(3):
            link.control(0.0, 1.0)
            link.next_frame()
        simulator.stale = 5  # telemetry of the old place, with a hit, after reset_car is sent
        frame = link.reset()
        assert frame.telemetry.position == (0.0, 0.1, 0.0)
        assert frame.telemetry.speed == 0.0
        assert frame.hit == "none"
        # The command after it may still be under way.
        ends = time.monotonic() + 60.0
        while simulator.types()[-1] == "reset_car" and time.monotonic() < ends:
            time.sleep(0.01)
        kinds = simulator.types()
        at = kinds.index("reset_car")
        assert kinds[at - 1] == kinds[at + 1] == "control"
        assert simulator.received[at - 1]["brake"] == simulator.received[at + 1]["brake"] == "1"


@pytest.mark.usefixtures("unhurried")
def test_in_lock_step_each_command_gets_its_own_answer_after_a_reset() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        for _ in range(3):
            link.reset()
            for k in range(1, 6):
                link.control(k / 10, 1.0)
                frame = link.next_frame()
                assert frame.telemetry.steering == pytest.approx(k / 10)


@pytest.mark.usefixtures("unhurried")
def test_in_lock_step_late_answers_to_a_reset_are_waited_for() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        simulator.delay_s = 0.1  # Pauses between messages are of 0.02 s.
        link.reset()
        for k in range(1, 4):
            link.control(k / 10, 1.0)
            assert link.next_frame().telemetry.steering == pytest.approx(k / 10)


def test_a_car_that_does_not_get_back_ends_the_wait_and_says_where_it_is() -> None:
    with (
        ScriptedSimulator() as simulator,
        SimulatorLink(config(simulator.port, reset_timeout_s=2.0)) as link,
    ):
        simulator.stale = 1
        simulator.telemetry = lambda **_: ScriptedSimulator.telemetry(simulator, pos_x=9.0)
        with pytest.raises(LinkTimeout, match=r"place \(9\.0"):
            link.reset()


def test_messages_passed_over_are_counted_and_their_hits_kept() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        before = link.statistics().frames
        simulator.telemetry(hit="cone (1)")
        simulator.telemetry(hit="wall")
        simulator.say(msg_type="collision_with_starting_line", starting_line_index=0, timeStamp=4)
        simulator.telemetry()
        wait_until_frames(link, before + 3)
        frame = link.next_frame()
        assert frame.hits == ("cone (1)", "wall")
        assert frame.hit == "cone (1)"
        assert frame.skipped >= 2
        assert reports.StartingLine(0, 4.0) in link.events()
        assert link.events() == ()


def wait_until_frames(link: SimulatorLink, count: int) -> None:
    ends = time.monotonic() + 60.0
    while link.statistics().frames < count:
        assert time.monotonic() < ends, f"{count} frames did not come"
        time.sleep(0.005)


def test_a_frame_from_before_the_command_is_not_its_answer() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        before = link.statistics().frames
        simulator.telemetry()
        wait_until_frames(link, before + 1)
        link.control(0.5, 0.0, 1.0)
        assert link.next_frame().telemetry.steering == 0.5


def test_round_trip_is_measured_by_the_echo() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        for k in range(1, 4):
            link.control(k / 10, 0.2)
            link.next_frame()
        found = link.statistics()
        assert found.round_trip_s is not None
        assert 0.0 < found.round_trip_s < 5.0
        assert found.simulated_interval_s == pytest.approx(0.05)


def test_a_new_car_is_configured_again() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        simulator.say(msg_type="car_loaded")
        simulator.telemetry()
        assert link.next_frame().image.shape == (120, 160, 3)
        link.control(0.0, 0.0)
        link.next_frame()
        assert simulator.types().count("cam_config") == 2


def test_another_size_names_both() -> None:
    with ScriptedSimulator() as simulator:
        wanted = config(
            simulator.port, camera=CameraConfig(img_w=64, img_h=48), answer_timeout_s=2.0
        )
        with pytest.raises(LinkProtocolError, match=r"160 x 120 pixels, 64 x 48"):
            SimulatorLink(wanted).open()


def test_pictures_that_cannot_be_read_are_passed_over_then_end_it() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        good, simulator.image = simulator.image, picture()[:40]
        before = link.statistics().frames
        simulator.telemetry()
        wait_until_frames(link, before + 1)
        with pytest.raises(LinkTimeout):
            link.next_frame(0.0)
        simulator.image = good
        simulator.telemetry()
        assert link.next_frame().image.shape == (120, 160, 3)
        assert link.statistics().dropped["telemetry: image"] == 1


def test_nodes_are_answered_or_none() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        with pytest.MonkeyPatch.context() as patient:
            patient.setattr(links, "_NODE_S", 60.0)
            assert link.node_position(2) == reports.NodePosition(2, (2.0, 0.0, 2.0))
        assert link.node_position(3) is None


def test_all_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, float]] = []

    def silent(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append((address[0], timeout))
        raise TimeoutError("timed out")

    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    found = [(*kind, ("192.0.2.1", 1)), (*kind, ("192.0.2.2", 1))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", silent)
    monkeypatch.setattr(transport, "time", types.SimpleNamespace(perf_counter=lambda: 100.0))
    with pytest.raises(TimeoutError):
        transport.connect("two.example", 1, 1.0, lambda attempt: 2.0)
    assert tried == [("192.0.2.1", 0.5), ("192.0.2.2", 1.0)]


def test_a_slow_name_server_takes_nothing_from_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []
    now = [100.0]

    def looked_up(*_: object, **__: object) -> list[object]:
        now[0] += 0.3
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 1))]

    def silent(_: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket, "create_connection", silent)
    monkeypatch.setattr(transport, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    with pytest.raises(TimeoutError):
        transport.connect("slow.example", 1, 0.2, lambda attempt: 2.0)
    assert tried == [pytest.approx(0.2)]


def test_nobody_there_is_refused_with_the_address() -> None:
    with socket.socket() as holder:
        # Held, so that nobody else gets it, and not listened at.
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        with pytest.raises(LinkRefused, match=f"127.0.0.1:{port}"):
            SimulatorLink(config(port, connect_timeout_s=0.3)).open()


def test_an_orderly_close_reaches_who_waits() -> None:
    with ScriptedSimulator() as simulator, driven(simulator) as link:
        simulator.hang_up()
        with pytest.raises(LinkClosed, match="awaited: telemetry") as caught:
            link.next_frame()
        assert caught.value.port == simulator.port


def test_a_silent_peer_is_noticed() -> None:
    with (
        ScriptedSimulator() as simulator,
        driven(simulator) as link,
    ):
        simulator.answers = False
        assert link._session is not None
        link._session.inbox._silence = 0.5
        with pytest.raises(LinkTimeout, match="has sent nothing for"):
            link.next_frame(30.0)


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"{x}\n" * 2000])
def test_another_protocol_is_named_as_such(data: bytes) -> None:
    with ScriptedSimulator(greeting="") as simulator:
        simulator.answers = False
        link = SimulatorLink(config(simulator.port, answer_timeout_s=5.0))
        talking = threading.Thread(target=send_when_connected, args=(simulator, data))
        talking.start()
        with pytest.raises(LinkProtocolError, match="without a message"):
            link.open()
        talking.join()


def send_when_connected(simulator: ScriptedSimulator, data: bytes) -> None:
    ends = time.monotonic() + 60.0
    while simulator.client is None and time.monotonic() < ends:
        time.sleep(0.005)
    assert simulator.client is not None
    simulator.client.sendall(data)


def test_a_lost_connection_is_made_anew_where_that_is_wanted() -> None:
    with (
        ScriptedSimulator() as simulator,
        SimulatorLink(config(simulator.port, reconnect_attempts=3)) as link,
    ):
        link.control(0.0, 1.0)
        link.next_frame()
        simulator.hang_up()
        frame = link.next_frame()
        while not frame.reconnected:  # the last frames before the end may still come
            frame = link.next_frame()
        assert simulator.connections == 2
        assert frame.telemetry.position == (0.0, 0.1, 0.0)


def test_close_leaves_no_thread_and_may_be_repeated() -> None:
    with ScriptedSimulator() as simulator:
        link = SimulatorLink(config(simulator.port))
        link.open()
        assert len(link_threads()) == 1
        link.close()
        link.close()
        assert link_threads() == []
        with pytest.raises(LinkClosed):
            link.control(0.0, 0.0)


def test_a_level_camera_is_written_so_that_it_becomes_level() -> None:
    # All three angles 0 would leave the simulator's 15 degrees.
    level = LinkConfig(camera=CameraConfig(rot_x=0.0))
    written = setup_messages.cameras(level)[0]
    assert 0.0 < written.rot_x < 0.001
    turned = LinkConfig(camera=CameraConfig(rot_x=0.0, rot_y=5.0))
    assert setup_messages.cameras(turned)[0].rot_x == 0.0


def test_at_the_start_counts_in_the_units_of_the_generation() -> None:
    # 0.5 from the start: 4 units for a car of 2022, half a unit for one of 2021.
    new = reports.Telemetry("", 0.0, 0.0, position=(0.5, 0.0, 0.0), angles=(0.0, 0.0, 0.0))
    old = reports.Telemetry("", 0.0, 0.0, position=(0.5, 0.0, 0.0))
    assert not life_cycle.is_at_start(new, (0.0, 0.0, 0.0))
    assert life_cycle.is_at_start(old, (0.0, 0.0, 0.0))
