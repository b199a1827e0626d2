"""A race car against hosts that do what real ones do, and what they should not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import pytest

from donkey_rl.envs.link import reports
from donkey_rl.errors import DriverError, LinkProtocolError
from donkey_rl.race_server import helm, reporting
from donkey_rl.race_server.config import RecoveryConfig
from donkey_rl.race_server.helm import Helm
from donkey_rl.race_server.interface import Answer
from donkey_rl.race_server.orders import Brake, ChangeDriver, Go, Stop
from donkey_rl.race_server.status import CarStatus
from tests.frame_host import FrameHost
from tests.race_cars import FULL_AHEAD, FakeSeat, Rig, ahead, running, settings

BACK_S = 30.0
"""Within so long a car is back on track once its host is reachable."""

BRAKED_S = 0.2
LOADED_S = 0.5
"""What a loaded machine may add."""


def failing(seen: Mapping[str, npt.NDArray[Any]]) -> Answer:
    return Answer(None, "late", 0.04)


def drives(status: CarStatus) -> bool:
    return status.phase == "driving" and status.throttle > 0.0


def driving(rig: Rig) -> None:
    rig.wait(drives)


def test_a_car_introduces_itself_waits_for_go_and_brakes_when_it_is_over() -> None:
    with (
        FrameHost(greeting=("need_car_config",)) as host,
        running(settings(host.port, start="race_start", racer_name="Ada")) as rig,
    ):
        rig.wait(lambda status: status.phase == "waiting" and len(host.types()) >= 4)
        assert host.types()[:4] == ["control", "racer_info", "car_config", "cam_config"]
        info = host.received[1][1]
        assert (info["racer_name"], info["guid"]) == ("Ada", "a-guid")
        host.give_car()
        status = rig.wait(lambda status: status.phase == "ready" and status.frames > 10)
        assert "race_start" in status.reason
        assert rig.tape.moves() == []
        host.say(msg_type="race_start")
        driving(rig)
        host.say(msg_type="cross_start", lap_time="0")
        host.say(msg_type="cross_start", lap_time="18.25")
        assert rig.wait(lambda status: bool(status.laps_s)).best_lap_s == 18.25
        host.say(msg_type="race_stop")
        rig.wait(lambda status: not status.go)
        moved = len(rig.tape.moves())
        time.sleep(0.2)
        assert len(rig.tape.moves()) == moved
        rig.wait(lambda _: host.controls()[-1][3] == 1.0)
        assert len(host.moves()) == moved
        rig.wait(lambda _: len(rig.tape.of("event")) >= 6)
        said = "need_car_config car_loaded race_start cross_start cross_start race_stop"
        assert [each["name"] for each in rig.tape.of("event")] == said.split()


def test_orders_brake_at_once_and_go_always_works() -> None:
    with FrameHost() as host, running(settings(host.port, start="drive")) as rig:
        rig.wait(lambda status: status.phase == "ready")
        host.say(msg_type="race_start")
        time.sleep(0.2)
        assert rig.tape.moves() == []
        rig.car.order(Go("drive"))
        driving(rig)
        rig.car.order(Brake("page", True))
        braked = time.monotonic()
        rig.wait(lambda status: status.phase == "stopping" and "page" in status.reason)
        time.sleep(0.1)
        assert [at for at, _ in rig.tape.moves() if at > braked] == []
        rig.car.order(Brake("page", False))
        driving(rig)
        rig.car.order(Stop("page"))
        stopped = time.monotonic()
        time.sleep(0.1)
        assert [at for at, _ in rig.tape.moves() if at > stopped] == []
        assert not rig.car.status.go
        kinds = [each["order"] for each in rig.tape.of("order")]
        assert kinds == ["go", "brake", "brake", "stop"]


def test_a_car_is_braked_when_frames_stop_and_drives_on_when_they_come() -> None:
    with FrameHost() as host, running(settings(host.port, watchdog={})) as rig:
        driving(rig)
        host.flowing.clear()
        time.sleep(0.05)
        last = host.sent[-1]
        time.sleep(1.5)
        brakes = [at for at, _, throttle, brake in host.controls() if brake == 1.0 and at > last]
        assert brakes[0] - last < BRAKED_S + LOADED_S
        assert host.moves(brakes[0]) == []
        assert rig.car.status.phase == "waiting"
        host.flowing.set()
        driving(rig)
        assert rig.car.status.disconnects == 0


def test_a_car_is_braked_before_it_is_given_up_where_the_watchdog_is_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Helm, "_due", lambda self: helm._FOREVER)
    with FrameHost() as host, running(settings(host.port)) as rig:
        driving(rig)
        host.flowing.clear()
        rig.wait(lambda status: status.phase == "waiting")
        rig.wait(lambda _: host.controls()[-1][3] == 1.0)
        assert rig.tape.of("command")[-1]["why"] == "order"


@pytest.mark.parametrize("orderly", [True, False])
def test_a_lost_connection_is_made_anew_with_the_same_identity(orderly: bool) -> None:
    with FrameHost(greeting=("need_car_config", "car_loaded")) as host:
        config = settings(host.port, guid="")
        with running(config) as rig:
            driving(rig)
            if orderly:
                host.hang_up()
                begun = time.monotonic()
                rig.wait(lambda status: status.disconnects == 1)
            else:
                port = host.port
                host.__exit__(None, None, None)
                rig.wait(lambda status: status.phase == "connecting")
                time.sleep(1.0)
                host = FrameHost(port, greeting=("need_car_config", "car_loaded")).__enter__()
                begun = time.monotonic()
            rig.wait(drives, BACK_S)
            assert time.monotonic() - begun < BACK_S
            names = [each for _, each in host.received if each["msg_type"] == "racer_info"]
            assert len({each["guid"] for each in names}) == 1
            assert names[0]["guid"]
        host.__exit__(None, None, None)


def test_an_error_of_this_program_brakes_before_the_connection_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell = reporting.event_fields

    def fail(report: reports.Report) -> dict[str, Any]:
        if isinstance(report, reports.CrossStart):
            raise ZeroDivisionError
        return tell(report)

    monkeypatch.setattr(reporting, "event_fields", fail)
    with FrameHost() as host, running(settings(host.port)) as rig:
        driving(rig)
        # The next connection says nothing, so that nothing is sent on it.
        host.greeting = ()
        host.say(msg_type="cross_start", lap_time="0")
        rig.wait(lambda status: status.disconnects == 1)
        end = time.monotonic() + BACK_S
        while host.controls()[-1][3] != 1.0 and time.monotonic() < end:
            time.sleep(0.01)
        assert host.controls()[-1][1:] == (0.0, 0.0, 1.0)


def test_a_host_that_was_started_anew_has_not_said_go() -> None:
    with FrameHost() as host:
        port = host.port
        with running(settings(port, start="race_start")) as rig:
            rig.wait(lambda status: status.phase == "ready")
            host.say(msg_type="race_start")
            driving(rig)
            host.__exit__(None, None, None)
            with FrameHost(port) as other:
                rig.wait(lambda status: status.phase == "ready")
                time.sleep(0.3)
                assert other.moves() == []
                other.say(msg_type="race_start")
                driving(rig)


def test_an_order_in_practice_holds_for_the_host_that_goes_on_alone() -> None:
    with FrameHost() as host:
        # Its clock has run for long.
        host._began -= 500.0
        port = host.port
        with running(settings(port, start="race_start")) as rig:
            rig.wait(lambda status: status.phase == "ready")
            rig.car.order(Go("page"))
            driving(rig)
            # How fast the host's clock runs is known after a second.
            rig.wait(lambda _: rig.car._gate.clock is not None)
            host.hang_up()
            rig.wait(lambda status: status.disconnects == 1)
            driving(rig)
            host.__exit__(None, None, None)
            with FrameHost(port) as other:
                rig.wait(lambda status: status.phase == "ready")
                time.sleep(0.3)
                assert other.moves() == []


def test_a_silent_connection_is_left_for_another_one() -> None:
    with FrameHost() as host, running(settings(host.port)) as rig:
        driving(rig)
        host.take_car()
        rig.wait(lambda status: status.phase == "waiting")
        assert rig.car._link is not None
        session = rig.car._link._session
        assert session is not None
        # Signs of life keep a connection without a car.
        heard = session.inbox._last_byte
        host.send_bytes(b"{}\n")
        rig.wait(lambda _: session.inbox._last_byte > heard)
        assert rig.car.status.disconnects == 0
        session.inbox._silence = 1.0
        rig.wait(lambda status: status.disconnects == 1)
        rig.wait(drives, BACK_S)


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        ({"speed": 1e7}, "frame: absurd speed"),
        ({"time": 1e7}, "frame: time jumps ahead"),
        ({"time": 0.0}, "frame: time runs back"),
        ({"gyro_y": "NaN"}, "frame: no rotation"),
    ],
)
def test_senseless_telemetry_reaches_no_driver(odd: dict[str, Any], fault: str) -> None:
    with FrameHost() as host, running(settings(host.port)) as rig:
        driving(rig)
        end = time.monotonic() + BACK_S
        # A frame that is overtaken by the next one is not looked at.
        while not rig.car.status.faults.get(fault) and time.monotonic() < end:
            host.frame(**odd)
            time.sleep(0.02)
        assert rig.car.status.faults.get(fault)
        driving(rig)
        assert max(float(seen["speed"][0]) for seen in rig.seat.seen) <= 1.0
        assert any(each["refused"] for each in rig.tape.of("frame"))


def test_broken_and_glued_messages_are_survived() -> None:
    with FrameHost() as host, running(settings(host.port)) as rig:
        driving(rig)
        for data in (
            b'{"msg_type":"telemetry","time":3,"ima',
            b'{"msg_type":"DQ","missed_cp":true{"msg_type":"ping"}',
            b"\x00\xff garbage }}}",
            b'{"msg_type":"telemetry","time":"NaN","speed":1,"image":"AAAA"}\n',
        ):
            host.send_bytes(data)
            time.sleep(0.05)

        def is_told(status: CarStatus) -> bool:
            # A picture that is overtaken by the next one is not looked at.
            host.send_bytes(b'{"msg_type":"telemetry","time":5,"speed":1,"image":"AAAA"}\n')
            return "message: telemetry: image" in status.faults

        status = rig.wait(is_told)
        driving(rig)
        assert rig.car.status.disconnects == 0
        assert {"message: cut off", "message: telemetry: time"} <= set(status.faults)


def test_a_driver_that_gives_nothing_is_braked_for_and_its_spare_drives_on() -> None:
    seat = FakeSeat(failing, ahead)
    with FrameHost() as host, running(settings(host.port), seat) as rig:
        driving(rig)
        status = rig.car.status
        assert status.driver == "driver 1"
        assert status.faults["driver"] == 5
        why = [each["why"] for each in rig.tape.of("command") if each["why"] != "keep alive"]
        assert why.index("driver") > why.index("seat")
        assert rig.tape.of("driver")[-1]["name"] == "driver 1"


def test_without_a_spare_the_car_brakes_and_tries_on() -> None:
    answers = [Answer(None, "late", 0.04)] * 20

    def act(seen: Mapping[str, npt.NDArray[Any]]) -> Answer:
        return answers.pop() if answers else Answer(FULL_AHEAD, "", 0.001)

    with FrameHost() as host, running(settings(host.port), FakeSeat(act)) as rig:
        driving(rig)
        assert rig.car.status.faults["driver"] == 20
        assert rig.car.status.driver == "driver 0"


def test_a_driver_changes_while_the_car_stands_and_else_at_its_next_stop() -> None:
    seat = FakeSeat(ahead, ahead)
    with FrameHost() as host, running(settings(host.port, start="drive"), seat) as rig:
        rig.wait(lambda status: status.phase == "ready")
        rig.car.order(ChangeDriver("page", "driver 1"))
        rig.wait(lambda status: status.driver == "driver 1")
        rig.car.order(Go("drive"))
        driving(rig)
        rig.car.order(ChangeDriver("page", "driver 0"))
        time.sleep(0.2)
        status = rig.car.status
        assert (status.driver, status.next_driver) == ("driver 1", "driver 0")
        rig.car.order(Stop("drive"))
        rig.wait(lambda status: status.driver == "driver 0")
        assert rig.car.status.disconnects == 0
        rig.car.order(ChangeDriver("page", "nobody"))
        assert rig.car.status.faults["order"] == 1


def test_a_stuck_car_drives_back_and_is_put_back_in_practice_only() -> None:
    recovery = RecoveryConfig(stuck_s=0.5, reverse_s=0.3, attempts=1)
    with FrameHost() as host, running(settings(host.port, recovery=recovery)) as rig:
        rig.wait(lambda status: status.speed > 0.0)
        host.changed["speed"] = 0.0
        rig.wait(lambda status: status.phase == "recovering" and status.throttle == -0.4)
        rig.wait(lambda status: status.faults.get("reset", 0) >= 1)
        # A race has begun: never again.
        host.say(msg_type="race_start")
        rig.wait(lambda _: any(each["name"] == "race_start" for each in rig.tape.of("event")))
        count = rig.car.status.faults["reset"]
        # Counted before it is sent.
        rig.wait(lambda _: host.types().count("reset_car") == count)
        time.sleep(1.5)
        assert rig.car.status.faults["reset"] == host.types().count("reset_car") == count


def test_a_link_that_is_faster_than_trained_is_padded_and_the_loop_does_not_wait() -> None:
    seat = FakeSeat(latency_ms=(100.0, 150.0))
    with FrameHost() as host, running(settings(host.port), seat) as rig:
        driving(rig)
        rig.wait(lambda _: sum(e["why"] == "driver" for e in rig.tape.of("command")) >= 15)
        sent = [each for each in rig.tape.of("command") if each["why"] == "driver"]
        took = [each["took_ms"] for each in sent]
        # A machine that is busy adds to some of them.
        assert 99.5 <= min(took) < 100.0 + 1000.0 * LOADED_S
        numbers = [each["frame"] for each in sent]
        assert numbers == sorted(numbers)
        # Some frames come while the command for an earlier one waits.
        newest, overtaken = 0, False
        for _, kind, each in list(rig.tape.lines):
            if kind == "frame":
                newest = each["number"]
            elif kind == "command" and each["why"] == "driver":
                overtaken |= newest > each["frame"]
        assert overtaken


@pytest.mark.parametrize("generation", [2021, 2022])
def test_a_host_of_another_generation_is_said_at_the_first_frame(generation: int) -> None:
    with FrameHost() as host:
        if generation == 2021:
            # Without angles, the rotation as a quaternion.
            host.changed |= {"pitch": None, "gyro_w": 1.0}
        other = {2021: "donkey_2022", 2022: "donkey_2020"}[generation]
        with running(settings(host.port), FakeSeat(vehicle=other)) as rig:
            rig.wait(lambda status: rig.car.failure is not None)
            assert isinstance(rig.car.failure, DriverError)
            assert "vehicle=donkey_" in str(rig.car.failure)
            assert host.moves() == []
        # Who runs the car raises it.
        assert [text for _, text in rig.board.said if "vehicle=donkey_" in text] == []


def test_a_host_that_speaks_and_hangs_up_is_left_in_peace_between_attempts() -> None:
    with FrameHost(greeting=("race_stop",)) as host, running(settings(host.port)) as rig:
        end = time.monotonic() + 3.0
        heard = 0
        while time.monotonic() < end or (
            rig.car.status.disconnects < 3 and time.monotonic() < end + BACK_S
        ):
            if len(rig.tape.of("event")) > heard:
                heard = len(rig.tape.of("event"))
                host.hang_up()
            time.sleep(0.01)
        # With pauses that grow to a second; without, it would be some thirty times.
        assert 3 <= rig.car.status.disconnects <= 12


def test_what_is_no_simulator_is_said_after_a_few_attempts() -> None:
    with FrameHost(greeting=()) as host, running(settings(host.port)) as rig:
        end = time.monotonic() + 60.0
        while rig.car.failure is None and time.monotonic() < end:
            host.send_bytes(b'}{"a":1}\n' * 200)
            time.sleep(0.05)
        assert isinstance(rig.car.failure, LinkProtocolError)
        assert "DonkeyCar simulator listens at this port" in str(rig.car.failure)
