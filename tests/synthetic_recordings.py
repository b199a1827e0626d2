"""Recordings whose truth is known: drives in the embedded simulator, written as recorders do.

`drive` drives, `write_csv`, `write_tub_v1` and `write_tub_v2` write, and a `Recorder` says what
goes wrong between the two:

    truth = drive(seconds=20.0, frames=False)
    folder = write_tub_v2(truth, tmp_path / "tub", Recorder(stale=2, frame_delay=4))
    (recording,) = formats.read(folder)
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import pathlib
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from donkey_rl.envs.recordings import formats
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator import camera as cameras
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.world import World

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ImageArray = npt.NDArray[np.uint8]

SMALL = CameraConfig(img_w=64, img_h=48)
COLUMNS = (
    "index", "frame", "time_s", "pos_x", "pos_y", "pos_z", "speed", "cte", "steering", "throttle",
)  # fmt: skip
NO_FIELDS: Mapping[str, Any] = types.MappingProxyType({})
EPOCH_MS = 1_586_000_000_000
"""When the tubs were written: April 2020."""

_FASTEST = 8.0
"""About the fastest (u/s); it swells and fades, and bends are taken slower."""

_BEND_ACCELERATION = 4.0
_LOOK_AHEAD_S = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Drive:
    """What a car truly did, one entry for each telemetry message (0.06 s and 0.04 s in turn).

    Attributes:
        time: Simulation time in s, from 0, shape (n,).
        motion: x, z (u), yaw (rad), forward, rightward (u/s), yaw rate (rad/s), shape (n, 6).
        cte: Cross-track error in u, shape (n,).
        command: Steering and throttle that the driver gave on seeing the message, shape (n, 2).
            They drive the car `command_delay` messages later.
        images: What the camera saw at the message, RGB, shape (n, h, w, 3), or None.
        report_scale: By what the car divides position and speed.
    """

    time: FloatArray
    motion: FloatArray
    cte: FloatArray
    command: FloatArray
    images: ImageArray | None
    report_scale: float

    def __len__(self) -> int:
        return len(self.time)

    @property
    def place(self) -> FloatArray:
        """Ground point ``[x, z]`` in u, shape (n, 2)."""
        return self.motion[:, [physics.X, physics.Z]]

    @property
    def speed(self) -> FloatArray:
        """In u/s, shape (n,)."""
        return np.hypot(self.motion[:, physics.FORWARD], self.motion[:, physics.RIGHTWARD])

    @property
    def course(self) -> FloatArray:
        """Direction of travel in rad, clockwise from +Z, shape (n,)."""
        slip = np.arctan2(self.motion[:, physics.RIGHTWARD], self.motion[:, physics.FORWARD])
        return self.motion[:, physics.YAW] + slip

    def part(self, chosen: slice | Sequence[int]) -> Drive:
        """Some of the messages, for recordings with gaps."""
        return dataclasses.replace(
            self,
            time=self.time[chosen],
            motion=self.motion[chosen],
            cte=self.cte[chosen],
            command=self.command[chosen],
            images=None if self.images is None else self.images[chosen],
        )


@dataclasses.dataclass(frozen=True)
class Recorder:
    """How a recorder spoils a drive; by default it does not.

    Attributes:
        interval: Seconds of simulation time between records, which then hold what the last
            message before said; None for one record with each message.
        frame_delay: A record holds the image that came this many messages earlier.
        stale: Position, speed and cte change only with every `stale`-th message.
        clock_rate: Seconds of the recorder's clock for each second of simulation time.
        missing: Names of `COLUMNS` that it does not write.
        lossless: Whether images are PNG, not JPEG.
    """

    interval: float | None = None
    frame_delay: int = 0
    stale: int = 1
    clock_rate: float = 1.0
    missing: tuple[str, ...] = ()
    lossless: bool = False


def drive(
    seconds: float = 20.0,
    *,
    track: str | Track = "generated_track",
    vehicle: str = "donkey_2021",
    camera: CameraConfig = SMALL,
    frames: bool = True,
    command_delay: int = 0,
) -> Drive:
    """Drives along the path from the start grid by pure pursuit on the known state.

    Args:
        seconds: How long, in simulation time.
        track: Name of a scene, or a track.
        vehicle: Name of the car generation.
        camera: Its size is that of the images.
        frames: Whether to render at all.
        command_delay: By how many messages commands are ahead of their effect.
    """
    road = tracks.load(track) if isinstance(track, str) else track
    car = vehicles.load(vehicle)
    world = World(road, car, camera, 1)
    count = 1 + round(seconds / 0.05)
    images = np.zeros((count, *camera.shape), dtype=np.uint8) if frames else None
    time, cte = np.zeros(count), np.zeros(count)
    motion, command = np.zeros((count, 6)), np.zeros((count, 2))
    for i in range(count):
        sensed = world.cars.sensed[0]
        time[i], cte[i] = sensed[stepping.TIME], sensed[stepping.CTE]
        motion[i] = world.cars.motion[0, :6]
        if images is not None:
            world.render(images[i : i + 1])
        command[i] = _pursue(world, _FASTEST * (0.8 + 0.2 * math.sin(0.9 * time[i])))
        # Nothing has arrived yet in the first messages.
        world.step([command[i - command_delay] if i >= command_delay else (0.0, 0.0)])
    return Drive(time, motion, cte, command, images, car.report_scale)


def _pursue(world: World, speed: float) -> tuple[float, float]:
    """Returns steering and throttle towards a point on the path ahead."""
    x, z, yaw, forward = world.cars.motion[0, :4].tolist()
    arc = float(world.cars.sensed[0, stepping.ARC])
    path = world.track.path
    look = 2.0 + _LOOK_AHEAD_S * abs(forward)
    ahead_x, ahead_z, _ = (float(value) for value in path.at(arc + look))
    angle = math.atan2(ahead_x - x, ahead_z - z) - yaw
    distance = math.hypot(ahead_x - x, ahead_z - z)
    wheel = math.atan2(2.0 * world.vehicle.wheelbase * math.sin(angle), distance)
    steering = wheel / math.radians(world.vehicle.steer_limit_deg)
    near = np.arange(0.0, 3.0 * look, path.spacing)
    yaws = np.unwrap(path.at(arc + near)[2])
    bend = max(float(np.abs(yaws[4:] - yaws[:-4]).max()) / (4.0 * path.spacing), 1e-6)
    wanted = min(speed, math.sqrt(_BEND_ACCELERATION / bend))
    throttle = 0.5 * (wanted - forward) + 0.04 * wanted
    return min(1.0, max(-1.0, steering)), min(1.0, max(-1.0, throttle))


def clock(drive: Drive, recorder: Recorder) -> FloatArray:
    """Returns the true simulation time of each record in s, shape (k,)."""
    if recorder.interval is None:
        return drive.time
    return np.arange(drive.time[0], drive.time[-1], recorder.interval)


def messages(drive: Drive, recorder: Recorder) -> IntArray:
    """Returns the message that each record's position, speed and cte come from, shape (k,)."""
    newest = np.searchsorted(drive.time, clock(drive, recorder) + 1e-9, side="right") - 1
    return np.asarray(newest - newest % recorder.stale, dtype=np.int64)


