"""One telemetry message as a connection hands it out."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.link import images
from donkey_rl.envs.link.inbox import Arrival
from donkey_rl.envs.link.reports import Telemetry


@dataclasses.dataclass(frozen=True)
class Frame:
    """What a car saw and sensed.

    Attributes:
        telemetry: The message.
        image: Its picture, shape (h, w, 3), uint8.
        image_b: The second camera's picture, None without one.
        arrived: When it came (monotonic, s).
        number: How many messages of telemetry had come with it.
        skipped: Messages passed over since the last frame.
        hits: What was touched, the messages passed over included, oldest first.
        command_age_s: How old the last command was when it came, None before the first.
        reconnected: Whether the connection was lost and made anew since the last frame.
    """

    telemetry: Telemetry
    image: npt.NDArray[np.uint8]
    image_b: npt.NDArray[np.uint8] | None
    arrived: float
    number: int
    skipped: int = 0
    hits: tuple[str, ...] = ()
    command_age_s: float | None = None
    reconnected: bool = False

    @classmethod
    def of(cls, arrival: Arrival) -> Self:
        """Decodes the pictures of a message.

        Raises:
            MessageError: They cannot be used.
        """
        told = arrival.telemetry
        return cls(
            told,
            images.decode(told.image),
            images.decode(told.image_b) if told.image_b is not None else None,
            arrival.arrived,
            arrival.number,
            arrival.skipped,
            arrival.hits,
            arrival.command_age,
        )

    @property
    def hit(self) -> str:
        """What was touched first since the last frame, "none" for nothing."""
        return self.hits[0] if self.hits else "none"
