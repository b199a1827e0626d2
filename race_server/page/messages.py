"""What the racer, the process of its page, and the viewers' browsers say to each other.

Racer and page exchange frames (`donkey_rl.pipe_frames`), page and browsers JSON over HTTP and a
WebSocket. A picture travels behind a JSON text (`donkey_rl.pictured_json`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core
from pydantic import Field

from donkey_rl import pictured_json
from donkey_rl.race_server import orders
from donkey_rl.race_server.status import CarStatus

HELLO, STATUS, LINE = b"H", b"S", b"L"
"""Kinds of frames to the page: how to serve, how a car is doing, a line of the log."""

READY, FAILED, ORDER, NOTE = b"r", b"f", b"o", b"n"
"""Kinds of frames from the page: it serves, it cannot, somebody's order, a line for the log."""

MOST_BYTES = 4 << 20
"""Of a frame to the page."""

MOST_ANSWER_BYTES = 4096
"""Of a frame from the page."""

MOST_ORDER_BYTES = 1024
"""Of the body of a request."""

MOST_VIEWER_BYTES = 512
"""Of a message from a viewer."""

MOST_LINE = 500
"""Characters of a line of the log."""

FRESH_S = orders.FRESH_S
"""A racer that has said nothing for so long (s) is taken for stopped; so old a GO is void."""

_SURROGATE = re.compile(r"\\ud[89a-f][0-9a-f]{2}")
_MOST_NAME = 200


class _Message(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )


class Hello(_Message):
    """How to serve.

    Attributes:
        host: Address to listen on.
        port: Port, 0 for a free one.
        token: What a request must carry, empty for nothing.
        key: What an order must carry in its header.
        remedy: What to do where it cannot be served there, a sentence.
    """

    host: str
    port: int
    token: str = Field(repr=False)
    key: str = Field(repr=False)
    remedy: str


class Line(_Message):
    """A line of the log.

    Attributes:
        at: Wall-clock time (s since 1970).
        car: Whose, empty for the page's own.
        level: How bad it is.
        text: What happened.
    """

    at: float
    car: str
    level: Literal["info", "warning", "error"]
    text: str


class OrderRequest(_Message):
    """What a viewer orders.

    Attributes:
        do: What.
        car: Which car is to; None for all of them, which only `stop` and `brake` may be.
        on: Whether to brake.
        name: The driver that takes the seat.
        at: When it came in (s, monotonic), set by the page.
    """

    do: Literal["go", "stop", "brake", "driver"]
    car: Annotated[str, Field(max_length=_MOST_NAME)] | None
    on: bool = True
    name: Annotated[str, Field(max_length=_MOST_NAME)] = ""
    at: float = 0.0

    @property
    def is_safe(self) -> bool:
        """Whether it can only slow a car down."""
        return self.do == "stop" or (self.do == "brake" and self.on)

    @property
    def is_void(self) -> bool:
        """Whether it came too late to be followed."""
        return not self.is_safe and time.perf_counter() - self.at > FRESH_S

    @property
    def order(self) -> orders.Order:
        """The order to the car."""
        match self.do:
            case "go":
                return orders.Go("page")
            case "stop":
                return orders.Stop("page")
            case "brake":
                return orders.Brake("page", self.on)
            case "driver":
                return orders.ChangeDriver("page", self.name)


class Watch(_Message):
    """What a viewer says.

    Attributes:
        seen: Number of the newest message that it has shown.
        car: Whose camera it wants to see, empty for the first.
    """

    seen: Annotated[int, Field(ge=0, lt=1 << 53)]
    car: Annotated[str, Field(max_length=_MOST_NAME)]


def status_frame(status: CarStatus, at: float, braked: bool, picture: bytes | None) -> bytes:
    """Returns the content of a frame on a car.

    Args:
        status: How it is doing; what is no number is null.
        at: Since when (s, monotonic: processes of one machine share that clock).
        braked: Whether a viewer holds its brake.
        picture: What its camera sees, if that is new.
    """
    text = as_json({"at": at, "braked": braked, "status": status})
    return pictured_json.joined(text, picture or b"")


def as_json(values: Mapping[str, Any]) -> bytes:
    """Returns values as JSON; what is no number is null, and what is no character a `?`."""
    try:
        return pydantic_core.to_json(values, inf_nan_mode="null")
    except ValueError:
        # Half a pair of surrogates: JSON of others can hold one, UTF-8 cannot.
        text = json.dumps(values, default=vars)
        return as_json(json.loads(_SURROGATE.sub("?", text)))
