"""Ports: taking them, and letting go of everybody who has come through them."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Collection

from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.serving.connection import Connection, Owner
from donkey_rl.errors import InputError

_BACKLOG = 100

_TURNS_TO_ARRIVE = 3
"""Turns of the event loop from the accepting of a connection to its first callback."""

_LSOF = "lsof -nP -iTCP:"
_WHO = {"linux": "ss -ltnp sport = :", "win32": "netstat -ano | findstr :"}
"""What names the program that holds a port, by system."""

_GOODBYE_S = 0.5
"""What clients have not read in this time after the end is lost."""


async def take(config: ServerConfig, port: int, owner: Owner) -> asyncio.Server:
    """Takes a port; nobody is let in before `start_serving`.

    Args:
        config: The host and how clients are read.
        port: The port, 0 for a free one.
        owner: Who answers.

    Raises:
        InputError: The port is in use, or the address is not one of this machine.
    """
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            lambda: Connection(owner, config.generation, config.tolerant),
            config.host,
            port,
            backlog=_BACKLOG,
            start_serving=False,
        )
    except OSError as error:
        raise InputError(_remedy(config, port, error)) from error


def _remedy(config: ServerConfig, port: int, error: OSError) -> str:
    option = "--port" if port == config.port else "--private-port"
    where = f"Port {port} of {config.host}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is in use. End the program that holds it ('{_WHO.get(sys.platform, _LSOF)}"
            f"{port}' names it), or choose another port: {option} "
            f"{port + 2 if port < 65000 else 9191}."
        )
    if error.errno == errno.EACCES and (port >= 1024 or sys.platform == "win32"):
        # Windows keeps ranges for virtual machines.
        other = 8181 if port > 8999 else 9191
        return f"{where} is kept by the system. Choose another port: {option} {other}."
    if error.errno == errno.EACCES:
        return f"{where} is for the administrator only. Choose one above 1023: {option} 9091."
    reason = error.strerror or str(error)
    return f"{where} cannot be taken: {reason}. Choose an address of this machine with --host."


def port_of(listener: asyncio.Server) -> int:
    """Returns the port that was taken."""
    return int(listener.sockets[0].getsockname()[1])


async def close(listeners: Collection[asyncio.Server]) -> None:
    """Gives ports back.

    A connection that asyncio has accepted and not yet handed over would be lost with its
    listener, so accepting ends first.
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        for link in listener.sockets:
            loop.remove_reader(link.fileno())
    for _ in range(_TURNS_TO_ARRIVE):
        await asyncio.sleep(0)
    for listener in listeners:
        listener.close()


async def hang_up(connections: Collection[Connection]) -> None:
    """Ends connections: what is queued may still be read for a moment."""
    for connection in connections:
        connection.close()
    gone = [connection.closed for connection in connections]
    if not gone:
        return
    await asyncio.wait(gone, timeout=_GOODBYE_S)
    for connection in connections:
        connection.abort()
    await asyncio.wait(gone)
