"""How a link is that is worse than this machine's own: delay, jitter, loss, and disturbances."""

from __future__ import annotations

import random
from typing import Literal

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.latency import one_way_ms
from donkey_rl.envs.link import wire
from donkey_rl.envs.link.decoder import read_object

Way = Literal["down", "up"]
"""From the host to the racer; from the racer to the host."""

LOSABLE = ("telemetry", "control")
"""Messages that may be lost or broken: of the others an evening could not go on."""

_GLUED = (2, 4)
_SHORTEST_CUT = 16
_POISONED = ("time", "speed")
_ALSO_POISONED = ("accel_x", "gyro_z", "steering_angle", "yaw")


class LinkConditions(Config):
    """A link between racer and host.

    Attributes:
        latency_ms: Two-way; half of it each way.
        jitter_ms: Two-way at most, to either side; order is kept.
        loss: Share of telemetry and of commands that never comes.
    """

    latency_ms: float = Field(default=0.0, ge=0.0, le=2000.0)
    jitter_ms: float = Field(default=0.0, ge=0.0, le=2000.0)
    loss: float = Field(default=0.0, ge=0.0, lt=1.0)

    def delay_s(self, rng: random.Random) -> float:
        """Returns how long one message takes one way (s)."""
        drawn = rng.uniform(-1.0, 1.0)
        return 0.001 * float(one_way_ms(self.latency_ms, self.jitter_ms, drawn))


class Disturbances:
    """What is wrong with a link at the moment; the proxy's thread alone looks at it.

    Attributes:
        silent_until: By the way, when silence ends (s, monotonic).
        glued_until: When messages come one by one again.
        to_break: Messages of each way that are still to be broken.
        to_poison: Messages of telemetry that are still to hold NaN.
    """

    def __init__(self, seed: int) -> None:
        """Begins with nothing wrong.

        Args:
            seed: Of all that is drawn.
        """
        self.silent_until: dict[Way, float] = {"down": 0.0, "up": 0.0}
        self.glued_until = 0.0
        self.to_break: dict[Way, int] = {"down": 0, "up": 0}
        self.to_poison = 0
        self.rng = random.Random(seed)

    def glued(self, now: float) -> int:
        """Returns how many messages are passed on in one piece now."""
        return self.rng.randint(*_GLUED) if now < self.glued_until else 1

    def disturbed(self, way: Way, data: bytes, kind: str) -> bytes:
        """Returns a message as it comes through; the very same bytes if nothing befalls it.

        Args:
            way: Where it goes.
            data: All of its bytes.
            kind: Its `msg_type`.
        """
        if kind not in LOSABLE:
            return data
        if self.to_break[way]:
            self.to_break[way] -= 1
            return self._broken(data)
        if kind == "telemetry" and self.to_poison:
            self.to_poison -= 1
            return self._poisoned(data)
        return data

    def _broken(self, data: bytes) -> bytes:
        """Cuts a message short, or only its end, so that it runs into the next one."""
        body = data.rstrip()
        if self.rng.random() < 0.5:
            return body[:-1]
        return body[: self.rng.randint(min(_SHORTEST_CUT, len(body) - 1), len(body) - 1)]

    def _poisoned(self, data: bytes) -> bytes:
        """Puts NaN where a time or a speed belongs, with and without quotes."""
        fields = read_object(data)
        if fields is None:
            return data
        bad = [self.rng.choice(_POISONED), *self.rng.sample(_ALSO_POISONED, 2)]
        fields |= dict.fromkeys(bad, float("nan"))
        written = wire.encode(fields)
        return written if self.rng.random() < 0.5 else written.replace(b'"NaN"', b"NaN")
