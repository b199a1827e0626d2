from __future__ import annotations

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from donkey_rl.envs.simulator import physics, track, vehicle
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.world import World
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments import race_frames
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, Race, RaceHeader
from donkey_rl.metrics.race_writer import RaceWriter

CAMERA = CameraConfig(img_w=32, img_h=24)


def recorded(rows: int, **header: object) -> tuple[Race, np.ndarray]:
    """A car under full throttle: its record, and the frames that it saw."""
    road = track.load("warehouse")
    world = World(road, vehicle.load("donkey_2021"), CAMERA, 1)
    seen = np.empty((rows, 1, 24, 32, 3), np.uint8)
    motion = np.empty((rows, 6))
    for row in range(rows):
        motion[row] = world.cars.motion[0]
        world.render(seen[row])
        world.step([[0.3, 1.0]])
    about = {
        "track": "warehouse",
        "track_length": road.length,
        "nodes": len(road.nodes),
        "start_line": road.start_line,
        "start_line_progress": 0.0,
        "road_left": road.road_left,
        "road_right": road.road_right,
        "vehicle": "donkey_2021",
        "camera": CAMERA.model_dump(),
    }
    columns = {name: np.zeros(rows) for name in COLUMNS if name not in OPTIONAL}
    columns |= {
        "time_s": 0.05 * np.arange(rows),
        "x": motion[:, physics.X],
        "z": motion[:, physics.Z],
        "yaw": motion[:, physics.YAW],
        "speed": motion[:, 3],
    }
    return Race(RaceHeader.model_validate(about | header), columns), seen[:, 0]


def test_frames_are_those_that_the_car_saw() -> None:
    race, seen = recorded(40)
    drawn = np.stack(list(race_frames.frames(race)))
    assert drawn.shape == (40, 24, 32, 3)
    difference = np.abs(drawn.astype(int) - seen).mean(axis=(1, 2, 3))
    # While it pulls away the body swings, of which the record says nothing; then it leans.
    assert difference[20:].mean() < 1.0
    # Frames of another moment are not those.
    assert np.abs(drawn[20].astype(int) - seen[39]).mean() > 10.0


def test_frames_need_the_track_that_was_driven() -> None:
    race, _ = recorded(1)
    other = Race(race.header.model_copy(update={"track_length": 50.0}), race.columns)
    with pytest.raises(InputError, match=r"warehouse of 50.00 u, which is .* u long here"):
        next(race_frames.frames(other))
    unknown = Race(race.header.model_copy(update={"track": "warehous"}), race.columns)
    with pytest.raises(UnknownNameError, match="warehouse"):
        next(race_frames.frames(unknown))
    # A track that has no name here is handed in.
    (frame,) = race_frames.frames(unknown, track.load("warehouse"))
    np.testing.assert_array_equal(frame, next(race_frames.frames(race)))


def jpeg(value: int, size: tuple[int, int] = (32, 24)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(file, "JPEG")
    return file.getvalue()


def written(path: pathlib.Path, frames: list[bytes | None]) -> pathlib.Path:
    """Writes a race with a frame for each row."""
    road = track.load("warehouse")
    header = RaceHeader(
        track="warehouse",
        track_length=road.length,
        nodes=len(road.nodes),
        start_line=road.start_line,
        start_line_progress=0.0,
        road_left=road.road_left,
        road_right=road.road_right,
    )
    with RaceWriter(path, header, frames=True) as writer:
        for row, frame in enumerate(frames):
            values = {name: 0.0 for name in COLUMNS if name not in OPTIONAL}
            writer.append(values | {"time_s": 0.05 * row}, frame)
    return path


def test_recorded_frames_are_shown_as_they_are(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path / "race.parquet", [jpeg(10), None, jpeg(200)])
    shown = np.stack(list(race_frames.recorded(path)))
    assert shown.shape == (3, 24, 32, 3)
    np.testing.assert_allclose(shown.mean(axis=(1, 2, 3)), [10, 10, 200], atol=2)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([None, jpeg(1)], "begin with its first row"),
        ([jpeg(1), jpeg(1)[:100]], "row 1"),
        ([jpeg(1), b"no picture"], "row 1"),
        ([jpeg(1, (513, 16))], "513 x 16 pixels"),
    ],
)
def test_damaged_frames_are_an_error(
    frames: list[bytes | None], message: str, tmp_path: pathlib.Path
) -> None:
    path = written(tmp_path / "race.parquet", frames)
    with pytest.raises(InputError, match=message):
        list(race_frames.recorded(path))
