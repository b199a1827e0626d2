"""A team of cars for the live page: they do as they are told, and report as real ones do."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import threading
import time
from collections.abc import Callable, Iterator

from PIL import Image

from donkey_rl.race_server.config import PageConfig
from donkey_rl.race_server.orders import Brake, ChangeDriver, Go, Order, Stop
from donkey_rl.race_server.page.board import Page
from donkey_rl.race_server.status import CarStatus, LatencyStatus, RecordStatus

FRAME_S = 0.05
DRIVERS = ("lap18", "second-1", "second-2")


def picture(number: int) -> bytes:
    """Returns a JPEG of its own for each number."""
    content = io.BytesIO()
    Image.new("RGB", (160, 120), (number % 256, 90, 160)).save(content, "JPEG")
    return content.getvalue()


class FakeCar:
    """Goes on GO, stops on STOP, brakes and changes drivers as ordered."""

    def __init__(self, name: str, place: int = 0) -> None:
        self.orders: list[Order] = []
        self.braked = False
        self.place = place
        self.status = CarStatus(
            car=name,
            host="127.0.0.1:9091",
            phase="ready",
            reason="race_start has not come yet",
            driver=DRIVERS[0],
            drivers=DRIVERS,
            best_lap_s=18.24 + 0.37 * place,
            laps_s=(19.02 + place, 18.24 + 0.37 * place, 18.51 + 0.4 * place),
            record=RecordStatus("races/2026-11-28_evening", 8512, 3, ""),
            latency=LatencyStatus(
                round_trip_ms=112.0,
                frame_to_command_ms=(3.1, 4.8, 7.9),
                trained_ms=(60.0, 100.0),
                padding_ms=0.0,
                histogram=(0, 0, 0, 0, 0, 12, 240, 1620, 3100, 240, 44, 9, 2, 0),
            ),
        )

    def follow(self, order: Order) -> None:
        self.orders.append(order)
        if isinstance(order, Go):
            self.status = dataclasses.replace(self.status, go=True)
        elif isinstance(order, Stop):
            self.status = dataclasses.replace(self.status, go=False)
        elif isinstance(order, Brake):
            self.braked = order.on
        elif isinstance(order, ChangeDriver):
            moves = self.status.speed > 0.1
            name = {"next_driver": order.name} if moves else {"driver": order.name}
            self.status = dataclasses.replace(self.status, **name)

    def step(self) -> None:
        """Drives one frame on."""
        old = self.status
        at = old.time_s + FRAME_S
        moves = old.go and not self.braked
        throttle = 0.55 + 0.3 * math.sin(at / 1.7 + self.place) if moves else 0.0
        speed = max(0.0, old.speed + FRAME_S * (6.0 * throttle - 0.25 * old.speed))
        speed = speed if moves else max(0.0, speed - 6.0 * FRAME_S)
        stands = speed < 0.05
        phase = "driving" if moves else "ready" if stands and not old.go else "stopping"
        reason = {"driving": "race", "ready": "waits for GO", "stopping": "told to by the page"}
        self.status = dataclasses.replace(
            old,
            phase=phase,
            reason=reason[phase],
            time_s=at,
            speed=speed,
            throttle=throttle,
            steering=0.45 * math.sin(at / 1.1 + self.place) if moves else 0.0,
            brake=0.0 if moves else 1.0,
            frames=old.frames + 1,
            lap_time_s=at % 18.9 if old.go else None,
            driver=old.next_driver if stands and old.next_driver else old.driver,
            next_driver="" if stands else old.next_driver,
            latency=dataclasses.replace(
                old.latency, round_trip_ms=112.0 + 9.0 * math.sin(at / 2.3 + self.place)
            ),
        )


class Team:
    """Cars that report to a page from a thread of their own, 20 times a second."""

    def __init__(self, names: tuple[str, ...], draw: Callable[[int], bytes] = picture) -> None:
        self.cars = {name: FakeCar(name, place) for place, name in enumerate(names)}
        self.silent = threading.Event()
        self.frames = 0
        self.slowest_s = 0.0
        self._draw = draw
        self._ending = threading.Event()

    def follow(self, car: str, order: Order) -> None:
        self.cars[car].follow(order)

    def run(self, page: Page) -> None:
        while not self._ending.wait(FRAME_S):
            if self.silent.is_set():
                continue
            self.frames += 1
            drawn = self._draw(self.frames)
            for car in self.cars.values():
                car.step()
                began = time.thread_time()
                page.show(car.status, drawn)
                self.slowest_s = max(self.slowest_s, time.thread_time() - began)

    @contextlib.contextmanager
    def reporting(self, page: Page) -> Iterator[None]:
        thread = threading.Thread(target=self.run, args=[page])
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()


@contextlib.contextmanager
def shown(
    *names: str, draw: Callable[[int], bytes] = picture, token: str = ""
) -> Iterator[tuple[Page, Team]]:
    """Yields a page that shows a team."""
    team = Team(names, draw)
    with Page(PageConfig(port=0, token=token), team.follow) as page, team.reporting(page):
        yield page, team
