"""A link between racers and a host on this machine that is as bad as is asked for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar

from donkey_rl import event_loops
from donkey_rl.envs.serving import listening
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.race_server.rehearsal.link_conditions import Disturbances, LinkConditions, Way
from donkey_rl.race_server.rehearsal.passage import Passage
from donkey_rl.race_server.rehearsal.sightings import HeldUp, Sightings

_ANSWER_S = 10.0
_PULSE_S = 0.02
_LATE_S = 0.01

AnswerT = TypeVar("AnswerT")


def _answered(done: concurrent.futures.Future[AnswerT]) -> AnswerT:
    """Returns what the link's thread answers.

    Raises:
        DonkeyRLError: It does not come to it.
    """
    try:
        return done.result(_ANSWER_S)
    except TimeoutError as error:
        raise DonkeyRLError(
            f"The rehearsal's link has not answered for {_ANSWER_S:g} s: the machine is too busy. "
            "Hold the rehearsal again with less beside it."
        ) from error


class LinkProxy:
    """Carries connections to a host, and sees all that passes; a thread of its own does it.

    What it draws comes from its seed. Order is kept: a message that is late holds up those behind
    it. Every method may be called from any thread, and returns when it has taken effect (s,
    monotonic).

    Attributes:
        port: Where racers connect, on loopback.
        sightings: What was seen.
    """

    def __init__(
        self,
        host_port: int,
        conditions: LinkConditions,
        seed: int = 0,
        sightings: Sightings | None = None,
    ) -> None:
        """Prepares a link; `with` opens it.

        Args:
            host_port: Of the host, on this machine; nobody need listen yet.
            conditions: How the link is.
            seed: Of delays and losses.
            sightings: Takes what is seen, also from others.
        """
        self.port = 0
        self.sightings = Sightings() if sightings is None else sightings
        self._host_port = host_port
        self._conditions = conditions
        self._disturbances = Disturbances(seed)
        self._passages: set[Passage] = set()
        self._count = 0
        self._ready: concurrent.futures.Future[asyncio.AbstractEventLoop] = (
            concurrent.futures.Future()
        )
        self._over: asyncio.Event | None = None
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._work, name="link proxy", daemon=True)

    def __enter__(self) -> Self:
        """Listens.

        Raises:
            InputError: No port can be had.
        """
        self._thread.start()
        self._loop = _answered(self._ready)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes everything."""
        over = self._over
        if over is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(over.set)
        self._thread.join(_ANSWER_S)

    def silence(self, ways: Iterable[Way], seconds: float) -> float:
        """Lets nothing through for a while; what was sent comes late, and no new connection."""

        def act() -> None:
            for way in ways:
                self._disturbances.silent_until[way] = time.perf_counter() + seconds

        return self._do(act)

    def glue(self, seconds: float) -> float:
        """Passes several messages on in one piece, for a while."""

        def act() -> None:
            self._disturbances.glued_until = time.perf_counter() + seconds

        return self._do(act)

    def break_messages(self, ways: Iterable[Way], count: int) -> float:
        """Cuts the next messages of telemetry, or commands, short."""

        def act() -> None:
            for way in ways:
                self._disturbances.to_break[way] += count

        return self._do(act)

    def poison(self, count: int) -> float:
        """Puts NaN into the next messages of telemetry."""

        def act() -> None:
            self._disturbances.to_poison += count

        return self._do(act)

    def cut(self, *, reset: bool) -> float:
        """Ends all connections at both ends: with a reset, or orderly."""

        def act() -> None:
            for passage in self._passages:
                passage.cut(reset=reset)

        return self._do(act)

    def listen(self, *, on: bool) -> None:
        """Takes connections or refuses them, as a machine does on which nobody listens.

        Raises:
            InputError: Somebody else has taken the port meanwhile.
        """
        done = asyncio.run_coroutine_threadsafe(self._listen(on), self._loop)
        try:
            _answered(done)
        except OSError as error:
            raise InputError(
                f"The port {self.port} of the rehearsal's link is taken: {error.strerror}."
            ) from error

    def calm(self) -> float:
        """Breaks and poisons no further messages, though some were still to be."""

        def act() -> None:
            self._disturbances.to_break.update({"down": 0, "up": 0})
            self._disturbances.to_poison = 0

        return self._do(act)

    @property
    def undone(self) -> int:
        """How many messages are still to be broken or poisoned."""
        return self._disturbances.to_poison + max(self._disturbances.to_break.values())

    def _do(self, act: Callable[[], None]) -> float:
        done: concurrent.futures.Future[float] = concurrent.futures.Future()

        def work() -> None:
            act()
            done.set_result(time.perf_counter())

        self._loop.call_soon_threadsafe(work)
        return _answered(done)

    def _work(self) -> None:
        try:
            event_loops.run(self._serve())
        except OSError as error:
            if not self._ready.done():
                self._ready.set_exception(
                    InputError(f"No port for the rehearsal's link: {error.strerror}.")
                )

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        await self._listen(True)
        pulse = asyncio.create_task(self._feel_pulse())
        self._ready.set_result(asyncio.get_running_loop())
        await self._over.wait()
        pulse.cancel()
        await self._listen(False)
        for passage in self._passages:
            passage.cut(reset=False)
        while self._passages:
            await asyncio.sleep(_PULSE_S)

    async def _listen(self, on: bool) -> None:
        if self._server is not None:
            await listening.close([self._server])
            self._server = None
        if on:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = Passage(self._count, self._conditions, self._disturbances, self.sightings)
        self._count += 1
        self._passages.add(passage)
        try:
            await passage.carry(reader, writer, self._host_port)
        finally:
            self._passages.discard(passage)

    async def _feel_pulse(self) -> None:
        """Notes when this thread does not get its processor's time."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_PULSE_S)
            now = time.perf_counter()
            if now - before - _PULSE_S > _LATE_S:
                self.sightings.held_up.append(HeldUp(now, now - before - _PULSE_S))
