"""`donkey-rl export`: what is written does what the driver does."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from donkey_rl import cli
from donkey_rl.agents import ensemble, keras_files
from donkey_rl.agents.deployment import conversion, donkeycar, pilots, plain_layers
from donkey_rl.agents.deployment.donkeycar_part import DriverPart
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import DonkeyRLError, DriverError
from donkey_rl.experiments.deployment import checking
from donkey_rl.experiments.deployment import export as exports
from donkey_rl.experiments.deployment.result import ExportRequest
from donkey_rl.experiments.progress import ProgressDisplay
from tests import small_drivers
from tests.test_tub_donkeycar import PLACE

KERAS_2_LAYERS = {
    "Activation", "Add", "AveragePooling2D", "Concatenate", "Conv2D", "Cropping2D", "Dense",
    "Flatten", "GlobalAveragePooling2D", "InputLayer", "LayerNormalization", "Multiply", "ReLU",
    "Rescaling", "Subtract",
}  # fmt: skip
"""Classes of `keras.layers` in Keras 2.15 whose settings are those of Keras 3."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a driver and a tub."""
    folder = tmp_path_factory.mktemp("export")
    small_drivers.lane().save(folder / "driver")
    small_drivers.tub(folder / "tub", 40)
    return folder


@pytest.fixture(scope="module", autouse=True)
def timed_shortly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "_TIMED_S", 0.3)
        yield


