"""The races of a policy that learns: when they are held, and which policy is kept."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents import driving
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.experiments import checks, evaluation_races, process_clock, racing
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics.examples import drive, steady


class Weights:
    """A policy that is one number."""

    def __init__(self) -> None:
        self.value = 0
        self.learner = SimpleNamespace(cnn=None)

    def deterministic_model(self) -> Weights:
        return self

    def get_weights(self) -> list[int]:
        return [self.value]


class Metrics:
    """Takes what is logged."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))


def scored(laps: int, mean: float, completion: float) -> dict[str, float]:
    return {
        "clean_laps": float(laps),
        "clean_share": laps / 24,
        "counted_share": laps / 24,
        "best_lap_s": mean,
        "mean_lap_s": mean,
        "completion": completion,
        "race_score": completion,
    }


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[checks.Checks, Any, list[int]]]:
    """Checks whose races are replaced by scores from a list; also the calls at the first lap."""
    first: list[int] = []
    before: list[int] = []
    with ProgressDisplay() as display, display.phase("training", 10) as phase:
        made = checks.Checks(
            TrainingConfig().check,
            (),
            None,  # type: ignore[arg-type]
            Metrics(),  # type: ignore[arg-type]
            phase,
            checks.Hooks(lambda: first.append(1), lambda: None, lambda: before.append(1)),
        )
        made.model = Weights()  # type: ignore[assignment]
        yield made, monkeypatch, first
        # Cars of the training may be the check's: each check says so before it takes them.
        assert len(before) == len(made.findings.curve)


def test_the_best_policy_is_kept_and_a_worse_one_never_replaces_it(held: Any) -> None:
    made, monkeypatch, first = held
    nothing = scored(0, math.nan, 0.2)
    story = [
        (nothing, 0),  # comes farther than none: kept
        (scored(0, math.nan, 0.1), 0),  # less far: not
        (scored(1, 25.0, 0.3), 2),  # the first clean lap
        (nothing, 2),  # no lap any more: not
        (scored(6, 21.0, 1.0), 4),  # laps in races of three laps
        (scored(24, 20.0, 1.0), 5),  # all clean
        (scored(23, 18.0, 1.0), 5),  # quicker, but not all clean: not
        (scored(24, 19.0, 1.0), 7),  # quicker and all clean
        (scored(24, 19.5, 1.0), 7),  # slower: not
    ]
    for number, (score, kept) in enumerate(story):
        monkeypatch.setattr(checks, "summary", lambda _, score=score: score)
        made.model.value = number
        made.num_timesteps = 1000 * (number + 1)
        made.check()
        assert made.findings.best_weights == [kept], number
    assert first == [1]
    assert made.findings.first_clean_lap_steps == 3000
    assert made.findings.best_lap_s == 18.0
    assert len(made.findings.curve) == len(story)


def test_a_policy_by_ppo_is_told_whether_it_passed(held: Any) -> None:
    class Told(PPO):
        def __init__(self) -> None:
            self.told: list[bool] = []

        def checked(self, sure: bool) -> None:
            self.told.append(sure)

    made, monkeypatch, _ = held
    monkeypatch.setattr(driving, "weights", lambda model: [])
    made.model = Told()
    for laps in (22, 23, 24):
        monkeypatch.setattr(checks, "summary", lambda _, laps=laps: scored(laps, 20.0, 1.0))
        made.check()
    assert made.model.told == [False, True, True]


def test_the_time_spent_is_that_of_all_processes_of_a_run(held: Any) -> None:
    made, monkeypatch, _ = held
    monkeypatch.setattr(checks, "summary", lambda _: scored(1, 20.0, 1.0))
    monkeypatch.setattr(process_clock, "seconds", lambda: 10.0)
    monkeypatch.setattr(process_clock, "cpu_seconds", lambda: 15.0)
    made.num_timesteps = 1000
    made.check()
    ((step, logged),) = made._run.logged
    assert (step, logged["check/wall_s"], logged["check/cpu_s"]) == (1000, 10.0, 15.0)
    stored = made.state()
    made.restore(stored, None)
    assert (made.wall_s, made.cpu_s) == (20.0, 30.0)
    # A checkpoint of a version that did not take the processor time: not known, rather than less.
    made.restore({name: stored[name] for name in ("findings", "next", "wall_s")}, None)
    assert made.wall_s == 20.0
    assert math.isnan(made.cpu_s)


