"""One training run: encoder, policy, checks, the finished driver and its races."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from stable_baselines3.common.logger import Logger

from donkey_rl.agents import driving
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import joined_view, simulators
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.simulator import scene
from donkey_rl.errors import DivergedError, DonkeyRLError, LinkError, StorageError
from donkey_rl.experiments import (
    algorithms,
    demonstrations,
    driver_storing,
    encoder_training,
    evaluation,
    mlflow_store,
    prerequisites,
    process_clock,
    provenance,
    race_latency,
    resuming,
    rivals,
    run_inputs,
    sight,
    starting,
    tracking,
    training_pictures,
)
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.checks import Checks, Hooks, MlflowWriter, check_fields
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.continuation import Continuation
from donkey_rl.experiments.evaluation_races import RacePlan
from donkey_rl.experiments.evaluation_result import Evaluation
from donkey_rl.experiments.interruption import Interruption, at_once
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.membership import ALONE, EndedEarly, Figures, Membership
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.run_folder import RunFolder
from donkey_rl.experiments.training_report import Learned
from donkey_rl.experiments.training_result import TrainingResult


def train(
    config: TrainingConfig, progress: ProgressDisplay, member: Membership = ALONE
) -> TrainingResult:
    """Trains a driver, races it, and keeps everything in MLflow.

    After Ctrl-C, or another signal to end, the best driver so far is stored and raced no more, and
    the run is marked as stopped (``KILLED``). Where a simulator is lost, or anything else fails,
    the driver so far is stored as well.

    Args:
        config: The run.
        progress: Shows how far it is.
        member: What it is a part of; it may end the training early, as Ctrl-C does.

    Returns:
        The report; the driver is in the run.

    Raises:
        StorageError: The run could not be stored.
        LinkError: A simulator cannot be reached, and no run is begun; or it was lost, and the run
            is marked as failed.
        InputError: A recording to imitate cannot be learned from, a driver to begin with does not
            fit, or a reward or an encoder of the user's own cannot be used; no run is begun.
    """
    config = prerequisites.checked(config, progress)
    mlflow_store.prepare_in_background()
    with Interruption() as interruption, at_once():
        run = tracking.start(
            f"{config.agent} {config.track} seed {config.seed}",
            params=configs.flat(config.model_dump(mode="json")),
            tags=provenance.tags(config) | dict(member.tags),
            parent=member.parent,
            patience_s=member.patience_s,
        )
    with run:
        progress.message(f"run {run.id}")
        run_inputs.log(config, run)
        folder = resuming.begin(run, config, member.collectors)
        member.begun(run.id)
        with folder.locked():
            result = _carry_out(_Session(config, run, folder, progress, member), interruption)
    return _tidied(result, config, folder)


def resume(
    reference: str, settings: Sequence[str], progress: ProgressDisplay, member: Membership = ALONE
) -> TrainingResult:
    """Continues a run that ended early, from its last checkpoint.

    On the embedded simulator it then comes to what it would have come to without the end, bit
    for bit. What was logged after the checkpoint is logged a second time, at the same steps.

    Args:
        reference: The run: its id, the beginning of it, or its name.
        settings: Assignments `key=value` that are to hold; only those that learning does not
            depend on may differ from the run's own.
        progress: Shows how far it is.
        member: As in `train`.

    Returns:
        As `train`; times are those of the whole run.

    Raises:
        InputError: The run cannot be continued; see `resuming.find`.
        StorageError: As in `train`.
        LinkError: As in `train`.
    """
    found = resuming.find(reference, settings, collectors=member.collectors)
    with found.folder.locked(), tracking.reopen(found.run_id, found.folder.spools) as run:
        for line in (f"run {run.id} goes on", *found.remarks):
            progress.message(line)
        member.begun(run.id)
        session = _Session(found.config, run, found.folder, progress, member)
        result = _carry_out(session, Interruption())
    return _tidied(result, found.config, found.folder)


def _tidied(result: TrainingResult, config: TrainingConfig, folder: RunFolder) -> TrainingResult:
    """Deletes the checkpoints of a run that has finished, unless they are to stay."""
    if not result.stopped and not config.checkpoint.keep:
        folder.remove()
    return result


def _carry_out(session: _Session, interruption: Interruption) -> TrainingResult:
    """Trains, stores and races; see `train`."""
    run, progress = session.run, session.progress
    process_clock.begin()
    stopped = False
    try:
        with interruption:
            interruption.check()
            session.learn(interruption)
    except (KeyboardInterrupt, EndedEarly):
        stopped = True
        progress.message("stopped: storing the driver so far" if session.has_driver else "stopped")
    except Exception as error:
        session.rescue(error)
        raise
    report = session.finish(race=not stopped)
    run.end("KILLED" if stopped else "FINISHED")
    return report.model_copy(update={"stopped": stopped})


class _Session:
    """The parts of a run while it goes on."""

    def __init__(
        self,
        config: TrainingConfig,
        run: Run,
        folder: RunFolder,
        progress: ProgressDisplay,
        member: Membership,
    ) -> None:
        self._config = config
        self.run = run
        self._folder = folder
        self.progress = progress
        self._member = member
        self._start: Driver | None = None
        self._encoder: Encoder | None = None
        self._model: SAC | PPO | None = None
        self._env: ExtractedVecEnv | None = None
        self._checks: Checks | None = None
        self._continuation: Continuation | None = None
        self._taught, self._learn_s, self._missed = threading.Event(), 0.0, 0

    def learn(self, interruption: Interruption) -> None:
        """Trains the encoder, then the policy.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        config = self._config
        self._start = starting.load(config)
        with scene.kept():
            self._see(interruption)
            opened = joined_view.make(config.environments(), config.driven, config.seed)
        with contextlib.closing(opened) as environment:
            self._drive(environment, interruption)

    def _see(self, interruption: Interruption) -> None:
        """Reads, takes over or trains the encoder, where the policy has one."""

        def train_encoder() -> tuple[Encoder, Figures]:
            parts = self._config, self.progress, interruption.check
            found, report = encoder_training.train_encoder(*parts)
            return found, report.metrics()

        self._encoder = self._folder.encoder(self.progress.message)
        if self._encoder is None and self._start is not None:
            self._encoder = self._start.encoder
            self._folder.keep_encoder(self._encoder, self.progress.message)
        if self._encoder is None and self._config.encoder.name != "cnn":
            self._encoder, figures = self._member.encoder(
                encoder_training.key(self._config), train_encoder, interruption.check
            )
            self.run.log_metrics(figures, 0)
            self._folder.keep_encoder(self._encoder, self.progress.message)
            if self._member.shown:
                training_pictures.encoder(self.run, self._config, self._encoder, self.progress)

    def _drive(self, environment: Cars, interruption: Interruption) -> None:
        """Trains the policy."""
        config = self._config
        local = sight.environment(config, environment, self._encoder, sight.scaling(config))
        self._env = self._member.environment(config, local, self._encoder)
        self._model = algorithms.agent(config, self._env)
        self._model.set_logger(Logger(None, [MlflowWriter(self.run)]))
        started = process_clock.seconds()
        fields = check_fields(config, environment)
        rivals.seat_copies(environment, fields, self._model, self._env.extractor)
        with self.progress.phase("training driver", config.steps) as phase:
            self._checks = Checks(
                config.check,
                fields,
                self._env.extractor,
                self.run,
                phase,
                Hooks(
                    self._store_first_driver,
                    interruption.check,
                    environment.interrupt if simulators.count(config.simulator) else lambda: None,
                    self._member.checked,
                ),
            )
            self._continuation = Continuation(
                config, self.run, self._folder.checkpoints, self._checks, self.progress
            )
            if self._continuation.resumed_at is None:
                self._begin(local, environment, self._model, interruption)
            untrained = driving.weights(self._model)
            try:
                self._continuation.learn(self._model)
                taken = self._model.num_timesteps
                algorithms.check_learned(config, untrained, driving.weights(self._model), taken)
                if config.steps:
                    self._checks.check()
            finally:
                self._learn_s = process_clock.seconds() - started
                self._missed = environment.missed

    def _begin(
        self,
        local: ExtractedVecEnv,
        environment: Cars,
        model: SAC | PPO,
        interruption: Interruption,
    ) -> None:
        """Has the policy begin with a driver or with demonstrations, and races it.

        Lessons are driven here, wherever the cars are that it learns in later: the expert knows
        the state of the cars on this machine.
        """
        if self._checks is None:
            raise DonkeyRLError("There is nobody to race before the training has begun.")
        if self._start is None and not self._config.imitation.wanted:
            return
        if self._start is not None:
            taken = " and ".join(starting.take_over(model, self._start))
            self.progress.message(f"begins with {taken} of {self._config.start.driver}")
        if self._config.imitation.wanted:
            parts = self._config, local, environment, model, self.progress
            found = demonstrations.imitate(*parts, interruption.check, self._taught.set)
            self.run.log_metrics(found, 0)
        self._checks.init_callback(model)
        self._checks.check()
        if self._checks.findings.first_clean_lap_steps is not None:
            # Over whole races as well, as all later checks are.
            self._checks.check()

    @property
    def has_driver(self) -> bool:
        """Whether there is a policy to store: one that was taught, has learned or was raced."""
        checks = self._checks
        learned = checks is not None and (checks.num_timesteps > 0 or bool(checks.findings.curve))
        return (learned or self._taught.is_set()) and not self._is_behind

    @property
    def _is_behind(self) -> bool:
        """Whether an earlier process of the run has stored a driver of more steps."""
        steps = 0 if self._model is None else self._model.num_timesteps
        return steps < (self._folder.stored_steps or 0)

    @property
    def has_raced(self) -> bool:
        """Whether a check has raced a policy, the best of which is kept."""
        return self._checks is not None and self._checks.findings.best_weights is not None

    def rescue(self, error: Exception) -> None:
        """Stores the driver of a training that has failed, or says why that failed as well."""
        diverged = isinstance(error, DivergedError)
        if self._is_behind or not (self.has_raced if diverged else self.has_driver):
            return
        what = "simulator is lost" if isinstance(error, LinkError) else "training has failed"
        self.progress.message(f"the {what}: storing the {'best ' * diverged}driver so far")
        try:
            self.finish(race=False, best=diverged)
        except Exception as another:
            self.progress.message(f"no driver is stored: {another}")

    def finish(self, *, race: bool, best: bool = False) -> TrainingResult:
        """Stores the driver, by `best` that of the best policy, draws the curves and races it."""
        raced: Evaluation | None = None
        best_lap: float | None = None
        if self._is_behind and not race:
            self.progress.message(
                f"the driver of step {self._folder.stored_steps:,} stays: the run is not there yet"
            )
        elif self._checks is not None and (race or self.has_driver):
            best_lap = self._checks.findings.best_lap_s
            wants_best = best or self._config.check.keep == "best"
            steps = self._use_best_policy() if wants_best else None
            driver = self._store_driver(steps=steps)
            if self._member.shown:
                training_pictures.draw(self.run, self._config, self._checks.findings.curve)
            if race:
                # Alone, so that scores compare, whoever was on the road in training.
                places = rivals.without(self._config.race_environments())
                setting, shown = self._config.evaluation, self._member.shown
                plan = RacePlan(races=setting.races, laps=setting.laps, films=shown, plots=shown)
                raced = evaluation.race_driver(driver, places, self.run, plan, self.progress)
                if (late := self._config.latency).wanted:
                    self.progress.message(race_latency.remark(late, self.run.id))
                best_lap = raced.best_lap_s
        learned = Learned(
            self.run,
            self._model,
            self._env,
            self._checks,
            self._continuation,
            self._learn_s,
            self._missed,
        )
        stored = self.has_driver or self._folder.stored_steps is not None
        return learned.report(raced, best_lap, stored=stored)

    def _use_best_policy(self) -> int | None:
        """Puts the best policy back; returns the steps that it had learned from, if known."""
        model, checks = self._model, self._checks
        if model is None or checks is None or checks.findings.best_weights is None:
            return None
        driving.put_back(model, checks.findings.best_weights)
        return checks.findings.best_steps

    def _store_first_driver(self) -> None:
        """Stores the policy of the first clean lap, whose LiteRT model can wait, or goes on."""
        if self._is_behind:
            return
        try:
            self._store_driver(lite=False)
        except StorageError as error:
            self.progress.message(f"the driver of the first clean lap is not stored: {error}")

    def _store_driver(self, *, lite: bool = True, steps: int | None = None) -> Driver:
        """Stores the policy as it is now as the run's driver."""
        if self._model is None:
            raise DonkeyRLError("There is no policy to store before the training has begun.")
        parts = self.run, self._config, self._model, self._encoder, self._start
        driver = driver_storing.store(*parts, lite=lite, steps=steps)
        self._folder.note_stored(self._model.num_timesteps)
        return driver
