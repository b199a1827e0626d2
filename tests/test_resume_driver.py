"""The driver that a run holds while it goes on: never a lesser one than before."""

from __future__ import annotations

from typing import Any

import pytest

from donkey_rl.errors import InputError
from donkey_rl.experiments.checks import Checks
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


@pytest.mark.slow
def test_a_checkpoint_of_another_version_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    state = Checks.state

    def later(self: Checks) -> dict[str, Any]:
        found = state(self)
        return found | {"findings": found["findings"] | {"of_next_year": 1}}

    monkeypatch.setattr(Checks, "state", later)
    stopped = stop(config())
    with pytest.raises(InputError, match=r"is of a version of donkey-rl .*of_next_year.*\. Use"):
        resume(stopped)
