"""Runs that are broken off, to go on with."""

from __future__ import annotations

import io

import pytest

from donkey_rl.experiments import training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.continuation import Continuation
from donkey_rl.experiments.progress import ProgressDisplay


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
