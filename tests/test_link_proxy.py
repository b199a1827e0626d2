"""The link of a rehearsal: late, lossy, silent, glued, broken, and seen through."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.decoder import StreamDecoder
from donkey_rl.envs.link.link import SimulatorLink
from donkey_rl.errors import LinkClosed
from donkey_rl.race_server.rehearsal.link_conditions import LinkConditions, Way
from donkey_rl.race_server.rehearsal.link_proxy import LinkProxy
from tests.scripted_simulator import ScriptedSimulator

DEADLINE_S = 60.0
CALM = LinkConditions()


@pytest.fixture
def simulator() -> Iterator[ScriptedSimulator]:
    with ScriptedSimulator() as found:
        yield found


def driven(port: int, **settings: float) -> SimulatorLink:
    return SimulatorLink(LinkConfig(port=port, config_spacing_s=0.005, **settings))


class Racer:
    """A bare connection by way of a link."""

    def __init__(self, port: int) -> None:
        self.link = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)

    def __enter__(self) -> Racer:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def control(self, throttle: float) -> None:
        fields = {"msg_type": "control", "steering": "0", "throttle": str(throttle), "brake": "0"}
        self.link.sendall(json.dumps(fields).encode())

    def receive(self, count: int) -> bytes:
        """What comes until it holds so many ends of lines."""
        found = b""
        while found.count(b"\n") < count:
            data = self.link.recv(1 << 16)
            if not data:
                raise EOFError
            found += data
        return found


def test_a_drive_passes_unchanged_and_is_seen(simulator: ScriptedSimulator) -> None:
    with LinkProxy(simulator.port, CALM) as proxy, driven(proxy.port) as link:
        simulator.settle(link)
        for k in range(1, 6):
            link.control(k / 10, 0.5)
            frame = link.next_frame()
        assert frame.telemetry.steering == 0.5
    seen = proxy.sightings
    moving = [each for each in seen.commands if each.moves]
    assert [each.steering for each in moving] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert frame.telemetry.time in [each.time_s for each in seen.frames]
    assert all(each.whole for each in seen.frames)
    kinds = [each.kind for each in seen.events]
    assert kinds[0] == "opened"
    assert "car_loaded" in kinds
    assert kinds[-1] == "closed"


def test_messages_are_late_and_stay_in_order(simulator: ScriptedSimulator) -> None:
    conditions = LinkConditions(latency_ms=120.0, jitter_ms=80.0)
    with LinkProxy(simulator.port, conditions, seed=3) as proxy, Racer(proxy.port) as racer:
        racer.receive(1)
        began = time.monotonic()
        for _ in range(20):
            racer.control(0.5)
        lines = racer.receive(20).splitlines()
    times = [json.loads(line)["time"] for line in lines]
    assert times == sorted(times)
    waits = [each.at - began for each in proxy.sightings.frames]
    # 60 ms each way, and the latest of twenty holds up all behind it.
    assert 0.04 < waits[0] < DEADLINE_S
    assert waits[-1] > 0.1


def test_losses_are_drawn_from_the_seed_and_counted(simulator: ScriptedSimulator) -> None:
    counts = []
    for seed in (1, 1, 2):
        with (
            LinkProxy(simulator.port, LinkConditions(loss=0.3), seed) as proxy,
            Racer(proxy.port) as racer,
        ):
            racer.receive(1)
            for _ in range(60):
                racer.control(0.5)
                time.sleep(0.002)
            end = time.monotonic() + DEADLINE_S
            lost = proxy.sightings.lost
            while len(proxy.sightings.frames) + sum(lost.values()) < 60 and time.monotonic() < end:
                time.sleep(0.01)
            assert len(proxy.sightings.frames) + sum(lost.values()) == 60
            counts.append(lost.get("control", 0))
    assert all(2 < each < 45 for each in counts)


def test_glued_messages_come_in_one_piece(simulator: ScriptedSimulator) -> None:
    with LinkProxy(simulator.port, CALM) as proxy, Racer(proxy.port) as racer:
        racer.receive(1)
        proxy.glue(10.0)
        for _ in range(12):
            racer.control(0.5)
            time.sleep(0.01)
        received = racer.receive(2)
        assert b"}{" in received


def test_broken_messages_run_into_the_next(simulator: ScriptedSimulator) -> None:
    with LinkProxy(simulator.port, CALM, seed=2) as proxy, Racer(proxy.port) as racer:
        decoder = StreamDecoder()
        decoder.feed(racer.receive(1))
        for _ in range(8):
            proxy.break_messages(("down",), 1)
            racer.control(0.5)
            racer.control(0.5)
            # The end of the broken one is lost with its newline.
            (told,) = decoder.feed(racer.receive(1))
            assert told["msg_type"] == "telemetry"
        assert decoder.dropped.total() == 8
        assert [each.whole for each in proxy.sightings.frames] == [False, True] * 8
        proxy.break_messages(("down", "up"), 5)
        assert proxy.undone == 5
        proxy.calm()
        racer.control(0.5)
        assert len(decoder.feed(racer.receive(1))) == 1


def test_nan_is_put_into_telemetry(simulator: ScriptedSimulator) -> None:
    with LinkProxy(simulator.port, CALM, seed=1) as proxy, Racer(proxy.port) as racer:
        racer.receive(1)
        proxy.poison(4)
        for _ in range(5):
            racer.control(0.5)
            time.sleep(0.005)
        lines = racer.receive(5).splitlines()
    assert all(b"NaN" in line for line in lines[:4])
    assert b"NaN" not in lines[4]
    assert [each.whole for each in proxy.sightings.frames] == [False] * 4 + [True]


@pytest.mark.parametrize("ways", [("down",), ("up",), ("down", "up")])
def test_silence_ends_and_what_was_held_back_comes(
    simulator: ScriptedSimulator,
    ways: tuple[Way, ...],
) -> None:
    with LinkProxy(simulator.port, CALM) as proxy, Racer(proxy.port) as racer:
        racer.receive(1)
        for _ in range(10):
            before = len(proxy.sightings.commands)
            began = proxy.silence(ways, 0.5)
            racer.control(0.5)
            received = racer.receive(1)
            assert b"telemetry" in received
            assert time.monotonic() - began >= 0.45
            # Commands are seen when they were sent, though nothing gets through; on a machine that
            # does not hold the sender up.
            if proxy.sightings.commands[before].at - began < 0.4:
                break
        else:
            pytest.fail("commands are seen too late")


def test_a_connection_waits_for_the_end_of_silence(simulator: ScriptedSimulator) -> None:
    with LinkProxy(simulator.port, CALM) as proxy:
        began = proxy.silence(("down", "up"), 0.4)
        with Racer(proxy.port) as racer:
            racer.receive(1)
        assert time.monotonic() - began >= 0.35


@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_connection_is_made_anew(simulator: ScriptedSimulator, reset: bool) -> None:
    with LinkProxy(simulator.port, CALM) as proxy, driven(proxy.port) as link:
        simulator.settle(link)
        link.control(0.1, 0.5)
        link.next_frame()
        proxy.cut(reset=reset)
        with pytest.raises(LinkClosed):
            link.next_frame()
        link.reconnect()
        link.control(0.2, 0.5)
        # What answers the setting up may come after it.
        while link.next_frame().telemetry.steering != 0.2:
            pass
        opened = [each for each in proxy.sightings.events if each.kind == "opened"]
        assert len(opened) == 2
        assert simulator.connections == 2


def test_who_connects_while_there_is_no_host_is_turned_away() -> None:
    # Held, so that nobody else gets it, and not listened at.
    with socket.socket() as holder, contextlib.ExitStack() as opened:
        holder.bind(("127.0.0.1", 0))
        proxy = opened.enter_context(LinkProxy(holder.getsockname()[1], CALM))
        with pytest.raises((EOFError, ConnectionError)), Racer(proxy.port) as racer:
            racer.receive(1)
        assert not [each for each in proxy.sightings.events if each.kind == "opened"]


def test_a_machine_on_which_nobody_listens_refuses(simulator: ScriptedSimulator) -> None:
    with LinkProxy(simulator.port, CALM) as proxy:
        port = proxy.port
        proxy.listen(on=False)
        with pytest.raises(ConnectionRefusedError):
            Racer(port)
        proxy.listen(on=True)
        with Racer(port) as racer:
            racer.receive(1)


def test_the_end_of_a_host_reaches_the_racer(simulator: ScriptedSimulator) -> None:
    with LinkProxy(simulator.port, CALM) as proxy, Racer(proxy.port) as racer:
        racer.receive(1)
        simulator.hang_up()
        with pytest.raises((EOFError, ConnectionError)):
            racer.receive(1)
