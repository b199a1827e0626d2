"""The pictures that a training leaves in its run: its curve, and what its encoder tells."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.experiments import encoder_pictures, learning_plots
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.tracking import Run

_CURVES = {
    "clean_share": "share of clean laps",
    "mean_lap_s": "mean lap (s)",
    "completion": "share of the race driven",
}


def draw(
    run: Run,
    config: TrainingConfig,
    curve: Sequence[tuple[int, Mapping[str, float]]],
    encoder: Encoder | None,
) -> None:
    """Draws what a training came to, and stores it.

    Args:
        run: Where to.
        config: The training.
        curve: Environment steps and scores of each check.
        encoder: Trained before the policy, if it was.

    Raises:
        StorageError: A picture could not be written.
    """
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name)
        if curve:
            steps = [point[0] for point in curve]
            values = {
                title: [scores[score] for _, scores in curve] for score, title in _CURVES.items()
            }
            title = f"{config.agent} on {config.track}, seed {config.seed}"
            path = folder / "learning_curve.png"
            run.log_artifact(learning_plots.learning_curve(steps, values, path, title), "plots")
        if encoder is None:
            return
        picture = encoder_pictures.draw(encoder, config, folder / "encoder.png")
        if picture is not None:
            run.log_artifact(picture, "encoder")
