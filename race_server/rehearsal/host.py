"""A race host in a process of its own, which can be killed and goes on with its evening."""

from __future__ import annotations

import collections
import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pydantic

from donkey_rl import configuration
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import Evening
from donkey_rl.errors import DonkeyRLError, InputError

_SERVING = re.compile(r"Serving .* on [^ ]*:(\d+) ")
_START_S = 180.0
_STOP_S = 20.0
_LINES = 30
_BAD_INPUT = 2
_MOST_BYTES = 16_000_000


class RaceHost:
    """`donkey-rl sim` with race rules, on a port that it keeps when it is started again.

    Attributes:
        port: Where racers connect; 0 before the first start.
        results: The results file.
    """

    def __init__(
        self,
        track: str,
        rules: RaceRules,
        folder: Path,
        generation: int = 2022,
        time_scale: float = 1.0,
    ) -> None:
        """Prepares a host that does not run.

        Args:
            track: Where the evening is driven.
            rules: By which rules; the results file is one in the folder.
            folder: Takes rules, results and the host's log; it exists.
            generation: Whose protocol is spoken.
            time_scale: Simulation seconds per second.
        """
        self.port = 0
        self.results = folder / "race_results.json"
        self._track = track
        self._rules = rules
        self._folder = folder
        self._words = ["--generation", str(generation), "--time-scale", f"{time_scale:g}"]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._last: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._serving = threading.Event()

    def start(self, **changed: float | int | None) -> None:
        """Starts it, the first time or again, and waits until it serves.

        Args:
            **changed: Rules that are others from now on.

        Raises:
            InputError: It refuses the track or the rules.
            DonkeyRLError: It does not serve.
        """
        again = self.results.exists()
        values = self._rules.model_dump() | changed | {"results": self.results, "resume": again}
        self._rules = configuration.validate(RaceRules, values)
        file = self._folder / "rules.yaml"
        file.write_text(configuration.written(self._rules), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "donkey_rl", "sim", "--track", self._track),
            *("--rules", str(file), "--port", str(self.port), "--private-port", "0"),
            *self._words,
        ]
        self._serving.clear()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._reader = threading.Thread(target=self._read, name="race host's log", daemon=True)
        self._reader.start()
        deadline = time.perf_counter() + _START_S
        while not self._serving.wait(0.05):
            if self._process.poll() is not None or time.perf_counter() > deadline:
                self.stop()
                raise self._failure()

    def _failure(self) -> DonkeyRLError:
        text = self._last[-1] if self._last else "it said nothing"
        code = self._process.returncode if self._process is not None else None
        if code == _BAD_INPUT:
            return InputError(f"The race host refuses what it was given: {text}")
        return DonkeyRLError(
            f"The race host does not serve (exit code {code}): {text} See '{self._log}'."
        )

    @property
    def _log(self) -> Path:
        return self._folder / "host.log"

    def _read(self) -> None:
        """Keeps what the host says, and finds its port in it."""
        process = self._process
        if process is None or process.stderr is None:
            return
        with process.stderr as lines, self._log.open("a", encoding="utf-8") as log:
            for line in lines:
                log.write(line)
                log.flush()
                self._last.append(line.strip())
                found = _SERVING.search(line)
                if found:
                    self.port = int(found[1])
                    self._serving.set()

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kills it, as `kill -9` or a power cut does."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> None:
        """Ends it; may be called again."""
        self._end(subprocess.Popen.terminate)

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            how(process)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)
        if self._reader is not None:
            self._reader.join(_STOP_S)

    def evening(self) -> Evening | None:
        """Returns what the evening has come to as the results file tells, None before any.

        Raises:
            DonkeyRLError: The file is no race evening.
        """
        try:
            with self.results.open("rb") as file:
                text = file.read(_MOST_BYTES)
        except (FileNotFoundError, PermissionError):
            # Windows lets nobody read while the host puts a newer one there.
            return None
        if not text:
            # The name is taken before the first whole file is there.
            return None
        try:
            return Evening.model_validate_json(text)
        except pydantic.ValidationError as error:
            raise DonkeyRLError(
                f"'{self.results}' holds no race evening: {error.errors()[0]['msg']}."
            ) from error
