"""Single environments: the checkers of Gymnasium and SB3, gym-donkeycar's keys, the log."""

from __future__ import annotations

import contextlib
import csv
import errno
import math
import os
import pathlib
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from donkey_rl import configuration, errors
from donkey_rl.envs import DonkeyEnv, EnvironmentConfig, gym_donkeycar, registration
from donkey_rl.envs.link.reports import Beam
from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.lidar import LidarConfig

pytestmark = pytest.mark.usefixtures("coarse_ground")

SMALL = EnvironmentConfig(camera=CameraConfig(img_w=32, img_h=24))


def test_the_ids_are_gym_donkeycars() -> None:
    assert set(registration.IDS.values()) == set(track.names())
    assert registration.IDS["donkey-minimonaco-track-v0"] == "mini_monaco"
    assert registration.IDS["donkey-avc-sparkfun-v0"] == "sparkfun_avc"
    assert set(registration.IDS) <= set(gymnasium.registry)


@pytest.mark.parametrize("identifier", list(registration.IDS))
def test_both_checkers_pass(identifier: str) -> None:
    # Any warning is an error here (pyproject.toml).
    env = gymnasium.make(identifier).unwrapped
    gymnasium_check(env, skip_render_check=True)
    sb3_check(env)
    assert isinstance(env, DonkeyEnv)
    assert env.config.track == registration.IDS[identifier]


def test_the_registered_task_goes_on_beside_the_road_until_max_cte() -> None:
    env = gymnasium.make("donkey-generated-track-v0", conf={"throttle_max": 0.3})
    env.reset(seed=0)
    outside = 0
    for _ in range(400):
        *_, terminated, _, info = env.step(np.array([1.0, 0.5], dtype=np.float32))
        outside += info["off_track"]
        if terminated:
            break
    assert outside > 1
    assert info["ending"] in ("max_cte", "hit")
    assert info["ending"] == "hit" or abs(info["cte"]) > 8.0


def test_conf_sets_camera_limits_and_task_and_stays_unchanged() -> None:
    conf = {
        "cam_resolution": (48, 64, 1), "max_cte": 5.0, "steer_limit": 0.5,
        "throttle_min": -0.2, "throttle_max": 0.6, "host": "127.0.0.1", "port": 9091,
        "body_style": "donkey", "car_name": "me", "start_delay": 5.0, "frame_skip": 1,
        "cam_config": {"fov": 70, "img_w": 0, "img_h": 0, "rot_x": 0.0},
    }  # fmt: skip
    before = {**conf, "cam_config": dict(conf["cam_config"])}  # type: ignore[call-overload]
    config = gym_donkeycar.applied(EnvironmentConfig(), conf)
    assert conf == before
    camera = config.camera
    assert camera.shape == (48, 64, 3)
    assert (camera.img_d, camera.fov) == (1, 70.0)
    # 0 leaves a setting as it is.
    assert camera.rot_x == 15.0
    assert camera.offset_y == CameraConfig().offset_y
    assert config.task.max_cte == 5.0
    assert (config.steer_limit, config.throttle_min, config.throttle_max) == (0.5, -0.2, 0.6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # The place is set as a whole as soon as one value is not 0, as in the simulator.
        ({"offset_y": 2.0}, {"offset_x": 0.0, "offset_y": 2.0, "offset_z": 0.0}),
        ({"offset_x": 0.0, "offset_y": 0.0, "offset_z": 0.0}, {}),
        ({"fish_eye_x": 0.4}, {"fish_eye_x": 0.4, "fish_eye_y": 0.0}),
        ({"img_w": 64}, {}),
        ({"img_w": 64, "img_h": 48}, {"img_w": 64, "img_h": 48}),
        ({"fov": "60", "rot_x": "0"}, {"fov": 60.0}),
        ({"img_enc": "JPG", "rot_y": 0.0}, {}),
        ({"rot_y": 30.0}, {"rot_x": 0.0, "rot_y": 30.0, "rot_z": 0.0}),
    ],
)
def test_a_zero_in_cam_config_leaves_things_alone(
    given: dict[str, Any], expected: dict[str, float]
) -> None:
    config = gym_donkeycar.applied(EnvironmentConfig(), {"cam_config": given})
    assert config.camera.model_dump() == CameraConfig().model_dump() | expected


@pytest.mark.parametrize("key", ["lidar_config", "cam_config_b"])
def test_what_is_not_simulated_is_warned_of_once(key: str) -> None:
    plain = EnvironmentConfig()
    with pytest.warns(UserWarning, match=rf"conf\['{key}'\] has no effect") as warned:
        assert gym_donkeycar.applied(plain, {key: {"offset_x": "0"}, "level": 0}) == plain
    assert len(warned) == 1
    # Without a request nothing is warned of: any warning is an error here (pyproject.toml).
    assert gym_donkeycar.applied(plain, {key: None}) == plain


