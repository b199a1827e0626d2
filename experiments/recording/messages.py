"""What the page and the drive say to each other.

The page sends JSON texts: commands some 20 times a second, and wishes. It gets binary messages,
a JSON text and a picture in each (`donkey_rl.pictured_json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from donkey_rl import pictured_json
from donkey_rl.experiments.recording.cockpit import Controls, Shown

MOST_BYTES = 512
"""Of a message from a page."""


class _Message(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )


class DriveMessage(_Message):
    """A command.

    Attributes:
        steering: -1 (left) to 1 (right).
        throttle: -1 (backwards) to 1.
        brake: 0 to 1.
        seen: Number of the newest frame that the page has shown.
    """

    do: Literal["drive"]
    steering: Annotated[float, Field(ge=-1, le=1)]
    throttle: Annotated[float, Field(ge=-1, le=1)]
    brake: Annotated[float, Field(ge=0, le=1)]
    seen: Annotated[int, Field(ge=0, lt=1 << 53)]

    @property
    def controls(self) -> Controls:
        """What the car is to do."""
        return Controls(self.steering, self.throttle, self.brake)


class SeenMessage(_Message):
    """A page that only looks has shown a frame."""

    do: Literal["look"]
    seen: Annotated[int, Field(ge=0, lt=1 << 53)]


class WishMessage(_Message):
    """What the driver asks for, or a page that looks: to `take` the wheel."""

    do: Literal["reset", "pause", "record", "take"]


Message = DriveMessage | SeenMessage | WishMessage

_READER: pydantic.TypeAdapter[Message] = pydantic.TypeAdapter(
    Annotated[Message, Field(discriminator="do")]
)


def read(text: str) -> Message:
    """Reads a message.

    Raises:
        ValueError: It is none, or a number of it is out of range.

    >>> read('{"do": "drive", "steering": 0, "throttle": 0.5, "brake": 0, "seen": 3}').controls
    Controls(steering=0.0, throttle=0.5, brake=0.0)
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} characters, received {len(text)}")
    return _READER.validate_json(text)


def frame(shown: Shown, about: Mapping[str, Any]) -> bytes:
    """Returns a frame as it is sent.

    Args:
        shown: The frame.
        about: What this page is told beside its state.
    """
    text = json.dumps({"n": shown.number, **shown.state, **about}, allow_nan=False)
    return pictured_json.joined(text.encode(), shown.picture)
