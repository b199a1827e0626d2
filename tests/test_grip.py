"""What tyres bear in steady bends, against figures by hand and the simulator's own physics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from donkey_rl.envs import grip as grips
from donkey_rl.envs.grip import Grip, Limits
from donkey_rl.envs.simulator import physics, track, vehicle


def measured(car: str, share: float = 1.0) -> Grip:
    return grips.measure(track.load("generated_track"), vehicle.load(car), share)


def hardest_bend(car: str, speed: float) -> float:
    """Drives the simulator's car at a speed, turns its wheels ever farther, returns the most."""
    made, motion, command = vehicle.load(car), np.zeros(6), np.zeros(3)
    row, torque = vehicle.parameter_row(made), vehicle.torque_table(made)
    motion[physics.FORWARD] = speed
    most = 0.0
    for step in range(3000):
        missing = speed - motion[physics.FORWARD]
        command[:2] = step / 3000, min(1.0, 0.3 + 3.0 * missing)
        physics.advance(motion, command, row, torque, 0.8 if made.friction_from_ground else 1.0)
        if missing < 0.03 * speed:
            most = max(most, math.hypot(*motion[3:5]) * motion[physics.YAW_RATE])
    return most


@pytest.mark.parametrize("car", vehicle.names())
def test_bend_that_is_held_at_a_speed_is_that_of_the_simulator(car: str) -> None:
    grip, speed = measured(car), 10.0
    bends = np.linspace(5.0, float(grip.hardest.max()), 200)
    pull = float(grip.full_pull(speed)) - grip.wheel_drag * speed
    _, high = grip.drives(bends)
    gain = grip.look_up(grip.gain, np.minimum(high, pull), bends) - grip.body_drag * speed
    # The table's hardest bend in which the engine still makes up for drag and slipping tyres.
    held = float(bends[gain >= 0.0].max())
    assert hardest_bend(car, speed) == pytest.approx(held, rel=0.02)


def test_figures_by_hand() -> None:
    grip = measured("donkey_2021")
    # Coasting, both axles give 0.895 * 9.81 = 8.78 u/s2 across their wheels, at a slip of 0.2
    # rad: 8.78 * cos(0.2) = 8.605 across the way, and 8.78 * sin(0.2) = 1.744 against it.
    assert grip.hardest.max() == pytest.approx(8.605, rel=0.005)
    coasting = grip.look_up(grip.gain, np.zeros(2), np.array([0.0, 8.7]))
    assert coasting == pytest.approx([0.0, -1.744], abs=0.04)
    # Straight on, the drive is what it is; power and brakes both cost bend.
    straight = grip.look_up(grip.gain, np.array([-2.0, 2.0]), np.zeros(2))
    assert straight == pytest.approx([-2.0, 2.0], abs=1e-6)
    low, high = grip.drives([0.0, 7.0, 100.0])
    assert low[0] == grip.drive[0] < low[1] < 0.0 < high[1] <= high[0] == grip.drive[-1]
    # Beyond what the tyres bear there is one drive left, that of the hardest bend.
    assert low[2] == high[2]
    # With half the friction, half the bend.
    assert measured("donkey_2021", 0.5).hardest.max() == pytest.approx(0.5 * 8.605, rel=0.005)


def test_drive_is_found_for_a_wanted_acceleration() -> None:
    grip = measured("donkey_2021")
    drive, across = np.array([-1.3, 0.4, 2.1]), np.array([5.0, 7.0, 0.0])
    gain = grip.look_up(grip.gain, drive, across)
    assert grips.drive_for(grip, gain, across) == pytest.approx(drive, abs=1e-6)
    # More than the engine gives is asked for: the most that there is.
    assert grips.drive_for(grip, np.array([50.0]), np.zeros(1))[0] == grip.drive[-1]


def test_speeds_between_two_bends() -> None:
    grip, car = measured("donkey_2021"), vehicle.load("donkey_2021")
    # Two bends of 10 u radius, at both ends of a straight of 100 u in pieces of 1 u.
    bend = np.zeros(120)
    bend[:10] = bend[-10:] = 0.1
    speed = grips.speeds(bend, np.ones(120), False, grip, Limits(-1.0, 1.0, 1.0))
    # v = sqrt(8.605 * 10) = 9.28 u/s at most; at full power from it on
    # v' = 2.8125 - (0.1 + 0.00488) v, less what rolling costs: 1.84 u/s2 at 9.28.
    assert speed[:10].max() <= 9.28
    full = 4.0 * car.wheel_torque / 0.32 / car.mass
    first = speed[12:20]
    gained = (first[1:] ** 2 - first[:-1] ** 2) / 2.0
    drag = car.drag + grip.wheel_drag
    assert gained == pytest.approx(full - drag * first[:-1], rel=0.02)
    # Braking: the engine backwards and the drag together.
    last = speed[98:106]
    lost = (last[:-1] ** 2 - last[1:] ** 2) / 2.0
    assert lost == pytest.approx(full + drag * last[1:], rel=0.02)
