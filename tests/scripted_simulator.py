"""A small simulator of tests on a real socket: it plays one scene, and any fault on request."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

from PIL import Image

from donkey_rl.envs.link.link import SimulatorLink


def picture(width: int = 160, height: int = 120) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (10, 200, 30)).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


class ScriptedSimulator:
    """Serves one client after the other; each `control` is answered with one telemetry.

    With throttle above the brake the car moves 1 a message; `reset_car` puts it back to 0.
    """

    def __init__(
        self, *, greeting: str = "car_loaded", scenes: tuple[str, ...] = (), gives: bool = True
    ) -> None:
        self.greeting = greeting
        self.scenes = scenes
        self.gives = gives
        self.image = picture()
        self.stale = 0
        self.answers = True
        self.delay_s = 0.0
        self.received: list[dict[str, str]] = []
        self.connections = 0
        self.told = self.taken = 0
        self.client: socket.socket | None = None
        self._place = self._speed = self._time = 0.0
        self._steering = self._throttle = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A blocked accept ends with a shut listener.
        self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        self._thread.join(10.0)
        self._listener.close()

    def hang_up(self) -> None:
        client = self.client
        if client is not None:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def say(self, **fields: Any) -> None:
        assert self.client is not None
        self.client.sendall(json.dumps(fields).encode() + b"\n")

    def settle(self, link: SimulatorLink) -> None:
        """Waits until all answers have come: none is then taken for that to a later command."""
        ends = time.monotonic() + 60.0
        while True:
            found = link.statistics()
            if (found.sent_bytes, found.frames) == (self.taken, self.told):
                return
            assert time.monotonic() < ends, found
            time.sleep(0.002)

    def types(self) -> list[str]:
        return [each["msg_type"] for each in self.received]

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self.client = client
                self.connections += 1
                self._place = self._speed = 0.0
                try:
                    self._talk(client)
                except OSError:
                    continue

    def _talk(self, client: socket.socket) -> None:
        if self.greeting:
            self.say(msg_type=self.greeting)
        pending = b""
        while data := client.recv(65536):
            pending += data
            *whole, pending = pending.replace(b"}", b"}\n").split(b"\n")
            for line in whole:
                message = json.loads(line)
                self.received.append(message)
                if self.answers:
                    time.sleep(self.delay_s)
                    self._answer(message)
            self.taken += len(data)

    def _answer(self, message: dict[str, str]) -> None:
        match message["msg_type"]:
            case "get_scene_names":
                self.say(scene_names=list(self.scenes), msg_type="scene_names")
            case "load_scene" | "racer_info" if self.gives:
                self.say(msg_type="car_loaded")
            case "control":
                self._steering = float(message["steering"])
                self._throttle = float(message["throttle"])
                self._speed = 1.0 if self._throttle > float(message["brake"]) else 0.0
                self._place += self._speed
                self.telemetry()
            case "reset_car":
                for _ in range(self.stale):
                    self.telemetry(hit="wall")
                self._place = self._speed = 0.0
                self.telemetry()
            case "cam_config":
                self.telemetry()
            case "node_position" if int(message["index"]) < 3:
                index = int(message["index"])
                self.say(
                    msg_type="node_position", index=index, pos_x=float(index), pos_y=0, pos_z=2
                )

    def telemetry(self, **other: Any) -> None:
        self._time += 0.05
        fields = {
            "msg_type": "telemetry",
            "steering_angle": self._steering,
            "throttle": self._throttle,
            "image": self.image,
            "hit": "none",
            "time": self._time,
            "speed": self._speed,
            "pitch": 0,
            "yaw": 0,
            "roll": 0,
            "cte": 3.0,
            "pos_x": self._place,
            "pos_y": 0.1,
            "pos_z": 0.0,
        }
        self.say(**fields | other)
        self.told += 1
