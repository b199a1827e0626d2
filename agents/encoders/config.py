"""What the encoders can be told."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import pydantic

from donkey_rl import own_code, setting_keys
from donkey_rl.agents.augmentation.config import LookConfig
from donkey_rl.agents.cnn_config import Filters
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError


class EncoderConfig(Config):
    """What every encoder sees of an image."""

    crop: float = pydantic.Field(
        default=1 / 3, ge=0, le=0.8, description="Share of the image cut off at the top (sky)."
    )
    pool: int = pydantic.Field(
        default=2, ge=1, le=8, description="Pixels averaged into one, along each side."
    )

    def reduced(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns the shape of an image after cropping and averaging.

        >>> EncoderConfig().reduced((120, 160, 3))
        (40, 80, 3)
        """
        height, width, channels = image_shape
        return (height - round(height * self.crop)) // self.pool, width // self.pool, channels

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Checks that the settings fit together and the images are large enough.

        Args:
            image_shape: Height, width and channels of the camera's images.

        Raises:
            InputError: When they are not.
        """
        height, width, _ = self.reduced(image_shape)
        if min(height, width) < 1:
            raise InputError(
                f"Expected images that something is left of. Received: {height}x{width} after "
                "cropping and averaging. Use a larger camera image or a smaller encoder.pool."
            )


class CnnEncoderConfig(EncoderConfig):
    """Settings of the images that a policy sees by itself, trained end to end."""

    name: Literal["cnn"] = "cnn"


class TrainedEncoderConfig(EncoderConfig, LookConfig):
    """Settings of an encoder that is trained before the policy: its network and its training."""

    filters: tuple[Filters, ...] = pydantic.Field(
        default=(16, 32, 48, 48),
        min_length=1,
        max_length=6,
        description="Filters of the convolutions; the first is 5x5, the others 3x3, stride 2.",
    )
    dense: int = pydantic.Field(
        default=128, ge=1, le=4096, description="Units between convolutions and features."
    )
    frames: int = pydantic.Field(
        default=24_000, ge=64, le=5_000_000, description="Frames to train on."
    )
    validation_share: float = pydantic.Field(
        default=0.1, gt=0, lt=0.9, description="Share of the frames kept for the report."
    )
    batch_size: int = pydantic.Field(
        default=64, ge=1, le=4096, description="Frames per gradient step."
    )
    epochs: int = pydantic.Field(
        default=5, ge=1, le=1000, description="Passes over the training frames."
    )
    learning_rate: float = pydantic.Field(
        default=2e-3, gt=0, le=1, description="Adam's step size at the start."
    )
    final_learning_rate: float = pydantic.Field(
        default=5e-5, gt=0, le=1, description="Step size at the end, reached along a cosine."
    )
    brightness: float = pydantic.Field(
        default=0.1, ge=0, le=1, description="Random shift of each image, share of full scale."
    )
    contrast: float = pydantic.Field(
        default=0.2, ge=0, lt=1, description="Random change of each image's contrast, share."
    )
    clip: float = pydantic.Field(
        default=5.0, gt=0, description="Bound of the features, in standard deviations."
    )
    seed: int | None = pydantic.Field(
        default=None,
        ge=0,
        lt=2**31,
        description="Decides weights, order and augmentation; none takes the run's seed.",
    )

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Checks that frames are enough and images large enough for the convolutions.

        Args:
            image_shape: Height, width and channels of the camera's images.

        Raises:
            InputError: When they are not.
        """
        self.check_image(image_shape)
        self.kept_back(self.frames)

    def check_image(self, image_shape: tuple[int, int, int]) -> None:
        """Checks that images are large enough for the convolutions.

        Args:
            image_shape: Height, width and channels of the camera's images.

        Raises:
            InputError: When they are not.
        """
        height, width, _ = self.reduced(image_shape)
        smallest = 2 ** len(self.filters)
        if min(height, width) < smallest:
            raise InputError(
                f"Expected images large enough for {len(self.filters)} convolutions, "
                f"{smallest}x{smallest}. Received: {height}x{width} after cropping and "
                "averaging. Use a larger camera image, a smaller encoder.pool or fewer "
                "encoder.filters."
            )

    def kept_back(self, frames: int) -> int:
        """Returns how many frames are kept for the report.

        Args:
            frames: Frames there are.

        Raises:
            InputError: When less than one batch would be left to train on.
        """
        kept = max(1, math.ceil(frames * self.validation_share))
        if frames - kept < self.batch_size:
            raise InputError(
                f"Expected at least one batch of {self.batch_size} frames beside the {kept} "
                f"kept back. Received: {frames} frames. Give more of them, or lower "
                "encoder.batch_size."
            )
        return kept


