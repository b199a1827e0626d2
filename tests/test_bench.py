"""Measurements of speed: that every party is measured, and how rounds are counted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from donkey_rl.experiments import bench, driver_bench, learning_bench, rounds


class Clock:
    """A clock that moves on only when somebody works."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_rates_are_medians_of_alternating_rounds_without_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, order = Clock(), []
    monkeypatch.setattr(rounds, "time", clock)
    # Seconds of each round; the first, which compiles, and one disturbed do not count.
    seconds = {"a": [9.0, 0.5, 0.5, 8.0, 0.5, 0.25], "b": [9.0, 2.0, 2.0, 2.0, 2.0, 2.0]}
    left = {name: iter(each) for name, each in seconds.items()}

    def work(name: str) -> None:
        order.append(name)
        clock.now += next(left[name])

    found = rounds.rates({"a": (lambda: work("a"), 10), "b": (lambda: work("b"), 7)})
    # 10 units in 0.5 s are 20 per second, 7 in 2 s are 3.5.
    assert found == {"a": 20.0, "b": 3.5}
    assert order == ["a", "b"] * 6


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that take no time; SBX is left out, since it compiles for long, and so are GPUs."""
    monkeypatch.setattr(rounds, "ROUNDS", 1)
    sizes = {"HIDDEN": (8,), "BATCH": 4, "UPDATES": 2, "IMAGE_UPDATES": 1, "ROLLOUT": 16}
    for name, value in {**sizes, "_STORED": 20}.items():
        monkeypatch.setattr(learning_bench, name, value)
    monkeypatch.setattr(learning_bench, "_sbx", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("measure", "measured", "not_there"),
    [
        (learning_bench.sac_updates, {"ours", "sb3"}, {"sbx"}),
        (learning_bench.sac_image_updates, {"ours", "ours_wide", "sb3"}, set()),
        (learning_bench.ppo_samples, {"ours", "sb3"}, {"sbx"}),
    ],
)
def test_every_party_is_measured(measure, measured, not_there) -> None:
    found = measure()
    assert {name for name, rate in found.items() if rate is None} == not_there
    assert {name for name, rate in found.items() if rate is not None and rate > 0.0} == measured


def test_predictions_are_timed_on_one_core_which_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = []
    monkeypatch.setattr(driver_bench, "ROUNDS", 1)
    monkeypatch.setattr(driver_bench, "PREDICTIONS", 20)
    times = driver_bench._times

    def watched(act, observation):
        if hasattr(os, "sched_getaffinity"):
            cores.append(len(os.sched_getaffinity(0)))
        return times(act, observation)

    monkeypatch.setattr(driver_bench, "_times", watched)
    found = driver_bench.predict_ms()
    assert list(found) == ["p50", "p99", "lite_p50", "lite_p99"]
    assert 0.0 < found["p50"] <= found["p99"]
    assert 0.0 < found["lite_p50"] <= found["lite_p99"]
    if cores and os.path.isdir("/proc/self/task"):
        # Both warm up on all cores, then both are timed on one.
        assert cores == [len(os.sched_getaffinity(0))] * 2 + [1, 1]


def test_answers_that_other_tests_read_are_of_the_form_of_today() -> None:
    """Those of `donkey-rl bench` in data/answers.json, which `test_proof_reading.py` reads."""
    stored = json.loads((Path(__file__).parent / "data" / "answers.json").read_text("utf-8"))
    told = {part: stored[part] for part in (*bench.PARTS, *bench.LONG) if part in stored}
    assert len(told) >= 4
    for part, answer in told.items():
        found = bench.BenchResult.model_validate_json(json.dumps(answer)).model_dump(mode="json")
        assert {key: found[key] for key in answer} == answer, part
