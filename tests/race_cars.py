"""What a race car needs in tests: a seat, a tape and a board that keep what they are told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.manifest import DriverDescription, ObservationSpec
from donkey_rl.race_server.car import Car
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.interface import Answer, Kind, Level
from donkey_rl.race_server.status import CarStatus, RecordStatus

DEADLINE_S = 60.0
CAMERA = {"img_w": 160, "img_h": 120}
FULL_AHEAD = np.array([0.0, 1.0], np.float32)

Act = Callable[[Mapping[str, npt.NDArray[Any]]], Answer]


def description(**changed: Any) -> DriverDescription:
    values: dict[str, Any] = {
        "agent": "test",
        "vehicle": "donkey_2022",
        "tracks": ("generated_track",),
        "simulator": "embedded",
        "camera": CAMERA,
        "throttle_limits": (0.0, 0.3),
    }
    return DriverDescription(**values | changed)


def observation(height: int = 120, width: int = 160, history: int = 3) -> ObservationSpec:
    scaling = {"speed": 2.0, "yaw_rate": 1.0}
    return ObservationSpec(
        image_shape=(height, width, 3),
        history=history,
        scaling=scaling,  # type: ignore[arg-type]
    )


def ahead(seen: Mapping[str, npt.NDArray[Any]]) -> Answer:
    return Answer(FULL_AHEAD, "", 0.001)


class FakeSeat:
    """Drivers that are functions; the first one sits."""

    def __init__(self, act: Act = ahead, *spares: Act, **described: Any) -> None:
        self.acts = (act, *spares)
        self.names = tuple(f"driver {k}" for k in range(len(self.acts)))
        self.described = [description(**described) for _ in self.acts]
        self.sees = [observation() for _ in self.acts]
        self.warnings: tuple[str, ...] = ()
        self.seen: list[dict[str, npt.NDArray[Any]]] = []
        self.seated = 0

    @property
    def name(self) -> str:
        return self.names[self.seated]

    @name.setter
    def name(self, value: str) -> None:
        self.seated = self.names.index(value)

    @property
    def description(self) -> DriverDescription:
        return self.described[self.seated]

    @description.setter
    def description(self, value: DriverDescription) -> None:
        self.described[self.seated] = value

    @property
    def observation(self) -> ObservationSpec:
        return self.sees[self.seated]

    @observation.setter
    def observation(self, value: ObservationSpec) -> None:
        self.sees[self.seated] = value

    def act(self, observation: Mapping[str, npt.NDArray[Any]], within_s: float) -> Answer:
        self.seen.append({name: np.array(value) for name, value in observation.items()})
        return self.acts[self.seated](observation)

    def change(self, name: str) -> None:
        self.name = name

    def change_to_spare(self) -> bool:
        if self.seated + 1 == len(self.names):
            return False
        self.seated += 1
        return True

    def close(self) -> None:
        return


class MemoryTape:
    """Keeps all lines, with the time at which each came."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, Kind, dict[str, Any]]] = []
        self.status = RecordStatus()

    def note(self, kind: Kind, fields: Mapping[str, Any], picture: bytes | None = None) -> None:
        self.lines.append((time.monotonic(), kind, dict(fields)))

    def close(self) -> None:
        return

    def of(self, kind: Kind) -> list[dict[str, Any]]:
        return [fields for _, each, fields in self.lines if each == kind]

    def moves(self) -> list[tuple[float, dict[str, Any]]]:
        """When which commands left that are not the full brake."""
        return [
            (at, fields)
            for at, kind, fields in self.lines
            if kind == "command" and (fields["throttle"] != 0.0 or fields["brake"] < 1.0)
        ]


class MemoryBoard:
    """Keeps the last status and all of the log."""

    def __init__(self) -> None:
        self.status: CarStatus | None = None
        self.pictures = 0
        self.said: list[tuple[Level, str]] = []

    def show(self, status: CarStatus, picture: bytes | None) -> None:
        self.status = status
        self.pictures += picture is not None

    def log(self, car: str, level: Level, text: str) -> None:
        self.said.append((level, text))


class Rig:
    """A car that runs, and what it has told."""

    def __init__(self, config: RaceConfig, seat: FakeSeat) -> None:
        self.seat = seat
        self.tape = MemoryTape()
        self.board = MemoryBoard()
        self.car = Car(config, seat, self.tape, self.board)

    def wait(self, until: Callable[[CarStatus], bool], within_s: float = DEADLINE_S) -> CarStatus:
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            status = self.car.status
            if until(status):
                return status
            time.sleep(0.01)
        raise TimeoutError(f"Not within {within_s} s: {self.car.status}")


def settings(port: int, **changed: Any) -> RaceConfig:
    values: dict[str, Any] = {
        "port": port,
        "guid": "a-guid",
        "page": None,
        "start": "car",
        "watchdog": {"frame_s": 0.5},
    }
    return RaceConfig(**values | changed)


@contextlib.contextmanager
def running(config: RaceConfig, seat: FakeSeat | None = None) -> Iterator[Rig]:
    """A car that runs while the block does."""
    rig = Rig(config, seat or FakeSeat())
    thread = threading.Thread(target=rig.car.run)
    thread.start()
    try:
        yield rig
    finally:
        rig.car.end()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()