def records(drive: Drive, recorder: Recorder = Recorder()) -> list[dict[str, Any]]:
    """Returns what a recorder makes of a drive, by `COLUMNS`; `frame` is a message or None."""
    rows = []
    time, heard = clock(drive, recorder), messages(drive, recorder)
    newest = messages(drive, dataclasses.replace(recorder, stale=1))
    for i in range(len(time)):
        told, now = heard[i], newest[i]
        x, z = (drive.place[told] / drive.report_scale).tolist()
        row = {
            "index": i,
            "frame": None if drive.images is None else max(0, now - recorder.frame_delay),
            "time_s": float(time[i]) * recorder.clock_rate,
            "pos_x": x,
            "pos_y": cameras.RIDE_HEIGHT / drive.report_scale,
            "pos_z": z,
            "speed": float(drive.speed[told]) / drive.report_scale,
            "cte": float(drive.cte[told]),
            "steering": float(drive.command[now, 0]),
            "throttle": float(drive.command[now, 1]),
        }
        rows.append({key: value for key, value in row.items() if key not in recorder.missing})
    return rows


def write_csv(
    drive: Drive, folder: pathlib.Path, recorder: Recorder = Recorder(), *, name: str = "drive"
) -> pathlib.Path:
    """Writes ``<name>.csv``, and images into ``frames``; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = [column for column in COLUMNS if column not in recorder.missing]
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        rows = csv.DictWriter(stream, columns)
        rows.writeheader()
        for row in records(drive, recorder):
            cells = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
            if row.get("frame") is not None:
                file = f"{row['index']:05d}{_suffix(recorder)}"
                cells["frame"] = _save(drive, row["frame"], folder / "frames" / file)
            rows.writerow(cells)
    return folder


def write_tub_v1(
    drive: Drive,
    folder: pathlib.Path,
    recorder: Recorder = Recorder(),
    *,
    fields: Mapping[str, Any] = NO_FIELDS,
) -> pathlib.Path:
    """Writes a tub of version 1; `fields` are added to every record. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = _contents(drive, folder, recorder, "cam-image_array", fields)
    for i, content in enumerate(contents):
        if "time_s" in content:
            content["milliseconds"] = round(content.pop("time_s") * 1000.0)
        (folder / f"record_{i}.json").write_text(json.dumps(content))
    meta = {"inputs": ["cam/image_array"], "types": ["image_array"], "start": EPOCH_MS / 1000.0}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def write_tub_v2(
    drive: Drive,
    folder: pathlib.Path,
    recorder: Recorder = Recorder(),
    *,
    deleted: Sequence[int] = (),
    catalog_length: int = 1000,
    fields: Mapping[str, Any] = NO_FIELDS,
) -> pathlib.Path:
    """Writes a tub of version 2; `fields` are added to every record. Returns the folder."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    contents = _contents(drive, folder / "images", recorder, "cam_image_array", fields)
    for i, content in enumerate(contents):
        if "time_s" in content:
            content["_timestamp_ms"] = EPOCH_MS + round(content.pop("time_s") * 1000.0)
        content |= {"_index": i, "_session_id": "20-04-04_0"}
        lines.append(json.dumps(content, sort_keys=True) + "\n")
    paths: list[str] = []
    for start in range(0, len(lines), catalog_length):
        paths.append(f"catalog_{len(paths)}.catalog")
        part = lines[start : start + catalog_length]
        (folder / paths[-1]).write_text("".join(part))
        index = {"path": f"{paths[-1]}_manifest", "start_index": start}
        index |= {"created_at": EPOCH_MS / 1000.0, "line_lengths": [len(line) for line in part]}
        (folder / f"{paths[-1]}_manifest").write_text(json.dumps(index) + "\n")
    manifest: tuple[Any, ...] = (
        ["cam/image_array", "user/angle", "user/throttle", "user/mode"],
        ["image_array", "float", "float", "str"],
        {},
        {"created_at": EPOCH_MS / 1000.0, "sessions": {"all_full_ids": ["20-04-04_0"]}},
        {
            "paths": paths,
            "current_index": len(lines),
            "max_len": catalog_length,
            "deleted_indexes": list(deleted),
        },
    )
    text = "".join(json.dumps(line) + "\n" for line in manifest)
    (folder / "manifest.json").write_text(text)
    return folder


def _contents(
    drive: Drive, images: pathlib.Path, recorder: Recorder, key: str, fields: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns donkeycar's fields of each record, `time_s` still to be named; saves images."""
    names = {
        "steering": "user/angle", "throttle": "user/throttle", "time_s": "time_s",
        "pos_x": "pos/pos_x", "pos_y": "pos/pos_y", "pos_z": "pos/pos_z",
        "speed": "pos/speed", "cte": "pos/cte",
    }  # fmt: skip
    contents = []
    for row in records(drive, recorder):
        content = {names[column]: value for column, value in row.items() if column in names}
        if row.get("frame") is not None:
            file = f"{row['index']}_{key}_{_suffix(recorder)}"
            content["cam/image_array"] = _save(drive, row["frame"], images / file)
        contents.append({"user/mode": "user", **content, **fields})
    return contents


def _suffix(recorder: Recorder) -> str:
    return ".png" if recorder.lossless else ".jpg"


def _save(drive: Drive, image: int, file: pathlib.Path) -> str:
    """Writes an image and returns the name of its file."""
    if drive.images is None:
        raise ValueError("This drive was made without frames.")
    file.parent.mkdir(parents=True, exist_ok=True)
    quality: dict[str, Any] = {} if file.suffix == ".png" else {"quality": 95}
    Image.fromarray(drive.images[image]).save(file, **quality)
    return file.name


def read_one(path: pathlib.Path) -> Recording:
    (found,) = formats.read(path)
    return found


def read_csv(folder: pathlib.Path, text: str) -> Recording:
    (folder / "mine.csv").write_text(text)
    return read_one(folder / "mine.csv")
