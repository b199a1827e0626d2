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
        r2: Share explained of each output's variance, by output; 1 is perfect. Empty where nobody
            knows what the outputs should be.
        rmse: Root mean square error of each output, in its unit, by output.
        loss: Training loss of each epoch.
        frames: Frames trained on.
        seconds: Wall time of the training.
        iou: How well each kind of ground is found, by its name: cells that are of it and read so
            by cells that are either. Empty without segmentation.
    """

    r2: dict[str, float]
    rmse: dict[str, float]
    loss: tuple[float, ...]
    frames: int
    seconds: float
    iou: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def mean_r2(self) -> float:
        """Mean of ``r2`` over the outputs, of which there must be some."""
        return sum(self.r2.values()) / len(self.r2)

    def metrics(self) -> dict[str, float]:
        """Returns what is logged of a run, by metric name."""
        kinds = {f"encoder/iou_{kind}": value for kind, value in self.iou.items()}
        known = {"encoder/mean_r2": self.mean_r2} if self.r2 else {}
        for output, error in self.rmse.items():
            known |= {f"encoder/r2_{output}": self.r2[output], f"encoder/rmse_{output}": error}
        return {**known, "encoder/seconds": self.seconds, **kinds}
