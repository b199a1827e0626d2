"""Encoders of users: what is asked of their code, and what becomes of its model."""

from __future__ import annotations

import inspect
import pathlib
import re
import textwrap

import numpy as np
import pytest

from donkey_rl.agents import ensemble
from donkey_rl.agents.deployment import conversion, donkeycar
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders import base, own
from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.saliency import Saliency
from donkey_rl.errors import DriverError, InputError
from tests import small_drivers

SHAPE = (24, 32, 3)

MINE = """
import numpy as np
from donkey_rl.agents.tensorflow_setup import keras
from keras import layers, ops


def image(shape):
    return keras.Input(shape, dtype="uint8")


def cells(shape):
    seen = image(shape)
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(seen))
    return keras.Model(seen, layers.Flatten()(x))


class Reader:
    def __init__(self, shape):
        print("made")
        seen = image(shape)
        x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(seen))
        self.model = keras.Model(seen, layers.Dense(2)(layers.Flatten()(x)))

    def fit(self, images, labels):
        wanted = np.stack([labels["left_edge"], labels["right_edge"]], axis=1)
        self.model.compile("adam", "mse")
        self.model.fit(images, wanted, epochs=1, verbose=2)


class Bare:
    def __init__(self, shape):
        self.model = None


class Absent:
    def __init__(self, shape):
        pass


def raising(shape):
    return 1 / 0  # Raised here.


class FitRaises(Reader):
    def fit(self, images, labels):
        labels["middle"]  # Not there.


class FitsOthers(Reader):
    def fit(self, images, labels):
        self.model.compile("adam", "mse")
        self.model.fit(images, labels["middle"], verbose=0)


class Double(layers.Layer):
    def call(self, x):
        return 2.0 * x


@keras.saving.register_keras_serializable("mine")
class Registered(Double):
    pass


def with_layer(shape, layer):
    seen = image(shape)
    x = layers.Flatten()(layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(seen)))
    return keras.Model(seen, layer(x))


def of_floats(shape):
    seen = keras.Input(shape)
    return keras.Model(seen, layers.Flatten()(seen))


def a_map(shape):
    seen = image(shape)
    return keras.Model(seen, layers.Rescaling(1 / 255)(seen))


def two(shape):
    seen = image(shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(seen))
    return keras.Model(seen, [x, x])


def named(shape):
    seen = image(shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(seen))
    return keras.Model(seen, {"features": x})


def one_row(shape):
    return with_layer(shape, lambda x: ops.mean(x, axis=0, keepdims=True))


def uneven(shape):
    return with_layer(shape, lambda x: ops.reshape(x, (-1, 35)))


def lambda_layer(shape):
    return with_layer(shape, layers.Lambda(lambda x: x + 1.0))


def own_layer(shape):
    return with_layer(shape, Double())


def registered(shape):
    return with_layer(shape, Registered())


def no_number(shape):
    return with_layer(shape, lambda x: ops.log(x - 1e6))


def of_others(shape):
    return with_layer(shape, lambda x: x - ops.mean(x, axis=0, keepdims=True))


def not_lite(shape):
    return with_layer(shape, ops.tan)


def unbuilt(shape):
    return keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten()])


class Subclassed(keras.Model):
    def __init__(self, shape):
        super().__init__()


def sigmoid(shape):
    return with_layer(shape, layers.Dense(3, activation="sigmoid"))
"""


