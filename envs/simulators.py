"""Which simulator drives: the embedded one, or others at addresses or started from a file."""

from __future__ import annotations

import contextlib
import pathlib
import re
from typing import TYPE_CHECKING, NamedTuple

from donkey_rl import user_paths
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.interface import Simulator
from donkey_rl.envs.simulator.world import World
from donkey_rl.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from donkey_rl.envs.settings import EnvironmentConfig

EMBEDDED = "embedded"
HIGHEST_PORT = 65535

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,6})")


class Address(NamedTuple):
    """A simulator that runs already."""

    host: str
    port: int

    @property
    def typed(self) -> str:
        """As `parse` reads it.

        >>> Address("::1", 9091).typed
        '[::1]:9091'
        """
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> tuple[Address | pathlib.Path, ...]:
    """Reads where to drive; of the embedded simulator nothing is returned.

    Args:
        text: `embedded`, `HOST:PORT`, the path of a program, or several of the latter two with
            commas between them.

    Raises:
        ConfigurationError: It is none of these.

    >>> parse("embedded"), parse("localhost:9091,localhost:9093")[1].port
    ((), 9093)
    """
    if text.strip() == EMBEDDED:
        return ()
    return tuple(_parse_one(part.strip()) for part in text.split(","))


def _parse_one(text: str) -> Address | pathlib.Path:
    address = _ADDRESS.fullmatch(text)
    if address:
        port = int(address[2])
        if not 1 <= port <= HIGHEST_PORT:
            raise ConfigurationError(
                f"A port is 1 to {HIGHEST_PORT}. Received: '{text}'. The simulator's is 9091."
            )
        return Address(address[1].strip("[]"), port)
    path = user_paths.path_of(text)
    if path.is_file():
        return path
    if not text:
        hint = "Leave out the comma with nothing behind or before it."
    elif nearest(text, [EMBEDDED]):
        hint = f"Did you mean '{EMBEDDED}'?"
    elif path.is_dir():
        hint = "That is a folder; name the program in it."
    else:
        hint = "For one on this machine: --simulator 127.0.0.1:9091."
    raise ConfigurationError(
        f"A simulator is '{EMBEDDED}', HOST:PORT, or the path of a program. "
        f"Received: '{text}'. {hint}"
    )


def lasting(text: str) -> str:
    """Returns where to drive so that it is found from any folder.

    >>> lasting("embedded"), lasting("localhost:9091, localhost:9093")
    ('embedded', 'localhost:9091,localhost:9093')
    """
    places = parse(text)
    typed = (each.typed if isinstance(each, Address) else str(each.resolve()) for each in places)
    return ",".join(typed) or EMBEDDED


def count(text: str) -> int | None:
    """Returns how many cars the simulators give, None where any number can be had."""
    return len(parse(text)) or None


def open_simulator(
    config: EnvironmentConfig, cars: int, *, seed: int = 0, together: bool = False
) -> Simulator:
    """Opens the simulator that a configuration names.

    Args:
        config: Simulator, track, car, camera, randomisation, opponents.
        cars: Number of cars.
        seed: Seed of all random streams.
        together: Whether all cars of the embedded simulator share one scene.

    Raises:
        ConfigurationError: The simulators give another number of cars.
        LinkError: A simulator cannot be reached.
    """
    places = parse(config.simulator)
    if config.opponents.count:
        if together:
            raise ConfigurationError(
                "Cars that drive together are each other's opponents. Received: "
                f"opponents.count={config.opponents.count}. Set it to 0."
            )
        # The expert takes a while to import, and few roads have opponents.
        from donkey_rl.envs.traffic import Traffic

        return Traffic(config, cars, seed=seed)
    if not places:
        return World(
            track.load(config.track),
            vehicles.load(config.vehicle),
            config.camera,
            cars,
            randomise=config.randomisation,
            groups=[0] * cars if together else None,
            seed=seed,
        )
    if len(places) != cars:
        raise ConfigurationError(
            f"Each simulator drives one car: {cars} car(s) want {cars} addresses. "
            f"Received: simulator={config.simulator}."
        )
    # The client side is of no use to the embedded simulator.
    from donkey_rl.envs.link_source import open_sources
    from donkey_rl.envs.remote import RemoteWorld

    with contextlib.ExitStack() as opened:
        sources = open_sources(config, places)
        for source in sources:
            opened.callback(source.close)
        world = RemoteWorld(config, sources, seed)
        opened.pop_all()
    return world
