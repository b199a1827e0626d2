"""Several cars of one team in one process, with one page."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from donkey_rl.race_server.config import RaceConfig


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


def race(
    configs: Sequence[RaceConfig],
    announce: Callable[[str, Sequence[int]], None],
    *,
    ended: threading.Event,
    minutes: float | None = None,
) -> tuple[CarResult, ...]:
    """Races with one car for each configuration until it is ended.

    The page is that of the first configuration that has one; each car has its own record and, as
    far as it is configured, its own `/wsDrive`.

    Args:
        configs: One for each car.
        announce: Told once all is up: address of the page (empty without one), and the ports of
            `/wsDrive`.
        ended: Set by whoever wants the race to end.
        minutes: After so much time it ends by itself (min).

    Raises:
        InputError: A driver does not fit, before or at the first message of the host.
        LinkProtocolError: What listens there is no simulator.
    """
    raise NotImplementedError
