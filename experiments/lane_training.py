"""Training the lane encoder from the simulator's own labels, as the first part of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from donkey_rl import user_paths
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import Frames, LaneEncoder, Mirror
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.agents.encoders.trained import TrainedEncoder
from donkey_rl.envs import labels
from donkey_rl.envs.labels import LabelledFrames
from donkey_rl.errors import InputError
from donkey_rl.experiments import encoder_frames, stored_runs
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
    encoder = untrained(config, settings)
    settings, known = encoder.config, encoder.label_names
    source = _Source(config, settings, encoder, progress, between)
    first = source.rendered()
    with progress.phase("training encoder", 100, "%") as phase:

        def show(share: float, loss: float) -> None:
            phase.update(round(100 * share), loss=loss)
            between()

        anew = source.rendered if settings.fresh else None
        report = encoder.fit(
            first.reduced,
            first.labels,
            show,
            cells=first.cells,
            anew=anew,
            mirror=Mirror(*labels.mirrored(known)),
        )
    return encoder, report


def untrained(config: TrainingConfig, settings: LaneEncoderConfig) -> LaneEncoder:
    """Returns the encoder as its training begins, with what `settings.pretrained` has learned.

    Args:
        config: The run.
        settings: Of the encoder.

    Raises:
        InputError: As `train_encoder`.
        DriverError: As `train_encoder`.
    """
    if settings.seed is None:
        settings = settings.model_copy(update={"seed": config.seed})
    known = labels.names(settings.farther, cars=config.opponents.count > 0)
    encoder = LaneEncoder(config.camera.shape, known, settings)
    if settings.pretrained is not None:
        encoder.start_from(_stored(settings.pretrained))
    return encoder


class _Source:
    """Renders labelled frames, as many as there are to hold, as often as they are asked for."""

    def __init__(
        self,
        config: TrainingConfig,
        settings: LaneEncoderConfig,
        encoder: LaneEncoder,
        progress: ProgressDisplay,
        between: Callable[[], None],
    ) -> None:
        """Prepares the places.

        Args:
            config: The run.
            settings: Of the encoder.
            encoder: It shrinks the images.
            progress: Shows how far it is.
            between: Called between two pieces of work.
        """
        times = math.ceil(settings.epochs / settings.repeats) if settings.fresh else 1
        self._parts = encoder_frames.labelled(
            config,
            times * settings.frames,
            config.seed + SEED_OFFSET,
            with_surfaces=settings.segmentation > 0,
            farther=settings.farther,
            bends=settings.bends,
        )
        self._encoder, self._progress, self._between = encoder, progress, between
        self._reduced = np.empty((settings.frames, *encoder.reduced_shape), np.uint8)
        self._left: LabelledFrames | None = None

    def rendered(self) -> Frames:
        """Renders frames; they take the place of those of the last time."""
        wanted = len(self._reduced)
        truth: list[npt.NDArray[np.float32]] = []
        cells: list[npt.NDArray[np.float32]] = []
        done = 0
        with self._progress.phase("rendering frames", wanted, "frames") as phase:
            while done < wanted:
                part = self._taken(wanted - done)
                first, done = done, done + len(part.images)
                self._reduced[first:done] = self._encoder.preprocess(part.images)
                truth.append(part.labels)
                if part.surfaces is not None:
                    cells.append(self._encoder.cells(part.surfaces))
                phase.update(done)
                self._between()
        shares = np.concatenate(cells) if cells else None
        return Frames(self._reduced, np.concatenate(truth), shares)

    def _taken(self, most: int) -> LabelledFrames:
        """Returns the next frames, and lays aside what is more than so many."""
        part = self._left if self._left is not None else next(self._parts)
        self._left = None
        if len(part.images) <= most:
            return part
        rest = None if part.surfaces is None else part.surfaces[most:]
        self._left = LabelledFrames(part.images[most:], part.labels[most:], rest)
        kinds = None if part.surfaces is None else part.surfaces[:most]
        return LabelledFrames(part.images[:most], part.labels[:most], kinds)


def _stored(reference: str) -> TrainedEncoder:
    """Returns the encoder in a driver folder or of a run.

    Raises:
        InputError: There is no such run, it has no driver, or its encoder has no trunk to copy.
        DriverError: The driver cannot be read.
    """
    folder = user_paths.path_of(reference)
    if not folder.is_dir():
        folder = stored_runs.download_driver(reference)
    encoder = Driver.load(folder).encoder
    if not isinstance(encoder, TrainedEncoder):
        raise InputError(
            "encoder.pretrained: expected a driver with the encoder autoencoder. "
            f"Received: {encoder.name}. Name another run."
        )
    if isinstance(encoder, LaneEncoder) and (not encoder.config.hues or encoder.config.ground):
        raise InputError(
            "encoder.pretrained: expected an encoder that sees colours as they are. Received: one "
            "trained with encoder.hues=false or encoder.ground=true. Name another run."
        )
    return encoder
