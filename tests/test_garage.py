"""Drivers before a race: where they come from, what their folders hold, and whom they fit."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from donkey_rl.agents import cnn, manifest, model_contents
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.autoencoder import Autoencoder
from donkey_rl.agents.encoders.cnn import CnnEncoder
from donkey_rl.agents.encoders.config import (
    AutoencoderConfig,
    CnnEncoderConfig,
    LaneEncoderConfig,
)
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.encoders.lane_network import reducer
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.ppo import networks as ppo
from donkey_rl.agents.sac import networks as sac
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import DriverError, InputError
from donkey_rl.race_server import garage
from donkey_rl.race_server.garage import checks

SHAPE = (48, 64, 3)
ABOUT: dict[str, Any] = {
    "agent": "sac", "vehicle": "donkey_2022", "tracks": ("generated_track",),
    "simulator": "embedded", "camera": {"img_w": 64, "img_h": 48},
}  # fmt: skip


def encoders() -> dict[str, Any]:
    """One of each kind, as small as they come."""
    images = reducer(SHAPE, CnnEncoderConfig())
    seeing = cnn.network(images.output_shape[1:], CnnConfig(filters=(8,), units=8), seed=0)
    lane = LaneEncoderConfig(filters=(8,), dense=8)
    drawn = AutoencoderConfig(filters=(8,), dense=8, latent=8)
    general = lane.model_copy(update={"mirror": True, "hues": False, "ground": True})
    return {
        "lane": LaneEncoder(SHAPE, ("left", "right"), lane),
        "general": LaneEncoder(SHAPE, ("left", "right"), general),
        "autoencoder": Autoencoder(SHAPE, drawn),
        "cnn": CnnEncoder.of_policy(seeing, SHAPE, CnnEncoderConfig()),
    }


def driver(encoder: Any, policy: str, **about: Any) -> Driver:
    """Returns a driver of any encoder and policy."""
    length = encoder.features + 2 + 2
    if policy == "sac":
        actor = sac.deterministic(sac.actor(length, 2, SACConfig(hidden=(8,)), seed=0))
    else:
        actor = ppo.deterministic(ppo.network(length, 2, (8,), 1.0, 0))
    return Driver(encoder, actor, DriverDescription.model_validate(ABOUT | about), history=1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of each kind of driver, and of an ensemble of all of them."""
    base = tmp_path_factory.mktemp("drivers")
    made = {name: driver(each, "ppo") for name, each in encoders().items()}
    for name, each in made.items():
        each.save(base / name)
    driver(made["lane"].encoder, "sac").save(base / "sac")
    Ensemble(list(made.values())).save(base / "ensemble")
    return base


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A folder of its own for a test to spoil."""
    return Path(shutil.copytree(saved / "lane", tmp_path / "driver"))


def sign(folder: Path) -> None:
    """Writes the folder's files into its manifest, as somebody who made them would."""
    found = json.loads((folder / manifest.FILE_NAME).read_text())
    found["files"] = {k: v.model_dump() for k, v in manifest.entries(folder).items()}
    (folder / manifest.FILE_NAME).write_text(json.dumps(found))


@pytest.mark.parametrize("name", ["lane", "general", "autoencoder", "cnn", "sac", "ensemble"])
def test_every_kind_of_driver_is_raced(saved: Path, name: str) -> None:
    loaded = checks.load(saved / name)
    seat = garage.open_seat([str(saved / name)])
    seen = {
        part: np.zeros(shape, np.uint8 if part == "image" else np.float32)
        for part, shape in loaded.observation.shapes.items()
    }
    answer = seat.act(seen, 5.0)
    seat.close()
    assert answer.action is not None
    np.testing.assert_array_equal(answer.action, np.clip(loaded.act(seen), -1.0, 1.0))
    assert (seat.name, seat.names, seat.hash) == (name, (name,), loaded.hash)


def add_pickle(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(pickle.dumps([1, 2]))


def add_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "more.bin", "w") as archive:
        archive.writestr("a", "b")


