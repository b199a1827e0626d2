"""A start by imitation: demonstrations are driven or read, and the policy is trained on them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np

from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.imitation.cloning import Cloner, CloningReport
from donkey_rl.agents.imitation.config import NO_EXPERT, ImitationConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.latency import STEP_MS
from donkey_rl.errors import InputError
from donkey_rl.experiments import recorded_drives
from donkey_rl.experiments.collection import Collection
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import reference
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.school import SEED_OFFSET, School

_FRAMES_AT_A_TIME = 256

_WITHOUT_LATENCY = (
    "the expert drives without latency: the replay buffer begins with the rounds that the policy "
    "drives itself, not with the expert's drive"
)

_RECORDED_STREAM = 2
"""Delays of recorded drives are drawn from a stream of their own."""


def check(config: TrainingConfig, progress: ProgressDisplay) -> None:
    """Refuses lessons that nothing can be learned from, before anything is trained.

    Args:
        config: The run.
        progress: Shows how far a data set is fetched.

    Raises:
        InputError: There is no recording, it lacks something, or there are neither lessons nor
            steps.
        StorageError: A data set cannot be fetched whole.
    """
    if config.steps == 0 and not config.imitation.wanted:
        raise InputError(
            "steps=0 is for a driver of lessons alone. Received: no lessons. Give --steps, or set "
            "imitation.expert=pursuit."
        )
    if config.imitation.data is not None:
        places = reference.recordings(config.imitation.data, progress)
        setting, records = config.imitation, 0
        for place in places:
            found = recorded_drives.read(place, config.environment(), setting.speed)
            records += sum(map(len, found))
        learned = records * (1.0 - setting.validation_share) * (1 + setting.copies)
        if setting.expert == NO_EXPERT and learned < setting.batch_size:
            raise InputError(
                f"Expected recordings of at least one batch, imitation.batch_size="
                f"{setting.batch_size}. Received: {records} records, of which "
                f"{setting.validation_share:.0%} are kept to check by. Record a longer drive, or "
                "lower it."
            )


def imitate(
    config: TrainingConfig,
    environment: ExtractedVecEnv,
    cars: Cars,
    model: SAC | PPO,
    progress: ProgressDisplay,
    between: Callable[[], None],
    taught: Callable[[], None],
) -> dict[str, float]:
    """Trains a policy on demonstrations, before it drives by itself.

    Args:
        config: The run.
        environment: What the policy learns in; its episodes are begun anew afterwards.
        cars: The same, with images and the cars' state.
        model: The agent, changed in place.
        progress: Shows how far it is.
        between: Called between two pieces of work; what it raises ends the training.
        taught: Called once the policy has learned from all that was shown, before the rounds.

    Returns:
        Metrics for the run, by name.

    Raises:
        InputError: A recording cannot be learned from.
    """
    setting = config.imitation
    collection = Collection(config, environment)
    metrics: dict[str, float] = {}
    if setting.data is not None:
        places = reference.recordings(setting.data, progress)
        found = [_read(config, place, collection, between) for place in places]
        metrics["imitation/records"] = float(sum(found))
    policy = model.learner.actor if isinstance(model, PPO) else model.deterministic_model()
    cloner = Cloner(policy, model.learner.cnn, setting, seed=config.seed + SEED_OFFSET)
    if setting.expert == "pursuit":
        school = School(config, environment, cars, collection, model)
        if config.latency.wanted and isinstance(model, SAC) and setting.seed_replay:
            progress.message(_WITHOUT_LATENCY)
        with progress.phase("driving demonstrations", setting.steps) as phase:

            def show(steps: int) -> None:
                phase.update(steps)
                between()

            reward = school.show(show)
        metrics |= {"imitation/steps": float(school.steps), "imitation/reward_per_step": reward}
    report = _clone(setting, cloner, collection, progress, between)
    taught()
    if setting.rounds:
        report = _correct(setting, school, cloner, collection, progress, between)
        metrics |= {"imitation/own_steps": float(school.steps - metrics["imitation/steps"])}
    return metrics | {
        "imitation/rows": float(report.rows),
        "imitation/loss": report.loss[-1],
        "imitation/steering_rmse": report.rmse[0],
        "imitation/throttle_rmse": report.rmse[1],
    }


def _clone(
    setting: ImitationConfig,
    cloner: Cloner,
    collection: Collection,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> CloningReport:
    """Lets the policy learn from all that was shown."""
    with progress.phase("imitating", 100, "%") as phase:

        def show(share: float, loss: float) -> None:
            phase.update(round(100 * share), loss=loss)
            between()

        return cloner.fit(
            collection.joined(),
            epochs=setting.epochs,
            learning_rate=setting.learning_rate,
            progress=show,
        )


def _correct(
    setting: ImitationConfig,
    school: School,
    cloner: Cloner,
    collection: Collection,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> CloningReport:
    """Lets the policy drive and learn what the expert would have done, round by round."""
    with progress.phase("driving under the expert's eye", setting.rounds, "rounds") as phase:
        for done in range(setting.rounds):
            school.correct(lambda _: between())
            report = cloner.fit(
                collection.joined(),
                epochs=setting.round_epochs,
                learning_rate=setting.rate_after(done + 1),
                progress=lambda share, loss: between(),
            )
            phase.update(done + 1, loss=report.loss[-1])
    return report


def _read(
    config: TrainingConfig,
    path: pathlib.Path,
    collection: Collection,
    between: Callable[[], None],
) -> int:
    """Adds what was recorded; returns how many records could be learned from."""
    drives = recorded_drives.read(path, config.environment(), config.imitation.speed)
    random = np.random.default_rng([config.seed, SEED_OFFSET, _RECORDED_STREAM])
    records = 0
    for drive in drives:
        share = 1.0 - config.imitation.validation_share
        learned = min(round(share * len(drive)), len(drive) - 1)
        for kept, first, last in ((False, 0, learned), (True, learned, len(drive))):
            for start in range(first, last, _FRAMES_AT_A_TIME):
                rows = np.arange(start, min(start + _FRAMES_AT_A_TIME, last))
                # Each piece, of some ten seconds, is learned from as one episode.
                late_s = 0.001 * STEP_MS * int(config.latency.draw_steps(random, 1)[0])
                observation, actions = drive.observations(rows, late_s)
                if len(actions):
                    collection.add(observation, actions, kept=kept)
                records += len(actions)
                between()
    return records
