"""Several cars of one team in one process, with one page."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import math
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from donkey_rl import stop_signals
from donkey_rl.errors import ConfigurationError, InputError, UnknownNameError
from donkey_rl.race_server import garage, race_figures
from donkey_rl.race_server.car import Car
from donkey_rl.race_server.config import PageConfig, RaceConfig
from donkey_rl.race_server.drive_socket import DriveSocket
from donkey_rl.race_server.interface import Board, Level
from donkey_rl.race_server.orders import Order
from donkey_rl.race_server.page.board import Page
from donkey_rl.race_server.record import header
from donkey_rl.race_server.record.header import RecordedDriver
from donkey_rl.race_server.record.tape import FileTape, new_folder
from donkey_rl.race_server.status import CarStatus

LOGGER = logging.getLogger("donkey_rl.race_server")

_LOOKS_S = 0.2
_MOST_LINES = 1000
_GOODBYE_S = 1.0
_SWITCH_S = 0.001


@dataclasses.dataclass(frozen=True)
class CarResult:
    """What a car has done.

    Attributes:
        car: Its name in the team.
        driver: Who drove it at the end.
        laps: Laps from line to line, as the host told them.
        best_lap_s: The best of them (s), None without one.
        disconnects: How often the connection was lost.
        frames: Frames that came.
        latency_ms: From a frame's arrival to its command: `p50`, `p95`, `p99`; empty before any.
        faults: What went wrong, and how often.
        record: Folder of its record.
        failure: Why it was out before its first frame, empty if it was not.
        is_input: Whether the user can mend that.
    """

    car: str
    driver: str
    laps: int
    best_lap_s: float | None
    disconnects: int
    frames: int
    latency_ms: Mapping[str, float]
    faults: Mapping[str, int]
    record: Path
    failure: str = ""
    is_input: bool = False


@contextlib.contextmanager
def until_told() -> Iterator[threading.Event]:
    """Yields what Ctrl-C, SIGTERM and the end of the terminal set; a second Ctrl-C is raised."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if ended.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        ended.set()

    with stop_signals.handled(end):
        yield ended


class NoBoard:
    """Shows nothing: a team without a page."""

    def show(self, status: CarStatus, picture: bytes | None) -> None:
        """Does nothing."""

    def log(self, car: str, level: Level, text: str) -> None:
        """Does nothing."""


@dataclasses.dataclass(frozen=True)
class Started:
    """A team that is up.

    Attributes:
        url: Address of the page, empty without one.
        drive_ports: Ports of `/wsDrive`.
        records: Folders of the cars' records.
    """

    url: str
    drive_ports: tuple[int, ...]
    records: tuple[Path, ...]


def race(
    configs: Sequence[RaceConfig],
    announce: Callable[[Started], None],
    *,
    ended: threading.Event,
    minutes: float | None = None,
    log: Callable[[str, Level, str], None] = lambda car, level, text: None,
    watch: Callable[[CarStatus], None] = lambda status: None,
) -> tuple[CarResult, ...]:
    """Races with one car for each configuration until it is ended.

    The page is that of the first configuration that has one; each car has its own record and, as
    far as it is configured, its own `/wsDrive`. A car that turns out not to fit its host is out,
    which is told at once; the others race on.

    Args:
        configs: One for each car.
        announce: Told once all is up.
        ended: Set by whoever wants the race to end.
        minutes: After so much time it ends by itself (min).
        log: Told what the cars say, by their name, in a thread of its own: a terminal that takes
            nothing holds up no car.
        watch: Shown every status, by the cars' threads: it must not wait.

    Raises:
        InputError: A driver does not fit, before anything is connected; or, of the last car that
            was left, driver, host or scene do not.
        LinkProtocolError: The same, and what listens there is no simulator.
        StorageError: The driver's run store is away, and it was never fetched before.
    """
    if not configs:
        raise ConfigurationError("A team has one car at least. Received: none.")
    _check_guids(configs)
    with contextlib.ExitStack() as opened:
        cars: dict[str, Car] = {}

        def order(name: str, wanted: Order) -> None:
            if name not in cars:
                raise UnknownNameError("car", name, cars)
            cars[name].order(wanted)

        url, board = _board(configs, order, opened)
        told = opened.enter_context(contextlib.closing(_Told(board, log, watch)))
        records = []
        for name, config in zip(_names(configs), configs, strict=True):
            car, record = _prepare(name, config, told, opened)
            cars[name] = car
            records.append(record)
        ports = tuple(
            opened.enter_context(DriveSocket(config.drive, car.order)).port
            for car, config in zip(cars.values(), configs, strict=True)
            if config.drive is not None
        )
        announce(Started(url, ports, tuple(records)))
        with _prompt():
            _run(list(cars.values()), ended, minutes, told)
        return tuple(
            _result(car, record) for car, record in zip(cars.values(), records, strict=True)
        )


@contextlib.contextmanager
def _prompt() -> Iterator[None]:
    """Keeps the interpreter from holding up commands while cars race.

    What is loaded by now stays, and need not be gone through for garbage each time; and no
    thread computes for as long as 5 ms, the usual time, while a car's waits for its turn.
    """
    interval = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()


