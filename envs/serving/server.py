"""The embedded simulator as a server: connections, the menu, and scenes that come and go."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Callable
from concurrent import futures

from donkey_rl.envs.link import commands, reports
from donkey_rl.envs.serving import car_messages, listening, race_day, stage
from donkey_rl.envs.serving.complaints import LOGGER
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.serving.connection import Connection, Owner
from donkey_rl.envs.serving.orders import Referee
from donkey_rl.envs.serving.private_api import PrivateApi
from donkey_rl.envs.serving.race_host import RaceHost
from donkey_rl.envs.serving.rig import Rig
from donkey_rl.envs.serving.scene import Scene
from donkey_rl.envs.serving.stage import Client, Stage
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.track import Track
from donkey_rl.errors import ConfigurationError, DonkeyRLError

HEARTBEAT_S = 3.0
"""A client that has said nothing for so long gets a sign of life, so that a dead one shows."""

_HEARTBEAT_LOOKS_S = 0.5

_MENU = "the menu has no cars: send 'load_scene' first"
_SINCE = {commands.SetPosition: 2022, commands.GetNodePosition: 2022}
"""Messages that came later than the first generation served."""


@dataclasses.dataclass(frozen=True)
class Statistics:
    """How a server does.

    Attributes:
        clients: Drivers that are connected.
        scene: The track that is loaded, None in the menu.
        simulated_s: Simulation time in scenes since the server's start (s).
        slipped_s: Wall time that the scene could not keep up with (s).
        frames: Telemetry messages sent since the server's start.
        frames_dropped: Telemetry messages that gave way to newer ones, since the reader was slow.
        queued: Bytes that wait for slow readers now.
    """

    clients: int
    scene: str | None
    simulated_s: float
    slipped_s: float
    frames: int
    frames_dropped: int
    queued: int


class Server:
    """A served simulator in the running event loop.

    Attributes:
        config: Its settings.
        private_key: What `verify` must say.
        port: Where drivers connect, once started.
        private_port: Where the private API is, None without one.
        stage: The scene that runs, None in the menu.
    """

    def __init__(
        self, config: ServerConfig, host_race: Callable[[Track], Referee] | None = None
    ) -> None:
        """Prepares a server that does not listen yet.

        Args:
            config: Its settings.
            host_race: Makes the referee of a race on the configured track; by default the one
                of `config.race`, if there is one.

        Raises:
            ConfigurationError: A race has no track, or no clock of its own.
        """
        if host_race is None and config.race is not None:
            host_race = race_day.host(config.race)
        if host_race is not None and (config.track is None or config.time_scale == "max"):
            raise ConfigurationError(
                "A race needs a track from the start and a clock that waits for nobody. "
                f"Received: track={config.track!r}, time_scale={config.time_scale!r}. Name a "
                "track, and a time scale of 0.1 to 20."
            )
        self.config = config
        self.private_key = config.private_key or secrets.token_hex(8)
        self.port = config.port
        self.private_port: int | None = None
        self.stage: Stage | None = None
        self._host_race = host_race
        self._race: RaceHost | None = None
        self._api = PrivateApi(self.private_key, self, config.max_clients)
        self._clients: dict[Connection, Client] = {}
        self._ungreeted: list[Connection] = []
        self._frames = self._frames_dropped = 0
        self._seed = config.seed
        self._past = 0.0
        self._slipped = 0.0
        self._listeners: list[asyncio.Server] = []
        self._loader = futures.ThreadPoolExecutor(1, "donkey-rl-scene")
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pulse: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Takes the ports, loads the scene if one is configured, and listens.

        Raises:
            InputError: A port is in use, or the track does not exist.
        """
        config = self.config
        ports: list[tuple[int, Owner]] = [(config.port, self)]
        if config.private_port is not None and config.generation > 2020:
            ports.append((config.private_port, self._api))
        for port, owner in ports:
            self._listeners.append(await listening.take(config, port, owner))
        self.port = listening.port_of(self._listeners[0])
        if len(self._listeners) > 1:
            self.private_port = listening.port_of(self._listeners[1])
        if config.track is not None:
            name = config.track
            self._open(await self._build(lambda: track.load(name)))
        for listener in self._listeners:
            await listener.start_serving()
        self._pulse = asyncio.create_task(self._beat())

    async def wait(self) -> None:
        """Waits until the server is to end: `end` was called, or a scene has failed."""
        await self._ended

    def end(self) -> None:
        """Lets `wait` return."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def stop(self) -> None:
        """Closes everything: ports, connections, the scene, the loading of another one."""
        await listening.close(self._listeners)
        if self._race is not None:
            self._race.close()
        self._leave_scene()
        tasks = [each for each in (self._pulse, self._loading) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._running, return_exceptions=True)
        await listening.hang_up([*self._clients, *self._api.connections])
        for listener in self._listeners:
            await listener.wait_closed()
        await asyncio.to_thread(self._loader.shutdown, cancel_futures=True)
        self.end()

    def statistics(self) -> Statistics:
        """Returns how the server does."""
        running = self.stage
        return Statistics(
            clients=len(self._clients),
            scene=running.scene.track.name if running else None,
            simulated_s=self._past + (running.scene.now if running else 0.0),
            slipped_s=self._slipped + (running.pace.slipped_s if running else 0.0),
            frames=self._frames + sum(each.frames for each in self._clients),
            frames_dropped=self._frames_dropped
            + sum(each.frames_dropped for each in self._clients),
            queued=sum(each.queued for each in self._clients),
        )

    def scene_names(self) -> tuple[str, ...]:
        """Returns the scenes that the menu offers."""
        names = track.names()
        own = self.config.track
        return names if own is None or own in names else (*names, own)

    def arrived(self, connection: Connection) -> None:
        """Greets a driver: with the menu, or with a car if a scene runs."""
        if len(self._clients) >= self.config.max_clients:
            LOGGER.warning(
                "%s: refused, since %d clients are connected. More are let in by --set "
                "max_clients=N.",
                *(connection.name, self.config.max_clients),
            )
            connection.abort()
            return
        client = self._clients[connection] = Client(connection)
        if self._race is not None:
            self._race.arrived(client)
        elif self.stage is not None:
            self.stage.enter(client)
        elif self._loading is None:
            connection.send(reports.SceneSelectionReady())
        else:
            self._ungreeted.append(connection)

    def left(self, connection: Connection) -> None:
        """Takes the car of a driver away who has gone."""
        client = self._clients.pop(connection, None)
        if client is None:
            return
        self._frames += connection.frames
        self._frames_dropped += connection.frames_dropped
        if self.stage is not None:
            self.stage.leave(client)
        if self._race is not None:
            self._race.left(client)

    def received(self, connection: Connection, command: commands.Command) -> None:
        """Follows what a driver says."""
        client = self._clients.get(connection)
        if client is None:
            return
        since = _SINCE.get(type(command), 0)
        if since > self.config.generation:
            connection.refuse(command, f"the simulator has it since {since}.")
        elif isinstance(command, commands.QuitApp):
            self._quit(connection, command)
        elif self.stage is not None:
            self._received_in_scene(self.stage, client, command)
        elif self._loading is not None:
            connection.refuse(command, "a scene is being loaded.")
        else:
            self._received_in_menu(client, command)

    def _quit(self, connection: Connection, command: commands.QuitApp) -> None:
        if self.config.allow_quit:
            LOGGER.warning("%s: ends the server.", connection.name)
            self.end()
        else:
            connection.refuse(command, "no client ends this server, unless allow_quit is set.")

    def _received_in_menu(self, client: Client, command: commands.Command) -> None:
        match command:
            case commands.Connected():
                client.connection.send(reports.SceneSelectionReady())
            case commands.GetProtocolVersion():
                client.connection.send(reports.ProtocolVersion())
            case commands.GetSceneNames():
                client.connection.send(reports.SceneNames(self.scene_names()))
            case commands.LoadScene(name):
                if name in self.scene_names():
                    self._loading = asyncio.create_task(self._load(name))
                else:
                    client.connection.refuse(command, f"there is no scene {name!r}.")
            case _:
                client.connection.refuse(command, f"{_MENU}.")

    def _received_in_scene(
        self, running: Stage, client: Client, command: commands.Command
    ) -> None:
        if isinstance(command, commands.GetProtocolVersion) and self.config.generation >= 2022:
            client.connection.send(reports.ProtocolVersion())
        elif self._race is not None:
            if not self._race.received(client, command):
                client.connection.refuse(command, "a race is on, where it has no meaning.")
        elif isinstance(command, commands.ExitScene):
            self._leave_scene()
        elif not car_messages.receive(running, client, command):
            client.connection.refuse(command, "a scene runs, where it has no meaning.")

    async def _build(self, make: Callable[[], Track]) -> Scene:
        loop = asyncio.get_running_loop()
        built = loop.run_in_executor(self._loader, lambda: stage.build(make(), self.config))
        scene = await built
        scene.put_cones(self.config.cones, self._seed)
        return scene

    async def _load(self, name: str) -> None:
        """Moves all drivers into a scene."""
        try:
            scene = await self._build(lambda: track.load(name))
        except DonkeyRLError as error:
            LOGGER.error("The scene '%s' cannot be loaded: %s", name, error)
            self._loading = None
            for connection in self._ungreeted:
                connection.send(reports.SceneSelectionReady())
            self._ungreeted.clear()
            return
        self._loading = None
        self._open(scene)

    def _open(self, scene: Scene) -> None:
        LOGGER.info("Scene '%s' is loaded.", scene.track.name)
        rules = self.config.race
        extended = self.config.extended_telemetry and self._host_race is None
        if rules is not None:
            extended = rules.extended_telemetry
        self.stage = Stage(
            scene, self.config, self._past, self._build, self._api.tell, extended=extended
        )
        if self._host_race is not None:
            self._race = self.stage.race = RaceHost(self.stage, self._host_race(scene.track))
        self._ungreeted.clear()
        for client in self._clients.values():
            client.rig = Rig()
            self.stage.enter(client)
        task = asyncio.create_task(self.stage.run())
        self._running.add(task)
        task.add_done_callback(self._watch)

    def _watch(self, task: asyncio.Task[None]) -> None:
        """A scene that fails takes the server with it, rather than standing still unseen."""
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _leave_scene(self) -> None:
        """Goes back to the menu with everybody."""
        running, self.stage, self._race = self.stage, None, None
        if running is None:
            return
        self._past += running.scene.now
        self._slipped += running.pace.slipped_s
        for task in self._running:
            task.cancel()
        running.close()
        for client in self._clients.values():
            client.car = None
            client.connection.forget_frame()

    def set_random_seed(self, seed: int) -> None:
        """Changes the seed of the cones and puts them anew."""
        self._seed = seed % 2**32
        self.reset_challenges()

    def reset_challenges(self) -> None:
        """Puts the cones anew."""
        if self.stage is not None:
            self.stage.scene.put_cones(self.config.cones, self._seed)

    async def _beat(self) -> None:
        """Gives silent clients signs of life."""
        beat = {"msg_type": "ping"} if self.config.generation == 2020 else {}
        while True:
            await asyncio.sleep(_HEARTBEAT_LOOKS_S)
            for connection in (*self._clients, *self._api.connections):
                connection.beat(beat, HEARTBEAT_S)
