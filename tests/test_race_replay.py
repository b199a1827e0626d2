"""Records played back on a board."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from donkey_rl.race_server.interface import Level
from donkey_rl.race_server.record import reader, replay
from donkey_rl.race_server.status import CarStatus
from tests import race_records as records

ROOT = Path(__file__).parents[1]
DEADLINE_S = 60.0


class Board:
    def __init__(self) -> None:
        self.shown: list[tuple[CarStatus, bytes | None]] = []
        self.said: list[tuple[Level, str]] = []

    def show(self, status: CarStatus, picture: bytes | None) -> None:
        self.shown.append((status, picture))

    def log(self, car: str, level: Level, text: str) -> None:
        self.said.append((level, text))


def test_a_replay_shows_what_was_seen_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SHOW_S", 0.0)
    script = records.Script(tmp_path / "race")
    script.tape.note("link", {"state": "connected", "reason": ""})
    script.go()
    script.frames(0.5)
    script.event("cross_start", lap_time=0.0)
    script.frames(1.0)
    script.event("cross_start", lap_time=18.5)
    script.tape.note("link", {"state": "figures", "round_trip_s": 0.012})
    script.tape.note("link", {"state": "lost", "reason": "cut"})
    script.tape.note("link", {"state": "connected", "reason": ""})
    script.tape.note("driver", {"name": "spare", "reason": "the one before has failed"})
    script.tape.note("warning", {"text": "x" * 10_000})
    script.frames(0.25, speed="nan")
    script.event("DQ", missed_cp=True)
    script.go(False)
    # The end of the race is no loss.
    script.tape.note("link", {"state": "lost", "reason": "the race has ended"})
    board = Board()
    replay.play(reader.read(script.close()), board, speed=100.0)
    first, last = board.shown[1][0], board.shown[-1][0]
    assert (first.car, first.host, first.driver) == ("Ann's car", "10.0.0.9:9191", "lap18")
    assert (first.phase, first.go, first.frames) == ("driving", True, 1)
    assert [picture for _, picture in board.shown if picture] == [
        records.picture(k) for k in range(1, 36)
    ]
    assert (last.phase, last.go, last.frames) == ("stopping", False, 35)
    assert "ready" in {status.phase for status, _ in board.shown}
    assert (last.laps_s, last.best_lap_s, last.disqualified) == ((18.5,), 18.5, True)
    assert (last.speed, last.steering, last.driver) == (1.5, 0.25, "spare")
    assert (last.disconnects, last.latency.round_trip_ms) == (1, pytest.approx(12.0))
    assert last.latency.frame_to_command_ms == (4.0, 4.0, 4.0)
    # 4 ms are between 2 and 5.
    assert last.latency.histogram[:3] == (0, 0, 35)

    # Of the last lap line nothing has passed but 5 frames of 0.05 s.
    assert last.lap_time_s == pytest.approx(0.25)
    assert ("info", "host: cross_start, 18.5") in board.said
    assert ("warning", "x" * 500) in board.said
    assert board.said[-1] == ("info", "The record has ended.")


def test_a_disqualification_in_practice_is_over_with_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SHOW_S", 0.0)
    script = records.Script(tmp_path / "race")
    script.go()
    for after in ("cross_start", "car_loaded", "race_start"):
        script.frames(0.1)
        script.event("DQ", missed_cp=True)
        script.frames(0.1)
        script.event(after)
    script.frames(0.1)
    script.event("DQ", missed_cp=False)
    script.event("cross_start")
    script.frames(0.1, skipped=3)
    board = Board()
    replay.play(reader.read(script.close()), board, speed=100.0)
    shown = [status.disqualified for status, _ in board.shown]
    # Each change once: of a race, the line clears nothing.
    changes = [now for before, now in itertools.pairwise(shown) if now != before]
    assert changes == [True, False] * 3 + [True]
    frames = [status.frames for status, _ in board.shown]
    # Three were skipped before each of the last ones.
    assert frames[-1] - frames[-2] in (0, 4)
    assert max(now - before for before, now in itertools.pairwise(frames)) == 4


def test_laps_at_a_host_that_tells_none_are_those_between_crossings(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.event("car_loaded")
    script.go()
    for seconds in (1.0, 0.5, 14.5):
        script.frames(seconds)
        script.event("collision_with_starting_line", index=0, time_stamp=script.time_s)
    script.go(False)
    board = Board()
    replay.play(reader.read(script.close()), board, speed=100.0)
    last = board.shown[-1][0]
    # The second crossing is too soon after the first.
    assert last.laps_s == pytest.approx((15.0,))
    assert last.best_lap_s == pytest.approx(15.0)


def over_in(board: Board) -> int:
    """Returns how often the end of the record was shown."""
    return sum(status.reason == "The record has ended." for status, _ in list(board.shown))


def test_a_replay_keeps_the_time_of_the_race_and_ends_when_told(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    for _ in range(4):
        script.frames(0.05)
        time.sleep(0.2)
    record = reader.read(script.close())
    board, ended = Board(), threading.Event()
    began = time.monotonic()
    replay.play(record, board, speed=2.0)
    assert time.monotonic() - began >= 0.3
    player = threading.Thread(
        target=replay.play,
        args=(record, board, 100.0),
        kwargs={"ended": ended, "stays": True},
    )
    player.start()
    end = time.monotonic() + 30.0
    # The last look at the car goes on being shown.
    while over_in(board) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    ended.set()
    player.join(30.0)
    assert not player.is_alive()
    assert board.shown[-1][1] is None


def test_the_command_plays_a_record_on_the_page_until_it_is_told(tmp_path: Path) -> None:
    script = records.Script(tmp_path / "race")
    script.heat(1.0)
    script.close()
    words = ("race", "replay", str(tmp_path / "race"), "--time-scale", "100", "--json")
    words = (*words, "--port", "0")
    command = [sys.executable, "-m", "donkey_rl", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        said = ""
        while "Ctrl-C ends it" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        address = re.search(r"http://\S+", said)
        assert address is not None
        assert json.loads(process.stdout.readline()) == {"address": address[0], "problems": []}
        with urllib.request.urlopen(address[0], timeout=DEADLINE_S) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(DEADLINE_S) == 0, said
    assert "Traceback" not in said