@pytest.mark.parametrize(
    ("conf", "hint"),
    [
        ({"max_ctee": 4.0}, "max_cte"),
        ({"throttel_max": 4.0}, "throttle_max"),
        ({"cam_config": {"fow": 90}}, "fov"),
        ({"frame_skip": 2}, "frame_skip"),
        ({"cam_resolution": (120, 160)}, "cam_resolution"),
        ({"cam_resolution": (8, 160, 3)}, "img_h"),
        ({"cam_config": {"fov": 300}}, "fov"),
        ({"max_cte": -1.0}, "max_cte"),
        ({"throttle_min": 0.5, "throttle_max": 0.5}, "throttle_min"),
    ],
)
def test_a_wrong_conf_is_answered_with_what_is_right(conf: dict[str, Any], hint: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=hint):
        gym_donkeycar.applied(EnvironmentConfig(), conf)


def test_an_unknown_track_or_car_is_answered_with_the_nearest() -> None:
    with pytest.raises(errors.UnknownNameError, match="generated_track"):
        DonkeyEnv(EnvironmentConfig(track="generated_trak"))
    with pytest.raises(errors.UnknownNameError, match="donkey_2022"):
        DonkeyEnv(EnvironmentConfig(vehicle="donkey_2222"))


def test_actions_are_mapped_to_the_configured_limits() -> None:
    config = SMALL.model_copy(
        update={"throttle_min": -0.2, "throttle_max": 0.6, "steer_limit": 0.5}
    )
    env = DonkeyEnv(config)
    env.reset(seed=0)
    # The middle of -0.2 and 0.6 is 0.2, half the span 0.4: 0.2 - 0.5 * 0.4 = 0.
    for action, expected in (([1.0, 1.0], [0.5, 0.6]), ([-1.0, -1.0], [-0.5, -0.2]),
                             ([0.4, -0.5], [0.2, 0.0])):  # fmt: skip
        env.step(action)
        command = env.batch.world.cars.command[0]
        assert command[:2] == pytest.approx(expected)
        assert command[2] == 0.0


def test_observation_is_what_a_race_host_sends() -> None:
    env = DonkeyEnv(SMALL)
    first, _ = env.reset(seed=0)
    assert set(first) == {"image", "speed", "imu", "last_actions"}
    assert not first["last_actions"].any()
    for action in ([0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]):
        observed, _, _, _, info = env.step(action)
    # The last three actions, oldest first.
    expected = np.array([0.3, 0.4, 0.5, 0.6, 0.7, 0.8], dtype=np.float32)
    assert (observed["last_actions"] == expected).all()
    assert observed["speed"][0] == pytest.approx(info["speed"])
    assert observed["imu"][[0, 2]] == pytest.approx([info["accel"][0], info["accel"][2]])
    assert observed["imu"][4] == pytest.approx(info["gyro"][1])
    fresh, _ = env.reset()
    assert not fresh["last_actions"].any()
    assert fresh["speed"][0] == 0.0


def test_no_observation_depends_on_what_only_the_simulator_knows() -> None:
    env = DonkeyEnv(SMALL)
    env.reset(seed=0)
    for _ in range(10):
        env.step([0.2, 0.6])
    batch = env.batch
    before = {k: np.array(v) for k, v in batch.observation().items()}
    known = {stepping.ACCEL_FORWARD, stepping.ACCEL_RIGHT}
    for column in set(range(stepping.SENSED)) - known:
        batch.sensed[:, column] = 1e6 + column
    batch.world.cars.node[:] = 77
    batch.world.cars.wheels_off[:] = 4
    batch.best_progress[:] = -5.0
    batch.off_track[:] = True
    batch.motion[0, [physics.X, physics.Z, physics.YAW]] += 1.0
    after = batch.observation()
    for name, value in before.items():
        assert (after[name] == value).all()


