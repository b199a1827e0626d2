"""How a race server does on this machine: from frame to command, and over hours.

It races as `donkey-rl race` does, with its page open to ten viewers and its record on the disk:
simulator, racer and viewers are processes of their own. The driver is of the usual size and has
learned nothing, so that the car also gets stuck and is put back.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from donkey_rl import configuration, pictured_json
from donkey_rl.configuration import Config
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import InputError
from donkey_rl.experiments import bench_process, served_simulator
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.race_server.config import RaceConfig

VIEWERS = 10
_TRACK = "generated_track"
_LOOKS_S = 5.0
_HOUR_S = 3600.0
_WARM = 0.25
"""Share of a soak that is left out of its growth: caches fill."""

_LEAST_SAMPLES = 8


class RaceFigures(Config):
    """How fast a race server answers.

    Attributes:
        frame_to_command_ms: From the arrival of a frame to the departure of the command that
            answers it: `p50`, `p95`, `p99` since the start.
        frames: Frames that came.
        seconds: How long they came (s).
        viewers: Pages that were open.
        viewer_hz: Pictures per second that each of them got, on average.
        faults: What went wrong, and how often.
    """

    frame_to_command_ms: dict[str, float]
    frames: int
    seconds: float
    viewers: int
    viewer_hz: float
    faults: dict[str, int]


class SoakFigures(Config):
    """What hours of racing do to the processes of a race server.

    Attributes:
        hours: Simulation time (h).
        wall_s: How long that took (s).
        frames: Frames that came.
        begin: Memory (MB), threads and open files of racer and page together, after the warm-up.
        end: The same at the end.
        growth_per_h: The same per hour of simulation time, by the line through all samples.
        faults: What went wrong, and how often.
    """

    hours: float
    wall_s: float
    frames: int
    begin: dict[str, float]
    end: dict[str, float]
    growth_per_h: dict[str, float]
    faults: dict[str, int]


class _Sample(NamedTuple):
    """Racer and its page at one moment; time is simulation time (s), memory in MB."""

    time_s: float
    memory: float
    threads: float
    files: float


def latencies(seconds: float, progress: ProgressDisplay) -> RaceFigures:
    """Measures from frame to command in real time.

    Args:
        seconds: How long.
        progress: Shows how far it is.

    Raises:
        DonkeyRLError: A process did not come up.
    """
    with (
        _place() as folder,
        served_simulator.served(_TRACK, "1") as port,
        bench_process.started(_race, _settings(folder, port)) as racer,
        progress.phase("racing", round(seconds), "s") as phase,
    ):
        url = bench_process.told(racer)
        with bench_process.started(_watch, url, VIEWERS) as viewers:
            bench_process.told(viewers)
            begun = time.monotonic()
            while (gone := time.monotonic() - begun) < seconds:
                time.sleep(min(1.0, seconds - gone))
                phase.update(round(time.monotonic() - begun))
            bench_process.tell(viewers, "end")
            pictures = bench_process.told(viewers)
        bench_process.tell(racer, "end")
        result = bench_process.told(racer)
    return RaceFigures(
        frame_to_command_ms=result["latency_ms"],
        frames=result["frames"],
        seconds=round(gone, 1),
        viewers=VIEWERS,
        viewer_hz=round(pictures / VIEWERS / gone, 1),
        faults=result["faults"],
    )


def soak(hours: float, progress: ProgressDisplay) -> SoakFigures:
    """Races in lock-step, as fast as the machine goes, and looks at memory, threads and files.

    Args:
        hours: Simulation time (h).
        progress: Shows how far it is.

    Raises:
        InputError: The system does not tell of its processes as Linux does.
        DonkeyRLError: A process did not come up.
    """
    if not Path("/proc/self/status").is_file():
        raise InputError("Memory and files of processes are told by Linux alone.")
    begun = time.monotonic()
    with (
        _place() as folder,
        served_simulator.served(_TRACK, "max") as port,
        bench_process.started(_race, _settings(folder, port)) as racer,
        progress.phase("soaking", round(60.0 * hours), "simulated min") as phase,
    ):
        bench_process.told(racer)
        samples: list[_Sample] = []
        while not samples or samples[-1].time_s < _HOUR_S * hours:
            time.sleep(_LOOKS_S)
            bench_process.tell(racer, "look")
            samples.append(_Sample(*bench_process.told(racer)))
            last = samples[-1]
            phase.update(
                round(last.time_s / 60.0),
                memory_mb=round(last.memory, 1),
                threads=int(last.threads),
                files=int(last.files),
            )
        bench_process.tell(racer, "end")
        result = bench_process.told(racer)
    return SoakFigures(
        hours=round(samples[-1].time_s / _HOUR_S, 2),
        wall_s=round(time.monotonic() - begun, 1),
        frames=result["frames"],
        **grown(samples),
        faults=result["faults"],
    )


def grown(samples: Sequence[_Sample]) -> dict[str, dict[str, float]]:
    """Returns `begin`, `end` and `growth_per_h` of samples, the warm-up left out.

    Args:
        samples: In order of their time.
    """
    warm = [each for each in samples if each.time_s >= _WARM * samples[-1].time_s]
    table = np.array(warm if len(warm) >= _LEAST_SAMPLES else samples)
    hours = table[:, 0] / _HOUR_S
    names = {"memory_mb": 1, "threads": 2, "files": 3}
    moves = len(table) > 1 and np.ptp(hours) > 0.0
    slopes = {
        name: float(np.polyfit(hours, table[:, k], 1)[0]) if moves else 0.0
        for name, k in names.items()
    }
    return {
        "begin": {name: round(float(table[0, k]), 1) for name, k in names.items()},
        "end": {name: round(float(table[-1, k]), 1) for name, k in names.items()},
        "growth_per_h": {name: round(slope, 3) for name, slope in slopes.items()},
    }


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """Yields a folder with a driver in it."""
    from donkey_rl.experiments import drivers

    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        drivers.usual_driver(EnvironmentConfig(track=_TRACK)).save(Path(name) / "driver")
        yield Path(name)


def _settings(folder: Path, port: int) -> dict[str, Any]:
    config = RaceConfig(
        port=port, start="car", driver=str(folder / "driver"), records=folder / "records"
    )
    changed = configuration.with_values(config, {"page.port": 0})
    return changed.model_dump(mode="json")


def _race(pipe: Pipe, settings: dict[str, Any]) -> None:
    """Races until told to end; the other end's words are `look` and `end`."""
    from donkey_rl.race_server import team
    from donkey_rl.race_server.status import CarStatus

    ended = threading.Event()
    seen: list[float] = [0.0]

    def watch(status: CarStatus) -> None:
        seen[0] = max(seen[0], status.time_s)

    def answer() -> None:
        try:
            while bench_process.heard(pipe) != "end":
                bench_process.tell(pipe, (seen[0], *_taken()))
        except EOFError:
            pass
        ended.set()

    threading.Thread(target=answer, daemon=True).start()
    config = configuration.validate(RaceConfig, settings)
    (result,) = team.race(
        [config], lambda started: bench_process.tell(pipe, started.url), ended=ended, watch=watch
    )
    faults, latency = dict(result.faults), dict(result.latency_ms)
    with contextlib.suppress(OSError):
        found = {"latency_ms": latency, "frames": result.frames, "faults": faults}
        bench_process.tell(pipe, found)


