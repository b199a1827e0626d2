"""Drivers that do not read some of the measurements beside the image."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents import features, manifest
from donkey_rl.agents.deployment import conversion, donkeycar
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.features import FeatureScaling, Measurement
from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.agents.saliency import Saliency
from donkey_rl.errors import ConfigurationError, DriverError
from donkey_rl.experiments import sight
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.deployment import checking
from donkey_rl.experiments.deployment import export as exports
from donkey_rl.experiments.deployment.result import ExportRequest
from donkey_rl.experiments.progress import ProgressDisplay
from tests import small_drivers

EVERYTHING: tuple[Measurement, ...] = ("speed", "yaw_rate", "last_actions")
PLACES = {"speed": ("speed", slice(None)), "yaw_rate": ("imu", slice(4, 5)),
          "last_actions": ("last_actions", slice(None))}  # fmt: skip


def blind(*names: Measurement, seed: int = 0) -> Driver:
    usual = small_drivers.lane(seed)
    scaling = FeatureScaling(**usual.observation.scaling.model_dump(), blind_to=names)
    return Driver(
        usual.encoder,
        usual.actor,
        usual.description,
        history=small_drivers.HISTORY,
        scaling=scaling,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("blind") / "driver"
    blind(*EVERYTHING).save(folder)
    return folder


@pytest.mark.parametrize("name", EVERYTHING)
def test_it_reads_all_but_what_it_is_blind_to(name: Measurement) -> None:
    driver, seen = blind(name), small_drivers.noise(5)
    actions = driver.act(seen)
    for other, (part, where) in PLACES.items():
        changed = {key: value.copy() for key, value in seen.items()}
        changed[part][:, where] += 0.5
        same = np.array_equal(driver.act(changed), actions)
        assert same == (other == name)


def test_training_and_driver_read_the_same() -> None:
    driver, seen = blind("speed", "last_actions"), small_drivers.noise(5)
    numbers = features.measurements(seen, driver.observation.scaling)
    # The yaw rate alone, divided by 2, is left of speed, yaw rate and two actions.
    assert numbers[:, 1] == pytest.approx(seen["imu"][:, 4] / 2.0)
    assert not np.delete(numbers, 1, axis=1).any()
    both = np.concatenate([driver.encoder.encode(seen["image"]), numbers], axis=1)
    np.testing.assert_allclose(driver.act(seen), driver.actor(both), atol=1e-6)


def test_all_its_models_take_what_others_take_and_do_the_same(saved: pathlib.Path) -> None:
    driver, lite, seen = Driver.load(saved), LiteDriver.load(saved), small_drivers.noise(4)
    seen["speed"][:] = np.nan
    expected = driver.act(seen)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(lite.act(seen), expected, atol=1e-5)
    seen["speed"][:] = 1e6
    np.testing.assert_allclose(lite.act(seen), expected, atol=1e-5)
    found = conversion.keras_model(driver)(seen)[conversion.OUTPUT]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    one = {name: part[0] for name, part in seen.items()}
    assert np.isfinite(Saliency(driver, samples=2).maps(one)).all()


def test_its_folder_says_so_and_that_of_others_is_what_it_was(saved: pathlib.Path) -> None:
    told = json.loads((saved / manifest.FILE_NAME).read_text())
    assert told["observation"]["scaling"]["blind_to"] == list(EVERYTHING)
    assert Driver.load(saved).observation.scaling.blind_to == EVERYTHING
    usual = small_drivers.lane()
    assert usual.observation.scaling.model_dump() == {"speed": 4.0, "yaw_rate": 2.0}
    assert len({usual.hash, blind("speed").hash, blind(*EVERYTHING).hash}) == 3
    # In any order it is the same driver.
    assert blind("speed", "yaw_rate").hash == blind("yaw_rate", "speed").hash


def test_an_ensemble_of_those_that_see_and_those_that_do_not_is_refused() -> None:
    with pytest.raises(DriverError, match="scaling"):
        Ensemble([small_drivers.lane(), blind("speed", seed=1)])


def test_a_donkeycar_lacks_nothing_for_it(
    saved: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_TIMED_S", 0.1)
    tub = small_drivers.tub(tmp_path / "tub", 20)
    request = ExportRequest(
        driver=str(saved), to="donkeycar", output=tmp_path / "car", frames=tub, speed=3.0
    )
    with ProgressDisplay() as progress:
        result = exports.export(request, progress)
    models = {pathlib.Path(each.file).name: each for each in result.models}
    # No model with memory: nobody would read what it remembers.
    assert set(models) == {"linear.tflite", "linear.h5.keras", "driver.tflite"}
    for name in ("linear.tflite", "linear.h5.keras"):
        change = models[name].change
        assert change is not None
        assert change.largest == 0.0
        assert models[name].is_same_driver
        assert models[name].largest_action_difference < 1e-3


def test_a_run_is_told() -> None:
    told = configuration.with_settings(TrainingConfig(), ["blind_to=yaw_rate,speed"])
    assert sight.scaling(told).blind_to == ("speed", "yaw_rate")
    assert sight.scaling(TrainingConfig()).blind_to == ()
    with pytest.raises(ConfigurationError, match=r"blind_to.*Did you mean 'speed'"):
        configuration.with_settings(TrainingConfig(), ["blind_to=[sped]"])


def test_donkeycars_memory_is_not_read_by_a_driver_that_is_blind_to_it() -> None:
    pilot = donkeycar.model(blind("last_actions"), donkeycar.Held(speed=1.0), memory=True)
    image = np.random.default_rng(0).random((2, 120, 160, 3)).astype(np.float32)
    found = [
        [np.asarray(part) for part in pilot([image, np.full((2, width), value, np.float32)])]
        for width in [pilot.inputs[1].shape[1]]
        for value in (-0.5, 0.5)
    ]
    np.testing.assert_array_equal(found[0], found[1])
