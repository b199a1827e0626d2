"""Small drives, and what `donkey-rl tracks compare` makes of them."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.labels import LANE_LABELS
from donkey_rl.experiments import lane_training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.fidelity import comparison
from donkey_rl.experiments.fidelity.comparison import ComparisonRequest
from donkey_rl.experiments.progress import ProgressDisplay
from tests import synthetic_recordings as synthetic
from tests.synthetic_recordings import Drive

CAR = "donkey_2021"


@functools.cache
def drive(
    seconds: float = 9.0, track: str = "generated_track", vehicle: str = CAR, delay: int = 0
) -> Drive:
    """A drive without frames."""
    return synthetic.drive(
        seconds, track=track, vehicle=vehicle, command_delay=delay, frames=False
    )


@functools.cache
def filmed() -> Drive:
    return synthetic.drive(11.0)


def write_both(folder: pathlib.Path) -> pathlib.Path:
    """Writes one recording with frames and one without."""
    synthetic.write_csv(filmed(), folder, name="filmed")
    return synthetic.write_csv(drive(), folder, name="blind")


def painted(size: tuple[int, int], count: int = 30) -> Drive:
    """The last messages of a drive, with meaningless pictures of some height and width."""
    rng = np.random.default_rng(0)
    last = drive().part(slice(len(drive()) - count, None))
    coarse = rng.integers(0, 255, (count, 4, 4, 3), dtype=np.uint8)
    rows, columns = (np.arange(side) * 4 // side for side in size)
    images = coarse[:, rows][:, :, columns]
    return dataclasses.replace(last, images=images)


def compare(recording: pathlib.Path, **asked: Any) -> dict[str, Any]:
    """Returns what `--json` prints; no encoder is trained unless asked for."""
    request = ComparisonRequest(
        recording=recording, **{"vehicle": CAR, "read_frames": False, **asked}
    )
    with ProgressDisplay(io.StringIO()) as progress:
        result = comparison.compare(request, progress).model_dump(mode="json")
    loaded: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return loaded


class Stub:
    """Reads the same from every frame, of one size only, as a trained encoder would insist."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    def predict_labels(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert images.shape[1:] == self.shape
        return np.zeros((len(images), len(LANE_LABELS)), dtype=np.float32)


def stub_training(monkeypatch: pytest.MonkeyPatch) -> list[TrainingConfig]:
    """Returns what encoders are trained with from now on; none really is."""
    asked: list[TrainingConfig] = []

    def train(config: TrainingConfig, *_: object) -> tuple[Stub, None]:
        # As training does first, and refuses what does not fit.
        config.environment()
        asked.append(config)
        return Stub(config.camera.shape), None

    monkeypatch.setattr(lane_training, "train_encoder", train)
    return asked