def export(place: pathlib.Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    arguments = ["export", str(place / "driver"), "--tub", str(place / "tub"), *words, "--json"]
    assert cli.main(arguments) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture(scope="module")
def car(place: pathlib.Path) -> pathlib.Path:
    """The driver as it is exported for donkeycar, with the speed held at 3."""
    request = ExportRequest(
        driver=str(place / "driver"),
        to="donkeycar",
        output=place / "car",
        frames=place / "tub",
        speed=3.0,
    )
    with ProgressDisplay() as progress:
        result = exports.export(request, progress)
    assert result.largest_action_difference <= 1e-3
    by_file = {pathlib.Path(model.file).name: model for model in result.models}
    assert set(by_file) == {"linear.tflite", "linear.h5.keras", "memory.tflite", "driver.tflite"}
    assert by_file["driver.tflite"].change is None
    linear, memory = by_file["linear.tflite"].change, by_file["memory.tflite"].change
    assert linear is not None
    assert memory is not None
    # Of the memory only the yaw rate is taken away: all speeds are those that are held.
    assert memory.largest < linear.largest
    return place / "car"


def held_actions(
    driver: Driver, images: np.ndarray, facts: dict[str, Any], last: np.ndarray
) -> np.ndarray:
    """What the driver does on donkeycar's images, each pixel the mean of four, at speed 3."""
    small = images.reshape(len(images), 60, 2, 80, 2, 3).mean(axis=(2, 4))
    observation = {
        "image": np.floor(small + 0.5).astype(np.uint8),
        "speed": np.full((len(images), 1), 3.0, np.float32),
        "imu": np.zeros((len(images), 6), np.float32),
        "last_actions": last,
    }
    actions = driver.act(observation)
    (left, right), (low, high) = facts["steering_limits"], facts["throttle_limits"]
    return np.stack(
        [
            left + (actions[:, 0] + 1) / 2 * (right - left),
            low + (actions[:, 1] + 1) / 2 * (high - low),
        ],
        axis=1,
    )


def test_a_pilot_of_donkeycar_is_the_driver_with_what_it_lacks_held(car: pathlib.Path) -> None:
    driver = Driver.load(car.parent / "driver")
    facts = json.loads((car / "driver.json").read_text())
    images = np.random.default_rng(3).integers(0, 256, (6, 120, 160, 3), dtype=np.uint8)
    last = np.random.default_rng(4).uniform(-1, 1, (6, 4)).astype(np.float32)
    model = keras.saving.load_model(car / "linear.h5.keras", compile=False, safe_mode=True)
    assert [each.name for each in model.inputs] == ["img_in"]
    assert model.output_names == ["n_outputs0", "n_outputs1"]
    assert model.input_shape == (None, 120, 160, 3)
    found = np.concatenate([np.asarray(each) for each in model([images / 255.0])], axis=1)
    (dense,) = (each for each in model.layers if each.name == "held")
    action = dense.get_weights()[1][2:4]
    expected = held_actions(driver, images, facts, np.tile(action, (6, 2)))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert expected.std(axis=0).min() > 0.01

    lite = Interpreter(str(car / "memory.tflite"))
    runner = lite.get_signature_runner()
    assert lite.get_signature_list() == {
        "serving_default": {
            "inputs": ["img_in", "mem_in"],
            "outputs": ["n_outputs0", "n_outputs1"],
        }
    }
    commands = donkeycar.commands(last.reshape(-1, 2), driver.description).reshape(6, 4)
    expected = held_actions(driver, images, facts, last)
    for image, memory, command in zip(images, commands, expected, strict=True):
        answer = runner(img_in=np.float32(image[None] / 255.0), mem_in=memory[None])
        assert answer["n_outputs0"].shape == (1, 1)
        assert answer["n_outputs0"].item() == pytest.approx(command[0], abs=1e-3)
        assert answer["n_outputs1"].item() == pytest.approx(command[1], abs=1e-3)


def architecture(file: pathlib.Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        config: dict[str, Any] = json.loads(archive.read("config.json"))
    return config


def test_its_file_is_written_as_keras_2_reads_it(car: pathlib.Path) -> None:
    config = architecture(car / "linear.h5.keras")
    assert (config["module"], config["class_name"]) == ("keras", "Model")
    layers = config["config"]["layers"]
    assert {layer["class_name"] for layer in layers} <= KERAS_2_LAYERS
    assert layers[0]["config"]["batch_input_shape"] == [None, 120, 160, 3]
    for layer in layers[1:]:
        assert isinstance(layer["config"]["dtype"], str)
        assert not [key for key in layer["config"] if key.endswith("initializer")]
        (call,) = layer["inbound_nodes"]
        assert all(len(each) == 4 and each[1:] == [0, 0, {}] for each in call)
    assert config["config"]["input_layers"] == [["img_in", 0, 0]]


@pytest.mark.slow
@pytest.mark.skipif(
    not (PLACE / "donkeycar" / "parts" / "keras.py").is_file() and "CI" not in os.environ,
    reason=f"donkeycar is not in {PLACE}: make install puts it there",
)
def test_donkeycar_itself_drives_by_it(car: pathlib.Path) -> None:
    code = f"""
import json, types, numpy as np
from donkeycar import utils
sizes = {{"IMAGE_H": 120, "IMAGE_W": 160, "IMAGE_DEPTH": 3, "SEQUENCE_LENGTH": 2}}
found = {{}}
for name in ("linear", "memory"):
    pilot = utils.get_model_by_type("tflite_" + name, types.SimpleNamespace(**sizes))
    pilot.load({str(car)!r} + "/" + name + ".tflite")
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    found[name] = [list(map(float, pilot.run(image))) for _ in range(2)]
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(PLACE), "LOGLEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    about = Driver.load(car.parent / "driver").description
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    runner = Interpreter(str(car / "linear.tflite")).get_signature_runner()
    answer = runner(img_in=np.float32(image[None] / 255.0))
    own = [answer[name].item() for name in donkeycar.OUTPUTS]
    np.testing.assert_allclose(found["linear"], [own, own], atol=1e-4)
    # The second time it remembers what it did the first time.
    first, second = found["memory"]
    assert first != second
    low, high = about.throttle_limits
    assert low <= first[1] <= high


def test_the_part_remembers_what_it_did(car: pathlib.Path, monkeypatch: Any) -> None:
    driver = Driver.load(car.parent / "driver")
    part = DriverPart(car)
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    images = np.random.default_rng(5).integers(0, 256, (4, 60, 80, 3), dtype=np.uint8)
    last = np.zeros(4, np.float32)
    for k, image in enumerate(images):
        now[0] += 0.05 if k < 3 else 1.0
        if k == 3:
            last = np.zeros(4, np.float32)
        imu = np.zeros(6, np.float32)
        imu[4] = 0.3
        seen = {"image": image, "speed": np.float32([2.5]), "imu": imu, "last_actions": last}
        action = driver.act(seen)
        steering, throttle = part.run(image, 2.5, 0.3)
        assert steering == pytest.approx(0.9 * action[0], abs=1e-4)
        assert throttle == pytest.approx(0.2 + 0.4 * action[1], abs=1e-4)
        last = np.concatenate([last[2:], action])
    # A larger image is made smaller; a car without sensors shows the usual speed.
    large = images[0].repeat(2, axis=0).repeat(2, axis=1)
    part.resume(np.zeros(4))
    without = part.run(large)
    part.resume(np.zeros(4))
    assert without == pytest.approx(part.run(images[0], 3.0, 0.0))
    assert part.run(None) == (0.0, 0.0)
    with pytest.raises(ValueError, match="expected images 60x80x3"):
        part.run(np.zeros((50, 80, 3), np.uint8))


def test_the_part_drives_beside_the_loop(car: pathlib.Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("donkey_rl.agents.deployment.donkeycar_part.PAUSE_S", 60.0)
    part = DriverPart(car)
    thread = threading.Thread(target=part.update)
    thread.start()
    image = np.zeros((120, 160, 3), np.uint8)
    assert part.run_threaded(image) == (0.0, 0.0)
    for _ in range(6000):
        if part.run_threaded(image) != (0.0, 0.0):
            break
        threading.Event().wait(0.01)
    part.shutdown()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert part.run_threaded(image) != (0.0, 0.0)
    # Then a person drives for a while.
    part._driven -= 2.0 * 60.0
    assert part.run_threaded(image) == (0.0, 0.0)


@pytest.mark.slow
def test_eight_bits_do_what_single_precision_does(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--to", "litert", "--out")
    single = export(place, capsys, *words, str(place / "single"))
    small = export(place, capsys, *words, str(place / "small.tflite"), "--quantise", "8bit")
    assert single["largest_action_difference"] <= 1e-3
    assert (single["tolerance"], small["tolerance"]) == (1e-3, 2e-2)
    # The 40 records of the tub: 32 to round on, 8 to check on.
    assert (single["frames"]["count"], small["frames"]["count"]) == (40, 8)
    assert 0.5 < small["rounded"] <= 1.0
    assert small["files"] == [str(place / "small.tflite")]
    assert small["models"][0]["bytes"] < 0.6 * single["models"][0]["bytes"]
    lite = Interpreter(str(place / "small.tflite"))
    kinds = [np.dtype(each["dtype"]) for each in lite.get_tensor_details()]
    assert kinds.count(np.dtype(np.int8)) >= 2
    driver = Driver.load(place / "driver")
    pilot = pilots.litert(place / "small.tflite", driver.observation)
    seen = small_drivers.noise(1)
    one = {name: part[0] for name, part in seen.items()}
    assert np.abs(pilot(one) - driver.act(one)).max() < 0.05
    assert single["highest_rate_hz"] == pytest.approx(1000 / single["ms"]["p99"], rel=0.05)


@pytest.mark.slow
def test_weights_that_are_used_twice_are_packed_in_eight_bits(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_drivers.lane(mirror=True).save(tmp_path / "driver")
    small_drivers.tub(tmp_path / "tub", 40)
    words = ("--to", "litert", "--out")
    single = export(tmp_path, capsys, *words, str(tmp_path / "single"))
    small = export(tmp_path, capsys, *words, str(tmp_path / "small"), "--quantise", "8bit")
    assert 0.0 < single["largest_action_difference"] <= 1e-3
    assert small["largest_action_difference"] <= 2e-2
    assert small["rounded"] > 0.5
    assert small["models"][0]["bytes"] < 0.6 * single["models"][0]["bytes"]


def test_a_keras_model_takes_the_observation(tmp_path: pathlib.Path) -> None:
    members = [small_drivers.lane(0), small_drivers.lane(1)]
    driver = ensemble.Ensemble(members, [2.0, 1.0])
    model = conversion.keras_model(driver)
    keras_files.save_model(model, tmp_path / "driver.keras")
    loaded = keras.saving.load_model(tmp_path / "driver.keras", safe_mode=True)
    seen = small_drivers.noise(5)
    np.testing.assert_allclose(loaded(seen)["action"], driver.act(seen), atol=1e-4)
    assert architecture(tmp_path / "driver.keras")["class_name"] == "Functional"


def test_an_ensemble_and_a_rounded_image_fit_into_layers_of_keras_2() -> None:
    members = [small_drivers.seeing(0), small_drivers.seeing(1)]
    driver = ensemble.Ensemble(members, [3.0, 1.0])
    held = donkeycar.Held(speed=2.0, yaw_rate=0.1, action=(0.2, -0.4))
    model = donkeycar.model(driver, held)
    seen = small_drivers.noise(4)
    camera = seen["image"].repeat(2, axis=1).repeat(2, axis=2)
    found = np.concatenate([np.asarray(each) for each in model([camera / 255.0])], axis=1)
    expected = driver.act(held.applied(seen, memory=False))
    np.testing.assert_allclose(found, donkeycar.commands(expected, driver.description), atol=1e-4)


def test_halves_are_rounded_to_the_even_number() -> None:
    inputs = keras.Input((9,))
    model = keras.Model(inputs, keras.ops.round(inputs))
    source = keras.Input((9,))
    layered = keras.Model(source, plain_layers.translated(model, [source]))
    values = np.array([[0.0, 0.25, 0.5, 1.5, 2.5, 2.75, 254.5, 253.5, 255.0]], np.float32)
    assert np.asarray(layered(values)).tolist() == np.round(values).tolist()


def test_a_network_that_no_layers_stand_for_is_refused() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.ops.sin(inputs))
    with pytest.raises(DriverError, match=r"'Sin'.*--to litert"):
        plain_layers.translated(model, [keras.Input((3,))])


@pytest.mark.parametrize("shape", [(48, 64, 3), (240, 320, 3), (120, 160, 1), (120, 80, 3)])
def test_images_that_donkeycar_does_not_have_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(DriverError, match=rf"sees {shape[1]}x{shape[0]} with {shape[2]}.*litert"):
        donkeycar.shrink(shape)


def test_onnx_does_what_the_driver_does(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = export(place, capsys, "--to", "onnx", "--out", str(place / "onnx"))
    assert result["largest_action_difference"] <= 1e-3
    pilot = pilots.onnx(place / "onnx" / "driver.onnx", Driver.load(place / "driver").observation)
    one = {name: part[0] for name, part in small_drivers.noise(1).items()}
    expected = Driver.load(place / "driver").act(one)
    np.testing.assert_allclose(pilot(one), expected, atol=1e-3)


def test_nothing_is_written_that_drives_otherwise(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "FLOAT_TOLERANCE", 1e-12)
    request = ExportRequest(
        driver=str(place / "driver"), to="litert", output=place / "none", frames=place / "tub"
    )
    with (
        ProgressDisplay() as progress,
        pytest.raises(DonkeyRLError, match=r"driver\.tflite the driver's actions"),
    ):
        exports.export(request, progress)
    assert not (place / "none").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pursuit", "--to", "litert"], "which is code"),
        (["DRIVER", "--to", "onxx"], "Did you mean 'onnx'"),
        (["DRIVER", "--to", "keras", "--quantise", "8bit"], "8 bits are LiteRT's"),
        (["DRIVER", "--to", "litert", "--quantise", "4bit"], "should be '8bit'"),
        (["DRIVER", "--to", "litert", "--out", "driver.onnx"], "is a file *.tflite"),
        (["DRIVER", "--to", "litert", "--tub", "nothing"], "there is nothing at 'nothing'"),
        (["DRIVER", "--to", "litert", "--out", "DRIVER"], "a folder that holds no driver"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    message: str,
    place: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    given = [str(place / "driver") if word == "DRIVER" else word for word in words]
    assert cli.main(["export", *given]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_onnx_without_its_packages_names_the_extra(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "has_onnx", lambda: False)
    assert cli.main(["export", str(place / "driver"), "--to", "onnx"]) == 2
    assert 'pip install "donkey-rl[onnx]"' in capsys.readouterr().err
