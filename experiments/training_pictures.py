"""The pictures that a training leaves in its run: its curve, and what its encoder tells."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.errors import StorageError
from donkey_rl.experiments import encoder_pictures, learning_plots
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.progress import ProgressDisplay

_CURVES = {
    "clean_share": "share of clean laps",
    "mean_lap_s": "mean lap (s)",
    "completion": "share of the race driven",
}


def draw(
    run: Run,
    config: TrainingConfig,
    curve: Sequence[tuple[int, Mapping[str, float]]],
) -> None:
    """Draws the curve of a training, and stores it.

    Args:
        run: Where to.
        config: The training.
        curve: Environment steps and scores of each check.

    Raises:
        StorageError: A picture could not be written.
    """
    if not curve:
        return
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        steps = [point[0] for point in curve]
        values = {title: [scores[key] for _, scores in curve] for key, title in _CURVES.items()}
        title = f"{config.agent} on {config.track}, seed {config.seed}"
        path = pathlib.Path(name) / "learning_curve.png"
        run.log_artifact(learning_plots.learning_curve(steps, values, path, title), "plots")


def encoder(run: Run, config: TrainingConfig, trained: Encoder, progress: ProgressDisplay) -> None:
    """Draws what an encoder reads on frames that were kept back, and stores it.

    Args:
        run: Where to.
        config: The training.
        trained: The encoder; one that was stored has kept no frames.
        progress: Told where the picture cannot be written, which ends no training.
    """
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        try:
            picture = encoder_pictures.draw(trained, config, pathlib.Path(name) / "encoder.png")
            if picture is not None:
                run.log_artifact(picture, "encoder")
        except StorageError as error:
            progress.message(f"There is no picture of the encoder: {error}")
