"""Bytes of a simulator to messages, whatever was split, glued or broken on the way."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

_MARK = b'{"msg_type"'
_RESTART = re.compile(rb'\{"msg_type"|\n\{')
_BEGIN = re.compile(rb"\{")
_OUTSIDE = re.compile(rb'["{}\[\]\n]')
_INSIDE = re.compile(rb'["\\{\n]')
_STRING_OR_COMMA = re.compile(
    r'"(?:[^"\\]|\\.)*"|(:\s*-?\d+),(\d+(?:[eE][+-]?\d+)?)(?=\s*[,}])', re.DOTALL
)
_BAD_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])|\\')
_MOST_DIGITS = 40


def _integer(digits: str) -> int | float:
    # Python refuses to read thousands of digits; such a number is infinite to every reader.
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


_JSON = json.JSONDecoder(parse_int=_integer, strict=False)


def read_object(piece: bytes) -> dict[str, Any] | None:
    """Returns the one object that a piece holds, mended where only that helps, or None.

    Invalid UTF-8 is replaced; decimal commas and stray backslashes are mended.

    >>> read_object(b'{"cte":1,5,"x":2}')
    {'cte': 1.5, 'x': 2}
    """
    text = piece.decode("utf-8", "replace")
    found = _loaded(text)
    if found is None:
        found = _loaded(_mended(text))
    return found


def _loaded(text: str) -> dict[str, Any] | None:
    try:
        found = _JSON.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _depth(message: dict[str, Any]) -> int:
    """Returns how many brackets are open at most at once."""
    depth = 0
    level: list[dict[str, Any] | list[Any]] = [message]
    while level:
        depth += 1
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
    return depth


def _mended(text: str) -> str:
    def mend(match: re.Match[str]) -> str:
        if match[1] is not None:
            return f"{match[1]}.{match[2]}"
        return _BAD_ESCAPE.sub(lambda each: each[0] if each[1] else "\\\\", match[0])

    return _STRING_OR_COMMA.sub(mend, text)


class StreamDecoder:
    """Takes bytes as they come and returns the messages in them.

    A message ends with its closing brace. One that breaks off ends where `{"msg_type"` begins, or
    a brace at the start of a line. What is returned never depends on how the bytes were split,
    and every byte is looked at a bounded number of times.

    Attributes:
        dropped: What was lost, by reason: `garbage`, `cut off`, `broken`, `too long`, `too deep`.
    """

    def __init__(self, *, longest: int = 4 * 1024 * 1024, deepest: int = 8) -> None:
        """Starts with nothing received.

        Args:
            longest: Bytes of a message at most.
            deepest: Objects and lists within one another at most.
        """
        self.dropped: Counter[str] = Counter()
        self._longest = longest
        self._deepest = deepest
        self.reset()

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of their message."""
        return len(self._bytes)

    def reset(self) -> None:
        """Forgets what has not become a message; the counts stay."""
        self._bytes = bytearray()
        self._at = 0
        self._start = 0
        self._depth = 0
        self._quoted = False
        self._skipping = False
        self._in_garbage = False

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Returns the messages that these bytes complete, oldest first."""
        self._bytes += data
        self._line_end = -2
        found: list[dict[str, Any]] = []
        while self._begin_message(found) if self._depth == 0 else self._go_on(found):
            pass
        done = self._at if self._depth == 0 else self._start
        if done:
            del self._bytes[:done]
            self._at -= done
            self._start = 0
        return found

    def _begin_message(self, found: list[dict[str, Any]]) -> bool:
        """Finds where the next message begins; False where the bytes hold none."""
        pattern = _RESTART if self._skipping else _BEGIN
        match = pattern.search(self._bytes, self._at)
        if match is None:
            end = len(self._bytes)
            if self._skipping:
                # The mark may have begun in the last bytes.
                self._at = max(self._at, end - len(_MARK) + 1)
            else:
                self._note_garbage(end)
                self._at = end
            return False
        start = match.end() - 1 if match[0][:1] == b"\n" else match.start()
        if not self._skipping:
            self._note_garbage(start)
        self._skipping = self._in_garbage = False
        if not self._take_line(start, found):
            self._restart(start)
        return True

    def _note_garbage(self, end: int) -> None:
        if not self._in_garbage and self._bytes[self._at : end].strip():
            self._in_garbage = True
            self.dropped["garbage"] += 1

    def _take_line(self, start: int, found: list[dict[str, Any]]) -> bool:
        """Takes a whole line that is plain JSON, without a look at each of its brackets."""
        if start < self._line_end or self._line_end == -1:
            return False
        self._line_end = self._bytes.find(b"\n", start)
        if self._line_end == -1 or self._line_end - start > self._longest:
            return False
        line = bytes(self._bytes[start : self._line_end])
        if line.find(_MARK, 1) != -1:
            return False
        message = _loaded(line.decode("utf-8", "replace"))
        if message is None:
            return False
        brackets = line.count(b"{") + line.count(b"[")
        if brackets > self._deepest and _depth(message) > self._deepest:
            return False
        found.append(message)
        self._at = self._line_end
        return True

    def _restart(self, start: int) -> None:
        self._start = start
        self._at = start + 1
        self._depth = 1
        self._quoted = False

    def _drop(self, reason: str, at: int) -> bool:
        self.dropped[reason] += 1
        self._depth = 0
        self._quoted = False
        self._skipping = True
        self._at = at
        return True

    def _go_on(self, found: list[dict[str, Any]]) -> bool:
        """Goes to the next byte that matters within a message; False where more are needed."""
        match = (_INSIDE if self._quoted else _OUTSIDE).search(self._bytes, self._at)
        limit = self._start + self._longest
        at = match.start() if match else len(self._bytes)
        if at >= limit:
            return self._drop("too long", limit)
        if match is None:
            self._at = at
            return False
        token = match[0]
        if token in (b"{", b"\n", b"\\") and not self._is_decided(at, token):
            self._at = at
            return False
        self._at = at + 1
        if token == b"{" and self._bytes.startswith(_MARK, at):
            self.dropped["cut off"] += 1
            self._restart(at)
        elif token == b"\n" and self._bytes[at + 1] == ord("{"):
            self.dropped["cut off"] += 1
            self._depth = 0
        elif token == b'"':
            self._quoted = not self._quoted
        elif token == b"\\":
            self._at = at + 2
        elif not self._quoted:
            return self._nest(token, at, found)
        return True

    def _is_decided(self, at: int, token: bytes) -> bool:
        """Whether enough bytes are there to tell what this one means."""
        if token != b"{":
            return at + 1 < len(self._bytes)
        seen = bytes(self._bytes[at : at + len(_MARK)])
        return len(seen) == len(_MARK) or not _MARK.startswith(seen)

    def _nest(self, token: bytes, at: int, found: list[dict[str, Any]]) -> bool:
        if token in (b"{", b"["):
            self._depth += 1
            if self._depth > self._deepest:
                return self._drop("too deep", at + 1)
        elif token in (b"}", b"]"):
            self._depth -= 1
            if self._depth == 0:
                message = read_object(bytes(self._bytes[self._start : at + 1]))
                if message is None:
                    self.dropped["broken"] += 1
                else:
                    found.append(message)
        return True
