"""A simulator of tests that does one thing wrong at one point of its life cycle."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import random
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Any

from PIL import Image

from tests.scripted_simulator import ScriptedSimulator, picture

SCENE = "waveshare"
GREETINGS = {"car_loaded": 1, "need_car_config": 2, "scene_selection_ready": 3}
"""What a simulator says first, and how many messages it sends until telemetry begins."""

_TELEMETRY = 8
"""A fault strikes with one of so many messages of telemetry; `walk` awaits more."""

_PAUSE_S = 0.02
_CHUNK = 1 << 16

FATAL = (
    "orderly close", "reset of the connection", "silence", "half-open", "half-open, all taken",
    "garbage without end", "one message without end", "nesting without end", "heartbeats only",
    "truncated pictures", "decompression bombs", "pictures of another size", "NaN telemetry",
)  # fmt: skip
"""After these no client can go on."""

SURVIVED = (
    "glued", "split", "cut off", "decimal commas", "a truncated picture", "a decompression bomb",
    "a NaN message", "a little garbage", "unknown types", "early telemetry", "unasked scene names",
    "a new car", "unasked reports", "a race host that asks again",
)  # fmt: skip
"""Of these a client takes no notice but in its counts."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What goes wrong.

    Attributes:
        fault: One of `FATAL` or `SURVIVED`.
        greeting: Which life cycle is played.
        at: It strikes with the message of this number; None: with the first after a reset.
        after: Whether that message still gets through.
        compact: Whether messages are written without spaces, as by Unity.
    """

    fault: str
    greeting: str
    at: int | None
    after: bool
    compact: bool

    @classmethod
    def of(cls, seed: int) -> Plan:
        """All faults in turn; the rest by chance."""
        rng = random.Random(seed)
        every = FATAL + SURVIVED
        fault = every[seed % len(every)]
        greeting = rng.choice(list(GREETINGS))
        if fault == "early telemetry":
            greeting = "car_loaded"
        last = GREETINGS[greeting] + _TELEMETRY
        # One that only sends never resets.
        resets = fault != "half-open, all taken" and rng.random() < 0.2
        at = None if resets else rng.randrange(last)
        if fault == "early telemetry":
            at = 0
        # A new car shows itself at once: it is not driven by commands to the one before.
        after = fault != "a new car" and rng.random() < 0.4
        return cls(fault, greeting, at, after, rng.random() < 0.5)


def truncated_jpeg() -> str:
    stream = io.BytesIO()
    Image.new("RGB", (160, 120), (10, 200, 30)).save(stream, format="JPEG")
    return base64.b64encode(stream.getvalue()[:-300]).decode()


def bomb(side: int) -> str:
    """A PNG of few bytes and many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")).decode()


