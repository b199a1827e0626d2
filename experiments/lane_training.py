"""Training the lane encoder from the simulator's own labels, as the first part of a run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.agents.encoders.trained import TrainedEncoder
from donkey_rl.envs import labels
from donkey_rl.errors import InputError
from donkey_rl.experiments import encoder_frames, tracking
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay

SEED_OFFSET = 7919
"""Frames are drawn from another stream than the episodes."""


def train_encoder(
    config: TrainingConfig,
    settings: LaneEncoderConfig,
    progress: ProgressDisplay,
    between: Callable[[], None],
) -> tuple[LaneEncoder, EncoderReport]:
    """Renders labelled frames and trains the encoder on them.

    Args:
        config: The run.
        settings: Of the encoder.
        progress: Shows how far it is.
        between: Called between two pieces of work; what it raises ends the training.

    Returns:
        The encoder, and its errors on frames that it was not trained on.

    Raises:
        InputError: ``settings.pretrained`` does not fit, or is no run.
        DriverError: Its driver cannot be read.
    """
    if settings.seed is None:
        settings = settings.model_copy(update={"seed": config.seed})
    known = labels.names(settings.farther, cars=config.opponents.count > 0)
    encoder = LaneEncoder(config.camera.shape, known, settings)
    if settings.pretrained is not None:
        encoder.start_from(_stored(settings.pretrained))
    images = np.empty((settings.frames, *encoder.reduced_shape), np.uint8)
    truth: list[npt.NDArray[np.float32]] = []
    cells: list[npt.NDArray[np.float32]] = []
    source = encoder_frames.labelled(
        config,
        settings.frames,
        config.seed + SEED_OFFSET,
        with_surfaces=settings.segmentation > 0,
        farther=settings.farther,
        bends=settings.bends,
    )
    done = 0
    with progress.phase("rendering frames", settings.frames, "frames") as phase:
        for part in source:
            first, done = done, done + len(part.images)
            images[first:done] = encoder.preprocess(part.images)
            truth.append(part.labels)
            if part.surfaces is not None:
                cells.append(encoder.cells(part.surfaces))
            phase.update(done)
            between()
    with progress.phase("training encoder", 100, "%") as phase:

        def show(share: float, loss: float) -> None:
            phase.update(round(100 * share), loss=loss)
            between()

        shares = np.concatenate(cells) if cells else None
        report = encoder.fit(images, np.concatenate(truth), show, cells=shares)
    return encoder, report


def _stored(reference: str) -> TrainedEncoder:
    """Returns the encoder in a driver folder or of a run.

    Raises:
        InputError: There is no such run, it has no driver, or its encoder has no trunk to copy.
        DriverError: The driver cannot be read.
    """
    folder = pathlib.Path(reference)
    if not folder.is_dir():
        folder = tracking.download_driver(reference)
    encoder = Driver.load(folder).encoder
    if not isinstance(encoder, TrainedEncoder):
        raise InputError(
            "encoder.pretrained: expected a driver with the encoder autoencoder. "
            f"Received: {encoder.name}. Name another run."
        )
    return encoder
