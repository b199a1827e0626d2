"""A car of the embedded simulator that reports over the protocol's own words, without a socket."""

from __future__ import annotations

import json

import numpy as np

from donkey_rl.envs.link import reports, wire
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, telemetry, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.world import World
from donkey_rl.envs.sources import Place, Sight


class EmbeddedSource:
    """What `RemoteWorld` drives in tests: every message passes through the wire's format."""

    def __init__(self, config: EnvironmentConfig, *, movable: bool = True) -> None:
        self.world = World(
            track.load(config.track), vehicles.load(config.vehicle), config.camera, 1
        )
        self.movable = movable
        self.closed = False
        self.commands: list[tuple[float, float, float]] = []
        self.without: tuple[str, ...] = ()
        self.clock = 100.0

    def reset(self, place: Place | None = None) -> Sight:
        self.clock += 3.0
        self.world.reset(np.array([0]))
        if place is not None and self.movable:
            self.world.place(np.array([0]), np.array([[place.x, place.z, place.yaw, 0, 0, 0]]))
        return self._sight()

    def send(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        self.commands.append((steering, throttle, brake))

    def receive(self) -> Sight:
        self.world.step(np.array([self.commands[-1]]))
        return self._sight()

    def push(self, x: float, z: float) -> None:
        """Moves the car by hand, as another program might."""
        motion = self.world.cars.motion.copy()
        motion[0, [physics.X, physics.Z]] += (x, z)
        self.world.place(np.array([0]), motion)

    def close(self) -> None:
        self.closed = True

    def _sight(self) -> Sight:
        fields = telemetry.fields(self.world, 0) | {"image": ""}
        fields["time"] += self.clock
        kept = {name: value for name, value in fields.items() if name not in self.without}
        told = reports.parse(json.loads(wire.encode(kept)))
        assert isinstance(told, reports.Telemetry)
        image = np.empty((1, *self.world.camera.shape), dtype=np.uint8)
        self.world.render(image)
        return Sight(told, image[0])