def _taken() -> tuple[float, float, float]:
    """Returns memory (MB), threads and open files of this process and its children."""
    memory = threads = files = 0.0
    for pid in (os.getpid(), *_children(os.getpid())):
        with contextlib.suppress(OSError):
            place = Path("/proc", str(pid))
            told = dict(
                line.split(":", 1) for line in (place / "status").read_text("utf-8").splitlines()
            )
            memory += float(told["VmRSS"].split()[0]) / 1024.0
            threads += float(told["Threads"])
            files += len(list((place / "fd").iterdir()))
    return memory, threads, files


def _children(pid: int) -> list[int]:
    found = []
    for task in Path("/proc", str(pid), "task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(each) for each in (task / "children").read_text("ascii").split()]
    return found


def _watch(pipe: Pipe, url: str, count: int) -> None:
    """Looks on as so many browsers do, until told to end; sends how many pictures came."""
    over = threading.Event()
    pictures = [0] * count

    def view(k: int) -> None:
        from websockets.sync.client import connect
        from websockets.typing import Origin

        address = url.split("?")[0].rstrip("/")
        watched = "ws" + address.removeprefix("http") + "/watch"
        with connect(watched, origin=Origin(address)) as socket:
            while not over.is_set():
                message = socket.recv(timeout=bench_process.START_S)
                if not isinstance(message, bytes):
                    continue
                text, picture = pictured_json.parted(message)
                pictures[k] += bool(picture)
                socket.send(json.dumps({"seen": json.loads(text)["n"], "car": ""}))

    threads = [threading.Thread(target=view, args=(k,), daemon=True) for k in range(count)]
    for thread in threads:
        thread.start()
    bench_process.tell(pipe, "looking")
    with contextlib.suppress(EOFError):
        bench_process.heard(pipe)
    over.set()
    with contextlib.suppress(OSError):
        bench_process.tell(pipe, sum(pictures))
