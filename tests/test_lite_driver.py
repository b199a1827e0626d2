"""Drivers through LiteRT."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from donkey_rl.agents import cnn, folders, manifest
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders import cnn as cnn_encoder
from donkey_rl.agents.encoders.config import CnnEncoderConfig
from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.agents.manifest import FileEntry
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.errors import DriverError
from tests.test_driver import DESCRIPTION, SHAPE, make, observations, one, space


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drivers") / "driver"
    make()[0].save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the driver folder, to be changed."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "driver"))


def replace_model(folder, content):
    """Puts another model in the folder, with a manifest that says so."""
    path = folder / manifest.LITE_MODEL
    path.write_bytes(content)
    data = json.loads((folder / "manifest.json").read_text())
    entry = FileEntry(sha256=folders.sha256(path), size=len(content))
    data["files"][path.name] = entry.model_dump()
    (folder / "manifest.json").write_text(json.dumps(data))


def test_making_and_loading_it_writes_nothing(tmp_path, capfd):
    make()[0].save(tmp_path / "driver")
    LiteDriver.load(tmp_path / "driver")
    assert capfd.readouterr() == ("", "")


def test_it_acts_as_the_driver_it_was_made_of(saved):
    driver, lite = Driver.load(saved), LiteDriver.load(saved)
    batch = observations(16)
    actions = lite.act(batch)
    assert actions.shape == (16, 2)
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions, driver.act(batch), atol=1e-4)
    # Actions that all observations share would prove little.
    assert actions.std(axis=0).min() > 0.01
    single = lite.act(one(batch, 3))
    assert single.shape == (2,)
    np.testing.assert_array_equal(single, actions[3])
    assert (lite.hash, lite.observation) == (driver.hash, driver.observation)
    assert lite.description == driver.description


def test_a_policy_that_sees_by_itself_is_converted_whole(tmp_path):
    settings = CnnEncoderConfig(pool=2)
    small = cnn_encoder.reducer(SHAPE, settings).output_shape[1:]
    network = cnn.network(small, CnnConfig(units=6), 0)
    encoder = cnn_encoder.CnnEncoder.of_policy(network, SHAPE, settings)
    actor = networks.actor(6 + 2 + 6, 2, SACConfig(hidden=(16,)), seed=0)
    driver = Driver(encoder, networks.deterministic(actor), DESCRIPTION, history=3)
    driver.save(tmp_path / "driver")
    batch = observations(8)
    actions = LiteDriver.load(tmp_path / "driver").act(batch)
    np.testing.assert_allclose(actions, driver.act(batch), atol=1e-4)
    assert actions.std(axis=0).min() > 0.01


def test_it_needs_no_tensorflow(saved):
    code = (
        "import sys\n"
        "from donkey_rl.agents.lite_driver import LiteDriver\n"
        f"LiteDriver.load({str(saved)!r})\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_other_observations_and_spaces_are_refused(saved):
    lite = LiteDriver.load(saved)
    lite.check_observation_space(space())
    with pytest.raises(DriverError, match=r"Expected 'last_actions' of shape \(6,\)"):
        lite.check_observation_space(space(history=5))
    batch = observations(2)
    with pytest.raises(DriverError, match=r"Expected 'speed' of shape \(2, 1\)"):
        lite.act({**batch, "speed": batch["speed"][:1]})
    with pytest.raises(DriverError, match="Expected 'image' as uint8"):
        lite.act({**batch, "image": batch["image"] / 255.0})


def test_a_driver_saved_without_the_model_is_refused(tmp_path):
    make()[0].save(tmp_path / "driver", lite=False)
    Driver.load(tmp_path / "driver")
    with pytest.raises(DriverError, match=r"Expected 'driver.tflite' .* Received: none"):
        LiteDriver.load(tmp_path / "driver")


def test_a_changed_model_is_refused_before_it_is_read(folder):
    path = folder / manifest.LITE_MODEL
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DriverError, match=r"Expected 'driver.tflite' .* changed or cut short"):
        LiteDriver.load(folder)


@pytest.mark.parametrize("content", [b"", b"TFL3" * 50, b"\x1c\0\0\0TFL3" + b"\xff" * 500])
def test_what_is_no_model_is_refused(folder, content):
    replace_model(folder, content)
    with pytest.raises(DriverError, match="Expected a LiteRT model that fits the manifest"):
        LiteDriver.load(folder)


def test_a_model_of_another_history_is_refused(folder, tmp_path):
    make(history=2)[0].save(tmp_path / "other")
    replace_model(folder, (tmp_path / "other" / manifest.LITE_MODEL).read_bytes())
    # The folder's driver sees three actions of two numbers, the other's two.
    with pytest.raises(
        DriverError, match=r"last_actions float32 \(1, 6\).*last_actions float32 \(1, 4\)"
    ):
        LiteDriver.load(folder)


def test_a_model_that_is_too_large_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("donkey_rl.agents.lite_driver._LARGEST_MODEL", 1000)
    with pytest.raises(DriverError, match="at most 1000 bytes"):
        LiteDriver.load(folder)
