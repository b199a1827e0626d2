"""What a person's page and the drive have between them: commands one way, frames the other.

The page lives in the thread of its server, the car in the main thread. A command is in force for
as long as it is fresh; after that the car brakes, because nobody may be looking any more.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

FRESH_S = 0.3
"""A command that is older than this brakes the car (s)."""

_FRAMES_REMEMBERED = 64

Wish = Literal["reset", "pause", "record"]
"""What a person asks for beside steering."""


class Controls(NamedTuple):
    """What a person does with the car.

    Attributes:
        steering: -1 (left) to 1 (right).
        throttle: -1 (backwards) to 1.
        brake: 0 to 1; it brings the car to rest and never pushes it back.
    """

    steering: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0


BRAKING = Controls(brake=1.0)


class Held(NamedTuple):
    """The command in force.

    Attributes:
        controls: What the car does.
        latency_s: Time from the publishing of the newest frame to the first command that had
            seen it (s); where there is none yet, since the frame that was answered last was
            published; NaN before the first command.
        answered: Whether the newest frame was answered, by somebody who is still there.
    """

    controls: Controls
    latency_s: float
    answered: bool


@dataclasses.dataclass(frozen=True)
class Shown:
    """One frame for the page.

    Attributes:
        number: Counts up from 1.
        picture: A JPEG file.
        state: What stands beside it, as JSON values.
    """

    number: int
    picture: bytes
    state: Mapping[str, Any]


class Cockpit:
    """Passes commands, wishes and frames between two threads.

    Attributes:
        listener: Called from the drive's thread when there is a new frame to show.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins with nobody at the wheel.

        Args:
            clock: Returns seconds.
        """
        self.listener: Callable[[], None] = _nobody
        self._clock = clock
        self._changed = threading.Condition()
        self._controls = BRAKING
        self._received = -math.inf
        self._shown: Shown | None = None
        self._published: collections.OrderedDict[int, float] = collections.OrderedDict()
        self._answered, self._latency = 0, math.nan
        self._wishes: list[Wish] = []
        self._seats, self._alone_since = 0, math.inf

    # The page's side.

    def sit(self) -> None:
        """Somebody has opened the page."""
        with self._changed:
            self._seats += 1

    def rise(self) -> None:
        """Somebody has closed the page."""
        with self._changed:
            self._seats -= 1
            self._alone_since = self._clock()

    def command(self, controls: Controls, seen: int) -> None:
        """Takes a command.

        Args:
            controls: What the car is to do.
            seen: Number of the newest frame that its sender has shown, 0 for none.
        """
        with self._changed:
            now = self._clock()
            self._controls, self._received = controls, now
            if seen > self._answered and seen in self._published:
                self._answered = seen
                self._latency = now - self._published[seen]
            self._changed.notify_all()

    def release(self) -> None:
        """Whoever drove has let go: the car brakes at once."""
        with self._changed:
            self._controls = BRAKING

    def wish(self, wish: Wish) -> None:
        """Asks for something beside steering."""
        with self._changed:
            self._wishes.append(wish)
            self._changed.notify_all()

    @property
    def shown(self) -> Shown | None:
        """The newest frame."""
        return self._shown

    # The drive's side.

    def publish(self, picture: bytes, state: Mapping[str, Any]) -> None:
        """Shows a frame; one that nobody has taken yet gives way to it."""
        with self._changed:
            number = self._shown.number + 1 if self._shown else 1
            self._published[number] = self._clock()
            if len(self._published) > _FRAMES_REMEMBERED:
                self._published.popitem(last=False)
            self._shown = Shown(number, picture, state)
        self.listener()

    def held(self) -> Held:
        """Returns the command that is in force now."""
        with self._changed:
            now = self._clock()
            fresh = now - self._received <= FRESH_S
            newest = self._shown.number if self._shown else 0
            answered = fresh and self._answered == newest
            latency = self._latency
            if not answered:
                latency = now - self._published.get(self._answered, math.nan)
            return Held(self._controls if fresh else BRAKING, latency, answered)

    def wait_for_answer(self, until: float) -> None:
        """Returns when the newest frame is answered, or at a time of the clock (s)."""
        with self._changed:
            newest = self._shown.number if self._shown else 0
            while self._answered < newest and not self._wishes:
                left = until - self._clock()
                if left <= 0.0:
                    return
                self._changed.wait(left)

    def wait_for_wish(self, until: float) -> None:
        """Returns when something is asked for, or at a time of the clock (s)."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._wishes), max(0.0, until - self._clock()))

    def take_wishes(self) -> list[Wish]:
        """Returns what was asked for since the last call."""
        with self._changed:
            wishes, self._wishes = self._wishes, []
            return wishes

    @property
    def silent_s(self) -> float:
        """Time since the last command (s)."""
        with self._changed:
            return self._clock() - self._received

    @property
    def alone_s(self) -> float:
        """How long the last page has been closed (s), at most 0 where none was."""
        with self._changed:
            return 0.0 if self._seats else self._clock() - self._alone_since


def _nobody() -> None:
    """Nobody looks."""
