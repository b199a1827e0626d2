"""What every encoder offers, and the encoders there are."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError, UnknownNameError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

_LARGEST_DESCRIPTION = 1_000_000

_CLASSES = {
    "autoencoder": "donkey_rl.agents.encoders.autoencoder:Autoencoder",
    "cnn": "donkey_rl.agents.encoders.cnn:CnnEncoder",
    "lane": "donkey_rl.agents.encoders.lane:LaneEncoder",
    "own": "donkey_rl.agents.encoders.own:OwnEncoder",
}


class Encoder(Protocol):
    """Turns camera images into the features that a policy drives by.

    Attributes:
        name: Name in the registry.
        image_shape: Height, width and channels of the images it takes.
        features: Length of what `encode` returns for one image.
        model: The same as a Keras model, uint8 (B, H, W, C) -> float32 (B, features), so that a
            driver compiles encoder and policy into one graph.
    """

    name: ClassVar[str]
    image_shape: tuple[int, int, int]
    features: int

    @property
    def model(self) -> Any: ...  # noqa: D102

    def encode(self, images: ImageArray) -> FloatArray:
        """Returns the features (n, features) of images (n, H, W, C)."""
        ...

    def save(self, folder: Path) -> None:
        """Writes ``encoder.keras`` and ``encoder.json`` into an existing folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        ...


def read_description(folder: Path, name: str, version: int) -> dict[str, Any]:
    """Returns what ``encoder.json`` says of an encoder.

    Args:
        folder: The encoder's folder.
        name: Name in the registry.
        version: Of the file.

    Raises:
        OSError: When it cannot be read.
        KeyError: When it does not say which encoder it is of.
        ValueError: When it is too large, no JSON, nested too deeply, or of another encoder or
            version.
    """
    path = folder / "encoder.json"
    if path.stat().st_size > _LARGEST_DESCRIPTION:
        raise ValueError(f"'{path.name}' of {path.stat().st_size:,} bytes")
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ValueError(f"'{path.name}', nested too deeply") from None
    if (data["format"], data["encoder"]) != (version, name):
        raise ValueError(f"format {data['format']} of '{data['encoder']}'")
    return data


def check_images(images: ImageArray, image_shape: tuple[int, int, int]) -> None:
    """Checks that images are such as an encoder takes.

    Args:
        images: (n, H, W, C).
        image_shape: Height, width and channels.

    Raises:
        InputError: On images of another shape or type.
    """
    if images.dtype != np.uint8 or images.shape[1:] != image_shape:
        raise InputError(
            f"Expected uint8 images (n, {', '.join(map(str, image_shape))}). "
            f"Received: {images.dtype} {images.shape}. Set the camera to that size."
        )


def names() -> tuple[str, ...]:
    """Returns the names of the encoders.

    >>> names()
    ('autoencoder', 'cnn', 'lane', 'own')
    """
    return tuple(sorted(_CLASSES))


def encoder_class(name: str) -> type[Encoder]:
    """Returns an encoder by its name; imports TensorFlow.

    Raises:
        UnknownNameError: When there is none of that name.
    """
    if name not in _CLASSES:
        raise UnknownNameError("encoder", name, names())
    module, attribute = _CLASSES[name].split(":")
    return cast(type[Encoder], getattr(importlib.import_module(module), attribute))