def test_info_holds_gym_donkeycars_keys_in_its_units() -> None:
    env = DonkeyEnv(SMALL)
    _, info = env.reset(seed=0)
    keys = {"pos", "cte", "speed", "forward_vel", "hit", "gyro", "accel", "vel", "lidar", "car",
            "last_lap_time", "lap_count"}  # fmt: skip
    assert keys <= set(info)
    for _ in range(20):
        *_, info = env.step([0.1, 0.4])
    assert keys | {"distance", "progress", "time", "reward_terms"} <= set(info)
    motion = env.batch.motion[0]
    # The car of 2022 reports an eighth of the simulation's units.
    assert info["pos"][0] == pytest.approx(motion[physics.X] / 8.0)
    assert info["pos"][2] == pytest.approx(motion[physics.Z] / 8.0)
    speed = math.hypot(motion[physics.FORWARD], motion[physics.RIGHTWARD])
    assert info["speed"] == pytest.approx(speed / 8.0)
    assert info["forward_vel"] == pytest.approx(motion[physics.FORWARD] / 8.0)
    assert info["distance"] >= info["progress"] > 0.5
    # 20 messages of 0.05 s on average.
    assert info["time"] == pytest.approx(1.0)
    assert info["car"][2] == pytest.approx(math.degrees(motion[physics.YAW]) % 360.0)
    assert info["hit"] == "none"


@pytest.mark.parametrize(
    "action", [[math.nan, 0.0], [0.0, math.inf], [0.0], [0.0, 0.0, 0.0], 0.0, [[0.0, 0.0]]]
)
def test_a_bad_action_is_refused_and_changes_nothing(action: Any) -> None:
    env = DonkeyEnv(SMALL)
    env.reset(seed=0)
    env.step([0.1, 0.4])
    motion = env.batch.motion.copy()
    seen = env.batch.observation()["image"].copy()
    with pytest.raises(errors.ActionError, match="Received"):
        env.step(action)
    assert (env.batch.motion == motion).all()
    assert env.batch.steps.tolist() == [1]
    assert (env.batch.observation()["image"] == seen).all()


def test_the_same_seed_is_the_same_episode() -> None:
    runs = []
    for seed in (1, 1, 2):
        settings = SMALL.randomisation.model_copy(update={"colours": 0.5, "start_yaw": 10.0})
        env = DonkeyEnv(SMALL.model_copy(update={"randomisation": settings}))
        observed, _ = env.reset(seed=seed)
        images = [observed["image"]]
        for _ in range(10):
            images.append(env.step([0.2, 0.5])[0]["image"])
        runs.append(np.array(images))
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


def test_the_telemetry_log_is_a_table_that_opens(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "logs" / "drive.csv"
    env = DonkeyEnv(SMALL, telemetry_log=path)
    env.reset(seed=0)
    for _ in range(5):
        *_, info = env.step([0.1, 0.5])
    env.reset()
    env.step([0.0, 0.2])
    # Each row is on disk as soon as it is written.
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["episode"] for row in rows] == ["1"] * 5 + ["2"]
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "1"]
    assert float(rows[4]["speed"]) == pytest.approx(info["speed"])
    assert float(rows[4]["distance"]) == pytest.approx(info["distance"])
    assert float(rows[4]["steering"]) == pytest.approx(0.1)
    # Throttle 0.5 of -1..1 maps to 0.75 of 0..1.
    assert float(rows[4]["throttle"]) == pytest.approx(0.75)
    env.close()


def test_a_log_that_cannot_be_written_is_one_clear_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.StorageError, match="telemetry log"):
        DonkeyEnv(SMALL, telemetry_log=tmp_path / "file" / "drive.csv")


def test_a_log_that_cannot_be_closed_is_told_of_and_the_car_given_up(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = DonkeyEnv(SMALL, telemetry_log=tmp_path / "drive.csv")
    given_up = []

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert env._log is not None
    with contextlib.closing(env._log._file):
        monkeypatch.setattr(env._log, "_file", SimpleNamespace(close=full))
        monkeypatch.setattr(env._batch.world, "close", lambda: given_up.append(True))
        with pytest.raises(errors.StorageError, match="Cannot write to"):
            env.close()
    assert given_up == [True]


def test_images_are_given_away_not_shared() -> None:
    env = DonkeyEnv(SMALL, render_mode="rgb_array")
    first, _ = env.reset(seed=0)
    kept = first["image"].copy()
    for _ in range(4):
        env.step([0.5, 1.0])
    assert (first["image"] == kept).all()
    picture = env.render()
    assert picture is not None
    assert (picture == env.batch.observation()["image"][0]).all()
    assert DonkeyEnv(SMALL).render() is None


def test_a_time_limit_that_is_no_whole_step_is_refused() -> None:
    task = {"task": {"time_limit_s": 1.03}}
    with pytest.raises(errors.ConfigurationError, match=r"task\.time_limit_s.*1\.03"):
        configuration.validate(EnvironmentConfig, task)


def test_stock_spaces_are_those_of_gym_donkeycar() -> None:
    conf = {"steer_limit": 0.5, "throttle_min": -0.2, "throttle_max": 0.6}
    ours = gymnasium.make("donkey-warehouse-v0", conf=conf)
    stock = gymnasium.make("donkey-warehouse-v0", conf=conf, stock_spaces=True)
    sb3_check(stock, warn=False)
    assert stock.observation_space.shape == (120, 160, 3)
    assert stock.action_space.low.tolist() == pytest.approx([-0.5, -0.2])
    assert stock.action_space.high.tolist() == pytest.approx([0.5, 0.6])
    first, _ = ours.reset(seed=3)
    image, _ = stock.reset(seed=3)
    np.testing.assert_array_equal(first["image"], image)
    for _ in range(20):
        # Throttle 0.2 lies in the middle of -0.2 and 0.6: action 0.
        seen, reward, _, _, info = ours.step([0.4, 0.0])
        image, same_reward, _, _, same = stock.step([0.2, 0.2])
    np.testing.assert_array_equal(seen["image"], image)
    assert reward == pytest.approx(same_reward)
    assert info["pos"] == pytest.approx(same["pos"])
    with pytest.raises(errors.ActionError, match="shape"):
        stock.step([0.0])


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"port": 9093}, "localhost:9093"),
        ({"host": "sim.local"}, "sim.local:9091"),
        ({"exe_path": "remote", "host": "10.0.0.7", "port": 9}, "10.0.0.7:9"),
        ({"exe_path": __file__, "port": 9091}, __file__),
    ],
)
def test_conf_names_the_simulator_as_in_gym_donkeycar(conf: dict[str, Any], expected: str) -> None:
    assert gym_donkeycar.applied(EnvironmentConfig(), conf).simulator == expected


