"""Training the encoder of a run, before its policy."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from donkey_rl import source_code
from donkey_rl.agents.encoders.autoencoder import Autoencoder
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.encoders.config import (
    AutoencoderConfig,
    LaneEncoderConfig,
    OwnEncoderConfig,
)
from donkey_rl.agents.encoders.own import Draft, OwnEncoder
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.envs import labels
from donkey_rl.envs.simulator import effects
from donkey_rl.errors import InputError
from donkey_rl.experiments import (
    beginning,
    encoder_frames,
    interruption,
    lane_training,
    provenance,
)
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import reference
from donkey_rl.experiments.progress import ProgressDisplay

_CODE = (
    "agents/adam.py",
    "agents/augmentation/*.py",
    "agents/cnn.py",
    "agents/encoders/*.py",
    "agents/tensorflow_setup.py",
    "envs/joined_view.py",
    "envs/labels.py",
    "envs/recordings/*.py",
    "envs/simulator/*.py",
    "envs/simulator/tracks/*.json",
    "envs/vec_env.py",
    "experiments/encoder_frames.py",
    "experiments/encoder_training.py",
    "experiments/lane_training.py",
)
"""What draws the frames and trains on them."""


def key(config: TrainingConfig) -> str:
    """Returns a SHA-256 of what the encoder of a run depends on, but for the number of cores."""
    data = beginning.hashes_of_data(config)
    facts = {
        "encoder": config.encoder.model_dump(mode="json"),
        "environment": [each.model_dump(mode="json") for each in config.environments()],
        "seed": config.seed,
        "track_file": beginning.hash_of_track_file(config.track),
        "data": {name: found for name, found in data.items() if name.startswith("encoder.")},
        "versions": provenance.versions(),
        "package": source_code.digest(*_CODE),
    }
    code = beginning.hashes_of_code(config).get("encoder.code")
    facts |= {} if code is None else {"code": code}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check(config: TrainingConfig) -> None:
    """Tries an encoder of the user's own before a run begins; others need no trial.

    Raises:
        InputError: Its file is not named or cannot be used, or what it makes is no encoder.
    """
    if isinstance(config.encoder, OwnEncoderConfig):
        _draft(config, config.encoder).encoder()


def train_encoder(
    config: TrainingConfig, progress: ProgressDisplay, between: Callable[[], None]
) -> tuple[Encoder, EncoderReport]:
    """Trains the encoder that a run's configuration names.

    Args:
        config: The run.
        progress: Shows how far it is.
        between: Called between two pieces of work; what it raises ends the training.

    Returns:
        The encoder, and how good it is on frames that it was not trained on.

    Raises:
        InputError: The encoder is not one that is trained before the policy, there are not
            enough frames to train it on, or code of the user's own fails.
        LinkError: A simulator whose frames were wanted cannot be reached, or was lost.
    """
    settings = config.encoder
    if isinstance(settings, LaneEncoderConfig):
        return lane_training.train_encoder(config, settings, progress, between)
    if isinstance(settings, AutoencoderConfig):
        return _train_autoencoder(config, settings, progress, between)
    if isinstance(settings, OwnEncoderConfig):
        return _train_own(config, settings, progress, between)
    raise InputError(
        "Expected an encoder that is trained before the policy: lane, autoencoder or own. "
        f"Received: encoder.name={settings.name}. Set encoder.name=lane."
    )


def _train_autoencoder(
    config: TrainingConfig,
    settings: AutoencoderConfig,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> tuple[Autoencoder, EncoderReport]:
    """Collects or reads frames and trains the auto-encoder on them."""
    if settings.seed is None:
        settings = settings.model_copy(update={"seed": config.seed})
    encoder = Autoencoder(config.camera.shape, settings)
    if settings.data is None:
        seed = config.seed + lane_training.SEED_OFFSET
        source = encoder_frames.collect(config, settings.frames, seed)
    else:
        places = reference.recordings(settings.data, progress)
        source = encoder_frames.recorded(places, settings.frames, config.camera.shape)
        if config.camera.img_d == 1:
            source = map(effects.gray, source)
    reduced: list[npt.NDArray[np.uint8]] = []
    with progress.phase("collecting frames", settings.frames, "frames") as phase:
        for images in source:
            reduced.append(encoder.preprocess(images))
            phase.update(phase.done + len(images))
            between()
    with progress.phase("training encoder", 100, "%") as phase:

        def show(share: float, loss: float) -> None:
            phase.update(round(100 * share), loss=loss)
            between()

        report = encoder.fit(np.concatenate(reduced), show)
    return encoder, report


def _draft(config: TrainingConfig, settings: OwnEncoderConfig) -> Draft:
    return Draft(settings.code, config.camera.shape, config.seed)


def _train_own(
    config: TrainingConfig,
    settings: OwnEncoderConfig,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> tuple[OwnEncoder, EncoderReport]:
    """Has code of the user's own make an encoder, and train it where it wants to."""
    started = time.perf_counter()
    draft = _draft(config, settings)
    frames = 0
    if draft.fits:
        images, truth = _labelled(config, settings.frames, progress, between)
        frames = len(images)
        with progress.phase("training encoder", None, ""), interruption.at_once():
            draft.fit(images, truth)
        between()
    encoder = draft.encoder()
    if draft.remark:
        progress.message(draft.remark)
    return encoder, EncoderReport({}, {}, (), frames, time.perf_counter() - started)


def _labelled(
    config: TrainingConfig, count: int, progress: ProgressDisplay, between: Callable[[], None]
) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float32]]]:
    """Renders frames (n, H, W, 3), and returns them with their labels, (n,) each, by name."""
    known = labels.names(cars=config.opponents.count > 0)
    images = np.empty((count, *config.camera.shape), np.uint8)
    truth = np.empty((count, len(known)), np.float32)
    done, seed = 0, config.seed + lane_training.SEED_OFFSET
    with progress.phase("rendering frames", count, "frames") as phase:
        for part in encoder_frames.labelled(config, count, seed):
            first, done = done, done + len(part.images)
            images[first:done], truth[first:done] = part.images, part.labels
            phase.update(done)
            between()
    return images, {name: truth[:, column].copy() for column, name in enumerate(known)}
