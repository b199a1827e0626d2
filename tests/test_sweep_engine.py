"""Worker processes that are killed, stopped or refused, and the trials that they leave."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import crew
from donkey_rl.experiments.sweeps import queue as queues
from donkey_rl.experiments.sweeps.engine import LocalEngine
from donkey_rl.experiments.sweeps.storage import open_storage
from donkey_rl.experiments.sweeps.worker import Order, WorkerReport
from tests import light_sweep, postgres

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(params=["journal", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "journal":
        yield str(tmp_path / "light.journal")
    else:
        with postgres.running() as server:
            yield server.database()


def run(order: Order) -> tuple[tuple[WorkerReport, ...], str]:
    """Runs an order and returns the reports and what was shown."""
    shown = io.StringIO()
    with ProgressDisplay(shown) as progress:
        return LocalEngine().run(order, progress), shown.getvalue()


def living(folder: Path) -> list[int]:
    """Returns the processes of all workers that have begun and that live."""
    found = []
    for path in folder.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.stem), 0)
            found.append(int(path.stem))
    return found


def wait_until(met: object, what: str, seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not met():  # type: ignore[operator]
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(0.02)


def trials(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="light", storage=open_storage(url)).trials


def test_twenty_trials_are_complete_and_none_twice_though_workers_are_killed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some are killed before they have taken a trial.
    monkeypatch.setattr(crew, "MOST_BARREN", 100)
    order = light_sweep.order(url, tmp_path, lease_s=10.0)
    # There is something to kill until three are killed.
    gate = tmp_path / "go"
    order = order.model_copy(update={"plan": {**order.plan, "gate": str(gate), "free": 3}})
    chance = random.Random(7)

    # All at once, with what started them: nobody is there to hand anything back.
    alone = "import sys; from tests import test_sweep_engine as t; t.alone(sys.argv[1])"
    first = subprocess.Popen(
        [sys.executable, "-c", alone, order.model_dump_json()], cwd=ROOT, stderr=subprocess.PIPE
    )
    wait_until(lambda: len(list(tmp_path.glob("[0-9]"))) >= 4, "the first trials")
    first.kill()
    for pid in living(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    first.communicate()

    # Then now and then one of them.
    kills = 0
    over = threading.Event()

    def kill() -> None:
        nonlocal kills
        try:
            while not over.wait(chance.uniform(0.1, 0.6)) and kills < 8:
                if found := living(tmp_path):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(found), signal.SIGKILL)
                        kills += 1
                if kills >= 3:
                    gate.touch()
        finally:
            gate.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run(order)
    finally:
        over.set()
        killer.join()

    assert kills >= 3
    jobs = queues.attempts(trials(url))
    assert len(jobs) == 20
    for attempts in jobs.values():
        *lost, last = [attempt.state for attempt in attempts]
        assert last == TrialState.COMPLETE
        assert set(lost) <= {TrialState.FAIL}
        # It was counted to the end, and no step was done again.
        assert Path(attempts[-1].user_attrs["place"]).read_bytes() == b"...."
    assert living(tmp_path) == []


def alone(text: str) -> None:
    """Runs an order as a process of its own; see the test above."""
    run(Order.model_validate_json(text))


def test_ctrl_c_hands_all_trials_back(tmp_path: Path) -> None:
    url = str(tmp_path / "light.journal")
    order = light_sweep.order(url, tmp_path, trials=2, workers=2)
    order = order.model_copy(update={"plan": order.plan | {"steps": 1000}})

    def press() -> None:
        wait_until(lambda: len(list(tmp_path.glob("[0-9]"))) == 2, "both trials")
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run(order)
    assert living(tmp_path) == []
    states = [(trial.state.name, trial.user_attrs.get("reason")) for trial in trials(url)]
    handed_back = ("FAIL", "handed back: the worker was stopped")
    assert sorted(states, key=str) == [handed_back, handed_back, *[("WAITING", None)] * 2]


def test_worker_that_cannot_begin_is_not_started_for_ever(tmp_path: Path) -> None:
    url = str(tmp_path / "light.journal")
    order = light_sweep.order(url, tmp_path, workers=1)
    broken = order.model_copy(update={"plan": {}})
    with pytest.raises(DonkeyRLError, match=f"{crew.MOST_BARREN} times before it took a trial"):
        run(broken)
    with pytest.raises(InputError, match="module:Class"):
        run(order.model_copy(update={"task": "json:dumps"}))


def test_no_trial_is_taken_when_it_is_late(tmp_path: Path) -> None:
    url = str(tmp_path / "light.journal")
    (report,), _ = run(light_sweep.order(url, tmp_path, workers=1, take_for_s=0.0))
    assert report.complete == 0
    assert trials(url) == []
