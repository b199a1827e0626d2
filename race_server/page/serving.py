"""The process of the page: reads the racer's frames, serves browsers, writes their orders back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from donkey_rl import event_loops, web_access
from donkey_rl.errors import InputError
from donkey_rl.pipe_frames import BrokenFrameError, read_frame, taken_input, write_frame
from donkey_rl.race_server.page import messages, web
from donkey_rl.race_server.page.guard import Complaints, Guard, Tally
from donkey_rl.race_server.page.messages import Hello, Line, OrderRequest
from donkey_rl.race_server.page.scene import Scene
from donkey_rl.race_server.page.viewers import Viewers
from donkey_rl.web_access import Access

NICENESS = 5
"""How far the page stands back behind the drivers, where the system knows such a thing."""

SILENT_S = 10.0
"""A connection that asks for nothing in this time (s), at first or after an answer, is closed."""

MOST_OF_ONE = 48
"""Connections of one address; half of them all, so that nobody keeps everybody else out."""

_MOST_CONNECTIONS = 2 * MOST_OF_ONE
_GOODBYE_S = 1
_LOOK_S = 0.02
_PING_S = 10.0
_END_S = 3.0


class _PromptProtocol(H11Protocol):
    """HTTP with clients that ask for something soon, and no more of them than there is room."""

    _silence: asyncio.TimerHandle | None = None
    _answered: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        addresses = [(getattr(each, "client", None) or ("",))[0] for each in self.connections]
        own = self.client[0] if self.client else ""
        if len(addresses) > _MOST_CONNECTIONS or addresses.count(own) > MOST_OF_ONE:
            transport.abort()
            return
        self._watch()

    def on_response_complete(self) -> None:
        # Uvicorn's own limit ends with the first byte of a request that need never be whole.
        self._answered = self.scope
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._watch(False)

    def _watch(self, on: bool = True) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self.loop.call_later(SILENT_S, self._close_if_silent) if on else None

    def _close_if_silent(self) -> None:
        if self.scope is self._answered and not self.transport.is_closing():
            self.transport.close()


class _Answers:
    """Writes frames to the racer, from any thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, kind: bytes, content: bytes) -> None:
        # Without the racer there is nobody to tell; the end of its frames ends this process.
        with self._lock, contextlib.suppress(OSError):
            write_frame(self._stream, kind, content)

    def note(self, text: str) -> None:
        self.write(messages.NOTE, text[: messages.MOST_LINE].encode())

    def order(self, order: OrderRequest) -> None:
        self.write(messages.ORDER, order.model_dump_json().encode())


def main() -> int:
    """Serves until the racer's frames end; returns the exit code."""
    with contextlib.suppress(AttributeError, OSError):
        os.nice(NICENESS)
    frames = os.fdopen(taken_input(), "rb")
    answers = _Answers(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _, content = read_frame(frames, messages.MOST_BYTES)
        hello = Hello.model_validate_json(content)
        listener = web_access.listening(hello.host, hello.port, hello.remedy)
    except BrokenFrameError:
        return 0
    except InputError as error:
        answers.write(messages.FAILED, str(error)[: messages.MOST_LINE].encode())
        return 2
    with listener:
        return _serve(hello, listener, frames, answers)


def _serve(hello: Hello, listener: socket.socket, frames: IO[bytes], answers: _Answers) -> int:
    """Serves on a socket until the frames end."""
    scene = Scene()

    def note(text: str) -> None:
        scene.log(Line(at=time.time(), car="", level="warning", text=text))
        answers.note(text)

    refusals = Tally("Refused", note)
    logging.getLogger().addHandler(Complaints(Tally("The web server says", note)))
    port = listener.getsockname()[1]
    access = Access(hello.host, port, hello.token)
    app, viewers = web.application(scene, access, hello.key, answers.order, refusals)
    server = uvicorn.Server(_settings(app))
    thread = threading.Thread(
        target=event_loops.run, args=[_run(server, listener, scene, viewers)], daemon=True
    )
    thread.start()
    while not server.started:
        if not thread.is_alive():
            return 1
        time.sleep(_LOOK_S)
    answers.write(messages.READY, json.dumps({"port": port}).encode())
    _read(frames, scene, thread.is_alive)
    # Nobody is left to hear that viewers were still there.
    logging.disable()
    server.should_exit = True
    thread.join(_END_S)
    return 0


def _settings(app: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_PromptProtocol,
        ws="websockets-sansio",
        lifespan="off",
        ws_max_size=messages.MOST_VIEWER_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GOODBYE_S,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


async def _run(
    server: uvicorn.Server, listener: socket.socket, scene: Scene, viewers: Viewers
) -> None:
    """Serves, and wakes the viewers when there is news."""
    loop = asyncio.get_running_loop()
    waiting: set[str] = set()

    def wake(car: str) -> None:
        waiting.discard(car)
        viewers.wake(car)

    def tell(car: str) -> None:
        # One call at most waits for each car, however busy the loop is.
        if car not in waiting:
            waiting.add(car)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(wake, car)

    scene.listener = tell
    await server.serve([listener])


def _read(frames: IO[bytes], scene: Scene, is_serving: Callable[[], bool]) -> None:
    """Takes the racer's frames until they end."""
    while is_serving():
        try:
            kind, content = read_frame(frames, messages.MOST_BYTES)
        except BrokenFrameError:
            return
        if kind == messages.STATUS:
            scene.take(content)
        elif kind == messages.LINE:
            scene.log(Line.model_validate_json(content))
