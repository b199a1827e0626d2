"""Faults as they are done to the link, the host and our own process."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from donkey_rl.race_server.rehearsal import hammer
from donkey_rl.race_server.rehearsal.faults import Fault, Injected
from donkey_rl.race_server.rehearsal.host import RaceHost
from donkey_rl.race_server.rehearsal.link_proxy import LinkProxy
from donkey_rl.race_server.rehearsal.racers import Racers

_MESSAGES_S = 4.0
_FILLING_S = 0.5
_DISK_ROOM = 300
"""Bytes that the filling disk still takes behind the longest file of lines: one is cut short."""

_HEALTH_S = 5.0
_ANSWER_S = 20.0


class Injector:
    """Does faults to an evening, one at a time."""

    def __init__(
        self,
        host: RaceHost,
        link: LinkProxy,
        ours: Racers,
        records: Path,
        wait: Callable[[float], None],
    ) -> None:
        """Prepares for faults.

        Args:
            host: The race host.
            link: Our car's way to it.
            ours: Our car.
            records: Folder of its records.
            wait: Lets the evening go on for so long (s).
        """
        self._host = host
        self._link = link
        self._ours = ours
        self._records = records
        self._wait = wait

    def inject(self, fault: Fault, **rules: float | int | None) -> Injected:
        """Does a fault, and returns when it is over.

        Args:
            fault: Which.
            **rules: Rules that a host goes on with that is killed.
        """
        begin = self._link.sightings.note("fault", str(fault))
        problem = ""
        match fault.kind:
            case "host killed":
                self._kill_host(fault.seconds, **rules)
            case "connection reset" | "connection closed":
                self._link.cut(reset=fault.kind == "connection reset")
            case "silence":
                self._link.silence(fault.ways, fault.seconds)
                self._wait(fault.seconds)
            case "glued messages":
                self._link.glue(fault.seconds)
                self._wait(fault.seconds)
            case "broken messages":
                self._link.break_messages(fault.ways, fault.count)
                self._await_messages()
            case "NaN telemetry":
                self._link.poison(fault.count)
                self._await_messages()
            case "stalled inference":
                self._ours.stall(fault.stall, fault.seconds)
                self._wait(fault.seconds)
            case "full disk":
                self._fill_disk(fault.seconds)
            case "page hammered":
                problem = self._hammer(fault.seconds)
        end = self._link.sightings.note("fault over", problem)
        return Injected(fault, begin, end, problem)

    def _kill_host(self, seconds: float, **rules: float | int | None) -> None:
        self._host.kill()
        self._link.sightings.note("host down")
        self._link.listen(on=False)
        time.sleep(seconds)
        self._host.start(**rules)
        self._link.listen(on=True)
        self._link.sightings.note("host up")

    def _await_messages(self) -> None:
        """Waits until all messages that were to suffer have come; there may be none to come."""
        end = time.perf_counter() + _MESSAGES_S
        while self._link.undone and time.perf_counter() < end:
            self._wait(0.05)
        self._link.calm()

    def _fill_disk(self, seconds: float) -> None:
        files = [path for path in self._records.rglob("*.jsonl") if path.is_file()]
        longest = max((path.stat().st_size for path in files), default=0)
        try:
            self._ours.limit_files(longest + _DISK_ROOM)
            self._wait(min(_FILLING_S, seconds))
            self._ours.limit_files(0)
            self._wait(max(0.0, seconds - _FILLING_S))
        finally:
            self._ours.limit_files(None)

    def _hammer(self, seconds: float) -> str:
        """Hammers the page; returns what it did that it should not have."""
        command = [sys.executable, "-m", hammer.__name__, self._ours.page, f"{seconds:g}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            end = time.perf_counter() + seconds + _ANSWER_S
            while process.poll() is None and time.perf_counter() < end:
                self._wait(0.1)
            process.kill()
            text = process.stdout.read() if process.stdout is not None else ""
        try:
            found = json.loads(text)
        except ValueError:
            return "the hammer did not come to its end: the page held it up"
        if found["taken"]:
            return f"the page followed {found['taken']} orders of strangers"
        if not sum(count for status, count in found["statuses"].items() if status != "none"):
            return "the page answered nobody"
        return "" if self._is_page_well() else f"the page did not answer {_HEALTH_S:g} s later"

    def _is_page_well(self) -> bool:
        end = time.perf_counter() + _HEALTH_S
        while time.perf_counter() < end:
            try:
                with urllib.request.urlopen(self._ours.page, timeout=1.0) as answer:
                    return bool(answer.status == http.client.OK)
            except (OSError, http.client.HTTPException):
                self._wait(0.2)
        return False
