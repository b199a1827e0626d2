import json
import pathlib
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from gymnasium import spaces

from donkey_rl.agents import folders, keras_files
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.features import FeatureExtractor, FeatureScaling
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import DriverError, StorageError

SHAPE = (48, 64, 3)
LABELS = ("left", "right", "heading")
DESCRIPTION = DriverDescription(
    agent="sac",
    vehicle="donkey_2022",
    tracks=("generated_track",),
    simulator="embedded 0.1.0",
    camera={"img_w": 64, "img_h": 48},
    throttle_limits=(-0.5, 0.8),
    notes={"seed": 3},
)


def make(seed=0, history=3, scaling=None):
    config = LaneEncoderConfig(filters=(8, 16), dense=32, seed=seed)
    encoder = LaneEncoder(SHAPE, LABELS, config)
    actor = networks.actor(3 + 2 + 2 * history, 2, SACConfig(hidden=(16,)), seed=seed)
    # Weights that no initialiser makes, so that a copy is seen to be one.
    random = np.random.default_rng(seed)
    actor.set_weights([random.normal(0, 0.3, w.shape) for w in actor.get_weights()])
    policy = networks.deterministic(actor)
    return Driver(encoder, policy, DESCRIPTION, history=history, scaling=scaling), actor


def observations(count, history=3):
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (count, *SHAPE), dtype=np.uint8),
        "speed": random.uniform(0, 20, (count, 1)).astype(np.float32),
        "imu": random.normal(size=(count, 6)).astype(np.float32),
        "last_actions": random.uniform(-1, 1, (count, 2 * history)).astype(np.float32),
    }


def space(shape=SHAPE, history=3):
    return spaces.Dict(
        {
            "image": spaces.Box(0, 255, shape, np.uint8),
            "speed": spaces.Box(-np.inf, np.inf, (1,), np.float32),
            "imu": spaces.Box(-np.inf, np.inf, (6,), np.float32),
            "last_actions": spaces.Box(-1, 1, (2 * history,), np.float32),
        }
    )


def one(batch, index):
    return {name: part[index] for name, part in batch.items()}


@pytest.fixture(scope="module")
def driver():
    return make()[0]