class LaneEncoderConfig(TrainedEncoderConfig):
    """Settings of the lane encoder."""

    name: Literal["lane"] = "lane"
    hues: bool = pydantic.Field(
        default=True,
        description="Whether it tells hues apart; if not, it sees how bright and how colourful "
        "everything is, which looks in other colours change less.",
    )
    ground: bool = pydantic.Field(
        default=False,
        description="Whether it sees as well how far every colour is from that of the ground just "
        "ahead, whatever colour that is.",
    )
    mirror: bool = pydantic.Field(
        default=False,
        description="Whether it reads each image and its mirror image and takes the mean, for "
        "drivers of many roads; one that knows a single track has not seen that track's mirror "
        "image.",
    )
    shifted: bool = pydantic.Field(
        default=False,
        description="Whether it reads each image as it is and moved a little to either side, and "
        "takes the mean.",
    )
    farther: tuple[pydantic.PositiveFloat, ...] = pydantic.Field(
        default=(),
        max_length=8,
        description="Distances (u) beyond 28 at which the road's middle is asked for as well.",
    )
    bends: float = pydantic.Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the frames that are taken where the road bends, or just before.",
    )
    fresh: bool = pydantic.Field(
        default=False,
        description="Whether frames are rendered anew after each `repeats` passes over them.",
    )
    repeats: int = pydantic.Field(
        default=1, ge=1, le=1000, description="Passes over the same frames where they are fresh."
    )
    huber: float = pydantic.Field(
        default=1.0,
        gt=0,
        le=100,
        description="Error, in standard deviations, from which the loss grows linearly.",
    )
    segmentation: float = pydantic.Field(
        default=0.0,
        ge=0,
        le=100,
        description="Weight of the second task: what is road, line and off the road.",
    )
    pretrained: str | None = pydantic.Field(
        default=None,
        description="Run or driver folder whose auto-encoder's weights are the first ones.",
    )

    @pydantic.model_validator(mode="after")
    def _repeats_of_something(self) -> Self:
        if self.repeats > 1 and not self.fresh:
            raise ValueError(
                f"repeats are of fresh frames, received repeats={self.repeats} and fresh=false; "
                "set encoder.fresh=true, or count all passes in encoder.epochs"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _pretrained_sees_colours(self) -> Self:
        if self.pretrained is not None and self._sees_otherwise:
            raise ValueError(
                "pretrained is an auto-encoder, which sees red, green and blue, received "
                f"{self._sees_otherwise} as well; leave one of them out"
            )
        return self

    @property
    def _sees_otherwise(self) -> str:
        """The setting by which it sees other channels than the image's, empty for none."""
        return "hues=false" if not self.hues else "ground=true" if self.ground else ""

    def check_image(self, image_shape: tuple[int, int, int]) -> None:
        """Checks as `TrainedEncoderConfig` does, and what colours and segmentation need.

        Args:
            image_shape: Height, width and channels of the camera's images.

        Raises:
            InputError: When something does not fit.
        """
        super().check_image(image_shape)
        if self._sees_otherwise and image_shape[2] != 3:
            raise InputError(
                f"Expected images of three channels for encoder.{self._sees_otherwise}. Received: "
                f"{image_shape[2]}. Give images in colour, or leave encoder.hues at true and "
                "encoder.ground at false."
            )
        if self.segmentation > 0 and len(self.filters) < 2:
            raise InputError(
                "Expected two convolutions or more for encoder.segmentation. Received: "
                f"{len(self.filters)}. Give encoder.filters two numbers, or leave segmentation "
                "at 0."
            )


class AutoencoderConfig(TrainedEncoderConfig):
    """Settings of the auto-encoder."""

    name: Literal["autoencoder"] = "autoencoder"
    frames: int = pydantic.Field(
        default=10_000, ge=64, le=5_000_000, description="Frames to train on, at most."
    )
    gamma: float = pydantic.Field(
        default=0.2, ge=0, lt=1, description="Random change of each image's gamma, share."
    )
    noise: float = pydantic.Field(
        default=0.03, ge=0, le=1, description="Noise per pixel, share of full scale."
    )
    shadow: float = pydantic.Field(
        default=0.5, ge=0, le=1, description="Most that a band across each image is darkened."
    )
    occlusion: float = pydantic.Field(
        default=0.4, ge=0, le=1, description="Largest side of what covers a part of each image."
    )
    latent: int = pydantic.Field(
        default=32, ge=1, le=1024, description="Numbers that an image becomes."
    )
    data: str | None = pydantic.Field(
        default=None,
        description="Folder of recorded frames to train on, or data:NAME; none collects them in "
        "the run.",
    )


class OwnEncoderConfig(Config):
    """Settings of an encoder of the user's own, see `donkey_rl.agents.encoders.own`."""

    name: Literal["own"] = "own"
    code: str | None = pydantic.Field(
        default=None,
        description="Class that makes the encoder, as PATH.py:NAME. The file runs with your "
        "rights.",
    )
    frames: int = pydantic.Field(
        default=4_000,
        ge=1,
        le=5_000_000,
        description="Frames that its fit is handed, if it has one: 57,600 bytes each at 160x120.",
    )

    @pydantic.field_validator("code")
    @classmethod
    def _names_a_class(cls, value: str | None) -> str | None:
        if value is not None:
            own_code.parse(value, "encoder")
        return value

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Checks nothing: whether images are large enough, the user's code knows."""


EncoderChoice = Annotated[
    Annotated[LaneEncoderConfig, pydantic.Tag("lane")]
    | Annotated[AutoencoderConfig, pydantic.Tag("autoencoder")]
    | Annotated[CnnEncoderConfig, pydantic.Tag("cnn")]
    | Annotated[OwnEncoderConfig, pydantic.Tag("own")],
    setting_keys.BY_NAME,
]
"""The settings of the encoder that `name` chooses."""
