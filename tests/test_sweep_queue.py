"""Trials are handed out so that none is lost and none is done twice, on every storage."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from donkey_rl.errors import InputError
from donkey_rl.experiments.sweeps import queue as queues
from donkey_rl.experiments.sweeps.attempt import LEASE, Attempt, LeaseLostError
from donkey_rl.experiments.sweeps.queue import Queue, Standing
from donkey_rl.experiments.sweeps.shared_storage import SharedStorage
from donkey_rl.experiments.sweeps.storage import open_storage
from tests import postgres

LEASE_S = 60.0
ROOT = Path(__file__).parents[1]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@functools.cache
def connection(url: str, number: int) -> SharedStorage:
    """Returns one of several connections, kept between tests since they are slow to open."""
    return open_storage(url)


class Table:
    """A study that several workers open, each by its own connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = f"s{uuid.uuid4().hex}"
        self.clock = Clock()
        self._workers = itertools.count(1)

    def queue(self, trials: int) -> Queue:
        """Returns the queue of another worker."""
        storage = connection(self.url, next(self._workers))
        study = optuna.create_study(
            storage=storage,
            study_name=self.name,
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=1),
            load_if_exists=True,
        )
        return Queue(study, storage, trials, lease_s=LEASE_S, clock=self.clock)

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        study = optuna.load_study(study_name=self.name, storage=connection(self.url, 0))
        return study.trials

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.trials()]

    def wait_out(self, watcher: Queue) -> None:
        """Lets a lease run out before the eyes of another worker."""
        for _ in range(5):
            assert watcher.look() is Standing.WAIT
            self.clock.now += LEASE_S / 4.0


@pytest.fixture(scope="module")
def server_database() -> Iterator[str]:
    with postgres.running() as server:
        yield server.database()
        connection.cache_clear()


