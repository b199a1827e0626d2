"""The expert whose lessons are learned from: quick enough that a race would not disqualify it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.imitation.config import ImitationConfig
from donkey_rl.envs import reference as references
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.experiments import school
from donkey_rl.metrics import heat, limits

CAREFUL = ImitationConfig(expert="pursuit", grip=0.45, margin=6.0, motion=False)


def on(name: str) -> EnvironmentConfig:
    values = {"track": name, "vehicle": "donkey_2022", "throttle_min": -1.0}
    return configuration.validate(EnvironmentConfig, values)


def test_its_reserve_is_its_lap_by_the_time_optimal_one() -> None:
    config = on("mountain_track")
    expert = school.teacher(config, ImitationConfig(expert="pursuit"))
    optimal = limits.line("mountain_track", "donkey_2022")
    assert optimal is not None
    # 0.960 of the limit: docs/pace.md
    assert school.reserve(expert, config) == pytest.approx(1.0 / 0.960, abs=1e-3)
    slower = school.teacher(config, ImitationConfig(expert="pursuit", grip=0.6, motion=False))
    assert school.reserve(slower, config) > school.reserve(expert, config) + 0.05


def test_a_road_without_a_time_optimal_lap_has_no_reserve() -> None:
    config = on("random_circuit:3")
    assert school.reserve(school.teacher(config, CAREFUL), config) == 1.0


def stretch_s(expert: Pursuit, name: str) -> float:
    return school.longest_stretch_s(expert.reference, track.load(name).length)


def test_it_gets_more_grip_where_a_heat_asks_for_more_speed() -> None:
    name = "roboracingleague_1"
    plain = Pursuit(on(name), grip=0.45, margin=6.0, motion=False)
    assert stretch_s(plain, name) > heat.CHECKPOINT_S
    assert stretch_s(school.teacher(on(name), CAREFUL), name) < 0.8 * heat.CHECKPOINT_S


def test_elsewhere_it_drives_as_it_is_told_to() -> None:
    name = "warren"
    plain = Pursuit(on(name), grip=0.45, margin=6.0, motion=False, wheel_weight=40.0)
    found = school.teacher(on(name), CAREFUL)
    arcs = np.linspace(0.0, 300.0, 50)
    np.testing.assert_array_equal(found.reference.at(arcs), plain.reference.at(arcs))


def test_slower_lessons_are_in_time_as_well() -> None:
    name = "random_circuit:1"
    slow = CAREFUL.model_copy(update={"pace": 0.9, "late_pace": 0.8})
    plain = stretch_s(Pursuit(on(name), grip=0.45, margin=6.0, motion=False), name)
    assert plain / 0.8 > heat.CHECKPOINT_S
    assert stretch_s(school.teacher(on(name), slow), name) / 0.8 < 0.8 * heat.CHECKPOINT_S


class Steady:
    """Drives 10 u/s, in the last quarter of the lap 5, and comes along the path by 1.25 of it."""

    def at(self, arc: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(arc), 8))
        rows[:, references.FORWARD] = np.where(arc < 150.0, 10.0, 5.0)
        rows[:, references.ADVANCE] = 1.25
        return rows


def test_the_time_of_a_stretch_is_its_length_by_the_speed_along_the_path() -> None:
    reference: Any = Steady()
    assert school.longest_stretch_s(reference, 200.0) == pytest.approx(50.0 / 6.25)
