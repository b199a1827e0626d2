"""What one client did wrong: logged once for each kind, counted for the rest."""

from __future__ import annotations

import collections
import logging

from donkey_rl import formatting

LOGGER = logging.getLogger("donkey_rl.serving")

_MOST_KINDS = 50
"""Beyond these, kinds of mistakes of one client are counted together."""

_OTHERS = "further kinds"


class Complaints:
    """The mistakes of one client.

    Attributes:
        counts: How often each kind was met.
    """

    def __init__(self, who: str) -> None:
        """Starts without any.

        Args:
            who: The client, for the log.
        """
        self.counts: collections.Counter[str] = collections.Counter()
        self._who = who

    def add(self, kind: str, detail: str, times: int = 1) -> None:
        """Counts a mistake, and logs it if it is the first of its kind.

        Args:
            kind: What mistakes are counted together by.
            detail: What was wrong with this one, a sentence.
            times: How many there were.
        """
        kind = formatting.one_line(kind)
        if kind not in self.counts and len(self.counts) >= _MOST_KINDS:
            kind = _OTHERS
        if kind not in self.counts:
            said = formatting.one_line(detail)
            LOGGER.warning("%s: %s The like is counted from now on.", self._who, said)
        self.counts[kind] += times

    def close(self) -> None:
        """Logs how often each repeated mistake was met in all."""
        for kind, count in self.counts.items():
            if count > 1:
                LOGGER.warning("%s: %s: %d times in all.", self._who, kind, count)
