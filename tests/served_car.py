"""A simulator of its own for a test, and a driver in it that knows only the protocol."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.config import ServerConfig
from tests.plain_client import Message, PlainClient

SPAWN = (49.690, 47.838)
"""Of the first car on the generated track (u), looking along +Z."""

SCALE = 8.0
"""The car of 2022 divides places and speeds by this."""


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[Running]:
    defaults: dict[str, Any] = {
        "port": 0, "private_port": None, "time_scale": "max", "track": "generated_track",
        "lockstep_patience_s": 600.0,
    }  # fmt: skip
    with background.running(ServerConfig(**(defaults | settings))) as server:
        yield server


@contextlib.contextmanager
def driving(**settings: Any) -> Iterator[PlainClient]:
    """A driver whose car is loaded and has sent its first telemetry."""
    with serving(**settings) as server, PlainClient(server.port) as driver:
        driver.enter()
        yield driver


def state(message: Message) -> tuple[Any, ...]:
    """What a command changes, and what time changes."""
    return tuple(message[name] for name in ("pos_x", "pos_z", "yaw", "speed", "time", "throttle"))
