"""Recordings of cars that weave along a track, without physics: lateral offsets that change a lot.

The car of `synthetic_recordings` keeps to the path, so that its lateral offset says little.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PERIOD = 0.06
"""Time between records: three physics steps."""


@dataclasses.dataclass(frozen=True, eq=False)
class Weaving:
    """A drive, one entry per record.

    Attributes:
        recording: As a recorder writes it; without frames.
        lateral: Offset from the path in u, shape (n,).
        heading: Direction of travel against the path in rad, shape (n,).
    """

    recording: Recording
    lateral: FloatArray
    heading: FloatArray


def weave(
    track: Track,
    seconds: float = 18.0,
    *,
    middle: float = 0.0,
    swing: float = 2.0,
    wave: float = 25.0,
    speed: float = 8.0,
) -> Weaving:
    """Moves a car along a path in waves.

    Args:
        track: Where.
        seconds: How long.
        middle: Mean lateral offset (u).
        swing: Largest distance from it (u).
        wave: Length of a wave along the path (u).
        speed: Along the path (u/s).
    """
    time = PERIOD * np.arange(round(seconds / PERIOD), dtype=np.float64)
    # One step more on both sides, for the direction of travel.
    arc = speed * PERIOD * np.arange(-1, len(time) + 1) + 10.0
    lateral = middle + swing * np.sin(2.0 * math.pi * arc / wave)
    place = track.path.beside(arc, lateral)
    velocity = (place[2:] - place[:-2]) / (2.0 * PERIOD)
    _, _, yaw = track.path.at(arc[1:-1])
    heading = np.arctan2(velocity[:, 0], velocity[:, 1]) - yaw
    unknown = np.full(len(time), np.nan)
    recording = Recording(
        name="weaving",
        time_s=time,
        position=np.insert(place[1:-1], 1, 0.55, axis=1),
        speed=np.hypot(velocity[:, 0], velocity[:, 1]),
        cte=lateral[1:-1],
        steering=unknown,
        throttle=unknown,
        frames=(None,) * len(time),
    )
    return Weaving(recording, lateral[1:-1], np.mod(heading + math.pi, 2.0 * math.pi) - math.pi)


def coded_frames(folder: pathlib.Path, count: int) -> tuple[pathlib.Path, ...]:
    """Writes frames that show nothing but their own number, for `numbers`."""
    folder.mkdir()
    files = tuple(folder / f"{i:05d}.png" for i in range(count))
    for i, file in enumerate(files):
        Image.new("RGB", (16, 16), (i % 256, i // 256, 0)).save(file)
    return files


def numbers(images: npt.NDArray[np.uint8]) -> IntArray:
    """Returns the numbers that coded frames show, shape (n,)."""
    code = images[:, 0, 0].astype(np.int64)
    return np.asarray(code[:, 0] + 256 * code[:, 1], dtype=np.int64)
