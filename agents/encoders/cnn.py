"""What a policy trained end to end sees with, as the encoder of a driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import cnn, keras_files
from donkey_rl.agents.encoders import base, lane_network
from donkey_rl.agents.encoders.config import EncoderConfig
from donkey_rl.agents.tensorflow_setup import keras, tf
from donkey_rl.errors import DriverError, InputError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

FORMAT = 1
"""Version of ``encoder.json``."""


def reducer(image_shape: tuple[int, int, int], config: EncoderConfig) -> Any:
    """Builds the part that crops and shrinks, to the whole numbers that a policy learns from.

    Args:
        image_shape: Height, width, channels.
        config: Settings.

    Returns:
        A Keras model, uint8 (B, H, W, C) -> float32 (B, h, w, C) in 0..255, without weights.
    """
    exact = lane_network.reducer(image_shape, config)
    return keras.Model(exact.inputs, keras.ops.round(exact.outputs[0]), name="reducer")


class CnnEncoder:
    """Camera image -> what a policy's own convolutional network makes of it.

    It is trained with its policy and by nothing else, so there is one for each policy.

    Attributes:
        image_shape: Height, width and channels of the images.
        features: Number of features.
        model: Keras model, uint8 (B, H, W, C) -> float32 (B, features).
    """

    name: ClassVar[str] = "cnn"

    def __init__(self, model: Any) -> None:
        """Takes a model; `of_policy` makes one.

        Args:
            model: Keras model, uint8 (B, H, W, C) -> float32 (B, features).
        """
        self.model = model
        height, width, channels = model.input_shape[1:]
        self.image_shape: tuple[int, int, int] = (height, width, channels)
        self.features = int(model.output_shape[1])
        self._encode = tf.function(
            lambda images: cnn.in_halves(model, images),
            input_signature=[tf.TensorSpec((None, *self.image_shape), tf.uint8)],
        )

    @classmethod
    def of_policy(
        cls, network: Any, image_shape: tuple[int, int, int], config: EncoderConfig
    ) -> CnnEncoder:
        """Joins what shrinks the image and what a policy sees with.

        Args:
            network: Keras model, images (B, h, w, c) in 0..255 -> (B, features), such as
                ``PPO.learner.cnn``. Its weights are copied.
            image_shape: Height, width and channels of the camera's images.
            config: How they are cropped and shrunk.

        Raises:
            InputError: When the network is for images of another size.
        """
        reduce = reducer(image_shape, config)
        expected, received = reduce.output_shape[1:], tuple(network.input_shape[1:])
        if received != tuple(expected):
            raise InputError(
                f"Expected a network for images {tuple(expected)}. Received: one for {received}. "
                "Give the camera and the settings that the policy was trained with."
            )
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        inputs = keras.Input(image_shape, dtype="uint8", name="image")
        return cls(keras.Model(inputs, copy(reduce(inputs)), name="encoder"))

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
        features: FloatArray = self._encode(images).numpy()
        return features

    def save(self, folder: Path) -> None:
        """Writes ``encoder.keras`` and ``encoder.json`` into an existing folder."""
        keras_files.save_model(self.model, folder / "encoder.keras")
        description = {"format": FORMAT, "encoder": self.name}
        text = json.dumps(description, indent=2) + "\n"
        (folder / "encoder.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CnnEncoder:
        """Reads what `save` wrote.

        Raises:
            DriverError: When a file is missing, damaged or of another format.
        """
        try:
            base.read_description(folder, cls.name, FORMAT)
            model = keras_files.load_model(folder / "encoder.keras")
            if len(model.input_shape) != 4 or len(model.output_shape) != 2:
                raise ValueError(f"a network from {model.input_shape} to {model.output_shape}")
            return cls(model)
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise DriverError(
                f"Expected a cnn encoder of format {FORMAT} in '{folder}'. Received: {error}. "
                "Train the driver again, or use the version that wrote it."
            ) from error
