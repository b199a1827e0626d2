"""A car driven over TCP in lock-step and one driven in process go the same way, bit for bit."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.simulator import telemetry, track, vehicle
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.world import World
from tests.plain_client import Message, PlainClient, picture

STEPS = 300
RESET_AT = 170


def commands(seed: int, count: int = STEPS) -> npt.NDArray[np.float64]:
    """Steering, throttle and brake of a drive that weaves, brakes and reverses now and then."""
    rng = np.random.default_rng(seed)
    steering = np.sin(np.arange(count) / 9.0) * rng.uniform(0.2, 1.0, count)
    throttle = rng.uniform(0.0, 0.6, count)
    throttle[100:110] = -1.0
    brake = np.where(rng.uniform(size=count) < 0.05, 1.0, 0.0)
    # As the wire carries them: seven digits.
    rows = np.stack([steering, throttle, brake], axis=1)
    return np.array([[float(f"{value:.7g}") for value in row] for row in rows])


def on_the_wire(value: Any) -> Any:
    """A number as a single of seven digits, as the documented format has it."""
    if isinstance(value, float):
        assert math.isfinite(value)
        return float(f"{np.float32(value):.7G}")
    return value


def drive_in_process(
    generation: int, camera: CameraConfig, driven: npt.NDArray[np.float64]
) -> tuple[list[Message], list[npt.NDArray[np.uint8]]]:
    """Telemetry and pictures of a world of one car; the first are from the start."""
    world = World(track.load("generated_track"), vehicle.load(f"donkey_{generation}"), camera, 1)
    images = np.empty((1, *camera.shape), dtype=np.uint8)
    told, seen = [], []

    def look() -> None:
        fields = telemetry.fields(world, 0)
        told.append({name: on_the_wire(value) for name, value in fields.items()})
        world.render(images)
        seen.append(images[0].copy())

    look()
    for k, command in enumerate(driven):
        if k == RESET_AT:
            world.reset(np.array([0]))
            look()
        world.step(command[None])
        look()
    return told, seen


@pytest.mark.parametrize("generation", [2021, 2022])
def test_lock_step_over_tcp_is_bit_identical_to_driving_in_process(generation: int) -> None:
    driven = commands(generation)
    camera = CameraConfig(img_w=80, img_h=60)
    expected, pictures = drive_in_process(generation, camera, driven)
    config = ServerConfig(
        track="generated_track", port=0, private_port=None, time_scale="max",
        generation=generation, lockstep_patience_s=600.0,
    )  # fmt: skip
    got: list[Message] = []
    with background.running(config) as server, PlainClient(server.port) as driver:
        driver.enter()
        driver.camera(img_w="80", img_h="60", img_enc="PNG")
        got.append(driver.telemetry())
        for k, command in enumerate(driven):
            if k == RESET_AT:
                got.append(driver.reset())
            got.append(driver.step(*command))
    assert len(got) == len(expected) == STEPS + 2
    # A reset sets the clock of a world back, and never that of the simulator.
    before = got[RESET_AT]["time"]
    for k, (message, own) in enumerate(zip(got, expected, strict=True)):
        for name in own.keys() - {"lidar", "time"}:
            assert message[name] == own[name], (k, name)
        late = before if k > RESET_AT else 0.0
        assert message["time"] == pytest.approx(own["time"] + late, abs=1e-5)
    assert max(message["speed"] for message in got) > 1.0
    for message, image in zip(got, pictures, strict=True):
        assert np.array_equal(picture(message["image"]), image)


def test_jpeg_frames_are_the_same_pictures_at_the_simulators_quality() -> None:
    driven = commands(3, 20)
    _, pictures = drive_in_process(2022, CameraConfig(), driven)
    config = ServerConfig(
        track="generated_track", port=0, private_port=None, time_scale="max",
        lockstep_patience_s=600.0,
    )  # fmt: skip
    with background.running(config) as server, PlainClient(server.port) as driver:
        got = [driver.enter(), *(driver.step(*command) for command in driven)]
    for message, image in zip(got, pictures, strict=True):
        target = io.BytesIO()
        Image.fromarray(image).save(target, "JPEG", quality=75, subsampling="4:2:0")
        with Image.open(target) as compressed:
            assert np.array_equal(picture(message["image"]), np.asarray(compressed))


def test_two_cars_in_lock_step_are_two_cars_of_one_group() -> None:
    driven = [commands(seed, 120) for seed in (5, 6)]
    world = World(
        track.load("generated_track"),
        vehicle.load("donkey_2022"),
        CameraConfig(),
        2,
        groups=[0, 0],
    )
    config = ServerConfig(
        track="generated_track", port=0, private_port=None, time_scale="max",
        lockstep_patience_s=600.0,
    )  # fmt: skip
    with (
        background.running(config) as server,
        PlainClient(server.port) as one,
        PlainClient(server.port) as other,
    ):
        # Whoever was let in first stands on the first place of the grid, farther right.
        cars = sorted((one, other), key=lambda car: -float(car.enter()["pos_x"]))
        for rows in zip(*driven, strict=True):
            world.step(np.array(rows))
            for car, command in zip(cars, rows, strict=True):
                car.drive(*command)
            for i, car in enumerate(cars):
                message, own = car.telemetry(), telemetry.fields(world, i)
                for name in ("pos_x", "pos_z", "yaw", "vel_x", "vel_z", "cte", "hit", "time"):
                    assert message[name] == on_the_wire(own[name]), name
