"""Records of races that nobody drove: noted as a car would note them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from donkey_rl.race_server.config import PageConfig, RaceConfig
from donkey_rl.race_server.record.header import RecordedDriver, RecordHeader, secrets
from donkey_rl.race_server.record.tape import FileTape

GUID = "nobody-guesses-this"
TOKEN = "nor-this_0123456789"
STEP_S = 0.05


def config(**changed: Any) -> RaceConfig:
    values: dict[str, Any] = {
        "host": "10.0.0.9",
        "port": 9191,
        "racer_name": "Ann",
        "guid": GUID,
        "scene": "generated_track",
        "page": PageConfig(token=TOKEN),
    }
    return RaceConfig(**(values | changed))


def header(race: RaceConfig) -> RecordHeader:
    driver = RecordedDriver(name="lap18", hash="ab" * 32, run_id="cd" * 16, agent="sac")
    return RecordHeader.of(race, car="Ann's car", vehicle="donkey_2022", drivers=[driver])


def picture(shade: int, size: tuple[int, int] = (32, 24)) -> bytes:
    """A JPEG file of one shade."""
    encoded = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), shade, np.uint8)).save(encoded, "JPEG")
    return encoded.getvalue()


class Script:
    """Notes what happens to a car; the simulation's time goes on with its frames."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        race = config(**changed)
        self.tape = FileTape(folder, header(race), secrets=secrets(race))
        self.time_s = 100.0
        self.number = 0

    def go(self, on: bool = True) -> None:
        phase = "driving" if on else "ready"
        self.tape.note("phase", {"phase": phase, "reason": "test", "go": on})

    def event(self, name: str, **fields: Any) -> None:
        self.tape.note("event", {"name": name, **fields})

    def frames(self, seconds: float, *, speed: float = 1.5, **told: Any) -> None:
        """Drives on; the car of 2022 reports an eighth of its speed in u/s."""
        for _ in range(round(seconds / STEP_S)):
            self.time_s += STEP_S
            self.number += 1
            fields = {
                "time": self.time_s, "speed": speed, "steering": 0.25, "throttle": 0.5,
                "hit": "none", "angles": [0.0, 90.0, 0.0], "node": 3, "number": self.number,
                "skipped": 0, "arrived": 1.0, "refused": "",
            } | told  # fmt: skip
            self.tape.note("frame", fields, picture(self.number % 200))
            command = {"steering": 0.25, "throttle": 0.5, "brake": 0.0, "frame": self.number}
            self.tape.note("command", {**command, "why": "driver", "took_ms": 4.0})

    def heat(self, *laps_s: float) -> None:
        """Drives from GO to the end of a heat, 2 s before the first line."""
        self.event("race_start")
        self.go()
        self.frames(2.0)
        self.event("cross_start", lap_time=0.0)
        for lap_s in laps_s:
            self.frames(lap_s)
            self.event("cross_start", lap_time=lap_s)
        self.event("race_stop")
        self.go(False)

    def close(self) -> Path:
        self.tape.close()
        return self.tape.folder
