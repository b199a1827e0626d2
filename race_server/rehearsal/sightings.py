"""What was seen on the way between a racer and its host; nobody else's word is needed for it.

All times are of the monotonic clock (s), taken at the racer's end of the link: of what goes to
the racer when it is handed to its socket, of what comes from it when it arrives.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Literal

from donkey_rl.errors import StorageError

Kind = Literal[
    "opened", "closed", "need_car_config", "car_loaded", "race_start", "race_stop", "DQ",
    "cross_start", "racer_info", "car_config", "reset_car", "go", "stage", "host up", "host down",
    "fault", "fault over",
]  # fmt: skip
"""Connections, messages by their types, GO by hand, the evening's stage, the host, faults."""


@dataclasses.dataclass(frozen=True, slots=True)
class FrameSeen:
    """Telemetry that was passed on.

    Attributes:
        at: When.
        link: Number of the connection.
        time_s: Simulation time (s) that it tells.
        speed: As told.
        whole: Whether it was passed on as the host had said it.
    """

    at: float
    link: int
    time_s: float
    speed: float
    whole: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class CommandSeen:
    """A `control` of the racer.

    Attributes:
        at: When.
        link: Number of the connection.
        steering: -1 to 1.
        throttle: -1 to 1.
        brake: 0 to 1.
    """

    at: float
    link: int
    steering: float
    throttle: float
    brake: float

    @property
    def moves(self) -> bool:
        """Whether it steers or gives throttle."""
        return self.steering != 0.0 or self.throttle != 0.0

    @property
    def brakes(self) -> bool:
        """Whether it brakes and drives nowhere."""
        return self.brake > 0.0 and self.throttle <= 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class EventSeen:
    """Something else.

    Attributes:
        at: When.
        link: Number of the connection, -1 for none.
        kind: What.
        detail: More of it: a lap time (s), a stage, why a connection ended.
    """

    at: float
    link: int
    kind: Kind
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class HeldUp:
    """This observer itself was late: times near it are uncertain by so much.

    Attributes:
        at: When it went on.
        late_s: How late that was (s).
    """

    at: float
    late_s: float


@dataclasses.dataclass
class Sightings:
    """All that was seen, each list in its order.

    Attributes:
        frames: Telemetry passed on.
        commands: What the racer commanded.
        events: What else happened.
        held_up: When the observer was late.
        lost: Messages lost on the way on purpose, by their type.
    """

    frames: list[FrameSeen] = dataclasses.field(default_factory=list)
    commands: list[CommandSeen] = dataclasses.field(default_factory=list)
    events: list[EventSeen] = dataclasses.field(default_factory=list)
    held_up: list[HeldUp] = dataclasses.field(default_factory=list)
    lost: dict[str, int] = dataclasses.field(default_factory=dict)

    def note(self, kind: Kind, detail: str = "", link: int = -1) -> float:
        """Adds an event that happens now; returns when that is."""
        now = time.perf_counter()
        self.events.append(EventSeen(now, link, kind, detail))
        return now

    def last(self, *kinds: Kind) -> EventSeen | None:
        """Returns the newest event of these kinds."""
        return next((each for each in reversed(self.events) if each.kind in kinds), None)

    def save(self, path: Path) -> None:
        """Writes all of it for people: JSON lines, in the order of time.

        Raises:
            StorageError: It cannot be written.
        """
        every: list[FrameSeen | CommandSeen | EventSeen | HeldUp]
        every = [*self.frames, *self.commands, *self.events, *self.held_up]
        try:
            with path.open("w", encoding="utf-8") as file:
                for each in sorted(every, key=lambda one: one.at):
                    told = {"what": type(each).__name__, **dataclasses.asdict(each)}
                    # What was broken on purpose has no numbers, which JSON cannot say.
                    plain = {key: value if value == value else None for key, value in told.items()}
                    file.write(json.dumps(plain, allow_nan=False) + "\n")
        except OSError as error:
            raise StorageError(f"'{path}' could not be written: {error.strerror}.") from error
