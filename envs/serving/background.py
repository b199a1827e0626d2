"""A server to the end of the program, or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

from donkey_rl import event_loops
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.serving.orders import Referee
from donkey_rl.envs.serving.server import Server, Statistics
from donkey_rl.envs.simulator.track import Track

_LISTENS_S = 1.0


def serve(
    config: ServerConfig,
    announce: Callable[[Server], None],
    host_race: Callable[[Track], Referee] | None = None,
) -> None:
    """Serves until Ctrl-C, or until a client ends it where that is allowed.

    Args:
        config: The server's settings.
        announce: Called once the server listens; it knows its ports and its private key then.
        host_race: Makes the referee of a race, see `Server`.

    Raises:
        InputError: A port is in use, or the track does not exist.
    """
    with contextlib.suppress(KeyboardInterrupt):
        event_loops.run(_serve(config, announce, host_race))


async def _serve(
    config: ServerConfig,
    announce: Callable[[Server], None],
    host_race: Callable[[Track], Referee] | None,
) -> None:
    server = Server(config, host_race)
    try:
        await server.start()
        announce(server)
        await server.wait()
    finally:
        await server.stop()


class Running:
    """A server in another thread.

    Attributes:
        port: Where drivers connect.
        private_port: Where the private API is, None without one.
        private_key: What `verify` must say there.
    """

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        """Looks at a server that has started."""
        self.port = server.port
        self.private_port = server.private_port
        self.private_key = server.private_key
        self._server = server
        self._loop = loop

    def statistics(self) -> Statistics:
        """Returns how the server does."""

        async def ask() -> Statistics:
            return self._server.statistics()

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()

    def stop(self) -> None:
        """Ends the server; leaving `running` waits for it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._server.end)


def _stop(started: futures.Future[Running]) -> None:
    if started.exception() is None:
        started.result().stop()


@contextlib.contextmanager
def running(
    config: ServerConfig, host_race: Callable[[Track], Referee] | None = None
) -> Iterator[Running]:
    """Serves in a thread while the block runs.

    >>> with running(ServerConfig(port=0, private_port=None)) as server:
    ...     server.statistics().clients
    0

    Args:
        config: The server's settings; port 0 takes a free one.
        host_race: Makes the referee of a race, see `Server`.

    Raises:
        InputError: A port is in use, or the track does not exist.
        Exception: Whatever has ended the server; raised behind the block.
    """
    started: futures.Future[Running] = futures.Future()
    failed: list[Exception] = []

    def announce(server: Server) -> None:
        started.set_result(Running(server, asyncio.get_running_loop()))

    def work() -> None:
        try:
            event_loops.run(_serve(config, announce, host_race))
        except Exception as error:
            if started.done():
                failed.append(error)
            else:
                started.set_exception(error)

    thread = threading.Thread(target=work, name="donkey-rl-server")
    thread.start()
    try:
        try:
            # In turns: without a time, Ctrl-C would not be heard on Windows.
            while not futures.wait([started], _LISTENS_S).done:
                pass
            server = started.result()
        except KeyboardInterrupt:
            # It may be starting still, and ends as soon as it has.
            started.add_done_callback(_stop)
            raise
        try:
            yield server
        finally:
            server.stop()
    finally:
        thread.join()
    if failed:
        raise failed[0]
