"""What encoders have in common: all of them are a Keras model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import cnn, keras_files
from donkey_rl.agents.encoders import base
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import DriverError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

FORMAT = 1
"""Version of ``encoder.json``."""


class ModelEncoder:
    """Camera image -> what a Keras model makes of it.

    Attributes:
        image_shape: Height, width and channels of the images.
        features: Number of features.
        model: Keras model, uint8 (B, H, W, C) -> float32 (B, features).
    """

    name: ClassVar[str]

    def __init__(self, model: Any) -> None:
        """Takes a model.

        Args:
            model: Keras model, uint8 (B, H, W, C) -> float32 (B, features).
        """
        self._take(model)

    def _take(self, model: Any) -> None:
        """Adopts a model and compiles what is asked of it."""
        self.model = model
        height, width, channels = model.input_shape[1:]
        self.image_shape: tuple[int, int, int] = (height, width, channels)
        self.features = int(model.output_shape[1])
        image = tf.TensorSpec((None, *self.image_shape), tf.uint8)
        self._encode = tf.function(
            lambda images: cnn.in_parts(model, images), input_signature=[image]
        )
        self._encode_one = tf.function(model, input_signature=[image])

    def encode(self, images: ImageArray) -> FloatArray:
        """Returns the features of images, in one compiled call.

        Args:
            images: (n, H, W, C).

        Returns:
            (n, features).

        Raises:
            InputError: On images of another shape or type.
        """
        base.check_images(images, self.image_shape)
        if len(images) == 0:
            return np.empty((0, self.features), np.float32)
        compiled = self._encode if len(images) > 1 else self._encode_one
        features: FloatArray = compiled(images).numpy()
        return features

    def save(self, folder: Path) -> None:
        """Writes ``encoder.keras`` and ``encoder.json`` into an existing folder."""
        keras_files.save_model(self.model, folder / "encoder.keras")
        description = {"format": FORMAT, "encoder": self.name, **self._described()}
        text = json.dumps(description, indent=2) + "\n"
        (folder / "encoder.json").write_text(text, encoding="utf-8")

    def _described(self) -> dict[str, Any]:
        """Returns what ``encoder.json`` says beside that."""
        return {}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            DriverError: When a file is missing, damaged or of another format.
        """
        try:
            described = base.read_description(folder, cls.name, FORMAT)
            return cls._restored(described, keras_files.load_model(folder / "encoder.keras"))
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise DriverError(
                f"Expected the {cls.name} encoder of format {FORMAT} in '{folder}'. "
                f"Received: {error}. "
                "Train the driver again, or use the version that wrote it."
            ) from error

    @classmethod
    def _restored(cls, described: Mapping[str, Any], model: Any) -> Self:
        """Returns the encoder of what ``encoder.json`` says and a model that was read."""
        del described
        if len(model.input_shape) != 4 or len(model.output_shape) != 2:
            raise ValueError(f"a network from {model.input_shape} to {model.output_shape}")
        return cls(model)
