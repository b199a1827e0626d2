"""What somebody recorded while a car drove: telemetry, commands and camera frames."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.recordings import frames as frame_files
from donkey_rl.envs.recordings.frames import FrameSource
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ImageArray = npt.NDArray[np.uint8]

_TRIES = 100
"""Frames that are opened before a recording counts as one without readable frames."""

_MAX_IMAGE_BYTES = 2 * 2**30
"""Images handed out in one call; more is asked for in parts."""


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One file's or folder's records in order; what a recorder did not write is NaN or None.

    Attributes:
        name: What the recording is called, such as its file's name.
        time_s: Clock of the recorder in s, shape (n,). It may stand still between records and
            jump, also back, where the recorder or the drive started again; see `trace`.
        position: Unity's x, y (up) and z in u as the car reported them, shape (n, 3).
        speed: In u/s as the car reported it, shape (n,).
        cte: Cross-track error in u, positive to the right, shape (n,).
        steering: Command, positive to the right, shape (n,); within [-1, 1].
        throttle: Command, shape (n,); within [-1, 1].
        frames: The camera's image of each record, or None; opened on demand only.
        notes: What was assumed, repaired or left out while reading, in sentences.
        vehicle: Car generation that was driven, empty where the recorder did not write it.
    """

    name: str
    time_s: FloatArray
    position: FloatArray
    speed: FloatArray
    cte: FloatArray
    steering: FloatArray
    throttle: FloatArray
    frames: tuple[FrameSource | None, ...]
    notes: tuple[str, ...] = ()
    vehicle: str = ""

    def __len__(self) -> int:
        """Number of records."""
        return len(self.time_s)

    def frame_size(self) -> tuple[int, int] | None:
        """Returns height and width of the first readable frame in pixels.

        Returns:
            None if there is no frame, or if none of the first 100 can be read.
        """
        return self._frame_size

    @functools.cached_property
    def _frame_size(self) -> tuple[int, int] | None:
        files = (file for file in self.frames if file is not None)
        for _, file in zip(range(_TRIES), files, strict=False):
            image = frame_files.read(file)
            if image is not None:
                return (image.shape[0], image.shape[1])
        return None

    def images(self, indices: npt.ArrayLike) -> tuple[IntArray, ImageArray]:
        """Reads the frames of some records; what cannot be shown is left out, never an error.

        Left out are records without a frame, frames that cannot be read (damaged, neither JPEG
        nor PNG, above 8 MiB or 4,096 pixels a side) and frames of another size than
        `frame_size`.

        Args:
            indices: Records, shape (k,), from 0; in any order, also repeatedly.

        Returns:
            The records that were kept, shape (m,) with m <= k, in the given order, and their
            images, RGB, shape (m, h, w, 3). With no frame at all h and w are 0.

        Raises:
            InputError: The images would fill more than 2 GiB.
        """
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        size = self.frame_size()
        if size is None:
            return np.zeros(0, dtype=np.int64), np.zeros((0, 0, 0, 3), dtype=np.uint8)
        needed = len(chosen) * size[0] * size[1] * 3
        if needed > _MAX_IMAGE_BYTES:
            most = _MAX_IMAGE_BYTES // (size[0] * size[1] * 3)
            raise InputError(
                f"{self.name}: expected at most {most:,} frames of {size[1]} x {size[0]} pixels "
                f"at a time. Received: {len(chosen):,}. Ask for them in parts."
            )
        kept: list[int] = []
        images = np.empty((len(chosen), *size, 3), dtype=np.uint8)
        for index in chosen.tolist():
            file = self.frames[index]
            image = None if file is None else frame_files.read(file)
            if image is not None and image.shape == (*size, 3):
                images[len(kept)] = image
                kept.append(index)
        return np.array(kept, dtype=np.int64), images[: len(kept)]

    def scaled(self, factor: float) -> Recording:
        """Returns the recording with position and speed multiplied.

        The car of 2022 divides both by 8 in its telemetry (never `cte`): ``scaled(8.0)`` gives
        Unity units again.

        Args:
            factor: Greater than 0.

        Raises:
            InputError: The factor is not a positive number.
        """
        if not (math.isfinite(factor) and factor > 0.0):
            raise InputError(
                f"{self.name}: expected a positive factor for position and speed. "
                f"Received: {factor}. 1 leaves them as they are, 8 undoes the car of 2022."
            )
        if factor == 1.0:
            return self
        return dataclasses.replace(
            self,
            position=self.position * factor,
            speed=self.speed * factor,
            notes=(*self.notes, f"Position and speed were multiplied by {factor:g}."),
        )
