"""The seat of a car: drivers that are late, fail or answer nonsense, and who takes over."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from donkey_rl.agents.manifest import DriverDescription, ObservationSpec
from donkey_rl.errors import DriverError, UnknownNameError
from donkey_rl.race_server.garage.driver_thread import DriverThread
from donkey_rl.race_server.garage.seat import DriverSeat

SPEC = ObservationSpec.model_validate(
    {"image_shape": (16, 16, 3), "history": 1, "scaling": {"speed": 1.0}}
)
SEEN = {name: np.zeros(shape, np.float32) for name, shape in SPEC.shapes.items()}
LIMIT_S = 0.04
"""For drivers that do not answer."""
ENOUGH_S = 60.0
"""For drivers that do, on a busy machine too."""


class Scripted:
    """A driver whose answers a test decides."""

    def __init__(self, steering: float = 0.5) -> None:
        self.observation = SPEC
        self.description = DriverDescription(
            agent="sac", vehicle="donkey_2022", tracks=("warren",), simulator="", camera={}
        )
        self.hash = "0" * 64
        self.answer: object = [steering, 1.0]
        self.asked = 0
        self.free = threading.Event()
        self.free.set()

    def act(self, observation: object) -> object:
        self.asked += 1
        answer = self.answer
        self.free.wait(60.0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def drivers() -> dict[str, Scripted]:
    return {"first": Scripted(0.1), "second": Scripted(0.2), "third": Scripted(0.3)}


@pytest.fixture
def seat(drivers: dict[str, Scripted]) -> Iterator[DriverSeat]:
    made = DriverSeat(drivers)  # type: ignore[arg-type]
    yield made
    for driver in drivers.values():
        driver.free.set()
    made.close()


def test_the_first_driver_answers(seat: DriverSeat, drivers: dict[str, Scripted]) -> None:
    answer = seat.act(SEEN, ENOUGH_S)
    assert answer.fault == ""
    assert answer.action is not None
    assert answer.action.tolist() == pytest.approx([0.1, 1.0])
    assert answer.action.dtype == np.float32
    assert (seat.name, seat.names) == ("first", ("first", "second", "third"))
    # All were asked before the race: the first answer of a model takes many times as long.
    assert [driver.asked for driver in drivers.values()] == [4, 3, 3]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ([float("nan"), 0.0], "not finite: nan, 0.0"),
        ([0.0, float("inf")], "not finite: 0.0, inf"),
        ([0.0], r"failed: an action of shape \(1,\), not \(2,\)"),
        (None, "failed: an action of shape"),
        (RuntimeError("no\nluck"), "failed: RuntimeError: no luck"),
    ],
)
def test_nonsense_is_no_action(
    seat: DriverSeat, drivers: dict[str, Scripted], answer: object, fault: str
) -> None:
    drivers["first"].answer = answer
    found = seat.act(SEEN, ENOUGH_S)
    assert found.action is None
    assert re.match(fault, found.fault)


def test_actions_beyond_the_bounds_are_cut(seat: DriverSeat, drivers: dict[str, Scripted]) -> None:
    drivers["first"].answer = [-3.0, 1e30]
    action = seat.act(SEEN, ENOUGH_S).action
    assert action is not None
    assert action.tolist() == [-1.0, 1.0]


def test_a_driver_that_is_late_is_not_asked_again(
    seat: DriverSeat, drivers: dict[str, Scripted]
) -> None:
    first = drivers["first"]
    first.free.clear()
    before = first.asked
    for fault in ("late: no answer within 40 ms", "late: still busy", "late: still busy"):
        began = time.perf_counter()
        answer = seat.act(SEEN, LIMIT_S)
        assert answer.fault.startswith(fault)
        assert LIMIT_S <= time.perf_counter() - began < 30.0
    end = time.monotonic() + 60.0
    while first.asked == before and time.monotonic() < end:
        time.sleep(0.001)
    assert first.asked == before + 1
    # What it answers at last is of no use: the next question gets its own answer.
    first.answer = [-0.7, 0.0]
    first.free.set()
    answer = seat.act(SEEN, ENOUGH_S)
    assert answer.action is not None
    assert answer.action.tolist() == pytest.approx([-0.7, 0.0])
    assert first.asked == before + 2


def test_the_spares_take_over_in_their_order(
    seat: DriverSeat, drivers: dict[str, Scripted]
) -> None:
    drivers["first"].answer = RuntimeError("broken")
    seat.act(SEEN, ENOUGH_S)
    assert seat.change_to_spare()
    assert seat.name == "second"
    drivers["second"].answer = [float("nan"), 0.0]
    seat.act(SEEN, ENOUGH_S)
    assert seat.change_to_spare()
    assert seat.name == "third"
    drivers["third"].answer = RuntimeError("broken")
    seat.act(SEEN, ENOUGH_S)
    # The others have failed, and do not come back by themselves.
    assert not seat.change_to_spare()
    assert seat.name == "third"
    drivers["first"].answer = [0.4, 0.0]
    seat.change("first")
    assert seat.act(SEEN, ENOUGH_S).action is not None


def test_a_late_driver_comes_back_once_it_has_answered(
    seat: DriverSeat, drivers: dict[str, Scripted]
) -> None:
    drivers["first"].free.clear()
    seat.act(SEEN, LIMIT_S)
    assert seat.change_to_spare()
    assert seat.name == "second"
    drivers["second"].free.clear()
    seat.act(SEEN, LIMIT_S)
    assert seat.change_to_spare()
    # The first still owes its answer.
    assert seat.name == "third"
    drivers["first"].free.set()
    while seat._threads["first"].is_busy():
        time.sleep(0.001)
    assert seat.change_to_spare()
    assert seat.name == "first"
    assert seat.act(SEEN, ENOUGH_S).action is not None


def test_an_unknown_driver_is_answered_with_the_nearest(seat: DriverSeat) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'second'"):
        seat.change("secund")


def test_a_driver_that_does_not_answer_before_the_race_is_refused(
    drivers: dict[str, Scripted],
) -> None:
    drivers["second"].answer = RuntimeError("no model")
    with pytest.raises(DriverError, match=r"'second'.*no model"):
        DriverSeat(drivers)  # type: ignore[arg-type]
    with pytest.raises(DriverError, match="Received: none"):
        DriverSeat({})


def test_stalled_drivers_cost_one_thread_each(
    seat: DriverSeat, drivers: dict[str, Scripted]
) -> None:
    for driver in drivers.values():
        driver.free.clear()
    before = threading.active_count()
    for _ in range(30):
        seat.act(SEEN, 0.001)
        seat.change_to_spare()
    assert threading.active_count() == before
    for thread in seat._threads.values():
        assert thread._questions.qsize() <= 1


def test_the_hand_over_costs_microseconds() -> None:
    thread = DriverThread("quick", Scripted())  # type: ignore[arg-type]
    times = [thread.ask(SEEN, ENOUGH_S).took_s for _ in range(500)]
    thread.close()
    # The quickest of them show what it costs where nobody else wants the cores.
    assert min(times) < 0.001
