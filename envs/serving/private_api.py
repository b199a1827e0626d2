"""The private API: what the organiser of a race sees and sets, on a port of its own."""

from __future__ import annotations

import hmac
from typing import Protocol

from donkey_rl.envs.link import commands, reports
from donkey_rl.envs.serving.connection import Connection

WRONG_KEY = "The private key is wrong."
NOT_VERIFIED = "Send 'verify' with the private key first."


class Challenges(Protocol):
    """What the organiser can change in a scene."""

    def set_random_seed(self, seed: int) -> None:
        """Changes the seed of the challenges and lays them out anew."""

    def reset_challenges(self) -> None:
        """Lays the challenges out anew."""


class PrivateApi:
    """Answers the connections of the private port.

    Attributes:
        connections: All that are open.
    """

    def __init__(self, key: str, challenges: Challenges, most: int) -> None:
        """Starts without connections.

        Args:
            key: What `verify` must say.
            challenges: What can be changed.
            most: More connections than this are closed at once.
        """
        self.connections: set[Connection] = set()
        self._verified: set[Connection] = set()
        self._key = key
        self._challenges = challenges
        self._most = most

    def arrived(self, connection: Connection) -> None:
        """Takes a connection, which has yet to say the key."""
        self.connections.add(connection)
        if len(self.connections) > self._most:
            connection.abort()

    def left(self, connection: Connection) -> None:
        """Forgets a connection."""
        self.connections.discard(connection)
        self._verified.discard(connection)

    def received(self, connection: Connection, command: commands.Command) -> None:
        """Follows what the organiser says, once the key was right."""
        if isinstance(command, commands.Verify):
            self._verify(connection, command.private_key)
        elif connection not in self._verified:
            connection.send(reports.PrivateKeyError(NOT_VERIFIED))
        elif isinstance(command, commands.SetRandomSeed):
            self._challenges.set_random_seed(command.seed)
        elif isinstance(command, commands.ResetChallenges):
            self._challenges.reset_challenges()
        else:
            connection.refuse(command, "the private API has no such message.")

    def _verify(self, connection: Connection, key: str) -> None:
        said, right = (text.encode("utf-8", "replace") for text in (key, self._key))
        if hmac.compare_digest(said, right):
            self._verified.add(connection)
            connection.send(reports.Verified())
        else:
            self._verified.discard(connection)
            connection.send(reports.PrivateKeyError(WRONG_KEY))

    def tell(self, report: reports.Report) -> None:
        """Sends an event to everybody who knows the key."""
        for connection in list(self._verified):
            connection.send(report)
