"""Observations taken apart into what networks read: an image and numbers.

An observation is a flat `Box`, an image (a `Box` of uint8 with three axes), or a `Dict` of flat
boxes and at most one image. Its numbers are the flat boxes side by side, in the order of the
`Dict`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space_channels_first

from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]
Observation = npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]


class Parts(NamedTuple):
    """A batch of observations, taken apart.

    Attributes:
        numbers: Shape (B, F); F may be 0.
        image: Shape (B, h, w, c), or None where there is no image.
    """

    numbers: FloatArray
    image: ImageArray | None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the observations of one space are taken apart.

    Attributes:
        space: The space of single observations.
        numbers: Count F of numbers.
        image: Height, width and channels of the image, None without one.
        image_name: Its key in a `Dict`.
        channels_first: Whether the space holds the image as (c, h, w), as Stable-Baselines3
            turns it.
    """

    space: spaces.Space[Any]
    numbers: int
    image: tuple[int, int, int] | None = None
    image_name: str | None = None
    channels_first: bool = False

    def split(self, observation: Observation) -> tuple[Parts, bool]:
        """Takes a batch apart, or a single observation as a batch of one.

        Args:
            observation: As the space describes it, or with a leading axis. An image may have its
                channels first or last.

        Returns:
            The parts, and whether it was a single observation.

        Raises:
            InputError: When something is missing or of another shape.
        """
        if not isinstance(self.space, spaces.Dict):
            return self._split_one(observation)
        expected = self.space.spaces.keys()
        if not isinstance(observation, Mapping) or not expected <= observation.keys():
            received = list(observation) if isinstance(observation, Mapping) else "one array"
            raise InputError(
                f"Expected a dict of {', '.join(expected)}. Received: {received}. "
                "Pass observations as the environment gives them."
            )
        numbers, image, single = [], None, False
        for name, space in self.space.spaces.items():
            if name == self.image_name:
                image, single = self._images(np.asarray(observation[name]))
            else:
                part, single = _rows(np.asarray(observation[name]), space.shape or (), name)
                numbers.append(part)
        counts = {len(part) for part in numbers}
        if image is not None:
            counts.add(len(image))
        if len(counts) > 1:
            raise InputError(
                "Expected as many of each part. "
                f"Received: {', '.join(map(str, sorted(counts)))}. "
                "Pass observations as the environment gives them."
            )
        empty = np.zeros((counts.pop(), 0), np.float32)
        return Parts(np.concatenate([empty, *numbers], axis=1), image), single

    def _split_one(self, observation: Observation) -> tuple[Parts, bool]:
        if isinstance(observation, Mapping):
            raise InputError(
                f"Expected one observation of shape {self.space.shape}, or a batch of them. "
                "Received: a dict. Encode the observation with a FeatureExtractor first."
            )
        values = np.asarray(observation)
        if self.image is None:
            rows, single = _rows(values, self.space.shape or (), None)
            return Parts(rows, None), single
        image, single = self._images(values)
        return Parts(np.zeros((len(image), 0), np.float32), image), single

    def _images(self, values: npt.NDArray[Any]) -> tuple[ImageArray, bool]:
        """Returns images with their channels last, (B, h, w, c)."""
        height, width, channels = self.image or (0, 0, 0)
        last, first = (height, width, channels), (channels, height, width)
        shape = values.shape[-3:]
        if values.ndim not in (3, 4) or shape not in (last, first) or values.dtype != np.uint8:
            raise InputError(
                f"Expected uint8 images {last}, or a batch of them. "
                f"Received: {values.dtype} {values.shape}. "
                "Pass camera images as the environment gives them."
            )
        single = values.ndim == 3
        batch = values[None] if single else values
        turned = shape == first and (self.channels_first or shape != last)
        return (np.moveaxis(batch, 1, -1) if turned else batch), single


def _rows(
    values: npt.NDArray[Any], shape: tuple[int, ...], name: str | None
) -> tuple[FloatArray, bool]:
    """Returns flat numbers, (B, F), of one observation or many."""
    lead = values.ndim - len(shape)
    if lead not in (0, 1) or values.shape[lead:] != shape:
        what = f"'{name}'" if name is not None else "one observation"
        raise InputError(
            f"Expected {what} of shape {shape}, or a batch of them. "
            f"Received: shape {values.shape}. Encode the observation with a FeatureExtractor "
            "first."
        )
    batch = values.astype(np.float32, copy=False).reshape(-1 if lead else 1, math.prod(shape))
    return batch, lead == 0


def layout(space: spaces.Space[Any]) -> Layout:
    """Returns how observations of a space are taken apart.

    Args:
        space: Of single observations.

    Raises:
        InputError: When it holds something else than flat boxes and one image.

    >>> layout(spaces.Box(-1, 1, (5,), np.float32)).numbers
    5
    >>> image = spaces.Box(0, 255, (48, 64, 3), np.uint8)
    >>> found = layout(spaces.Dict(image=image, speed=spaces.Box(0, 9, (1,), np.float32)))
    >>> found.image, found.numbers
    ((48, 64, 3), 1)
    """
    if isinstance(space, spaces.Dict):
        images = [name for name, part in space.spaces.items() if _is_image(part)]
        flat = [part for part in space.spaces.values() if _is_flat(part)]
        if len(images) > 1 or len(images) + len(flat) != len(space.spaces) or not space.spaces:
            raise _unfit(space)
        count = sum(math.prod(part.shape or ()) for part in flat)
        if not images:
            return Layout(space, count)
        image, first = _image_shape(space.spaces[images[0]])
        return Layout(space, count, image, images[0], first)
    if _is_image(space):
        image, first = _image_shape(space)
        return Layout(space, 0, image, None, first)
    if not _is_flat(space):
        raise _unfit(space)
    return Layout(space, math.prod(space.shape or ()))


def _is_image(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8


def _is_flat(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def _image_shape(space: Any) -> tuple[tuple[int, int, int], bool]:
    """Returns height, width and channels of an image space, and whether channels are first."""
    first = is_image_space_channels_first(space)
    one, two, three = space.shape
    return ((two, three, one) if first else (one, two, three)), first


def _unfit(space: spaces.Space[Any]) -> InputError:
    return InputError(
        "Expected a flat Box, an image (uint8, three axes), or a Dict of flat boxes and one image "
        f"as observation space. Received: {space}. Flatten the space first."
    )
