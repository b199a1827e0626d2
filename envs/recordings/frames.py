"""Reading one camera frame that nobody vouches for, from a file or from inside one."""

from __future__ import annotations

import io
import pathlib
import struct
import warnings
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

ImageArray = npt.NDArray[np.uint8]

MAX_BYTES = 8 * 2**20
MAX_SIDE = 4096
"""Larger files and images are refused: no camera of the simulator makes them."""

_FORMATS = ("JPEG", "PNG")

# What Pillow raises on damaged files, beside its own errors.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)


class StoredFrame(Protocol):
    """A frame inside a larger file."""

    def content(self) -> bytes | None:
        """Returns the frame as a JPEG or PNG file, None where there is none."""


FrameSource = pathlib.Path | StoredFrame
"""Where a frame is."""


def read(frame: FrameSource) -> ImageArray | None:
    """Reads a JPEG or PNG file, or one inside another.

    Args:
        frame: Any path, or where it is.

    Returns:
        RGB, shape (h, w, 3); None if there is no such file, if it is damaged or of another
        format, larger than 8 MiB, or if a side is longer than 4,096 pixels.
    """
    try:
        content = _file(frame) if isinstance(frame, pathlib.Path) else frame.content()
        return None if content is None or len(content) > MAX_BYTES else _decode(content)
    except _DAMAGED:
        return None


def _file(path: pathlib.Path) -> bytes | None:
    """Returns what a file holds, one byte more than is taken at most."""
    # A pipe or a device would be read for ever.
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _decode(content: bytes) -> ImageArray | None:
    """Decodes an image unless it is too large; Pillow's errors pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            # Only the header is read so far: a small file can unpack into gigabytes.
            if max(image.size) > MAX_SIDE:
                return None
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
