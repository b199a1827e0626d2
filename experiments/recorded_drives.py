"""Recordings of somebody's drives as what a driver would have seen and done."""

from __future__ import annotations

import dataclasses
import logging
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from donkey_rl.agents.features import FeatureScaling
from donkey_rl.envs.observing import SPEED_LIMIT
from donkey_rl.envs.recordings import formats
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import effects, vehicle
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.errors import InputError

LOGGER = logging.getLogger("donkey_rl.experiments")

FloatArray = npt.NDArray[np.float32]

_LONGEST_GAP = 0.5
"""A longer pause (s) between two records begins another drive."""

_YAW_RATE = 4


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedDrive:
    """One recording, as observations and actions.

    Attributes:
        recording: Where the images are.
        shape: Height and width of the images that the policy sees.
        records: The records that can be learned from, in their order, shape (n,).
        speed: In the unit of the observation, shape (n,).
        yaw_rate: In rad/s, shape (n,).
        actions: Steering and throttle in [-1, 1], shape (n, 2).
        last_actions: The last K actions before each record, oldest first, shape (n, 2 K).
        drive: Number of the drive that each record is of, shape (n,).
        gray: Whether the policy sees images without colours.
    """

    recording: Recording
    shape: tuple[int, int]
    records: npt.NDArray[np.int64]
    speed: FloatArray
    yaw_rate: FloatArray
    actions: FloatArray
    last_actions: FloatArray
    drive: npt.NDArray[np.int64]
    gray: bool = False

    def __len__(self) -> int:
        """Number of records."""
        return len(self.records)

    def observations(
        self, rows: npt.NDArray[np.int64], late_s: float = 0.0
    ) -> tuple[dict[str, npt.NDArray[Any]], FloatArray]:
        """Returns what was seen and done; records whose image cannot be read are left out.

        Args:
            rows: Of ``records``, shape (k,).
            late_s: How much later commands are to arrive than they did for whoever recorded this
                (s): a frame's label is then the action of the record that much later, and its
                last actions are those before that record. Frames with no such record in their
                drive are left out.

        Returns:
            An observation of m <= k cars, and their actions, (m, 2).
        """
        if not late_s:
            kept, observation = self.observed(rows)
            return observation, self.actions[kept]
        answer = self._later(late_s)
        kept, observation = self.observed(rows[answer[rows] >= 0])
        observation["last_actions"] = self.last_actions[answer[kept]]
        return observation, self.actions[answer[kept]]

    def _later(self, late_s: float) -> npt.NDArray[np.int64]:
        """Returns for each record the one of the same drive nearest to `late_s` later, or -1."""
        time_s = self.recording.time_s[self.records]
        found = np.full(len(self), -1, dtype=np.int64)
        for drive in np.unique(self.drive):
            rows = np.flatnonzero(self.drive == drive)
            own_s = time_s[rows]
            wanted_s = own_s + late_s
            there = wanted_s <= own_s[-1]
            after = np.searchsorted(own_s, wanted_s[there])
            before = np.maximum(after - 1, 0)
            nearer = wanted_s[there] - own_s[before] < own_s[after] - wanted_s[there]
            found[rows[there]] = rows[np.where(nearer, before, after)]
        return found

    def observed(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]:
        """Returns what was seen; records whose image cannot be read are left out.

        Args:
            rows: Of ``records``, shape (k,).

        Returns:
            Those of the rows that were kept, (m,), and an observation of m cars.
        """
        found, images = self.recording.images(self.records[rows])
        images = effects.gray(images) if self.gray else images
        kept = rows[np.isin(self.records[rows], found)]
        imu = np.zeros((len(kept), 6), np.float32)
        imu[:, _YAW_RATE] = self.yaw_rate[kept]
        observation: dict[str, npt.NDArray[Any]] = {
            "image": _resized(images, self.shape),
            "speed": self.speed[kept, None],
            "imu": imu,
            "last_actions": self.last_actions[kept],
        }
        return kept, observation


def usual_speed(scaling: FeatureScaling) -> float:
    """Returns a speed at which a driver may be asked where nobody recorded any.

    Half of what it takes for 1: about the middle of what it drives at.

    Args:
        scaling: What the driver divides its measurements by.
    """
    return 0.5 * scaling.speed


def read(
    path: pathlib.Path,
    config: EnvironmentConfig,
    speed: float | None = None,
    *,
    throughout: bool = False,
) -> tuple[RecordedDrive, ...]:
    """Reads all recordings at a path.

    Recorders write no inertial sensors. A policy reads the yaw rate alone of them: it is taken
    from a race's headings, or else from speed and the command before by the car's geometry,
    ``v tan(wheel angle) / wheelbase``.

    Args:
        path: A CSV file, a race record or a folder, as `recordings.formats` knows them.
        config: Camera, car, limits and history of the policy that is to learn.
        speed: What to take, as the car reports it, where a recording has no speed at all.
        throughout: Whether to take it in place of recorded speeds, too: those of another car are
            of another unit.

    Raises:
        InputError: There is no recording, none can be learned from (no speed, no commands, no
            images), or one has images of another shape than the camera's.
    """
    recordings = formats.read(path)
    if speed is not None:
        recordings = tuple(
            dataclasses.replace(each, speed=np.full(len(each), speed))
            if throughout or np.isnan(each.speed).all()
            else each
            for each in recordings
        )
    some = tuple(each for each in recordings if len(_usable(each)))
    for each in recordings if some else ():
        if each not in some:
            LOGGER.warning("%s is passed over: %s", each.name, _lack(each))
    return tuple(_drive(recording, config) for recording in some or recordings)


