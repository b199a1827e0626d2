"""The record of a race while it is written: whole after a kill, whole over a full disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from donkey_rl.errors import InputError
from donkey_rl.race_server.record import lines, parts, reader, tape
from donkey_rl.race_server.record.tape import FileTape
from tests import race_records as records

ROOT = Path(__file__).parents[1]
DEADLINE_S = 60.0


def begin(folder: Path) -> FileTape:
    return records.Script(folder).tape


def wait_for(condition: object, what: str) -> None:
    assert callable(condition)
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_what_is_noted_is_read_back_in_order_with_its_pictures(tmp_path: Path) -> None:
    written = begin(tmp_path / "race")
    for k in range(300):
        picture = records.picture(k % 200) if k % 3 == 0 else None
        written.note("frame", {"k": k, "place": (1.0, 2.0)}, picture)
    wait_for(lambda: written.status.waiting == 0, "all on the disk")
    # Before it is closed: a quarter of a second later it is there.
    assert reader.read(tmp_path / "race").count == 301
    written.close()
    written.close()
    found = reader.read(tmp_path / "race")
    assert (found.count, found.missing, found.problems, found.ended) == (302, (), (), True)
    frames = [line for line in found.lines() if line.kind == "frame"]
    assert [line.fields["k"] for line in frames] == list(range(300))
    assert frames[3].fields["place"] == [1.0, 2.0]
    for k, line in enumerate(frames):
        if k % 3 == 0:
            assert line.picture is not None
            assert line.picture.read() == records.picture(k % 200)
        else:
            assert line.picture is None
    times = [line.time_s for line in frames]
    assert times == sorted(times)
    assert frames[0].wall_s == pytest.approx(time.time(), abs=DEADLINE_S)


def test_any_thread_may_note_and_no_number_is_left_out(tmp_path: Path) -> None:
    written = begin(tmp_path / "race")

    def work(who: int) -> None:
        for k in range(500):
            written.note("command", {"who": who, "k": k})

    threads = [threading.Thread(target=work, args=(who,)) for who in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    written.close()
    found = reader.read(tmp_path / "race")
    assert (found.kinds["command"], found.missing) == (3000, ())
    own = [line.fields["k"] for line in found.lines() if line.fields.get("who") == 2]
    assert own == list(range(500))


def test_secrets_and_what_json_cannot_say(tmp_path: Path) -> None:
    written = begin(tmp_path / "race")
    written.note("event", {"said": f"hello {records.GUID}!", "deep": {"token": records.TOKEN}})
    values = {"nan": float("nan"), "low": -np.inf, "array": np.array([1.5, np.nan])}
    written.note("frame", {**values, "small": np.float32(0.5), "key": {1: b"bytes"}})
    loop: dict[str, object] = {}
    loop["self"] = loop
    written.note("warning", loop)
    written.note("warning", {"text": "x" * 400_000})
    written.close()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "race").iterdir())
    assert records.GUID.encode() not in everything
    assert records.TOKEN.encode() not in everything
    # Any JSON reader takes it: no NaN.
    lines = [json.loads(line, parse_constant=pytest.fail) for line in everything.splitlines()]
    assert [line["number"] for line in lines] == list(range(6))
    assert lines[0]["fields"]["race"]["page"] == {"host": "127.0.0.1", "port": 8886}
    assert "guid" not in lines[0]["fields"]["race"]
    assert lines[1]["fields"]["said"] == "hello ***!"
    told = lines[2]["fields"]
    assert (told["nan"], told["low"], told["small"]) == ("nan", "-inf", 0.5)
    assert told["array"] == [1.5, "nan"]
    assert lines[4]["fields"] == {"too_long": 400_011}


def test_a_secret_that_is_a_word_spoils_no_line(tmp_path: Path) -> None:
    header = records.header(records.config())
    written = FileTape(tmp_path / "race", header, secrets=("race", "activeNode", "12345678"))
    said = "race activeNode 12345678"
    written.note("frame", {"time": 12345678.5, "activeNode": 3, "said": said})
    written.close()
    _, line, _ = reader.read(tmp_path / "race").lines()
    assert line.fields == {"time": 12345678.5, "activeNode": 3, "said": "race *** ***"}


def test_a_part_that_is_large_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST_PICTURE_BYTES", 3_000)
    monkeypatch.setattr(tape, "_AT_ONCE", 4)
    written = begin(tmp_path / "race")
    for k in range(40):
        written.note("frame", {"k": k}, records.picture(k))
    written.close()
    names = sorted(path.name for path in (tmp_path / "race").iterdir())
    assert len(names) >= 8
    assert names[-1] == f"record-{len(names) // 2:05d}.jsonl"
    found = reader.read(tmp_path / "race")
    pictures = [line.picture for line in found.lines() if line.kind == "frame"]
    assert [place.read() for place in pictures if place] == [records.picture(k) for k in range(40)]
    # The pictures one after the other are a film that any player shows.
    film = (tmp_path / "race" / "frames-00001.mjpeg").read_bytes()
    assert film.startswith(records.picture(0) + records.picture(1))


def test_a_part_that_cannot_be_made_at_once_costs_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST_PICTURE_BYTES", 3_000)
    monkeypatch.setattr(tape, "_AT_ONCE", 4)
    monkeypatch.setattr(tape, "RETRY_S", 0.05)
    refused: list[int] = []

    def made(folder: Path, number: int) -> parts.Part:
        if number == 2 and not refused:
            refused.append(number)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return parts.Part(folder, number)

    monkeypatch.setattr(tape, "Part", made)
    written = begin(tmp_path / "race")
    for k in range(40):
        written.note("frame", {"k": k}, records.picture(k))
    wait_for(lambda: written.status.waiting == 0 and not written.status.problem, "all written")
    written.close()
    assert refused == [2]
    found = reader.read(tmp_path / "race")
    assert (found.missing, found.problems, found.ended) == ((), (), True)
    frames = [line for line in found.lines() if line.kind == "frame"]
    assert [line.fields["k"] for line in frames] == list(range(40))


def hanging(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[tape.FileTape, threading.Event]:
    """Returns a tape whose disk hangs at 60 frames until an event, with room for 20 lines."""
    monkeypatch.setattr(tape, "MOST_LINES", 20)
    hangs, going_on = threading.Event(), threading.Event()
    write = parts.Part.write

    def slow(part: parts.Part, some: list[lines.Encoded]) -> None:
        hangs.set()
        going_on.wait(DEADLINE_S)
        write(part, some)

    monkeypatch.setattr(parts.Part, "write", slow)
    written = begin(folder)
    assert hangs.wait(DEADLINE_S)
    for k in range(60):
        written.note("frame", {"k": k})
    return written, going_on


def test_what_a_disk_that_hangs_has_cost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, going_on = hanging(tmp_path / "race", monkeypatch)
    going_on.set()
    wait_for(lambda: written.status.waiting == 0, "all written")
    written.close()
    found = reader.read(tmp_path / "race")
    (warning,) = (line.fields for line in found.lines() if line.kind == "warning")
    # The header was on its way, 19 frames had room beside it.
    assert (warning["lines_lost"], warning["pictures_lost"]) == (41, 0)
    assert "The disk was too slow: 41 lines" in warning["text"]


def test_what_a_disk_that_hangs_until_the_end_has_cost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, going_on = hanging(tmp_path / "race", monkeypatch)
    # The disk goes on only once the record is being ended.
    threading.Timer(0.3, going_on.set).start()
    written.close()
    found = reader.read(tmp_path / "race")
    assert found.ended
    (warning,) = (line.fields for line in found.lines() if line.kind == "warning")
    assert (warning["lines_lost"], warning["pictures_lost"]) == (41, 0)


_FULL = """
import resource, signal, sys, time
from pathlib import Path
from tests import race_records as records
from donkey_rl.race_server.record import tape
tape.RETRY_S = 0.1
script = records.Script(Path(sys.argv[1]))
script.frames(2.0)
def until(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
until(lambda: script.tape.status.waiting == 0)
before = script.tape.status.lines
# No file may grow beyond what it has now and half a picture more: writes stop half-way.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = max(path.stat().st_size for path in Path(sys.argv[1]).iterdir())
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, hard))
script.frames(2.0)
until(lambda: script.tape.status.problem)
problem = script.tape.status.problem
script.frames(2.0)
waiting = script.tape.status.waiting
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
until(lambda: script.tape.status.waiting == 0 and not script.tape.status.problem)
print(before, waiting, problem, script.tape.status.problem == "", sep="|")
script.frames(1.0)
script.close()
"""


def run(code: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )


def test_a_disk_that_is_full_for_a_while_costs_no_line(tmp_path: Path) -> None:
    with run(_FULL, str(tmp_path / "race")) as process:
        said, _ = process.communicate(timeout=DEADLINE_S)
    before, waiting, problem, is_well = said.strip().split("|")
    assert before == "81"
    # Of the 4 s without a disk most wait: what fits into the last bytes is on it.
    assert int(waiting) > 100
    assert (problem, is_well) == (os.strerror(errno.EFBIG), "True")
    found = reader.read(tmp_path / "race")
    assert (found.missing, found.problems, found.ended) == ((), (), True)
    frames = [line for line in found.lines() if line.kind == "frame"]
    assert [line.fields["number"] for line in frames] == list(range(1, 141))
    assert all(
        line.picture is not None and line.picture.read() == records.picture(k)
        for k, line in enumerate(frames, 1)
    )
    (warning,) = (line.fields for line in found.lines() if line.kind == "warning")
    assert (warning["lines_lost"], warning["pictures_lost"]) == (0, 0)


_KILLED = """
import sys, time
from pathlib import Path
from tests import race_records as records
script = records.Script(Path(sys.argv[1]))
while True:
    script.frames(0.05)
    if script.number % 20 == 0:
        print(script.tape.status.lines, time.monotonic(), flush=True)
    time.sleep(0.002)
