"""The embedded simulator, served over TCP by a process of its own."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

from donkey_rl.errors import DonkeyRLError

_SERVED = re.compile(r"Serving .* on [^ ]*:(\d+) ")


@contextlib.contextmanager
def served(track: str, time_scale: str, *words: str) -> Iterator[int]:
    """Serves a track on this machine while the context lasts; yields the port for drivers.

    Args:
        track: Scene name or track file.
        time_scale: As `donkey-rl sim` takes it: simulation seconds per second, or `max`.
        words: Further options of `donkey-rl sim`.

    Raises:
        DonkeyRLError: It did not come up.
    """
    ports = ("--port", "0", "--private-port", "0")
    command = ("sim", "--track", track, *ports, "--time-scale", time_scale, *words)
    process = subprocess.Popen(
        [sys.executable, "-m", "donkey_rl", *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        told: list[str] = []
        found = None
        while found is None and process.stderr is not None:
            line = process.stderr.readline()
            told.append(line)
            found = _SERVED.search(line)
            if not line:
                raise DonkeyRLError(f"The simulator did not come up: {' '.join(told)[-500:]}")
        # What it says later is read, so that it never waits for a reader.
        threading.Thread(target=process.communicate, daemon=True).start()
        yield int(found[1]) if found is not None else 0
    finally:
        process.terminate()
        process.wait()
