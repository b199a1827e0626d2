"""What a policy trained end to end sees with, as the encoder of a driver."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from donkey_rl.agents.encoders import lane_network
from donkey_rl.agents.encoders.config import EncoderConfig
from donkey_rl.agents.encoders.model import ModelEncoder
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import InputError


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


class CnnEncoder(ModelEncoder):
    """Camera image -> what a policy's own convolutional network makes of it.

    It is trained with its policy and by nothing else, so there is one for each policy.
    """

    name: ClassVar[str] = "cnn"

    @classmethod
    def of_policy(
        cls, network: Any, image_shape: tuple[int, int, int], config: EncoderConfig
    ) -> Self:
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
