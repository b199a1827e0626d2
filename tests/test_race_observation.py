"""What a driver sees in a race, and that nothing else decides its commands."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import pytest

from tests.frame_host import FrameHost
from tests.race_cars import FULL_AHEAD, Rig, running, settings
from tests.test_race_car import driving


def steady(rig: Rig) -> list[dict[str, npt.NDArray[Any]]]:
    """Returns what the seat has seen of a car that was driven full ahead for a while."""
    return [
        each for each in list(rig.seat.seen)
        if each["imu"][0] > 0.2 and (each["last_actions"].reshape(-1, 2) == FULL_AHEAD).all()
    ]  # fmt: skip


def test_commands_depend_on_nothing_that_races_do_not_send() -> None:
    extended = {"cte": 3.0, "pos_x": 1.0, "pos_y": 2.0, "pos_z": 3.0}
    extended |= {"vel_x": 7.0, "vel_y": 1.0, "vel_z": 9.0}
    seen = []
    for extra in ({}, extended):
        with FrameHost() as host, running(settings(host.port)) as rig:
            driving(rig)
            host.changed |= {"accel_x": 0.3, "gyro_y": 0.01, "speed": 0.7, **extra}
            rig.wait(lambda status: status.speed == 0.7)
            rig.wait(lambda _: bool(steady(rig)))
            found = steady(rig)[0]
            assert sorted(found) == ["image", "imu", "last_actions", "speed"]
            seen.append({name: value.tolist() for name, value in found.items()})
            assert [each.get("cte") for each in rig.tape.of("frame")][-1] == extra.get("cte")
    assert seen[0] == seen[1]
    assert seen[0]["imu"] == pytest.approx([0.3, 0, 0, 0, 0.01, 0])
