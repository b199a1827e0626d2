"""How far images are changed while something learns from them; without TensorFlow, for recipes."""

from __future__ import annotations

from pydantic import Field

from donkey_rl.configuration import Config


class LookConfig(Config):
    """Changes of an image that leave everything in it where it is; 0 switches each off."""

    brightness: float = Field(
        default=0.0, ge=0, le=1, description="Random shift of each image, share of full scale."
    )
    contrast: float = Field(
        default=0.0, ge=0, lt=1, description="Random change of each image's contrast, share."
    )
    gamma: float = Field(
        default=0.0, ge=0, lt=1, description="Random change of each image's gamma, share."
    )
    colour: float = Field(
        default=0.0, ge=0, lt=1, description="Random change of each channel of an image, share."
    )
    hue: float = Field(
        default=0.0, ge=0, le=1, description="Random turn of each image's hues, share of half one."
    )
    blur: float = Field(
        default=0.0, ge=0, le=1, description="Most of each image's smoothed copy in it, share."
    )
    noise: float = Field(
        default=0.0, ge=0, le=1, description="Noise per pixel, share of full scale."
    )
    shadow: float = Field(
        default=0.0, ge=0, le=1, description="Most that a band across each image is darkened."
    )
    occlusion: float = Field(
        default=0.0, ge=0, le=1, description="Largest side of what covers a part of each image."
    )


class AugmentationConfig(LookConfig):
    """Changes of what a policy learns from; 0 and false switch each off."""

    shift: int = Field(
        default=0, ge=0, le=64, description="Images are moved by up to so many pixels each way."
    )
    mirror: bool = Field(
        default=False, description="Whether every second one is mirrored, actions with it."
    )

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        return any(self.model_dump().values())
