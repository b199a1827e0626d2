"""Augmentation, behaviour cloning and recorded drives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from donkey_rl import configuration
from donkey_rl.agents import cnn
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.imitation import augmentation
from donkey_rl.agents.imitation.augmentation import Copier
from donkey_rl.agents.imitation.cloning import Cloner, Demonstrations
from donkey_rl.agents.imitation.config import ImitationConfig
from donkey_rl.agents.observations import Parts
from donkey_rl.agents.ppo import networks as ppo_networks
from donkey_rl.agents.sac import networks as sac_networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import effects
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import recorded_drives
from tests import data_sets

SIZE = (24, 32, 3)


def observation(count: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (count, *SIZE), np.uint8),
        "speed": random.random((count, 1), np.float32),
        "imu": random.normal(size=(count, 6)).astype(np.float32),
        "last_actions": random.uniform(-1, 1, (count, 4)).astype(np.float32),
    }


def silent(share: float, loss: float) -> None:
    """Shows no progress."""


def test_mirror_turns_image_steering_and_rates_round() -> None:
    seen = observation(2)
    seen["imu"][:] = [1, 2, 3, 4, 5, 6]
    seen["last_actions"][:] = [0.1, 0.2, -0.3, 0.4]
    copy = augmentation.mirrored(seen, np.array([True, False]))
    assert (copy["image"][0] == seen["image"][0, :, ::-1]).all()
    assert (copy["image"][1] == seen["image"][1]).all()
    # Rightward acceleration, yaw rate and roll rate change sides, pitch and forward do not.
    assert copy["imu"].tolist() == [[-1, 2, 3, 4, -5, -6], [1, 2, 3, 4, 5, 6]]
    # Steering changes its sign, throttle does not.
    assert copy["last_actions"][0] == pytest.approx([-0.1, 0.2, 0.3, 0.4])
    again = augmentation.mirrored(copy, np.array([True, False]))
    assert all((again[name] == seen[name]).all() for name in seen)


def test_copies_are_seeded_and_mirrored_with_their_actions() -> None:
    seen, actions = observation(64), np.full((64, 2), 0.5, np.float32)
    config = ImitationConfig(mirror=True).augmentation
    one, other = (Copier(config, SIZE, seed=3) for _ in range(2))
    first, wanted = one(seen, actions)
    same, _ = other(seen, actions)
    second, _ = one(seen, actions)
    assert (first["image"] == same["image"]).all()
    assert (first["image"] != second["image"]).any()
    assert first["image"].dtype == np.uint8
    turned = wanted[:, 0] < 0.0
    assert 16 < turned.sum() < 48
    assert (wanted[:, 1] == 0.5).all()
    assert (
        np.sign(first["imu"][:, 4]) == np.sign(seen["imu"][:, 4]) * np.where(turned, -1, 1)
    ).all()


def by_rule(count: int, seed: int) -> tuple[Parts, Any]:
    """Steering is half of the first number less half of the second, throttle the third."""
    numbers = np.random.default_rng(seed).uniform(-1, 1, (count, 3)).astype(np.float32)
    steering = 0.5 * (numbers[:, 0] - numbers[:, 1])
    return Parts(numbers, None), np.stack([steering, 0.8 * numbers[:, 2]], axis=1)


def policies() -> list[Any]:
    actor = sac_networks.actor(3, 2, SACConfig(hidden=(32,)), 1)
    return [
        sac_networks.deterministic(actor),
        ppo_networks.network(3, 2, (32,), 0.01, 1),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_policy_does_what_was_shown(which: int) -> None:
    config = ImitationConfig(steps=2000, epochs=30, batch_size=64, learning_rate=3e-3)
    data = Demonstrations(*by_rule(1_000, 1), *by_rule(200, 2))
    policy, twin = policies()[which], policies()[which]
    before = policy(data.kept_seen.numbers).numpy() - data.kept_actions
    report = Cloner(policy, None, config, seed=5).fit(
        data, epochs=config.epochs, learning_rate=config.learning_rate, progress=silent
    )
    # Doing nothing misses by 0.41 and 0.46 (deviations of the rule).
    assert np.sqrt((before**2).mean()) > 0.3
    assert max(report.rmse) < 0.08
    assert report.loss[-1] < 0.1 * report.loss[0]
    assert report.rows == 1_000
    again = Cloner(twin, None, config, seed=5).fit(
        data, epochs=config.epochs, learning_rate=config.learning_rate, progress=silent
    )
    assert again == report


def test_policy_learns_to_see_what_was_shown() -> None:
    """The brighter half of the image says where to steer: without the cnn nobody can know."""
    random = np.random.default_rng(0)
    right = random.random(400) < 0.5
    images = random.integers(0, 100, (400, *SIZE), np.uint8)
    images[right, :, 16:] += 120
    images[~right, :, :16] += 120
    actions = np.stack([np.where(right, 0.6, -0.6), np.zeros(400)], axis=1).astype(np.float32)
    seen = Parts(np.zeros((400, 1), np.float32), images)
    data = Demonstrations(
        Parts(seen.numbers[:320], images[:320]), actions[:320],
        Parts(seen.numbers[320:], images[320:]), actions[320:],
    )  # fmt: skip
    eye = cnn.network(SIZE, CnnConfig(filters=(8, 8), units=16), 1)
    policy = ppo_networks.network(17, 2, (16,), 0.01, 1)
    untrained = eye.get_weights()
    config = ImitationConfig(epochs=8, batch_size=32)
    report = Cloner(policy, eye, config, seed=0).fit(
        data, epochs=config.epochs, learning_rate=config.learning_rate, progress=silent
    )
    assert report.rmse[0] < 0.2
    assert any((old != new).any() for old, new in zip(untrained, eye.get_weights(), strict=True))


def test_copies_of_what_a_policy_sees_by_itself_are_made_in_the_update() -> None:
    eye = cnn.network(SIZE, CnnConfig(filters=(8, 8), units=16), 1)
    policy = ppo_networks.network(20, 2, (16,), 0.01, 1)
    config = ImitationConfig(mirror=True, shift=0, shadow=0.0, copies=3, batch_size=32)
    cloner = Cloner(policy, eye, config, seed=0)
    seen = observation(40)
    rows = np.full((40, 4), 0.5, np.float32)
    aim, copied = np.full((40, 2), 0.5, np.float32), np.arange(40) >= 20
    batch, wanted = cloner._changed([rows, seen["image"]], aim, copied, np.int32([0, 1]))
    numbers, images = (part.numpy() for part in batch)
    assert (images[:20] == seen["image"][:20]).all()
    assert (numbers[:20] == 0.5).all()
    turned = wanted.numpy()[:, 0] < 0.0
    assert not turned[:20].any()
    assert 2 < turned.sum() < 18
    assert (numbers[turned] == [0.5, -0.5, -0.5, 0.5]).all()
    # Each copy is lighter or darker as a whole, by a fifth of 255 at most.
    ahead = np.where(turned[:, None, None, None], images[:, :, ::-1], images)
    gaps = (ahead - seen["image"])[20:]
    assert np.ptp(gaps, axis=(1, 2, 3)) == pytest.approx(0.0, abs=1e-3)
    assert 20.0 < np.abs(gaps).max() <= 51.0
    # Three copies beside each of 40.
    data = Demonstrations(Parts(rows, seen["image"]), aim, Parts(rows, seen["image"]), aim)
    report = cloner.fit(data, epochs=1, learning_rate=1e-3, progress=silent)
    assert report.rows == 160


def test_too_few_demonstrations_are_refused() -> None:
    data = Demonstrations(*by_rule(20, 1), *by_rule(5, 2))
    with pytest.raises(InputError, match=r"one batch of 128 .* Received: 20 and 5"):
        Cloner(policies()[0], None, ImitationConfig(), seed=0).fit(
            data, epochs=1, learning_rate=1e-3, progress=silent
        )


def test_settings_are_checked() -> None:
    assert not ImitationConfig().wanted
    assert ImitationConfig(expert="pursuit").wanted
    assert ImitationConfig(data="drive.csv").wanted
    # Of recordings alone the batch says nothing; they are looked at themselves.
    assert ImitationConfig(data="drive.csv", batch_size=4096).wanted
    # Each frame is learned from with its copy.
    assert ImitationConfig(expert="pursuit", steps=100).copies == 1
    for values, message in (
        ({"expert": "pursiut"}, "Did you mean 'pursuit'"),
        ({"rounds": 3}, r"received rounds=3 and expert=none; set imitation.expert=pursuit, or"),
        ({"expert": "pursuit", "steps": 70}, "one batch beside the validation share"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            configuration.validate(ImitationConfig, values)


def write_drive(folder: Path, *, size: tuple[int, int] = (32, 24), speed: str = "8.0") -> Path:
    """Six records of 0.05 s; between the third and the fourth lie 5 s."""
    (folder / "frames").mkdir(parents=True)
    lines = ["index,frame,time_s,speed,steering,throttle"]
    for i in range(6):
        Image.new("RGB", size, (10 * i, 0, 0)).save(folder / "frames" / f"{i}.png")
        time = 0.05 * i + (5.0 if i >= 3 else 0.0)
        lines.append(f"{i},{i}.png,{time},{speed},{0.1 * i},{0.1 * i}")
    (folder / "drive.csv").write_text("\n".join(lines) + "\n")
    return folder


def environment() -> EnvironmentConfig:
    camera = CameraConfig(img_w=32, img_h=24)
    return EnvironmentConfig(
        camera=camera, vehicle="donkey_2021", history=2, throttle_min=0.0, throttle_max=0.4
    )


def test_recorded_drive_is_what_a_driver_would_have_seen(tmp_path: Path) -> None:
    (drive,) = recorded_drives.read(write_drive(tmp_path), environment())
    seen, actions = drive.observations(np.arange(6))
    assert len(drive) == 6
    assert seen["image"][:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    # Throttle 0 .. 0.4 is -1 .. 1; the fifth record's 0.5 lies beyond.
    assert actions[:, 0] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert actions[:, 1] == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0, 1.0])
    # Oldest first; nothing was done before a drive began, and a pause begins another.
    assert seen["last_actions"][2] == pytest.approx([0.0, -1.0, 0.1, -0.5])
    assert seen["last_actions"][3] == pytest.approx([0.0, 0.0, 0.0, 0.0])
    assert seen["last_actions"][4] == pytest.approx([0.0, 0.0, 0.3, 0.5])
    # 8 u/s, 0.4 of 16 degrees, 1.549 u between the axles: 8 tan(6.4 deg) / 1.549 = 0.579 rad/s.
    # The command before makes it: the record's own, 0.5, is what is to be learned.
    assert seen["speed"].ravel() == pytest.approx([8.0] * 6)
    expected = 8.0 * math.tan(math.radians(6.4)) / 1.549
    assert seen["imu"][5].tolist() == pytest.approx([0, 0, 0, 0, expected, 0], abs=1e-3)
    assert (seen["imu"][3] == 0.0).all()


def test_a_camera_without_colours_sees_recordings_without(tmp_path: Path) -> None:
    folder = write_drive(tmp_path)
    own = environment()
    camera = own.camera.model_copy(update={"img_d": 1})
    (drive,) = recorded_drives.read(folder, own.model_copy(update={"camera": camera}))
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 100
    # 0.2126 * 200 + 0.0722 * 100 = 49.74.
    np.testing.assert_array_equal(effects.gray(image), np.full_like(image, 49))
    seen, _ = drive.observations(np.arange(6))
    colours, _ = recorded_drives.read(folder, own)[0].observations(np.arange(6))
    np.testing.assert_array_equal(seen["image"], effects.gray(colours["image"]))


def test_damaged_image_is_left_out_with_its_action(tmp_path: Path) -> None:
    folder = write_drive(tmp_path)
    (folder / "frames" / "2.png").write_bytes(b"nothing")
    (drive,) = recorded_drives.read(folder, environment())
    seen, actions = drive.observations(np.arange(6))
    assert seen["image"][:, 0, 0, 0].tolist() == [0, 10, 30, 40, 50]
    assert actions[:, 0] == pytest.approx([0.0, 0.1, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": (160, 90)}, r"images of 32x24 pixels, or of that shape\. Received: 160x90"),
        ({"speed": ""}, r"steering and throttle\. Received: none .* imitation\.speed=2"),
    ],
)
def test_recording_that_teaches_nothing_is_refused(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        recorded_drives.read(write_drive(tmp_path, **values), environment())


def test_images_of_the_same_shape_are_made_smaller(tmp_path: Path) -> None:
    (drive,) = recorded_drives.read(write_drive(tmp_path, size=(160, 120)), environment())
    seen, _ = drive.observations(np.arange(6))
    assert seen["image"].shape == (6, 24, 32, 3)
    assert seen["image"][:, 5, 5, 0].tolist() == [0, 10, 20, 30, 40, 50]


def test_a_speed_can_be_taken_where_none_was_recorded(tmp_path: Path) -> None:
    (drive,) = recorded_drives.read(write_drive(tmp_path / "a", speed=""), environment(), 8.0)
    (recorded,) = recorded_drives.read(write_drive(tmp_path / "b"), environment(), 3.0)
    for found in (drive, recorded):
        seen, _ = found.observations(np.arange(6))
        assert seen["speed"].ravel() == pytest.approx([8.0] * 6)
        assert seen["imu"][5, 4] == pytest.approx(8.0 * math.tan(math.radians(6.4)) / 1.549)


def test_a_race_without_anything_to_learn_from_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As where R was pressed, and then Ctrl-C: a command stands in the row after its image."""
    camera = CameraConfig(img_w=160, img_h=120)
    own = environment().model_copy(update={"camera": camera})
    data_sets.pictured(tmp_path / "race_01.parquet", rows=1)
    with pytest.raises(InputError, match=r"race_01.*none that has all of them"):
        recorded_drives.read(tmp_path, own)
    data_sets.pictured(tmp_path / "race_00.parquet")
    (drive,) = recorded_drives.read(tmp_path, own)
    assert len(drive.records) == 39
    assert "race_01" in caplog.text
