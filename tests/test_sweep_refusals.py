"""Sweeps that would try something else than what was typed, and results that are others'."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage

from donkey_rl import search_space
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import beginning, evaluation_result, tracking
from donkey_rl.experiments.cluster import rollouts
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.evaluation_result import EvaluationResult
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import command, plan, studies, trial
from donkey_rl.experiments.sweeps.plan import STEPS, SweepRequest
from donkey_rl.experiments.sweeps.queue import Queue
from donkey_rl.experiments.sweeps.storage import open_storage
from donkey_rl.experiments.sweeps.worker import Order, WorkerReport

pytestmark = pytest.mark.usefixtures("own_store")


def test_a_space_of_the_other_agent_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("ppo.gamma: {low: 0.9, high: 0.99}\n")
    with pytest.raises(ConfigurationError, match=r"ppo\.gamma, which sac never reads"):
        plan.make(SweepRequest(study="s", agent="sac", space=file))
    assert set(plan.make(SweepRequest(study="s", agent="ppo", space=file)).space) == {"ppo.gamma"}


def test_lessons_alone_have_nothing_of_the_agent_to_vary() -> None:
    request = SweepRequest(study="s", agent="ppo", recipe="generalist")
    with pytest.raises(ConfigurationError, match=r"which nothing reads where steps=0.* --steps"):
        plan.make(request)
    assert plan.make(request.model_copy(update={"steps": 9000})).config.steps == 9000


def test_an_agent_that_is_set_has_its_own_budget() -> None:
    made = plan.make(SweepRequest(study="s", settings=("agent=ppo",)))
    assert (made.config.agent, made.config.steps) == ("ppo", STEPS["ppo"])


def test_tracks_are_named_once() -> None:
    with pytest.raises(InputError, match="named once"):
        plan.make(SweepRequest(study="s", track="warren", settings=("track=warehouse",)))


def test_choices_are_what_the_setting_holds(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("sac.critic_dropout: {choices: [0, 0.5]}\n")
    space = search_space.widened(search_space.read(file, TrainingConfig()), TrainingConfig())
    assert repr(space["sac.critic_dropout"].ends) == "(0.0, 0.5)"


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"version": "0.0.1"}, "Install that version"),
        ({"track_file": "other"}, "Put the old file back"),
        ({"agent": "ppo"}, "Type the command that it was begun with"),
    ],
)
def test_the_remedy_is_of_what_differs(changed: dict[str, Any], remedy: str) -> None:
    before = {"version": "1", "track_file": "one", "agent": "sac"}
    with pytest.raises(InputError, match=remedy):
        studies._compare("s", before, before | changed)


def test_a_study_from_before_a_setting_came_goes_on_with_its_default() -> None:
    now = plan.make(SweepRequest(study="s", agent="sac")).identity()
    before = now | {"settings": dict(now["settings"])}
    del before["settings"]["encoder.shifted"], before["settings"]["sac.critic_dropout"]
    studies._compare("s", before, now)
    other = now | {"settings": now["settings"] | {"encoder.shifted": True}}
    with pytest.raises(InputError, match=r"encoder\.shifted none, not True"):
        studies._compare("s", before, other)


def test_an_answer_that_is_lost_makes_no_job_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., bool] = RDBStorage.set_trial_state_values
    lost: list[int] = []

    def flaky(self: RDBStorage, *given: Any) -> bool:
        done = original(self, *given)
        if not lost:
            lost.append(1)
            gone = Exception("server closed the connection unexpectedly")
            raise sqlalchemy.exc.OperationalError("UPDATE", None, gone)
        return done

    monkeypatch.setattr(RDBStorage, "set_trial_state_values", flaky)
    storage = open_storage(f"sqlite:///{tmp_path}/q.db", print)
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    study.enqueue_trial({"x": 1.0})
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    queue = Queue(study, storage, 1, lease_s=0.3, clock=clock)
    completed = 0
    while (attempt := queue.take()) is not None:
        with attempt:
            attempt.trial.suggest_float("x", 0.0, 2.0)
            attempt.complete(1.0)
            completed += 1
    assert lost
    assert completed == 1


def _raced(run: tracking.Run, folder: Path, track: str, scores: list[float]) -> None:
    """Stores races in a run as an evaluation does."""
    result = EvaluationResult(
        run_id=run.id, driver="d", driver_hash="h", track=track, vehicle="v", simulator="e",
        version="0", key="k", laps_wanted=3, seed=1, races=len(scores), races_clean=0,
        missed_deadlines=0, metrics={}, laps=(), best_lap_s=None,
        per_race=tuple({"score": score} for score in scores),
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / evaluation_result.FILE_NAME).write_text(result.model_dump_json())
    run.log_artifact(folder)
    run.set_tags({f"score/{track}/v/3-laps": folder.name})


@pytest.mark.usefixtures("own_store")
def test_a_trial_counts_the_races_of_its_training_alone(
    tmp_path: Path,
) -> None:
    config = TrainingConfig(track="warren")
    with tracking.start("a training") as run:
        _raced(run, tmp_path / "evaluation", "warren", [10.0, 12.0])
    with tracking.attach(run.id) as again:
        _raced(again, tmp_path / "evaluation-warehouse-1x3-seed0", "warehouse", [1.0])
        _raced(again, tmp_path / "evaluation-warren-1x3-seed0", "warren", [2.0])
    found = trial.finished(run.id, config)
    assert found is not None
    assert [race["score"] for race in found.per_race] == [10.0, 12.0]
    assert found.others == ()


@pytest.mark.parametrize(("trials", "stopped"), [(1, True), (0, False)])
def test_a_worker_that_was_asked_to_end_leaves_a_sweep_that_is_not_finished(
    trials: int, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def run(self, order: Order, progress: ProgressDisplay) -> tuple[WorkerReport, ...]:
            storage = open_storage(order.storage, progress.message)
            study = optuna.load_study(study_name=order.study, storage=storage)
            for _ in range(1 - trials):
                study.tell(study.ask(), 1.0)
            return (WorkerReport(owner="w", interrupted=True),)

    monkeypatch.setattr(command, "_engine", lambda work: Interrupted())
    wanted = plan.make(SweepRequest(study="s", agent="sac"))
    done = command.sweep(wanted, command.Work(trials=1), ProgressDisplay(io.StringIO()))
    assert done.stopped is stopped


def test_collectors_are_refused_before_anything_is_done() -> None:
    with pytest.raises(InputError, match="want a car each on every track"):
        rollouts.check(TrainingConfig(cars=2), 4)
    with pytest.raises(InputError, match="need no driver"):
        rollouts.check(
            TrainingConfig(opponents={"count": 1, "drivers": ("self",)}),  # type: ignore[arg-type]
            1,
        )
    rollouts.check(TrainingConfig(cars=4), 4)


def test_a_run_says_how_many_collectors_it_had() -> None:
    config = TrainingConfig(track="warren")
    alone, by_two = beginning.of(config).machine, beginning.of(config, 2).machine
    assert beginning.differences(by_two, alone) == ["collectors 2 then, none now"]
    assert beginning.differences(alone, by_two) == ["collectors none then, 2 now"]
    assert beginning.differences(by_two, beginning.machine(2)) == []
    assert json.dumps(by_two)
