"""One client's connection: bytes in, bytes out, and a queue that cannot grow without bound."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from donkey_rl.envs.link import commands, parsers, reports, wire
from donkey_rl.envs.serving.complaints import LOGGER, Complaints
from donkey_rl.errors import MessageError

QUEUE_HIGH = 64 * 1024
QUEUE_LOW = 16 * 1024
"""Bytes waiting for a reader: above the first, frames wait; below the second, they go on."""

MOST_QUEUED = 1024 * 1024
"""A client that leaves more than this unread (bytes) is disconnected."""

_KERNEL_QUEUE = 256 * 1024
"""The system's own send buffer: frames that lie there can no longer be replaced by newer ones."""

_KERNEL_INBOX = 32 * 1024
"""The system's receive buffer: what is read at once holds up all others while it is parsed."""

_AT_ONCE = 16
_MOST_USELESS = 1000
"""Pieces without a message among them in a second, above which a client is disconnected."""

_SHARE = 4.0
"""A client whose bytes take time to read waits this many times as long before the next."""

_LEAST_PAUSE_S = 0.002
"""What takes less of the loop (s) is waited for by nobody."""


class Owner(Protocol):
    """Whoever answers a client."""

    def arrived(self, connection: Connection) -> None:
        """A client has connected."""

    def received(self, connection: Connection, command: commands.Command) -> None:
        """A client has sent a message that fits the protocol."""

    def left(self, connection: Connection) -> None:
        """A client has gone."""


