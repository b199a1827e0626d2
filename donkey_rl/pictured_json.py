"""A JSON text and a picture as one binary message to a browser's page.

Four bytes with the length of the text (most significant first), the text, and a JPEG file.
"""

from __future__ import annotations

_LENGTH_BYTES = 4


def joined(text: bytes, picture: bytes) -> bytes:
    """Returns a text and a picture as one message.

    >>> parted(joined(b'{"n": 1}', b"JPEG"))
    (b'{"n": 1}', b'JPEG')
    """
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text + picture


def parted(content: bytes) -> tuple[bytes, bytes]:
    """Returns the text and the picture of a message."""
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    return content[_LENGTH_BYTES:end], content[end:]