"""


def killed(folder: Path) -> float:
    """Kills a writer; returns how much of the end is missing (s)."""
    with run(_KILLED, str(folder)) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().split() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    told += [line.split() for line in rest.splitlines()]
    at = float(told[-1][1])
    found = reader.read(folder)
    assert (found.missing, found.problems, found.ended) == ((), (), False)
    assert all(line.picture for line in found.lines() if line.kind == "frame")
    return at - list(found.lines())[-1].time_s


def test_after_a_kill_what_was_noted_is_there_but_for_the_last_moment(tmp_path: Path) -> None:
    # On its way after 0.2 s; the rest is for a machine with much else to do.
    assert any(killed(tmp_path / str(k)) < 0.2 + 1.0 for k in range(5))


def test_where_the_disk_takes_nothing_for_long_pictures_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tape, "MOST_LINES", 50)
    monkeypatch.setattr(tape, "MOST_WAITING_BYTES", 10 * len(records.picture(7)) + 10)
    monkeypatch.setattr(tape, "RETRY_S", 0.05)
    # A file where the folder should be.
    (tmp_path / "races").write_text("no folder", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        written = begin(tmp_path / "races" / "race")
        for k in range(60):
            written.note("frame", {"k": k}, records.picture(7))
        wait_for(lambda: written.status.problem, "the disk's trouble is told")
        assert (written.status.lines, written.status.waiting) == (61, 50)
        (tmp_path / "races").unlink()
        wait_for(lambda: not written.status.problem, "the disk is back")
        written.note("frame", {"k": 60}, records.picture(7))
        written.close()
    found = reader.read(tmp_path / "races" / "race")
    # The header and 49 frames had room, ten of them with pictures.
    assert found.missing == (range(50, 61),)
    frames = [line for line in found.lines() if line.kind == "frame"]
    assert [line.fields["k"] for line in frames] == [*range(49), 60]
    assert sum(line.picture is not None for line in frames) == 11
    (warning,) = (line.fields for line in found.lines() if line.kind == "warning")
    assert (warning["lines_lost"], warning["pictures_lost"]) == (11, 39)
    assert "11 lines and 39 pictures are lost" in caplog.text


def test_a_disk_that_stays_away_is_told_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tape, "CLOSE_S", 0.3)
    (tmp_path / "races").write_text("no folder", encoding="utf-8")
    written = begin(tmp_path / "races" / "race")
    written.note("frame", {})
    with caplog.at_level(logging.WARNING):
        written.close()
    # The end itself may come too late to be one of them.
    assert re.search("[23] lines of the record are lost", caplog.text)


def test_each_record_has_a_folder_of_its_own(tmp_path: Path) -> None:
    one = tape.new_folder(tmp_path / "races", "generated_track", "Ann/../car")
    two = tape.new_folder(tmp_path / "races", "generated_track", "Ann/../car")
    assert one.parent == two.parent == tmp_path / "races"
    assert one != two
    assert one.name.endswith("-generated_track-Ann-..-car")
    begin(one).close()
    with pytest.raises(InputError, match="holds one already"):
        begin(one)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="the file"):
        tape.new_folder(tmp_path / "file", "x", "y")
