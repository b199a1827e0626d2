"""What the encoders that are trained before the policy have in common."""

from __future__ import annotations

import abc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.agents import cnn, keras_files
from donkey_rl.agents.encoders import base, lane_network
from donkey_rl.agents.encoders.config import TrainedEncoderConfig
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import DriverError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

FORMAT = 1
"""Version of ``encoder.json``."""


class TrainedEncoder(abc.ABC):
    """Camera image -> features, by a network that is frozen once it is trained.

    Attributes:
        image_shape: Height, width and channels of the images.
        features: Number of features.
        model: Keras model, uint8 (B, H, W, C) -> float32 (B, features).
        reader: The part of it that is trained, see `lane_network.reader`.
    """

    name: ClassVar[str]

    def __init__(
        self, image_shape: tuple[int, int, int], features: int, config: TrainedEncoderConfig
    ) -> None:
        """Builds an untrained network.

        Args:
            image_shape: Height, width and channels of the images.
            features: Number of features.
            config: Settings.

        Raises:
            InputError: When the images are too small for the network.
        """
        self.image_shape = image_shape
        self.features = features
        self._take(lane_network.encoder(image_shape, features, config))

    def _take(self, model: Any) -> None:
        """Adopts a model and compiles what is asked of it."""
        self.model = model
        self._reducer = model.get_layer("reducer")
        self.reader = model.get_layer("reader")
        image = tf.TensorSpec((None, *self.image_shape), tf.uint8)
        self._encode = tf.function(
            lambda images: cnn.in_halves(model, images), input_signature=[image]
        )
        self._encode_one = tf.function(model, input_signature=[image])
        self._reduce = tf.function(
            lambda images: tf.cast(tf.round(self._reducer(images)), tf.uint8),
            input_signature=[image],
        )

    @property
    def reduced_shape(self) -> tuple[int, int, int]:
        """Shape of an image that `preprocess` returns."""
        height, width, channels = self._reducer.output_shape[1:]
        return height, width, channels

    def encode(self, images: ImageArray) -> FloatArray:
        """Returns the features of images, in one compiled call.

        Args:
            images: (n, H, W, C).

        Returns:
            Features bounded by ``config.clip``, (n, features).

        Raises:
            InputError: On images of another shape or type.
        """
        base.check_images(images, self.image_shape)
        if len(images) == 0:
            return np.empty((0, self.features), np.float32)
        compiled = self._encode if len(images) > 1 else self._encode_one
        features: FloatArray = compiled(images).numpy()
        return features

    def preprocess(self, images: ImageArray) -> ImageArray:
        """Crops and shrinks images, for a compact data set to `fit` on.

        Args:
            images: (n, H, W, C).

        Returns:
            (n, h, w, C); 120x160 becomes 40x80, a sixth of the bytes.

        Raises:
            InputError: On images of another shape or type.
        """
        base.check_images(images, self.image_shape)
        reduced: ImageArray = self._reduce(images).numpy()
        return reduced

    def save(self, folder: Path) -> None:
        """Writes ``encoder.keras`` and ``encoder.json`` into an existing folder."""
        keras_files.save_model(self.model, folder / "encoder.keras")
        description = {
            "format": FORMAT,
            "encoder": self.name,
            "image_shape": list(self.image_shape),
            **self._described(),
        }
        text = json.dumps(description, indent=2) + "\n"
        (folder / "encoder.json").write_text(text, encoding="utf-8")

    @abc.abstractmethod
    def _described(self) -> dict[str, Any]:
        """Returns what `_from_description` needs beside the images' shape."""

    @classmethod
    @abc.abstractmethod
    def _from_description(cls, image_shape: tuple[int, int, int], data: Mapping[str, Any]) -> Self:
        """Builds an encoder of which the network is still to be read."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            DriverError: When a file is missing, damaged or of another format.
        """
        try:
            data = base.read_description(folder, cls.name, FORMAT)
            height, width, channels = map(int, data["image_shape"])
            encoder = cls._from_description((height, width, channels), data)
            model = keras_files.load_model(folder / "encoder.keras")
            shapes = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
            if shapes != (encoder.image_shape, (encoder.features,)):
                raise ValueError(f"a network from {shapes[0]} to {shapes[1]}")
            encoder._take(model)
        except (KeyError, OSError, TypeError, ValueError, pydantic.ValidationError) as error:
            raise DriverError(
                f"Expected the {cls.name} encoder of format {FORMAT} in '{folder}'. "
                f"Received: {error}. "
                "Train the driver again, or use the version that wrote it."
            ) from error
        return encoder