@pytest.fixture
def mine(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    return file


def line_of(what: str) -> int:
    return MINE[: MINE.index(what)].count("\n") + 1


def pictures(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def a_driver(mine: pathlib.Path, name: str, seed: int = 0) -> Driver:
    """A driver of images of `small_drivers.SHAPE` with a policy that has not learned."""
    encoder = own.Draft(f"{mine}:{name}", small_drivers.SHAPE, seed).encoder()
    width = encoder.features + 2 + 2 * small_drivers.HISTORY
    actor = networks.actor(width, 2, SACConfig(hidden=(8,)), seed=seed)
    return Driver(
        encoder,
        networks.deterministic(actor),
        small_drivers.description(),
        history=small_drivers.HISTORY,
        scaling=small_drivers.SCALING,
    )


def test_a_function_that_returns_a_model_will_do(mine: pathlib.Path) -> None:
    draft = own.Draft(f"{mine}:cells", SHAPE, 0)
    assert not draft.fits
    encoder = draft.encoder()
    assert (encoder.name, encoder.image_shape, encoder.features) == ("own", SHAPE, 3 * 4 * 3)
    assert draft.remark == ""
    images = pictures(5)
    means = images.reshape(5, 3, 8, 4, 8, 3).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(encoder.encode(images), means.reshape(5, -1), rtol=1e-4)
    assert encoder.encode(images[:0]).shape == (0, 36)
    with pytest.raises(InputError, match=r"Expected uint8 images \(n, 24, 32, 3\)"):
        encoder.encode(images.astype(np.float32))


def test_a_class_is_trained_on_frames_and_labels_by_name(
    mine: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for _ in range(2):
        draft = own.Draft(f"{mine}:Reader", SHAPE, 3)
        before = draft.encoder().encode(pictures(4))
        assert draft.fits
        draft.fit(pictures(64), {"left_edge": np.ones(64), "right_edge": np.zeros(64)})
        found.append(draft.encoder().encode(pictures(4)))
        assert np.abs(found[-1] - before).max() > 0.0
    # A run repeats, whatever was drawn before it.
    np.testing.assert_array_equal(*found)
    other = own.Draft(f"{mine}:Reader", SHAPE, 4).encoder().encode(pictures(4))
    assert np.abs(other - before).max() > 0.0
    # `--json` answers on standard output.
    assert capsys.readouterr().out == ""


def test_it_comes_back_without_the_file(mine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    encoder = own.Draft(f"{mine}:Reader", SHAPE, 0).encoder()
    encoder.save(tmp_path)
    mine.unlink()
    loaded = base.encoder_class("own").load(tmp_path)
    np.testing.assert_array_equal(loaded.encode(pictures(3)), encoder.encode(pictures(3)))
    with pytest.raises(DriverError, match="Expected the cnn encoder"):
        base.encoder_class("cnn").load(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Bare", "expected a Keras model, or a model as attribute. Received: nothing"),
        ("Absent", "'Absent' object has no attribute 'model'"),
        ("raising", f"line {line_of('1 / 0')}: ZeroDivisionError"),
        ("of_floats", "expected a model of keras.Input((24, 32, 3), dtype='uint8'). Received: one "
         "of float32 (24, 32, 3)"),
        ("a_map", "expected float32 features, (n, F). Received: float32 (None, 24, 32, 3)"),
        ("two", "expected a model of one image and one list of features"),
        ("unbuilt", "expected a model of one image and one list of features"),
        ("Subclassed", "expected a model of one image and one list of features"),
        ("named", "expected a model of one image and one list of features"),
        ("one_row", "expected float32 features, (n, F). Received: float32 (1, 36)"),
        ("uneven", "Error: "),
        ("lambda_layer", "Received: a model with 'Lambda', which is code"),
        ("own_layer", "Received: a model with 'Double', which is code"),
        ("registered", "Received: a model with 'Registered', which is code"),
        ("no_number", "expected finite features"),
        ("of_others", "expected the same features of the same image. Received: others alone"),
        ("not_lite", "expected a model that LiteRT can run"),
        ("Cells", "Unknown encoder 'Cells'. Did you mean 'cells'?"),
    ],
)  # fmt: skip
def test_what_is_no_encoder_is_refused(mine: pathlib.Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        own.Draft(f"{mine}:{name}", SHAPE, 0).encoder()
    assert str(mine) in str(refused.value)


def test_a_training_that_fails_names_the_line(mine: pathlib.Path) -> None:
    draft = own.Draft(f"{mine}:FitRaises", SHAPE, 0)
    said = f"The encoder 'FitRaises' of {mine}: line {line_of('  # Not there.')}: KeyError"
    with pytest.raises(InputError, match=re.escape(said)):
        draft.fit(pictures(1), {"left_edge": np.ones(1)})


def test_of_a_long_message_both_ends_are_told(mine: pathlib.Path) -> None:
    draft = own.Draft(f"{mine}:FitsOthers", SHAPE, 0)
    with pytest.raises(InputError, match=r"py: line \d+: \w+Error: .* \.\.\. .*\[8\]") as refused:
        draft.fit(pictures(8), {"middle": np.ones(8)})
    assert len(str(refused.value)) < 600


def test_what_no_race_server_takes_is_said_before_a_race(mine: pathlib.Path) -> None:
    draft = own.Draft(f"{mine}:sigmoid", SHAPE, 0)
    draft.encoder()
    assert draft.remark == (
        "no race server takes a driver with this encoder: an operator 'LOGISTIC', which no driver "
        "uses"
    )


@pytest.mark.slow
def test_a_driver_is_stored_exported_and_looked_at(
    mine: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    driver = a_driver(mine, "Reader")
    driver.save(tmp_path / "driver")
    mine.unlink()
    seen = small_drivers.noise(4)
    loaded = Driver.load(tmp_path / "driver")
    np.testing.assert_array_equal(loaded.act(seen), driver.act(seen))
    one = {name: part[0] for name, part in seen.items()}
    lite = LiteDriver.load(tmp_path / "driver")
    np.testing.assert_allclose(lite.act(one), driver.act(one), atol=1e-5)
    whole = conversion.keras_model(loaded)
    np.testing.assert_allclose(whole(seen)["action"], driver.act(seen), atol=1e-5)
    pilot = donkeycar.model(loaded, donkeycar.Held(speed=1.0))
    assert [each.shape[1:] for each in pilot.outputs] == [(1,), (1,)]
    maps = Saliency(loaded, samples=2).maps(seen)
    assert maps.max() > 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "formula", ["0.5 * x + 0.1", "1.0 - x", "x + 0.5 * x", "x - 0.25 * x", "(x - 0.5) * x"]
)
def test_donkeycar_takes_sums_and_products(mine: pathlib.Path, formula: str) -> None:
    mine.write_text(
        MINE + f"\n\ndef mixed(shape):\n    return with_layer(shape, lambda x: {formula})\n"
    )
    driver = a_driver(mine, "mixed")
    seen = small_drivers.noise(3)
    pilot = donkeycar.model(driver, donkeycar.Held(speed=1.0), memory=True)
    assert [each.shape[1:] for each in pilot.outputs] == [(1,), (1,)]
    whole = conversion.keras_model(driver)
    np.testing.assert_allclose(whole(seen)["action"], driver.act(seen), atol=1e-5)


def test_arrays_are_refused_by_donkeycar(mine: pathlib.Path) -> None:
    mine.write_text(
        MINE + "\n\ndef shifted(shape):\n    import numpy as np\n"
        "    return with_layer(shape, lambda x: x - np.ones((1, 1), 'float32'))\n"
    )
    with pytest.raises(DriverError, match=r"an array of shape \(1, 1\)\. Export it with --to"):
        donkeycar.model(a_driver(mine, "shifted"), donkeycar.Held(speed=1.0))


def test_layers_in_a_row_are_a_model(mine: pathlib.Path) -> None:
    mine.write_text(
        MINE + "\n\ndef row(shape):\n    return keras.Sequential([image(shape), "
        "layers.Rescaling(1 / 255), layers.AveragePooling2D(8), layers.Flatten()])\n"
    )
    encoder = own.Draft(f"{mine}:row", SHAPE, 0).encoder()
    assert encoder.encode(pictures(2)).shape == (2, encoder.features)


@pytest.mark.slow
def test_donkeycar_is_refused_layers_that_it_lacks(mine: pathlib.Path) -> None:
    mine.write_text(MINE + "\n\ndef wave(shape):\n    return with_layer(shape, ops.exp)\n")
    driver = a_driver(mine, "wave")
    with pytest.raises(
        DriverError, match=r"Received: one with 'Exp'\. Export it with --to litert"
    ):
        donkeycar.model(driver, donkeycar.Held(speed=1.0))


@pytest.mark.slow
def test_drivers_with_own_encoders_join_an_ensemble(
    mine: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    members = a_driver(mine, "Reader", 0), a_driver(mine, "cells", 1)
    ensemble.Ensemble(members, [1, 1]).save(tmp_path / "both")
    mine.unlink()
    seen = small_drivers.noise(3)
    expected = (members[0].act(seen) + members[1].act(seen)) / 2
    np.testing.assert_allclose(ensemble.load(tmp_path / "both").act(seen), expected, atol=1e-5)


def test_what_stands_in_the_module_works(tmp_path: pathlib.Path) -> None:
    (example,) = re.findall(r"::\n\n(.*?)\n\n\S", inspect.getdoc(own) or "", re.DOTALL)
    file = tmp_path / "documented.py"
    file.write_text("import keras\n" + textwrap.dedent(example), encoding="utf-8")
    draft = own.Draft(f"{file}:Cells", SHAPE, 0)
    assert draft.fits
    draft.fit(pictures(2), {})
    assert draft.encoder().features == 36
