"""What the training of an encoder came to."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class EncoderReport:
    """How good an encoder is on frames that it was not trained on.

    Attributes:
        r2: Share explained of each output's variance, by output; 1 is perfect.
        rmse: Root mean square error of each output, in its unit, by output.
        loss: Training loss of each epoch.
        frames: Frames trained on.
        seconds: Wall time of the training.
    """

    r2: dict[str, float]
    rmse: dict[str, float]
    loss: tuple[float, ...]
    frames: int
    seconds: float

    @property
    def mean_r2(self) -> float:
        """Mean of ``r2`` over the outputs."""
        return sum(self.r2.values()) / len(self.r2)
