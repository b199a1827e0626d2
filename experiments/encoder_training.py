"""Training the encoder of a run, before its policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.encoders.autoencoder import Autoencoder
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.encoders.config import AutoencoderConfig, LaneEncoderConfig
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.errors import InputError
from donkey_rl.experiments import beginning, encoder_frames, lane_training, provenance
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import reference
from donkey_rl.experiments.progress import ProgressDisplay


def key(config: TrainingConfig) -> str:
    """Returns a SHA-256 of everything that the encoder of a run depends on."""
    data = beginning.hashes_of_data(config)
    facts = {
        "encoder": config.encoder.model_dump(mode="json"),
        "environment": [each.model_dump(mode="json") for each in config.environments()],
        "seed": config.seed,
        "track_file": beginning.hash_of_track_file(config.track),
        "data": {name: found for name, found in data.items() if name.startswith("encoder.")},
        "versions": provenance.versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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
        InputError: The encoder is not one that is trained before the policy, or there are not
            enough frames to train it on.
        LinkError: A simulator whose frames were wanted cannot be reached, or was lost.
    """
    settings = config.encoder
    if isinstance(settings, LaneEncoderConfig):
        return lane_training.train_encoder(config, settings, progress, between)
    if isinstance(settings, AutoencoderConfig):
        return _train_autoencoder(config, settings, progress, between)
    raise InputError(
        "Expected an encoder that is trained before the policy: lane or autoencoder. "
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
