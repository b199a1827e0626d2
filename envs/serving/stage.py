"""A running scene with its clients: it keeps time, moves cars and tells clients of it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from donkey_rl.envs.link import commands, reports
from donkey_rl.envs.serving import new_road
from donkey_rl.envs.serving.clock import Pace
from donkey_rl.envs.serving.complaints import LOGGER
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.serving.connection import Connection
from donkey_rl.envs.serving.frames import Frames
from donkey_rl.envs.serving.lockstep import Lockstep
from donkey_rl.envs.serving.rig import Rig
from donkey_rl.envs.serving.scene import Command, Moved, Scene
from donkey_rl.envs.simulator import lidar
from donkey_rl.envs.simulator.sensors import LidarConfig
from donkey_rl.envs.simulator.track import Track

Build = Callable[[Callable[[], Track]], Awaitable[Scene]]
"""Builds a scene of a track aside, without holding up the one that runs."""

_IDLE_LOOKS_S = 1.0
"""Cars that idle are looked for so often (simulation time)."""


@dataclasses.dataclass(eq=False)
class Client:
    """A driver.

    Attributes:
        connection: Its connection.
        rig: What it has mounted on its car.
        car: Its car's index in the scene, None without a car.
    """

    connection: Connection
    rig: Rig = dataclasses.field(default_factory=Rig)
    car: int | None = None


class Race(Protocol):
    """Whoever decides in a race who has a car."""

    def advance(self) -> None:
        """The cars have moved."""


def build(track: Track, config: ServerConfig) -> Scene:
    """Builds a scene that can move and draw at once; takes seconds on a new track.

    A car drives, looks and scans once before anybody comes, since compiled kernels load when they
    are used for the first time.
    """
    scene = Scene(track, config)
    car = scene.join(Rig())
    scene.step()
    scene.tick()
    Frames(scene, config.generation, config.extended_telemetry).write([car])
    lidar.scan(scene.world, car, LidarConfig())
    scene.leave(car)
    scene.world.seed(config.seed)
    scene.now = 0.0
    return scene


class Stage:
    """A scene with the clients in it.

    Attributes:
        config: The server's settings.
        scene: The scene.
        frames: Writes its telemetry.
        clients: Who has a car, by the car.
        lockstep: Whose commands the scene waits for.
        began: Simulation time of the server when the scene was loaded (s).
        pace: Deadlines of physics steps, outside lock-step.
        extended: Whether cars may be put somewhere and telemetry is for training.
        race: Who decides in a race, None outside races.
    """

    def __init__(
        self,
        scene: Scene,
        config: ServerConfig,
        began: float,
        build: Build,
        tell: Callable[[reports.Report], None],
        *,
        extended: bool,
    ) -> None:
        """Takes a scene over; nobody is in it yet.

        Args:
            scene: The scene.
            config: The server's settings.
            began: Simulation time of the server (s).
            build: Builds another scene aside.
            tell: Tells the private API what has happened.
            extended: Whether telemetry is for training.
        """
        self.config = config
        self.scene = scene
        self.extended = extended
        self.frames = Frames(scene, config.generation, self.extended)
        self.clients: dict[int, Client] = {}
        self.lockstep = Lockstep(config.lockstep_patience_s)
        self.began = began
        self._build = build
        self.race: Race | None = None
        scale = config.time_scale
        self._always_lockstep = isinstance(scale, str)
        self.pace = Pace(1.0 if isinstance(scale, str) else scale, self._clock())
        self._synchronous = self._always_lockstep
        self._changed = asyncio.Event()
        self._tell = tell
        self._next_idle_look = _IDLE_LOOKS_S
        self._laying: asyncio.Task[None] | None = None

    def synchronise(self, wanted: bool) -> None:
        """Switches lock-step on or off; with time scale "max" it stays on.

        Everybody gets the state as it is, so that nobody waits for telemetry while the scene
        waits for a command.
        """
        wanted = wanted or self._always_lockstep
        if wanted == self._synchronous:
            return
        self._synchronous = wanted
        self.lockstep.clear()
        self.pace.restart(self._clock())
        if wanted:
            self._show(self.clients)
        self._changed.set()

    def enter(self, client: Client, slot: int | None = None) -> None:
        """Gives a client a car, on a slot of the grid or on the first start that is free."""
        client.car = self.scene.join(client.rig)
        if slot is not None:
            self.scene.stand(client.car, slot)
        self.clients[client.car] = client
        client.connection.send(reports.CarLoaded())
        if self._synchronous:
            self._show([client.car])
            self._changed.set()

    def leave(self, client: Client) -> None:
        """Takes a client's car away, if it has one."""
        if client.car is None:
            return
        self.scene.leave(client.car)
        self.lockstep.leave(client.car)
        del self.clients[client.car]
        client.car = None
        self._changed.set()

    def command(self, car: int, wanted: Command) -> None:
        """Steers a car from the next physics step on."""
        self.scene.command(car, wanted)
        if self._synchronous:
            self.lockstep.answer(car)
            self._changed.set()

    def put_anew(self, car: int) -> None:
        """A car was put somewhere: frames of before are dropped and its turn starts again."""
        self.clients[car].connection.forget_frame()
        if self._synchronous:
            self._show([car])

    def look_anew(self, car: int) -> None:
        """A car's cameras have changed; in lock-step its client sees that at once."""
        if self._synchronous:
            # What was touched has been told already.
            fields = self.frames.write([car])[car] | {"hit": "none"}
            self.clients[car].connection.send_frame(fields)

    def lay(self, command: commands.RegenRoad) -> bool:
        """Begins to lay another random road; the cars go on on the old one until it is there.

        Returns:
            Whether it was begun: not while another one is being laid.
        """
        if self._laying is not None and not self._laying.done():
            return False
        self._laying = asyncio.create_task(self._lay(command))
        return True

    async def _lay(self, command: commands.RegenRoad) -> None:
        former = self.scene
        increment = command.turn_increment or former.turn_increment
        scene = await self._build(
            functools.partial(new_road.lay, former.track, command, increment)
        )
        scene.take_over(former)
        scene.turn_increment = increment
        self.scene = scene
        self.frames = Frames(scene, self.config.generation, self.extended)
        for car in self.clients:
            self.put_anew(car)

    async def run(self) -> None:
        """Keeps time until it is cancelled."""
        while True:
            if self._synchronous:
                await self._wait_for_commands()
            else:
                await asyncio.sleep(max(0.0, self.pace.due - self._clock()))
            # Whoever waited may have missed a switch to lock-step or back.
            if not self._synchronous:
                self._publish(self.scene.tick())
                self.pace.step(self._clock())
            elif self.lockstep.is_ready(self._clock()):
                self._publish(self.scene.step())

    async def _wait_for_commands(self) -> None:
        """Returns when the scene may have to move, in lock-step."""
        left = self.lockstep.wait(self._clock())
        if left is not None and left <= 0.0:
            await asyncio.sleep(0)
            return
        self._changed.clear()
        try:
            async with asyncio.timeout(left):
                await self._changed.wait()
        except TimeoutError:
            return

    def _publish(self, moved: Moved) -> None:
        """Tells clients what has happened, then how things are."""
        for car, time in moved.crossings:
            stamp = self.began + time
            name = self.scene.seats[car].rig.name
            if self.config.generation >= 2022:
                self.clients[car].connection.send(reports.StartingLine(0, stamp))
            self._tell(reports.StartingLine(0, stamp, name))
        for car, cone, time in moved.touches:
            name = self.scene.seats[car].rig.name
            self._tell(reports.ConeTouched(cone, self.began + time, name))
        self._show(moved.due)
        if self.race is not None:
            self.race.advance()
        elif self.scene.now >= self._next_idle_look:
            self._next_idle_look = self.scene.now + _IDLE_LOOKS_S
            self._dismiss_idle()

    def _show(self, cars: Iterable[int]) -> None:
        """Sends cars' clients the state as it is."""
        for car, fields in self.frames.write(cars).items():
            self.clients[car].connection.send_frame(fields)
            if self._synchronous:
                self.lockstep.ask(car, self._clock())

    def _dismiss_idle(self) -> None:
        for car, client in list(self.clients.items()):
            if self.scene.idle_for(car) >= self.config.idle_s:
                LOGGER.warning(
                    "%s: disconnected, because its car has not moved for %g s.",
                    client.connection.name,
                    self.config.idle_s,
                )
                client.connection.close()

    def close(self) -> None:
        """Leaves a road unfinished that is being laid."""
        if self._laying is not None:
            self._laying.cancel()

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
