"""A car at a race host, for a loop that never waits for long.

`SimulatorLink` waits until there is a car and for the frame that follows a command. A race host
gives and takes cars as it likes, and a car must brake whatever its connection does: here every
wait is short, what the host says is handed on in its order, and commands may come from any thread.
"""

from __future__ import annotations

import time
import uuid
from collections import deque

from donkey_rl.envs.link import commands, life_cycle, reports
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.frame import Frame
from donkey_rl.envs.link.peer import Peer
from donkey_rl.envs.link.session import Session
from donkey_rl.envs.link.statistics import Figures, Statistics
from donkey_rl.errors import MessageError

_MOST_REPORTS = 1000
_AGAIN_S = 2.0
"""With useless pictures alone for so long the camera is configured once more."""

_USELESS_S = 6.0
"""After so long there will be none."""


class RaceLink:
    """One car of a race host.

    Every failure is a `LinkError`. One thread uses it; `control`, `close` and `statistics` may be
    called from others meanwhile.

    Attributes:
        config: How the connection is kept; with what `configure` has changed.
        guid: Who races, the same on every connection.
    """

    def __init__(self, config: LinkConfig) -> None:
        """Prepares a connection; `open` makes it."""
        self.config = config
        self.guid = config.racer.guid or str(uuid.uuid4())
        self._peer = Peer(config.host, config.port, config.scene)
        self._figures = Figures()
        self._reports: deque[reports.Report] = deque(maxlen=_MOST_REPORTS)
        self._session: Session | None = None
        self._patient_until = 0.0
        self._begin_pictures(0)

    def _begin_pictures(self, number: int) -> None:
        """Frames count from the next one on, and pictures are awaited anew."""
        self._taken = number
        self._useless_since: float | None = None
        self._asked_again = False

    def open(self) -> None:
        """Connects; what the host says then, `reports` tells.

        Raises:
            LinkRefused: Nobody answers.
        """
        self.close()
        self._figures.restart()
        # What was said on a connection that is gone means nothing on another one.
        self._reports = deque(maxlen=_MOST_REPORTS)
        self._patient_until = 0.0
        self._begin_pictures(0)
        # One attempt: whoever calls this decides when to try again.
        self._session = Session(
            self.config, self.guid, self._figures, self._reports, lambda attempt: float("inf")
        )

    def close(self) -> None:
        """Closes the connection at once; may be called again."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            self._figures.sent_bytes += session.sent_bytes

    def reports(self) -> tuple[reports.Report, ...]:
        """Takes what was said beside telemetry, oldest first.

        The menu, `need_car_config` and `car_loaded` want an answer: `load_scene`, `introduce`,
        `configure`.
        """
        found = []
        while self._reports:
            found.append(self._reports.popleft())
        return tuple(found)

    def load_scene(self) -> None:
        """Has the menu load the scene; see `life_cycle.load_scene`."""
        life_cycle.load_scene(self._open())
        self._patient_until = time.perf_counter() + self.config.load_timeout_s

    def introduce(self) -> None:
        """Brakes, and tells the host who drives what; see `life_cycle.introduce`."""
        session = self._open()
        session.brake()
        life_cycle.introduce(session)

    def configure(self, config: LinkConfig | None = None) -> None:
        """Brakes, and mounts everything on the car; frames come once they have the right size.

        Args:
            config: What to mount from now on; as before by default.

        Raises:
            LinkError: The connection failed.
        """
        self.config = config or self.config
        session = self._open()
        session.config = self.config
        self._patient_until = 0.0
        self._begin_pictures(life_cycle.mount(session))

    def poll(self, timeout_s: float) -> Frame | None:
        """Waits for the next frame; if several came it is the newest.

        Args:
            timeout_s: How long; None comes after it, and also if a picture could not be used.

        Raises:
            LinkProtocolError: What comes are no pictures of the wanted size, or is no protocol.
            LinkError: The connection failed, or is silent.
        """
        session = self._open()
        inbox = session.inbox
        patient = time.perf_counter() < self._patient_until
        if not inbox.wait_telemetry(self._taken, timeout_s, "telemetry", patient=patient):
            return None
        arrival = inbox.take_telemetry(self._taken, 0.0, "telemetry")
        self._taken = arrival.number
        try:
            frame = Frame.of(arrival)
        except MessageError as error:
            inbox.note_dropped("telemetry: image")
            self._use_nothing(session, f"Its pictures cannot be used: {error}")
            return None
        wanted = self.config.camera.shape
        if frame.image.shape != wanted:
            self._use_nothing(session, life_cycle.wrong_size(frame.image.shape, wanted))
            return None
        self._useless_since = None
        self._asked_again = False
        return frame

    def _use_nothing(self, session: Session, complaint: str) -> None:
        """A picture was of no use; after a while the camera is configured again."""
        now = time.perf_counter()
        if self._useless_since is None:
            self._useless_since = now
        waited = now - self._useless_since
        if waited > _USELESS_S:
            raise self._peer.foreign(
                complaint, "telemetry", "Update the simulator: it ignores cam_config."
            )
        if waited > _AGAIN_S and not self._asked_again:
            self._asked_again = True
            life_cycle.mount(session)

    def control(self, steering: float, throttle: float, brake: float) -> None:
        """Sends a command at once, from any thread.

        Args:
            steering: -1 to 1, to the right is positive.
            throttle: -1 to 1.
            brake: 0 to 1.

        Raises:
            LinkError: The connection failed, or takes no byte.
        """
        self._open().numbered(commands.Control(steering, throttle, brake))

    def reset_car(self) -> None:
        """Asks for the car to be put back on its start.

        Raises:
            LinkError: The connection failed.
        """
        self._open().send(commands.ResetCar())

    def statistics(self) -> Statistics:
        """Returns how the connections have done, all together."""
        session = self._session
        if session is None:
            return self._figures.snapshot({}, 0)
        return session.inbox.statistics(session.sent_bytes)

    def _open(self) -> Session:
        session = self._session
        if session is None:
            raise self._peer.closed("The connection is not open", "a connection")
        return session