def add_link(folder: Path) -> None:
    (folder / "encoder.json").rename(folder.parent / "elsewhere.json")
    (folder / "encoder.json").symlink_to(folder.parent / "elsewhere.json")


def add_pipe(folder: Path) -> None:
    (folder / "encoder.json").unlink()
    os.mkfifo(folder / "encoder.json")


def add_folder(folder: Path) -> None:
    (folder / "src").mkdir()


def add_unnamed(folder: Path) -> None:
    (folder / "ensemble.json").write_text("{}")


def grow(folder: Path) -> None:
    (folder / "encoder.json").write_text(" " * 1_000_001)
    sign(folder)


def crowd(folder: Path) -> None:
    for index in range(100):
        (folder / f"{index}.json").touch()


def change(folder: Path) -> None:
    content = bytearray((folder / "driver.tflite").read_bytes())
    content[-1] ^= 1
    (folder / "driver.tflite").write_bytes(content)


def lose_model(folder: Path) -> None:
    (folder / "driver.tflite").unlink()
    sign(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (add_pickle, "weights.bin', a pickle, which can run any code"),
        (add_archive, "more.bin', a ZIP archive"),
        (add_link, "encoder.json', a link"),
        (add_pipe, "encoder.json', no regular file"),
        (add_folder, "src', a folder"),
        (add_unnamed, "ensemble.json', a file that the manifest does not name"),
        (grow, "encoder.json', 1,000,001 bytes"),
        (crowd, "over 64 files"),
        (change, "was changed or cut short"),
        (lose_model, "Expected 'driver.tflite'"),
        (lambda folder: shutil.rmtree(folder), "Expected a driver folder"),
        (lambda folder: (folder / "manifest.json").unlink(), "with a manifest.json"),
    ],
)
def test_what_no_driver_folder_holds_is_refused(
    folder: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(folder)
    with pytest.raises(DriverError) as refused:
        checks.load(folder)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def keras_file(path: Path, model: Any) -> None:
    path.unlink()
    model.save(path)


def edited(path: Path, old: str, new: str) -> None:
    """Changes the architecture in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    changed = parts["config.json"].decode().replace(old, new)
    assert changed.encode() != parts["config.json"]
    parts["config.json"] = changed.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_code_in_a_keras_model_is_refused(folder: Path) -> None:
    inputs = keras.Input((3,))
    keras_file(
        folder / "actor.keras",
        keras.Model(inputs, keras.layers.Lambda(lambda x: x[:, :2])(inputs)),
    )
    sign(folder)
    with pytest.raises(DriverError, match=r"actor\.keras'.*a part '(keras\.layers\.)?\w*ambda"):
        checks.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"class_name": "Dense"', '"class_name": "GRU"', "a part 'keras.layers.GRU'"),
        ('"module": "keras.layers"', '"module": "os"', "a part 'os."),
        ('"registered_name": null', '"registered_name": "evil>Dense"', "a part 'evil>Dense'"),
        ('"class_name": "Dense"', '"class_name": ["Dense"]', "a part 'keras.layers.['Dense']'"),
        ("{", "[" * 100_000 + "{", "a model of this package's parts"),
        ("{", " " * 2_000_001 + "{", "an architecture of over 2,000,000 bytes"),
    ],
)
def test_unexpected_parts_of_a_keras_model_are_refused(
    folder: Path, old: str, new: str, said: str
) -> None:
    edited(folder / "actor.keras", old, new)
    sign(folder)
    with pytest.raises(DriverError) as refused:
        checks.load(folder)
    assert said in str(refused.value)


def test_other_entries_in_a_keras_file_are_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "actor.keras", "a") as archive:
        archive.writestr("../../assets/run.py", "print()")
    sign(folder)
    with pytest.raises(DriverError, match=r"an archive of \.\./\.\./assets/run\.py"):
        checks.load(folder)
    (folder / "actor.keras").write_bytes(pickle.dumps(1))
    sign(folder)
    with pytest.raises(DriverError, match="File is not a zip file"):
        checks.load(folder)


def lite_edited(folder: Path, edit: Callable[[Any], None]) -> None:
    """Changes the LiteRT model by its own format."""
    path = folder / "driver.tflite"
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    edit(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    sign(folder)


def custom(model: Any) -> None:
    model.operatorCodes[0].customCode = b"run_shell"


def control_flow(model: Any) -> None:
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE


def unknown(model: Any) -> None:
    model.operatorCodes[0].builtinCode = 9999


def huge(model: Any) -> None:
    model.subgraphs[0].tensors[3].shape = np.array([60_000, 60_000], np.int32)


def twice(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (custom, "an operator 'custom run_shell'"),
        (control_flow, "an operator 'WHILE'"),
        (unknown, "an operator 'number 9999'"),
        (huge, "a tensor of the shape [60000, 60000]"),
        (twice, "several graphs"),
    ],
)
def test_unexpected_parts_of_a_lite_model_are_refused(
    folder: Path, edit: Callable[[Any], None], said: str
) -> None:
    lite_edited(folder, edit)
    with pytest.raises(DriverError) as refused:
        checks.load(folder)
    assert said in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff" * 4 + b"TFL3" * 9])
def test_what_is_no_lite_model_is_refused(content: bytes) -> None:
    with pytest.raises(DriverError, match=r"'x\.tflite'"):
        model_contents.check_lite(content, "x.tflite")


def test_broken_lite_models_never_pass_for_something_else(folder: Path) -> None:
    content = (folder / "driver.tflite").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        broken = bytearray(content)
        for place in random.integers(0, len(content), 200):
            broken[place] = random.integers(256)
        try:
            model_contents.check_lite(bytes(broken), "driver.tflite")
        except DriverError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("about", "fit", "said"),
    [
        ({"camera": {"img_w": 64, "img_h": 48, "fov": 300.0}}, garage.Fit(), "fov"),
        ({"camera": {"img_w": 160, "img_h": 120}}, garage.Fit(), "pictures of its camera"),
        ({"vehicle": "truck"}, garage.Fit(), "Unknown vehicle 'truck'"),
        ({"vehicle": "donkey_2021"}, garage.Fit(2022), "Expected drivers of the car of 2022"),
    ],
)
def test_a_driver_that_does_not_fit_is_refused(
    folder: Path, about: dict[str, Any], fit: garage.Fit, said: str
) -> None:
    describe(folder, about)
    with pytest.raises(DriverError) as refused:
        garage.open_seat([str(folder)], fit=fit)
    assert said in str(refused.value)


def describe(folder: Path, about: dict[str, Any]) -> None:
    found = json.loads((folder / manifest.FILE_NAME).read_text())
    found["description"] |= about
    (folder / manifest.FILE_NAME).write_text(json.dumps(found))


def test_spares_drive_the_same_car(saved: Path, folder: Path) -> None:
    describe(folder, {"vehicle": "donkey_2020"})
    with pytest.raises(DriverError, match="the car of 2022"):
        garage.open_seat([str(saved / "cnn"), str(folder)])
    # Two of one name are told apart.
    again = Path(shutil.copytree(saved / "cnn", folder.parent / "again" / "cnn"))
    seat = garage.open_seat([str(saved / "cnn"), str(again)])
    seat.close()
    assert seat.names == ("cnn", "cnn (2)")


def test_a_track_that_it_never_drove_is_a_warning(saved: Path) -> None:
    name = str(saved / "lane")
    for scene, said in (
        ("generated_track", ()),
        ("warren", ("lane has never driven warren: it was trained on generated_track.",)),
        (
            "generated_trak",
            (
                "The scene 'generated_trak' is not known here. Did you mean 'generated_track'?",
                "lane has never driven generated_trak: it was trained on generated_track.",
            ),
        ),
    ):
        seat = garage.open_seat([name], fit=garage.Fit(scene=scene))
        seat.close()
        assert seat.warnings == said


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="no driver folder 'no/such'"):
        garage.open_seat(["no/such"])
    for nobody in ([], [""]):
        with pytest.raises(DriverError, match="Received: none"):
            garage.open_seat(nobody)