def test_conf_of_car_racer_camera_and_lidar_goes_over_the_link() -> None:
    conf = {
        "port": 9091, "body_style": "f1", "body_rgb": (1, 2, 3), "car_name": "me", "font_size": 50,
        "racer_name": "Ada", "country": "UK", "bio": "...", "guid": 7, "cam_encode": "PNG",
        "cam_config_b": {"offset_x": 0.5, "img_w": 64, "img_h": 48},
        "lidar_config": {"degPerSweepInc": 4.0, "numSweepsLevels": 1},
    }  # fmt: skip
    link = gym_donkeycar.applied(EnvironmentConfig(), conf).link
    assert (link.car.body_style, link.car.car_name, link.car.font_size) == ("f1", "me", 50)
    assert (link.car.body_r, link.car.body_g, link.car.body_b) == (1, 2, 3)
    assert (link.racer.name, link.racer.country, link.racer.guid) == ("Ada", "UK", "7")
    assert link.image_encoding == "PNG"
    assert link.camera_b is not None
    assert (link.camera_b.offset_x, link.camera_b.shape) == (0.5, (48, 64, 3))
    # What is not said of the second camera is as the simulator has it, not as the first.
    conf |= {"cam_config": {"fov": 60}, "car_config": {"car_name": "named last"}}
    link = gym_donkeycar.applied(EnvironmentConfig(), conf).link
    assert link.camera_b is not None
    assert link.camera_b.fov == CameraConfig().fov != 60.0
    assert link.car.car_name == "named last"
    assert link.lidar is not None
    assert (link.lidar.degPerSweepInc, link.lidar.numSweepsLevels) == (4.0, 1)


def test_lidar_is_asked_for_by_gym_donkeycars_names_and_defaults() -> None:
    given = {"deg_per_sweep_inc": 4.0, "num_sweeps_levels": 2, "noise": 0.0}
    conf = {"host": "h", "lidar_config": given}
    lidar = gym_donkeycar.applied(EnvironmentConfig(), conf).link.lidar
    assert lidar is not None
    assert lidar == LidarConfig(
        degPerSweepInc=4.0, numSweepsLevels=2, noise=0.0, degAngDown=0.0, offset_x=0.0,
        offset_y=0.5, offset_z=0.5,
    )  # fmt: skip
    wrong = {"host": "h", "lidar_config": {"max_rang": 3.0}}
    with pytest.raises(errors.ConfigurationError, match="Did you mean 'max_range'"):
        gym_donkeycar.applied(EnvironmentConfig(), wrong)


def test_lidar_is_arranged_as_gym_donkeycar_does() -> None:
    config = LidarConfig(degPerSweepInc=90.0, degAngDelta=-1.0, numSweepsLevels=2)
    beams = [Beam(5.0, 90.0, 0.0), Beam(7.0, 0.0, -1.0), Beam(9.0, 270.0, -1.0)]
    # Four directions a level: 0 + 1 in level 0, 4 + 0 and 4 + 3 in level 1.
    found = gym_donkeycar.lidar_array(beams, config)
    assert found.tolist() == [-1, 5, -1, -1, 7, -1, -1, 9]
