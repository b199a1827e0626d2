"""A trial of a sweep: its trainings, their races, and what these come to."""

from __future__ import annotations

import io
import pathlib
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import optuna

from donkey_rl import configuration
from donkey_rl.errors import DivergedError, InputError, NothingLearnedError, RunBusyError
from donkey_rl.experiments import evaluation, evaluation_result, stored_runs, training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.evaluation_result import Evaluation
from donkey_rl.experiments.membership import EndedEarly, Membership
from donkey_rl.experiments.progress import ProgressDisplay, duration
from donkey_rl.experiments.run_folder import PLACE, RunFolder
from donkey_rl.experiments.sweeps import studies
from donkey_rl.experiments.sweeps.attempt import Attempt
from donkey_rl.experiments.sweeps.encoder_shelf import EncoderShelf
from donkey_rl.experiments.sweeps.plan import Cell, SweepPlan
from donkey_rl.experiments.sweeps.results import DISQUALIFIED, RUN_NOTE, SCORE_NOTE
from donkey_rl.experiments.sweeps.storage import SharedStorage
from donkey_rl.experiments.sweeps.worker import Task
from donkey_rl.experiments.training_result import TrainingResult

_SCORE_TAG = "score/"
"""What the tags of a run begin with that has races."""

_PATIENCE_S = 600.0
_BUSY_S = 300.0
"""So long a training is waited for whose worker was given up and still holds it."""

_BUSY_PAUSE_S = 5.0

SHELF = pathlib.Path("sweeps") / "encoders"
"""Where the encoders are that trainings share, below the folder where a sweep is started."""


class SweepTask(Task):
    """Trains and races what the trials of a sweep suggest."""

    def __init__(self, plan: SweepPlan) -> None:
        """Takes the sweep; nothing is opened yet."""
        self._plan = plan
        self._parent = ""

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Self:
        """See `Task`."""
        return cls(configuration.validate(SweepPlan, plan))

    def study(self, storage: SharedStorage) -> optuna.Study:
        """See `Task`."""
        study = studies.join(self._plan, storage)
        self._parent = studies.run_of(study, storage, self._plan)
        return study

    def run(self, attempt: Attempt, progress: ProgressDisplay) -> None:
        """See `Task`."""
        _Trial(self._plan, self._parent, attempt, progress).run()


