"""An encoder of the user's own: `--set encoder.name=own --set encoder.code=PATH.py:NAME`.

The name is that of a class. It is handed the shape of the images, has a Keras model of them, and
may train it before the policy. Where there is nothing to train, a function that returns the model
will do::

    class Cells:
        def __init__(self, image_shape):
            image = keras.Input(image_shape, dtype="uint8")
            cells = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(image))
            self.model = keras.Model(image, keras.layers.Flatten()(cells))

        def fit(self, images, labels):  # Or leave it out.
            ...

What is stored is the model, of layers that Keras has. So whoever drives by it later needs nothing
of the file, and runs nobody's code.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from donkey_rl import own_code
from donkey_rl.agents import cnn, keras_files, lite_conversion, model_contents
from donkey_rl.agents.encoders.model import ModelEncoder
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import DriverError, InputError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

_TRIED = 2 * cnn.SEEN_IN
"""Images of noise that a model is tried on: two at least go through it at a time."""

_SAID = 150, 250
"""Characters of a long message that are told: so many of its beginning, and of its end."""

_ROUNDING = 1e-3
"""What a feature may differ by, as a share of the largest, with other images beside its own."""


class OwnEncoder(ModelEncoder):
    """Camera image -> what a Keras model of the user's own makes of it."""

    name: ClassVar[str] = "own"


