"""Races and stores for the tests of shared data sets."""

from __future__ import annotations

import io
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from donkey_rl.experiments.data.manifest import Note
from donkey_rl.experiments.data.pulling import PullReport
from donkey_rl.experiments.data.pushing import PushReport
from donkey_rl.experiments.data.store import Store
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics.race import Race, RaceHeader
from donkey_rl.metrics.race_writer import RaceWriter

ROOT = pathlib.Path(__file__).parents[1]
NOTE = Note(author="Ann", message="an evening", license="CC0")
ROWS = 600


def header(track: str = "ring", seed: int = 0) -> RaceHeader:
    """Returns a circle of 120 u, whose line is crossed first after 3 u."""
    return RaceHeader(
        track=track,
        track_length=120.0,
        nodes=60,
        start_line=3.0,
        start_line_progress=3.0,
        road_left=-2.0,
        road_right=2.0,
        seed=seed,
        driver="ann",
        vehicle="donkey_2021",
    )


def race(track: str = "ring", seed: int = 0, rows: int = ROWS) -> Race:
    """Returns a race at 10 u/s that steers by chance: of 600 rows, with two laps of 12 s."""
    count, none = np.arange(rows), np.zeros(rows)
    return Race(
        header(track, seed),
        {
            "time_s": 0.05 * count,
            "x": none,
            "z": 0.5 * count,
            "yaw": none,
            "speed": none + 10.0,
            "steering": np.clip(np.random.default_rng(seed).normal(0, 0.3, rows), -1, 1),
            "throttle": none + 0.4,
            "progress": 0.5 * count,
            "lateral": none,
            "cte": none,
            "node": (count // 4) % 60,
            "off_track": none > 0,
        },
    )


def races(folder: pathlib.Path, seeds: Sequence[int], track: str = "ring") -> pathlib.Path:
    """Writes races into a folder, ``race_00.parquet`` and so on, and returns it."""
    for number, seed in enumerate(seeds):
        race(track, seed).save(folder / f"race_{number:02d}.parquet")
    return folder


def pictured(path: pathlib.Path, rows: int = 40, size: tuple[int, int] = (160, 120)) -> None:
    """Writes a race with a picture in each row, whose brightness grows."""
    still = dict.fromkeys(["x", "z", "yaw", "lateral", "cte", "node"], 0)
    with RaceWriter(path, header(), frames=True) as writer:
        for row in range(rows):
            picture = io.BytesIO()
            Image.new("RGB", size, (5 * row, 0, 0)).save(picture, "JPEG")
            here = still | {"time_s": 0.05 * row, "progress": 0.5 * row, "speed": 10.0}
            here |= {"steering": 0.01 * row, "throttle": 0.5, "off_track": False}
            writer.append(here, picture.getvalue())


def quiet() -> ProgressDisplay:
    """Returns a display that nobody sees."""
    return ProgressDisplay(io.StringIO())


def push(store: Store, folder: pathlib.Path, name: str = "evenings") -> PushReport:
    """Pushes a folder."""
    return store.push([folder], name, NOTE, quiet())


def pull(store: Store, folder: pathlib.Path, name: str = "evenings") -> PullReport:
    """Pulls all of a set."""
    return store.pull(name, folder, quiet())


def contents(folder: pathlib.Path) -> list[bytes]:
    """Returns the race files below a folder by their bytes, in order."""
    return sorted(file.read_bytes() for file in folder.rglob("*.parquet"))


def started(*words: str, cwd: pathlib.Path) -> subprocess.Popen[str]:
    """Starts ``donkey-rl`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "donkey_rl", *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


_CUT_OFF = """
import itertools, os, sys, time
from donkey_rl import cli
from donkey_rl.experiments.data import transfers
from donkey_rl.experiments.data.fsspec_backend import FsspecBackend as Place

begun, ended = itertools.count(1), []
check, chunks, upload, fetch = Place.check_arrival, Place.chunks, Place.upload, transfers.fetch

def stop_at_the_fourth():
    # Counted at once, whichever threads come at the same time.
    if next(begun) > 3:
        while len(ended) < 3:
            time.sleep(0.01)
        # At once: several threads come here.
        os.write(1, b"in the middle\\n")
        time.sleep(600)

def checked(self, *given):
    check(self, *given)
    stop_at_the_fourth()

def uploaded(*given):
    upload(*given)
    ended.append(1)

def chunked(self, path, offset=0):
    for content in chunks(self, path, offset):
        if path.startswith("objects/"):
            yield content[:-1000]
            stop_at_the_fourth()
            yield content[-1000:]
        else:
            yield content

def fetched(*given):
    fetch(*given)
    ended.append(1)

if sys.argv[1:3] == ["data", "push"]:
    Place.check_arrival, Place.upload = checked, uploaded
else:
    Place.chunks, transfers.fetch = chunked, fetched
cli.app(sys.argv[1:])
"""
"""Stops for good after three files: a fourth has arrived and has not its name yet."""


def killed(*words: str, cwd: pathlib.Path) -> None:
    """Runs a command until three files are through, and kills it there."""
    with subprocess.Popen(
        [sys.executable, "-c", _CUT_OFF, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    assert line == "in the middle\n"
    assert process.returncode == -signal.SIGKILL
