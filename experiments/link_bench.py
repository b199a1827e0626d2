"""Speed of the connection to a simulator, and of the served simulator.

The delay that the client adds is taken with a server that stamps what it sends and receives with
the clock that all processes of a machine share; a bare socket does the same beside it. The
served simulator is driven by 16 bare clients and one that never reads.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import selectors
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.link import SimulatorLink
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.experiments import bench_process

CLIENTS = 16
RATE_S = 0.05
_SKIPPED = 20
"""First frames that are not counted."""

FloatArray = npt.NDArray[np.float64]


def delays(seconds: float) -> dict[str, float]:
    """Returns the delay in ms of a command on its way out plus a frame on its way in.

    Args:
        seconds: How long each party drives, at 20 frames per second.

    Returns:
        Median and 99th percentile, `p50` and `p99` of the link (to decoded picture), and
        `socket_p50` and `socket_p99` of a bare socket that only splits lines.
    """
    frames = round(seconds / RATE_S)
    found: dict[str, float] = {}
    for prefix, drive in (("", _drive_link), ("socket_", _drive_socket)):
        with bench_process.started(_stamp) as pipe:
            called, returned, sent = drive(bench_process.told(pipe), frames)
            received = dict(bench_process.told(pipe))
        both = [
            1000.0 * (received[k] - called[k] + returned[k] - sent[k])
            for k in range(_SKIPPED, frames)
            if k in received
        ]
        p50, p99 = np.percentile(both, [50, 99])
        found |= {f"{prefix}p50": round(float(p50), 3), f"{prefix}p99": round(float(p99), 3)}
    return found


def served_rates(seconds: float) -> dict[str, float]:
    """Returns telemetry messages per second and client of the served simulator.

    Returns:
        `clients`, and `least` and `mean` over them.
    """
    config = ServerConfig(track="generated_track", port=0, private_port=None)
    with bench_process.started(_serve, config) as server:
        port = bench_process.told(server)
        with bench_process.started(_count_frames, port, seconds) as counting:
            rates = bench_process.told(counting, bench_process.START_S + 2.0 * seconds)
    return {
        "clients": float(CLIENTS),
        "least": round(min(rates), 2),
        "mean": round(float(np.mean(rates)), 2),
    }


def _serve(pipe: Pipe, config: ServerConfig) -> None:
    with background.running(config) as server:
        bench_process.tell(pipe, server.port)
        with contextlib.suppress(EOFError):
            bench_process.heard(pipe)


def _picture() -> str:
    """A picture of the usual size and detail."""
    from PIL import Image

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, size=(30, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((160, 120)).save(stream, format="JPEG", quality=75)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _stamp(pipe: Pipe) -> None:
    """Serves one client at 20 Hz until it leaves; sends when each command came, by its number."""
    picture = _picture()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bench_process.tell(pipe, listener.getsockname()[1])
        client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(b'{"msg_type":"car_loaded"}\n')
    received: dict[int, float] = {}
    due = time.perf_counter()
    with client:
        while True:
            client.settimeout(max(1e-4, due - time.perf_counter()))
            try:
                data = client.recv(65536)
            except TimeoutError:
                _send_frame(client, picture)
                due += RATE_S
                continue
            except OSError:
                break
            if not data:
                break
            for number in _numbers(data):
                received.setdefault(number, time.perf_counter())
    # As pairs: the keys of a JSON object are text.
    bench_process.tell(pipe, list(received.items()))


def _send_frame(client: socket.socket, picture: str) -> None:
    fields: dict[str, Any] = {"msg_type": "telemetry", "image": picture, "speed": 0.0}
    fields |= {"hit": "none", "time": time.perf_counter()}
    try:
        client.sendall(json.dumps(fields).encode() + b"\n")
    except OSError:
        return


def _numbers(data: bytes) -> Iterator[int]:
    """Yields the numbers of the commands in some bytes: a command's steering is its number."""
    for piece in data.split(b"{"):
        if piece.endswith(b"}") and b'"control"' in piece:
            yield round(float(json.loads(b"{" + piece)["steering"]) * 10_000)


def _drive_link(port: int, frames: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    called, returned, sent = np.zeros((3, frames))
    link = SimulatorLink(LinkConfig(host="127.0.0.1", port=port))
    link.open()
    try:
        for k in range(frames):
            called[k] = time.perf_counter()
            link.control(k / 10_000, 0.0, 0.0)
            frame = link.next_frame()
            # The picture is part of what a driver waits for.
            frame.image.shape  # noqa: B018
            returned[k] = time.perf_counter()
            sent[k] = frame.telemetry.time
    finally:
        link.close()
    return called, returned, sent


def _drive_socket(port: int, frames: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    called, returned, sent = np.zeros((3, frames))
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = client.makefile("rb")
        lines.readline()
        for k in range(frames):
            called[k] = time.perf_counter()
            command = {"msg_type": "control", "steering": str(k / 10_000)}
            client.sendall(json.dumps(command).encode())
            line = lines.readline()
            returned[k] = time.perf_counter()
            sent[k] = json.loads(line)["time"]
        lines.close()
    return called, returned, sent


def _count_frames(pipe: Pipe, port: int, seconds: float) -> None:
    """Drives with bare sockets that answer every message; sends the rate of each client."""
    stalled = socket.create_connection(("127.0.0.1", port))
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
    answer = json.dumps(
        {"msg_type": "control", "steering": "0.1", "throttle": "0.1", "brake": "0"}
    ).encode()
    counts = dict.fromkeys(clients, 0)
    with selectors.DefaultSelector() as waiting:
        for each in clients:
            waiting.register(each, selectors.EVENT_READ)
        began = time.perf_counter() + 2.0
        counting = False
        while time.perf_counter() < began + seconds:
            if not counting and time.perf_counter() >= began:
                counting, began = True, time.perf_counter()
                counts = dict.fromkeys(clients, 0)
            for key, _ in waiting.select(0.1):
                client = key.fileobj
                if not isinstance(client, socket.socket):
                    continue
                messages = client.recv(1 << 20).count(b"\n")
                counts[client] += messages
                if messages:
                    client.sendall(answer)
        measured = time.perf_counter() - began
    for each in (*clients, stalled):
        each.close()
    bench_process.tell(pipe, [count / measured for count in counts.values()])
