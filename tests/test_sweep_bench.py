"""What the efficiency of two workers is made of; the whole is run by `donkey-rl bench`."""

from __future__ import annotations

import datetime
import os

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from donkey_rl.errors import InputError
from donkey_rl.experiments import sweep_bench
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.attempt import LEASE


def began(number: int, owner: str, second: float) -> FrozenTrial:
    trial = optuna.create_trial(value=1.0, system_attrs={LEASE: {"owner": owner, "beat": 3}})
    trial.number = number
    start = datetime.datetime(2026, 11, 28, 12)
    trial.datetime_start = start + datetime.timedelta(seconds=second)
    return trial


def test_cycles_are_those_of_each_process_without_its_first_trial() -> None:
    trials = [
        began(0, "a", 0.0),
        began(1, "b", 1.0),
        began(2, "a", 30.0),
        began(3, "b", 29.0),
        began(4, "a", 40.0),
        began(5, "b", 40.5),
        began(6, "a", 51.0),
        began(7, "c", 60.0),
    ]
    assert sweep_bench.cycles(trials) == [10.0, 11.0, 11.5]
    trials[4].state = TrialState.FAIL
    assert sweep_bench.cycles(trials) == [21.0, 11.5]


def test_one_core_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    with pytest.raises(InputError, match="Received: 1 cores"):
        sweep_bench.efficiency(1.0, ProgressDisplay())
