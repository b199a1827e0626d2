"""What a car that may move does with a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.link.frame import Frame
from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.race_server.commanding import BRAKE
from donkey_rl.race_server.config import LaunchConfig, LimitsConfig, RaceConfig
from donkey_rl.race_server.driving import Driving
from donkey_rl.race_server.interface import Answer
from donkey_rl.race_server.journal import Journal
from tests.race_cars import FakeSeat, MemoryBoard, MemoryTape, ahead

IMAGE = np.zeros((120, 160, 3), np.uint8)


def frame(time: float, speed: float = 1.0) -> Frame:
    return Frame(Telemetry("", time, speed), IMAGE, None, 0.0, 1)


def driving(seat: FakeSeat, **settings: Any) -> Driving:
    return Driving(RaceConfig(**settings), seat, Journal("car", MemoryTape(), MemoryBoard()))


def to_the_right(seen: Mapping[str, npt.NDArray[Any]]) -> Answer:
    return Answer(np.array([0.5, 0.0], np.float32), "", 0.001)


def test_a_driver_sees_its_last_commands_as_they_were_sent() -> None:
    seat = FakeSeat(to_the_right)
    limits = LimitsConfig(steering_max=0.25)
    found = driving(seat, limits=limits)
    found.begin(0.0, held=False)
    for k in range(4):
        decision = found.answer(frame(0.05 * k), may_reset=False)
        assert decision.why == "driver"
        assert decision.command == pytest.approx((0.25, 0.15, 0.0))
        found.remember(decision.command)
    found.remember(BRAKE)
    found.answer(frame(0.2), may_reset=False)
    seen = [each["last_actions"] for each in seat.seen]
    # As in training: nothing at first; the brake is the action without throttle.
    assert seen[0].tolist() == [0.0] * 6
    assert seen[3] == pytest.approx([0.25, 0.0] * 3)
    assert seen[4] == pytest.approx([0.25, 0.0, 0.25, 0.0, 0.0, -1.0])


def test_a_launch_has_its_own_throttle_within_the_limits_while_the_driver_steers() -> None:
    launch = LaunchConfig(throttle=1.0, duration_s=1.0, speed=3.0)
    found = driving(FakeSeat(to_the_right), launch=launch, limits=LimitsConfig(throttle_max=0.8))
    found.begin(10.0, held=False)
    decision = found.answer(frame(10.1), may_reset=False)
    assert (decision.why, decision.command) == ("launch", (0.5, 0.8, 0.0))
    assert found.answer(frame(10.2, speed=4.0), may_reset=False).why == "driver"
    assert found.answer(frame(10.3), may_reset=False).why == "driver"


def test_the_way_back_has_its_wheels_turned_the_other_way() -> None:
    found = driving(FakeSeat(to_the_right))
    found.begin(0.0, held=False)
    decisions = [found.answer(frame(0.1 * k, speed=0.0), may_reset=False) for k in range(25)]
    assert decisions[-1].why == "recovery"
    assert decisions[-1].command == (-1.0, -0.4, 0.0)


def test_answers_of_no_use_brake_and_are_counted_in_a_row() -> None:
    def late(seen: Mapping[str, npt.NDArray[Any]]) -> Answer:
        return Answer(None, "late", 0.04)

    def not_finite(seen: Mapping[str, npt.NDArray[Any]]) -> Answer:
        return Answer(np.array([np.nan, 0.0], np.float32), "", 0.001)

    acts = iter([late, ahead, late, not_finite, late, late, late, ahead])
    seat = FakeSeat(lambda seen: next(acts)(seen), ahead)
    found = driving(seat)
    found.begin(0.0, held=False)
    decisions = [found.answer(frame(0.05 * k), may_reset=False) for k in range(8)]
    assert [each.why for each in decisions] == ["seat", "driver"] + ["seat"] * 5 + ["driver"]
    assert {each.command for each in decisions if each.why == "seat"} == {BRAKE}
    assert [each.changed for each in decisions] == [False] * 6 + [True, False]
    assert seat.name == "driver 1"
