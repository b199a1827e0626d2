"""Where a car points, from what its generation reports.

The car of 2022 says its yaw. Older ones do not: they are taken to point where they go, or away
from there when they turn by more than a right angle between two messages, which is reversing.
"""

from __future__ import annotations

import math

from donkey_rl.envs.link.reports import Telemetry

_LEAST_WAY = 0.02
"""Below this way between two messages (u) a direction says nothing."""


class Heading:
    """Follows the direction of one car.

    Attributes:
        yaw: Clockwise from +Z (rad), unwound.
        forward: Velocity along it (u/s), negative backwards.
        rightward: Velocity across it (u/s).
    """

    def __init__(self, yaw: float) -> None:
        """Begins with a direction (rad), that of the road where the car stands."""
        self.yaw = yaw
        self.forward = 0.0
        self.rightward = 0.0

    def follow(self, telemetry: Telemetry, way: tuple[float, float], scale: float) -> None:
        """Takes in a message.

        Args:
            telemetry: The message.
            way: What the car moved since the last one, x and z (u).
            scale: What the generation divides its reports by.
        """
        speed = telemetry.speed * scale
        if telemetry.angles is not None:
            self._turn_to(math.radians(telemetry.angles[1]))
            if telemetry.velocity is not None:
                self.rightward = telemetry.velocity[0] * scale
                self.forward = telemetry.velocity[2] * scale
                return
            along = way[0] * math.sin(self.yaw) + way[1] * math.cos(self.yaw)
            self.forward = math.copysign(speed, along)
            return
        if math.hypot(*way) < _LEAST_WAY:
            self.forward = math.copysign(speed, self.forward)
            return
        course = math.atan2(way[0], way[1])
        backwards = math.cos(course - self.yaw) < 0.0
        self._turn_to(course + math.pi if backwards else course)
        self.forward = -speed if backwards else speed

    def _turn_to(self, yaw: float) -> None:
        """Takes the shortest way round, so that a record of the yaw has no jumps."""
        change = yaw - self.yaw
        self.yaw += change - 2.0 * math.pi * round(change / (2.0 * math.pi))