def test_a_later_run_of_a_process_counts_from_its_own_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_clock, "_before", None)
    age, spent = itertools.count(100.0), itertools.count(50.0)
    monkeypatch.setattr(process_clock, "_age_s", lambda: next(age))
    monkeypatch.setattr(process_clock, "spent_s", lambda: next(spent))
    process_clock.begin()
    # The first one pays for the start of the process.
    assert (process_clock.seconds(), process_clock.cpu_seconds()) == (100.0, 50.0)
    process_clock.begin()
    assert (process_clock.seconds(), process_clock.cpu_seconds()) == (1.0, 1.0)


def test_processor_time_grows_with_work_and_the_machine_is_named() -> None:
    before = process_clock.cpu_seconds()
    # Ticks are 0.01 s: busy until one has gone by, however loaded the machine is.
    while process_clock.cpu_seconds() < before + 0.02:
        sum(range(1000))
    assert process_clock.cpu_seconds() < before + 5.0
    found = process_clock.machine()
    assert found["machine.processor"]
    assert 1 <= int(found["machine.cores"]) <= (os.cpu_count() or 1)
    assert found["machine.gpus"] == "0"


def test_checks_are_held_often_before_the_first_lap_and_seldom_after(held: Any) -> None:
    made, monkeypatch, _ = held
    setting = TrainingConfig().check
    monkeypatch.setattr(checks, "summary", lambda _: scored(0, math.nan, 0.1))
    made.num_timesteps = setting.every - 1
    made._on_step()
    assert made.findings.curve == []
    made.num_timesteps = setting.every
    made._on_step()
    made.num_timesteps = 2 * setting.every
    monkeypatch.setattr(checks, "summary", lambda _: scored(1, 25.0, 0.3))
    made._on_step()
    made.num_timesteps = 3 * setting.every
    made._on_step()
    assert [step for step, _ in made.findings.curve] == [setting.every, 2 * setting.every]
    made.num_timesteps = 2 * setting.every + setting.every_later
    made._on_step()
    assert len(made.findings.curve) == 3


def test_a_summary_of_no_clean_lap_has_no_lap_time() -> None:
    assert math.isnan(checks._or(math.nan, math.nan))
    assert checks._or(math.nan, 3.0) == 3.0
    assert np.isfinite(checks._or(2.0, 3.0))


def test_laps_of_a_race_that_a_host_would_end_for_slowness_do_not_choose_a_policy() -> None:
    quick, slow = (drive(steady(speed, 700.0 / speed)) for speed in (16.0, 2.0))
    alone, both = checks.summary([quick]), checks.summary([quick, slow])
    assert alone["counted_share"] == alone["clean_share"] == 1.0
    # 50 u from checkpoint to checkpoint take the slow one 25 s.
    assert both["clean_share"] == 1.0
    assert both["counted_share"] == 0.5


def test_other_simulators_race_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[int, int]] = []
    monkeypatch.setattr(
        racing, "Field", lambda environment, races, *, seed, **_: built.append((races, seed))
    )
    settings = ["simulator=127.0.0.1:9091,127.0.0.1:9093", "check.rounds=3", "check.races=64"]
    config = configuration.with_settings(TrainingConfig(), settings)
    cars = SimpleNamespace(views=[SimpleNamespace(batch=SimpleNamespace(world=None))])
    checks.check_fields(config, cars)  # type: ignore[arg-type]
    assert built == [(6, checks.CHECK_SEED)]


def test_a_policy_is_not_chosen_by_the_races_that_it_is_evaluated_by() -> None:
    checked, evaluated = (
        range(first, first + 1000) for first in (checks.CHECK_SEED, evaluation_races.FIRST_SEED)
    )
    assert not set(checked) & set(evaluated)
    small = ["camera.img_w=80", "camera.img_h=60", "check.races=2"]
    config = configuration.with_settings(TrainingConfig(), small)
    (field,) = checks.check_fields(config, None)  # type: ignore[arg-type]
    with contextlib.closing(field):
        assert field.seeds == [checks.CHECK_SEED, checks.CHECK_SEED + 1]
