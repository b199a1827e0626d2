"""What the car's camera saw in a race: as it was recorded, or drawn anew from the record.

A record without frames says where the car was at each row, and which track, car and camera they
were, from which the embedded simulator draws. How the body leaned is not in it: it is taken as
what the accelerations make of it when they last.
"""

from __future__ import annotations

import io
import math
import pathlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from donkey_rl import configuration
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.envs.simulator.world import World
from donkey_rl.errors import InputError
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race

FloatArray = npt.NDArray[np.float64]

_CHUNK = 64
"""Frames drawn in one call."""

_LARGEST_SIDE = 512
"""Pixels, as the simulator's own limit."""

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_SAME_LENGTH_U = 0.01
_MOST_ACCELERATION = 15.0
"""Beyond what tyres bear (u/s^2): a reset or a hit is no lean."""


def frames(race: Race, road: Track | None = None) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the camera image of each row of a race, drawn anew.

    Args:
        race: The race.
        road: The track; that of the race's name by default.

    Yields:
        Images of the camera in the race's header, or the usual one, shape (h, w, 3).

    Raises:
        UnknownNameError: If the track, or the car, is not known here.
        InputError: If the track has another length than the one that was driven.
        ConfigurationError: If the header's camera is none.
    """
    world = _world(race, road or track.load(race.header.track))
    motion, lean = _motion(race, world.vehicle)
    for first in range(0, len(motion), _CHUNK):
        part = slice(first, first + _CHUNK)
        cars = np.arange(len(motion[part]))
        world.place(cars, motion[part], lean[part])
        images = np.empty((len(cars), *world.camera.shape), np.uint8)
        world.render(images, cars)
        yield from images


def recorded(path: str | pathlib.Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the camera image of each row of a race that was recorded with its frames.

    A row without a frame, as where one was lost on the way, has the one before it.

    Args:
        path: The race record, as for `Race.load`, but one file.

    Yields:
        Images of shape (h, w, 3).

    Raises:
        InputError: If the file is missing, damaged, no race record, without frames or without
            the first one, or a frame is none or larger than any camera of the simulator.
        StorageError: If it cannot be read.
    """
    shown = None
    for row, encoded in enumerate(race_file.frames(path)):
        if encoded is not None:
            shown = _decoded(encoded, f"{path}, row {row}")
        if shown is None:
            raise InputError(
                f"A race's frames begin with its first row. Received: none in {path}."
            )
        yield shown


def _decoded(encoded: bytes, where: str) -> npt.NDArray[np.uint8]:
    """Decodes a JPEG of bounded size."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG",)) as picture:
            if max(picture.size) > _LARGEST_SIDE:
                raise ValueError(f"{picture.size[0]} x {picture.size[1]} pixels")
            return np.array(picture.convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, *_BOMBS) as error:
        raise InputError(
            f"A race's frames are JPEG pictures of at most {_LARGEST_SIDE} x {_LARGEST_SIDE} "
            f"pixels. Received: {error} ({where}). Record the race again."
        ) from error


def _world(race: Race, road: Track) -> World:
    header = race.header
    if not math.isclose(road.length, header.track_length, abs_tol=_SAME_LENGTH_U):
        raise InputError(
            f"A race's frames are drawn on the track that was driven. Received: {header.track} of "
            f"{header.track_length:.2f} u, which is {road.length:.2f} u long here. "
            "Use the version of the package, or of the track file, that it was driven with."
        )
    car = vehicles.load(header.vehicle or vehicles.DEFAULT_VEHICLE)
    camera = configuration.validate(CameraConfig, header.camera)
    return World(road, car, camera, min(_CHUNK, max(len(race), 1)))


def _motion(race: Race, car: Vehicle) -> tuple[FloatArray, FloatArray]:
    """Returns rows of `physics`: motion (rows, 6), lean (rows, 4)."""
    motion, lean = np.zeros((len(race), 6)), np.zeros((len(race), 4))
    motion[:, :3] = np.stack([race["x"], race["z"], race["yaw"]], axis=1)
    motion[:, 3] = race["speed"]
    if len(race) > 1:
        yaw = np.unwrap(race["yaw"].astype(np.float64))
        turn = np.gradient(yaw, race["time_s"])
        gain = np.gradient(race["speed"].astype(np.float64), race["time_s"])
        roll, pitch = car.lean_gains
        lean[:, 0] = roll * _bounded(turn * race["speed"])
        # The drag acts at the centre of mass and turns nothing: tyres push against it as well.
        lean[:, 2] = -pitch * _bounded(gain + car.drag * race["speed"])
    return motion, lean


def _bounded(acceleration: FloatArray) -> FloatArray:
    return np.clip(acceleration, -_MOST_ACCELERATION, _MOST_ACCELERATION)
