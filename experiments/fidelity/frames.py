"""The frames of a recording that can be compared: chosen evenly, read, and placed."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.experiments.fidelity import poses
from donkey_rl.experiments.fidelity.poses import Poses

IntArray = npt.NDArray[np.int64]
ImageArray = npt.NDArray[np.uint8]

LAGS = (-0.1, 0.5)
"""Frames may be this much newer or older (s) than the telemetry of their record."""

FEWEST = 8
_SIZES = (16, 512)
_FARTHEST = 12.0
"""A car farther than this from a track's path (u) is not on that track."""


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """Images of a recorded drive, and what is needed to say where they were taken.

    Attributes:
        recording: The drive.
        trace: Its places on the simulator's clock.
        track: Where it was driven.
        vehicle: With which car.
        record: Index of each frame's record, shape (k,).
        images: Shape (k, h, w, 3).
    """

    recording: Recording
    trace: Trace
    track: Track
    vehicle: Vehicle
    record: IntArray
    images: ImageArray

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.record)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame in pixels."""
        return self.images.shape[1], self.images.shape[2]

    def some(self, count: int) -> Frames:
        """Returns about `count` of the frames, evenly chosen."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        return dataclasses.replace(self, record=self.record[chosen], images=self.images[chosen])

    def poses(self, lag: float) -> Poses:
        """Returns where the car was when the frames were taken.

        Args:
            lag: How much older a frame is than the telemetry of its record (s).
        """
        grip = poses.grip(self.vehicle, self.track)
        return poses.at(self.recording, self.trace, self.vehicle, self.record, lag=lag, grip=grip)


def unsuitable_size(size: tuple[int, int]) -> str | None:
    """Returns why no embedded camera draws frames of that height and width; None if one does."""
    if all(_SIZES[0] <= side <= _SIZES[1] for side in size):
        return None
    return (
        f"frames of {_SIZES[0]} to {_SIZES[1]} pixels a side are needed, these are "
        f"{size[1]} x {size[0]}"
    )


def choose(
    recording: Recording, trace: Trace, track: Track, vehicle: Vehicle, count: int
) -> Frames | str:
    """Reads about `count` frames whose places are known, evenly chosen over a recording.

    Args:
        recording: The drive.
        trace: Its places on the simulator's clock.
        track: Where it was driven.
        vehicle: With which car.
        count: How many frames are wanted.

    Returns:
        The frames, or why there are too few of them.
    """
    having = [k for k, frame in enumerate(recording.frames) if frame is not None]
    if len(having) < FEWEST:
        return f"at least {FEWEST} records with a camera frame are needed, there are {len(having)}"
    size = recording.frame_size()
    if size is None:
        return "none of the frames can be read"
    if (reason := unsuitable_size(size)) is not None:
        return reason
    record = np.array(having, dtype=np.int64)
    grip = poses.grip(vehicle, track)
    known = np.ones(len(record), dtype=np.bool_)
    for lag in LAGS:
        placed = poses.at(recording, trace, vehicle, record, lag=lag, grip=grip)
        known &= placed.known
    record = record[known]
    if len(record) < FEWEST:
        return f"at least {FEWEST} frames whose place is known are needed, there are {len(record)}"
    placed = poses.at(recording, trace, vehicle, record, grip=grip)
    near = track.path.clearance(np.column_stack([placed.x, placed.z])) < _FARTHEST
    if near.mean() < 0.5:
        return (
            f"the car is within {_FARTHEST:g} u of the path of {track.name} in only "
            f"{100 * near.mean():.0f} % of the records; name the track that was driven"
        )
    record = record[near]
    chosen = np.unique(np.linspace(0, len(record) - 1, min(count, len(record))).astype(np.int64))
    kept, images = recording.images(record[chosen])
    if len(kept) < FEWEST:
        return f"at least {FEWEST} readable frames of one size are needed, there are {len(kept)}"
    differing = len({image.tobytes() for image in images})
    if differing < FEWEST:
        return f"at least {FEWEST} different frames are needed, there are {differing}"
    return Frames(recording, trace, track, vehicle, np.asarray(kept, dtype=np.int64), images)
