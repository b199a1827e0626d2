"""A race host of tests on a real socket: frames by the clock, and whatever it is told to do."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

from tests.scripted_simulator import picture

RATE_S = 0.05
DEADLINE_S = 20.0


class FrameHost:
    """Serves one client after the other; who connects is told what `greeting` says.

    After `car_loaded` it sends a frame every `RATE_S`, simulation time running `scale` times as
    fast, with what `changed` says in place of the usual fields. A car with throttle has a speed
    of 1. While `reading` is cleared it takes no byte.
    """

    def __init__(self, port: int = 0, *, greeting: tuple[str, ...] = ("car_loaded",)) -> None:
        self.greeting = greeting
        self.scale = 1.0
        self.changed: dict[str, Any] = {"accel_x": 0, "accel_y": 0, "accel_z": 0}
        self.changed |= {"gyro_x": 0, "gyro_y": 0, "gyro_z": 0}
        self.received: list[tuple[float, dict[str, str]]] = []
        self.sent: list[float] = []
        self.flowing = threading.Event()
        self.flowing.set()
        self.reading = threading.Event()
        self.reading.set()
        self._image = picture()
        self._began = time.monotonic()
        self._over = threading.Event()
        self._client: socket.socket | None = None
        self._has_car = False
        self._throttle = 0.0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        # What is not read fills it soon.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._serve, self._send)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self.flowing.set()
        self.reading.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._listener.close()

    def hang_up(self) -> None:
        client, self._client, self._has_car = self._client, None, False
        if client is not None:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def say(self, **fields: Any) -> None:
        self.send_bytes(json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._client is not None:
                self._client.sendall(data)

    def take_car(self) -> None:
        """The car is gone, as between two runs; nothing is said."""
        self._has_car = False

    def give_car(self) -> None:
        self.say(msg_type="car_loaded")
        self._has_car = True

    def controls(self) -> list[tuple[float, float, float, float]]:
        """When which steering, throttle and brake came."""
        return [
            (at, float(each["steering"]), float(each["throttle"]), float(each["brake"]))
            for at, each in list(self.received)
            if each["msg_type"] == "control"
        ]

    def types(self) -> list[str]:
        return [each["msg_type"] for _, each in list(self.received)]

    def moves(self, since: float = 0.0) -> list[float]:
        """When throttle came."""
        return [at for at, _, throttle, _ in self.controls() if throttle != 0.0 and at > since]

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._client = client
                for each in self.greeting:
                    self.say(msg_type=each)
                self._has_car = "car_loaded" in self.greeting
                with contextlib.suppress(OSError):
                    self._talk(client)
                self._has_car = False

    def _talk(self, client: socket.socket) -> None:
        pending = b""
        while data := client.recv(65536):
            pending += data
            self.reading.wait()
            *whole, pending = pending.replace(b"}", b"}\n").split(b"\n")
            for line in whole:
                message = json.loads(line)
                self.received.append((time.monotonic(), message))
                if message["msg_type"] == "control":
                    self._throttle = float(message["throttle"])

    def _send(self) -> None:
        while not self._over.wait(RATE_S):
            self.flowing.wait()
            if self._has_car:
                self.frame()

    def frame(self, **other: Any) -> None:
        """Sends one frame."""
        fields = {
            "msg_type": "telemetry",
            "steering_angle": 0.0,
            "throttle": 0.0,
            "image": self._image,
            "hit": "none",
            "time": self.scale * (time.monotonic() - self._began),
            "speed": 0.0 if self._throttle == 0.0 else 1.0,
            "pitch": 0,
            "yaw": 0,
            "roll": 0,
        }
        self.sent.append(time.monotonic())
        self.say(**(fields | self.changed | other))
