"""Trials of a sweep whose races are made by hand."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from donkey_rl.errors import RunBusyError
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.evaluation_result import Evaluation
from donkey_rl.experiments.membership import EndedEarly, Membership
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import storage as storages
from donkey_rl.experiments.sweeps import studies, trial
from donkey_rl.experiments.sweeps.plan import SweepPlan, SweepRequest, make
from donkey_rl.experiments.sweeps.queue import Queue
from donkey_rl.experiments.training_result import TrainingResult

Races = Callable[[TrainingConfig, Membership], "Outcome"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a training comes to."""

    scores: Sequence[float] = ()
    disqualified: float = 0.0
    stopped: bool = False


def plan(**values: Any) -> SweepPlan:
    return make(SweepRequest(**{"study": "hand", "agent": "sac", **values}))


def evaluation(outcome: Outcome, run_id: str) -> Evaluation:
    return Evaluation(
        run_id=run_id,
        driver=run_id,
        driver_hash="",
        track="generated_track",
        vehicle="donkey_2022",
        simulator="embedded",
        version="",
        key="",
        laps_wanted=3,
        seed=1000,
        races=len(outcome.scores),
        races_clean=0,
        missed_deadlines=0,
        metrics={"disqualified": {"mean": outcome.disqualified}},
        per_race=tuple({"seed": 1000 + k, "score": s} for k, s in enumerate(outcome.scores)),
        laps=(),
        best_lap_s=None,
    )


class Sweep:
    """A sweep on a journal, with trainings that are not done.

    Attributes:
        configs: Of the trainings that were begun, in their order.
        resumed: Ids of the runs that were gone on with.
        busy: How often another process still holds a run that is to go on.
        lines: What was shown.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, races: Races, **values: Any
    ) -> None:
        self.plan = plan(**values)
        self.storage = storages.open_storage(str(folder / "hand.journal"))
        self.study = studies.join(self.plan, self.storage)
        self.configs: list[TrainingConfig] = []
        self.resumed: list[str] = []
        self.busy = 0
        self._races = races
        self._shown = io.StringIO()
        self._folder = folder
        monkeypatch.chdir(folder)
        monkeypatch.setattr(trial.training, "train", self._train)
        monkeypatch.setattr(trial.training, "resume", self._resume)
        monkeypatch.setattr(trial, "finished", lambda run_id, config: None)

    @property
    def lines(self) -> list[str]:
        return self._shown.getvalue().splitlines()

    def run(self, trials: int) -> list[optuna.trial.FrozenTrial]:
        """Works on the study until it has so many trials."""
        queue = Queue(self.study, self.storage, trials)
        task = trial.SweepTask(self.plan)
        while (attempt := queue.take()) is not None:
            with attempt:
                task.run(attempt, ProgressDisplay(self._shown))
        return self.study.get_trials()

    def _train(
        self, config: TrainingConfig, progress: ProgressDisplay, member: Membership
    ) -> TrainingResult:
        self.configs.append(config)
        run_id = f"run{len(self.configs)}"
        member.begun(run_id)
        try:
            outcome = self._races(config, member)
        except EndedEarly:
            outcome = Outcome(stopped=True)
        return TrainingResult(
            run_id=run_id,
            steps=config.steps,
            wall_s=1.0,
            first_clean_lap_wall_s=None,
            first_clean_lap_steps=None,
            best_lap_s=None,
            stopped=outcome.stopped,
            driver_stored=True,
            evaluation=None if outcome.stopped else evaluation(outcome, run_id),
        )

    def _resume(
        self, run_id: str, settings: Sequence[str], progress: ProgressDisplay, member: Membership
    ) -> TrainingResult:
        self.resumed.append(run_id)
        if self.busy:
            self.busy -= 1
            raise RunBusyError("Run is being trained by another process.")
        return self._train(self.configs[-1], progress, member)
