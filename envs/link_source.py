"""Cars of simulators at the other end of a connection, as sources of telemetry."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Iterator, Sequence

from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.executable import Executable, free_port
from donkey_rl.envs.link.link import Frame, SimulatorLink
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track_names
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulators import Address
from donkey_rl.envs.sources import Place, Sight
from donkey_rl.errors import LinkClosed, LinkRefused, LinkTimeout

_PLACE_FRAMES = 6
"""Messages in which a car that was put elsewhere must be there."""

_UNASKED_S = 1.0
"""A message that comes by itself comes within this time."""

_NEAR = 0.5
_POLL_S = 0.2
"""A program that starts is looked at this often."""


class LinkSource:
    """One car at the other end of a connection."""

    def __init__(self, link: SimulatorLink, scale: float, program: Executable | None) -> None:
        """Takes over an open connection.

        Args:
            link: The connection.
            scale: What the car's generation divides its reports by.
            program: The simulator, if it ends with the connection.
        """
        self.link = link
        self._scale = scale
        self._program = program
        self._lost = self._closed = False
        self._arrived = self._latency = math.nan

    def reset(self, place: Place | None = None) -> Sight:
        """Puts the car at rest on its own start, or elsewhere where the simulator allows that.

        Raises:
            LinkError: The simulator failed.
        """
        self._check_open()
        try:
            frame = self.link.reset()
        except (LinkClosed, LinkTimeout):
            self.link.reconnect()
            frame = self.link.reset()
        told = frame.telemetry
        # Simulators before 2022 know no set_position, and where none are sent none is taken.
        if place is not None and told.is_of_2022 and told.position is not None:
            frame = self._put(frame, place)
        self._arrived, self._latency = frame.arrived, math.nan
        return _sight(frame, 0)

    def _put(self, frame: Frame, place: Place) -> Frame:
        """Asks for a place; returns the first frame from there, or the last seen."""
        height = frame.telemetry.position[1] * self._scale if frame.telemetry.position else 0.0
        self.link.set_position(place.x, height, place.z, place.yaw)
        for k in range(_PLACE_FRAMES):
            # In lock-step the place is shown at once, unasked: a command as well would leave
            # its answer under way, to be taken for that of the first action.
            if k:
                self.link.control(0.0, 0.0, 1.0)
            try:
                frame = self.link.next_frame(None if k else _UNASKED_S)
            except LinkTimeout:
                if k:
                    raise
            found = frame.telemetry.position
            if found is None:
                break
            gap = math.hypot(found[0] * self._scale - place.x, found[2] * self._scale - place.z)
            if gap < _NEAR:
                break
        return frame

    def send(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        """Sends a command; that the connection is lost is seen to by `receive`.

        Raises:
            LinkClosed: It was closed here.
        """
        self._check_open()
        try:
            self.link.control(steering, throttle, brake)
            self._latency = time.perf_counter() - self._arrived
        except (LinkClosed, LinkTimeout):
            self._lost = True

    def receive(self) -> Sight:
        """Waits for the first message that follows the command.

        A connection that is lost is made anew, if it can be; the car is then back on its start.

        Raises:
            LinkError: The simulator failed.
        """
        if not self._lost:
            try:
                frame = self.link.next_frame()
            except (LinkClosed, LinkTimeout):
                self._lost = True
            else:
                self._arrived = frame.arrived
                sight = _sight(frame, frame.skipped, restarted=frame.reconnected)
                return sight._replace(latency_s=self._latency)
        self._lost = False
        self.link.reconnect()
        frame = self.link.reset()
        self._arrived = frame.arrived
        return _sight(frame, 0, restarted=True)

    def close(self) -> None:
        """Closes the connection, and ends the simulator if it was started for this."""
        self._closed = True
        try:
            self.link.close()
        finally:
            if self._program is not None:
                self._program.close()

    def _check_open(self) -> None:
        """Refuses to connect again for somebody who has given the car up."""
        if self._closed:
            link = self.link.config
            raise LinkClosed(
                "The environment was closed",
                host=link.host,
                port=link.port,
                scene=link.scene,
                awaited="nothing any more",
                remedy="Make a new one.",
            )


def _sight(frame: Frame, missed: int, *, restarted: bool = False) -> Sight:
    telemetry = dataclasses.replace(frame.telemetry, hit=frame.hit)
    return Sight(telemetry, frame.image, missed, restarted, frame.image_b)


def open_sources(
    config: EnvironmentConfig, places: Sequence[Address | pathlib.Path]
) -> tuple[LinkSource, ...]:
    """Connects to simulators, starting those that are programs.

    Args:
        config: Track (the scene to load), car, camera and how connections are kept.
        places: One for each car.

    Raises:
        LinkError: One cannot be reached; those opened before are closed again.
    """
    scale = vehicles.load(config.vehicle).report_scale
    with contextlib.ExitStack() as opened:
        found = []
        for place in places:
            wanted = config.link.model_copy(
                update={"scene": _scene(config), "camera": config.camera}
            )
            link, program = _connect(place, wanted)
            source = LinkSource(link, scale, program)
            opened.callback(source.close)
            found.append(source)
        opened.pop_all()
    return tuple(found)


def _scene(config: EnvironmentConfig) -> str | None:
    """Returns the scene that a track is loaded by; of a track file `link.scene` says it."""
    return config.link.scene if track_names.is_file(config.track) else config.track


@contextlib.contextmanager
def open_link(
    place: Address | pathlib.Path, *, scene: str | None = None, link: LinkConfig | None = None
) -> Iterator[SimulatorLink]:
    """Connects to one simulator for a while, starting it if it is a program.

    Args:
        place: Where it is.
        scene: What to load where it stands in its menu.
        link: How the connection is kept.

    Raises:
        LinkError: It cannot be reached.
    """
    wanted = (link or LinkConfig()).model_copy(update={"scene": scene})
    opened, program = _connect(place, wanted)
    try:
        yield opened
    finally:
        try:
            opened.close()
        finally:
            if program is not None:
                program.close()


def _connect(
    place: Address | pathlib.Path, wanted: LinkConfig
) -> tuple[SimulatorLink, Executable | None]:
    """Opens a connection; a program is started first and given time to answer."""
    if isinstance(place, Address):
        link = SimulatorLink(wanted.model_copy(update=place._asdict()))
        link.open()
        return link, None
    port = free_port(wanted.port)
    program = Executable(place, port)
    try:
        link = SimulatorLink(wanted.model_copy(update={"host": "127.0.0.1", "port": port}))
        _await_program(link, program, wanted.start_timeout_s)
    except BaseException:
        program.close()
        raise
    return link, program


def _await_program(link: SimulatorLink, program: Executable, timeout_s: float) -> None:
    """Connects as soon as the program listens, unless it ends before.

    Raises:
        LinkRefused: The program has ended, or does not listen in time.
    """
    deadline = time.perf_counter() + timeout_s
    while True:
        program.check()
        if program.listens(_POLL_S):
            break
        if time.perf_counter() > deadline:
            raise LinkRefused(
                f"The simulator was started but does not listen after {timeout_s:.0f} s",
                host="127.0.0.1",
                port=program.port,
                scene=None,
                awaited="an open port",
                remedy="Start it by hand and name HOST:PORT; a training or evaluation waits "
                f"longer with --set link.start_timeout_s={2 * timeout_s:.0f}.",
            )
    link.open()
