"""The board of a race that is a page: the racer's end of it, which never waits."""

from __future__ import annotations

import collections
import logging
import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from donkey_rl.errors import DonkeyRLError, InputError, StorageError
from donkey_rl.race_server.config import PageConfig
from donkey_rl.race_server.interface import Level
from donkey_rl.race_server.orders import Order
from donkey_rl.race_server.page import messages
from donkey_rl.race_server.page.life import Life
from donkey_rl.race_server.page.messages import Hello, Line, OrderRequest
from donkey_rl.race_server.page.scene import LINES_KEPT
from donkey_rl.race_server.status import CarStatus
from donkey_rl.web_access import Access

LOGGER = logging.getLogger("donkey_rl.race_server")

START_S = 60.0
"""The process of the page must serve after this time (s)."""

HUNG_S = 10.0
"""A process that takes nothing for so long (s) is ended, and another one started."""

_ROUND_S = 1 / 40
"""Newest states go out at most so often (s)."""

_LOOK_S = 0.5
_PAUSES_S = (0.1, 10.0)
_STEADY_S = 30.0
_KEY_BYTES = 16

_Moment = tuple[CarStatus, float]


class Page:
    """Shows how cars are doing in browsers, and takes orders from there.

    The page lives in a process of its own. What is shown goes into a mailbox of which only the
    newest counts; a thread empties it. Where the process dies or hangs, another one takes its
    place, on the same port and with the same token.
    """

    def __init__(
        self,
        config: PageConfig,
        order: Callable[[str, Order], None],
        *,
        remedy: str = "Choose another one in race.yaml (page.host, page.port; port 0 for a free "
        "one).",
    ) -> None:
        """Starts nothing yet.

        Args:
            config: Where to serve.
            order: Called with a car and an order to it, from a thread of its own.
            remedy: What to do where it cannot be served there.
        """
        self._remedy = remedy
        self._access = Access.of(config.host, config.port, config.token)
        self._key = secrets.token_urlsafe(_KEY_BYTES)
        self._order = order
        self._life: Life | None = None
        self._closing = threading.Event()
        self._news = threading.Event()
        # Filled by any thread and emptied by one: single operations, which need no lock.
        self._moments: dict[str, _Moment] = {}
        self._pictures: dict[str, bytes] = {}
        self._lines: collections.deque[Line] = collections.deque(maxlen=LINES_KEPT)
        self._braked: dict[str, bool] = {}
        # Of the sending thread alone: what a new process has to be told.
        self._shown: dict[str, _Moment] = {}
        self._told: collections.deque[Line] = collections.deque(maxlen=LINES_KEPT)
        self._threads = [
            threading.Thread(target=self._send, name="race page", daemon=True),
            threading.Thread(target=self._keep, name="race page watch", daemon=True),
        ]

    @property
    def url(self) -> str:
        """Address of the page, with its token; to be shown to a person, never to a log."""
        return self._access.url

    @property
    def port(self) -> int:
        """The port that it is served on."""
        return self._access.port

    @property
    def pid(self) -> int | None:
        """Number of the process, None where there is none."""
        return self._life.pid if self._life else None

    def show(self, status: CarStatus, picture: bytes | None) -> None:
        """Shows a car, see `Board.show`."""
        if picture is not None:
            self._pictures[status.car] = picture
        self._moments[status.car] = status, time.perf_counter()
        if not self._news.is_set():
            self._news.set()

    def log(self, car: str, level: Level, text: str) -> None:
        """Adds a line to the log, see `Board.log`."""
        kept = text[: messages.MOST_LINE]
        self._lines.append(Line(at=time.time(), car=car, level=level, text=kept))
        self._news.set()

    def __enter__(self) -> Self:
        """Starts to serve; returns itself once the page answers.

        Raises:
            InputError: The port is in use, or the address is not one of this machine.
            StorageError: The page does not come up.
        """
        life = self._start()
        if not life.ready.wait(START_S) or life.ended.is_set():
            life.kill()
            life.end()
            if life.failure:
                raise InputError(life.failure)
            raise StorageError("The page did not come up. Try again, or race without one.")
        self._access = Access(self._access.host, life.port, self._access.token)
        self._life = life
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets the page go."""
        self._closing.set()
        self._news.set()
        sender, keeper = self._threads
        sender.join(1.0)
        life = self._life
        if sender.is_alive() and life is not None:
            life.kill()
        sender.join()
        if life is not None:
            life.end()
        keeper.join()
        if self._life is not None:
            self._life.end()

    def _start(self) -> Life:
        access = self._access
        hello = Hello(
            host=access.host,
            port=access.port,
            token=access.token,
            key=self._key,
            remedy=self._remedy,
        )
        return Life(hello, self._follow, lambda text: LOGGER.warning("The page: %s", text))

    # The sending thread.

    def _send(self) -> None:
        """Empties the mailbox as long as there is somebody to send to."""
        told: Life | None = None
        lost: Life | None = None
        while not self._closing.is_set():
            self._news.wait()
            self._news.clear()
            life = self._life
            if life is None or life is lost:
                continue
            try:
                if life is not told:
                    self._send_all(life)
                    told = life
                self._send_new(life)
            except OSError:
                # It has ended; the newest goes to the next one.
                lost = life
            self._closing.wait(_ROUND_S)

    def _send_all(self, life: Life) -> None:
        """Tells a new process what the one before was told."""
        for line in self._told:
            self._send_line(life, line)
        for status, at in self._shown.values():
            self._send_status(life, status, at, None)

    def _send_new(self, life: Life) -> None:
        while self._lines:
            line = self._lines.popleft()
            self._told.append(line)
            self._send_line(life, line)
        for car in tuple(self._moments):
            moment = self._shown[car] = self._moments.pop(car)
            self._send_status(life, *moment, self._pictures.pop(car, None))

    def _send_line(self, life: Life, line: Line) -> None:
        life.write(messages.LINE, messages.as_json(line.model_dump()))

    def _send_status(
        self, life: Life, status: CarStatus, at: float, picture: bytes | None
    ) -> None:
        braked = self._braked.get(status.car, False)
        life.write(messages.STATUS, messages.status_frame(status, at, braked, picture))

    # The watching thread.

    def _keep(self) -> None:
        """Starts the page again whenever it has ended."""
        life, pause_s = self._life, _PAUSES_S[0]
        began = time.perf_counter()
        while life is not None and self._lives_on(life):
            lasted = time.perf_counter() - began
            pause_s = _PAUSES_S[0] if lasted > _STEADY_S else min(2.0 * pause_s, _PAUSES_S[1])
            self.log("", "warning", f"The page ended{_because(life)}; it is started again.")
            LOGGER.warning("The page ended%s; it is started again.", _because(life))
            life.end()
            self._closing.wait(pause_s)
            began = time.perf_counter()
            life = self._next_life()

    def _lives_on(self, life: Life) -> bool:
        """Waits for the end of a process; returns whether there is to be another."""
        while not life.ended.wait(_LOOK_S):
            if self._closing.is_set():
                return False
            if life.blocked_s > HUNG_S:
                life.kill()
        self._life = None
        return not self._closing.is_set()

    def _next_life(self) -> Life | None:
        """Returns another process once it serves, None where the page is not wanted any more."""
        while not self._closing.is_set():
            try:
                life = self._start()
            except OSError as error:
                LOGGER.warning("The page could not be started: %s.", error.strerror or error)
                self._closing.wait(_PAUSES_S[1])
                continue
            end = time.perf_counter() + START_S
            while not life.ready.wait(_LOOK_S) and time.perf_counter() < end:
                if self._closing.is_set():
                    break
            if not life.ready.is_set():
                life.kill()
            self._life = life
            self._news.set()
            return life
        return None

    # The thread of the process's orders.

    def _follow(self, wanted: OrderRequest) -> None:
        """Passes an order on, unless it comes too late."""
        car = wanted.car or ""
        if wanted.is_void:
            self.log(car, "warning", f"An order came too late and is void: {wanted.do}.")
            return
        try:
            self._order(car, wanted.order)
        except DonkeyRLError as error:
            self.log(car, "error", str(error))
        except Exception as error:
            # Whatever is wrong with one order, the next must come through.
            LOGGER.exception("An order from the page failed.")
            self.log(car, "error", f"The order failed: {wanted.do} ({type(error).__name__}).")
        else:
            if wanted.do == "brake":
                self._braked[car] = wanted.on


def _because(life: Life) -> str:
    return f": {life.failure}" if life.failure else ""
