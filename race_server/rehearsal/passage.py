"""One connection of a racer, carried to the host and back message by message."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, cast, get_args

from donkey_rl.envs.link.decoder import read_object
from donkey_rl.race_server.rehearsal.link_conditions import (
    LOSABLE,
    Disturbances,
    LinkConditions,
    Way,
)
from donkey_rl.race_server.rehearsal.sightings import CommandSeen, FrameSeen, Kind, Sightings

_ENDS: dict[Way, bytes] = {"down": b"\n", "up": b"}"}
"""The host ends messages with a newline; a racer's are flat and end with their brace."""

_CHUNK = 1 << 16
_LONGEST = 4 * 1024 * 1024
_MOST_WAITING = 4000
_GLUE_PATIENCE_S = 0.3
_LOOK_S = 0.05
_CONNECT_S = 5.0
_RESET = struct.pack("ii", 1, 0)
_KINDS = frozenset(get_args(Kind))

Piece = tuple[float, bytes, dict[str, Any]]
"""When it is due (s, monotonic), its bytes, what it says (nothing if it cannot be read)."""


class Passage:
    """Carries one connection until either end closes it, or a fault does."""

    def __init__(
        self,
        number: int,
        conditions: LinkConditions,
        disturbances: Disturbances,
        sightings: Sightings,
    ) -> None:
        """Prepares a passage.

        Args:
            number: Of the connection.
            conditions: How the link is.
            disturbances: What is wrong with it, now and later.
            sightings: Takes what is seen.
        """
        self.number = number
        self._conditions = conditions
        self._disturbances = disturbances
        self._sightings = sightings
        self._ended = False
        self._writers: list[asyncio.StreamWriter] = []
        self._queues: dict[Way, asyncio.Queue[Piece | None]] = {
            "down": asyncio.Queue(_MOST_WAITING),
            "up": asyncio.Queue(_MOST_WAITING),
        }
        self._cut: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def cut(self, *, reset: bool) -> None:
        """Ends the connection at both ends: with a reset, or orderly."""
        if not self._cut.done():
            self._cut.set_result(reset)

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        """Connects to the host and carries until the end.

        Args:
            reader: What the racer says.
            writer: What it is told.
            port: Of the host, on this machine.
        """
        self._writers.append(writer)
        await self._hush("up")
        if reader.at_eof():
            # Whoever wanted to connect has given up meanwhile.
            self._close(reset=False)
            return
        try:
            async with asyncio.timeout(_CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError):
            self._close(reset=True)
            return
        self._writers.append(far_writer)
        self._note("opened")
        works = [
            asyncio.create_task(work)
            for work in (
                self._read("down", far_reader),
                self._read("up", reader),
                self._write("down", writer),
                self._write("up", far_writer),
            )
        ]
        ends: list[asyncio.Future[Any]] = [*works[2:], self._cut]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            failed = any(each.exception() is not None for each in done)
            reset = failed or (self._cut in done and self._cut.result())
            self._note_end("cut" if self._cut in done else "by an end")
            if self._cut not in done:
                # An end that is silent to the other cannot tell it of its going either.
                await self._hush("up")
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
        self._close(reset=reset)

    def _note(self, kind: Kind, detail: str = "") -> None:
        self._sightings.note(kind, detail, self.number)

    def _note_end(self, detail: str) -> None:
        """Notes once that the racer has no connection any more."""
        if not self._ended:
            self._ended = True
            self._note("closed", detail)

    def _close(self, *, reset: bool) -> None:
        for writer in self._writers:
            if reset:
                link = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()

    async def _hush(self, way: Way) -> None:
        """Waits while nothing gets through."""
        while (left := self._disturbances.silent_until[way] - time.perf_counter()) > 0.0:
            await asyncio.sleep(min(left, _LOOK_S))

    async def _read(self, way: Way, reader: asyncio.StreamReader) -> None:
        """Takes messages as they come and gives each its time; None stands for the end."""
        queue, rest, due = self._queues[way], bytearray(), 0.0
        error: OSError | None = None
        while True:
            if way == "down":
                # What cannot get through waits at the host. Commands are looked at in any case.
                await self._hush(way)
            try:
                data = await reader.read(_CHUNK)
            except OSError as failure:
                data, error = b"", failure
            now = time.perf_counter()
            rest += data
            end = rest.rfind(_ENDS[way]) + 1
            if not data or len(rest) > _LONGEST:
                end = len(rest)
            for piece in _pieces(bytes(rest[:end]), _ENDS[way]):
                fields = read_object(piece) or {}
                if way == "up":
                    self._see(fields, now, whole=True)
                if not self._is_lost(fields):
                    due = max(due, now + self._conditions.delay_s(self._disturbances.rng))
                    await queue.put((due, piece, fields))
            del rest[:end]
            if not data:
                if way == "up":
                    self._note_end("by the racer")
                break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await queue.put(None)
        if error is not None:
            raise error

    def _is_lost(self, fields: Mapping[str, Any]) -> bool:
        kind = fields.get("msg_type")
        lost = kind in LOSABLE and self._disturbances.rng.random() < self._conditions.loss
        if lost:
            self._sightings.lost[str(kind)] = self._sightings.lost.get(str(kind), 0) + 1
        return lost

    async def _write(self, way: Way, writer: asyncio.StreamWriter) -> None:
        """Passes messages on when their time has come, several in one piece where glued."""
        queue, over = self._queues[way], False
        while not over:
            batch: list[Piece] = []
            count = 1
            while len(batch) < count and not over:
                try:
                    async with asyncio.timeout(None if not batch else _GLUE_PATIENCE_S):
                        piece = await queue.get()
                except TimeoutError:
                    break
                over = piece is None
                if piece is not None:
                    batch.append(piece)
                    await asyncio.sleep(max(0.0, piece[0] - time.perf_counter()))
                    count = max(count, self._disturbances.glued(time.perf_counter()))
            await self._hush(way)
            if batch:
                writer.write(self._passed(way, batch))
                await writer.drain()

    def _passed(self, way: Way, batch: list[Piece]) -> bytes:
        """Returns the bytes that some messages become on the way."""
        found = []
        for _, piece, fields in batch:
            data = self._disturbances.disturbed(way, piece, str(fields.get("msg_type")))
            if way == "down":
                self._see(fields, time.perf_counter(), whole=data is piece)
            found.append(data.rstrip() if piece is not batch[-1][1] else data)
        return b"".join(found)

    def _see(self, fields: Mapping[str, Any], now: float, *, whole: bool) -> None:
        """Keeps what a message says."""
        kind = fields.get("msg_type")
        if kind == "telemetry":
            told = _number(fields, "time"), _number(fields, "speed")
            self._sightings.frames.append(FrameSeen(now, self.number, *told, whole))
        elif kind == "control":
            steering, throttle = _number(fields, "steering"), _number(fields, "throttle")
            brake = _number(fields, "brake")
            self._sightings.commands.append(
                CommandSeen(now, self.number, steering, throttle, brake)
            )
        elif kind in _KINDS:
            self._note(cast(Kind, kind), str(fields.get("lap_time", "")))


def _pieces(data: bytes, end: bytes) -> list[bytes]:
    """Returns messages with their ends; what is left has none."""
    *whole, rest = data.split(end)
    return [each + end for each in whole] + ([rest] if rest else [])


def _number(fields: Mapping[str, Any], name: str) -> float:
    try:
        return float(fields[name])
    except (KeyError, TypeError, ValueError):
        return math.nan
