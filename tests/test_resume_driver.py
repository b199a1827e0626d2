"""The driver that a run holds while it goes on: never a lesser one than before."""

from __future__ import annotations

import pytest

from donkey_rl.experiments.continuation import Continuation
from tests.stopped_runs import stop
from tests.test_resume import config, drivers_hash, resume

pytestmark = pytest.mark.usefixtures("own_store")


@pytest.mark.slow
def test_a_run_that_is_stopped_before_it_was_as_far_keeps_its_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the new process has learned so far is less than what the one before had."""
    stopped = stop(config())
    kept, step = drivers_hash(stopped), Continuation._on_step

    def soon(self: Continuation) -> bool:
        if self.model.num_timesteps >= (self.resumed_at or 0) + 8:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Continuation, "_on_step", soon)
    result, text = resume(stopped)
    assert (result.stopped, result.driver_stored) == (True, True)
    assert "stays" in text
    assert drivers_hash(stopped) == kept