def _usable(recording: Recording) -> npt.NDArray[np.int64]:
    """Returns the records that have all that is learned from, shape (n,)."""
    known = np.isfinite(recording.speed) & np.isfinite(recording.steering)
    known &= np.isfinite(recording.throttle)
    known &= np.array([file is not None for file in recording.frames], np.bool_)
    return np.flatnonzero(known).astype(np.int64)


def _lack(recording: Recording) -> str:
    """Says what a recording without any such record lacks."""
    columns = ("speed", "steering", "throttle")
    lacking = [name for name in columns if np.isnan(getattr(recording, name)).all()]
    lacking += ["image"] if all(file is None for file in recording.frames) else []
    missing = f", and no {' and no '.join(lacking)} at all" if lacking else ""
    return (
        "expected records with an image, speed, steering and throttle. Received: none that has "
        f"all of them{missing}."
    )


def speed_is_assumed(drives: Sequence[RecordedDrive], speed: float | None) -> bool:
    """Whether a speed was taken for a whole recording.

    Args:
        drives: As `read` returns them.
        speed: What it was to take.
    """
    return any((drive.recording.speed == speed).all() for drive in drives)


def _drive(recording: Recording, config: EnvironmentConfig) -> RecordedDrive:
    """Returns one recording as a drive."""
    _check_car(recording, config)
    _check_images(recording, config)
    records = _usable(recording)
    if not len(records):
        raise InputError(
            f"{recording.name}: {_lack(recording)} Record all; of a speed (in a tub: pos/speed) "
            "you may say what to take: --speed 2, in a training --set imitation.speed=2."
        )
    car = vehicle.load(config.vehicle)
    speed, steering = recording.speed[records], recording.steering[records]
    middle = 0.5 * (config.throttle_max + config.throttle_min)
    half = 0.5 * (config.throttle_max - config.throttle_min)
    throttle = (recording.throttle[records] - middle) / half
    wanted = np.stack([steering / config.steer_limit, throttle], axis=1)
    actions = np.clip(wanted, -1.0, 1.0).astype(np.float32)
    gaps = np.diff(recording.time_s[records], prepend=math.nan)
    begins = ~((gaps >= 0.0) & (gaps <= _LONGEST_GAP))
    return RecordedDrive(
        recording=recording,
        shape=config.camera.shape[:2],
        gray=config.camera.img_d == 1,
        records=records,
        speed=np.clip(speed, 0.0, SPEED_LIMIT).astype(np.float32),
        yaw_rate=_yaw_rate(recording, records, begins, car).astype(np.float32),
        actions=actions,
        last_actions=_history(actions, begins, config.history),
        drive=np.cumsum(begins),
    )


def _yaw_rate(
    recording: Recording,
    records: npt.NDArray[np.int64],
    begins: npt.NDArray[np.bool_],
    car: Vehicle,
) -> npt.NDArray[np.float64]:
    """Returns the yaw rate of each record (rad/s), as recorded, or by the car's geometry, (n,).

    By the geometry it is that of the command before: the record's own is what is to be learned,
    and a policy that could read it here would learn nothing else.
    """
    if recording.yaw_rate is not None:
        return np.nan_to_num(recording.yaw_rate[records])
    speed, steering = recording.speed[records], recording.steering[records]
    held = np.where(begins, 0.0, np.roll(steering, 1))
    wheel = np.radians(car.steer_limit_deg) * held
    return np.asarray(speed * car.report_scale * np.tan(wheel) / car.wheelbase)


def _check_car(recording: Recording, config: EnvironmentConfig) -> None:
    """Checks that the car is the one that is to learn, where it is known.

    Raises:
        InputError: It is another one, whose speeds and commands mean something else.
    """
    if recording.vehicle not in ("", config.vehicle):
        raise InputError(
            f"{recording.name}: expected a drive of {config.vehicle}. "
            f"Received: one of {recording.vehicle}. Learn with --set vehicle={recording.vehicle}, "
            "or take a driver of that car."
        )


def _check_images(recording: Recording, config: EnvironmentConfig) -> None:
    """Checks that there are images, and of the camera's shape.

    Raises:
        InputError: There are none, or they are wider or narrower.
    """
    height, width = config.camera.shape[:2]
    size = recording.frame_size()
    if size is None or size[0] * width != size[1] * height:
        received = "none that can be read" if size is None else f"{size[1]}x{size[0]}"
        raise InputError(
            f"{recording.name}: expected camera images of {width}x{height} pixels, or of that "
            f"shape. Received: {received}. Learn with camera.img_w and camera.img_h of the "
            "recording, or take a driver of such images."
        )


def _resized(images: npt.NDArray[np.uint8], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Returns images in another size, each pixel the mean of those that it covers."""
    if images.shape[1:3] == shape or not len(images):
        return images
    size = shape[::-1]
    smaller = (Image.fromarray(image).resize(size, Image.Resampling.BOX) for image in images)
    return np.stack([np.asarray(image) for image in smaller])


def _history(actions: FloatArray, begins: npt.NDArray[np.bool_], length: int) -> FloatArray:
    """Returns the actions before each record, oldest first, 0 before a drive began, (n, 2 K)."""
    count = len(actions)
    drive = np.cumsum(begins)
    columns = []
    for back in range(length, 0, -1):
        earlier = np.arange(count) - back
        known = (earlier >= 0) & (drive[np.maximum(earlier, 0)] == drive)
        columns.append(np.where(known[:, None], actions[np.maximum(earlier, 0)], 0.0))
    return np.concatenate(columns, axis=1).astype(np.float32)