class FaultySimulator(ScriptedSimulator):
    """Plays a life cycle until its fault strikes."""

    def __init__(self, plan: Plan, seed: int) -> None:
        super().__init__(greeting=plan.greeting, scenes=(SCENE, "warren"))
        self.plan = plan
        self.struck = False
        self._rng = random.Random(seed)
        self._number = 0
        self._resetting = False
        self._rewrite: Callable[[dict[str, Any]], bytes | None] = self._write
        self._over = threading.Event()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        super().__exit__(kind, error, traceback)

    def _answer(self, message: dict[str, str]) -> None:
        self._resetting = self._resetting or message["msg_type"] == "reset_car"
        super()._answer(message)

    def say(self, **fields: Any) -> None:
        due = self._resetting if self.plan.at is None else self._number == self.plan.at
        self._number += 1
        if fields["msg_type"] == "car_loaded":
            self._place = self._speed = 0.0
        if due and not self.struck:
            self.struck = True
            if self.plan.after:
                self._send(self._write(fields))
            self._strike()
            if self.plan.after and self.plan.fault in SURVIVED:
                return
            # A new car stands on its start.
            fields = self._with(fields, pos_x=self._place, speed=self._speed)
        self._send(self._rewrite(fields))

    def _send(self, data: bytes | None) -> None:
        if data is not None and self.client is not None:
            self.client.sendall(data)

    def _write(self, fields: dict[str, Any]) -> bytes:
        separators = (",", ":") if self.plan.compact else None
        return json.dumps(fields, separators=separators).encode() + b"\n"

    def _strike(self) -> None:
        assert self.client is not None
        match self.plan.fault:
            case "orderly close":
                self.client.shutdown(socket.SHUT_RDWR)
                raise OSError("closed")
            case "reset of the connection":
                linger = struct.pack("ii", 1, 0)
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.client.close()
                raise OSError("closed")
            case "silence":
                self._rewrite = lambda _: None
            case "half-open" | "half-open, all taken":
                self._over.wait()
            case "garbage without end":
                self._flood(lambda: self._rng.randbytes(_CHUNK))
            case "one message without end":
                self._flood(lambda: b"A" * _CHUNK, b'{"msg_type":"telemetry","image":"')
            case "nesting without end":
                self._flood(lambda: b'{"a":[' * (_CHUNK // 6))
            case "heartbeats only":
                while not self._over.wait(_PAUSE_S):
                    self.client.sendall(self._rng.choice([b"{}\n", b'{"msg_type" : "ping"}\n']))
            case "truncated pictures":
                self._rewrite = lambda each: self._write(self._with(each, image=truncated_jpeg()))
            case "decompression bombs":
                self._rewrite = lambda each: self._write(self._with(each, image=bomb(10_000)))
            case "pictures of another size":
                self._rewrite = lambda each: self._write(self._with(each, image=picture(64, 48)))
            case "NaN telemetry":
                self._rewrite = lambda each: self._write(self._with(each, time="NaN"))
            case _:
                self._disturb()

    def _with(self, fields: dict[str, Any], **other: Any) -> dict[str, Any]:
        return fields | other if fields["msg_type"] == "telemetry" else fields

    def _flood(self, more: Callable[[], bytes], first: bytes = b"") -> None:
        assert self.client is not None
        self.client.sendall(first)
        while not self._over.is_set():
            self.client.sendall(more())

    def _disturb(self) -> None:
        """Does something that a client survives."""
        assert self.client is not None
        seen = {"msg_type": "telemetry", "time": 0.5, "speed": 0.0, "image": self.image}
        match self.plan.fault:
            case "glued":
                ping = b'{"msg_type" : "ping"}'
                self._rewrite = lambda each: b"{}" + self._write(each).strip() + ping
            case "split":
                self._rewrite = self._split
            case "cut off":
                self._rewrite = self._cut
            case "decimal commas":
                self._rewrite = lambda each: self._write(each).replace(b"0.1", b"0,1")
            case "a truncated picture":
                self.client.sendall(self._write(seen | {"image": truncated_jpeg()}))
            case "a decompression bomb":
                side = self._rng.choice([10_000, 30_000])
                self.client.sendall(self._write(seen | {"image": bomb(side)}))
            case "a NaN message":
                name = self._rng.choice(["time", "speed"])
                self.client.sendall(self._write(seen | {name: "NaN", "steering_angle": "INF"}))
            case "a little garbage":
                plain = self._rng.randbytes(self._rng.randint(1, 5000)).replace(b"{", b"")
                self.client.sendall(plain + b"\n")
            case "unknown types":
                for k in range(300):
                    self.client.sendall(self._write({"msg_type": f"new {k}", "value": [k]}))
            case "early telemetry":
                self._early(seen)
            case "unasked scene names":
                self.client.sendall(
                    self._write({"scene_names": [SCENE], "msg_type": "scene_names"})
                )
            case "a new car":
                self._place = self._speed = 0.0
                self.client.sendall(self._write({"msg_type": "car_loaded"}))
            case "unasked reports":
                for kind in ("race_stop", "DQ", "missed_checkpoint", "race_start"):
                    self.client.sendall(self._write({"msg_type": kind}))
                self.client.sendall(self._write({"msg_type": "cross_start", "lap_time": "12.5"}))
            case "a race host that asks again":
                self.client.sendall(self._write({"msg_type": "need_car_config"}))

    def _early(self, seen: dict[str, Any]) -> None:
        """Telemetry before anything else, as the simulator sends it to the car of a newcomer."""
        place = {"pos_x": 0.0, "pos_y": 0.1, "pos_z": 0.0}
        turned = {"pitch": 0, "yaw": 0, "roll": 0}
        self._send(self._write(seen | place | turned))

    def _split(self, fields: dict[str, Any]) -> None:
        assert self.client is not None
        data = self._write(fields)
        while data:
            size = self._rng.randint(1, 60)
            self.client.sendall(data[:size])
            data = data[size:]

    def _cut(self, fields: dict[str, Any]) -> bytes:
        whole = self._write(fields)
        begin = self._write({"msg_type": "telemetry", "time": 1.0, "image": self.image})
        piece = begin[: self._rng.randint(1, len(begin) - 3)]
        # Only a message that begins with its type can be told from the inside of another.
        return piece + whole if whole.startswith(b'{"msg_type"') else piece + b"\n" + whole
