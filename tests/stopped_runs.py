"""Runs that are broken off, to go on with."""

from __future__ import annotations

import io

import pytest

from donkey_rl.experiments import training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.continuation import Continuation
from donkey_rl.experiments.progress import ProgressDisplay

UNENDING = """
import sys, time
from donkey_rl import cli
from donkey_rl.experiments.continuation import Continuation

on_step = Continuation._on_step

def held(self):
    while self.num_timesteps > 1100:
        time.sleep(1.0)
    return on_step(self)

Continuation._on_step = held
sys.exit(cli.main(sys.argv[1:]))
"""
"""A program that types a command whose training waits at step 1100 until it is killed."""


def stop(config: TrainingConfig) -> str:
    """Returns the id of a run that Ctrl-C ended at step 700."""

    def on_step(self: Continuation) -> bool:
        if self.num_timesteps == 700:
            raise KeyboardInterrupt
        return True

    with pytest.MonkeyPatch.context() as patched, ProgressDisplay(io.StringIO()) as progress:
        patched.setattr(Continuation, "_on_step", on_step)
        result = training.train(config, progress)
    assert result.stopped
    return result.run_id
