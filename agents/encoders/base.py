"""What every encoder offers, and the encoders there are."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import UnknownNameError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

_CLASSES = {
    "cnn": "donkey_rl.agents.encoders.cnn:CnnEncoder",
    "lane": "donkey_rl.agents.encoders.lane:LaneEncoder",
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


def names() -> tuple[str, ...]:
    """Returns the names of the encoders.

    >>> names()
    ('cnn', 'lane')
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