class Draft:
    """What a user's class or function makes, up to the encoder that is stored.

    Attributes:
        remark: What the user should know of the encoder that `encoder` returned; empty if nothing.
    """

    def __init__(
        self, reference: str | None, image_shape: tuple[int, int, int], seed: int
    ) -> None:
        """Runs the user's file, with the user's rights, and calls its class or function.

        Args:
            reference: ``"path.py:name"``.
            image_shape: Height, width and channels of the images.
            seed: Decides what Keras, NumPy and Python draw in it.

        Raises:
            InputError: There is no such class, or it raises; the message has the line.
        """
        if reference is None:
            raise InputError(
                "Expected encoder.code=PATH.py:NAME with encoder.name=own. Received: none. Name "
                "the class that makes the encoder."
            )
        self.remark = ""
        self._shape = image_shape
        self._seed = seed
        self._taken = own_code.take(reference, "encoder", "Define that class in it.")
        with self._guarded():
            self._made = self._taken.value(image_shape)

    @property
    def fits(self) -> bool:
        """Whether it is to be trained before the policy."""
        made = self._made
        return not isinstance(made, keras.Model) and callable(getattr(made, "fit", None))

    def fit(self, images: ImageArray, labels: Mapping[str, FloatArray]) -> None:
        """Has it trained.

        Args:
            images: (n, H, W, C).
            labels: What the simulator knows of each image, (n,) by name, see `envs.labels`.

        Raises:
            InputError: It raises; the message has the line.
        """
        with self._guarded():
            self._made.fit(images, labels)

    def encoder(self) -> OwnEncoder:
        """Returns the encoder as a driver stores it, tried on images of noise.

        Raises:
            InputError: It has no model from images to features, or one that cannot be stored,
                run without TensorFlow, or relied on.
        """
        with self._guarded():
            model = self._made if isinstance(self._made, keras.Model) else self._made.model
            if isinstance(model, keras.Sequential) and model.built:
                model = keras.Model(model.inputs, model.outputs)
        self._check_shapes(model)
        # Without optimiser and loss: they would be stored too, and be taken for code.
        model = keras.Model(model.input, model.output)
        with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
            encoder = self._stored(OwnEncoder(model), Path(name))
            self._try(encoder)
            self.remark = self._look(encoder, Path(name))
        return encoder

    def _check_shapes(self, model: Any) -> None:
        if not isinstance(model, keras.Model):
            raise self._wrong(
                f"expected a Keras model, or a model as attribute. Received: {_kind(model)}"
            )
        # A `Sequential` that was never built, or a class of the user's own, has none of them.
        ends = (getattr(model, name, None) or () for name in ("inputs", "outputs"))
        one_each = all(len(each) == 1 for each in ends)
        if not one_each or isinstance(model.output, Mapping):
            raise self._wrong(
                "expected a model of one image and one list of features, such as "
                "keras.Model(image, features). Received: another"
            )
        (image,), (features,) = model.inputs, model.outputs
        expected = (None, *self._shape), "uint8"
        if (tuple(image.shape), image.dtype) != expected:
            raise self._wrong(
                f"expected a model of keras.Input({self._shape}, dtype='uint8'). Received: one of "
                f"{image.dtype} {tuple(image.shape[1:])}"
            )
        is_row = len(features.shape) == 2 and features.shape[0] is None and features.shape[1]
        if not is_row or features.dtype != "float32":
            raise self._wrong(
                "expected float32 features, (n, F). Received: "
                f"{features.dtype} {tuple(features.shape)}; keras.layers.Flatten() makes one row "
                "of an image"
            )

    def _stored(self, encoder: OwnEncoder, folder: Path) -> OwnEncoder:
        """Returns an encoder as it comes back from a folder, as it will whenever it drives."""
        remedy = "; use layers and operations of Keras"
        try:
            encoder.save(folder)
            foreign = model_contents.foreign_parts(folder / "encoder.keras")
            if foreign:
                raise ValueError(f"a model with '{foreign[0]}', which is code{remedy}")
            return OwnEncoder.load(folder)
        except Exception as error:
            raise self._wrong(
                "expected a model that can be stored and read without this file. Received: "
                f"{str(error)[:300]}"
            ) from error

    def _try(self, encoder: OwnEncoder) -> None:
        """Looks at the features of some images, together and one by one."""
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (_TRIED, *self._shape), dtype=np.uint8)
        with self._guarded():
            together, again = encoder.encode(images), encoder.encode(images)
            alone = np.concatenate([encoder.encode(image[None]) for image in images])
        if not np.isfinite(together).all():
            raise self._wrong("expected finite features. Received: others, of images of noise")
        limit = _ROUNDING * max(1.0, float(np.abs(together).max()))
        for other, where in ((again, "a second time"), (alone, "alone")):
            most = float(np.abs(other - together).max())
            if most > limit:
                raise self._wrong(
                    f"expected the same features of the same image. Received: others {where}, by "
                    f"up to {most:g}"
                )

    def _look(self, encoder: OwnEncoder, folder: Path) -> str:
        """Converts an encoder as drivers are; returns why races of other people refuse it."""
        try:
            content = lite_conversion.converted(
                lambda image: encoder.model(image), {"image": self._shape}
            )
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise self._wrong(
                "expected a model that LiteRT can run, as computers without TensorFlow do. "
                f"Received: {reason[:300]}"
            ) from error
        try:
            model_contents.check_keras(folder / "encoder.keras")
            model_contents.check_lite(content, "encoder.tflite")
        except DriverError as error:
            return f"no race server takes a driver with this encoder: {error.__cause__}"
        return ""

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Runs the user's code; what it raises is told with its line, what it prints stays."""
        keras.utils.set_random_seed(self._seed)
        # Standard output is what `--json` answers on.
        with contextlib.redirect_stdout(sys.stderr), keras_files.without_copy_warning():
            try:
                yield
            except (Exception, SystemExit) as error:
                described = own_code.describe(error, str(self._taken.path))
                raise self._wrong(described) from error

    def _wrong(self, what: str) -> InputError:
        name, path = self._taken.name, self._taken.path
        said = " ".join(what.split())
        if len(said) > sum(_SAID):
            # TensorFlow tells a whole stack in between.
            said = f"{said[: _SAID[0]]} ... {said[-_SAID[1] :]}"
        return InputError(f"The encoder '{name}' of {path}: {said}. Mend it.")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
