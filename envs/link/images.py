"""Pictures of a simulator, decoded within bounds: the sender is not trusted."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from donkey_rl.errors import MessageError

LARGEST_SIDE = 512
"""Pixels, as the simulator's own limit."""

LARGEST_BYTES = 3_000_000
"""Of the encoded picture: an uncompressed one of the greatest size has 0.8 MB."""

_FORMATS = ("JPEG", "PNG", "TGA")

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""The second is raised where a program makes errors of warnings."""


def decode(text: str) -> npt.NDArray[np.uint8]:
    """Decodes a picture of a telemetry message.

    Args:
        text: JPEG, PNG or TGA as base64.

    Returns:
        Shape (h, w, 3); an array of its own.

    Raises:
        MessageError: It is no such picture, cut off, or larger than any camera of the simulator.
    """
    if len(text) > LARGEST_BYTES * 4 // 3:
        raise _refused(f"may have {LARGEST_BYTES} bytes. Received: {len(text) * 3 // 4}")
    try:
        encoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(f"must be base64 ({error})") from error
    return unpack(encoded)


def unpack(encoded: bytes) -> npt.NDArray[np.uint8]:
    """Decodes the file of a picture.

    Args:
        encoded: JPEG, PNG or TGA.

    Returns:
        Shape (h, w, 3); an array of its own.

    Raises:
        MessageError: It is no such picture, cut off, or larger than any camera of the simulator.
    """
    try:
        # The size is in the header: a bomb is refused before a single pixel is unpacked.
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
            width, height = picture.size
            if max(width, height) > LARGEST_SIDE:
                raise _refused(
                    f"may have {LARGEST_SIDE} x {LARGEST_SIDE} pixels. "
                    f"Received: {width} x {height}"
                )
            return np.array(picture.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, *_BOMBS) as error:
        raise _refused(f"cannot be decoded ({error})") from error


def _refused(expected: str) -> MessageError:
    return MessageError("telemetry", "image", expected)
