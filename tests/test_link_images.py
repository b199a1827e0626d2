"""Pictures that strangers send are decoded within bounds."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from donkey_rl.envs.link import images
from donkey_rl.errors import MessageError


def encoded(array: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format=kind)
    return stream.getvalue()


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("kind", ["PNG", "TGA"])
def test_lossless_pictures_come_out_as_they_went_in(kind: str) -> None:
    array = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    found = images.decode(as_text(encoded(array, kind)))
    np.testing.assert_array_equal(found, array)
    found[0, 0, 0] ^= 1  # its own, so it may be written to


def test_a_gray_jpeg_becomes_three_channels() -> None:
    array = np.full((16, 24), 77, dtype=np.uint8)
    found = images.decode(as_text(encoded(array, "JPEG")))
    assert found.shape == (16, 24, 3)
    assert np.abs(found.astype(int) - 77).max() <= 1


def test_the_largest_camera_fits_and_one_pixel_more_does_not() -> None:
    assert (
        images.decode(as_text(encoded(np.zeros((512, 512, 3), np.uint8), "PNG"))).shape[0] == 512
    )
    with pytest.raises(MessageError, match="513 x 16"):
        images.decode(as_text(encoded(np.zeros((16, 513, 3), np.uint8), "PNG")))


def test_a_bomb_is_refused_by_its_header() -> None:
    # 60000 x 60000 pixels said, nothing there: unpacking would want 10 GB.
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    data += struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT" + b"\0\0\0\0"
    with pytest.raises(MessageError, match=r"image (may have|cannot be decoded)"):
        images.decode(as_text(data))


@pytest.mark.parametrize("kept", [0, 1, 20, 300, 600])
def test_a_truncated_jpeg_is_refused(kept: int) -> None:
    array = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(MessageError):
        images.decode(as_text(encoded(array, "JPEG")[:kept]))


@pytest.mark.parametrize("text", ["@@@@", "ä", "QUJD", "A" * 5_000_000])
def test_what_is_no_picture_is_refused(text: str) -> None:
    with pytest.raises(MessageError):
        images.decode(text)