@pytest.fixture(scope="module")
def saved(driver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drivers") / "driver"
    driver.save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the driver folder, to be damaged."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "driver"))


def test_it_acts_as_the_policy_did_on_features():
    driver, actor = make(scaling=FeatureScaling(speed=7.0, yaw_rate=3.0))
    batch = observations(5)
    extractor = FeatureExtractor(driver.encoder, space(), FeatureScaling(speed=7.0, yaw_rate=3.0))
    mean, _ = actor(extractor(batch))
    np.testing.assert_allclose(driver.act(batch), np.tanh(mean.numpy()), atol=1e-4)


def test_one_car_and_many_get_the_same_actions(driver):
    batch = observations(4)
    actions = driver.act(batch)
    assert actions.shape == (4, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1
    for index in range(4):
        single = driver.act(one(batch, index))
        assert single.shape == (2,)
        np.testing.assert_allclose(single, actions[index], atol=1e-5)


@pytest.mark.parametrize("part", ["image", "speed", "imu", "last_actions"])
def test_every_part_of_the_observation_counts(driver, part):
    batch = observations(1)
    changed = dict(batch)
    changed[part] = 255 - batch[part] if part == "image" else -batch[part]
    assert np.abs(driver.act(batch) - driver.act(changed)).max() > 1e-4


def test_what_is_privileged_does_not_count(driver):
    batch = observations(1)
    np.testing.assert_array_equal(
        driver.act(batch), driver.act({**batch, "cte": np.array([9.0]), "pos": np.ones(3)})
    )


def test_the_policy_may_go_on_learning():
    driver, actor = make()
    batch = observations(1)
    before = driver.act(batch)
    actor.set_weights([np.zeros_like(w) for w in actor.get_weights()])
    np.testing.assert_array_equal(driver.act(batch), before)


def test_a_round_trip_changes_nothing(driver, saved):
    loaded = Driver.load(saved)
    batch = observations(6)
    np.testing.assert_array_equal(loaded.act(batch), driver.act(batch))
    assert loaded.description == DESCRIPTION
    assert loaded.observation == driver.observation
    assert loaded.hash == driver.hash


def test_the_hash_tells_drivers_apart(driver):
    assert len(driver.hash) == 64
    assert make(seed=0)[0].hash == driver.hash
    assert make(seed=1)[0].hash != driver.hash
    assert make(seed=0, scaling=FeatureScaling(speed=9.0))[0].hash != driver.hash


def test_the_manifest_describes_the_folder(saved, driver):
    data = json.loads((saved / "manifest.json").read_text())
    assert data["format"] == 1
    assert data["encoder"] == "lane"
    assert data["observation"]["image_shape"] == list(SHAPE)
    assert data["description"]["tracks"] == ["generated_track"]
    assert data["description"]["throttle_limits"] == [-0.5, 0.8]
    assert set(data["files"]) == {
        "actor.keras",
        "encoder.keras",
        "encoder.json",
        "driver.tflite",
    }
    assert {"keras", "tensorflow", "numpy"} <= set(data["versions"])
    assert data["hash"] == driver.hash


def test_nothing_in_the_folder_is_a_pickle(saved):
    for path in saved.iterdir():
        if path.suffix == ".json":
            json.loads(path.read_text())
            continue
        if path.suffix == ".tflite":
            # A FlatBuffer: its four letters stand after the offset of its root.
            assert path.read_bytes()[4:8] == b"TFL3"
            continue
        with zipfile.ZipFile(path) as archive:
            assert {name.rsplit(".", 1)[-1] for name in archive.namelist()} == {"json", "h5"}
            assert "Lambda" not in archive.read("config.json").decode()


def test_saving_again_replaces_the_folder_whole(tmp_path):
    make(seed=0)[0].save(tmp_path / "driver")
    (tmp_path / "driver" / "stray").write_text("old")
    second = make(seed=1)[0]
    second.save(tmp_path / "driver")
    assert Driver.load(tmp_path / "driver").hash == second.hash
    assert [path.name for path in tmp_path.iterdir()] == ["driver"]
    assert not (tmp_path / "driver" / "stray").exists()


def test_a_place_that_cannot_be_written_is_named(driver, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Expected to write the folder"):
        driver.save(tmp_path / "file" / "driver")


@pytest.mark.parametrize("name", ["actor.keras", "encoder.keras", "driver.tflite"])
def test_a_changed_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DriverError, match=rf"Expected '{name}'.*The file was changed"):
        Driver.load(folder)


@pytest.mark.parametrize("name", ["actor.keras", "manifest.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DriverError, match=name):
        Driver.load(folder)


def test_a_cut_file_is_refused_by_its_size(folder):
    path = folder / "encoder.keras"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DriverError, match="Received: 100 bytes"):
        Driver.load(folder)


@pytest.mark.parametrize("change", [{"format": 2}, {"encoder": "lanes"}, {"hash": "0" * 64}])
def test_a_manifest_that_does_not_fit_is_refused(folder, change):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DriverError, match="Expected"):
        Driver.load(folder)


def test_a_file_outside_the_folder_is_refused(folder):
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    data["files"]["../elsewhere"] = data["files"]["actor.keras"]
    path.write_text(json.dumps(data))
    with pytest.raises(DriverError, match=r"\.\./elsewhere"):
        Driver.load(folder)


def test_a_pickle_in_place_of_the_manifest_is_not_run(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (folder / "manifest.json").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DriverError):
        Driver.load(folder)
    assert not (tmp_path / "exploded").exists()


def test_other_observation_spaces_are_refused(driver):
    driver.check_observation_space(space())
    with pytest.raises(DriverError, match=r"Expected 'image' of shape \(48, 64, 3\)"):
        driver.check_observation_space(space(shape=(120, 160, 3)))
    with pytest.raises(DriverError, match=r"Expected 'last_actions' of shape \(6,\)"):
        driver.check_observation_space(space(history=5))


def test_other_observations_are_refused(driver):
    batch = observations(2)
    with pytest.raises(DriverError, match=r"Expected 'imu' .* Received: nothing"):
        driver.act({name: part for name, part in batch.items() if name != "imu"})
    with pytest.raises(DriverError, match=r"Expected 'image' of shape"):
        driver.act({**batch, "image": batch["image"][:, :10]})
    with pytest.raises(DriverError, match=r"Expected 'speed' of shape \(2, 1\)"):
        driver.act({**batch, "speed": batch["speed"][:1]})
    with pytest.raises(DriverError, match="Expected 'image' as uint8"):
        driver.act({**batch, "image": batch["image"] / 255.0})


def test_an_encoder_and_a_policy_that_do_not_fit_are_refused():
    driver, _ = make()
    with pytest.raises(DriverError, match="Expected a policy from"):
        Driver(driver.encoder, driver.actor, DESCRIPTION, history=4)


def test_a_model_without_an_input_or_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    with pytest.warns(UserWarning, match="not yet been built"):
        keras_files.save_model(keras.Sequential([keras.layers.Dense(2)]), path)
    with pytest.raises(ValueError, match="never given an input"):
        keras_files.load_model(path)
    monkeypatch.setattr(keras_files, "LARGEST_MODEL", 100)
    with pytest.raises(ValueError, match="100 at most"):
        keras_files.load_model(path)


@pytest.mark.parametrize("refused", [1, 2])
def test_a_second_ctrl_c_loses_no_driver(refused, tmp_path, monkeypatch):
    """It may come between the old folder's leaving and the new one's coming."""
    make()[0].save(tmp_path / "driver", lite=False)
    before = Driver.load(tmp_path / "driver").hash
    moved, calls = folders.moving.moved, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == refused:
            raise KeyboardInterrupt
        moved(source, target)

    monkeypatch.setattr(folders.moving, "moved", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make()[0].save(tmp_path / "driver", lite=False)
    assert Driver.load(tmp_path / "driver").hash == before
    assert [each.name for each in tmp_path.iterdir()] == ["driver"]