@pytest.fixture(scope="module", params=["journal", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("storage")
    if request.param == "journal":
        return str(folder / "study.journal")
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'study.db'}"
    return str(request.getfixturevalue("server_database"))


@pytest.fixture
def table(url: str) -> Table:
    return Table(url)


def take(queue: Queue) -> Attempt:
    found = queue.look()
    assert isinstance(found, Attempt)
    return found


def test_lost_attempt_is_continued_once_with_what_it_had(table: Table) -> None:
    dead, other = table.queue(1), table.queue(1)
    lost = take(dead)
    x = lost.trial.suggest_float("x", 0.0, 1.0)
    lost.note("run", "r1")
    lost.report(0.5, 3)
    lost.advance(10)
    table.wait_out(other)

    again = take(other)
    with again:
        assert again.trial.suggest_float("x", 0.0, 1.0) == x
        assert again.earlier["run"] == "r1"
        again.report(0.9, 3)  # passed over: an attempt before has reported it
        again.complete(0.7, {"disqualified": -0.05})

    assert other.look() is Standing.DONE
    first, second = table.trials()
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert first.user_attrs["reason"].startswith("lost: no sign of life of worker ")
    assert second.user_attrs["retry_of"] == 0
    assert second.value == 0.7
    assert second.intermediate_values == {3: 0.5}
    assert second.constraints == {"disqualified": -0.05}
    assert {job: len(found) for job, found in queues.attempts([first, second]).items()} == {0: 2}


def test_lease_that_changes_is_not_lost_however_long_it_takes(table: Table) -> None:
    worker, other = table.queue(1), table.queue(1)
    attempt = take(worker)
    storage = connection(table.url, 0)
    for beat in range(1, 4):
        table.wait_out(other)
        storage.beat(attempt.trial_id, LEASE, {"owner": worker.owner, "beat": beat})
    assert other.look() is Standing.WAIT
    with attempt:
        attempt.complete(1.0)
    assert table.states() == ["COMPLETE"]


def test_result_of_who_lost_its_lease_is_refused(table: Table) -> None:
    asleep, other = table.queue(1), table.queue(1)
    late = take(asleep)
    table.wait_out(other)
    with take(other) as again:
        with pytest.raises(LeaseLostError, match="does not count"), late:
            late.complete(9.0)
        again.complete(1.0)
    with pytest.raises(LeaseLostError):
        late.note("run", "r2")
    assert [trial.value for trial in table.trials()] == [None, 1.0]
    assert table.states() == ["FAIL", "COMPLETE"]


def test_job_that_always_kills_its_worker_ends_as_failed(table: Table) -> None:
    other = table.queue(1)
    for _ in range(queues.MOST_FRUITLESS):
        take(other)
        table.wait_out(other)
    assert other.look() is Standing.DONE
    assert table.states() == ["FAIL"] * queues.MOST_FRUITLESS
    assert table.trials()[-1].user_attrs["reason"].endswith("given up")


def test_job_that_comes_further_each_time_is_not_given_up(table: Table) -> None:
    other = table.queue(1)
    for steps in range(1, queues.MOST_FRUITLESS + 3):
        take(other).advance(100 * steps)
        table.wait_out(other)
    with take(other) as attempt:
        attempt.complete(1.0)
    assert table.states()[-1] == "COMPLETE"


def test_stopped_worker_hands_its_trial_back_at_once(table: Table) -> None:
    stopped, other = table.queue(1), table.queue(1)
    for _ in range(queues.MOST_FRUITLESS + 1):
        attempt = take(stopped)
        attempt.note("run", "r1")
        with pytest.raises(KeyboardInterrupt), attempt:
            raise KeyboardInterrupt
    with take(other) as attempt:
        assert attempt.earlier["run"] == "r1"
        attempt.complete(1.0)
    assert other.look() is Standing.DONE


def test_dead_worker_is_buried_without_waiting_for_its_lease(table: Table) -> None:
    dead, alive, engine = table.queue(2), table.queue(2), table.queue(2)
    take(dead)
    kept = take(alive)
    engine.bury(dead.owner, "lost: ended by signal 9")
    with take(engine) as again:
        again.complete(1.0)
    with kept:
        kept.complete(2.0)
    assert not engine.has_more()
    assert sorted(table.states()) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_no_more_jobs_are_begun_than_wanted_and_more_may_be_wanted_later(table: Table) -> None:
    queue = table.queue(2)
    attempts = [take(queue), take(queue)]
    assert queue.look() is Standing.WAIT
    for attempt in attempts:
        with attempt:
            attempt.complete(1.0)
    assert queue.look() is Standing.DONE
    assert table.queue(3).has_more()
    assert isinstance(table.queue(3).look(), Attempt)


def test_enqueued_trial_is_a_job_and_keeps_its_parameters_when_lost(table: Table) -> None:
    queue = table.queue(1)
    study = optuna.load_study(study_name=table.name, storage=connection(table.url, 0))
    study.enqueue_trial({"x": 0.25})
    take(queue)
    table.wait_out(queue)
    with take(queue) as attempt:
        assert attempt.trial.suggest_float("x", 0.0, 1.0) == 0.25
        attempt.complete(1.0)
    assert queue.look() is Standing.DONE


def test_while_the_storage_was_away_nobody_is_taken_for_dead(table: Table) -> None:
    storage = connection(table.url, 0)
    study = optuna.create_study(storage=storage, study_name=table.name)
    watcher = Queue(study, storage, 1, lease_s=LEASE_S, clock=table.clock)
    take(table.queue(1))
    table.wait_out(watcher)
    storage.outages += 1
    table.wait_out(watcher)
    assert isinstance(watcher.look(), Attempt)


def test_ends_of_an_attempt(table: Table) -> None:
    queue = table.queue(4)
    with take(queue) as attempt:
        attempt.report(0.25, 1)
        raise optuna.TrialPruned
    with take(queue) as attempt:
        attempt.fail("diverged at step 7")
    with take(queue) as attempt, pytest.raises(InputError, match="finite"):
        attempt.complete(float("nan"))
    with pytest.raises(ZeroDivisionError), take(queue) as attempt:
        _ = 1 / 0
    pruned, diverged, scoreless, broken, again = table.trials()
    assert (pruned.state, pruned.value) == (TrialState.PRUNED, 0.25)
    assert diverged.user_attrs["reason"] == "diverged at step 7"
    assert scoreless.user_attrs["reason"] == "it ended without a score"
    assert broken.user_attrs["reason"] == "lost by an error: ZeroDivisionError: division by zero"
    assert (again.state, again.user_attrs["retry_of"]) == (TrialState.WAITING, 3)


def test_signs_of_life_keep_the_lease(tmp_path: Path) -> None:
    table = Table(str(tmp_path / "study.journal"))
    worker, other = table.queue(1), table.queue(1)
    worker._lease_s = 0.3  # A sign each 0.05 s.
    storage = connection(table.url, 0)
    with take(worker) as attempt:
        for _ in range(6):
            assert other.look() is Standing.WAIT
            before = storage.get_trial(attempt.trial_id).system_attrs[LEASE]
            until = time.monotonic() + 60.0
            while storage.get_trial(attempt.trial_id).system_attrs[LEASE] == before:
                assert time.monotonic() < until, "no sign of life"
                time.sleep(0.01)
            table.clock.now += LEASE_S / 3.0
        assert other.look() is Standing.WAIT
        attempt.complete(1.0)
    assert table.states() == ["COMPLETE"]


def test_who_stood_still_himself_takes_nobody_for_lost(table: Table) -> None:
    worker, other = table.queue(1), table.queue(1)
    attempt = take(worker)
    assert other.look() is Standing.WAIT
    # All of them did: there was nobody to give a sign of life, nor to look for one.
    table.clock.now += 10.0 * LEASE_S
    assert other.look() is Standing.WAIT
    attempt.complete(1.0)
    assert table.states() == ["COMPLETE"]


PROCESS = """
import os, sys, time
import optuna
from donkey_rl.experiments.sweeps.queue import Queue, Standing
from donkey_rl.experiments.sweeps.storage import open_storage

url, name, what = sys.argv[1:]
storage = open_storage(url)
study = optuna.load_study(study_name=name, storage=storage)
queue = Queue(study, storage, 1, lease_s=0.2)
if what == "dies between the writes":
    optuna.Study.add_trial = lambda *arguments: os.kill(os.getpid(), 9)
print("ready", flush=True)
sys.stdin.readline()
while queue.look() is Standing.WAIT:
    time.sleep(0.001)
"""


@pytest.mark.slow
@pytest.mark.parametrize("url", ["journal", "postgresql"], indirect=True)
def test_processes_that_race_and_die_between_the_writes_leave_one_successor(table: Table) -> None:
    queue = table.queue(1)
    take(queue)

    def process(what: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROCESS, table.url, table.name, what]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    found = [process(what) for what in ("dies between the writes", "races", "races")]
    for each in found:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    dying, *racing = found
    dying.communicate("go\n")
    assert dying.returncode == -9
    assert table.states() == ["FAIL"]  # its successor was never written
    for each in racing:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    # One takes the successor and ends with it; the other loses that one and takes the next.
    for each in racing:
        assert each.wait() == 0
        each.communicate()
    jobs = queues.attempts(table.trials())
    assert table.states() == ["FAIL", "FAIL", "RUNNING"]
    assert [trial.user_attrs.get("retry_of") for trial in jobs[0]] == [None, 0, 1]
