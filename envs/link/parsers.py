"""How the servers of each generation cut a client's bytes into messages."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Protocol

from donkey_rl.envs.link.decoder import StreamDecoder

_LONGEST = 1024 * 1024


class Parser(Protocol):
    """Bytes to messages.

    Attributes:
        dropped: What was lost, by reason.
    """

    dropped: Counter[str]

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Returns the messages that these bytes complete, oldest first."""
        ...


def of_generation(year: int, tolerant: bool) -> Parser:
    """Returns the parser of a server of 2020, 2021 or 2022, or one that takes every style."""
    if tolerant:
        return StreamDecoder(longest=_LONGEST)
    return ChunkParser() if year <= 2020 else BraceParser()


class ChunkParser:
    """The rule of 2020: every received chunk is one object; anything else is lost.

    Attributes:
        dropped: What was lost, by reason.
    """

    def __init__(self, *, longest: int = _LONGEST) -> None:
        """Starts; `longest` bounds a chunk (bytes)."""
        self.dropped: Counter[str] = Counter()
        self._longest = longest

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Returns the message that the chunk is, if it is one."""
        if len(data) > self._longest:
            self.dropped["too long"] += 1
            return []
        return _kept(data, self.dropped)


class BraceParser:
    """The rule of 2021 and 2022: pieces begin at `{`, and count if they end with `}`.

    So a newline behind a message makes it wait, and the next message discards it.

    Attributes:
        dropped: What was lost, by reason.
    """

    def __init__(self, *, longest: int = _LONGEST) -> None:
        """Starts with nothing pending; `longest` bounds what may be pending (bytes)."""
        self.dropped: Counter[str] = Counter()
        self._longest = longest
        self._pending = bytearray()
        self._seen = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Returns the messages that this chunk completes, oldest first."""
        self._pending += data
        if self._pending[-1:] != b"}" and self._pending.find(b"{", max(1, self._seen)) == -1:
            self._bound()
            return []
        found: list[dict[str, Any]] = []
        pieces = bytes(self._pending).split(b"{")
        self._pending.clear()
        if pieces[0].strip():
            self.dropped["garbage"] += 1
        for index, piece in enumerate(pieces[1:], start=2):
            if piece.endswith(b"}"):
                found += _kept(b"{" + piece, self.dropped)
            elif index == len(pieces):
                self._pending += b"{" + piece
            else:
                self.dropped["cut off"] += 1
        self._bound()
        return found

    def _bound(self) -> None:
        if len(self._pending) > self._longest:
            self.dropped["too long"] += 1
            self._pending.clear()
        self._seen = len(self._pending)


def _kept(piece: bytes, dropped: Counter[str]) -> list[dict[str, Any]]:
    try:
        found = json.loads(piece.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return [found]
    dropped["broken"] += 1
    return []