class _Told:
    """A board that tells somebody else as well."""

    def __init__(
        self,
        board: Board,
        log: Callable[[str, Level, str], None],
        watch: Callable[[CarStatus], None],
    ) -> None:
        self._board = board
        self._log = log
        self._watch = watch
        self._lines: queue.Queue[tuple[str, Level, str] | None] = queue.Queue(_MOST_LINES)
        self._thread = threading.Thread(target=self._tell, name="race log", daemon=True)
        self._thread.start()

    def show(self, status: CarStatus, picture: bytes | None) -> None:
        self._board.show(status, picture)
        self._watch(status)

    def log(self, car: str, level: Level, text: str) -> None:
        self._board.log(car, level, text)
        # Page and record have what nobody takes here.
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait((car, level, text))

    def close(self) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_GOODBYE_S)
        self._thread.join(_GOODBYE_S)

    def _tell(self) -> None:
        try:
            while (line := self._lines.get()) is not None:
                self._log(*line)
        except Exception:
            LOGGER.exception("What the cars say cannot be shown here; they drive on.")


def _check_guids(configs: Sequence[RaceConfig]) -> None:
    """Refuses cars that would take each other's place at the host."""
    seen: dict[tuple[str, int, str], str] = {}
    for config in configs:
        key = (config.host, config.port, config.guid)
        if config.guid and key in seen:
            raise ConfigurationError(
                "Expected cars with a guid each: with the same one the host takes them for one "
                f"competitor. Received: the same one for '{seen[key]}' and '{config.car_name}'. "
                "`donkey-rl race init` makes a race.yaml with another one."
            )
        seen[key] = config.car_name


def _names(configs: Sequence[RaceConfig]) -> list[str]:
    """Returns a name for each car that no other one has."""
    found: list[str] = []
    for config in configs:
        count = 1
        name = config.car_name
        while name in found:
            count += 1
            name = f"{config.car_name} {count}"
        found.append(name)
    return found


def _board(
    configs: Sequence[RaceConfig],
    order: Callable[[str, Order], None],
    opened: contextlib.ExitStack,
) -> tuple[str, Board]:
    """Opens the page; returns its address, and who shows."""
    wanted: PageConfig | None = next((each.page for each in configs if each.page), None)
    if wanted is None:
        return "", NoBoard()
    page = opened.enter_context(Page(wanted, order))
    return page.url, page


def _prepare(
    name: str, config: RaceConfig, board: Board, opened: contextlib.ExitStack
) -> tuple[Car, Path]:
    """Puts a driver into a car and a tape beside it; returns it and the folder of its record."""
    seat = garage.open_seat(
        (config.driver, *config.spares),
        config.records / garage.KEPT,
        garage.Fit(config.generation, config.scene),
    )
    opened.callback(seat.close)
    for warning in seat.warnings:
        board.log(name, "warning", warning)
    about = seat.description
    first = RecordedDriver(
        name=seat.name,
        hash=seat.hash,
        run_id=str(about.notes.get("run_id", "")),
        agent=about.agent,
    )
    spares = (RecordedDriver(name=each) for each in seat.names[1:])
    head = header.RecordHeader.of(
        config,
        car=name,
        vehicle=about.vehicle,
        camera=about.camera,
        drivers=(first, *spares),
    )
    folder = new_folder(config.records, config.scene, name)
    tape = FileTape(folder, head, secrets=header.secrets(config))
    opened.callback(tape.close)
    return Car(config, seat, tape, board, name=name), folder


def _run(cars: Sequence[Car], ended: threading.Event, minutes: float | None, board: Board) -> None:
    """Runs all cars until the race is ended, its time is over, or none is left.

    Raises:
        DonkeyRLError: None is left: why the last one is out. Of the others it was told.
    """
    out: list[Car] = []
    threads = [threading.Thread(target=car.run, name=f"race car {car.name}") for car in cars]
    for thread in threads:
        thread.start()
    end = math.inf if minutes is None else time.perf_counter() + 60.0 * minutes
    try:
        while (left := end - time.perf_counter()) > 0.0 and not ended.wait(min(left, _LOOKS_S)):
            _tell_out(cars, out, board)
            if len(out) == len(cars):
                break
    finally:
        for car in cars:
            car.end()
        for thread in threads:
            thread.join()
    _tell_out(cars, out, board)
    if len(out) == len(cars) and out[-1].failure is not None:
        raise out[-1].failure


def _tell_out(cars: Sequence[Car], out: list[Car], board: Board) -> None:
    """Tells of cars that are out since the last time, and adds them to those that were."""
    for car in cars:
        if car.failure is None or car in out:
            continue
        out.append(car)
        if len(out) < len(cars):
            board.log(car.name, "error", f"{car.failure} This car is out of the race.")


def _result(car: Car, record: Path) -> CarResult:
    status = car.status
    return CarResult(
        car=car.name,
        driver=status.driver,
        laps=car.laps,
        best_lap_s=status.best_lap_s,
        disconnects=status.disconnects,
        frames=status.frames,
        latency_ms=race_figures.named(status.latency.frame_to_command_ms),
        faults=status.faults,
        record=record,
        failure="" if car.failure is None else str(car.failure),
        is_input=isinstance(car.failure, InputError),
    )
