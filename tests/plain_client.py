"""A driver written from the protocol's documentation alone: a socket and JSON, nothing of ours."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Message = dict[str, Any]

DEADLINE_S = 60.0

CAMERA = {
    "fov": "0", "offset_x": "0", "offset_y": "0", "offset_z": "0", "rot_x": "0",
    "fish_eye_x": "0", "fish_eye_y": "0", "img_w": "0", "img_h": "0", "img_d": "0", "img_enc": "",
}  # fmt: skip
LIDAR = {
    "offset_x": "0", "offset_y": "0", "offset_z": "0", "rot_x": "0", "degPerSweepInc": "2",
    "degAngDown": "25", "degAngDelta": "-1", "numSweepsLevels": "25", "maxRange": "50",
    "noise": "0",
}  # fmt: skip


class PlainClient:
    """One connection to a simulator."""

    def __init__(self, port: int) -> None:
        self.link = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting = b""
        self.beats = 0

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.link.close()

    def send_bytes(self, data: bytes) -> None:
        self.link.sendall(data)

    def send(self, msg_type: str, **fields: Any) -> None:
        self.send_bytes(json.dumps({"msg_type": msg_type, **fields}).encode())

    def read(self, timeout_s: float = DEADLINE_S, *, signs: bool = False) -> Message:
        """The next message; raises EOFError once the simulator has hung up.

        Signs of life, which come to who was silent for 3 s, are passed over unless asked for.
        """
        end = time.monotonic() + timeout_s
        while True:
            while b"\n" not in self.waiting:
                self.link.settimeout(max(0.001, end - time.monotonic()))
                data = self.link.recv(1 << 18)
                if not data:
                    raise EOFError("The simulator has hung up.")
                self.waiting += data
            line, _, self.waiting = self.waiting.partition(b"\n")
            message = json.loads(line)
            assert isinstance(message, dict)
            if signs or message not in ({}, {"msg_type": "ping"}):
                return message

    def until(self, *msg_types: str) -> Message:
        """The next message of these types; others are passed over."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            message = self.read()
            if message.get("msg_type") in msg_types:
                return message
        raise TimeoutError(f"No {msg_types} in {DEADLINE_S:.0f} s.")

    def telemetry(self) -> Message:
        return self.until("telemetry")

    def telemetry_with(self, name: str) -> Message:
        """The next that has this field: what was under way before it was asked for may lack it."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            if name in (told := self.telemetry()):
                return told
        raise TimeoutError(f"No telemetry with {name!r} in {DEADLINE_S:.0f} s.")

    def drive(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        values = {"steering": steering, "throttle": throttle, "brake": brake}
        self.send("control", **{name: repr(float(value)) for name, value in values.items()})

    def step(self, steering: float, throttle: float, brake: float = 0.0) -> Message:
        """In lock-step: a command and the telemetry that answers it."""
        self.drive(steering, throttle, brake)
        return self.telemetry()

    def reset(self) -> Message:
        """In lock-step: back to the start, and the telemetry from there."""
        self.send("reset_car")
        return self.telemetry()

    def camera(self, which: str = "cam_config", **changed: str) -> None:
        self.send(which, **(CAMERA | changed))

    def enter(self) -> Message:
        """In lock-step, where a scene runs: the first telemetry."""
        assert self.read()["msg_type"] == "car_loaded"
        return self.telemetry()

    def is_hung_up(self) -> bool:
        """Whether the simulator ends the connection; waits for it."""
        end = time.monotonic() + DEADLINE_S
        with contextlib.suppress(ConnectionError, EOFError):
            while time.monotonic() < end:
                self.read()
            return False
        return True

    def answers(self) -> list[str]:
        """What comes until the menu or a scene of 2022 has answered a harmless question."""
        self.send("get_protocol_version")
        found: list[str] = []
        while not found or found[-1] != "protocol_version":
            found.append(str(self.read().get("msg_type")))
        return found[:-1]


def picture(text: str) -> npt.NDArray[np.uint8]:
    """A picture of a message, shape (h, w, 3)."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB"))
