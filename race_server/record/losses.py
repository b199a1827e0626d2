"""How often the connection was lost in a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Losses:
    """Counts by the lines of kind `link`.

    The last loss of all is the end of the race: it counts once something follows it.

    Attributes:
        count: Losses so far.
    """

    def __init__(self) -> None:
        """Begins without a connection."""
        self.count = 0
        self._connected = self._lost = False

    def take(self, fields: Mapping[str, Any]) -> None:
        """Takes the next line's fields; figures of the connection say nothing here."""
        state = fields.get("state")
        if state == "figures":
            return
        self.count += self._lost
        # Attempts that come to nothing are noted as losses as well.
        self._lost = state == "lost" and self._connected
        self._connected = state == "connected" or (self._connected and state != "lost")
