"""The pipes between a process and one that it has started, and frames over them.

Four bytes of length (least significant first), one byte that says what the frame is, its content.
What the content may be is up to the two ends; it is never a pickle.
"""

from __future__ import annotations

import os
import struct
from typing import IO

_HEAD = struct.Struct("<Ic")


class BrokenFrameError(Exception):
    """The other end is gone, or what it sent is no frame."""


def taken_input() -> int:
    """Returns a descriptor of this process's standard input, which is empty from then on.

    Whoever waits for words there from a thread holds up others on Windows: programs that inherit
    it, and libraries that look at it while they are loaded.
    """
    taken = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return taken


def write_frame(stream: IO[bytes], kind: bytes, content: bytes = b"") -> None:
    """Writes one frame.

    Args:
        stream: Where to.
        kind: One byte, what it is.
        content: The rest.
    """
    stream.write(_HEAD.pack(len(content), kind) + content)
    stream.flush()


def read_frame(stream: IO[bytes], most: int) -> tuple[bytes, bytes]:
    """Reads one frame.

    Args:
        stream: Where from.
        most: Most bytes of its content.

    Returns:
        What it is, and its content.

    Raises:
        BrokenFrameError: The stream ended, or the frame is longer than that.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise BrokenFrameError("the stream ended")
    length, kind = _HEAD.unpack(head)
    if length > most:
        raise BrokenFrameError(f"a frame of {length} bytes")
    content = stream.read(length)
    if len(content) < length:
        raise BrokenFrameError("the stream ended within a frame")
    return kind, content