class _Trial:
    """One attempt at a trial while it goes on."""

    def __init__(
        self, plan: SweepPlan, parent: str, attempt: Attempt, progress: ProgressDisplay
    ) -> None:
        self._plan = plan
        self._parent = parent
        self._attempt = attempt
        self._progress = progress
        self._scores: list[float] = []
        self._disqualified: list[float] = []
        self._run_id = ""
        self._began_s = time.monotonic()

    def run(self) -> None:
        """Trains and races every cell, and ends the attempt."""
        attempt, plan = self._attempt, self._plan
        values = studies.suggest(attempt.trial, plan.space)
        try:
            cells = plan.cells()
            for number, cell in enumerate(cells):
                self._count(number, cell, self._carry_out(number, cell, values))
                # After the last training nothing is spared.
                is_last = number + 1 == len(cells)
                if plan.pruner == "wilcoxon" and not is_last and attempt.trial.should_prune():
                    raise EndedEarly
        except EndedEarly:
            attempt.prune()
            scored = f"{np.mean(self._scores):.2f} so far" if self._scores else "no race yet"
            self._say(f"given up, {scored}")
        except (DivergedError, InputError, NothingLearnedError) as error:
            self._forget_checkpoints()
            attempt.fail(str(error))
            self._say(f"failed: {error}")
        else:
            score, share = float(np.mean(self._scores)), float(np.mean(self._disqualified))
            # A mean of means is a little off the share that it stands for.
            attempt.complete(score, {DISQUALIFIED: round(share - plan.most_disqualified, 9)})
            self._say(f"score {score:.2f}, {100 * share:.0f} % disqualified")

    def _carry_out(self, number: int, cell: Cell, values: Mapping[str, Any]) -> Evaluation:
        """Returns what the races of one training came to.

        Raises:
            KeyboardInterrupt: After Ctrl-C; the training can be continued.
            EndedEarly: It was given up while it learned.
        """
        config = self._plan.training(cell, values)
        earlier = self._attempt.earlier.get(RUN_NOTE + cell.name)
        if earlier is not None and (found := finished(earlier, config)) is not None:
            self._attempt.note(RUN_NOTE + cell.name, earlier)
            return found
        hopeless = False

        def checked(steps: int, score: float) -> None:
            nonlocal hopeless
            hopeless = self._checked(number, steps, score)
            if hopeless:
                raise EndedEarly

        def begun(run_id: str) -> None:
            self._run_id = run_id
            self._attempt.note(RUN_NOTE + cell.name, run_id)

        member = Membership(
            parent=self._parent,
            tags={
                "donkey_rl.study": self._plan.study,
                "donkey_rl.trial": self._attempt.trial.number,
            },
            shown=False,
            patience_s=_PATIENCE_S,
            begun=begun,
            checked=checked,
            encoder=EncoderShelf(SHELF).get,
        )
        done = self._train(config, earlier, member)
        if hopeless:
            self._forget_checkpoints()
            raise EndedEarly
        if done.evaluation is None:
            raise KeyboardInterrupt
        return done.evaluation

    def _train(
        self, config: TrainingConfig, earlier: str | None, member: Membership
    ) -> TrainingResult:
        """Trains, or goes on with what an earlier attempt has begun, where that is possible."""
        shown = self._progress if self._progress.is_interactive else None
        with shown or ProgressDisplay(io.StringIO()) as progress:
            if earlier is not None and (done := self._resumed(earlier, progress, member)):
                return done
            return training.train(config, progress, member)

    def _resumed(
        self, earlier: str, progress: ProgressDisplay, member: Membership
    ) -> TrainingResult | None:
        """Goes on with what an earlier attempt has begun; None where that is not possible."""
        until = time.monotonic() + _BUSY_S
        while True:
            try:
                return training.resume(earlier, (), progress, member)
            except InputError as error:
                # Whoever had it only stood still, and notices at its next check.
                if not isinstance(error, RunBusyError) or time.monotonic() > until:
                    self._say(f"begins anew: {error}")
                    return None
            self._attempt.check()
            time.sleep(_BUSY_PAUSE_S)

    def _checked(self, number: int, steps: int, score: float) -> bool:
        """Notes a check of a training; returns whether the trial is to be given up."""
        attempt, config = self._attempt, self._plan.config
        before, every = number * config.steps, config.steps_between_checkpoints
        attempt.check()
        attempt.advance(before + steps // every * every)
        if self._plan.pruner != "hyperband":
            return False
        attempt.report(score, before + steps)
        # After the last check only the races are left.
        is_last = before + steps >= config.steps * len(self._plan.cells())
        return not is_last and attempt.trial.should_prune()

    def _count(self, number: int, cell: Cell, found: Evaluation) -> None:
        """Takes the races of a training into the trial's."""
        on_tracks = (found, *found.others)
        scores = [float(row["score"] or 0.0) for each in on_tracks for row in each.per_race]
        if self._plan.pruner != "hyperband":
            for race, score in enumerate(scores):
                self._attempt.report(score, number * len(scores) + race)
        self._attempt.note(SCORE_NOTE + cell.name, float(np.mean(scores)))
        self._scores += scores
        for each in on_tracks:
            share = float(each.metrics[DISQUALIFIED]["mean"] or 0.0)
            self._disqualified += [share] * len(each.per_race)
        self._attempt.advance((number + 1) * self._plan.config.steps)

    def _forget_checkpoints(self) -> None:
        """Deletes what only a training that goes on needs; its driver is in its run."""
        if self._run_id:
            RunFolder(pathlib.Path(PLACE) / self._run_id).remove()

    def _say(self, what: str) -> None:
        taken = duration(time.monotonic() - self._began_s)
        self._progress.message(f"trial {self._attempt.trial.number}: {what} ({taken})")


def finished(run_id: str, config: TrainingConfig) -> Evaluation | None:
    """Returns what the races of a training came to, None where it has not finished.

    Args:
        run_id: Its run, which may have been evaluated again since.
        config: The training.
    """
    try:
        stored = stored_runs.find(run_id)
    except InputError:
        return None
    raced = any(tag.startswith(_SCORE_TAG) for tag in stored.tags)
    if stored.status != "FINISHED" or not raced:
        return None
    found = [
        evaluation_result.load(
            stored_runs.download(stored, f"{folder}/{evaluation_result.FILE_NAME}")
        )
        for folder in evaluation.race_folders(config.race_environments())
    ]
    return Evaluation(**dict(found[0]), others=tuple(found[1:]))
