"""A driver through LiteRT: the same actions as `donkey_rl.agents.driver`, without TensorFlow.

It starts within a fraction of a second and answers one image on one core, which is what a car's
own computer has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from donkey_rl.agents import manifest, start_up_lines
from donkey_rl.agents.acting import Acting, FloatArray
from donkey_rl.agents.donkey_driver import LiteModel
from donkey_rl.agents.manifest import Manifest
from donkey_rl.errors import DriverError

_LARGEST_MODEL = 500_000_000
"""Bytes; the default driver has 0.6 million."""


class LiteDriver(Acting):
    """Image to action through a driver folder's LiteRT model, one thread, one car at a time.

    One driver serves one thread: its model holds the numbers of the observation being read.

    Attributes:
        observation: What the driver sees.
        description: Where it comes from and what it was made for.
        hash: That of the `Driver` it was made of.
    """

    def __init__(self, model: bytes, about: Manifest) -> None:
        """Prepares a model.

        Args:
            model: Content of ``driver.tflite``.
            about: The manifest beside it.

        Raises:
            DriverError: When it is no LiteRT model, or does not take what the manifest says.
        """
        self.observation = about.observation
        self.description = about.description
        self.hash = about.hash
        try:
            # Held back: LiteRT's line about how it computes.
            with start_up_lines.held_back():
                self._model = LiteModel(model, self.observation.shapes)
        except (RuntimeError, ValueError) as error:
            raise DriverError(
                f"Expected a LiteRT model that fits the manifest. Received: {_first_line(error)}. "
                "Copy the driver again, whole, or train it again."
            ) from error

    @classmethod
    def load(cls, folder: str | Path) -> LiteDriver:
        """Reads a driver folder and checks that it is what its manifest says.

        Raises:
            DriverError: When a file is missing, changed, of another format, or does not fit.
        """
        folder = Path(folder)
        found = manifest.read(folder)
        entry = found.files.get(manifest.LITE_MODEL)
        if entry is None or entry.size > _LARGEST_MODEL:
            received = "none" if entry is None else f"{entry.size} bytes"
            raise DriverError(
                f"Expected '{manifest.LITE_MODEL}' of at most {_LARGEST_MODEL} bytes in "
                f"'{folder}'. Received: {received}. Save the driver again with Driver.save."
            )
        return cls((folder / manifest.LITE_MODEL).read_bytes(), found)

    def _actions(self, parts: Sequence[npt.NDArray[Any]]) -> FloatArray:
        return self._model.act(parts)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
