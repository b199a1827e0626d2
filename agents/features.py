"""Observations as the flat numbers that a policy reads.

An observation is a ``Dict`` of ``image`` (uint8, H x W x C), ``speed`` (1,), ``imu`` (6,: linear
acceleration, then angular velocity, x y z each) and ``last_actions`` (2 K,: steering and throttle
of each, oldest first). Its features are, side by side: the encoder's output, the speed, the yaw
rate (``imu[4]``, about the vertical axis), the last actions. What a policy is blind to is 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pydantic
from gymnasium import spaces

from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float32]
Observation = Mapping[str, npt.NDArray[Any]]

YAW_RATE = 4
"""Index of the yaw rate in ``imu``."""


Measurement = Literal["speed", "yaw_rate", "last_actions"]
"""What a policy reads beside the image."""


class FeatureScaling(Config):
    """How the measurements are made into what a policy reads."""

    speed: float = pydantic.Field(
        default=10.0, gt=0, description="Divisor of the speed, in the unit it is reported in."
    )
    yaw_rate: float = pydantic.Field(
        default=1.0, gt=0, description="Divisor of the yaw rate, rad/s."
    )
    blind_to: tuple[Measurement, ...] = pydantic.Field(
        default=(),
        max_length=3,
        description="Measurements of which it reads 0, whatever they are.",
    )

    @pydantic.field_validator("blind_to")
    @classmethod
    def _in_one_order(cls, value: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
        return tuple(name for name in get_args(Measurement) if name in value)

    @pydantic.model_serializer(mode="wrap")
    def _without_what_is_usual(
        self, handler: pydantic.SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Leaves ``blind_to`` out where it is empty: hashes and manifests stay what they were."""
        values: dict[str, Any] = handler(self)
        if not self.blind_to:
            values.pop("blind_to", None)
        return values


def mirror_signs(count: int) -> FloatArray:
    """Returns what the numbers beside an image are multiplied by on a mirrored road, (count,).

    Steering and yaw rate change their signs.

    Args:
        count: Of the numbers of `measurements`, 2 + 2 K.

    >>> mirror_signs(6).tolist()
    [1.0, -1.0, -1.0, 1.0, -1.0, 1.0]
    """
    return np.array([1.0, -1.0] + [-1.0, 1.0] * (count // 2 - 1), np.float32)


def check_observation_space(
    space: spaces.Space[Any], image_shape: tuple[int, int, int], history: int | None = None
) -> int:
    """Checks that observations can be turned into features.

    Args:
        space: The space of single observations.
        image_shape: Height, width and channels that the encoder takes.
        history: Number of last actions expected; any when None.

    Returns:
        The number K of last actions.

    Raises:
        InputError: When a part is missing or of another shape.
    """
    if not isinstance(space, spaces.Dict):
        raise InputError(
            "Expected a Dict of image, speed, imu and last_actions as observation space. "
            f"Received: {space}. Use one of the donkey environments."
        )
    shapes = {name: part.shape for name, part in space.spaces.items()}
    actions = shapes.get("last_actions") or ()
    length = history if history is not None else (max(1, actions[0] // 2) if actions else 1)
    expected = {
        "image": image_shape,
        "speed": (1,),
        "imu": (6,),
        "last_actions": (2 * length,),
    }
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            raise InputError(
                f"Expected '{name}' of shape {shape} in the observation. "
                f"Received: {shapes.get(name, 'nothing')}. "
                "Configure the environment as the driver was trained: see its manifest.json."
            )
    if space["image"].dtype != np.uint8:
        raise InputError(
            f"Expected 'image' as uint8. Received: {space['image'].dtype}. "
            "Pass camera images as they come."
        )
    return int(length)


def measurements(observation: Observation, scaling: FeatureScaling) -> FloatArray:
    """Returns what a policy reads beside the image, (n, 2 + 2 K).

    Args:
        observation: A batch of n.
        scaling: How the measurements are made into numbers.
    """
    count = len(observation["image"])
    parts = {
        "speed": observation["speed"] / scaling.speed,
        "yaw_rate": observation["imu"][:, YAW_RATE : YAW_RATE + 1] / scaling.yaw_rate,
        "last_actions": observation["last_actions"].reshape(count, -1),
    }
    read = [np.zeros_like(p) if name in scaling.blind_to else p for name, p in parts.items()]
    return np.concatenate(read, axis=1, dtype=np.float32)


class FeatureExtractor:
    """Turns a batch of observations into features, with one call of the encoder.

    Attributes:
        encoder: What reads the images.
        scaling: How the measurements are made into numbers.
        history: Number K of last actions.
        space: Space of the features of one observation.
    """

    def __init__(
        self,
        encoder: Encoder,
        observation_space: spaces.Space[Any],
        scaling: FeatureScaling | None = None,
    ) -> None:
        """Checks that encoder and observations fit.

        Args:
            encoder: A trained encoder.
            observation_space: Space of single observations.
            scaling: Divisors; the defaults when None.

        Raises:
            InputError: When the observations lack something or the images have another size.
        """
        self.encoder = encoder
        self.scaling = scaling if scaling is not None else FeatureScaling()
        self.history = check_observation_space(observation_space, encoder.image_shape)
        length = encoder.features + 2 + 2 * self.history
        self.space = spaces.Box(-np.inf, np.inf, (length,), np.float32)

    def __call__(self, observation: Observation) -> FloatArray:
        """Returns features (n, F) of a batch of observations, or (F,) of a single one."""
        if observation["image"].ndim == 3:
            single = {name: np.asarray(part)[None] for name, part in observation.items()}
            one: FloatArray = self(single)[0]
            return one
        count = len(observation["image"])
        features = np.empty((count, *self.space.shape), np.float32)
        size = self.encoder.features
        features[:, :size] = self.encoder.encode(observation["image"])
        features[:, size:] = measurements(observation, self.scaling)
        return features