class Connection(asyncio.Protocol):
    """One client.

    Events are sent always, frames only while the client keeps up: the newest one waits, older
    ones are dropped.

    Attributes:
        name: The client's address, for the log.
        heard: When something was received last (s of the loop's clock).
        frames: Frames handed to the system.
        frames_dropped: Frames that gave way to newer ones.
        complaints: What the client did wrong.
        closed: Done when the connection is gone.
    """

    def __init__(self, owner: Owner, generation: int, tolerant: bool) -> None:
        """Prepares for a connection.

        Args:
            owner: Who answers.
            generation: Whose parser reads the client's bytes.
            tolerant: Whether newlines and numbers are taken as well.
        """
        self.name = "?"
        self.heard = 0.0
        self.frames = 0
        self.frames_dropped = 0
        self.complaints = Complaints(self.name)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._strings_only = not tolerant
        self._parser = parsers.of_generation(generation, tolerant)
        self._unread: deque[Mapping[str, Any]] = deque()
        self._dropped = self._useless = 0
        self._counted_from = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._full = False
        self._beaten = 0.0
        self._waiting: dict[str, Any] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes over an accepted socket."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"A stream is expected. Received: {type(transport).__name__}.")
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.name = f"{peer[0]}:{peer[1]}" if peer else "?"
        self.complaints = Complaints(self.name)
        self.heard = asyncio.get_running_loop().time()
        transport.set_write_buffer_limits(high=QUEUE_HIGH, low=QUEUE_LOW)
        link = transport.get_extra_info("socket")
        if link is not None:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_QUEUE)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_INBOX)
        self._owner.arrived(self)

    def data_received(self, data: bytes) -> None:
        """Reads what came and hands it on message by message."""
        self.heard = asyncio.get_running_loop().time()
        began = time.perf_counter()
        pieces = self._parser.feed(data)
        messages = [fields for fields in pieces if fields]
        dropped = sum(self._parser.dropped.values())
        if messages or self.heard - self._counted_from > 1.0:
            self._useless, self._counted_from = 0, self.heard
        if not messages:
            self._useless += len(pieces) + dropped - self._dropped
        self._unread.extend(messages)
        spent = time.perf_counter() - began
        if spent > _LEAST_PAUSE_S and self._transport is not None:
            self._transport.pause_reading()
            loop = asyncio.get_running_loop()
            self._pause = loop.call_later(_SHARE * spent, self._rested)
        self._read_some()
        self._complain(dropped)
        if self._useless > _MOST_USELESS and self._transport is not None:
            LOGGER.warning(
                "%s: disconnected, because it sent %d pieces in a second that are no message.",
                *(self.name, self._useless),
            )
            self._transport.abort()

    def _complain(self, dropped: int) -> None:
        """Notes what the parser has dropped by now."""
        if dropped > self._dropped:
            reasons = ", ".join(sorted(self._parser.dropped))
            self.complaints.add(
                "unreadable messages",
                f"Sent what this simulator's parser drops: {reasons}.",
                dropped - self._dropped,
            )
            self._dropped = dropped

    def _rested(self) -> None:
        """The others have had their turns: reading goes on."""
        self._pause = None
        if self._transport is not None and self.is_open and not self._unread:
            self._transport.resume_reading()

    def _read_some(self) -> None:
        """Hands on a few messages: cars drive and frames leave between them and the rest."""
        for _ in range(min(_AT_ONCE, len(self._unread))):
            if not self.is_open:
                return
            self._read(self._unread.popleft())
        if self._transport is None or not self.is_open:
            return
        if self._unread:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_some)
        elif self._pause is None:
            self._transport.resume_reading()

    def _read(self, fields: Mapping[str, Any]) -> None:
        try:
            command = commands.parse(fields, strings_only=self._strings_only)
        except MessageError as error:
            self.complaints.add(f"{error.type_name}.{error.field}", f"{error} Ignored.")
            return
        self._owner.received(self, command)

    def refuse(self, command: commands.Command, reason: str) -> None:
        """Logs that a message was understood and not followed.

        Args:
            command: The message.
            reason: Why not, a sentence.
        """
        self.complaints.add(f"{command.TYPE} refused", f"'{command.TYPE}' is ignored: {reason}")

    def connection_lost(self, error: Exception | None) -> None:
        """Lets go of a connection that has ended, by whichever side."""
        self._waiting = None
        self._unread.clear()
        if self._pause is not None:
            self._pause.cancel()
        self._transport = None
        self._owner.left(self)
        self.complaints.close()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The client does not keep up: frames wait."""
        self._full = True

    def resume_writing(self) -> None:
        """The client has caught up: the newest frame goes out."""
        self._full = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.send_frame(waiting)

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def queued(self) -> int:
        """Bytes that wait for the client to read."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, report: reports.Report) -> None:
        """Sends an event; a client that reads none of them is disconnected in the end."""
        self.send_fields(reports.to_fields(report))

    def send_fields(self, fields: Mapping[str, Any]) -> None:
        """Sends an event by its fields, see `send`."""
        if self._transport is None or not self.is_open:
            return
        self._transport.write(wire.encode(fields))
        if self.queued > MOST_QUEUED:
            LOGGER.warning(
                "%s: disconnected, because it left %d kB unread.", self.name, self.queued // 1024
            )
            self._transport.abort()

    def send_frame(self, fields: dict[str, Any]) -> None:
        """Sends telemetry, or keeps it until the client has read what came before.

        What a dropped frame had to say about a contact goes into the newer one.
        """
        if self._transport is None or not self.is_open:
            return
        if not self._full:
            self.frames += 1
            self._transport.write(wire.encode(fields))
            return
        if self._waiting is not None:
            self.frames_dropped += 1
            if fields.get("hit") == "none":
                fields["hit"] = self._waiting["hit"]
        self._waiting = fields

    def beat(self, fields: Mapping[str, Any], silence_s: float) -> None:
        """Sends a sign of life to a client that has said nothing for so long (s)."""
        now = asyncio.get_running_loop().time()
        if now - max(self.heard, self._beaten) >= silence_s and not self._full:
            self._beaten = now
            self.send_fields(fields)

    def forget_frame(self) -> None:
        """Drops the frame that waits, since it shows a scene that is gone."""
        self._waiting = None

    def close(self) -> None:
        """Ends the connection: orderly, or at once if the client has stopped reading."""
        if self._transport is not None:
            self._transport.abort() if self._full else self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()
