"""`/wsDrive`: how the organiser of a hosted race starts and stops the car.

The messages are those of donkeycar's web controller, which organisers' scripts send:
``{"angle": 0, "throttle": 0, "drive_mode": "local", "recording": false}``. `local` is GO; `user`,
and `local_angle`, by which a person would give the throttle, are STOP. Everything else in a
message means nothing here: nobody drives this car by hand.

Anybody on the network of the containers can reach the port, rivals as well. So only those connect
that `DriveConfig.allow` names, and others are let go before a byte of theirs is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import ipaddress
import json
import logging
import socket
import struct
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import pydantic
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from donkey_rl import event_loops
from donkey_rl.errors import InputError
from donkey_rl.race_server.config import GATEWAY, DriveConfig
from donkey_rl.race_server.orders import Go, Order, Stop

LOGGER = logging.getLogger("donkey_rl.race_server")

PATH = "/wsDrive"
BY = "drive"
"""`Go.by` and `Stop.by` of what comes this way."""

_ROUTES = Path("/proc/net/route")
_UP_WITH_GATEWAY = 0x1 | 0x2
_OWN = frozenset({"127.0.0.1", "::1"})
_MOST_BYTES = 2048
_MOST_CONNECTIONS = 16
_OPEN_S = 5.0
_GOODBYE_S = 1.0
_START_S = 20.0
_BAD_MESSAGE = 1007
_EXAMPLE = '{"angle":0,"throttle":0,"drive_mode":"local","recording":false}'

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LIBRARY = logging.getLogger("donkey_rl.race_server.drive_socket.library")
# It would log each refused handshake with its traceback; refusals are logged here, once a kind.
_LIBRARY.setLevel(logging.CRITICAL + 1)


class _Message(pydantic.BaseModel):
    """What counts of a message; donkeycar's own pages send much else."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, strict=True)

    drive_mode: Literal["user", "local", "local_angle"] | None = None


