"""The process that a stranger's driver runs in; `foreign_driver` is the other end.

Both ends exchange frames (`donkey_rl.pipe_frames`). Images and numbers go as raw bytes,
everything else as JSON; nothing is ever a pickle. What the driver prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import json
import math
import os
import pathlib
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl import own_code
from donkey_rl.pipe_frames import BrokenFrameError, read_frame, taken_input, write_frame

HELLO, BEGIN, ACT, ACTION, DONE, FAILURE = b"H", b"B", b"A", b"a", b"d", b"f"
"""What a frame is: three requests, and three answers."""

MOST_MEMORY = 4 * 2**30
"""Bytes of memory that a driver may take, where the system can hold it to that (not Windows)."""

MOST_ANSWER = 100_000
"""Bytes of an answer: two numbers, or a message."""

_ANSWER = struct.Struct("<dd")
_LONGEST_MESSAGE = 500
_NAMED = 8
"""Names of a file that a message lists at most."""


def pack_observation(car: int, observation: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Returns what one car sees as the content of a frame, its parts in their order."""
    return struct.pack("<I", car) + b"".join(
        np.ascontiguousarray(part[car]).tobytes() for part in observation.values()
    )


class _Failed(Exception):  # noqa: N818
    """What is to be reported of the stranger's code, one line."""


class _Drivers:
    """One instance of the stranger's driver for each car."""

    def __init__(self, hello: Mapping[str, Any]) -> None:
        path = pathlib.Path(hello["path"])
        self._path = path
        self._parts = {
            name: (tuple(shape), np.dtype(kind)) for name, shape, kind in hello["parts"]
        }
        make = self._make(hello["name"])
        self._each = [self._guarded(f"{hello['name']}()", make) for _ in range(hello["cars"])]
        for driver in self._each[:1]:
            if not callable(getattr(driver, "act", None)):
                raise _Failed(
                    f"{hello['name']}() gave a {type(driver).__name__} without a method "
                    "act(observation)"
                )

    def _make(self, name: str) -> Callable[[], Any]:
        """Imports the file and returns its class or factory."""
        sys.path.insert(0, str(self._path.parent))
        spec = importlib.util.spec_from_file_location("donkey_rl_foreign_driver", self._path)
        if spec is None or spec.loader is None:
            raise _Failed("it cannot be imported as Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        self._guarded("importing it", lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
        made = getattr(module, name, None)
        if not callable(made):
            own = own_code.defined(module)
            near = difflib.get_close_matches(name, own, n=1) or own[:_NAMED]
            hint = f" but {', '.join(near)}" if near else ""
            raise _Failed(f"it has no class or function '{name}'{hint}")
        return made  # type: ignore[no-any-return]

    def begin(self) -> None:
        """Tells every driver that a new race begins, where it wants to know."""
        for driver in self._each:
            reset = getattr(driver, "reset", None)
            if callable(reset):
                self._guarded("reset()", reset)

    def act(self, content: bytes) -> bytes:
        """Returns the action for the observation in a frame."""
        (car,), at = struct.unpack_from("<I", content), 4
        observation = {}
        for name, (shape, kind) in self._parts.items():
            count = math.prod(shape)
            part = np.frombuffer(content, kind, count, at).reshape(shape)
            observation[name] = part.copy()
            at += part.nbytes
        answer = self._guarded("act()", lambda: self._each[car].act(observation))
        try:
            action = np.asarray(answer, np.float64)
        except (TypeError, ValueError):
            action = np.zeros(0)
        if action.shape != (2,):
            raise _Failed(
                f"act() must return steering and throttle, two numbers. Received: {_short(answer)}"
            )
        if not np.isfinite(action).all():
            raise _Failed(f"act() must return finite numbers. Received: {action.tolist()}")
        return _ANSWER.pack(*action)

    def _guarded(self, what: str, call: Callable[[], Any]) -> Any:
        """Calls the stranger's code; whatever it raises becomes one line with its place."""
        try:
            return call()
        except BaseException as error:
            text, line = " ".join(str(error).split()), None
            if isinstance(error, SyntaxError) and error.filename == str(self._path):
                text, line = error.msg, error.lineno
            for frame in traceback.extract_tb(error.__traceback__):
                line = frame.lineno if frame.filename == str(self._path) else line
            told = f"{type(error).__name__}: {text}".rstrip(": ")
            raise _Failed(f"{what} raised {told}{f' (line {line})' if line else ''}") from None


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 80 else f"{type(value).__name__} {text[:80]}..."


def main() -> None:
    """Answers requests until there are none."""
    requests = os.fdopen(taken_input(), "rb")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit_memory()
    drivers: _Drivers | None = None
    with contextlib.suppress(BrokenFrameError):
        while True:
            kind, content = read_frame(requests, 2**30)
            try:
                if kind == HELLO or drivers is None:
                    drivers = _Drivers(json.loads(content))
                    answer = DONE, b""
                elif kind == BEGIN:
                    drivers.begin()
                    answer = DONE, b""
                else:
                    answer = ACTION, drivers.act(content)
            except _Failed as failure:
                answer = FAILURE, str(failure)[:_LONGEST_MESSAGE].encode()
            write_frame(answers, *answer)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))


if __name__ == "__main__":
    main()
