"""The simulator at the other end, as errors name it."""

from __future__ import annotations

import dataclasses

from donkey_rl.errors import (
    LinkClosed,
    LinkNameError,
    LinkProtocolError,
    LinkRefused,
    LinkTimeout,
)


@dataclasses.dataclass(frozen=True)
class Peer:
    """Where a simulator is, and which scene was wanted of it."""

    host: str
    port: int
    scene: str | None

    def refused(self, what: str) -> LinkRefused:
        """Returns the error of nobody answering."""
        return LinkRefused(
            what,
            host=self.host,
            port=self.port,
            scene=self.scene,
            awaited="a connection",
            remedy="Start the simulator; a training or evaluation waits longer for it with "
            "--set link.connect_timeout_s=60.",
        )

    def nameless(self, reason: str) -> LinkNameError:
        """Returns the error of a host whose name leads nowhere.

        Args:
            reason: What the system says of it.
        """
        return LinkNameError(
            f"The host '{self.host}' cannot be found: {reason}",
            host=self.host,
            port=self.port,
            scene=self.scene,
            awaited="a connection",
            remedy="Check the host's name, and whether this machine is in the network.",
        )

    def late(self, what: str, awaited: str, remedy: str = "") -> LinkTimeout:
        """Returns the error of an answer that did not come in time."""
        return LinkTimeout(
            what,
            host=self.host,
            port=self.port,
            scene=self.scene,
            awaited=awaited,
            remedy=remedy or "See whether the simulator still runs, and connect again.",
        )

    def closed(self, what: str, awaited: str) -> LinkClosed:
        """Returns the error of a connection that is gone."""
        return LinkClosed(
            what,
            host=self.host,
            port=self.port,
            scene=self.scene,
            awaited=awaited,
            remedy="See whether the simulator still runs, and connect again.",
        )

    def foreign(self, what: str, awaited: str, remedy: str = "") -> LinkProtocolError:
        """Returns the error of an answer that is not the protocol's, or not what was asked."""
        return LinkProtocolError(
            what,
            host=self.host,
            port=self.port,
            scene=self.scene,
            awaited=awaited,
            remedy=remedy or "See whether a DonkeyCar simulator listens at this port.",
        )
