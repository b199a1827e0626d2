"""Training the lane encoder from the simulator's own labels, as the first part of a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import EncoderReport, LaneEncoder
from donkey_rl.envs import labels
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay

_SEED_OFFSET = 7919
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
    """
    if settings.seed is None:
        settings = settings.model_copy(update={"seed": config.seed})
    encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS, settings)
    images: list[npt.NDArray[np.uint8]] = []
    truth: list[npt.NDArray[np.float32]] = []
    source = labels.sample_frames(
        config.environment(), settings.frames, seed=config.seed + _SEED_OFFSET
    )
    with progress.phase("rendering frames", settings.frames, "frames") as phase:
        for part in source:
            images.append(encoder.preprocess(part.images))
            truth.append(part.labels)
            phase.update(phase.done + len(part.images))
            between()
    with progress.phase("training encoder", 100, "%") as phase:

        def show(share: float, loss: float) -> None:
            phase.update(round(100 * share), loss=loss)
            between()

        report = encoder.fit(np.concatenate(images), np.concatenate(truth), show)
    return encoder, report