class DriveSocket:
    """Serves `/wsDrive` while it is entered.

    Attributes:
        port: That it listens on, once it is entered.
        refused: How often what was refused.
    """

    def __init__(self, config: DriveConfig, order: Callable[[Order], None]) -> None:
        """Prepares the server.

        Args:
            config: Where to listen, and whom to listen to.
            order: Told each order at once; it must not wait.
        """
        self._config = config
        self._order = order
        self._allowed = _networks(config.allow)
        self._open: set[ServerConnection] = set()
        self.port = config.port
        self.refused: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._started = threading.Event()
        self._problem: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="drive socket", daemon=True)

    def __enter__(self) -> Self:
        """Starts to serve; returns itself once it answers.

        Raises:
            InputError: The port is in use, or the address is not one of this machine.
        """
        self._thread.start()
        self._started.wait(_START_S)
        if self._problem is not None or self._loop is None:
            reason = getattr(self._problem, "strerror", None) or self._problem or "no answer"
            raise InputError(
                f"{PATH} cannot be served on {self._config.host}:{self._config.port}: {reason}. "
                "Choose another port with drive.port (0 for a free one), or another drive.host."
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes all connections and the port."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            event_loops.run(self._serve())
        except OSError as error:
            self._problem = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        serving = serve(
            self._listen,
            self._config.host,
            self._config.port,
            compression=None,
            process_request=self._answer,
            server_header=None,
            open_timeout=_OPEN_S,
            close_timeout=_GOODBYE_S,
            max_size=_MOST_BYTES,
            max_queue=4,
            logger=_LIBRARY,
            create_connection=self._guarded(),
        )
        async with serving as server:
            self.port = _port(server)
            self._loop = asyncio.get_running_loop()
            self._started.set()
            await self._ended.wait()

    def _guarded(self) -> type[ServerConnection]:
        """Returns connections that end at once where nobody is allowed to connect from."""
        rules = self

        class Guarded(ServerConnection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                peer = transport.get_extra_info("peername")
                # None of one that is gone again already.
                if not rules._lets_in(str(peer[0]) if peer else ""):
                    self.transport.abort()
                    return
                rules._open.add(self)

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                rules._open.discard(self)

        return Guarded

    def _lets_in(self, peer: str) -> bool:
        """Whether a connection from an address may go on."""
        if not _is_allowed(peer, self._allowed):
            self._refuse(
                "address",
                f"a connection from {peer}: only this machine and drive.allow "
                f"({', '.join(map(str, self._allowed)) or 'nobody'}) may start and stop the car",
            )
            return False
        if len(self._open) >= _MOST_CONNECTIONS:
            self._refuse("too many", f"more than {_MOST_CONNECTIONS} connections at once")
            return False
        return True

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers what is no WebSocket of the organiser's; None lets it go on."""
        if request.path.partition("?")[0] != PATH:
            self._refuse("path", f"a request for another path than {PATH}")
            return connection.respond(http.HTTPStatus.NOT_FOUND, f"There is {PATH} alone.\n")
        origins = request.headers.get_all("Origin")
        hosts = request.headers.get_all("Host")
        if not _is_own_page(origins, hosts):
            self._refuse("origin", f"a page of another origin, {str(origins)[:100]}")
            return connection.respond(http.HTTPStatus.FORBIDDEN, "Not from another page.\n")
        return None

    async def _listen(self, connection: ServerConnection) -> None:
        """Follows what the organiser says."""
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                try:
                    mode = _Message.model_validate_json(text).drive_mode
                except ValueError:
                    self._refuse("message", f"a message that is none: {text[:100]!r}")
                    await connection.send(f"Expected a message such as {_EXAMPLE}")
                    await connection.close(_BAD_MESSAGE)
                    return
                if mode is not None:
                    self._order(Go(BY) if mode == "local" else Stop(BY))
                    # As donkeycar confirms it.
                    await connection.send(json.dumps({"driveMode": mode}))

    def _refuse(self, kind: str, what: str) -> None:
        """Counts a refusal, and logs the first of its kind."""
        self.refused[kind] += 1
        if self.refused[kind] == 1:
            LOGGER.warning("%s refused %s. Further ones are only counted.", PATH, what)


def gateway(routes: Path = _ROUTES) -> str | None:
    """Returns the address of this machine's default route (IPv4), None where none is known.

    Args:
        routes: Linux's table of routes, addresses in the machine's order of bytes.
    """
    try:
        lines = routes.read_text(encoding="ascii").splitlines()[1:]
        for line in lines:
            _, target, address, flags, *_ = line.split()
            if int(target, 16) == 0 and int(flags, 16) & _UP_WITH_GATEWAY == _UP_WITH_GATEWAY:
                return socket.inet_ntoa(struct.pack("=L", int(address, 16)))
    except (OSError, ValueError, struct.error):
        return None
    return None


def _networks(allow: tuple[str, ...]) -> tuple[_Network, ...]:
    """Returns who may connect beside this machine itself."""
    own = gateway()
    names = [own if each == GATEWAY else each for each in allow]
    return tuple(ipaddress.ip_network(name, strict=False) for name in names if name is not None)


def _is_allowed(peer: str, networks: tuple[_Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    plain = getattr(address, "ipv4_mapped", None) or address
    return str(plain) in _OWN or any(plain in network for network in networks)


def _is_own_page(origins: list[str], hosts: list[str]) -> bool:
    """Whether a request comes from no web page, or from one of this very server.

    Browsers send `Origin` with every WebSocket, and pages cannot change it. A name that somebody
    else has made lead here (DNS rebinding) is no address.
    """
    if not origins:
        return True
    if len(origins) != 1 or len(hosts) != 1:
        return False
    try:
        name = urllib.parse.urlsplit(f"//{hosts[0]}").hostname or ""
        if name != "localhost":
            ipaddress.ip_address(name)
    except ValueError:
        return False
    return origins[0].lower() == f"http://{hosts[0]}".lower()


def _port(server: Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port
