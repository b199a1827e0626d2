"""What the encoders that are trained before the policy have in common."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Self

from donkey_rl.agents.encoders import base, lane_network
from donkey_rl.agents.encoders.config import TrainedEncoderConfig
from donkey_rl.agents.encoders.model import ImageArray, ModelEncoder
from donkey_rl.agents.tensorflow_setup import tf


class TrainedEncoder(ModelEncoder, abc.ABC):
    """Camera image -> features, by a network that is frozen once it is trained.

    Attributes:
        reader: The part of the model that is trained, see `lane_network.reader`.
    """

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
        super().__init__(lane_network.encoder(image_shape, features, config))

    def _take(self, model: Any) -> None:
        super()._take(model)
        self._reducer = model.get_layer("reducer")
        self.reader = model.get_layer("reader")
        self._reduce = tf.function(
            lambda images: tf.cast(tf.round(self._reducer(images)), tf.uint8),
            input_signature=[tf.TensorSpec((None, *self.image_shape), tf.uint8)],
        )

    @property
    def reduced_shape(self) -> tuple[int, int, int]:
        """Shape of an image that `preprocess` returns."""
        height, width, channels = self._reducer.output_shape[1:]
        return height, width, channels

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

    def _described(self) -> dict[str, Any]:
        return {"image_shape": list(self.image_shape), **self._settings()}

    @abc.abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Returns what `_from_description` needs beside the images' shape."""

    @classmethod
    @abc.abstractmethod
    def _from_description(cls, image_shape: tuple[int, int, int], data: Mapping[str, Any]) -> Self:
        """Builds an encoder of which the network is still to be read."""

    @classmethod
    def _restored(cls, described: Mapping[str, Any], model: Any) -> Self:
        height, width, channels = map(int, described["image_shape"])
        encoder = cls._from_description((height, width, channels), described)
        shapes = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
        if shapes != (encoder.image_shape, (encoder.features,)):
            raise ValueError(f"a network from {shapes[0]} to {shapes[1]}")
        encoder._take(model)
        return encoder
