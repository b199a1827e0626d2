"""What the encoders can be told."""

from __future__ import annotations

import pydantic

from donkey_rl.configuration import Config


class LaneEncoderConfig(Config):
    """Settings of the lane encoder: what it sees, how it is trained."""

    crop: float = pydantic.Field(
        default=1 / 3, ge=0, le=0.8, description="Share of the image cut off at the top (sky)."
    )
    pool: int = pydantic.Field(
        default=2, ge=1, le=8, description="Pixels averaged into one, along each side."
    )
    filters: tuple[pydantic.PositiveInt, ...] = pydantic.Field(
        default=(16, 32, 32),
        min_length=1,
        max_length=6,
        description="Filters of the convolutions; the first is 5x5, the others 3x3, stride 2.",
    )
    dense: int = pydantic.Field(
        default=128, ge=1, le=4096, description="Units between convolutions and labels."
    )
    frames: int = pydantic.Field(
        default=16_000, ge=64, le=5_000_000, description="Labelled frames to train on."
    )
    validation_share: float = pydantic.Field(
        default=0.1, gt=0, lt=0.9, description="Share of the frames kept for the report."
    )
    batch_size: int = pydantic.Field(
        default=64, ge=1, le=4096, description="Frames per gradient step."
    )
    epochs: int = pydantic.Field(
        default=6, ge=1, le=1000, description="Passes over the training frames."
    )
    learning_rate: float = pydantic.Field(
        default=2e-3, gt=0, le=1, description="Adam's step size at the start."
    )
    final_learning_rate: float = pydantic.Field(
        default=5e-5, gt=0, le=1, description="Step size at the end, reached along a cosine."
    )
    huber: float = pydantic.Field(
        default=1.0,
        gt=0,
        le=100,
        description="Error, in standard deviations, from which the loss grows linearly.",
    )
    brightness: float = pydantic.Field(
        default=0.1, ge=0, le=1, description="Random shift of each image, share of full scale."
    )
    contrast: float = pydantic.Field(
        default=0.2, ge=0, lt=1, description="Random change of each image's contrast, share."
    )
    gamma: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Random change of each image's gamma, share."
    )
    noise: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Noise per pixel, share of full scale."
    )
    clip: float = pydantic.Field(
        default=5.0, gt=0, description="Bound of the features, in standard deviations."
    )
    seed: int = pydantic.Field(
        default=0, ge=0, lt=2**31, description="Decides weights, order and augmentation."
    )
