"""Where commands leave: what the watchdog does while nobody else can."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from donkey_rl.errors import LinkClosed
from donkey_rl.race_server.commanding import BRAKE, Command
from donkey_rl.race_server.config import WatchdogConfig
from donkey_rl.race_server.helm import Helm, Sent

GO = Command(0.5, 0.3)
ON = Command(-0.5, 0.2)
LATE_S = 10.0
"""What a loaded machine may add to a time."""


def soon(condition: Callable[[], bool]) -> None:
    """Waits until something has happened in the helm's own thread."""
    end = time.perf_counter() + 30.0
    while not condition():
        assert time.perf_counter() < end
        time.sleep(0.005)


class Wire:
    """Takes commands as a connection does; may refuse them, or hold them up."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, Command]] = []
        self.noted: list[Sent] = []
        self.broken = False
        self.open = threading.Event()
        self.open.set()

    def send(self, steering: float, throttle: float, brake: float) -> None:
        self.open.wait()
        if self.broken:
            raise LinkClosed("gone", host="", port=1, scene=None, awaited="", remedy="")
        self.sent.append((time.perf_counter(), Command(steering, throttle, brake)))

    def commands(self) -> list[Command]:
        return [command for _, command in self.sent]


@contextlib.contextmanager
def watched(**settings: float) -> Iterator[tuple[Helm, Wire]]:
    wire = Wire()
    # Longer than people may set it: no hold-up is to count as frames that stopped.
    values = {"frame_s": 0.15, "keep_alive_s": 600.0} | settings
    config = WatchdogConfig.model_construct(**values)  # type: ignore[arg-type]
    helm = Helm(config, wire.send, wire.noted.append)
    helm.begin()
    try:
        yield helm, wire
    finally:
        wire.open.set()
        helm.end()


def test_a_car_is_braked_when_frames_stop() -> None:
    with watched(frame_s=1.0) as (helm, wire):
        helm.attach()
        helm.permit(True)
        # The watch sleeps until something is due.
        time.sleep(0.05)
        came = time.perf_counter()
        assert helm.steer(GO, "driver", 1, came) == GO
        soon(lambda: len(wire.noted) == 2)
        assert wire.commands() == [GO, BRAKE]
        assert 1.0 <= wire.sent[-1][0] - came < 1.0 + LATE_S
        assert [each.why for each in wire.noted] == ["driver", "watchdog"]
        assert (helm.halts, helm.is_halted) == (1, True)
        helm.steer(ON, "driver", 2, time.perf_counter())
        assert wire.commands()[:3] == [GO, BRAKE, ON]


def test_a_command_for_a_frame_that_is_too_old_is_the_brake() -> None:
    with watched() as (helm, wire):
        helm.attach()
        helm.permit(True)
        assert helm.steer(GO, "driver", 1, time.perf_counter() - 0.2) == BRAKE
        assert wire.commands() == [BRAKE]


def test_nothing_moves_without_permission_and_its_end_brakes_at_once() -> None:
    with watched(frame_s=600.0) as (helm, wire):
        helm.attach()
        assert helm.steer(GO, "driver", 1, time.perf_counter()) == BRAKE
        helm.permit(True)
        helm.steer(GO, "driver", 2, time.perf_counter())
        helm.steer(ON, "driver", 3, time.perf_counter(), 2.0)
        helm.permit(False)
        # What waited has gone with it.
        time.sleep(2.2)
        assert wire.commands() == [BRAKE, GO, BRAKE]


def test_commands_are_repeated_before_they_grow_old_and_only_to_a_car() -> None:
    with watched(keep_alive_s=0.05) as (helm, wire):
        time.sleep(0.1)
        assert wire.sent == []
        helm.attach()
        soon(lambda: len(wire.sent) >= 2)
        assert set(wire.commands()) == {BRAKE}
        helm.detach()
        count = len(wire.sent)
        time.sleep(0.12)
        assert len(wire.sent) == count
        assert helm.steer(GO, "driver", 1, time.perf_counter()) == BRAKE
        assert len(wire.sent) == count


def test_commands_that_are_held_back_leave_in_order_and_the_loop_goes_on() -> None:
    with watched(frame_s=600.0) as (helm, wire):
        helm.attach()
        helm.permit(True)
        begun = time.perf_counter()
        for frame, (command, hold_s) in enumerate([(GO, 2.0), (ON, 2.0), (GO, 0.0)]):
            helm.steer(command, "driver", frame, time.perf_counter(), hold_s)
        assert wire.sent == []
        assert time.perf_counter() - begun < 2.0
        soon(lambda: len(wire.noted) == 3)
        assert wire.commands() == [GO, ON, GO]
        assert [each.frame for each in wire.noted] == [0, 1, 2]
        first = wire.noted[0]
        assert 2.0 <= first.took_s < 2.0 + LATE_S
        # The time of the driver itself, which the padding is not part of.
        assert first.decided_s is not None
        assert first.decided_s < 2.0
        helm.steer(ON, "driver", 3, time.perf_counter(), 60.0)
        helm.steer(BRAKE, "seat", 4, time.perf_counter())
        assert wire.commands()[3:] == [BRAKE]


def test_a_wire_that_is_broken_or_takes_nothing_ends_nothing() -> None:
    with watched(frame_s=1.5) as (helm, wire):
        helm.attach()
        helm.permit(True)
        wire.broken = True
        helm.steer(GO, "driver", 1, time.perf_counter())
        # The watchdog has tried to brake, too.
        soon(lambda: helm.halts == 1)
        helm.permit(True)
        wire.broken = False
        helm.steer(ON, "driver", 2, time.perf_counter())
        assert wire.commands() == [ON]
        wire.open.clear()
        stuck = threading.Thread(
            target=helm.steer, args=(GO, "driver", 3, time.perf_counter()), daemon=True
        )
        stuck.start()
        time.sleep(1.7)
        wire.open.set()
        stuck.join(60.0)
        soon(lambda: len(wire.sent) == 3)
        # By then the frames had stopped.
        assert wire.commands() == [ON, GO, BRAKE]


def test_the_end_brakes() -> None:
    with watched(frame_s=600.0) as (helm, wire):
        helm.attach()
        helm.permit(True)
        helm.steer(GO, "driver", 1, time.perf_counter())
    assert wire.commands() == [GO, BRAKE]
