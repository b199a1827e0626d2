"""Pictures as telemetry carries them: encoded, and as base64 text."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

ENCODINGS = ("JPG", "PNG", "TGA")
"""By their names in `img_enc`."""

JPEG_QUALITY = 75
"""The simulator's, which halves the resolution of colours both ways."""

_HALF_COLOURS = "4:2:0"


def encode(image: npt.NDArray[np.uint8], encoding: str) -> str:
    """Encodes a picture.

    Args:
        image: Shape (h, w, 3), uint8.
        encoding: One of `ENCODINGS`.

    Returns:
        Base64 text.
    """
    target = io.BytesIO()
    picture = Image.fromarray(image)
    if encoding == "JPG":
        picture.save(target, "JPEG", quality=JPEG_QUALITY, subsampling=_HALF_COLOURS)
    elif encoding == "PNG":
        picture.save(target, "PNG", compress_level=1)
    else:
        picture.save(target, "TGA")
    return base64.b64encode(target.getvalue()).decode("ascii")
