"""What a car needs beside it: somebody who records, somebody who shows, somebody who drives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.manifest import DriverDescription, ObservationSpec
from donkey_rl.race_server.status import CarStatus, RecordStatus

Kind = Literal["frame", "command", "event", "order", "phase", "link", "driver", "warning"]
"""What a line of a record tells of, and the fields that a car gives it:

- `frame`: what the host sent, by the names of `reports.Telemetry`, without pictures and without
  what it did not send; `number` of the message on this connection, `skipped` before it, `arrived`
  (monotonic, s), and `refused`, why the driver did not see it (empty if it did).
- `command`: `steering`, `throttle`, `brake` as sent; `frame`, the number of the one that it
  answers (null: none); `why`: `driver`, `launch`, `recovery`, `waiting` (before GO), `order`,
  `watchdog`, `seat`, `keep alive`; `took_ms` from that frame's arrival, padding included.
- `event`: what the host said beside telemetry: `name`, its `msg_type`, with `lap_time` (s),
  `missed_cp`, `index` and `time_stamp` as far as it has them.
- `order`: `order` (`go`, `stop`, `brake`, `change driver`), `by`, and `on` or `name`.
- `phase`: `phase`, `reason`, `go`.
- `link`: `state` (`connected`, `lost`, `figures`), `reason`; of `figures` those of
  `envs.link.statistics.Statistics`.
- `driver`: `name`, `reason`.
- `warning`: `text`.
"""

Level = Literal["info", "warning", "error"]


class Tape(Protocol):
    """Records everything that a car sees and sends; any thread may call it, none waits."""

    def note(self, kind: Kind, fields: Mapping[str, Any], picture: bytes | None = None) -> None:
        """Adds one line.

        Args:
            kind: What it tells of.
            fields: JSON values; the time (s, monotonic and by the wall clock) and the number of
                the line are added.
            picture: The camera's picture as it came (JPEG, or PNG).
        """

    @property
    def status(self) -> RecordStatus:
        """What has been recorded so far."""

    def close(self) -> None:
        """Writes what is waiting; may be called again."""


class Board(Protocol):
    """Shows how cars are doing; any thread may call it, none waits: the newest counts."""

    def show(self, status: CarStatus, picture: bytes | None) -> None:
        """Shows a car, with the camera's picture (JPEG) if there is a new one."""

    def log(self, car: str, level: Level, text: str) -> None:
        """Adds a line to the log."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of asking a driver.

    Attributes:
        action: Steering and throttle in [-1, 1], (2,) and finite; None if there is none to use.
        fault: Why not, one line: late, failed, not finite; empty if there is one.
        took_s: How long it took, or was waited for.
    """

    action: npt.NDArray[np.float32] | None
    fault: str
    took_s: float


class Seat(Protocol):
    """The driver of a car and its spares; one thread at a time may call it.

    Attributes:
        name: Who drives.
        names: All that can, the first choice first.
        description: What the one who drives was made for.
        observation: What it sees.
        warnings: What people should know about them before the race.
    """

    name: str
    names: tuple[str, ...]
    description: DriverDescription
    observation: ObservationSpec
    warnings: tuple[str, ...]

    def act(self, observation: Mapping[str, npt.NDArray[Any]], within_s: float) -> Answer:
        """Asks for the action to what the car sees; returns in time whatever the driver does.

        Args:
            observation: `image`, `speed`, `imu` and `last_actions` of one car.
            within_s: How long to wait at most.
        """

    def change(self, name: str) -> None:
        """Puts another driver into the seat.

        Raises:
            UnknownNameError: There is none of that name.
        """

    def change_to_spare(self) -> bool:
        """Puts the next spare into the seat; False if there is none that has not failed."""

    def close(self) -> None:
        """Lets all drivers go."""
