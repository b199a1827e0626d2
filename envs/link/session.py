"""One connection to a simulator: its bytes, its messages, and errors that name the peer."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable

from donkey_rl.envs.link import commands, reports, transport
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.inbox import Arrival, Inbox
from donkey_rl.envs.link.peer import Peer
from donkey_rl.envs.link.sender import Sender
from donkey_rl.envs.link.statistics import Figures

_NUDGE_S = 0.25
"""A simulator that has sent nothing for so long may wait for a command, as in lock-step."""


class Session:
    """An open connection.

    Attributes:
        config: How it is kept.
        peer: Who is named in errors.
        guid: Who races.
        inbox: What has come.
        scene_names: What the menu offers, empty if it was not seen.
    """

    def __init__(
        self,
        config: LinkConfig,
        guid: str,
        figures: Figures,
        events: deque[reports.Report],
        pauses: Callable[[int], float],
    ) -> None:
        """Connects.

        Args:
            config: Address and deadlines.
            guid: Who races.
            figures: Counts on over all connections of a link.
            events: Where reports go that nobody waits for.
            pauses: Seconds before the n-th new attempt.

        Raises:
            LinkNameError: The host's name cannot be found.
            LinkRefused: Nobody answers.
        """
        self.config = config
        self.guid = guid
        self.scene_names: tuple[str, ...] = ()
        self.peer = Peer(config.host, config.port, config.scene)
        try:
            link = transport.connect(config.host, config.port, config.connect_timeout_s, pauses)
        except (socket.gaierror, UnicodeError) as error:
            # A name that cannot even be asked for, such as `a..b`, is an error of its encoding.
            reason = getattr(error, "strerror", None) or "it is no name"
            raise self.peer.nameless(reason) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise self.peer.refused(
                f"No simulator answers within {config.connect_timeout_s:g} s: {reason}"
            ) from error
        self.inbox = Inbox(self.peer, config.silence_s, figures, events)
        self._transport = transport.Transport(
            link, self.inbox.receive, self.inbox.end, config.answer_timeout_s
        )
        self._sender = Sender(self._transport.send, config.config_spacing_s)

    @property
    def sent_bytes(self) -> int:
        """Bytes sent."""
        return self._sender.sent_bytes

    def send(
        self,
        command: commands.Command,
        *,
        spaced: bool | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Sends a message, whatever comes in meanwhile; see `Sender.send`.

        Raises:
            LinkTimeout: The simulator takes nothing.
            LinkClosed: The connection is gone.
        """
        awaited = f"'{command.TYPE}' to be taken"
        self.inbox.check_open(awaited)
        try:
            self._sender.send(command, spaced=spaced, before=before)
        except TimeoutError as error:
            # Half a message may be on its way: nothing sensible can follow it.
            reason = f"The simulator has taken no byte for {self.config.answer_timeout_s:g} s"
            self.inbox.end(reason)
            self._transport.close()
            raise self.peer.late(reason, awaited) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise self.peer.closed(f"The connection broke: {reason}", awaited) from error

    def numbered(self, command: commands.Command, *, spaced: bool | None = None) -> int:
        """Sends a message; returns how many messages of telemetry had come before.

        Raises:
            LinkError: The simulator cannot be reached.
        """
        found = 0

        def note() -> None:
            nonlocal found
            if isinstance(command, commands.Control):
                found = self.inbox.note_command(command.steering, command.throttle)
            else:
                found = self.inbox.number

        self.send(command, spaced=spaced, before=note)
        return found

    def brake(self) -> int:
        """Brakes fully; returns how many messages of telemetry had come before."""
        return self.numbered(commands.Control(0.0, 0.0, 1.0))

    def next_telemetry(self, after: int, deadline: float, awaited: str) -> Arrival | None:
        """Waits for telemetry, asking for it with the brake where none comes by itself.

        Args:
            after: More than so many messages must have come.
            deadline: Until when to wait (monotonic, s).
            awaited: What errors say was awaited.

        Returns:
            The newest, None if none came in time.

        Raises:
            LinkError: The connection failed.
        """
        while (left := deadline - time.perf_counter()) > 0:
            if self.inbox.wait_telemetry(after, min(_NUDGE_S, left), awaited):
                return self.inbox.take_telemetry(after, 0.0, awaited)
            self.brake()
        return None

    def close(self) -> None:
        """Closes the connection; may be called again."""
        self._transport.close()
