"""The page that a person drives by: a small web server in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
import logging
import threading
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import fastapi
import uvicorn
from fastapi import Request, Response, WebSocket, WebSocketDisconnect

from donkey_rl import event_loops, web_access
from donkey_rl.errors import StorageError
from donkey_rl.experiments.recording import messages
from donkey_rl.experiments.recording.cockpit import Cockpit
from donkey_rl.web_access import Access

LOGGER = logging.getLogger("donkey_rl.experiments")

_FILES = {
    "/": ("cockpit.html", "text/html"),
    "/cockpit.js": ("cockpit.js", "text/javascript"),
    "/cockpit.css": ("cockpit.css", "text/css"),
}

_IN_FLIGHT = 3
"""Frames that a page may have been sent and not shown yet; others are dropped, never queued."""

_SILENT_S = 2.0
"""Who drives says something every 40 ms; after this silence another page may drive."""

_MOST_PAGES = 16
_MOST_CONNECTIONS = 64
_BAD_MESSAGE, _NOT_ALLOWED, _TOO_MANY = 1007, 1008, 1013
_START_S = 20.0
_GOODBYE_S = 1
_LOOK_S = 0.02
_REMEDY = "Choose another port with --port (0 for a free one), or leave --host out."


class _Page:
    """One open page, at the server's end.

    Attributes:
        seen: Number of the newest frame that it has shown.
        heard: When it last said something (monotonic, s).
    """

    def __init__(self, connection: WebSocket) -> None:
        self.connection = connection
        self.seen = 0
        self.heard = time.monotonic()
        self.news = asyncio.Event()
        self.sent: list[int] = []

    def take_seen(self, number: int) -> None:
        self.seen = max(self.seen, number)
        self.sent = [each for each in self.sent if each > self.seen]
        self.news.set()


class _Pages:
    """All open pages: the first one drives, the others look."""

    def __init__(self, cockpit: Cockpit) -> None:
        self.cockpit = cockpit
        self.open: list[_Page] = []
        self.driver: _Page | None = None

    def wake(self) -> None:
        """A new frame is there."""
        for page in self.open:
            page.news.set()

    async def serve(self, connection: WebSocket) -> None:
        """Keeps a page that was let in until it is closed."""
        page = _Page(connection)
        self.open.append(page)
        self._give(page)
        self.cockpit.sit()
        sender = asyncio.create_task(self._send(page))
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await self._listen(page)
        finally:
            sender.cancel()
            self.open.remove(page)
            if self.driver is page:
                self.driver = None
                self.cockpit.release()
            self.cockpit.rise()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sender

    def _is_free(self) -> bool:
        """Whether nobody drives; a page of which the network is gone says nothing any more."""
        return self.driver is None or time.monotonic() - self.driver.heard > _SILENT_S

    def _give(self, page: _Page) -> None:
        """Gives a page the wheel if nobody drives."""
        if self.driver is not page and self._is_free():
            self.driver = page
            self.cockpit.release()

    async def _send(self, page: _Page) -> None:
        """Sends the newest frame, as soon as the page has shown those before it."""
        last = 0
        while True:
            await page.news.wait()
            page.news.clear()
            shown = self.cockpit.shown
            if shown is None or shown.number <= last or len(page.sent) >= _IN_FLIGHT:
                continue
            last = shown.number
            page.sent.append(last)
            about = {"driving": page is self.driver, "free": self._is_free()}
            await page.connection.send_bytes(messages.frame(shown, about))

    async def _listen(self, page: _Page) -> None:
        """Follows what a page says."""
        page.news.set()
        while True:
            try:
                message = messages.read(await page.connection.receive_text())
            except (ValueError, KeyError) as error:
                # A page of ours sends nothing of the kind.
                LOGGER.warning("A page sent what is no command, and was closed: %s", _line(error))
                await page.connection.close(_BAD_MESSAGE)
                return
            self._follow(page, message)

    def _follow(self, page: _Page, message: messages.Message) -> None:
        page.heard = time.monotonic()
        if isinstance(message, messages.WishMessage):
            if message.do == "take":
                self._give(page)
            elif page is self.driver:
                self.cockpit.wish(message.do)
            return
        page.take_seen(message.seen)
        if isinstance(message, messages.DriveMessage) and page is self.driver:
            self.cockpit.command(message.controls, message.seen)


def _application(pages: _Pages, access: Access) -> fastapi.FastAPI:
    """Returns the web application: three files and one WebSocket.

    Args:
        pages: Who is connected.
        access: Whom to answer.
    """

    @contextlib.asynccontextmanager
    async def listening(_: fastapi.FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        pages.cockpit.listener = lambda: _tell(loop, pages)
        yield

    app = fastapi.FastAPI(openapi_url=None, lifespan=listening)

    @app.get("/")
    @app.get("/cockpit.js")
    @app.get("/cockpit.css")
    async def file(request: Request) -> Response:
        host = request.headers.get("host")
        if not access.allows_host(host):
            return Response("This server is known by another name.", 421)
        if request.url.path == "/" and not access.allows_token(request.query_params.get("token")):
            return Response("Open the address that donkey-rl record has printed.", 403)
        name, kind = _FILES[request.url.path]
        content = importlib.resources.files(__package__).joinpath("page", name).read_bytes()
        return Response(content, media_type=kind, headers=web_access.headers(host or ""))

    @app.websocket("/drive")
    async def drive(connection: WebSocket) -> None:
        host = connection.headers.get("host")
        allowed = (
            access.allows_host(host)
            and access.allows_origin(connection.headers.get("origin"), host)
            and access.allows_token(connection.query_params.get("token"))
        )
        if not allowed or len(pages.open) >= _MOST_PAGES:
            await connection.close(_TOO_MANY if allowed else _NOT_ALLOWED)
            return
        await connection.accept()
        await pages.serve(connection)

    return app


def _tell(loop: asyncio.AbstractEventLoop, pages: _Pages) -> None:
    """Wakes the pages from another thread; after their end nobody is left to wake."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(pages.wake)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class PageServer:
    """Serves the page while it is entered.

    Attributes:
        access: Whom it answers, and its address.
    """

    def __init__(self, cockpit: Cockpit, host: str, port: int) -> None:
        """Takes the port.

        Args:
            cockpit: The drive's end.
            host: Address to listen on.
            port: Port, 0 for a free one.

        Raises:
            InputError: The port is in use, or the address is not one of this machine.
        """
        self._socket = web_access.listening(host, port, _REMEDY)
        self.access = Access.of(host, self._socket.getsockname()[1])
        self._pages = _Pages(cockpit)
        config = uvicorn.Config(
            _application(self._pages, self.access),
            ws="websockets-sansio",
            ws_max_size=messages.MOST_BYTES,
            ws_per_message_deflate=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_GOODBYE_S,
            log_config=None,
            access_log=False,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="recording page", daemon=True)

    def _run(self) -> None:
        event_loops.run(self._server.serve(sockets=[self._socket]))

    def __enter__(self) -> Self:
        """Starts to serve; returns itself once it answers.

        Raises:
            StorageError: It does not come up.
        """
        self._thread.start()
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._thread.is_alive():
            if self._server.started:
                return self
            time.sleep(_LOOK_S)
        raise StorageError(f"The page did not come up on port {self.access.port}. Try again.")

    def say_goodbye(self) -> None:
        """Waits for a moment until all pages have shown the last frame."""
        end = time.monotonic() + _GOODBYE_S
        last = self._pages.cockpit.shown
        while last is not None and time.monotonic() < end:
            if all(page.seen >= last.number for page in list(self._pages.open)):
                return
            time.sleep(_LOOK_S)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes all pages and the port."""
        self._server.should_exit = True
        self._thread.join(10.0)
        self._socket.close()
