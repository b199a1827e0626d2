"""A car at the other end of a connection, with a deadline on every wait."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
import uuid
from collections import deque
from types import TracebackType
from typing import Self

from donkey_rl.envs.link import commands, life_cycle, reports, transport
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.frame import Frame
from donkey_rl.envs.link.inbox import Arrival
from donkey_rl.envs.link.peer import Peer
from donkey_rl.envs.link.session import Session
from donkey_rl.envs.link.statistics import Figures, Statistics
from donkey_rl.errors import (
    ActionError,
    LinkClosed,
    LinkError,
    LinkTimeout,
    MessageError,
)

__all__ = ["Frame", "SimulatorLink"]

_MOST_EVENTS = 1000
_BAD_IN_A_ROW = 10
_NODE_S = 1.0
"""A node outside the path is never answered."""


class SimulatorLink:
    """One car of a simulator.

    Every failure is a `LinkError` that names host, port, scene and what was awaited. One thread
    at a time may use it.

    Attributes:
        config: How the connection is kept.
        guid: Who races, the same on every connection.
    """

    def __init__(self, config: LinkConfig) -> None:
        """Prepares a connection; `open` makes it."""
        self.config = config
        self.guid = config.racer.guid or str(uuid.uuid4())
        self._peer = Peer(config.host, config.port, config.scene)
        self._figures = Figures()
        self._events: deque[reports.Report] = deque(maxlen=_MOST_EVENTS)
        self._pauses = transport.Pauses(config.seed)
        self._session: Session | None = None
        self._floor = 0
        self._bad = 0
        self._reconnected = False

    def __enter__(self) -> Self:
        """Opens the connection."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        self.close()

    def open(self) -> None:
        """Connects and goes on until the car sends pictures of the wanted size.

        Raises:
            UnknownNameError: The simulator does not know the scene.
            LinkError: It does not answer, or not as it should.
        """
        self.close()
        self._figures.restart()
        self._session = Session(
            self.config, self.guid, self._figures, self._events, self._pauses.before
        )
        self._floor = self._bad = 0
        try:
            life_cycle.enter(self._session)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection at once; may be called again."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            self._figures.sent_bytes += session.sent_bytes

    def reconnect(self) -> None:
        """Closes the connection and makes it anew, everything configured as before.

        Raises:
            LinkError: It cannot be made; the last attempt's error.
        """
        for attempt in range(max(1, self.config.reconnect_attempts)):
            if attempt:
                threading.Event().wait(self._pauses.before(attempt))
            try:
                self.open()
            except LinkError:
                if attempt + 1 >= self.config.reconnect_attempts:
                    raise
            else:
                break
        self._figures.reconnects += 1
        self._reconnected = True

    def control(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        """Sends a command at once.

        Args:
            steering: -1 to 1, to the right is positive.
            throttle: -1 to 1.
            brake: 0 to 1.

        Raises:
            ActionError: A value is not finite.
            LinkError: The connection failed.
        """
        if not (math.isfinite(steering) and math.isfinite(throttle) and math.isfinite(brake)):
            raise ActionError(
                f"Steering, throttle and brake must be finite. "
                f"Received: {steering}, {throttle}, {brake}."
            )
        session = self._attended()
        self._floor = session.numbered(commands.Control(steering, throttle, brake))

    def next_frame(self, timeout_s: float | None = None) -> Frame:
        """Waits for telemetry that is newer than the last frame and than the last command.

        If several messages came meanwhile the newest is returned, with what all of them touched.

        Args:
            timeout_s: How long to wait; `answer_timeout_s` by default.

        Raises:
            LinkTimeout: None comes.
            LinkError: The connection failed, or the pictures are of another size.
        """
        try:
            return self._take(self.config.answer_timeout_s if timeout_s is None else timeout_s)
        except (LinkClosed, LinkTimeout):
            if not self.config.reconnect_attempts or self._session is None:
                raise
        self.reconnect()
        # A simulator in lock-step sends nothing by itself; a reset always ends with a frame.
        return self._reset()

    def reset(self) -> Frame:
        """Puts the car at rest on its start; returns the first frame that shows it there.

        Raises:
            LinkTimeout: The car does not come to rest on its start.
            LinkError: The connection failed.
        """
        try:
            return self._reset()
        except (LinkClosed, LinkTimeout):
            if not self.config.reconnect_attempts or self._session is None:
                raise
        self.reconnect()
        return self._reset()

    def _reset(self) -> Frame:
        while True:
            session = self._attended()
            arrival = life_cycle.reset(session)
            self._floor = arrival.number
            frame = self._frame(session, arrival)
            if frame is not None:
                return frame

    def _take(self, timeout_s: float) -> Frame:
        deadline = time.perf_counter() + timeout_s
        skipped, hits = 0, tuple[str, ...]()
        while True:
            session = self._attended(asks=True)
            left = max(0.0, deadline - time.perf_counter())
            arrival = session.inbox.take_telemetry(self._floor, left, "telemetry")
            skipped, hits = skipped + arrival.skipped, hits + arrival.hits
            frame = self._frame(session, arrival._replace(skipped=skipped, hits=hits))
            if frame is not None:
                return frame
            skipped += 1

    def _frame(self, session: Session, arrival: Arrival) -> Frame | None:
        """Decodes the pictures; None if they cannot be used and others may follow.

        Raises:
            LinkProtocolError: They are of another size, or many in a row could not be decoded.
        """
        try:
            frame = Frame.of(arrival)
        except MessageError as error:
            session.inbox.note_dropped("telemetry: image")
            self._bad += 1
            if self._bad >= _BAD_IN_A_ROW:
                raise self._peer.foreign(
                    f"{self._bad} pictures in a row cannot be used: {error}", "telemetry"
                ) from error
            return None
        self._bad = 0
        if frame.image.shape != self.config.camera.shape:
            if session.inbox.has_calls:
                return None
            raise self._peer.foreign(
                life_cycle.wrong_size(frame.image.shape, self.config.camera.shape),
                "telemetry",
                "Another client may have loaded a scene: connect again.",
            )
        reconnected, self._reconnected = self._reconnected, False
        return dataclasses.replace(frame, reconnected=reconnected)

    def events(self) -> tuple[reports.Report, ...]:
        """Takes what was reported beside telemetry, oldest first; the newest 1000 are kept."""
        found = []
        while self._events:
            found.append(self._events.popleft())
        return tuple(found)

    def statistics(self) -> Statistics:
        """Returns how the connection has done, those before a reconnection included."""
        if self._session is None:
            return self._figures.snapshot({}, 0)
        return self._session.inbox.statistics(self._session.sent_bytes)

    def node_position(self, index: int) -> reports.NodePosition | None:
        """Asks for a node of the path; None where the simulator does not answer.

        Raises:
            LinkError: The connection failed.
        """
        session = self._attended()
        session.inbox.forget_answers(reports.NodePosition)
        session.send(commands.GetNodePosition(index))
        deadline = time.perf_counter() + _NODE_S
        while (left := deadline - time.perf_counter()) > 0:
            found = session.inbox.find_answer(reports.NodePosition, left, "node_position")
            if found is not None and found.index == index:
                return found
        return None

    def set_position(self, x: float, y: float, z: float, yaw_rad: float) -> None:
        """Puts the car elsewhere, as fast as it was.

        Args:
            x: Unity units, as `y` and `z`.
            y: Height.
            z: Unity units.
            yaw_rad: Clockwise from +Z.

        Raises:
            LinkError: The connection failed.
        """
        turned = (0.0, math.sin(yaw_rad / 2.0), 0.0, math.cos(yaw_rad / 2.0))
        self._attended().send(commands.SetPosition(x, y, z, *turned))

    def regen_road(self, style: int, seed: int, turn_increment: float) -> None:
        """Has a new random road laid.

        Raises:
            LinkError: The connection failed.
        """
        self._attended().send(commands.RegenRoad(style, seed, turn_increment))

    def step_mode(self, synchronous: bool, time_step: float) -> None:
        """Asks for lock-step with steps of `time_step` (s), or for the simulator's own clock.

        Raises:
            LinkError: The connection failed.
        """
        mode = "synchronous" if synchronous else "asynchronous"
        self._attended().send(commands.StepMode(mode, time_step))

    def protocol_version(self) -> str | None:
        """Asks for the version of the protocol; None where the simulator does not answer.

        Raises:
            LinkError: The connection failed.
        """
        session = self._attended()
        session.inbox.forget_answers(reports.ProtocolVersion)
        session.send(commands.GetProtocolVersion())
        found = session.inbox.find_answer(reports.ProtocolVersion, _NODE_S, "protocol_version")
        return found.version if found is not None else None

    def scene_names(self) -> tuple[str, ...]:
        """Returns the scenes that can be loaded, as the menu told; empty where none was seen."""
        return self._session.scene_names if self._session is not None else ()

    def exit_scene(self) -> None:
        """Has the simulator go back to its menu; `open` then loads a scene again.

        Raises:
            LinkError: The connection failed.
        """
        self._attended().send(commands.ExitScene())

    def _attended(self, *, asks: bool = False) -> Session:
        """Returns the open connection, after what the simulator wants of it.

        Args:
            asks: Whether a frame is awaited next: setting up a new car has used those that came,
                and in lock-step no other follows without a command.

        Raises:
            LinkClosed: It is not open.
            LinkError: It failed.
        """
        if self._session is None:
            raise self._peer.closed("The connection is not open", "a connection")
        if self._session.inbox.has_calls and life_cycle.attend(self._session) and asks:
            self._floor = self._session.brake()
        return self._session
